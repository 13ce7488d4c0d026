//! What becomes of points that come back expired after their grant was undone.
//!
//! A reversal of a grant whose points are spent or held takes other points, or makes a debt. If those points come back
//! and have expired, there is nothing left that the reversal had to make up for: they are cancelled where they lie, and
//! what made up for them is given back. So it does not matter which came first.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use super::lots::parts::{slice_from_end, sum};
use super::lots::{Lots, MadeUp, Shortage};
use crate::book::{Actor, EntryReason, LotPart, NewEntry, Pocket, PocketMove, PointsDetail};
use crate::ids::{AccountId, EntryId};

/// One move of points by which a reversal is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The number of the entry whose reversal is settled.
    pub reversed: i64,
    /// The pocket that the points leave.
    pub from: Pocket,
    /// The pocket that they enter.
    pub to: Pocket,
    /// Which lots they are of; none where a debt is forgiven.
    pub lots: Vec<LotPart>,
    /// How many.
    pub points: i64,
}

/// What settles the reversals of some lots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Settlement {
    /// The moves, in order.
    pub steps: Vec<Step>,
    /// The points that are available again.
    pub returned: Vec<LotPart>,
    /// What the customer still owes.
    pub owed: i64,
}

impl Settlement {
    /// What follows from it that `expired` points of an account come back at an instant, while the customer owes
    /// `owed`. A debt is forgiven before other lots get points back. Points that paid it return to their lots, the
    /// newest first, and of other lots those that were taken last. Points that thereby come back expired settle, too.
    ///
    /// # Errors
    /// [`Shortage::Unread`] if it is not known which lots get points back.
    pub(super) fn of(
        lots: &Lots,
        account_id: AccountId,
        at: Timestamp,
        owed: i64,
        expired: &[LotPart],
    ) -> Result<Self, Shortage> {
        let mut settling =
            Settling { lots, account_id, at, made_up: BTreeMap::new(), repaid: 0, settlement: Self::default() };
        settling.settlement.owed = owed;
        let mut coming: VecDeque<LotPart> = expired.iter().copied().collect();
        while let Some(part) = coming.pop_front() {
            coming.extend(settling.settle(part)?);
        }
        Ok(settling.settlement)
    }

    /// The entries of its moves, which follow from another entry.
    pub(super) fn new_entries(
        &self,
        reason: EntryReason,
        policy_version: i32,
        cause: EntryId,
    ) -> impl Iterator<Item = NewEntry> {
        self.steps.iter().map(move |step| NewEntry {
            detail: PointsDetail::ReversalSettled { reversed: step.reversed, lots: step.lots.clone() }.into(),
            movement: Some(PocketMove { from: step.from, to: step.to, points: step.points }),
            actor: Actor::Rule,
            reason,
            policy_version,
            causes: vec![EntryId { account_seq: step.reversed, ..cause }, cause],
        })
    }
}

struct Settling<'a> {
    lots: &'a Lots,
    account_id: AccountId,
    at: Timestamp,
    /// What still makes up for points of the lots that were looked at.
    made_up: BTreeMap<i64, MadeUp>,
    /// How many points that paid a debt have returned to their lots.
    repaid: i64,
    settlement: Settlement,
}

impl Settling<'_> {
    /// Settles points of one lot. Returns those that come back expired by it.
    fn settle(&mut self, part: LotPart) -> Result<Vec<LotPart>, Shortage> {
        let lot = self.lots.lot(self.account_id, part.lot).ok_or(Shortage::Unread)?;
        let made_up = self.made_up.entry(part.lot).or_insert_with(|| lot.made_up.clone());
        let points = part.points.min(made_up.points());
        if points <= 0 {
            return Ok(Vec::new());
        }
        let debt = points.min(made_up.debt);
        made_up.debt -= debt;
        let taken = made_up.remove_last(points - debt);
        self.step(part.lot, Pocket::Expired, Pocket::Cancelled, vec![LotPart { points, ..part }]);
        let forgiven = debt.min(self.settlement.owed);
        self.settlement.owed -= forgiven;
        let payers = self.next_payers(debt - forgiven)?;
        let mut gone = self.give_back(part.lot, Pocket::Owed, payers)?;
        if debt > 0 {
            let (reversed, lots) = (part.lot, Vec::new());
            let step = Step { reversed, from: Pocket::Cancelled, to: Pocket::Owed, lots, points: debt };
            self.settlement.steps.push(step);
        }
        gone.extend(self.give_back(part.lot, Pocket::Cancelled, taken)?);
        Ok(gone)
    }

    /// The lots whose points paid a debt and return now, behind those that have returned already.
    fn next_payers(&mut self, points: i64) -> Result<Vec<LotPart>, Shortage> {
        if points == 0 {
            return Ok(Vec::new());
        }
        let so_far = self.lots.choose_payers(self.account_id, self.repaid.saturating_add(points))?;
        self.repaid = self.repaid.saturating_add(points);
        let mut next = slice_from_end(&so_far, 0, points);
        next.reverse();
        Ok(next)
    }

    /// Gives points back to their lots. Returns those whose lots have expired.
    fn give_back(&mut self, reversed: i64, from: Pocket, parts: Vec<LotPart>) -> Result<Vec<LotPart>, Shortage> {
        let (mut live, mut gone) = (Vec::new(), Vec::new());
        for part in parts {
            let lot = self.lots.lot(self.account_id, part.lot).ok_or(Shortage::Unread)?;
            if self.lots.is_expired(self.account_id, lot, self.at) { &mut gone } else { &mut live }.push(part);
        }
        self.settlement.returned.extend(&live);
        self.step(reversed, from, Pocket::Available, live);
        self.step(reversed, from, Pocket::Expired, gone.clone());
        Ok(gone)
    }

    fn step(&mut self, reversed: i64, from: Pocket, to: Pocket, lots: Vec<LotPart>) {
        let points = sum(&lots);
        if points > 0 {
            self.settlement.steps.push(Step { reversed, from, to, lots, points });
        }
    }
}
