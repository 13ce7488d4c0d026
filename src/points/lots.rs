//! Lots, holds and what goes with them: where each grant's points are, what time will do to them, and which of them a
//! spend takes. All of it is a function of the entries alone.

mod apply;
mod lot;
pub(crate) mod parts;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::Date;

use crate::book::{Account, Due, DueKind, LotPart};
use crate::ids::AccountId;

pub(crate) use lot::{Earned, Earning, Hold, Lot, MAX_OWN_USES, MadeUp, Reversed};

/// Which lots come first when points are spent: those that expire first, then the oldest.
pub(crate) type SpendKey = (Timestamp, i64);

/// Which of an account's rows were not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The first due that was not read.
    pub due: Option<Due>,
    /// Up to which lot in spending order those that do not slide were read; none at all if absent.
    pub fixed_to: Option<SpendKey>,
    /// Up to which number those that slide were read; none at all if absent.
    pub sliding_to: Option<i64>,
    /// Whether reading for a spend ended although more lots would be needed: there are more than one command may take.
    pub is_too_wide: bool,
    /// Lots older than this one that paid a debt were not read; none at all if absent.
    pub payers_from: Option<i64>,
}

impl Gap {
    /// Nothing was read yet.
    pub(crate) const NOTHING_READ: Self =
        Self { due: None, fixed_to: None, sliding_to: None, is_too_wide: false, payers_from: None };
}

/// What the entries tell of the points that were earned in a calendar period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LookedUp {
    /// The period's first day where the program is.
    pub day: Date,
    /// How many points.
    pub points: i64,
}

/// How many lots of an account are read at a time for a spend, until it is covered: of those that slide, and as many of
/// those that do not.
pub(crate) const SPEND_PAGES: [i64; 4] = [4, 64, 512, 4_096];

/// How many lots a spend may take. One that so many do not cover is refused.
pub(crate) const MAX_SPEND_LOTS: i64 = SPEND_PAGES[0] + SPEND_PAGES[1] + SPEND_PAGES[2] + SPEND_PAGES[3];

/// Behind every lot in spending order.
pub(crate) const BEHIND_ALL: SpendKey = (Timestamp::MAX, i64::MAX);

/// Rows by the account and the number of the entry that made them.
pub(crate) type ByEntry<T> = BTreeMap<(AccountId, i64), T>;

/// What time will do to points that are pending or available, first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Upcoming {
    /// When pending points become available, and how many.
    pub vesting: Next,
    /// When available points expire, and how many.
    pub expiring: Next,
}

/// What time does next to some points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing.
    #[default]
    Nothing,
    /// It does it to these points at this instant.
    All(Timestamp, i64),
    /// It does it to these points and others at this instant: they are of more lots than are counted.
    AtLeast(Timestamp, i64),
    /// Nobody tells: more lots would have to be looked through than an answer may.
    Unknown,
}

/// How far lots were read that time does something to; those without a bound were read whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadTo {
    /// When the last lot vests that was read.
    pub vesting: Option<Timestamp>,
    /// When the last lot expires that was read, of those that do not slide.
    pub expiring: Option<Timestamp>,
    /// Whether there are more lots that slide.
    pub has_more_sliding: bool,
}

impl Next {
    /// When, and how many as far as that is told.
    #[must_use]
    pub(crate) const fn points(self) -> Option<(Timestamp, i64)> {
        match self {
            Self::All(at, points) | Self::AtLeast(at, points) => Some((at, points)),
            Self::Nothing | Self::Unknown => None,
        }
    }

    /// What comes first of this and another; both together, if that is at one instant.
    #[must_use]
    pub(crate) fn first(self, other: Self) -> Self {
        match (self.points(), other.points()) {
            (Some((at, own)), Some((other_at, others))) if at == other_at => {
                let is_whole = matches!((self, other), (Self::All(..), Self::All(..)));
                let points = own.saturating_add(others);
                if is_whole { Self::All(at, points) } else { Self::AtLeast(at, points) }
            }
            (Some((at, _)), Some((other_at, _))) if other_at < at => other,
            (None, Some(_)) => other,
            (Some(_), _) => self,
            (None, None) => {
                if self == Self::Unknown {
                    self
                } else {
                    other
                }
            }
        }
    }

    /// What the lots that were read say, where the first lot that was not read comes no earlier than at an instant.
    fn of(found: Option<(Timestamp, i64)>, read_to: Option<Timestamp>) -> Self {
        match (found, read_to) {
            (None, None) => Self::Nothing,
            (Some((at, points)), None) => Self::All(at, points),
            (Some((at, points)), Some(read_to)) if at < read_to => Self::All(at, points),
            (Some((at, points)), Some(read_to)) if at == read_to => Self::AtLeast(at, points),
            (_, Some(_)) => Self::Unknown,
        }
    }
}

/// Why a spend cannot take its points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// The account does not have so many.
    Points,
    /// They were not read.
    Unread,
    /// They are of more lots than one command may take points of.
    TooWide,
}

/// Lots and what goes with them, of several accounts; those without a gap are known whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lots {
    pub(super) lots: ByEntry<Lot>,
    pub(super) holds: ByEntry<Hold>,
    pub(super) earnings: BTreeMap<AccountId, Earning>,
    /// Whether the stored ones were left unread, of the accounts that have a gap.
    pub(super) has_unread_earnings: bool,
    /// How much of each entry has been undone.
    pub(super) reversals: ByEntry<Reversed>,
    /// What was earned in running periods, where it was looked up: by the word for the kind of period.
    pub(super) looked_up: BTreeMap<(AccountId, &'static str), LookedUp>,
    pub(super) gaps: BTreeMap<AccountId, Gap>,
    /// Uses of lots that the lots' own rows have no more room for, by account, lot and the last of them.
    pub(super) older_uses: BTreeMap<(AccountId, i64, i64), Vec<i64>>,
    pub(super) changed: Changed,
    pub(super) dues: BTreeSet<(AccountId, Due, i64)>,
    pub(super) sliding: BTreeSet<(AccountId, i64)>,
}

/// The rows that differ from what is stored.
#[derive(Clone, Debug, Default)]
pub(super) struct Changed {
    pub(super) lots: BTreeSet<(AccountId, i64)>,
    /// Those of the lots that no row has yet.
    pub(super) new_lots: BTreeSet<(AccountId, i64)>,
    pub(super) uses: BTreeSet<(AccountId, i64, i64)>,
    pub(super) holds: BTreeSet<(AccountId, i64)>,
    pub(super) earnings: BTreeSet<AccountId>,
    pub(super) reversals: BTreeSet<(AccountId, i64)>,
    /// Accounts all of whose open lots end, read or not: whether what was available is paid out, or expires.
    pub(super) forfeited: BTreeMap<AccountId, bool>,
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
            self.dues.insert((key.0, Due { at: hold.ends_at, kind: DueKind::ReleaseHold }, key.1));
        }
        self.holds.insert(key, hold);
    }

    /// A lot that was read, by the number of its entry.
    #[must_use]
    pub(crate) fn lot(&self, account_id: AccountId, lot: i64) -> Option<&Lot> {
        self.lots.get(&(account_id, lot))
    }

    /// A hold that was read, by the number of its entry.
    #[must_use]
    pub(crate) fn hold(&self, account_id: AccountId, hold: i64) -> Option<&Hold> {
        self.holds.get(&(account_id, hold))
    }

    /// What concerns all lots of an account together.
    #[must_use]
    pub(crate) fn earning(&self, account_id: AccountId) -> Option<&Earning> {
        self.earnings.get(&account_id)
    }

    /// How much of an entry has been undone.
    #[must_use]
    pub(crate) fn reversed(&self, account_id: AccountId, entry: i64) -> Reversed {
        self.reversals.get(&(account_id, entry)).copied().unwrap_or_default()
    }

    /// What was earned in a running period of an account, where it was looked up.
    #[must_use]
    pub(crate) fn looked_up(&self, account_id: AccountId, period: &'static str) -> Option<LookedUp> {
        self.looked_up.get(&(account_id, period)).copied()
    }

    /// Every lot of an account that was read.
    pub(crate) fn lots_of(&self, account_id: AccountId) -> impl Iterator<Item = (i64, &Lot)> {
        self.lots.range((account_id, 0)..=(account_id, i64::MAX)).map(|((_, seq), lot)| (*seq, lot))
    }

    /// The entries that moved points of a lot, as far as they were read, in order.
    pub(crate) fn uses_of(&self, account_id: AccountId, lot: i64) -> impl Iterator<Item = i64> {
        let older = self.older_uses.range((account_id, lot, 0)..=(account_id, lot, i64::MAX));
        let own = self.lots.get(&(account_id, lot)).into_iter().flat_map(|lot| &lot.uses);
        older.flat_map(|(_, seqs)| seqs).chain(own).copied()
    }

    /// When a lot's points expire or have expired; none for ever, or while they have not vested.
    #[must_use]
    pub(crate) fn expiry_of(&self, account_id: AccountId, lot: &Lot) -> Option<Timestamp> {
        if !lot.terms.slides {
            return lot.terms.expires_at;
        }
        let (since, earning) = (lot.live_since?, self.earnings.get(&account_id)?);
        // A lot that slid at a lapse has expired with it, even if its points were held or spent then. A lot that began
        // at that instant has not.
        earning.lapses.iter().copied().find(|lapse| since < *lapse).or(earning.slides_to)
    }

    /// Whether a lot's points have expired by an instant.
    #[must_use]
    pub(crate) fn is_expired(&self, account_id: AccountId, lot: &Lot, at: Timestamp) -> bool {
        lot.live_since.is_some() && self.expiry_of(account_id, lot).is_some_and(|expiry| expiry <= at)
    }

    pub(super) fn spend_key(&self, account_id: AccountId, seq: i64, lot: &Lot) -> SpendKey {
        (self.expiry_of(account_id, lot).unwrap_or(Timestamp::MAX), seq)
    }

    /// Up to which lot in spending order all of an account's were read, if those that slide do so to `slid_to` first.
    pub(super) fn read_to(&self, account_id: AccountId, slid_to: Option<Timestamp>) -> Option<SpendKey> {
        let Some(gap) = self.gaps.get(&account_id) else { return Some(BEHIND_ALL) };
        let slides_to = self.earnings.get(&account_id).and_then(|earning| earning.slides_to);
        let slides_to = slides_to.map(|known| slid_to.map_or(known, |slid_to| slid_to.max(known)));
        let sliding = match (slides_to, gap.sliding_to) {
            // Without such an instant no lot slides.
            (None, _) | (_, Some(i64::MAX)) => BEHIND_ALL,
            (Some(slides_to), sliding_to) => (slides_to, sliding_to.unwrap_or(i64::MIN)),
        };
        gap.fixed_to.map(|fixed| fixed.min(sliding))
    }

    /// Chooses the lots for a spend of available points: those that expire first, then the oldest.
    ///
    /// # Errors
    /// [`Shortage`] if there are too few, or it is not known which come first.
    pub(crate) fn choose(&self, account: &Account, points: i64) -> Result<Vec<LotPart>, Shortage> {
        self.choose_others(account, points, None, None)
    }

    /// As [`choose`](Self::choose), without one of the lots, and with the date to which this very command slides the
    /// points that slide, if it does.
    ///
    /// # Errors
    /// [`Shortage`] if there are too few, or it is not known which come first.
    pub(crate) fn choose_others(
        &self,
        account: &Account,
        points: i64,
        besides: Option<i64>,
        slid_to: Option<Timestamp>,
    ) -> Result<Vec<LotPart>, Shortage> {
        let account_id = account.account_id;
        let left_out = besides.and_then(|lot| self.lot(account_id, lot)).map_or(0, |lot| lot.available);
        if account.balance.available.saturating_sub(left_out) < points {
            return Err(Shortage::Points);
        }
        let expiry_of = |lot: &Lot| {
            let known = self.expiry_of(account_id, lot);
            if lot.terms.slides { known.max(slid_to) } else { known }
        };
        let mut order: Vec<(SpendKey, i64)> = self
            .lots_of(account_id)
            .filter(|(_, lot)| lot.available > 0)
            .map(|(seq, lot)| ((expiry_of(lot).unwrap_or(Timestamp::MAX), seq), lot.available))
            .collect();
        order.sort_unstable();
        let (mut parts, mut missing) = (Vec::new(), points);
        let is_too_wide = self.gaps.get(&account_id).is_some_and(|gap| gap.is_too_wide);
        let unread = if is_too_wide { Shortage::TooWide } else { Shortage::Unread };
        let read_to = self.read_to(account_id, slid_to);
        for (key, available) in order {
            if missing == 0 {
                break;
            }
            // A lot that was not read may come before this one.
            if read_to.is_none_or(|last| key > last) {
                return Err(unread);
            }
            if besides != Some(key.1) {
                let part = LotPart { lot: key.1, points: available.min(missing) };
                missing -= part.points;
                parts.push(part);
            }
        }
        if missing == 0 { Ok(parts) } else { Err(unread) }
    }

    /// The lots that paid a debt, the newest first, for so many of the points that they paid.
    ///
    /// # Errors
    /// [`Shortage`] if they paid less, or it is not known which of them are the newest.
    pub(crate) fn choose_payers(&self, account_id: AccountId, points: i64) -> Result<Vec<LotPart>, Shortage> {
        let whole = (account_id, 0)..=(account_id, i64::MAX);
        let payers = self.lots.range(whole).rev().filter(|(_, lot)| lot.repaid > 0);
        let payers: Vec<LotPart> = payers.map(|((_, lot), paid)| LotPart { lot: *lot, points: paid.repaid }).collect();
        let parts = parts::first_points(&payers, points);
        let is_read = |part: &LotPart| {
            self.gaps.get(&account_id).is_none_or(|gap| gap.payers_from.is_some_and(|from| part.lot >= from))
        };
        if !parts.iter().all(is_read) {
            return Err(Shortage::Unread);
        }
        if parts::sum(&parts) == points { Ok(parts) } else { Err(Shortage::Points) }
    }

    /// Which points vest and which expire next, and when, where lots were read as far as `read_to` says.
    #[must_use]
    pub(crate) fn upcoming(&self, account_id: AccountId, read_to: ReadTo) -> Upcoming {
        let (mut vesting, mut expiring) = (None, None);
        let note = |first: &mut Option<(Timestamp, i64)>, at: Timestamp, points: i64| match first {
            Some((earliest, sum)) if *earliest == at => *sum = sum.saturating_add(points),
            Some((earliest, _)) if *earliest < at => {}
            _ => *first = Some((at, points)),
        };
        for (_, lot) in self.lots_of(account_id) {
            if let Some(at) = lot.terms.vests_at.filter(|_| lot.pending > 0) {
                note(&mut vesting, at, lot.pending);
            }
            if let Some(at) = self.expiry_of(account_id, lot).filter(|_| lot.available > 0) {
                note(&mut expiring, at, lot.available);
            }
        }
        let slides_to = self.earnings.get(&account_id).and_then(|earning| earning.slides_to);
        let more_sliding = slides_to.filter(|_| read_to.has_more_sliding);
        Upcoming {
            vesting: Next::of(vesting, read_to.vesting),
            expiring: Next::of(expiring, read_to.expiring.into_iter().chain(more_sliding).min()),
        }
    }

    /// What time alone will do next to an account.
    #[must_use]
    pub(crate) fn next_due(&self, account_id: AccountId) -> Option<Due> {
        let first = (account_id, Due { at: Timestamp::MIN, kind: DueKind::Vest }, 0);
        let own = self.dues.range(first..).next().filter(|(owner, ..)| *owner == account_id).map(|(_, due, _)| *due);
        let gap = self.gaps.get(&account_id);
        let has_sliding = self.sliding.range((account_id, 0)..=(account_id, i64::MAX)).next().is_some()
            || gap.is_some_and(|gap| gap.sliding_to != Some(i64::MAX));
        let slides_to = self.earnings.get(&account_id).and_then(|earning| earning.slides_to);
        let slides = slides_to.filter(|_| has_sliding).map(|at| Due { at, kind: DueKind::Expire });
        [own, slides, gap.and_then(|gap| gap.due)].into_iter().flatten().min()
    }
}
