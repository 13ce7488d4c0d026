//! Tests by tables, and by random cases against a model.

mod clocks;
mod deadlines;
mod model;
mod passed;
mod plans;
mod random;

use jiff::Timestamp;
use jiff::civil::{Date, date};
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::{Allowance, BusinessCalendar, CalendarPlan, Interval, Pause, Pauses, Unit, due_at};

/// A time zone by its name.
#[expect(clippy::disallowed_methods, reason = "the data that comes with jiff")]
fn zone(name: &str) -> TimeZone {
    TimeZoneDatabase::bundled().get(name).unwrap()
}

/// An instant, such as `2026-12-21T10:00Z`.
fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Hours between times of day, such as `09:00-12:30 13:00-24:00`.
fn hours(text: &str) -> Vec<Interval> {
    let minute = |time: &str| {
        let (hour, minute) = time.split_once(':').unwrap();
        hour.parse::<u16>().unwrap() * 60 + minute.parse::<u16>().unwrap()
    };
    let interval = |text: &str| {
        let (from, until) = text.split_once('-').unwrap();
        Interval::new(minute(from), minute(until))
    };
    text.split_whitespace().map(interval).collect()
}

/// The same hours on each day of the week, in a zone.
fn daily(zone_name: &str, text: &str) -> BusinessCalendar {
    let week = [(); 7].map(|()| hours(text));
    BusinessCalendar::new(CalendarPlan { time_zone: zone(zone_name), week, special_hours: Vec::new() }).unwrap()
}

/// Nine to five on weekdays, in a zone.
fn nine_to_five(zone_name: &str, special_hours: Vec<(Date, Vec<Interval>)>) -> BusinessCalendar {
    let week = [0, 1, 2, 3, 4, 5, 6].map(|weekday| if weekday < 5 { hours("09:00-17:00") } else { Vec::new() });
    BusinessCalendar::new(CalendarPlan { time_zone: zone(zone_name), week, special_hours }).unwrap()
}

/// Nine to five on weekdays in London, with the bank holidays of England and Wales from Christmas 2026 to Christmas 2027.
/// On Christmas Eve the office closes at half past twelve.
fn england() -> BusinessCalendar {
    let holidays = [
        date(2026, 12, 25),
        date(2026, 12, 28), // in place of Saturday 26 December
        date(2027, 1, 1),
        date(2027, 3, 26), // Good Friday
        date(2027, 3, 29), // Easter Monday
        date(2027, 5, 3),
        date(2027, 5, 31),
        date(2027, 8, 30),
        date(2027, 12, 27), // in place of Saturday 25 December
        date(2027, 12, 28), // in place of Sunday 26 December
    ];
    let half_days = [date(2026, 12, 24), date(2027, 12, 24)];
    let closed = holidays.map(|holiday| (holiday, Vec::new()));
    let short = half_days.map(|half_day| (half_day, hours("09:00-12:30")));
    nine_to_five("Europe/London", closed.into_iter().chain(short).collect())
}

/// Pauses by their ends; an empty one is open.
fn pauses(ends: &[(&str, &str)]) -> Pauses {
    let pause = |(from, until): &(&str, &str)| Pause { from: at(from), until: (!until.is_empty()).then(|| at(until)) };
    Pauses::new(ends.iter().map(pause).collect()).unwrap()
}

/// What an allowance from a start comes to.
struct Row {
    count: u32,
    unit: Unit,
    start: &'static str,
    pauses: &'static [(&'static str, &'static str)],
    /// Empty if nothing is due while a pause is open.
    due: &'static str,
}

/// A row of a table without pauses.
const fn plain(count: u32, unit: Unit, start: &'static str, due: &'static str) -> Row {
    Row { count, unit, start, pauses: &[], due }
}

/// What does not come to what its row says.
#[track_caller]
fn check(calendar: &BusinessCalendar, rows: &[Row]) {
    for Row { count, unit, start, pauses: ends, due } in rows {
        let allowance = Allowance::new(*unit, *count).unwrap();
        let found = due_at(at(start), allowance, &pauses(ends), calendar).unwrap();
        assert_eq!(found, (!due.is_empty()).then(|| at(due)), "{allowance} from {start}, pauses {ends:?}");
    }
}
