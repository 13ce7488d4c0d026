//! What each entry does to lots, holds and what goes with them.

use jiff::Timestamp;

use super::{Hold, Lot, Lots};
use crate::book::{Defect, Detail, Due, DueKind, Entry, LotPart, LotTerms, Movement};
use crate::ids::AccountId;

impl Lots {
    /// Takes an entry into the rows.
    ///
    /// # Errors
    /// [`Defect`] if the entry contradicts them.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        self.take(entry).ok_or_else(|| Defect::new(format!("entry {}: the lots contradict it", entry.id)))?
    }

    fn take(&mut self, entry: &Entry) -> Option<Result<(), Defect>> {
        let (account_id, at) = (entry.id.account_id, entry.effective_at);
        match &entry.detail {
            Detail::ActivityAccepted { slides_to, .. } => self.slide(entry, *slides_to),
            Detail::RefundAccepted { purchase, spend, slides_to, .. } => {
                self.slide(entry, *slides_to);
                self.reverse(account_id, *purchase, *spend)?;
            }
            Detail::PointsGranted { terms, counted_in, .. } => {
                if !counted_in.is_empty() {
                    self.changed.earnings.insert(account_id);
                    self.earnings.entry(account_id).or_default().count(counted_in, entry.movement?.points);
                }
                return Some(self.open(entry, terms));
            }
            Detail::PointsImported { terms } | Detail::PointsAdjusted { terms: Some(terms), .. } => {
                return Some(self.open(entry, terms));
            }
            Detail::PointsVested { lot, expires_at } => {
                let movement = entry.movement?;
                let expires_at = *expires_at;
                self.change((account_id, *lot), |lot| {
                    lot.shift(movement)?;
                    lot.live_since = Some(at);
                    lot.terms.expires_at = expires_at;
                    Some(())
                })?;
                let terms = &self.lot(account_id, *lot)?.terms;
                if let (true, Some(to)) = (terms.slides, expires_at) {
                    let is_by_time = terms.vests_at.is_some();
                    self.begin_to_slide(account_id, at, to, is_by_time);
                }
            }
            Detail::VestingMissed { lot } => {
                let movement = entry.movement?;
                self.change((account_id, *lot), |lot| lot.shift(movement))?;
            }
            Detail::EntryReversed { reversed, expires_at, .. } => {
                self.reverse(account_id, *reversed, entry.movement?.points)?;
                self.revive(entry, *expires_at)?;
                self.shift_parts(entry)?;
            }
            Detail::DebtIncurred { reversed } => self.reverse(account_id, *reversed, entry.movement?.points)?,
            Detail::PointsHeld { lots, ends_at } => {
                self.shift_parts(entry)?;
                let (points, policy_version) = (entry.movement?.points, entry.policy_version);
                let key = (account_id, entry.id.account_seq);
                self.changed.holds.insert(key);
                self.put_hold(key, Hold { points, policy_version, ends_at: *ends_at, parts: lots.clone() });
            }
            Detail::PointsExpired { lots, hold: None } => {
                self.shift_parts(entry)?;
                self.end_sliding(account_id, lots)?;
            }
            Detail::PointsReleased { hold, .. }
            | Detail::PointsExpired { hold: Some(hold), .. }
            | Detail::PointsRedeemed { hold: Some(hold), .. } => {
                self.shift_parts(entry)?;
                self.take_from_hold((account_id, *hold), entry.detail.lots())?;
            }
            // Whatever else has parts moves them and no more; entries without concern other states.
            _ => self.shift_parts(entry)?,
        }
        Some(Ok(()))
    }

    /// Gives lots whose points had expired another expiry, if an entry brings points of them back.
    fn revive(&mut self, entry: &Entry, expires_at: Option<Timestamp>) -> Option<()> {
        let Some(expires_at) = expires_at else { return Some(()) };
        for part in entry.detail.lots() {
            self.change((entry.id.account_id, part.lot), |lot| {
                // What came back before keeps its date if that is later: a lot has one.
                let kept = lot.terms.expires_at.filter(|_| lot.available > 0);
                lot.live_since = Some(entry.effective_at);
                (lot.terms.expires_at, lot.terms.slides) = (kept.max(Some(expires_at)), false);
                Some(())
            })?;
        }
        Some(())
    }

    /// Takes parts out of a hold, which ends once nothing is left.
    fn take_from_hold(&mut self, key: (AccountId, i64), parts: &[LotPart]) -> Option<()> {
        let held = self.holds.get_mut(&key)?;
        held.take(parts)?;
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
            self.begin_to_slide(key.0, at, to, false);
        }
        self.changed.lots.insert(key);
        self.put_lot(key, lot);
        Ok(())
    }

    /// Moves each part of an entry as the whole is moved.
    fn shift_parts(&mut self, entry: &Entry) -> Option<()> {
        let parts = entry.detail.lots();
        let Some(movement) = entry.movement.filter(|_| !parts.is_empty()) else { return Some(()) };
        let sum = parts.iter().try_fold(0_i64, |sum, part| sum.checked_add(part.points))?;
        for part in parts {
            let movement = Movement { points: part.points, ..movement };
            self.change((entry.id.account_id, part.lot), |lot| lot.shift(movement))?;
        }
        (sum == movement.points).then_some(())
    }

    fn change(&mut self, key: (AccountId, i64), change: impl FnOnce(&mut Lot) -> Option<()>) -> Option<()> {
        let mut lot = self.lots.get(&key)?.clone();
        change(&mut lot)?;
        self.changed.lots.insert(key);
        self.put_lot(key, lot);
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

    fn reverse(&mut self, account_id: AccountId, entry: i64, amount: i64) -> Option<()> {
        let reversed = self.reversals.entry((account_id, entry)).or_insert(0);
        *reversed = reversed.checked_add(amount)?;
        self.changed.reversals.insert((account_id, entry));
        Some(())
    }

    fn slide(&mut self, entry: &Entry, slides_to: Option<Timestamp>) {
        if let Some(to) = slides_to {
            self.changed.earnings.insert(entry.id.account_id);
            self.earnings.entry(entry.id.account_id).or_default().slide(entry.effective_at, to);
        }
    }

    fn begin_to_slide(&mut self, account_id: AccountId, at: Timestamp, to: Timestamp, is_by_time: bool) {
        self.changed.earnings.insert(account_id);
        self.earnings.entry(account_id).or_default().begin(at, to, is_by_time);
    }
}
