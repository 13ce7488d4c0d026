//! Business time between instants.

use jiff::SignedDuration;

use super::*;
use crate::{business_time_between, running_business_time_between};

#[test]
fn business_time_passes_within_hours_alone() {
    let calendar = england();
    for (from, until, minutes) in [
        ("2026-12-07T10:00Z", "2026-12-07T10:00Z", 0),
        ("2026-12-07T10:00Z", "2026-12-07T11:30Z", 90),
        ("2026-12-07T11:30Z", "2026-12-07T10:00Z", -90), // backwards
        ("2026-12-07T06:00Z", "2026-12-07T22:00Z", 480),
        ("2026-12-07T17:00Z", "2026-12-08T09:00Z", 0),
        ("2026-12-11T16:00Z", "2026-12-14T10:00Z", 120), // over a weekend
        ("2026-12-24T00:00Z", "2026-12-30T00:00Z", 210 + 480), // over Christmas
        ("2026-12-07T00:00Z", "2026-12-14T00:00Z", 2400),
        // 261 weekdays, of which eight are holidays, and 24 December.
        ("2027-01-01T00:00Z", "2028-01-01T00:00Z", 252 * 480 + 210),
    ] {
        let passed = business_time_between(at(from), at(until), &calendar);
        assert_eq!(passed, SignedDuration::from_mins(minutes), "{from} to {until}");
    }
    let passed = business_time_between(at("2026-12-07T08:00Z"), at("2026-12-07T09:00:00.000001Z"), &calendar);
    assert_eq!(passed, SignedDuration::from_micros(1));
}

#[test]
fn no_business_time_passes_within_pauses() {
    let calendar = england();
    let several = pauses(&[
        ("2026-12-07T12:00Z", "2026-12-07T13:00Z"),
        ("2026-12-07T16:00Z", "2026-12-08T10:00Z"),
        ("2026-12-10T17:00Z", ""),
    ]);
    for (from, until, minutes) in [
        ("2026-12-07T10:00Z", "2026-12-07T12:30Z", 120),
        ("2026-12-07T12:15Z", "2026-12-07T12:45Z", 0),
        ("2026-12-07T10:00Z", "2026-12-08T12:00Z", 300 + 120),
        ("2026-12-08T12:00Z", "2026-12-07T10:00Z", -420),
        ("2026-12-10T09:00Z", "2027-12-10T09:00Z", 480),
    ] {
        let passed = running_business_time_between(at(from), at(until), &several, &calendar);
        assert_eq!(passed, SignedDuration::from_mins(minutes), "{from} to {until}");
    }
}

#[test]
fn all_time_that_can_be_told_is_counted() {
    let always = daily("Europe/London", "00:00-24:00");
    let passed = business_time_between(Timestamp::MIN, Timestamp::MAX, &always);
    let all = Timestamp::MAX.as_microsecond() - Timestamp::MIN.as_microsecond();
    assert_eq!(passed, SignedDuration::from_micros(all));
    assert_eq!(business_time_between(Timestamp::MAX, Timestamp::MIN, &always), -passed);
}
