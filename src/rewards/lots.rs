//! Lots, holds and what goes with them: where each grant's points are, what time will do to them, and which of them a
//! spend takes. A function of the entries alone, without I/O.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::model::{expire, miss_vesting, release, vest_by_time};
use crate::book::{
    Account, Defect, Detail, Due, EarningWindow, Entry, LotPart, LotTerms, Movement, Pocket, Post, Turn,
};
use crate::ids::AccountId;

/// The points of one grant: `points` = all the others together, none below zero.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the counts are the pockets of their names, described at `Pocket`")]
pub struct Lot {
    /// How many were granted.
    pub points: i64,
    pub pending: i64,
    pub available: i64,
    pub held: i64,
    pub redeemed: i64,
    pub expired: i64,
    pub cancelled: i64,
    /// How many paid a debt.
    pub repaid: i64,
    /// The program version that granted them.
    pub policy_version: i32,
    /// Since when they have been available, or again after they had expired.
    pub live_since: Option<Timestamp>,
    /// When they vest and expire.
    pub terms: LotTerms,
}

impl Lot {
    fn new(points: i64, pocket: Pocket, entry: &Entry, terms: &LotTerms) -> Result<Self, Defect> {
        let mut lot = Self {
            points,
            pending: 0,
            available: 0,
            held: 0,
            redeemed: 0,
            expired: 0,
            cancelled: 0,
            repaid: 0,
            policy_version: entry.policy_version,
            live_since: (pocket == Pocket::Available).then_some(entry.effective_at),
            terms: terms.clone(),
        };
        *lot.pocket(pocket).ok_or_else(|| Defect::new(format!("entry {}: no pocket of a lot", entry.id)))? = points;
        Ok(lot)
    }

    const fn pocket(&mut self, pocket: Pocket) -> Option<&mut i64> {
        match pocket {
            Pocket::Issued => None,
            // Points that leave a lot to pay a debt.
            Pocket::Owed => Some(&mut self.repaid),
            Pocket::Pending => Some(&mut self.pending),
            Pocket::Available => Some(&mut self.available),
            Pocket::Held => Some(&mut self.held),
            Pocket::Redeemed => Some(&mut self.redeemed),
            Pocket::Expired => Some(&mut self.expired),
            Pocket::Cancelled => Some(&mut self.cancelled),
        }
    }

    /// Moves points from one pocket to another; none if they are not there.
    fn shift(&mut self, movement: Movement) -> Option<()> {
        let from = self.pocket(movement.from)?;
        *from = from.checked_sub(movement.points).filter(|left| *left >= 0)?;
        let to = self.pocket(movement.to)?;
        *to = to.checked_add(movement.points)?;
        Some(())
    }

    /// Whether points of it are pending, available or held.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.pending > 0 || self.available > 0 || self.held > 0
    }

    /// What time will do to the lot by its own terms.
    #[must_use]
    pub fn due(&self) -> Option<Due> {
        if self.pending > 0 {
            return self.terms.vests_at.or(self.terms.vest_by).map(|at| Due { at, turn: Turn::Vest });
        }
        let expires_at = self.terms.expires_at.filter(|_| self.available > 0 && !self.terms.slides);
        expires_at.map(|at| Due { at, turn: Turn::Expire })
    }
}

/// Points set aside for a spend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// How many there were.
    pub points: i64,
    /// The program version it was made under.
    pub policy_version: i32,
    /// When it ends by itself.
    pub ends_at: Timestamp,
    /// What is still held, in spending order; nothing once the hold has ended.
    pub parts: Vec<LotPart>,
}

impl Hold {
    /// How many are still held.
    #[must_use]
    pub fn remaining(&self) -> i64 {
        self.parts.iter().map(|part| part.points).sum()
    }

    /// Takes parts out, as they were captured, released or expired.
    fn take(&mut self, parts: &[LotPart]) -> Option<()> {
        for part in parts {
            let held = self.parts.iter_mut().find(|held| held.lot == part.lot)?;
            held.points = held.points.checked_sub(part.points).filter(|left| *left >= 0)?;
        }
        self.parts.retain(|part| part.points > 0);
        Some(())
    }
}

/// What concerns all lots of an account together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Earning {
    /// Until when its sliding points last.
    pub slides_to: Option<Timestamp>,
    /// When they expired all together, each time.
    pub lapses: Vec<Timestamp>,
    /// Points earned in the last capped period of each kind, and since when it runs.
    pub earned: BTreeMap<String, (Timestamp, i64)>,
}

impl Earning {
    fn slide(&mut self, at: Timestamp, to: Timestamp) {
        self.lapses.extend(self.slides_to.filter(|passed| *passed <= at));
        self.slides_to = Some(self.slides_to.map_or(to, |known| known.max(to)));
    }

    /// Begins to slide for points that become available now, unless others do already. Those that vest by time at the
    /// very end of the others end with them; those of a command come after that end.
    fn begin(&mut self, at: Timestamp, to: Timestamp, is_by_time: bool) {
        if self.slides_to.is_none_or(|passed| passed < at || (passed == at && !is_by_time)) {
            self.slide(at, to);
        }
    }

    fn count(&mut self, windows: &[EarningWindow], points: i64) {
        for window in windows {
            let earned = self.earned.entry(window.period.clone()).or_insert((window.since, 0));
            if earned.0 < window.since {
                *earned = (window.since, 0);
            }
            earned.1 = earned.1.saturating_add(points);
        }
    }
}

/// Which lots come first when points are spent: those that expire first, then the oldest.
pub type SpendKey = (Timestamp, i64);

/// What of an account's rows was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first due that was not read.
    pub due: Option<Due>,
    /// Lots after this one in spending order were not read; none at all if absent.
    pub spendable_to: Option<SpendKey>,
    /// Whether the sliding lots were read.
    pub has_sliding: bool,
}

/// Rows by the account and the number of the entry that made them.
pub type ByEntry<T> = BTreeMap<(AccountId, i64), T>;

/// What time will do to points that are pending or available, first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upcoming {
    /// When pending points become available, and how many.
    pub vesting: Option<(Timestamp, i64)>,
    /// When available points expire, and how many.
    pub expiring: Option<(Timestamp, i64)>,
}

/// Why a spend cannot take its points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// There are not so many.
    Points,
    /// They were not read.
    Unread,
}

/// Lots and what goes with them, of several accounts; those without a gap are known whole.
#[derive(Clone, Debug, Default)]
pub struct Lots {
    pub(super) lots: ByEntry<Lot>,
    pub(super) holds: ByEntry<Hold>,
    pub(super) earnings: BTreeMap<AccountId, Earning>,
    /// How much of an entry has been undone: points, or of a purchase minor units.
    pub(super) reversals: ByEntry<i64>,
    pub(super) gaps: BTreeMap<AccountId, Gap>,
    pub(super) changed: Changed,
    dues: BTreeSet<(AccountId, Due, i64)>,
    sliding: BTreeSet<(AccountId, i64)>,
}

/// The rows that differ from what is stored.
#[derive(Clone, Debug, Default)]
pub(super) struct Changed {
    pub(super) lots: BTreeSet<(AccountId, i64)>,
    pub(super) holds: BTreeSet<(AccountId, i64)>,
    pub(super) earnings: BTreeSet<AccountId>,
    pub(super) reversals: BTreeSet<(AccountId, i64)>,
}

impl Lots {
    /// Puts a stored lot in its place.
    pub(super) fn put_lot(&mut self, key: (AccountId, i64), lot: Lot) {
        if let Some(due) = self.lots.get(&key).and_then(Lot::due) {
            self.dues.remove(&(key.0, due, key.1));
        }
        if let Some(due) = lot.due() {
            self.dues.insert((key.0, due, key.1));
        }
        if lot.terms.slides && lot.available > 0 {
            self.sliding.insert(key);
        } else {
            self.sliding.remove(&key);
        }
        self.lots.insert(key, lot);
    }

    /// Puts a stored hold in its place.
    pub(super) fn put_hold(&mut self, key: (AccountId, i64), hold: Hold) {
        if !hold.parts.is_empty() {
            self.dues.insert((key.0, Due { at: hold.ends_at, turn: Turn::ReleaseHold }, key.1));
        }
        self.holds.insert(key, hold);
    }

    /// A lot.
    #[must_use]
    pub fn lot(&self, account_id: AccountId, lot: i64) -> Option<&Lot> {
        self.lots.get(&(account_id, lot))
    }

    /// A hold.
    #[must_use]
    pub fn hold(&self, account_id: AccountId, hold: i64) -> Option<&Hold> {
        self.holds.get(&(account_id, hold))
    }

    /// What concerns all lots of an account together.
    #[must_use]
    pub fn earning(&self, account_id: AccountId) -> Option<&Earning> {
        self.earnings.get(&account_id)
    }

    /// How much of an entry has been undone.
    #[must_use]
    pub fn reversed(&self, account_id: AccountId, entry: i64) -> i64 {
        self.reversals.get(&(account_id, entry)).copied().unwrap_or(0)
    }

    /// Every lot of an account that was read.
    pub fn lots_of(&self, account_id: AccountId) -> impl Iterator<Item = (i64, &Lot)> {
        self.lots.range((account_id, 0)..=(account_id, i64::MAX)).map(|((_, seq), lot)| (*seq, lot))
    }

    /// When a lot's points expire or have expired; none for ever, or while they have not vested.
    #[must_use]
    pub fn expiry_of(&self, account_id: AccountId, lot: &Lot) -> Option<Timestamp> {
        if !lot.terms.slides {
            return lot.terms.expires_at;
        }
        let (since, earning) = (lot.live_since?, self.earnings.get(&account_id)?);
        // Points that were there when all expired have expired with them, even if they were held or spent then. Those
        // that came at that very instant came after it.
        earning.lapses.iter().copied().find(|lapse| since < *lapse).or(earning.slides_to)
    }

    /// Whether a lot's points have expired by an instant.
    #[must_use]
    pub fn is_expired(&self, account_id: AccountId, lot: &Lot, at: Timestamp) -> bool {
        lot.live_since.is_some() && self.expiry_of(account_id, lot).is_some_and(|expiry| expiry <= at)
    }

    fn spend_key(&self, account_id: AccountId, seq: i64, lot: &Lot) -> SpendKey {
        (self.expiry_of(account_id, lot).unwrap_or(Timestamp::MAX), seq)
    }

    /// Chooses the lots for a spend of available points: those that expire first, then the oldest.
    ///
    /// # Errors
    /// [`Shortage`] if there are too few, or it is not known which come first.
    pub fn choose(&self, account: &Account, points: i64) -> Result<Vec<LotPart>, Shortage> {
        self.choose_among(account, points, account.balance.available, |_| true)
    }

    /// As [`choose`](Self::choose), among some of the lots, which have `available` points in all.
    ///
    /// # Errors
    /// [`Shortage`] if there are too few, or it is not known which come first.
    pub fn choose_among(
        &self,
        account: &Account,
        points: i64,
        available: i64,
        is_eligible: impl Fn(i64) -> bool,
    ) -> Result<Vec<LotPart>, Shortage> {
        if available < points {
            return Err(Shortage::Points);
        }
        let account_id = account.account_id;
        let mut order: Vec<(SpendKey, i64)> = self
            .lots_of(account_id)
            .filter(|(_, lot)| lot.available > 0)
            .map(|(seq, lot)| (self.spend_key(account_id, seq, lot), lot.available))
            .collect();
        order.sort_unstable();
        let (mut parts, mut missing) = (Vec::new(), points);
        let gap = self.gaps.get(&account_id);
        for (key, available) in order {
            if missing == 0 {
                break;
            }
            // A lot that was not read may come before this one.
            if gap.is_some_and(|gap| gap.spendable_to.is_none_or(|last| key > last)) {
                return Err(Shortage::Unread);
            }
            if is_eligible(key.1) {
                let part = LotPart { lot: key.1, points: available.min(missing) };
                missing -= part.points;
                parts.push(part);
            }
        }
        if missing == 0 { Ok(parts) } else { Err(Shortage::Unread) }
    }

    /// Which points vest and which expire next, and when, as far as their lots were read.
    #[must_use]
    pub fn upcoming(&self, account_id: AccountId) -> Upcoming {
        let mut upcoming = Upcoming::default();
        let mut note = |is_vesting: bool, at: Timestamp, points: i64| {
            let slot = if is_vesting { &mut upcoming.vesting } else { &mut upcoming.expiring };
            match slot {
                Some((first, sum)) if *first == at => *sum = sum.saturating_add(points),
                Some((first, _)) if *first < at => {}
                _ => *slot = Some((at, points)),
            }
        };
        for (_, lot) in self.lots_of(account_id) {
            if let Some(at) = lot.terms.vests_at.filter(|_| lot.pending > 0) {
                note(true, at, lot.pending);
            }
            if let Some(at) = self.expiry_of(account_id, lot).filter(|_| lot.available > 0) {
                note(false, at, lot.available);
            }
        }
        upcoming
    }

    /// What time alone will do next to an account.
    #[must_use]
    pub fn next_due(&self, account_id: AccountId) -> Option<Due> {
        let first = (account_id, Due { at: Timestamp::MIN, turn: Turn::Vest }, 0);
        let own = self.dues.range(first..).next().filter(|(owner, ..)| *owner == account_id).map(|(_, due, _)| *due);
        let gap = self.gaps.get(&account_id);
        let has_sliding = self.sliding.range((account_id, 0)..=(account_id, i64::MAX)).next().is_some();
        let slides_to = self.earnings.get(&account_id).and_then(|earning| earning.slides_to);
        let slides = slides_to
            .filter(|_| has_sliding || gap.is_some_and(|gap| !gap.has_sliding))
            .map(|at| Due { at, turn: Turn::Expire });
        [own, slides, gap.and_then(|gap| gap.due)].into_iter().flatten().min()
    }

    /// What a due writes; nothing if it was not read.
    #[must_use]
    pub fn settle(&self, account: &Account, due: Due) -> Vec<Post> {
        let account_id = account.account_id;
        let own = self.dues.range((account_id, due, 0)..=(account_id, due, i64::MAX)).next().map(|(.., seq)| *seq);
        if due.turn == Turn::ReleaseHold {
            let hold = own.and_then(|seq| Some((seq, self.hold(account_id, seq)?)));
            return hold.map_or_else(Vec::new, |(seq, hold)| release(self, account, due.at, seq, hold));
        }
        let slides_to = self.earnings.get(&account_id).and_then(|earning| earning.slides_to);
        let sliding = self.sliding.range((account_id, 0)..=(account_id, i64::MAX)).next();
        let sliding = sliding.filter(|_| slides_to == Some(due.at) && due.turn == Turn::Expire).map(|(_, seq)| *seq);
        // The oldest lot first, whichever way it came to its end.
        let seq = own.into_iter().chain(sliding).min();
        let Some((seq, lot)) = seq.and_then(|seq| Some((seq, self.lot(account_id, seq)?))) else { return Vec::new() };
        match due.turn {
            Turn::Vest if lot.terms.vests_at.is_some() => vest_by_time(account, seq, lot),
            Turn::Vest => vec![miss_vesting(account_id, seq, lot)],
            Turn::ReleaseHold | Turn::Expire | Turn::EndReferral => vec![expire(account_id, seq, lot)],
        }
    }

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
                self.shift_parts(entry)?;
                if expires_at.is_some() {
                    for part in entry.detail.lots() {
                        self.change((account_id, part.lot), |lot| {
                            lot.live_since = Some(at);
                            (lot.terms.expires_at, lot.terms.slides) = (*expires_at, false);
                            Some(())
                        })?;
                    }
                }
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
            // Whatever else has parts moves them and no more; entries without concern other shelves.
            _ => self.shift_parts(entry)?,
        }
        Some(Ok(()))
    }

    /// Takes parts out of a hold, which ends once nothing is left.
    fn take_from_hold(&mut self, key: (AccountId, i64), parts: &[LotPart]) -> Option<()> {
        let held = self.holds.get_mut(&key)?;
        held.take(parts)?;
        if held.parts.is_empty() {
            self.dues.remove(&(key.0, Due { at: held.ends_at, turn: Turn::ReleaseHold }, key.1));
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
