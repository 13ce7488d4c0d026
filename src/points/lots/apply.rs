//! What each entry does to lots, holds and what goes with them.

use jiff::Timestamp;

use super::{Earning, Hold, Lot, Lots};
use crate::book::{
    ActivityDetail, Defect, Detail, Due, DueKind, EarningWindow, Entry, EntryReason, LotPart, LotTerms, Pocket,
    PocketMove, PointsDetail,
};
use crate::ids::AccountId;

impl Lots {
    /// Applies an entry to the rows of its account.
    ///
    /// # Errors
    /// [`Defect`] if the entry contradicts them.
    pub(crate) fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        match &entry.detail {
            Detail::Points(detail) => self.apply_points(entry, detail),
            Detail::Activity(detail) => self.apply_activity(entry, detail).ok_or_else(|| contradiction(entry)),
            // None of these moves points or keeps them from expiring.
            Detail::Program(_)
            | Detail::Customer(_)
            | Detail::Tier(_)
            | Detail::Benefit(_)
            | Detail::Referral(_)
            | Detail::Complaint(_)
            | Detail::Goodwill(_)
            | Detail::Lifecycle(_)
            | Detail::Value(_) => Ok(()),
        }
    }

    fn apply_activity(&mut self, entry: &Entry, detail: &ActivityDetail) -> Option<()> {
        match detail {
            ActivityDetail::ActivityAccepted { slides_to, .. } | ActivityDetail::FeedbackAccepted { slides_to, .. } => {
                self.slide(entry, *slides_to)?;
            }
            ActivityDetail::RefundAccepted { purchase, spend, slides_to, .. } => {
                self.slide(entry, *slides_to)?;
                self.reverse(entry, *purchase, *spend)?;
            }
        }
        Some(())
    }

    fn apply_points(&mut self, entry: &Entry, detail: &PointsDetail) -> Result<(), Defect> {
        let applied = match detail {
            PointsDetail::PointsGranted { terms, counted_in, .. } => {
                self.open(entry, terms)?;
                self.count_earning(entry, counted_in)
            }
            PointsDetail::PointsImported { terms } | PointsDetail::PointsAdjusted { terms: Some(terms), .. } => {
                self.open(entry, terms)?;
                Some(())
            }
            PointsDetail::PointsVested { lot, expires_at } => self.vest(entry, *lot, *expires_at),
            PointsDetail::VestingMissed { lot } => self.miss_vesting(entry, *lot),
            PointsDetail::PointsHeld { lots, ends_at } => self.hold_parts(entry, lots, *ends_at),
            PointsDetail::PointsExpired { lots, hold: None } => self.expire(entry, lots),
            PointsDetail::PointsReleased { hold, lots }
            | PointsDetail::PointsExpired { hold: Some(hold), lots }
            | PointsDetail::PointsRedeemed { hold: Some(hold), lots } => self.end_hold(entry, lots, *hold),
            PointsDetail::EntryReversed { reversed, lots, expires_at, passed_over } => {
                self.undo(entry, lots, *reversed, *expires_at, passed_over.unwrap_or(0))
            }
            PointsDetail::ReversalSettled { reversed, lots } => self.settle(entry, lots, *reversed),
            PointsDetail::DebtIncurred { reversed } => self.incur_debt(entry, *reversed),
            PointsDetail::PointsRedeemed { hold: None, lots }
            | PointsDetail::PointsAdjusted { terms: None, lots }
            | PointsDetail::DebtRepaid { lots } => self.shift_parts(entry, lots),
            PointsDetail::PointsForfeited => self.forfeit(entry),
        };
        applied.ok_or_else(|| contradiction(entry))
    }

    /// Counts a grant in the calendar periods whose earning is capped.
    fn count_earning(&mut self, entry: &Entry, counted_in: &[EarningWindow]) -> Option<()> {
        let account_id = entry.id.account_id;
        // What was looked up does not have this grant.
        let own = self.looked_up.range((account_id, "")..).map(|(key, _)| *key);
        for key in own.take_while(|(of, _)| *of == account_id).collect::<Vec<_>>() {
            self.looked_up.remove(&key);
        }
        if !counted_in.is_empty() {
            let points = entry.movement?.points;
            self.change_earning(account_id)?.count(counted_in, points, entry.policy_version);
        }
        Some(())
    }

    /// Makes a lot's pending points available.
    fn vest(&mut self, entry: &Entry, lot: i64, expires_at: Option<Timestamp>) -> Option<()> {
        let (account_id, at, movement) = (entry.id.account_id, entry.effective_at, entry.movement?);
        self.change((account_id, lot), |lot| {
            lot.shift(movement)?;
            lot.live_since = Some(at);
            lot.terms.expires_at = expires_at;
            Some(())
        })?;
        self.note_use(entry, lot)?;
        let terms = &self.lot(account_id, lot)?.terms;
        if let (true, Some(to)) = (terms.slides, expires_at) {
            let is_by_time = terms.vests_at.is_some();
            self.begin_to_slide(account_id, at, to, is_by_time)?;
        }
        Some(())
    }

    /// Cancels a lot's pending points, whose event was missed.
    fn miss_vesting(&mut self, entry: &Entry, lot: i64) -> Option<()> {
        let movement = entry.movement?;
        self.change((entry.id.account_id, lot), |lot| lot.shift(movement))?;
        self.note_use(entry, lot)
    }

    /// Sets parts aside in a hold, which the entry names.
    fn hold_parts(&mut self, entry: &Entry, parts: &[LotPart], ends_at: Timestamp) -> Option<()> {
        self.shift_parts(entry, parts)?;
        let (points, policy_version) = (entry.movement?.points, entry.policy_version);
        let key = (entry.id.account_id, entry.id.account_seq);
        self.changed.holds.insert(key);
        self.put_hold(key, Hold { points, policy_version, ends_at, parts: parts.to_vec(), ended_seq: None });
        Some(())
    }

    /// Moves parts out of a hold.
    fn end_hold(&mut self, entry: &Entry, parts: &[LotPart], hold: i64) -> Option<()> {
        self.shift_parts(entry, parts)?;
        self.remove_from_hold((entry.id.account_id, hold), entry, parts)
    }

    /// Moves available parts to the expired ones.
    fn expire(&mut self, entry: &Entry, parts: &[LotPart]) -> Option<()> {
        self.shift_parts(entry, parts)?;
        self.end_sliding(entry.id.account_id, parts)
    }

    /// Takes all points of a pocket, of however many lots: those that were not read are changed where they are stored.
    fn forfeit(&mut self, entry: &Entry) -> Option<()> {
        let (account_id, whole) = (entry.id.account_id, entry.movement?);
        let (mut taken, mut changed) = (0_i64, Vec::new());
        for (seq, lot) in self.lots_of(account_id) {
            let mut lot = lot.clone();
            let points = *lot.pocket(whole.from)?;
            if points > 0 {
                lot.shift(PocketMove { points, ..whole })?;
                taken = taken.checked_add(points)?;
                changed.push((seq, lot));
            }
        }
        for (seq, lot) in changed {
            self.put_lot((account_id, seq), lot);
        }
        let is_paid_out = whole.to == Pocket::Redeemed;
        *self.changed.forfeited.entry(account_id).or_default() |= is_paid_out;
        let Some(gap) = self.gaps.get_mut(&account_id) else {
            // All lots are known, or none was read: nothing of points is asked for where a customer is erased.
            let is_known = self.lots_of(account_id).next().is_some();
            return (!is_known || taken == whole.points).then_some(());
        };
        // Nothing is left that time could do something to, once nothing is available either.
        if whole.from == Pocket::Available {
            (gap.due, gap.sliding_to) = (None, Some(i64::MAX));
        }
        Some(())
    }

    /// Undoes an earlier entry: its parts move, and get another expiry where they come back from theirs.
    fn undo(
        &mut self,
        entry: &Entry,
        parts: &[LotPart],
        reversed: i64,
        expires_at: Option<Timestamp>,
        passed_over: i64,
    ) -> Option<()> {
        let movement = entry.movement?;
        self.reverse(entry, reversed, movement.points.checked_add(passed_over)?)?;
        self.revive(entry, parts, expires_at)?;
        let others: Vec<LotPart> = parts.iter().filter(|part| part.lot != reversed).copied().collect();
        // Only a lot that is clawed back is cancelled.
        if movement.to == Pocket::Cancelled && !others.is_empty() {
            self.change((entry.id.account_id, reversed), |lot| {
                lot.made_up.lots.extend(others);
                Some(())
            })?;
        }
        self.shift_parts(entry, parts)
    }

    /// Counts the debt of a reversal as undone, too.
    fn incur_debt(&mut self, entry: &Entry, reversed: i64) -> Option<()> {
        let points = entry.movement?.points;
        self.change((entry.id.account_id, reversed), |lot| {
            lot.made_up.debt = lot.made_up.debt.checked_add(points)?;
            Some(())
        })?;
        self.reverse(entry, reversed, points)
    }

    /// Gives back what made up for points of a lot that came back expired.
    fn settle(&mut self, entry: &Entry, parts: &[LotPart], reversed: i64) -> Option<()> {
        let PocketMove { from, to, points } = entry.movement?;
        self.shift_parts(entry, parts)?;
        // The points themselves, and those of a debt that was paid, are no part of what is kept.
        if from != Pocket::Cancelled {
            return Some(());
        }
        self.change((entry.id.account_id, reversed), |lot| {
            if to == Pocket::Owed {
                lot.made_up.debt = lot.made_up.debt.checked_sub(points).filter(|left| *left >= 0)?;
                return Some(());
            }
            for part in parts {
                lot.made_up.remove(*part)?;
            }
            Some(())
        })
    }

    /// Gives lots whose points had expired another expiry, if an entry brings points of them back.
    fn revive(&mut self, entry: &Entry, parts: &[LotPart], expires_at: Option<Timestamp>) -> Option<()> {
        let Some(expires_at) = expires_at else { return Some(()) };
        for part in parts {
            self.change((entry.id.account_id, part.lot), |lot| {
                // What came back before keeps its date if that is later: a lot has one.
                let kept = lot.terms.expires_at.filter(|_| lot.available > 0);
                (lot.terms.expires_at, lot.terms.slides) = (kept.max(Some(expires_at)), false);
                Some(())
            })?;
        }
        Some(())
    }

    /// Removes parts from a hold, which ends once nothing is left.
    fn remove_from_hold(&mut self, key: (AccountId, i64), entry: &Entry, parts: &[LotPart]) -> Option<()> {
        let held = self.holds.get_mut(&key)?;
        held.remove_parts(entry.id.account_seq, parts)?;
        if held.parts.is_empty() {
            self.dues.remove(&(key.0, Due { at: held.ends_at, kind: DueKind::ReleaseHold }, key.1));
        }
        self.changed.holds.insert(key);
        Some(())
    }

    /// Opens the lot that an entry makes.
    fn open(&mut self, entry: &Entry, terms: &LotTerms) -> Result<(), Defect> {
        let movement =
            entry.movement.ok_or_else(|| Defect::new(format!("entry {}: a lot without points", entry.id)))?;
        let lot = Lot::new(movement.points, movement.to, entry, terms)?;
        let key = (entry.id.account_id, entry.id.account_seq);
        if let (true, Some(at), Some(to)) = (terms.slides, lot.live_since, terms.expires_at) {
            self.begin_to_slide(key.0, at, to, false).ok_or_else(|| contradiction(entry))?;
        }
        self.changed.lots.insert(key);
        self.changed.new_lots.insert(key);
        self.put_lot(key, lot);
        Ok(())
    }

    /// Moves each part of an entry as the whole is moved.
    fn shift_parts(&mut self, entry: &Entry, parts: &[LotPart]) -> Option<()> {
        let Some(whole) = entry.movement.filter(|_| !parts.is_empty()) else { return Some(()) };
        let sum = parts.iter().try_fold(0_i64, |sum, part| sum.checked_add(part.points))?;
        for part in parts {
            let moved = PocketMove { points: part.points, ..whole };
            self.change((entry.id.account_id, part.lot), |lot| lot.shift(moved))?;
            self.note_use(entry, part.lot)?;
        }
        (sum == whole.points).then_some(())
    }

    fn change(&mut self, key: (AccountId, i64), change: impl FnOnce(&mut Lot) -> Option<()>) -> Option<()> {
        let mut lot = self.lots.get(&key)?.clone();
        change(&mut lot)?;
        self.changed.lots.insert(key);
        self.put_lot(key, lot);
        Some(())
    }

    /// Notes that an entry moved points of a lot.
    fn note_use(&mut self, entry: &Entry, lot: i64) -> Option<()> {
        let account_id = entry.id.account_id;
        let older = self.lots.get_mut(&(account_id, lot))?.note_use(entry.id.account_seq);
        if let Some((last, older)) = older.and_then(|older| Some((*older.last()?, older))) {
            self.changed.uses.insert((account_id, lot, last));
            self.older_uses.insert((account_id, lot, last), older);
        }
        Some(())
    }

    /// Keeps when lots expired that slid until then, whatever the customer does afterwards.
    fn end_sliding(&mut self, account_id: AccountId, parts: &[LotPart]) -> Option<()> {
        for part in parts {
            let lot = self.lot(account_id, part.lot)?;
            let Some(expired_at) = self.expiry_of(account_id, lot).filter(|_| lot.terms.slides) else { continue };
            self.change((account_id, part.lot), |lot| {
                (lot.terms.expires_at, lot.terms.slides) = (Some(expired_at), false);
                Some(())
            })?;
        }
        Some(())
    }

    /// Counts how much an entry undoes of another.
    fn reverse(&mut self, entry: &Entry, reversed: i64, amount: i64) -> Option<()> {
        let key = (entry.id.account_id, reversed);
        let counts = self.reversals.entry(key).or_default();
        counts.in_all = counts.in_all.checked_add(amount)?;
        if entry.reason == EntryReason::Refund {
            counts.by_refunds = counts.by_refunds.checked_add(amount)?;
        }
        self.changed.reversals.insert(key);
        Some(())
    }

    fn slide(&mut self, entry: &Entry, slides_to: Option<Timestamp>) -> Option<()> {
        if let Some(to) = slides_to {
            self.change_earning(entry.id.account_id)?.slide(entry.effective_at, to);
        }
        Some(())
    }

    fn begin_to_slide(&mut self, account_id: AccountId, at: Timestamp, to: Timestamp, is_by_time: bool) -> Option<()> {
        self.change_earning(account_id)?.begin(at, to, is_by_time);
        Some(())
    }

    /// What concerns all lots of an account together, to be changed. None if it is stored and was not read: it would be
    /// overwritten.
    fn change_earning(&mut self, account_id: AccountId) -> Option<&mut Earning> {
        if self.has_unread_earnings && self.gaps.contains_key(&account_id) {
            return None;
        }
        self.changed.earnings.insert(account_id);
        Some(self.earnings.entry(account_id).or_default())
    }
}

fn contradiction(entry: &Entry) -> Defect {
    Defect::new(format!("entry {}: the lots contradict it", entry.id))
}
