//! Deadlines in weeks without a change of the clock: tables of starts, pauses and what is due when.

use super::*;
use crate::Unit::{BusinessDays, BusinessMinutes, CalendarDays, Weeks};
use crate::due::DayCount;
use crate::{AllowanceError, DueError, PausesError};

/// Monday 21 December 2026 in the morning.
const BEFORE_CHRISTMAS: &str = "2026-12-21T10:00Z";

/// Monday 7 December 2026 in the morning. Five business days end on Monday 14 December.
const MONDAY: &str = "2026-12-07T10:00Z";

#[test]
fn published_time_limits_hold_over_christmas() {
    check(
        &england(),
        &[
            plain(3, BusinessDays, BEFORE_CHRISTMAS, "2026-12-24T12:30Z"), // the half day is a day
            plain(5, BusinessDays, BEFORE_CHRISTMAS, "2026-12-30T17:00Z"),
            plain(15, BusinessDays, BEFORE_CHRISTMAS, "2027-01-14T17:00Z"),
            plain(35, BusinessDays, BEFORE_CHRISTMAS, "2027-02-11T17:00Z"),
            plain(8, Weeks, BEFORE_CHRISTMAS, "2027-02-16T00:00Z"), // the end of Monday 15 February
            plain(56, CalendarDays, BEFORE_CHRISTMAS, "2027-02-16T00:00Z"),
        ],
    );
}

#[test]
fn day_zero_is_the_local_day_of_the_start_whatever_the_hour() {
    check(
        &england(),
        &[
            plain(1, BusinessDays, "2026-12-07T00:00Z", "2026-12-08T17:00Z"),
            plain(1, BusinessDays, "2026-12-07T08:59:59.999999Z", "2026-12-08T17:00Z"),
            plain(1, BusinessDays, MONDAY, "2026-12-08T17:00Z"),
            plain(1, BusinessDays, "2026-12-07T17:00Z", "2026-12-08T17:00Z"),
            plain(1, BusinessDays, "2026-12-07T23:59:59.999999Z", "2026-12-08T17:00Z"),
            plain(1, BusinessDays, "2026-12-11T20:00Z", "2026-12-14T17:00Z"), // Friday evening
            plain(1, BusinessDays, "2026-12-12T12:00Z", "2026-12-14T17:00Z"), // Saturday
            plain(1, BusinessDays, "2026-12-13T12:00Z", "2026-12-14T17:00Z"), // Sunday
            plain(1, BusinessDays, "2026-12-25T12:00Z", "2026-12-29T17:00Z"), // a holiday
            plain(1, CalendarDays, "2026-12-07T00:00Z", "2026-12-09T00:00Z"),
            plain(1, CalendarDays, "2026-12-07T23:59:59.999999Z", "2026-12-09T00:00Z"),
            // In summer the local day begins at 23:00 in UTC.
            plain(1, CalendarDays, "2027-06-07T22:59:59Z", "2027-06-08T23:00Z"),
            plain(1, CalendarDays, "2027-06-07T23:00Z", "2027-06-09T23:00Z"),
        ],
    );
}

#[test]
fn what_comes_after_hours_may_be_taken_as_received_at_the_next_opening() {
    let calendar = england();
    for (from, opening) in [
        ("2026-12-07T08:00Z", "2026-12-07T09:00Z"),
        ("2026-12-07T09:00Z", "2026-12-07T09:00Z"),
        ("2026-12-07T16:59:59.999999Z", "2026-12-07T16:59:59.999999Z"),
        ("2026-12-07T17:00Z", "2026-12-08T09:00Z"),
        ("2026-12-12T12:00Z", "2026-12-14T09:00Z"),
        ("2026-12-24T12:30Z", "2026-12-29T09:00Z"),
    ] {
        assert_eq!(calendar.next_opening(at(from)), Some(at(opening)), "from {from}");
    }
    assert_eq!(calendar.next_opening(Timestamp::MAX), None);
}

#[test]
fn minutes_run_within_hours_alone() {
    check(
        &england(),
        &[
            plain(1, BusinessMinutes, MONDAY, "2026-12-07T10:01Z"),
            plain(1, BusinessMinutes, "2026-12-07T10:00:30.000001Z", "2026-12-07T10:01:30.000001Z"),
            plain(420, BusinessMinutes, MONDAY, "2026-12-07T17:00Z"), // the end of hours, not the next opening
            plain(421, BusinessMinutes, MONDAY, "2026-12-08T09:01Z"),
            plain(480, BusinessMinutes, MONDAY, "2026-12-08T10:00Z"),
            plain(60, BusinessMinutes, "2026-12-07T06:00Z", "2026-12-07T10:00Z"),
            plain(60, BusinessMinutes, "2026-12-12T12:00Z", "2026-12-14T10:00Z"),
            plain(60, BusinessMinutes, "2026-12-24T12:00Z", "2026-12-29T09:30Z"), // over Christmas
            plain(2400, BusinessMinutes, "2026-12-07T09:00Z", "2026-12-11T17:00Z"), // a week
            plain(2401, BusinessMinutes, "2026-12-07T09:00Z", "2026-12-14T09:01Z"),
        ],
    );
}

#[test]
fn a_pause_moves_business_days_by_the_ends_of_days_that_it_covers() {
    let five = |pauses, due| Row { count: 5, unit: BusinessDays, start: MONDAY, pauses, due };
    check(
        &england(),
        &[
            five(&[], "2026-12-14T17:00Z"),
            five(&[("2026-12-08T10:00Z", "2026-12-08T11:00Z")], "2026-12-14T17:00Z"), // within a day
            five(&[("2026-12-08T16:00Z", "2026-12-09T10:00Z")], "2026-12-15T17:00Z"), // until the next morning
            five(&[("2026-12-08T12:00Z", "2026-12-10T12:00Z")], "2026-12-16T17:00Z"), // two days
            five(&[("2026-12-08T16:59Z", "2026-12-08T17:00Z")], "2026-12-15T17:00Z"), // the last minute
            five(&[("2026-12-08T17:00Z", "2026-12-09T09:00Z")], "2026-12-14T17:00Z"), // between hours
            five(&[("2026-12-11T20:00Z", "2026-12-14T08:00Z")], "2026-12-14T17:00Z"), // begins and ends outside hours
            five(&[("2026-12-11T20:00Z", "2026-12-14T18:00Z")], "2026-12-15T17:00Z"), // begins outside hours
            five(&[("2026-12-11T16:00Z", "2026-12-14T10:00Z")], "2026-12-15T17:00Z"), // over a weekend
            five(&[("2026-12-14T16:00Z", "2026-12-17T10:00Z")], "2026-12-17T17:00Z"), // over the deadline
            five(&[("2026-12-06T10:00Z", "2026-12-07T10:00Z")], "2026-12-14T17:00Z"), // before the start
            five(&[("2026-12-07T09:00Z", "2026-12-09T12:00Z")], "2026-12-15T17:00Z"), // open at the start
            five(&[("2026-12-08T17:00Z", "2026-12-08T17:00Z")], "2026-12-14T17:00Z"), // of no length
            five(
                &[
                    ("2026-12-08T16:00Z", "2026-12-09T10:00Z"),
                    ("2026-12-10T16:00Z", "2026-12-11T18:00Z"),
                    ("2026-12-11T18:00Z", "2026-12-14T09:00Z"), // goes on from the one before
                ],
                "2026-12-17T17:00Z",
            ),
        ],
    );
}

#[test]
fn holidays_within_a_pause_are_not_given_twice() {
    const OVER_CHRISTMAS: &[(&str, &str)] = &[("2026-12-23T12:00Z", "2026-12-30T10:00Z")];
    let row = |count, unit, pauses, due| Row { count, unit, start: BEFORE_CHRISTMAS, pauses, due };
    check(
        &england(),
        &[
            row(5, BusinessDays, OVER_CHRISTMAS, "2027-01-05T17:00Z"), // 23, 24 and 29 December do not count
            row(5, BusinessDays, &[("2026-12-25T00:00Z", "2026-12-29T00:00Z")], "2026-12-30T17:00Z"),
            row(8, Weeks, OVER_CHRISTMAS, "2027-02-23T00:00Z"), // seven ends of days
            // Seven hours on Monday, eight on Tuesday, three before and seven after the pause.
            row(25 * 60, BusinessMinutes, OVER_CHRISTMAS, "2026-12-30T17:00Z"),
        ],
    );
}

#[test]
fn a_pause_moves_calendar_days_by_the_midnights_that_it_covers() {
    let week = |pauses, due| Row { count: 1, unit: Weeks, start: MONDAY, pauses, due };
    check(
        &england(),
        &[
            week(&[], "2026-12-15T00:00Z"),
            week(&[("2026-12-08T00:00Z", "2026-12-09T00:00Z")], "2026-12-16T00:00Z"), // one whole day
            week(&[("2026-12-08T00:00Z", "2026-12-08T23:59Z")], "2026-12-15T00:00Z"),
            week(&[("2026-12-12T12:00Z", "2026-12-13T12:00Z")], "2026-12-16T00:00Z"), // the weekend is as good
            week(&[("2026-12-14T23:00Z", "2026-12-20T12:00Z")], "2026-12-21T00:00Z"), // over the deadline
            week(&[("2026-12-15T00:00Z", "")], "2026-12-15T00:00Z"),                  // open, but later
            week(&[("2026-12-14T23:59Z", "")], ""),
        ],
    );
}

#[test]
fn minutes_stand_still_within_pauses() {
    let row = |count, pauses, due| Row { count, unit: BusinessMinutes, start: MONDAY, pauses, due };
    check(
        &england(),
        &[
            row(480, &[("2026-12-07T12:00Z", "2026-12-07T13:00Z")], "2026-12-08T11:00Z"),
            row(480, &[("2026-12-07T16:00Z", "2026-12-08T10:00Z")], "2026-12-08T12:00Z"),
            row(480, &[("2026-12-07T18:00Z", "2026-12-08T10:00Z")], "2026-12-08T11:00Z"), // begins outside hours
            row(480, &[("2026-12-07T17:00Z", "2026-12-08T09:00Z")], "2026-12-08T10:00Z"), // between hours
            row(420, &[("2026-12-07T17:00Z", "2026-12-08T12:00Z")], "2026-12-07T17:00Z"), // begins when it is due
            row(60, &[("2026-12-07T09:00Z", "2026-12-09T12:00Z")], "2026-12-09T13:00Z"),
            row(
                480,
                &[("2026-12-07T12:00Z", "2026-12-07T12:30Z"), ("2026-12-07T12:30Z", "2026-12-07T13:00Z")],
                "2026-12-08T11:00Z",
            ),
        ],
    );
}

#[test]
fn an_open_pause_leaves_due_what_was_due_before_it_and_nothing_else() {
    let row = |count, unit, pauses, due| Row { count, unit, start: MONDAY, pauses, due };
    check(
        &england(),
        &[
            row(5, BusinessDays, &[("2026-12-11T12:00Z", "")], ""),
            row(5, BusinessDays, &[("2026-12-14T16:59:59.999999Z", "")], ""),
            row(5, BusinessDays, &[("2026-12-14T17:00Z", "")], "2026-12-14T17:00Z"),
            row(420, BusinessMinutes, &[("2026-12-07T16:59:59.999999Z", "")], ""),
            row(420, BusinessMinutes, &[("2026-12-07T17:00Z", "")], "2026-12-07T17:00Z"),
            row(420, BusinessMinutes, &[("2026-12-01T00:00Z", "")], ""), // since before the start
            row(1, BusinessDays, &[("2026-12-01T00:00Z", "2026-12-03T00:00Z"), ("2026-12-04T00:00Z", "")], ""),
        ],
    );
}

#[test]
fn an_allowance_is_one_to_as_much_as_ten_years() {
    for unit in [BusinessMinutes, BusinessDays, CalendarDays, Weeks] {
        let most = unit.most();
        assert_eq!(Allowance::new(unit, 0), Err(AllowanceError::Nothing { unit }));
        assert_eq!(Allowance::new(unit, most + 1), Err(AllowanceError::TooLong { unit, count: most + 1 }));
        let allowance = Allowance::new(unit, most).unwrap();
        assert_eq!((allowance.unit(), allowance.count()), (unit, most));
    }
    assert_eq!(Allowance::new(BusinessDays, 15).unwrap().to_string(), "15 business days");
    let told = Allowance::new(Weeks, 522).unwrap_err().to_string();
    assert_eq!(told, "522 weeks are too many: at most 521 may be allowed, which are ten years");
}

#[test]
fn pauses_are_in_order_and_only_the_last_is_open() {
    let pause = |(from, until): (i64, Option<i64>)| Pause {
        from: Timestamp::from_second(from).unwrap(),
        until: until.map(|until| Timestamp::from_second(until).unwrap()),
    };
    let make = |ends: &[(i64, Option<i64>)]| Pauses::new(ends.iter().copied().map(pause).collect());
    assert!(!make(&[]).unwrap().are_open());
    assert!(!make(&[(1, Some(2)), (2, Some(2)), (2, Some(5))]).unwrap().are_open());
    assert!(make(&[(1, Some(2)), (2, None)]).unwrap().are_open());
    assert_eq!(make(&[(1, Some(2)), (4, Some(3))]), Err(PausesError::Backwards { place: 1 }));
    assert_eq!(make(&[(1, Some(3)), (2, Some(4))]), Err(PausesError::OutOfOrder { place: 1 }));
    assert_eq!(make(&[(5, Some(6)), (2, Some(4))]), Err(PausesError::OutOfOrder { place: 1 }));
    assert_eq!(make(&[(1, None), (2, Some(4))]), Err(PausesError::OpenBeforeLast { place: 0 }));
}

#[test]
fn days_that_are_looked_at_are_bounded() {
    // Open for one minute a week, closed for as many weeks as a calendar may name, with pauses over the next thousand.
    let sunday = date(2027, 1, 3);
    let week_later = |weeks: i64| sunday.checked_add(jiff::Span::new().weeks(weeks)).unwrap();
    let mut week = [(); 7].map(|()| Vec::new());
    week[6] = hours("23:59-24:00");
    let (special, paused, count) = (2000, 1000, BusinessDays.most());
    let special_hours = (0..special).map(|weeks| (week_later(weeks), Vec::new())).collect();
    let calendar = BusinessCalendar::new(CalendarPlan { time_zone: zone("UTC"), week, special_hours }).unwrap();
    let instant = |weeks, hour| week_later(weeks).at(hour, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap().timestamp();
    let pause = |weeks| Pause { from: instant(weeks, 12), until: Some(instant(weeks + 1, 1)) };
    let pauses = Pauses::new((special..special + paused).map(pause).collect()).unwrap();
    let mut days = DayCount::new(at("2027-01-01T00:00Z"), true, &pauses, &calendar);
    let due = days.find_end_of(count).unwrap().unwrap();
    let last = special + paused + i64::from(count) - 1;
    assert_eq!(due, instant(last, 0).as_microsecond() + crate::stretches::DAY);
    let bound = 7 * (i64::from(count) + special + 2 * paused);
    assert!(i64::from(days.looked_at) <= bound, "{} of {bound}", days.looked_at);
}

#[test]
fn what_would_fall_due_after_the_last_year_is_refused() {
    let calendar = england();
    let last = at("9999-12-29T12:00Z");
    for (unit, count) in [(BusinessMinutes, 5000), (BusinessDays, 3), (CalendarDays, 3), (Weeks, 1)] {
        let allowance = Allowance::new(unit, count).unwrap();
        assert_eq!(due_at(last, allowance, &Pauses::none(), &calendar), Err(DueError::TooLate));
        assert_eq!(due_at(Timestamp::MAX, allowance, &Pauses::none(), &calendar), Err(DueError::TooLate));
        let open = pauses(&[("9999-12-29T00:00Z", "")]);
        assert_eq!(due_at(last, allowance, &open, &calendar), Ok(None));
    }
    // A minute a week, and as many minutes as ten years have: a hundred thousand years.
    let mut week = [(); 7].map(|()| Vec::new());
    week[0] = hours("09:00-09:01");
    let rarely = CalendarPlan { time_zone: zone("Europe/London"), week, special_hours: Vec::new() };
    let most = Allowance::new(BusinessMinutes, BusinessMinutes.most()).unwrap();
    let found = due_at(at(MONDAY), most, &Pauses::none(), &BusinessCalendar::new(rarely).unwrap());
    assert_eq!(found, Err(DueError::TooLate));
}
