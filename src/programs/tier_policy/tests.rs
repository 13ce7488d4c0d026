use jiff::Timestamp;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;

use super::windows::{Calendar, KeptUntil};
use super::*;

fn zone(name: &str) -> TimeZone {
    crate::programs::model::Zone::try_from(name.to_owned()).unwrap().0
}

fn period(text: &str) -> Period {
    Period::parse(text).unwrap()
}

fn policy(window: TierWindow, kept: KeptRule) -> TierPolicy {
    TierPolicy { window, kept, ..TierPolicy::default() }
}

fn rolling(text: &str) -> TierPolicy {
    policy(TierWindow::Rolling(period(text)), KeptRule::WhileConditionHolds)
}

fn window_of(policy: &TierPolicy, enrolled_on: Option<Date>, day: Date) -> (Option<Date>, Option<Date>) {
    let new_york = zone("America/New_York");
    let window = Calendar { policy, time_zone: &new_york, enrolled_on }.window_of(day);
    (window.from, window.until)
}

#[test]
fn a_rolling_window_holds_the_days_that_count_until_the_same_date_so_much_later() {
    for (text, day, first) in [
        ("P1Y", date(2026, 3, 1), date(2025, 3, 2)),
        ("P1Y", date(2026, 2, 28), date(2025, 3, 1)),
        // 29 February 2024 counts until the start of 28 February 2025, as the day before it does.
        ("P1Y", date(2025, 2, 27), date(2024, 2, 28)),
        ("P1Y", date(2025, 2, 28), date(2024, 3, 1)),
        ("P1Y", date(2024, 2, 29), date(2023, 3, 1)),
        ("P1M", date(2026, 2, 27), date(2026, 1, 28)),
        // The last days of January all count until the start of 28 February.
        ("P1M", date(2026, 2, 28), date(2026, 2, 1)),
        ("P1M", date(2026, 3, 30), date(2026, 3, 1)),
        ("P1M", date(2026, 3, 31), date(2026, 3, 1)),
        ("P30D", date(2026, 3, 31), date(2026, 3, 2)),
        ("P1D", date(2026, 3, 31), date(2026, 3, 31)),
    ] {
        assert_eq!(window_of(&rolling(text), None, day), (Some(first), None), "{text} on {day}");
        let counts = |first: Date| day_after(first, &period(text)).unwrap() > day;
        assert!(counts(first) && !counts(first.yesterday().unwrap()), "{text} on {day}");
    }
}

#[test]
fn calendar_windows_begin_and_end_with_their_periods() {
    let day = date(2028, 2, 29);
    for (calendar, from, until) in [
        (CalendarPeriod::Month, date(2028, 2, 1), date(2028, 3, 1)),
        (CalendarPeriod::Quarter, date(2028, 1, 1), date(2028, 4, 1)),
        (CalendarPeriod::Half, date(2028, 1, 1), date(2028, 7, 1)),
        (CalendarPeriod::Year, date(2028, 1, 1), date(2029, 1, 1)),
    ] {
        let policy = policy(TierWindow::Calendar(calendar), KeptRule::UntilEndOfPeriod);
        assert_eq!(window_of(&policy, None, day), (Some(from), Some(until)));
        let last = until.yesterday().unwrap();
        assert_eq!(window_of(&policy, None, last), (Some(from), Some(until)));
        assert_eq!(window_of(&policy, None, until).0, Some(until));
    }
    let half = policy(TierWindow::Calendar(CalendarPeriod::Half), KeptRule::UntilEndOfPeriod);
    assert_eq!(window_of(&half, None, date(2026, 12, 31)), (Some(date(2026, 7, 1)), Some(date(2027, 1, 1))));
}

#[test]
fn enrolment_years_begin_with_the_anniversary_and_29_february_has_its_day() {
    let policy = policy(TierWindow::EnrolmentYear, KeptRule::UntilEndOfPeriod);
    for (joined, day, from, until) in [
        (date(2024, 2, 29), date(2025, 2, 27), date(2024, 2, 29), date(2025, 2, 28)),
        (date(2024, 2, 29), date(2025, 2, 28), date(2025, 2, 28), date(2026, 2, 28)),
        (date(2024, 2, 29), date(2028, 2, 28), date(2027, 2, 28), date(2028, 2, 29)),
        (date(2024, 2, 29), date(2028, 2, 29), date(2028, 2, 29), date(2029, 2, 28)),
        (date(2026, 6, 15), date(2026, 6, 15), date(2026, 6, 15), date(2027, 6, 15)),
        (date(2026, 6, 15), date(2030, 6, 14), date(2029, 6, 15), date(2030, 6, 15)),
        // A purchase of before the customer was enrolled.
        (date(2026, 6, 15), date(2026, 6, 14), date(2025, 6, 15), date(2026, 6, 15)),
    ] {
        assert_eq!(window_of(&policy, Some(joined), day), (Some(from), Some(until)), "{joined} {day}");
    }
}

#[test]
fn days_are_those_of_the_programs_time_zone_whatever_its_clocks_do() {
    let (policy, berlin, cairo) = (rolling("P1Y"), zone("Europe/Berlin"), zone("Africa/Cairo"));
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let calendar = |time_zone| Calendar { policy: &policy, time_zone, enrolled_on: None };
    for (instant, day) in [
        ("2026-03-28T22:59:59.999999Z", date(2026, 3, 28)),
        ("2026-03-28T23:00:00Z", date(2026, 3, 29)),
        ("2026-03-29T21:59:59.999999Z", date(2026, 3, 29)),
        ("2026-10-25T22:59:59.999999Z", date(2026, 10, 25)),
        ("2026-10-25T23:00:00Z", date(2026, 10, 26)),
        ("2026-12-31T22:59:59.999999Z", date(2026, 12, 31)),
        ("2026-12-31T23:00:00Z", date(2027, 1, 1)),
    ] {
        assert_eq!(calendar(&berlin).day_of(at(instant)), day, "{instant}");
    }
    // Egypt's clocks skip midnight on the last Friday of April.
    assert_eq!(calendar(&cairo).begins_at(Some(date(2026, 4, 24))), at("2026-04-23T22:00:00Z"));
}

fn in_effect(policy: &TierPolicy, at: &str) -> Vec<(Option<Date>, KeptUntil)> {
    let utc = zone("UTC");
    let calendar = Calendar { policy, time_zone: &utc, enrolled_on: Some(date(2020, 5, 10)) };
    let windows = calendar.in_effect(at.parse().unwrap()).into_iter();
    windows.map(|it| (it.days.from, it.kept)).collect()
}

#[test]
fn what_a_period_earns_is_kept_to_the_end_that_the_rule_says() {
    let until = |text: &str| KeptUntil::Instant(text.parse().unwrap());
    let year = TierWindow::Calendar(CalendarPeriod::Year);
    let at = "2026-07-01T00:00:00Z";
    let (this, last, before) = (Some(date(2026, 1, 1)), Some(date(2025, 1, 1)), Some(date(2024, 1, 1)));
    let this_ends = until("2027-01-01T00:00:00Z");
    let next_ends = until("2028-01-01T00:00:00Z");
    let own = |kept| policy(year.clone(), kept);
    let late = |kept| TierPolicy { upgrade: UpgradeTime::AtPeriodEnd, ..own(kept) };
    assert_eq!(in_effect(&own(KeptRule::UntilEndOfPeriod), at), [(this, this_ends)]);
    assert_eq!(in_effect(&own(KeptRule::UntilEndOfNextPeriod), at), [(this, next_ends), (last, this_ends)]);
    assert_eq!(in_effect(&own(KeptRule::WhileConditionHolds), at), [(this, KeptUntil::ConditionFails)]);
    assert_eq!(in_effect(&own(KeptRule::Always), at), [(this, KeptUntil::Never)]);
    let a_year_on = until("2027-07-01T00:00:00Z");
    assert_eq!(in_effect(&own(KeptRule::For(period("P1Y"))), at), [(this, a_year_on)]);
    // Upgrades at the end of the period: what the last one earned is in effect now.
    assert_eq!(in_effect(&late(KeptRule::UntilEndOfPeriod), at), [(last, this_ends)]);
    assert_eq!(in_effect(&late(KeptRule::UntilEndOfNextPeriod), at), [(last, next_ends), (before, this_ends)]);
    assert_eq!(in_effect(&late(KeptRule::WhileConditionHolds), at), [(last, this_ends)]);
}

fn least(metric: Metric, amount: i64) -> Condition {
    Condition::AtLeast(metric, amount)
}

#[test]
fn a_condition_leads_past_its_tier_only_if_a_way_to_meet_it_meets_the_next_one_too() {
    let spend = |amount| least(Metric::Spend, amount);
    let visits = |amount| least(Metric::ActiveDays, amount);
    let any = |conditions: &[Condition]| Condition::AnyOf(conditions.to_vec());
    let all = |conditions: &[Condition]| Condition::AllOf(conditions.to_vec());
    for (lower, higher, leads_past) in [
        (spend(100), spend(200), false),
        (spend(100), spend(100), true),
        (spend(200), spend(100), true),
        (spend(100), visits(10), false),
        (any(&[spend(100), visits(10)]), spend(100), true),
        (any(&[spend(100), visits(10)]), any(&[spend(200), visits(20)]), false),
        (any(&[spend(100), visits(20)]), any(&[spend(200), visits(20)]), true),
        (spend(100), all(&[spend(100), visits(10)]), false),
        (all(&[spend(100), visits(10)]), spend(100), true),
        (all(&[spend(100), any(&[visits(5), least(Metric::Referrals, 1)])]), all(&[spend(50), visits(5)]), true),
    ] {
        assert_eq!(lower.leads_past(&higher), leads_past, "{lower:?} {higher:?}");
    }
}

#[test]
fn every_fault_of_a_policy_is_found_at_once() {
    let faults = |policy: &TierPolicy| {
        find_policy_faults(&policy.clone().into()).into_iter().map(|it| it.field).collect::<Vec<_>>()
    };
    let of = |field: &str| format!("program.tier_policy.{field}");
    let bad = TierPolicy {
        window: TierWindow::Rolling(period("P1Y")),
        upgrade: UpgradeTime::AtPeriodEnd,
        kept: KeptRule::UntilEndOfPeriod,
        ..TierPolicy::default()
    };
    assert_eq!(faults(&bad), [of("upgrade"), of("kept")]);
    let endless = TierPolicy { at_end: AtEnd::OneStep, grace: Some(period("P30D")), ..TierPolicy::default() };
    assert_eq!(faults(&endless), [of("at_end"), of("grace")]);
    let waits = TierPolicy { on_refund: RefundEffect::AtPeriodEnd, ..rolling("P1Y") };
    assert_eq!(faults(&waits), [of("on_refund")]);
    let week = policy(TierWindow::Calendar(CalendarPeriod::Week), KeptRule::UntilEndOfPeriod);
    assert_eq!(faults(&week), [of("window.calendar")]);
    assert!(faults(&TierPolicy::default()).is_empty() && faults(&rolling("P1Y")).is_empty());
}

#[test]
fn a_condition_holds_from_the_least_of_each_metric_on() {
    // Six different numbers, so that none stands for another.
    let counted = |metric: Metric| -> i64 {
        match metric {
            Metric::Spend => 10,
            Metric::Margin => 20,
            Metric::Points => 30,
            Metric::Purchases => 40,
            Metric::ActiveDays => 50,
            Metric::Referrals => 60,
        }
    };
    let holds = |condition: &Condition| condition.holds(&counted);
    for metric in Metric::ALL {
        let least = counted(metric);
        assert!(holds(&Condition::AtLeast(metric, least)), "{metric:?}");
        assert!(!holds(&Condition::AtLeast(metric, least + 1)), "{metric:?}");
    }
    let (met, unmet) = (Condition::AtLeast(Metric::Spend, 10), Condition::AtLeast(Metric::Margin, 21));
    let all = |these: &[&Condition]| Condition::AllOf(these.iter().copied().cloned().collect());
    let any = |these: &[&Condition]| Condition::AnyOf(these.iter().copied().cloned().collect());
    let table = [
        (all(&[&met, &met]), true),
        (all(&[&met, &unmet]), false),
        (all(&[&unmet, &met]), false),
        (any(&[&met, &unmet]), true),
        (any(&[&unmet, &met]), true),
        (any(&[&unmet, &unmet]), false),
        (any(&[&unmet, &all(&[&met, &met])]), true),
        (any(&[&unmet, &all(&[&met, &unmet])]), false),
        (all(&[&met, &any(&[&unmet, &met])]), true),
        (all(&[&met, &any(&[&unmet, &unmet])]), false),
    ];
    for (condition, expected) in table {
        assert_eq!(holds(&condition), expected, "{condition:?}");
    }
}
