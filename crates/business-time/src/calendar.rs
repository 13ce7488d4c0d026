//! The hours of a business: by weekday, and by date where a date has its own.

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;

use crate::due::due_of_time;
use crate::stretches::{DAY, MINUTE, Stretch, end_of_hours, local_at, number_of};
use crate::{CalendarError, CalendarFault, Day, MOST_INTERVALS, MOST_SPECIAL_DATES, Pauses};

/// The weekdays in the order of a plan.
const WEEKDAYS: [Weekday; 7] = [
    Weekday::Monday,
    Weekday::Tuesday,
    Weekday::Wednesday,
    Weekday::Thursday,
    Weekday::Friday,
    Weekday::Saturday,
    Weekday::Sunday,
];

/// The number of the Monday from which weeks are counted: 1969-12-29.
const A_MONDAY: i64 = -3;

/// The minutes of a day by its clock.
const DAY_MINUTES: u16 = 24 * 60;

/// Hours within one local day: from a minute to before another one, both counted from 0:00 as a local clock shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Interval {
    /// The first minute, from 0 to 1,439.
    pub from: u16,
    /// The minute after the last one, from 1 to 1,440, which is 24:00.
    pub until: u16,
}

impl Interval {
    /// From a minute to before another one. Only a calendar checks them.
    #[must_use]
    pub const fn new(from: u16, until: u16) -> Self {
        Self { from, until }
    }

    /// Where it begins, in microseconds from 0:00.
    pub(crate) fn begin(self) -> i64 {
        i64::from(self.from) * MINUTE
    }

    /// Where it ends, in microseconds from 0:00.
    pub(crate) fn end(self) -> i64 {
        i64::from(self.until) * MINUTE
    }

    /// How long it is by the clock, in microseconds.
    fn length(self) -> i64 {
        self.end() - self.begin()
    }
}

/// Such as `09:00-17:30`.
impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, until } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, until / 60, until % 60)
    }
}

/// What a calendar is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalendarPlan {
    /// The time zone of all dates and hours.
    pub time_zone: TimeZone,
    /// The hours of each weekday, Monday first: up to [`MOST_INTERVALS`], disjoint, in any order. One may begin as
    /// another ends. A day without any is no business day.
    pub week: [Vec<Interval>; 7],
    /// Dates with hours of their own in place of their weekday's, as those are: none for a holiday, fewer for a half
    /// day. Up to [`MOST_SPECIAL_DATES`], in any order, each once.
    pub special_hours: Vec<(Date, Vec<Interval>)>,
}

/// A date with hours of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SpecialDay {
    /// The number of its day.
    day: i64,
    hours: Vec<Interval>,
    /// By how much this date and those before it have more business time than their weekdays, in microseconds.
    more: i64,
}

/// The hours of a business in its time zone. Made by [`new`](Self::new), and sound from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusinessCalendar {
    time_zone: TimeZone,
    week: [Vec<Interval>; 7],
    /// In the order of their days.
    special_days: Vec<SpecialDay>,
}

impl BusinessCalendar {
    /// The calendar of a plan.
    ///
    /// # Errors
    ///
    /// All faults of the plan at once: intervals that are empty, go on after midnight, overlap or are too many for one
    /// day; no hours in the whole week; dates that come twice or are too many. Special hours alone are no week: a
    /// business that is never open in a plain week is refused.
    pub fn new(plan: CalendarPlan) -> Result<Self, CalendarError> {
        let faults = find_faults(&plan);
        if !faults.is_empty() {
            return Err(CalendarError { faults });
        }
        let sorted = |mut hours: Vec<Interval>| {
            hours.sort_unstable();
            hours
        };
        let week = plan.week.map(sorted);
        let mut special: Vec<(i64, Vec<Interval>)> =
            plan.special_hours.into_iter().map(|(date, hours)| (number_of(date), sorted(hours))).collect();
        special.sort_unstable_by_key(|(day, _)| *day);
        let mut more = 0;
        let with_sum = |(day, hours): (i64, Vec<Interval>)| {
            more += length_of(&hours) - length_of(hours_of_weekday(&week, day));
            SpecialDay { day, hours, more }
        };
        let special_days = special.into_iter().map(with_sum).collect();
        Ok(Self { time_zone: plan.time_zone, week, special_days })
    }

    /// The time zone of the hours.
    #[must_use]
    pub fn time_zone(&self) -> &TimeZone {
        &self.time_zone
    }

    /// The hours of a date, in their order: its own, or those of its weekday.
    #[must_use]
    pub fn hours_on(&self, date: Date) -> &[Interval] {
        self.hours_of_day(number_of(date))
    }

    /// Whether a date is a business day: whether any of its hours pass. They do not if it has none, or if the clock
    /// skips them.
    #[must_use]
    pub fn is_business_day(&self, date: Date) -> bool {
        let day = number_of(date);
        end_of_hours(&self.time_zone, day, self.hours_of_day(day)).is_some()
    }

    /// Whether an instant is business time.
    #[must_use]
    pub fn is_open(&self, at: Timestamp) -> bool {
        let local = local_at(&self.time_zone, at);
        let time = local.rem_euclid(DAY);
        let hours = self.hours_of_day(local.div_euclid(DAY));
        hours.iter().any(|interval| (interval.begin()..interval.end()).contains(&time))
    }

    /// The first instant of business time that is not before `from`; none if there is no more until the year 9999 ends.
    ///
    /// Where a rule takes what comes in after hours as received on the next business day, this is when it is received.
    #[must_use]
    pub fn next_opening(&self, from: Timestamp) -> Option<Timestamp> {
        let after = due_of_time(from, 1, &Pauses::none(), self).ok()??;
        Timestamp::from_microsecond(after - 1).ok()
    }

    /// The hours of a local day, in their order.
    pub(crate) fn hours_of_day(&self, day: i64) -> &[Interval] {
        match self.special_days.binary_search_by_key(&day, |special| special.day) {
            Ok(place) => self.special_days.get(place).map_or(&[], |special| &special.hours),
            Err(_) => hours_of_weekday(&self.week, day),
        }
    }

    /// The business time of a stretch, in microseconds.
    pub(crate) fn business_time_in(&self, stretch: Stretch) -> i64 {
        self.business_time_until(stretch.local_until()) - self.business_time_until(stretch.local_from())
    }

    /// The first instant of a stretch before which so much of its business time has passed, in microseconds. The stretch
    /// has as much, and it is more than none.
    pub(crate) fn instant_after(&self, stretch: Stretch, passed: i64) -> i64 {
        let sought = self.business_time_until(stretch.local_from()) + passed;
        // The last day that begins with less than what is sought, by halving.
        let mut day = stretch.local_from().div_euclid(DAY);
        let mut too_late = stretch.local_until().div_euclid(DAY) + 1;
        while too_late - day > 1 {
            let middle = day + (too_late - day) / 2;
            if self.business_time_before(middle) < sought {
                day = middle;
            } else {
                too_late = middle;
            }
        }
        let mut left = sought - self.business_time_before(day);
        let mut local = day * DAY;
        for interval in self.hours_of_day(day) {
            local = day * DAY + interval.begin() + left.min(interval.length());
            left -= interval.length();
            if left <= 0 {
                break;
            }
        }
        local - stretch.offset
    }

    /// The business time that a clock which is never changed passes until it shows `local`, counted from [`A_MONDAY`]
    /// and negative before it. It is off by the same for every `local`, so that differences alone have a meaning.
    fn business_time_until(&self, local: i64) -> i64 {
        let (day, time) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        let passed = |interval: &Interval| (time - interval.begin()).clamp(0, interval.length());
        self.business_time_before(day) + self.hours_of_day(day).iter().map(passed).sum::<i64>()
    }

    /// The same until a day begins. Whole weeks are multiplied and special dates were summed up, so that this does not
    /// take longer for a longer time.
    fn business_time_before(&self, day: i64) -> i64 {
        let (weeks, weekday) = ((day - A_MONDAY).div_euclid(7), (day - A_MONDAY).rem_euclid(7));
        let whole: i64 = self.week.iter().map(|hours| length_of(hours)).sum();
        let begun: i64 = self.week.iter().zip(0..weekday).map(|(hours, _)| length_of(hours)).sum();
        let special_before = self.special_days.partition_point(|special| special.day < day);
        let last = special_before.checked_sub(1).and_then(|place| self.special_days.get(place));
        weeks * whole + begun + last.map_or(0, |special| special.more)
    }
}

/// The hours that the weekday of a local day has.
fn hours_of_weekday(week: &[Vec<Interval>; 7], day: i64) -> &[Interval] {
    let place = usize::try_from((day - A_MONDAY).rem_euclid(7)).unwrap_or_default();
    week.get(place).map_or(&[], Vec::as_slice)
}

/// How long some hours are by the clock, in microseconds.
fn length_of(hours: &[Interval]) -> i64 {
    hours.iter().map(|interval| interval.length()).sum()
}

/// All that is wrong with a plan.
fn find_faults(plan: &CalendarPlan) -> Vec<CalendarFault> {
    let mut faults = Vec::new();
    for (weekday, hours) in WEEKDAYS.into_iter().zip(&plan.week) {
        find_faults_of_day(Day::Weekday(weekday), hours, &mut faults);
    }
    if plan.week.iter().all(Vec::is_empty) {
        faults.push(CalendarFault::NoHours);
    }
    let count = plan.special_hours.len();
    if count > MOST_SPECIAL_DATES {
        faults.push(CalendarFault::TooManySpecialDates { count });
        return faults;
    }
    let (mut seen, mut repeated) = (BTreeSet::new(), BTreeSet::new());
    for (date, hours) in &plan.special_hours {
        if !seen.insert(*date) && repeated.insert(*date) {
            faults.push(CalendarFault::RepeatedDate { date: *date });
        }
        find_faults_of_day(Day::Date(*date), hours, &mut faults);
    }
    faults
}

/// All that is wrong with the hours of one day. If there are too many intervals, they are not looked at one by one.
fn find_faults_of_day(day: Day, hours: &[Interval], faults: &mut Vec<CalendarFault>) {
    if hours.len() > MOST_INTERVALS {
        faults.push(CalendarFault::TooManyIntervals { day, count: hours.len() });
        return;
    }
    let mut sound = Vec::new();
    for interval in hours.iter().copied() {
        if interval.until <= interval.from {
            faults.push(CalendarFault::EmptyInterval { day, interval });
        } else {
            sound.push(interval);
        }
        if interval.until > DAY_MINUTES {
            faults.push(CalendarFault::PastMidnight { day, interval });
        }
    }
    sound.sort_unstable();
    for (place, first) in sound.iter().copied().enumerate() {
        let later = sound.iter().copied().skip(place + 1);
        let overlapping = later.filter(|second| second.from < first.until);
        faults.extend(overlapping.map(|second| CalendarFault::Overlap { day, first, second }));
    }
}
