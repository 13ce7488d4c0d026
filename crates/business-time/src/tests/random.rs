//! Random calendars, starts and pauses, most of them close to a change of a clock.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use proptest::prelude::*;

use super::model::Model;
use super::*;
use crate::Unit::{BusinessDays, BusinessMinutes, CalendarDays, Weeks};
use crate::{business_time_between, running_business_time_between};

/// Zones, and instants close to which something is odd.
const ODD: &[(&str, &str)] = &[
    ("UTC", "2026-12-31T00:00Z"),
    ("Asia/Kathmandu", "2026-12-31T00:00Z"),
    ("Europe/London", "2027-03-28T01:00Z"),
    ("Europe/London", "2026-10-25T01:00Z"),
    ("America/New_York", "2026-11-01T06:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00Z"), // half an hour
    ("America/Sao_Paulo", "2017-10-15T03:00Z"),   // no midnight
    ("America/Sao_Paulo", "2018-02-18T02:00Z"),   // midnight twice
    ("America/St_Johns", "2006-10-29T02:31Z"),    // back across midnight
    ("Pacific/Apia", "2011-12-30T10:00Z"),        // a date less
    ("Pacific/Kwajalein", "1993-08-21T12:00Z"),   // a date less
    ("Pacific/Kwajalein", "1969-09-30T13:00Z"),   // 23 hours twice
];

/// Hours of a day: up to four intervals, all day, or none.
fn any_hours() -> impl Strategy<Value = Vec<Interval>> {
    let ends = prop::collection::btree_set(0..=1440_u16, 2..=8);
    let pairs = |ends: BTreeSet<u16>| {
        let ends: Vec<u16> = ends.into_iter().collect();
        ends.chunks_exact(2).map(|pair| Interval::new(pair[0], pair[1])).collect()
    };
    prop_oneof![4 => ends.prop_map(pairs), 1 => Just(hours("00:00-24:00")), 2 => Just(Vec::new())]
}

/// Some minutes before or after an instant.
fn shift(from: Timestamp, minutes: i64) -> Timestamp {
    from + SignedDuration::from_mins(minutes)
}

/// Pauses between these minutes around an instant. The last one is open if their number is odd.
fn pauses_around(odd: Timestamp, ends: BTreeSet<i64>) -> Vec<Pause> {
    let ends: Vec<Timestamp> = ends.into_iter().map(|minutes| shift(odd, minutes)).collect();
    ends.chunks(2).map(|pair| Pause { from: pair[0], until: pair.get(1).copied() }).collect()
}

/// A calendar with pauses, and an instant close to which something is odd.
fn any_model() -> impl Strategy<Value = (Model, Timestamp)> {
    let week = prop::array::uniform7(any_hours());
    let special = prop::collection::btree_map(-4..12_i64, any_hours(), 0..4);
    let ends = prop::collection::btree_set(-4000..12_000_i64, 0..7);
    (prop::sample::select(ODD), week, special, ends).prop_map(|((zone_name, odd), mut week, special, ends)| {
        if week.iter().all(Vec::is_empty) {
            week[0] = hours("09:00-17:00");
        }
        let (time_zone, odd) = (zone(zone_name), at(odd));
        let day = |days| time_zone.to_datetime(odd).date() + jiff::Span::new().days(days);
        let special_hours = special.into_iter().map(|(days, hours)| (day(days), hours)).collect();
        let plan = CalendarPlan { time_zone, week, special_hours };
        (Model { plan, pauses: pauses_around(odd, ends) }, odd)
    })
}

/// An allowance of a unit that is over within some weeks.
fn short_allowance() -> impl Strategy<Value = Allowance> {
    let of = |unit, counts: std::ops::Range<u32>| counts.prop_map(move |count| Allowance::new(unit, count).unwrap());
    prop_oneof![of(BusinessMinutes, 1..3000), of(BusinessDays, 1..8), of(CalendarDays, 1..10), of(Weeks, 1..3)]
}

/// Pauses and one more, which may overlap them.
fn with_another(pauses: &[Pause], another: Pause) -> Vec<Pause> {
    let mut all = pauses.to_vec();
    all.push(another);
    all.sort_by_key(|pause| pause.from);
    let mut merged: Vec<Pause> = Vec::new();
    for pause in all {
        match merged.last_mut() {
            Some(last) if last.until.is_none_or(|until| pause.from <= until) => {
                last.until = last.until.zip(pause.until).map(|(one, other)| one.max(other));
            }
            _ => merged.push(pause),
        }
    }
    merged
}

/// Deadlines in their order: none is later than any.
fn rank(due: Option<Timestamp>) -> (bool, Option<Timestamp>) {
    (due.is_none(), due)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn random_deadlines_are_those_of_a_walk_through_all_minutes(
        (model, odd) in any_model(), minutes in -6000..3000_i64, allowance in short_allowance()
    ) {
        let (start, end) = (shift(odd, minutes), shift(odd, 40 * 1440));
        let calendar = BusinessCalendar::new(model.plan.clone()).unwrap();
        let due = due_at(start, allowance, &Pauses::new(model.pauses.clone()).unwrap(), &calendar).unwrap();
        let count = allowance.count();
        let expected = match allowance.unit() {
            BusinessMinutes => model.due_of_minutes(start, count, end),
            BusinessDays => model.due_of_days(start, true, count, end),
            CalendarDays => model.due_of_days(start, false, count, end),
            Weeks => model.due_of_days(start, false, count * 7, end),
        };
        let seen = due.filter(|due| *due < shift(end, -1440));
        prop_assert_eq!(seen, expected.filter(|due| *due < shift(end, -1440)));
    }

    #[test]
    fn random_business_time_is_that_of_a_walk_through_all_minutes(
        (model, odd) in any_model(), from in -6000..6000_i64, length in 0..8000_i64
    ) {
        let (from, until) = (shift(odd, from), shift(odd, from + length));
        let calendar = BusinessCalendar::new(model.plan.clone()).unwrap();
        let pauses = Pauses::new(model.pauses.clone()).unwrap();
        let passed = running_business_time_between(from, until, &pauses, &calendar);
        prop_assert_eq!(passed, SignedDuration::from_mins(model.passed(from, until)));
        let unpaused = Model { pauses: Vec::new(), ..model };
        let passed = business_time_between(from, until, &calendar);
        prop_assert_eq!(passed, SignedDuration::from_mins(unpaused.passed(from, until)));
    }
}

proptest! {
    #[test]
    fn random_business_time_adds_up_in_any_order(
        (model, odd) in any_model(), instants in prop::array::uniform3(-4_000_000_000_000_000..4_000_000_000_000_000_i64)
    ) {
        let [a, b, c] = instants.map(|micros| odd + SignedDuration::from_micros(micros));
        let calendar = BusinessCalendar::new(model.plan).unwrap();
        let pauses = Pauses::new(model.pauses).unwrap();
        let all = |from, until| business_time_between(from, until, &calendar);
        prop_assert_eq!(all(a, b) + all(b, c), all(a, c));
        let running = |from, until| running_business_time_between(from, until, &pauses, &calendar);
        prop_assert_eq!(running(a, b) + running(b, c), running(a, c));
    }

    #[test]
    fn random_minutes_have_passed_when_they_are_due_and_not_before(
        (model, odd) in any_model(), micros in -400_000_000_000..400_000_000_000_i64, count in 1..100_000_u32
    ) {
        let start = odd + SignedDuration::from_micros(micros);
        let calendar = BusinessCalendar::new(model.plan).unwrap();
        let pauses = Pauses::new(model.pauses).unwrap();
        let due = due_at(start, Allowance::new(BusinessMinutes, count).unwrap(), &pauses, &calendar).unwrap();
        prop_assert!(due.is_some() || pauses.are_open());
        if let Some(due) = due {
            let passed = |until| running_business_time_between(start, until, &pauses, &calendar);
            let allowed = SignedDuration::from_mins(i64::from(count));
            prop_assert_eq!(passed(due), allowed);
            prop_assert!(passed(due - SignedDuration::from_micros(1)) < allowed);
        }
    }

    #[test]
    fn random_deadlines_are_no_earlier_for_later_starts_more_time_or_more_pauses(
        (model, odd) in any_model(), micros in -400_000_000_000..400_000_000_000_i64, allowance in short_allowance(),
        later in prop_oneof![0..100_i64, 0..400_000_000_000_i64], more in 0..5_u32,
        from in -4000..12_000_i64, length in prop::option::of(0..3000_i64),
    ) {
        let start = odd + SignedDuration::from_micros(micros);
        let calendar = BusinessCalendar::new(model.plan).unwrap();
        let another = Pause { from: shift(odd, from), until: length.map(|length| shift(odd, from + length)) };
        let longer = Pauses::new(with_another(&model.pauses, another)).unwrap();
        let pauses = Pauses::new(model.pauses).unwrap();
        let due = rank(due_at(start, allowance, &pauses, &calendar).unwrap());
        let later = start + SignedDuration::from_micros(later);
        prop_assert!(due <= rank(due_at(later, allowance, &pauses, &calendar).unwrap()));
        let larger = Allowance::new(allowance.unit(), allowance.count() + more).unwrap();
        prop_assert!(due <= rank(due_at(start, larger, &pauses, &calendar).unwrap()));
        prop_assert!(due <= rank(due_at(start, allowance, &longer, &calendar).unwrap()));
        prop_assert!(due.1.is_none_or(|due| due > start));
    }

    #[test]
    fn random_openings_are_the_first_business_time(
        (model, odd) in any_model(), micros in -400_000_000_000..400_000_000_000_i64
    ) {
        let from = odd + SignedDuration::from_micros(micros);
        let calendar = BusinessCalendar::new(model.plan).unwrap();
        let opening = calendar.next_opening(from).unwrap();
        prop_assert!(opening >= from && calendar.is_open(opening));
        prop_assert_eq!(business_time_between(from, opening, &calendar), SignedDuration::ZERO);
        prop_assert!(!calendar.is_open(from) || opening == from);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// An answer, whatever it is, of any instants and allowances that there are.
    #[test]
    fn random_extremes_have_an_answer(
        (model, _) in any_model(), unit in prop::sample::select(&[BusinessMinutes, BusinessDays, CalendarDays, Weeks]),
        share in 0.0..=1.0_f64,
        instants in prop::array::uniform3(prop_oneof![
            Just(Timestamp::MIN), Just(Timestamp::MAX),
            (Timestamp::MIN.as_second()..=Timestamp::MAX.as_second()).prop_map(|it| Timestamp::from_second(it).unwrap()),
        ]),
    ) {
        let [start, one, other] = instants;
        let calendar = BusinessCalendar::new(model.plan).unwrap();
        let pauses = Pauses::new(vec![Pause { from: one.min(other), until: Some(one.max(other)) }]).unwrap();
        let count = (f64::from(unit.most()) * share) as u32;
        let allowance = Allowance::new(unit, count.max(1)).unwrap();
        if let Ok(due) = due_at(start, allowance, &pauses, &calendar) {
            prop_assert!(due.unwrap() > start);
        }
        let passed = running_business_time_between(start, one, &pauses, &calendar);
        prop_assert!(passed.abs() <= start.duration_since(one).abs());
        prop_assert!(calendar.next_opening(start).is_none_or(|opening| calendar.is_open(opening)));
    }
}
