//! The naive model: a customer's lots, holds and entries in plain lists, by what the protos promise. No SQL, no batches,
//! no projections; every question is answered by looking at everything.

use std::collections::BTreeMap;

use goldbook::proto::{CalendarPeriod, Clawback, EntryKind, Pocket};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan as _};

/// When points vest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Vest {
    Now,
    At(Timestamp),
    After(&'static str),
    Event(&'static str),
}

/// When points expire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Expire {
    Never,
    At(Timestamp),
    After(&'static str, CalendarPeriod),
    Sliding(&'static str),
}

/// What a program says of points.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub vest: Vest,
    pub expire: Expire,
    /// Minimum, step and maximum of a redemption.
    pub limits: Option<(i64, i64, i64)>,
    pub per_transaction: Option<i64>,
    pub per_period: Vec<(CalendarPeriod, i64)>,
    /// Within which time expired points come back, and for how long.
    pub reinstate: Option<(&'static str, &'static str)>,
    pub clawback: Clawback,
    pub hold_for: &'static str,
}

pub(super) fn zone() -> TimeZone {
    goldbook_api::zones::find("America/New_York").unwrap()
}

pub(super) fn later(at: Timestamp, period: &str) -> Timestamp {
    let span: Span = period.parse().unwrap();
    (&at.to_zoned(zone()) + span).timestamp()
}

/// The first day of the calendar period that an instant lies in, and of the one after.
fn days(period: CalendarPeriod, at: Timestamp) -> (Date, Date) {
    let day = at.to_zoned(zone()).date();
    let month = |month: i8| Date::new(day.year(), month, 1).unwrap();
    let (first, length) = match period {
        CalendarPeriod::Week => (day - i64::from(day.weekday().to_monday_zero_offset()).days(), 7.days()),
        CalendarPeriod::Month => (month(day.month()), 1.month()),
        CalendarPeriod::Quarter => (month((day.month() - 1) / 3 * 3 + 1), 3.months()),
        CalendarPeriod::Half => (month((day.month() - 1) / 6 * 6 + 1), 6.months()),
        CalendarPeriod::Year => (month(1), 1.year()),
        CalendarPeriod::Day | CalendarPeriod::Unspecified => (day, 1.day()),
    };
    (first, first + length)
}

fn last(at: Timestamp, period: &str, round_to: CalendarPeriod) -> Timestamp {
    let instant = later(at, period);
    if period.contains('T') && round_to == CalendarPeriod::Unspecified {
        return instant;
    }
    days(round_to, instant).1.to_zoned(zone()).unwrap().timestamp()
}

impl Expire {
    pub(crate) fn of(self, vested: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Never => None,
            Self::At(at) => Some(at),
            Self::After(period, round_to) => Some(last(vested, period, round_to)),
            Self::Sliding(period) => Some(last(vested, period, CalendarPeriod::Unspecified)),
        }
    }
}

/// The number of a lot, and how many of its points.
pub(super) type Part = (i64, i64);

#[derive(Clone, Debug)]
pub(super) struct Lot {
    pub seq: i64,
    pub points: i64,
    /// Points by pocket; those in `Owed` paid a debt.
    pub at: [i64; 9],
    pub vests: Option<Timestamp>,
    /// The deadline of its event.
    pub by: Option<Timestamp>,
    pub expire: Expire,
    pub expires: Option<Timestamp>,
    /// Whether its points were ever available.
    pub live: bool,
    /// Whether it expires with all others that do.
    pub slides: bool,
    /// What makes up for points that were gone when they were clawed back: a debt, and parts of other lots.
    pub debt: i64,
    pub taken: Vec<Part>,
}

impl Lot {
    pub(super) const fn count(&self, pocket: Pocket) -> i64 {
        self.at[pocket as usize]
    }

    pub(super) const fn is_open(&self) -> bool {
        self.count(Pocket::Pending) + self.count(Pocket::Available) + self.count(Pocket::Held) > 0
    }
}

#[derive(Clone, Debug)]
pub(super) struct Hold {
    pub seq: i64,
    pub ends: Timestamp,
    /// What is held; nothing once it has ended.
    pub parts: Vec<Part>,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub kind: EntryKind,
    pub from: Pocket,
    pub to: Pocket,
    pub points: i64,
    pub parts: Vec<Part>,
    pub at: Timestamp,
    pub reversed: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Purchase {
    pub cents: i64,
    pub refunded: i64,
    /// How many points all refunds together have taken back.
    pub taken: i64,
    /// The lot that it earned.
    pub lot: Option<i64>,
}

/// The numbers of an answer, or why there is none.
pub(super) type Outcome = Result<Vec<i64>, &'static str>;

#[derive(Clone, Debug)]
pub(super) struct Purse {
    pub rules: Rules,
    pub lots: Vec<Lot>,
    pub holds: Vec<Hold>,
    pub entries: Vec<Entry>,
    pub owed: i64,
    /// Debts of all times: cancelled points that were of no lot.
    pub debts: i64,
    pub slides_to: Option<Timestamp>,
    pub earned: BTreeMap<(i32, Date), i64>,
    pub purchases: BTreeMap<String, Purchase>,
}

impl Purse {
    pub(super) fn enrolled(rules: Rules, at: Timestamp) -> Self {
        let (lots, holds, entries, purchases) = Default::default();
        let mut purse = Self {
            rules,
            lots,
            holds,
            entries,
            owed: 0,
            debts: 0,
            slides_to: None,
            earned: BTreeMap::new(),
            purchases,
        };
        purse.note(EntryKind::CustomerEnrolled, at);
        purse.note(EntryKind::TierChanged, at);
        purse
    }

    pub(super) fn sum(&self, pocket: Pocket) -> i64 {
        self.lots.iter().map(|lot| lot.count(pocket)).sum()
    }

    pub(super) fn lot(&self, seq: i64) -> &Lot {
        self.lots.iter().find(|lot| lot.seq == seq).unwrap()
    }

    fn lot_mut(&mut self, seq: i64) -> &mut Lot {
        self.lots.iter_mut().find(|lot| lot.seq == seq).unwrap()
    }

    /// The account's time: the clock's, but never back.
    pub(super) fn time(&self, clock: Timestamp) -> Timestamp {
        self.entries.last().map_or(clock, |entry| entry.at.max(clock))
    }

    pub(super) fn head(&self) -> i64 {
        i64::try_from(self.entries.len()).unwrap()
    }

    pub(super) fn note(&mut self, kind: EntryKind, at: Timestamp) -> i64 {
        self.write_entry(kind, Pocket::Unspecified, Pocket::Unspecified, 0, Vec::new(), at)
    }

    /// Moves the points of some lots, as one entry; nothing, if there are none.
    fn shift(&mut self, kind: EntryKind, from: Pocket, to: Pocket, parts: Vec<Part>, at: Timestamp) {
        let points = parts.iter().map(|(_, points)| points).sum();
        if points > 0 {
            self.write_entry(kind, from, to, points, parts, at);
        }
    }

    fn write_entry(
        &mut self,
        kind: EntryKind,
        from: Pocket,
        to: Pocket,
        points: i64,
        parts: Vec<Part>,
        at: Timestamp,
    ) -> i64 {
        for (seq, points) in &parts {
            let lot = self.lot_mut(*seq);
            lot.at[from as usize] -= points;
            lot.at[to as usize] += points;
            assert!(lot.at[from as usize] >= 0, "the model is wrong: {lot:?}");
        }
        let at = self.time(at);
        self.entries.push(Entry { kind, from, to, points, parts, at, reversed: 0 });
        self.head()
    }

    pub(super) fn expiry(&self, lot: &Lot) -> Option<Timestamp> {
        if lot.slides && lot.live { self.slides_to } else { lot.expires }
    }

    fn is_expired(&self, lot: &Lot, at: Timestamp) -> bool {
        lot.live && self.expiry(lot).is_some_and(|expiry| expiry <= at)
    }

    /// Available points pay what is owed first.
    fn repay(&mut self, parts: &[Part], at: Timestamp) {
        let paid = first(parts, self.owed);
        self.owed -= paid.iter().map(|(_, points)| points).sum::<i64>();
        self.shift(EntryKind::DebtRepaid, Pocket::Available, Pocket::Owed, paid, at);
    }

    /// Those that expire first, then the oldest.
    fn choose(&self, points: i64, besides: i64) -> Vec<Part> {
        let mut lots: Vec<&Lot> = self.lots.iter().filter(|lot| lot.seq != besides).collect();
        lots.sort_by_key(|lot| (self.expiry(lot).unwrap_or(Timestamp::MAX), lot.seq));
        let parts: Vec<Part> = lots.iter().map(|lot| (lot.seq, lot.count(Pocket::Available))).collect();
        first(&parts, points)
    }

    /// What time does next: when, of which kind, to which lot or hold.
    pub(super) fn next_due(&self) -> Option<(Timestamp, u8, i64)> {
        let mut dues: Vec<(Timestamp, u8, i64)> = Vec::new();
        dues.extend(self.slides_to.map(|at| (at, 2, 0)));
        for hold in self.holds.iter().filter(|hold| !hold.parts.is_empty()) {
            dues.push((hold.ends, 1, hold.seq));
        }
        for lot in &self.lots {
            if lot.count(Pocket::Pending) > 0 {
                dues.extend(lot.vests.or(lot.by).map(|at| (at, 0, lot.seq)));
            } else if lot.count(Pocket::Available) > 0 && !lot.slides {
                dues.extend(lot.expires.map(|at| (at, 2, lot.seq)));
            }
        }
        dues.into_iter().min()
    }

    pub(super) fn apply_dues(&mut self, clock: Timestamp) {
        let until = self.time(clock);
        while let Some((at, kind, seq)) = self.next_due().filter(|due| due.0 <= until) {
            match kind {
                0 => self.mature(seq, at),
                1 => {
                    self.release(seq, at);
                }
                _ if seq == 0 => self.lapse(at),
                _ => {
                    let parts = vec![(seq, self.lot(seq).count(Pocket::Available))];
                    self.shift(EntryKind::PointsExpired, Pocket::Available, Pocket::Expired, parts, at);
                }
            }
        }
    }

    fn mature(&mut self, seq: i64, at: Timestamp) {
        let lot = self.lot(seq).clone();
        let parts = vec![(seq, lot.count(Pocket::Pending))];
        if lot.vests.is_some() {
            self.vest(seq, lot.expire.of(at), at);
        } else {
            self.shift(EntryKind::VestingMissed, Pocket::Pending, Pocket::Cancelled, parts, at);
        }
    }

    fn vest(&mut self, seq: i64, expires: Option<Timestamp>, at: Timestamp) {
        let parts = vec![(seq, self.lot(seq).count(Pocket::Pending))];
        self.shift(EntryKind::PointsVested, Pocket::Pending, Pocket::Available, parts.clone(), at);
        self.begin(seq, expires);
        self.repay(&parts, at);
    }

    /// A lot's points are available from now on.
    fn begin(&mut self, seq: i64, expires: Option<Timestamp>) {
        let lot = self.lot_mut(seq);
        (lot.live, lot.expires) = (true, expires);
        if lot.slides {
            self.slides_to = self.slides_to.or(expires);
        }
    }

    /// Sliding points end all together, those that are held or spent as well.
    fn lapse(&mut self, at: Timestamp) {
        for lot in self.lots.iter_mut().filter(|lot| lot.slides && lot.live) {
            (lot.slides, lot.expires) = (false, Some(at));
        }
        self.slides_to = None;
    }

    fn slide(&mut self, at: Timestamp) {
        if matches!(self.rules.expire, Expire::Sliding(_)) {
            self.slides_to = self.slides_to.max(self.rules.expire.of(at));
        }
    }

    /// Expired points that came back are cancelled where their grant was undone, and what was taken in their place is
    /// given back: first the debt, then the lots that were taken last. Answers what is available again by it.
    fn settle(&mut self, back: &[Part], at: Timestamp) -> Vec<Part> {
        let (mut coming, mut returned) = (back.to_vec(), Vec::new());
        while !coming.is_empty() {
            let (seq, points) = coming.remove(0);
            let lot = self.lot_mut(seq);
            let points = points.min(lot.debt + lot.taken.iter().map(|(_, points)| points).sum::<i64>());
            let debt = points.min(lot.debt);
            let backwards: Vec<Part> = lot.taken.iter().rev().copied().collect();
            let taken = first(&backwards, points - debt);
            lot.debt -= debt;
            lot.taken = rest(&backwards, points - debt).into_iter().rev().collect();
            self.shift(EntryKind::ReversalSettled, Pocket::Expired, Pocket::Cancelled, vec![(seq, points)], at);
            // What has been paid of the debt goes back to the newest lots that paid.
            let payers: Vec<Part> = self.lots.iter().rev().map(|lot| (lot.seq, lot.count(Pocket::Owed))).collect();
            let paid = first(&payers, debt - debt.min(self.owed));
            self.owed -= debt.min(self.owed);
            coming.extend(self.return_to(Pocket::Owed, &paid, &mut returned, at));
            if debt > 0 {
                self.write_entry(EntryKind::ReversalSettled, Pocket::Cancelled, Pocket::Owed, debt, Vec::new(), at);
                self.debts -= debt;
            }
            coming.extend(self.return_to(Pocket::Cancelled, &taken, &mut returned, at));
        }
        returned
    }

    /// Gives points back to other lots. Answers those of lots that have expired.
    fn return_to(&mut self, from: Pocket, parts: &[Part], returned: &mut Vec<Part>, at: Timestamp) -> Vec<Part> {
        let (gone, live): (Vec<Part>, Vec<Part>) =
            parts.iter().partition(|(lot, _)| self.is_expired(self.lot(*lot), at));
        self.shift(EntryKind::ReversalSettled, from, Pocket::Available, live.clone(), at);
        self.shift(EntryKind::ReversalSettled, from, Pocket::Expired, gone.clone(), at);
        returned.extend(live);
        gone
    }

    /// Ends what is left of a hold: points returned, points expired.
    fn release(&mut self, seq: i64, at: Timestamp) -> (i64, i64) {
        let hold = self.holds.iter_mut().find(|hold| hold.seq == seq).unwrap();
        let parts = std::mem::take(&mut hold.parts);
        let (gone, back): (Vec<Part>, Vec<Part>) =
            parts.iter().partition(|(lot, _)| self.is_expired(self.lot(*lot), at));
        let sum = |parts: &[Part]| parts.iter().map(|(_, points)| points).sum::<i64>();
        let counts = (sum(&back), sum(&gone));
        self.shift(EntryKind::PointsReleased, Pocket::Held, Pocket::Available, back.clone(), at);
        self.shift(EntryKind::PointsExpired, Pocket::Held, Pocket::Expired, gone.clone(), at);
        let returned = self.settle(&gone, at);
        self.repay(&[back, returned].concat(), at);
        counts
    }

    fn open(&mut self, kind: EntryKind, points: i64, vest: Vest, expire: Expire, at: Timestamp) -> i64 {
        let (vests, by) = match vest {
            Vest::Now => (None, None),
            Vest::At(instant) => (Some(instant).filter(|instant| *instant > at), None),
            Vest::After(period) => (Some(later(at, period)), None),
            Vest::Event(period) => (None, Some(later(at, period))),
        };
        let seq = self.head() + 1;
        let pocket = if vests.or(by).is_some() { Pocket::Pending } else { Pocket::Available };
        let expires = if by.is_some() { None } else { expire.of(vests.unwrap_or(at)) };
        let slides = matches!(expire, Expire::Sliding(_));
        self.lots.push(Lot {
            seq,
            points,
            at: [0; 9],
            vests,
            by,
            expire,
            expires,
            live: false,
            slides,
            debt: 0,
            taken: Vec::new(),
        });
        self.lot_mut(seq).at[Pocket::Issued as usize] = points;
        self.write_entry(kind, Pocket::Issued, pocket, points, vec![(seq, points)], at);
        if pocket == Pocket::Available {
            self.begin(seq, expires);
            self.repay(&[(seq, points)], at);
        }
        seq
    }

    /// What the caps on earning leave of some points.
    fn cap(&mut self, points: i64, at: Timestamp) -> Result<i64, &'static str> {
        if self.rules.per_transaction.is_some_and(|most| points > most) {
            return Err("EARNING_CAP_EXCEEDED");
        }
        let caps = self.rules.per_period.clone();
        let slots: Vec<((i32, Date), i64)> =
            caps.into_iter().map(|(period, most)| ((period.into(), days(period, at).0), most)).collect();
        let left = slots.iter().map(|(slot, most)| most - self.earned.get(slot).unwrap_or(&0));
        let granted = left.fold(points, i64::min);
        for (slot, _) in slots {
            *self.earned.entry(slot).or_default() += granted;
        }
        Ok(granted)
    }
}

/// The first points of some parts, as far as they go.
fn first(parts: &[Part], points: i64) -> Vec<Part> {
    let mut left = points;
    let taken = parts.iter().map(|(lot, there)| {
        let taken = left.min(*there);
        left -= taken;
        (*lot, taken)
    });
    taken.filter(|(_, taken)| *taken > 0).collect()
}

/// What is left of some parts after the first points.
fn rest(parts: &[Part], points: i64) -> Vec<Part> {
    let taken = first(parts, points);
    let of = |lot: i64| taken.iter().find(|part| part.0 == lot).map_or(0, |part| part.1);
    parts.iter().map(|(lot, points)| (*lot, points - of(*lot))).filter(|(_, points)| *points > 0).collect()
}

mod calls;
