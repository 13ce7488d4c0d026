//! What a grant is, how its points vest, expire and pay debts, and what a spend or a hold may take.

use jiff::Timestamp;

use super::limits::Capped;
use super::lots::{Hold, Lot, Lots, Shortage};
use super::store::PointsState;
use crate::book::{
    Account, Actor, Decision, DecisionError, Defect, Detail, EntryReason, LotPart, LotTerms, Movement, NewEntry, Pocket,
};
use crate::error::{Reason, Refusal};
use crate::ids::{AccountId, EntryId};
use crate::programs::model::{Program, ProgramVersion};
use crate::programs::points::{Expiry, Vesting};

/// Points above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Points(i64);

impl Points {
    /// Points, if there are any.
    #[must_use]
    pub const fn new(points: i64) -> Option<Self> {
        if points > 0 { Some(Self(points)) } else { None }
    }

    /// How many.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// A grant to be made.
#[derive(Clone, Debug)]
pub struct Grant {
    /// How many points.
    pub points: Points,
    /// When they vest; by the program, if absent.
    pub vesting: Option<Vesting>,
    /// When they expire; by the program, if absent.
    pub expiry: Option<Expiry>,
    /// What the program's caps on earning leave of it, if they apply.
    pub capped: Option<Capped>,
    /// On whose behalf.
    pub actor: Actor,
    /// Why.
    pub reason: EntryReason,
    /// The entries that caused it.
    pub causes: Vec<EntryId>,
}

impl Grant {
    /// A grant by a rule of the program, on the program's terms.
    #[must_use]
    pub const fn by_rule(points: Points, reason: EntryReason, causes: Vec<EntryId>) -> Self {
        Self { points, vesting: None, expiry: None, capped: None, actor: Actor::Rule, reason, causes }
    }
}

/// Posts a grant as a lot of its own, and what its points pay of a debt. None if a period's cap leaves nothing of it.
///
/// # Errors
/// [`DecisionError::NotLoaded`] if the account is not locked.
pub fn grant(
    decision: &mut Decision<'_>,
    policy: &ProgramVersion,
    account_id: AccountId,
    grant: Grant,
) -> Result<Option<EntryId>, DecisionError> {
    let at = decision.account(account_id)?.time_at(decision.at());
    let program = &policy.program;
    let uncapped = grant.points.get();
    let (points, counted_in) =
        grant.capped.map_or_else(|| (uncapped, Vec::new()), |capped| (capped.points, capped.counted_in));
    if points == 0 {
        return Ok(None);
    }
    let vesting = grant.vesting.as_ref().unwrap_or(&program.points.vesting);
    let expiry = grant.expiry.as_ref().unwrap_or(&program.points.expiry);
    let terms = terms_of(vesting, expiry, at, program)?;
    let detail = Detail::PointsGranted {
        terms: terms.clone(),
        counted_in,
        uncapped: Some(uncapped).filter(|uncapped| *uncapped != points),
    };
    let new_entry = NewEntry {
        detail,
        movement: Some(Movement { from: Pocket::Issued, to: pocket_of(&terms), points }),
        actor: grant.actor,
        reason: grant.reason,
        policy_version: policy.version,
        causes: grant.causes,
    };
    Ok(Some(open_lot(decision, account_id, new_entry, &terms)?))
}

/// Posts an entry that makes a lot, and what the lot pays of a debt at once.
///
/// # Errors
/// [`DecisionError::NotLoaded`] if the account is not locked.
pub fn open_lot(
    decision: &mut Decision<'_>,
    account_id: AccountId,
    new_entry: NewEntry,
    terms: &LotTerms,
) -> Result<EntryId, DecisionError> {
    let (points, policy_version) = (new_entry.movement.map_or(0, |movement| movement.points), new_entry.policy_version);
    let owed = decision.balance(account_id)?.owed;
    let entry_id = decision.post(account_id, new_entry)?;
    if pocket_of(terms) == Pocket::Available {
        let parts = [LotPart { lot: entry_id.account_seq, points }];
        if let Some(repayment) = repay(owed, &parts, policy_version, vec![entry_id]) {
            decision.post(account_id, repayment)?;
        }
    }
    Ok(entry_id)
}

/// Where the points of new terms are at first.
#[must_use]
pub const fn pocket_of(terms: &LotTerms) -> Pocket {
    if terms.vests_at.is_none() && terms.vest_by.is_none() { Pocket::Available } else { Pocket::Pending }
}

/// When points that are granted at an instant vest and expire.
///
/// # Errors
/// [`Defect`] if a rule cannot be written down.
pub fn terms_of(vesting: &Vesting, expiry: &Expiry, at: Timestamp, program: &Program) -> Result<LotTerms, Defect> {
    let time_zone = &program.time_zone.0;
    let slides = matches!(expiry, Expiry::Sliding(_));
    let vests_at = match vesting {
        Vesting::Immediate => None,
        Vesting::At(instant) => Some(*instant).filter(|instant| *instant > at),
        Vesting::After(period) => Some(period.after(at, time_zone)),
        Vesting::OnEvent(period) => return terms_on_event(period.after(at, time_zone), expiry),
    };
    let expires_at = expiry.of(vests_at.unwrap_or(at), time_zone);
    Ok(LotTerms { vests_at, vest_by: None, expires_at, slides, expiry_rule: None })
}

/// The terms of points that wait until an instant for what they are granted for; their expiry is told when it happens.
///
/// # Errors
/// [`Defect`] if the rule cannot be written down.
pub fn terms_on_event(vest_by: Timestamp, expiry: &Expiry) -> Result<LotTerms, Defect> {
    let rule = serde_json::to_string(expiry).map_err(|error| Defect::new(error.to_string()))?;
    let slides = matches!(expiry, Expiry::Sliding(_));
    Ok(LotTerms { vests_at: None, vest_by: Some(vest_by), expires_at: None, slides, expiry_rule: Some(rule) })
}

/// Refuses an instant that is not after another.
///
/// # Errors
/// A refusal that names the field.
pub fn require_ahead(field: &'static str, instant: Timestamp, after: Timestamp) -> Result<(), Refusal> {
    if instant > after {
        return Ok(());
    }
    let refusal = Refusal::new(Reason::InstantNotAhead, format!("{field} must be later than {after}"));
    Err(refusal.with(field, instant).with("after", after))
}

/// What points that become available pay of a debt: the first of `parts`, as far as they go.
#[must_use]
pub fn repay(owed: i64, parts: &[LotPart], policy_version: i32, causes: Vec<EntryId>) -> Option<NewEntry> {
    let lots = first_points(parts, owed);
    let points = sum(&lots);
    (points > 0).then_some(NewEntry {
        detail: Detail::DebtRepaid { lots },
        movement: Some(Movement { from: Pocket::Available, to: Pocket::Owed, points }),
        actor: Actor::Rule,
        reason: EntryReason::DebtRepayment,
        policy_version,
        causes,
    })
}

/// The first `points` of some parts, or all of them.
#[must_use]
pub fn first_points(parts: &[LotPart], points: i64) -> Vec<LotPart> {
    let mut left = points;
    let mut first = Vec::new();
    for part in parts {
        let taken = part.points.min(left);
        if taken <= 0 {
            break;
        }
        first.push(LotPart { lot: part.lot, points: taken });
        left -= taken;
    }
    first
}

/// How many points some parts are together; they are of one account and cannot overflow.
#[must_use]
pub fn sum(parts: &[LotPart]) -> i64 {
    parts.iter().fold(0, |sum, part| sum.saturating_add(part.points))
}

/// The entry that makes a lot's pending points available, first on its account, and what they pay of a debt.
fn vest(account: &Account, seq: i64, lot: &Lot, expires_at: Option<Timestamp>, why: Why) -> Vec<NewEntry> {
    let Why { actor, reason, policy_version } = why;
    let vested = NewEntry {
        detail: Detail::PointsVested { lot: seq, expires_at },
        movement: Some(Movement { from: Pocket::Pending, to: Pocket::Available, points: lot.pending }),
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
struct Why {
    actor: Actor,
    reason: EntryReason,
    policy_version: i32,
}

/// The entries of points that vest by time alone.
#[must_use]
pub fn vest_by_time(account: &Account, seq: i64, lot: &Lot) -> Vec<NewEntry> {
    let why = Why { actor: Actor::Time, reason: EntryReason::TimeReached, policy_version: lot.policy_version };
    vest(account, seq, lot, lot.terms.expires_at, why)
}

/// The entries of points that vest because somebody says that what they were granted for has happened.
#[must_use]
pub fn vest_on_event(
    account: &Account,
    seq: i64,
    lot: &Lot,
    expires_at: Option<Timestamp>,
    policy_version: i32,
) -> Vec<NewEntry> {
    let why = Why { actor: Actor::Caller, reason: EntryReason::EventHappened, policy_version };
    vest(account, seq, lot, expires_at, why)
}

/// The entry that ends a lot whose event nobody reported in time.
#[must_use]
pub fn miss_vesting(account_id: AccountId, seq: i64, lot: &Lot) -> NewEntry {
    NewEntry {
        detail: Detail::VestingMissed { lot: seq },
        movement: Some(Movement { from: Pocket::Pending, to: Pocket::Cancelled, points: lot.pending }),
        actor: Actor::Time,
        reason: EntryReason::EventMissed,
        policy_version: lot.policy_version,
        causes: vec![EntryId { account_id, account_seq: seq }],
    }
}

/// The entry that takes what time takes of a lot.
#[must_use]
pub fn expire(account_id: AccountId, seq: i64, lot: &Lot) -> NewEntry {
    NewEntry {
        detail: Detail::PointsExpired { lots: vec![LotPart { lot: seq, points: lot.available }], hold: None },
        movement: Some(Movement { from: Pocket::Available, to: Pocket::Expired, points: lot.available }),
        actor: Actor::Time,
        reason: EntryReason::TimeReached,
        policy_version: lot.policy_version,
        causes: vec![EntryId { account_id, account_seq: seq }],
    }
}

/// The entries that give held points back at an instant, by time: what expired meanwhile expires, the rest is available
/// again and pays what is owed.
#[must_use]
pub fn release(lots: &Lots, account: &Account, at: Timestamp, seq: i64, hold: &Hold) -> Vec<NewEntry> {
    let given = GiveBack {
        actor: Actor::Time,
        reason: EntryReason::TimeReached,
        policy_version: hold.policy_version,
        owed: account.balance.owed,
        first_id: account.next_entry_id(),
    };
    given.posts(lots, account.account_id, at, seq, &hold.parts)
}

/// How held points are given back.
#[derive(Clone, Copy, Debug)]
pub struct GiveBack {
    /// On whose behalf.
    pub actor: Actor,
    /// Why.
    pub reason: EntryReason,
    /// The program version that decides.
    pub policy_version: i32,
    /// What the customer owes.
    pub owed: i64,
    /// The id that the first entry will have.
    pub first_id: EntryId,
}

impl GiveBack {
    /// The entries.
    #[must_use]
    pub fn posts(
        &self,
        lots: &Lots,
        account_id: AccountId,
        at: Timestamp,
        hold: i64,
        parts: &[LotPart],
    ) -> Vec<NewEntry> {
        let is_expired =
            |part: &LotPart| lots.lot(account_id, part.lot).is_some_and(|lot| lots.is_expired(account_id, lot, at));
        let (expired, live): (Vec<LotPart>, Vec<LotPart>) = parts.iter().partition(|part| is_expired(part));
        let new_entry = |detail, to, points| NewEntry {
            detail,
            movement: Some(Movement { from: Pocket::Held, to, points }),
            actor: self.actor,
            reason: self.reason,
            policy_version: self.policy_version,
            causes: vec![EntryId { account_id, account_seq: hold }],
        };
        let mut new_entries = Vec::new();
        if !live.is_empty() {
            let points = sum(&live);
            new_entries.push(new_entry(Detail::PointsReleased { hold, lots: live.clone() }, Pocket::Available, points));
            new_entries.extend(repay(self.owed, &live, self.policy_version, vec![self.first_id]));
        }
        if !expired.is_empty() {
            let points = sum(&expired);
            new_entries.push(new_entry(
                Detail::PointsExpired { lots: expired, hold: Some(hold) },
                Pocket::Expired,
                points,
            ));
        }
        new_entries
    }
}

/// Chooses the lots for a spend.
///
/// # Errors
/// A refusal if too few points are available; [`DecisionError::NotLoaded`] if not enough of the lots were read.
pub fn choose_lots(decision: &Decision<'_>, account: &Account, points: i64) -> Result<Vec<LotPart>, DecisionError> {
    decision.state::<PointsState>()?.lots().choose(account, points).map_err(|shortage| match shortage {
        Shortage::Points => insufficient(points, account.balance.available).into(),
        Shortage::Unread => DecisionError::NotLoaded,
    })
}

fn insufficient(requested: i64, available: i64) -> Refusal {
    let message = format!("{requested} points are more than the {available} that are available");
    Refusal::new(Reason::InsufficientPoints, message).with("requested", requested).with("available", available)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_above_zero() {
        assert_eq!([0, -1, i64::MIN].map(Points::new), [None; 3]);
        assert_eq!(Points::new(i64::MAX).map(Points::get), Some(i64::MAX));
    }

    #[test]
    fn the_first_points_of_some_parts_are_theirs_in_order() {
        let part = |lot, points| LotPart { lot, points };
        let parts = [part(1, 5), part(2, 7)];
        assert_eq!(first_points(&parts, 0), []);
        assert_eq!(first_points(&parts, 5), [part(1, 5)]);
        assert_eq!(first_points(&parts, 6), [part(1, 5), part(2, 1)]);
        assert_eq!(first_points(&parts, i64::MAX), parts);
    }
}
