//! What undoing an entry takes and gives: a grant on its own lot first, a redemption back into the lots it took.

use jiff::Timestamp;

use super::kind::ReversalKind;
use crate::book::{
    Account, Actor, Decision, DecisionError, Defect, Detail, Entry, EntryReason, LotPart, NewEntry, Pocket, PocketMove,
    PointsDetail,
};
use crate::error::{Reason, Refusal};
use crate::ids::EntryId;
use crate::points::debts::repay;
use crate::points::lots::parts::{slice_from_end, sum};
use crate::points::lots::{Lot, Shortage};
use crate::points::settling::Settlement;
use crate::points::spending::model::too_many_lots;
use crate::points::state::PointsState;
use crate::programs::model::ProgramVersion;
use crate::programs::points::Clawback;

/// How an entry is undone.
#[derive(Clone, Debug)]
pub(crate) struct Reversal {
    /// How many of its points; what is left, if absent.
    pub points: Option<i64>,
    /// What is taken where a grant's points are spent.
    pub clawback: Clawback,
    /// When expired points that come back expire again; by the program, if absent.
    pub expires_at: Option<Timestamp>,
    /// On whose behalf it is undone.
    pub actor: Actor,
    /// Why it is undone, from a closed list.
    pub reason: EntryReason,
    /// What caused it, besides the entry itself.
    pub causes: Vec<EntryId>,
    /// Until when sliding points last after this very command, if it slides them.
    pub slid_to: Option<Timestamp>,
}

/// How an entry is undone, and how many of its points have not been yet.
///
/// # Errors
/// A refusal if nothing is left, or the entry cannot be undone at all.
fn left_of(decision: &Decision<'_>, original: &Entry) -> Result<(ReversalKind, i64), DecisionError> {
    let refuse = |reason, message: String| Err(Refusal::new(reason, message).with("entry_id", original.id).into());
    let (Some(kind), Some(movement)) = (ReversalKind::of(&original.detail), original.movement) else {
        let kind = original.detail.kind();
        return refuse(Reason::EntryNotReversible, format!("an entry of kind {kind} cannot be reversed"));
    };
    let lots = decision.state::<PointsState>()?.lots();
    let reversed = lots.reversed(original.id.account_id, original.id.account_seq);
    let left = movement.points.saturating_sub(reversed.in_all);
    if left <= 0 {
        return refuse(Reason::EntryAlreadyReversed, "the entry was reversed whole before".to_owned());
    }
    Ok((kind, left))
}

/// Undoes an entry, whole or in part.
///
/// # Errors
/// A refusal if it cannot be undone, or not so far; [`DecisionError::NotLoaded`] if the lots were not read.
pub(crate) fn reverse(
    decision: &mut Decision<'_>,
    policy: &ProgramVersion,
    account: &Account,
    original: &Entry,
    reversal: &Reversal,
) -> Result<(), DecisionError> {
    let (kind, left) = left_of(decision, original)?;
    let points = reversal.points.unwrap_or(left);
    if points > left {
        let message = format!("{points} points are more than the {left} that are left to reverse");
        let refusal = Refusal::new(Reason::ReversalExceedsOriginal, message).with("entry_id", original.id);
        return Err(refusal.with("requested", points).with("left", left).into());
    }
    let undoing = Undoing { policy, account, original, reversal };
    let taken = match kind {
        ReversalKind::TakeBack => undoing.take_back(decision, points)?,
        ReversalKind::GiveBack(from) => undoing.give_back(decision, from, points)?,
        ReversalKind::Reinstate => undoing.reinstate(decision, points)?,
    };
    if taken == 0 {
        let message = undoing.why_nothing(decision, kind)?;
        return Err(Refusal::new(Reason::NothingToReverse, message).with("entry_id", original.id).into());
    }
    Ok(())
}

/// Takes back points of a grant as far as the reversal's clawback goes, and says how many.
///
/// # Errors
/// [`DecisionError::NotLoaded`] if the lots were not read.
pub(crate) fn take_back(
    decision: &mut Decision<'_>,
    policy: &ProgramVersion,
    account: &Account,
    original: &Entry,
    reversal: &Reversal,
    points: i64,
) -> Result<i64, DecisionError> {
    Undoing { policy, account, original, reversal }.take_back(decision, points)
}

/// How many points of a grant are taken back from where.
struct Sources {
    /// Of the grant's own lot, what is pending, available and expired.
    pending: i64,
    available: i64,
    expired: i64,
    /// What other lots have available.
    other_lots: i64,
    /// What the customer owes from now on.
    debt: i64,
    in_all: i64,
}

/// What an entry of a reversal says beside its points.
#[derive(Clone, Copy, Default)]
struct Terms {
    /// When points that come back from their expiry expire again.
    expires_at: Option<Timestamp>,
    /// How many more points count as undone.
    passed_over: Option<i64>,
}

/// An entry that is being undone.
struct Undoing<'a> {
    policy: &'a ProgramVersion,
    account: &'a Account,
    original: &'a Entry,
    reversal: &'a Reversal,
}

impl Undoing<'_> {
    fn lot<'d>(&self, decision: &Decision<'d>, lot: i64) -> Result<&'d Lot, DecisionError> {
        let lots = decision.state::<PointsState>()?.lots();
        lots.lot(self.account.account_id, lot).ok_or(DecisionError::NotLoaded)
    }

    /// How many points are taken from where, in this order, each as far as it goes.
    fn choose_sources(&self, own: &Lot, points: i64) -> Sources {
        let clawback = self.reversal.clawback;
        let is_unspent_only = clawback == Clawback::UnspentOnly;
        // Points that never became available were never spent: nothing makes up for those whose event was missed.
        let may_reach_others = !is_unspent_only && own.live_since.is_some();
        let may_owe = may_reach_others && clawback == Clawback::AllowDebt;
        let others_available = self.account.balance.available.saturating_sub(own.available);
        let limits = [
            own.pending,
            own.available,
            // What has expired is lost already. It is cancelled where it lies, and not taken once more elsewhere.
            if is_unspent_only { 0 } else { own.expired },
            if may_reach_others { others_available } else { 0 },
            if may_owe { i64::MAX } else { 0 },
        ];
        let mut left = points;
        let [pending, available, expired, other_lots, debt] = limits.map(|limit| {
            let taken = limit.min(left);
            left -= taken;
            taken
        });
        Sources { pending, available, expired, other_lots, debt, in_all: points - left }
    }

    fn take_back(&self, decision: &mut Decision<'_>, points: i64) -> Result<i64, DecisionError> {
        let seq = self.original.id.account_seq;
        let sources = self.choose_sources(self.lot(decision, seq)?, points);
        let of_own_lot = |points: i64| if points > 0 { vec![LotPart { lot: seq, points }] } else { Vec::new() };
        let mut available = of_own_lot(sources.available);
        if sources.other_lots > 0 {
            let lots = decision.state::<PointsState>()?.lots();
            match lots.choose_others(self.account, sources.other_lots, Some(seq), self.reversal.slid_to) {
                Ok(parts) => available.extend(parts),
                Err(Shortage::Unread) => return Err(DecisionError::NotLoaded),
                Err(Shortage::TooWide) => return Err(too_many_lots(sources.other_lots).into()),
                Err(Shortage::Points) => {
                    let account = self.account.account_id.0;
                    let what = format!("account {account}: its lots have fewer points available than its balance");
                    return Err(Defect::new(what).into());
                }
            }
        }
        let cancelled = [
            (Pocket::Pending, of_own_lot(sources.pending)),
            (Pocket::Available, available),
            (Pocket::Expired, of_own_lot(sources.expired)),
        ];
        for (from, parts) in cancelled {
            self.post(decision, from, Pocket::Cancelled, parts, Terms::default())?;
        }
        if sources.debt > 0 {
            let movement = PocketMove { from: Pocket::Owed, to: Pocket::Cancelled, points: sources.debt };
            let new_entry = self.describe(PointsDetail::DebtIncurred { reversed: seq }.into(), movement);
            decision.post(self.account.account_id, new_entry)?;
        }
        Ok(sources.in_all)
    }

    /// Why nothing could be undone.
    fn why_nothing(&self, decision: &Decision<'_>, kind: ReversalKind) -> Result<&'static str, DecisionError> {
        if kind == ReversalKind::Reinstate {
            return Ok("none of these points are expired any more: a reversal of their grant has cancelled them");
        }
        if self.lot(decision, self.original.id.account_seq)?.live_since.is_none() {
            return Ok(
                "the grant's points were all cancelled before they became available: there is nothing to take back",
            );
        }
        Ok(match self.reversal.clawback {
            Clawback::UnspentOnly => {
                "none of the grant's own points are pending or available, and the clawback UNSPENT_ONLY takes no others"
            }
            // If a debt is allowed, something can always be taken of points that became available.
            Clawback::WithinBalance | Clawback::AllowDebt => {
                "none of the grant's own points are left, and the customer has no others available"
            }
        })
    }

    /// Gives points back into the lots that they were of, those taken last first.
    fn give_back(&self, decision: &mut Decision<'_>, from: Pocket, points: i64) -> Result<i64, DecisionError> {
        let account_id = self.account.account_id;
        let (at, program) = (self.account.time_at(decision.at()), &self.policy.program);
        let state: &PointsState = decision.state()?;
        let reversed = state.lots().reversed(account_id, self.original.id.account_seq).in_all;
        let (mut live, mut revived, mut expired) = (Vec::new(), Vec::new(), Vec::new());
        for part in slice_from_end(self.original.detail.lots(), reversed, points) {
            let lot = self.lot(decision, part.lot)?;
            let expiry =
                state.lots().expiry_of(account_id, lot).filter(|_| state.lots().is_expired(account_id, lot, at));
            let is_open = |expired_at| {
                let rule = program.points.reinstatement.as_ref();
                rule.is_some_and(|rule| rule.is_open(expired_at, at, &program.time_zone.0))
            };
            match expiry {
                None => live.push(part),
                Some(expired_at) if is_open(expired_at) => revived.push(part),
                Some(_) => expired.push(part),
            }
        }
        let settlement = Settlement::of(state.lots(), account_id, at, self.account.balance.owed, &expired)
            .map_err(|_| DecisionError::NotLoaded)?;
        let first_id = decision.next_entry_id(account_id)?;
        let back = [live.as_slice(), &revived, &settlement.returned].concat();
        self.post(decision, from, Pocket::Available, live, Terms::default())?;
        if !revived.is_empty() {
            let terms = Terms { expires_at: Some(self.new_expiry(at)?), ..Terms::default() };
            self.post(decision, from, Pocket::Available, revived, terms)?;
        }
        self.post(decision, from, Pocket::Expired, expired, Terms::default())?;
        for new_entry in settlement.new_entries(self.reversal.reason, self.policy.version, first_id) {
            decision.post(account_id, new_entry)?;
        }
        self.pay(decision, settlement.owed, &back, first_id)?;
        Ok(points)
    }

    /// Gives expired points back to their lots, while the program allows it.
    fn reinstate(&self, decision: &mut Decision<'_>, points: i64) -> Result<i64, DecisionError> {
        let account_id = self.account.account_id;
        let (at, program) = (self.account.time_at(decision.at()), &self.policy.program);
        let expired_at = self.original.effective_at;
        let closed = |message: String| {
            let refusal = Refusal::new(Reason::ReinstatementClosed, message).with("entry_id", self.original.id);
            refusal.with("expired_at", expired_at)
        };
        let rule = program.points.reinstatement.as_ref();
        let rule = rule.ok_or_else(|| closed("the program does not reinstate points that expired".to_owned()))?;
        let closed_at = rule.closes_at(expired_at, &program.time_zone.0);
        if at >= closed_at {
            let message = format!("the time to reinstate these points ended at {closed_at}");
            return Err(closed(message).with("closed_at", closed_at).into());
        }
        let lots = decision.state::<PointsState>()?.lots();
        let reversed = lots.reversed(account_id, self.original.id.account_seq).in_all;
        let parts = slice_from_end(self.original.detail.lots(), reversed, points);
        // A reversal of the grant may have cancelled what expired: all that is left is what is still there.
        let mut there = Vec::with_capacity(parts.len());
        for part in parts {
            let left = self.lot(decision, part.lot)?.expired.min(part.points);
            if left < part.points && self.reversal.points.is_some() {
                let message = format!("only {left} of these points are still expired");
                let refusal = Refusal::new(Reason::ReversalExceedsOriginal, message);
                return Err(refusal.with("entry_id", self.original.id).with("left", left).into());
            }
            there.extend((left > 0).then_some(LotPart { points: left, ..part }));
        }
        let reinstated = sum(&there);
        // What is gone counts as undone, so that nothing of the other lots comes back twice.
        let passed_over = Some(points.saturating_sub(reinstated)).filter(|points| *points > 0);
        let terms = Terms { expires_at: Some(self.new_expiry(at)?), passed_over };
        let entry_id = decision.next_entry_id(account_id)?;
        self.post(decision, Pocket::Expired, Pocket::Available, there.clone(), terms)?;
        self.pay(decision, self.account.balance.owed, &there, entry_id)?;
        Ok(reinstated)
    }

    /// When points that come back from their expiry expire again.
    fn new_expiry(&self, at: Timestamp) -> Result<Timestamp, DecisionError> {
        let program = &self.policy.program;
        let by_rule = || program.points.reinstatement.as_ref().map(|rule| rule.expiry_of(at, &program.time_zone.0));
        let expires_at = self.reversal.expires_at.or_else(by_rule);
        let expires_at = expires_at.ok_or_else(|| {
            let original = self.original.id;
            Defect::new(format!("nothing says when points expire that a reversal of entry {original} brings back"))
        })?;
        if expires_at <= at {
            let refusal = Refusal::new(Reason::InstantNotAhead, "expires_at must lie ahead");
            return Err(refusal.with("expires_at", expires_at).with("now", at).into());
        }
        Ok(expires_at)
    }

    /// Posts the part of the reversal that moves these points.
    fn post(
        &self,
        decision: &mut Decision<'_>,
        from: Pocket,
        to: Pocket,
        lots: Vec<LotPart>,
        terms: Terms,
    ) -> Result<(), DecisionError> {
        if lots.is_empty() {
            return Ok(());
        }
        let movement = PocketMove { from, to, points: sum(&lots) };
        let Terms { expires_at, passed_over } = terms;
        let reversed = self.original.id.account_seq;
        let detail = PointsDetail::EntryReversed { reversed, lots, expires_at, passed_over };
        decision.post(self.account.account_id, self.describe(detail.into(), movement))?;
        Ok(())
    }

    /// Posts what points that are available again pay of a debt.
    fn pay(
        &self,
        decision: &mut Decision<'_>,
        owed: i64,
        lots: &[LotPart],
        cause: EntryId,
    ) -> Result<(), DecisionError> {
        if let Some(repayment) = repay(owed, lots, self.policy.version, vec![cause]) {
            decision.post(self.account.account_id, repayment)?;
        }
        Ok(())
    }

    fn describe(&self, detail: Detail, movement: PocketMove) -> NewEntry {
        let mut causes = vec![self.original.id];
        causes.extend(&self.reversal.causes);
        NewEntry {
            detail,
            movement: Some(movement),
            actor: self.reversal.actor,
            reason: self.reversal.reason,
            policy_version: self.policy.version,
            causes,
        }
    }
}

/// How many points of a grant a refund takes back in all, once so much of the purchase is refunded: its proportion,
/// rounded down, so that the refunds of the whole take the whole.
#[must_use]
pub(crate) fn share_of(points: i64, refunded: i64, amount: i64) -> i64 {
    if refunded >= amount {
        return points;
    }
    let share = i128::from(points) * i128::from(refunded) / i128::from(amount);
    i64::try_from(share).unwrap_or(points)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn refunds_of_the_whole_take_the_whole_however_they_are_cut(
            points in 0..=i64::MAX, cuts in prop::collection::vec(1..i64::MAX / 8, 1..8)
        ) {
            let amount: i64 = cuts.iter().sum();
            let (mut refunded, mut taken) = (0, 0);
            for cut in cuts {
                let before = share_of(points, refunded, amount);
                refunded += cut;
                let now = share_of(points, refunded, amount);
                prop_assert!(now >= before);
                // Never more than the proportion.
                prop_assert!(i128::from(now) * i128::from(amount) <= i128::from(points) * i128::from(refunded));
                taken += now - before;
            }
            prop_assert_eq!(taken, points);
        }
    }
}
