//! How held points are given back.

use jiff::Timestamp;

use crate::book::{Account, Actor, Detail, Entry, EntryReason, LotPart, NewEntry, Pocket, PocketMove, PointsDetail};
use crate::error::{Reason, Refusal};
use crate::ids::{AccountId, EntryId};
use crate::points::debts::repay;
use crate::points::lots::parts::sum;
use crate::points::lots::{Hold, Lots, Shortage};
use crate::points::settling::Settlement;

/// The entries by which time gives held points back at an instant. What expired meanwhile expires. The rest is
/// available again, and pays what is owed.
///
/// # Errors
/// [`Shortage::Unread`] if not all lots were read that it concerns.
pub(crate) fn release(
    lots: &Lots,
    account: &Account,
    at: Timestamp,
    seq: i64,
    hold: &Hold,
) -> Result<Vec<NewEntry>, Shortage> {
    let given = GiveBack {
        actor: Actor::Time,
        reason: EntryReason::TimeReached,
        policy_version: hold.policy_version,
        owed: account.balance.owed,
        first_id: account.next_entry_id(),
    };
    given.new_entries(lots, account.account_id, at, seq, &hold.parts)
}

/// How held points are given back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GiveBack {
    /// On whose behalf they are given back.
    pub actor: Actor,
    /// Why they are given back.
    pub reason: EntryReason,
    /// The program version that decides.
    pub policy_version: i32,
    /// What the customer owes.
    pub owed: i64,
    /// The id that the first entry will have.
    pub first_id: EntryId,
}

impl GiveBack {
    /// The entries that give `parts` of a hold back at an instant.
    ///
    /// # Errors
    /// [`Shortage::Unread`] if not all lots were read that it concerns.
    pub(crate) fn new_entries(
        &self,
        lots: &Lots,
        account_id: AccountId,
        at: Timestamp,
        hold: i64,
        parts: &[LotPart],
    ) -> Result<Vec<NewEntry>, Shortage> {
        let is_expired =
            |part: &LotPart| lots.lot(account_id, part.lot).is_some_and(|lot| lots.is_expired(account_id, lot, at));
        let (expired, live): (Vec<LotPart>, Vec<LotPart>) = parts.iter().partition(|part| is_expired(part));
        let settlement = Settlement::of(lots, account_id, at, self.owed, &expired)?;
        let new_entry = |detail, to, points| NewEntry {
            detail,
            movement: Some(PocketMove { from: Pocket::Held, to, points }),
            actor: self.actor,
            reason: self.reason,
            policy_version: self.policy_version,
            causes: vec![EntryId { account_id, account_seq: hold }],
        };
        let mut new_entries = Vec::new();
        if !live.is_empty() {
            let detail = PointsDetail::PointsReleased { hold, lots: live.clone() }.into();
            new_entries.push(new_entry(detail, Pocket::Available, sum(&live)));
        }
        if !expired.is_empty() {
            let points = sum(&expired);
            let detail = PointsDetail::PointsExpired { lots: expired, hold: Some(hold) }.into();
            new_entries.push(new_entry(detail, Pocket::Expired, points));
        }
        new_entries.extend(settlement.new_entries(self.reason, self.policy_version, self.first_id));
        let back = [live, settlement.returned].concat();
        new_entries.extend(repay(settlement.owed, &back, self.policy_version, vec![self.first_id]));
        Ok(new_entries)
    }
}

/// The refusal to end a hold that ended with an entry.
#[must_use]
pub(crate) fn hold_ended(hold_id: EntryId, end: &Entry) -> Refusal {
    let is_captured = matches!(end.detail, Detail::Points(PointsDetail::PointsRedeemed { .. }));
    let (words, ending) = match (is_captured, end.actor) {
        (true, Actor::Caller | Actor::Rule | Actor::Time) => ("was captured", "captured"),
        (false, Actor::Caller | Actor::Rule) => ("was released", "released"),
        (false, Actor::Time) => ("ended by itself", "expired"),
    };
    let ended_at = end.effective_at;
    let refusal = Refusal::new(Reason::HoldEnded, format!("the hold {words} at {ended_at}"));
    refusal.with("hold_id", hold_id).with("ending", ending).with("ended_at", ended_at)
}
