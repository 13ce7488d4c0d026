//! What time alone does to points.

use super::holds::model::release;
use super::lots::{Lot, Lots};
use super::vesting::{miss_vesting, vest_by_time};
use crate::book::{Account, Actor, Due, DueKind, EntryReason, LotPart, Movement, NewEntry, Pocket, PointsDetail};
use crate::ids::{AccountId, EntryId};

impl Lots {
    /// What a due writes; nothing if it was not read.
    #[must_use]
    pub fn decide_due(&self, account: &Account, due: Due) -> Vec<NewEntry> {
        let account_id = account.account_id;
        let own = self.dues.range((account_id, due, 0)..=(account_id, due, i64::MAX)).next().map(|(.., seq)| *seq);
        if due.kind == DueKind::ReleaseHold {
            let hold = own.and_then(|seq| Some((seq, self.hold(account_id, seq)?)));
            return hold.map_or_else(Vec::new, |(seq, hold)| release(self, account, due.at, seq, hold));
        }
        let slides_to = self.earnings.get(&account_id).and_then(|earning| earning.slides_to);
        let sliding = self.sliding.range((account_id, 0)..=(account_id, i64::MAX)).next();
        let sliding = sliding.filter(|_| slides_to == Some(due.at) && due.kind == DueKind::Expire).map(|(_, seq)| *seq);
        // The oldest lot first, whichever way it came to its end.
        let seq = own.into_iter().chain(sliding).min();
        let Some((seq, lot)) = seq.and_then(|seq| Some((seq, self.lot(account_id, seq)?))) else { return Vec::new() };
        match due.kind {
            DueKind::Vest if lot.terms.vests_at.is_some() => vest_by_time(account, seq, lot),
            DueKind::Vest => vec![miss_vesting(account_id, seq, lot)],
            DueKind::ReleaseHold | DueKind::Expire | DueKind::EndReferral => vec![expire(account_id, seq, lot)],
        }
    }
}

/// The entry that takes what time takes of a lot.
fn expire(account_id: AccountId, seq: i64, lot: &Lot) -> NewEntry {
    NewEntry {
        detail: PointsDetail::PointsExpired { lots: vec![LotPart { lot: seq, points: lot.available }], hold: None }
            .into(),
        movement: Some(Movement { from: Pocket::Available, to: Pocket::Expired, points: lot.available }),
        actor: Actor::Time,
        reason: EntryReason::TimeReached,
        policy_version: lot.policy_version,
        causes: vec![EntryId { account_id, account_seq: seq }],
    }
}
