//! What time alone does to points.

use super::holds::model::release;
use super::lots::{Lot, Lots};
use super::vesting::{miss_vesting, vest_by_time};
use crate::book::{Account, Actor, Due, DueKind, EntryReason, LotPart, NewEntry, Pocket, PocketMove, PointsDetail};
use crate::ids::{AccountId, EntryId};

impl Lots {
    /// What a due writes; nothing if it was not read.
    #[must_use]
    pub(crate) fn decide_due(&self, account: &Account, due: Due) -> Vec<NewEntry> {
        let account_id = account.account_id;
        let own = self.dues.range((account_id, due, 0)..=(account_id, due, i64::MAX)).next().map(|(.., seq)| *seq);
        match due.kind {
            DueKind::ReleaseHold => {
                let hold = own.and_then(|seq| Some((seq, self.hold(account_id, seq)?)));
                hold.and_then(|(seq, hold)| release(self, account, due.at, seq, hold).ok()).unwrap_or_default()
            }
            DueKind::Vest => match self.numbered_lot(account_id, own) {
                Some((seq, lot)) if lot.terms.vests_at.is_some() => vest_by_time(account, seq, lot),
                Some((seq, lot)) => vec![miss_vesting(account_id, seq, lot)],
                None => Vec::new(),
            },
            DueKind::Expire => {
                let slides_to = self.earnings.get(&account_id).and_then(|earning| earning.slides_to);
                let sliding = self.sliding.range((account_id, 0)..=(account_id, i64::MAX)).next();
                let sliding = sliding.filter(|_| slides_to == Some(due.at)).map(|(_, seq)| *seq);
                // The oldest lot first, whichever way it came to its end.
                let oldest = own.into_iter().chain(sliding).min();
                let lot = self.numbered_lot(account_id, oldest);
                lot.map(|(seq, lot)| expire(account_id, seq, lot)).into_iter().collect()
            }
            // No lot has such a due.
            DueKind::EndTier
            | DueKind::EndOverride
            | DueKind::EndReferral
            | DueKind::GivePackage
            | DueKind::EscalateComplaint
            | DueKind::MoveInLifecycle => Vec::new(),
        }
    }

    fn numbered_lot(&self, account_id: AccountId, seq: Option<i64>) -> Option<(i64, &Lot)> {
        let seq = seq?;
        Some((seq, self.lot(account_id, seq)?))
    }
}

/// The entry by which what is left of a lot expires.
fn expire(account_id: AccountId, seq: i64, lot: &Lot) -> NewEntry {
    NewEntry {
        detail: PointsDetail::PointsExpired { lots: vec![LotPart { lot: seq, points: lot.available }], hold: None }
            .into(),
        movement: Some(PocketMove { from: Pocket::Available, to: Pocket::Expired, points: lot.available }),
        actor: Actor::Time,
        reason: EntryReason::TimeReached,
        policy_version: lot.policy_version,
        causes: vec![EntryId { account_id, account_seq: seq }],
    }
}
