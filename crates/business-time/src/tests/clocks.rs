//! Deadlines where clocks are changed: tables of zones with all that they have been through.

use super::*;
use crate::Unit::{BusinessDays, BusinessMinutes, CalendarDays, Weeks};
use crate::business_time_between;

#[test]
fn hours_in_the_day_are_as_long_after_a_change_as_before() {
    check(
        &england(),
        &[
            // The clock goes forward on Easter Sunday 2027, between two holidays.
            plain(480, BusinessMinutes, "2027-03-25T16:00Z", "2027-03-30T16:00+01"),
            plain(2, BusinessDays, "2027-03-25T16:00Z", "2027-03-31T17:00+01"),
            // It goes back on Sunday 25 October 2026.
            plain(480, BusinessMinutes, "2026-10-23T16:00+01", "2026-10-26T16:00Z"),
            plain(1, BusinessDays, "2026-10-23T16:00+01", "2026-10-26T17:00Z"),
            plain(1, CalendarDays, "2027-03-27T12:00Z", "2027-03-29T00:00+01"), // the end of a day of 23 hours
            plain(1, CalendarDays, "2026-10-24T12:00+01", "2026-10-26T00:00Z"), // of 25 hours
            plain(1, Weeks, "2026-10-20T12:00+01", "2026-10-28T00:00Z"),
        ],
    );
}

#[test]
fn a_skipped_hour_is_not_counted_and_a_repeated_one_counts_twice() {
    let nights = daily("Europe/London", "00:00-06:00 22:00-24:00");
    check(
        &nights,
        &[
            // Two hours before midnight and five after it, then one in the next evening.
            plain(480, BusinessMinutes, "2027-03-27T22:00Z", "2027-03-28T23:00+01"),
            // Two hours before midnight, then six of seven.
            plain(480, BusinessMinutes, "2026-10-24T22:00+01", "2026-10-25T05:00Z"),
        ],
    );
    let early = daily("Europe/London", "01:15-01:45");
    check(
        &early,
        &[
            plain(1, BusinessDays, "2027-03-27T12:00Z", "2027-03-29T01:45+01"), // no time passes on Sunday
            plain(30, BusinessMinutes, "2027-03-27T12:00Z", "2027-03-29T01:45+01"),
            plain(1, BusinessDays, "2026-10-24T12:00+01", "2026-10-25T01:45Z"), // the second time
            plain(30, BusinessMinutes, "2026-10-24T12:00+01", "2026-10-25T01:45+01"), // the first time
            plain(45, BusinessMinutes, "2026-10-24T12:00+01", "2026-10-25T01:30Z"),
        ],
    );
    assert!(!early.is_business_day(date(2027, 3, 28)));
    assert!(early.is_business_day(date(2027, 3, 29)));
    assert!(early.is_open(at("2026-10-25T01:30+01")) && early.is_open(at("2026-10-25T01:30Z")));
    let twice = business_time_between(at("2026-10-24T12:00Z"), at("2026-10-25T12:00Z"), &early);
    assert_eq!(twice.as_mins(), 60);
}

#[test]
fn a_change_by_half_an_hour_counts_half_an_hour() {
    let calendar = daily("Australia/Lord_Howe", "01:00-03:00");
    let on = |from, until| business_time_between(at(from), at(until), &calendar).as_mins();
    assert_eq!(on("2026-04-04T12:00Z", "2026-04-05T12:00Z"), 150); // back from 2:00 to 1:30
    assert_eq!(on("2026-10-03T12:00Z", "2026-10-04T12:00Z"), 90); // forward from 2:00 to 2:30
    assert_eq!(on("2026-10-04T12:00Z", "2026-10-05T12:00Z"), 120);
}

#[test]
fn a_date_that_a_zone_leaves_out_is_no_day() {
    // After Thursday 29 December 2011, 24:00, came Saturday.
    let calendar = nine_to_five("Pacific/Apia", Vec::new());
    check(
        &calendar,
        &[
            plain(1, CalendarDays, "2011-12-29T10:00-10", "2012-01-01T00:00+14"),
            plain(1, Weeks, "2011-12-23T10:00-10", "2012-01-01T00:00+14"), // seven days that there were
            plain(1, BusinessDays, "2011-12-29T10:00-10", "2012-01-02T17:00+14"),
            plain(480, BusinessMinutes, "2011-12-29T10:00-10", "2012-01-02T10:00+14"),
            Row {
                count: 1,
                unit: CalendarDays,
                start: "2011-12-28T10:00-10",
                pauses: &[("2011-12-29T12:00-10", "2011-12-31T12:00+14")],
                due: "2012-01-01T00:00+14",
            },
        ],
    );
    assert!(!calendar.is_business_day(date(2011, 12, 30)));
    assert!(calendar.is_business_day(date(2011, 12, 29)) && calendar.is_business_day(date(2012, 1, 2)));
}

#[test]
fn days_need_no_midnight() {
    // On 15 October 2017 the clock of Sao Paulo went from 0:00 to 1:00, on 18 February 2018 from 0:00 back to 23:00.
    let calendar = daily("America/Sao_Paulo", "00:00-02:00 22:00-24:00");
    check(
        &calendar,
        &[
            plain(1, CalendarDays, "2017-10-13T12:00-03", "2017-10-15T01:00-02"),
            plain(1, BusinessDays, "2017-10-13T12:00-03", "2017-10-15T01:00-02"),
            plain(180, BusinessMinutes, "2017-10-14T12:00-03", "2017-10-15T02:00-02"), // one hour was skipped
            plain(1, CalendarDays, "2018-02-16T12:00-02", "2018-02-18T00:00-03"),
            plain(240, BusinessMinutes, "2018-02-17T12:00-02", "2018-02-18T01:00-03"), // one hour came twice
        ],
    );
}

#[test]
fn a_day_is_over_when_its_date_does_not_come_again() {
    // On 29 October 2006, a minute after midnight, the clock of St John's went back to 23:01 of the day before.
    let calendar = daily("America/St_Johns", "00:00-24:00");
    check(
        &calendar,
        &[
            plain(1, CalendarDays, "2006-10-27T12:00-02:30", "2006-10-29T00:00-03:30"),
            plain(1, BusinessDays, "2006-10-27T12:00-02:30", "2006-10-29T00:00-03:30"),
            plain(1, CalendarDays, "2006-10-29T00:00:30-02:30", "2006-10-30T00:00-03:30"), // it is still the 28th
            plain(1, CalendarDays, "2006-10-28T23:30-03:30", "2006-10-30T00:00-03:30"),
            plain(1, CalendarDays, "2006-10-29T00:00:30-03:30", "2006-10-31T00:00-03:30"),
        ],
    );
}
