//! Which plans are calendars, and what these tell of dates and instants.

use jiff::civil::Weekday;

use super::*;
use crate::{CalendarError, CalendarFault, Day, MOST_SPECIAL_DATES};

/// A plan with these hours from Monday on, in UTC.
fn plan(week: [&str; 7], special_hours: Vec<(Date, Vec<Interval>)>) -> CalendarPlan {
    CalendarPlan { time_zone: TimeZone::UTC, week: week.map(hours), special_hours }
}

#[test]
fn all_faults_of_a_plan_are_told_at_once() {
    let five = "08:00-09:00 10:00-11:00 12:00-13:00 14:00-15:00 16:00-17:00";
    let (christmas, new_year) = (date(2026, 12, 25), date(2027, 1, 1));
    let special_hours = vec![
        (christmas, hours("12:00-12:00")),
        (new_year, Vec::new()),
        (christmas, Vec::new()),
        (christmas, Vec::new()),
    ];
    let week =
        ["13:00-17:00 09:00-13:01", "10:00-09:00", "22:00-25:00", five, "", "09:00-17:00 10:00-11:00 16:00-18:00", ""];
    let CalendarError { faults } = BusinessCalendar::new(plan(week, special_hours)).unwrap_err();
    let (monday, saturday) = (Day::Weekday(Weekday::Monday), Day::Weekday(Weekday::Saturday));
    let of = |from: u16, until: u16| Interval::new(from * 60, until * 60);
    assert_eq!(
        faults,
        [
            CalendarFault::Overlap { day: monday, first: Interval::new(540, 781), second: of(13, 17) },
            CalendarFault::EmptyInterval { day: Day::Weekday(Weekday::Tuesday), interval: of(10, 9) },
            CalendarFault::PastMidnight { day: Day::Weekday(Weekday::Wednesday), interval: of(22, 25) },
            CalendarFault::TooManyIntervals { day: Day::Weekday(Weekday::Thursday), count: 5 },
            CalendarFault::Overlap { day: saturday, first: of(9, 17), second: of(10, 11) },
            CalendarFault::Overlap { day: saturday, first: of(9, 17), second: of(16, 18) },
            CalendarFault::EmptyInterval { day: Day::Date(christmas), interval: of(12, 12) },
            CalendarFault::RepeatedDate { date: christmas },
        ]
    );
    let told = CalendarError { faults: vec![faults[0], faults[6]] }.to_string();
    assert_eq!(
        told,
        "09:00-13:01 and 13:00-17:00 on Monday overlap: make one interval of them; \
         12:00-12:00 on 2026-12-25 is empty: hours end after they begin"
    );
}

#[test]
fn a_week_without_hours_is_no_plan_even_with_special_ones() {
    let special_hours = vec![(date(2026, 12, 24), hours("09:00-12:00"))];
    let CalendarError { faults } = BusinessCalendar::new(plan([""; 7], special_hours)).unwrap_err();
    assert_eq!(faults, [CalendarFault::NoHours]);
}

#[test]
fn a_calendar_has_at_most_2000_special_dates() {
    let dates = |count: usize| date(2026, 1, 1).series(jiff::Span::new().days(1)).take(count);
    let made = |count| {
        let special_hours = dates(count).map(|date| (date, Vec::new())).collect();
        BusinessCalendar::new(plan(["09:00-17:00"; 7], special_hours))
    };
    assert!(made(MOST_SPECIAL_DATES).is_ok());
    let CalendarError { faults } = made(MOST_SPECIAL_DATES + 1).unwrap_err();
    assert_eq!(faults, [CalendarFault::TooManySpecialDates { count: 2001 }]);
}

#[test]
fn hours_are_those_of_the_date_before_those_of_the_weekday() {
    let special_hours = vec![
        (date(2026, 12, 26), hours("10:00-14:00")), // a Saturday
        (date(2026, 12, 25), Vec::new()),
        (date(2026, 12, 24), hours("13:00-14:00 08:00-12:00")),
    ];
    let mut week = ["09:00-17:00"; 7];
    (week[5], week[6]) = ("", "");
    let calendar = BusinessCalendar::new(plan(week, special_hours)).unwrap();
    for (day, expected) in [
        (date(2026, 12, 23), "09:00-17:00"),
        (date(2026, 12, 24), "08:00-12:00 13:00-14:00"),
        (date(2026, 12, 25), ""),
        (date(2026, 12, 26), "10:00-14:00"),
        (date(2026, 12, 27), ""),
        (date(2027, 1, 2), ""),
        (date(1969, 12, 28), ""), // a Sunday before 1970
        (date(1969, 12, 29), "09:00-17:00"),
        (Date::MIN, "09:00-17:00"), // a Monday
        (Date::MAX, "09:00-17:00"), // a Friday
    ] {
        assert_eq!(calendar.hours_on(day), hours(expected), "{day}");
        let told = (day != Date::MIN && day != Date::MAX).then(|| calendar.is_business_day(day));
        assert!(told.is_none_or(|told| told != expected.is_empty()), "{day}");
    }
    for (instant, open) in [
        ("2026-12-24T07:59:59.999999Z", false),
        ("2026-12-24T08:00Z", true),
        ("2026-12-24T11:59:59.999999Z", true),
        ("2026-12-24T12:00Z", false),
        ("2026-12-24T13:30Z", true),
        ("2026-12-25T13:30Z", false),
        ("2026-12-26T13:30Z", true),
    ] {
        assert_eq!(calendar.is_open(at(instant)), open, "{instant}");
    }
}

#[test]
fn hours_may_end_with_the_day_and_go_on_with_the_next_one() {
    let calendar = BusinessCalendar::new(plan(["00:00-12:00 12:00-24:00"; 7], Vec::new())).unwrap();
    assert!(calendar.is_open(at("2026-12-24T12:00Z")) && calendar.is_open(at("2026-12-25T00:00Z")));
    check(
        &calendar,
        &[
            plain(1440, Unit::BusinessMinutes, "2026-12-24T15:00Z", "2026-12-25T15:00Z"),
            plain(1, Unit::BusinessDays, "2026-12-24T15:00Z", "2026-12-26T00:00Z"),
        ],
    );
}
