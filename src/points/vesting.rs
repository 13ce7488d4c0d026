//! How pending points become available, or are lost because what they waited for did not happen.

use jiff::Timestamp;

use super::debts::repay;
use super::lots::Lot;
use crate::book::{Account, Actor, EntryReason, LotPart, NewEntry, Pocket, PocketMove, PointsDetail};
use crate::ids::{AccountId, EntryId};

/// The entries of points that vest by time alone.
#[must_use]
pub(super) fn vest_by_time(account: &Account, seq: i64, lot: &Lot) -> Vec<NewEntry> {
    let attribution =
        Attribution { actor: Actor::Time, reason: EntryReason::TimeReached, policy_version: lot.policy_version };
    vest(account, seq, lot, lot.terms.expires_at, attribution)
}

/// The entries of points that vest because somebody says that what they were granted for has happened.
#[must_use]
pub(super) fn vest_on_event(
    account: &Account,
    seq: i64,
    lot: &Lot,
    expires_at: Option<Timestamp>,
    policy_version: i32,
) -> Vec<NewEntry> {
    let attribution = Attribution { actor: Actor::Caller, reason: EntryReason::EventHappened, policy_version };
    vest(account, seq, lot, expires_at, attribution)
}

/// The entry that makes a lot's pending points available, first on its account, and what they pay of a debt.
fn vest(
    account: &Account,
    seq: i64,
    lot: &Lot,
    expires_at: Option<Timestamp>,
    attribution: Attribution,
) -> Vec<NewEntry> {
    let Attribution { actor, reason, policy_version } = attribution;
    let vested = NewEntry {
        detail: PointsDetail::PointsVested { lot: seq, expires_at }.into(),
        movement: Some(PocketMove { from: Pocket::Pending, to: Pocket::Available, points: lot.pending }),
        actor,
        reason,
        policy_version,
        causes: vec![EntryId { account_id: account.account_id, account_seq: seq }],
    };
    let parts = [LotPart { lot: seq, points: lot.pending }];
    let repayment = repay(account.balance.owed, &parts, policy_version, vec![account.next_entry_id()]);
    std::iter::once(vested).chain(repayment).collect()
}

/// On whose behalf something is done, why, and the program version that decides.
#[derive(Clone, Copy, Debug)]
struct Attribution {
    actor: Actor,
    reason: EntryReason,
    policy_version: i32,
}

/// The entry that ends a lot whose event nobody reported in time.
#[must_use]
pub(super) fn miss_vesting(account_id: AccountId, seq: i64, lot: &Lot) -> NewEntry {
    NewEntry {
        detail: PointsDetail::VestingMissed { lot: seq }.into(),
        movement: Some(PocketMove { from: Pocket::Pending, to: Pocket::Cancelled, points: lot.pending }),
        actor: Actor::Time,
        reason: EntryReason::EventMissed,
        policy_version: lot.policy_version,
        causes: vec![EntryId { account_id, account_seq: seq }],
    }
}
