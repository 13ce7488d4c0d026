use jiff::ToSpan as _;
use jiff::civil::date;
use proptest::prelude::*;

use super::*;
use crate::programs::model::tests::program;
use crate::programs::points::{CalendarPeriod, Period};
use crate::programs::tier_policy::{Metric, RefundEffect};
use crate::tiers::counting::DayCount;

fn period(text: &str) -> Period {
    Period::parse(text).unwrap()
}

fn version(policy: TierPolicy) -> ProgramVersion {
    let mut program = program();
    program.tier_policy = policy;
    ProgramVersion { program, version: 1, applied_at: Timestamp::UNIX_EPOCH, effective_from: Timestamp::UNIX_EPOCH }
}

fn yearly(kept: KeptRule) -> TierPolicy {
    TierPolicy { window: TierWindow::Calendar(CalendarPeriod::Year), kept, ..TierPolicy::default() }
}

fn rolling() -> TierPolicy {
    let window = TierWindow::Rolling(period("P1Y"));
    TierPolicy { window, kept: KeptRule::WhileConditionHolds, ..TierPolicy::default() }
}

/// A customer whom the book serves in memory: activities and dues in their order, as batches do.
struct Member {
    version: ProgramVersion,
    standing: Standing,
    history: History,
    /// What was decided: when, what, and the tier from then on.
    log: Vec<(Timestamp, Option<TierMove>, String)>,
}

impl Member {
    fn new(policy: TierPolicy) -> Self {
        let version = version(policy);
        let first = version.program.tiers[0].tier_id.clone();
        let standing = Standing::new(first, Timestamp::UNIX_EPOCH, 1, Some(date(2024, 2, 29)));
        Self { version, standing, history: History::empty(), log: Vec::new() }
    }

    fn settle(&mut self, at: Timestamp, verdict: Verdict) {
        if verdict.former_lost {
            self.standing.former = None;
        }
        if let Some(change) = verdict.change {
            self.log.push((at, change.kind, change.to.to_string()));
            let window = change.earned.map(|earned| DayRange { from: earned.from, until: earned.until });
            self.standing.rest_on(&change.to, change.kind, window, self.standing.outlook.ends_at, true);
            self.standing.tier_id = change.to;
        }
        self.standing.outlook = verdict.outlook;
    }

    fn pass(&mut self, until: Timestamp) {
        let mut last = Timestamp::MIN;
        while let Some(at) = self.standing.outlook.decides_at.filter(|at| *at <= until) {
            assert!(at > last, "time goes on");
            last = at;
            let deciding = Deciding { version: &self.version, standing: &self.standing, history: &self.history };
            let verdict = deciding.decide(at, Trigger::Other).unwrap();
            assert!(verdict.change.is_some(), "what is due changes something: {at}");
            self.settle(at, verdict);
        }
    }

    fn count(&mut self, at: Timestamp, day: Date, spend: i64) {
        self.pass(at);
        let before = self.history.clone();
        let more = DayCount { spend, purchases: spend.signum(), ..DayCount::default() };
        self.history = before.with(day, &more).unwrap();
        let trigger = if spend < 0 { Trigger::Refund { day, before: &before } } else { Trigger::Other };
        let deciding = Deciding { version: &self.version, standing: &self.standing, history: &self.history };
        let verdict = deciding.decide(at, trigger).unwrap();
        self.settle(at, verdict);
    }

    /// Buys at noon of a day.
    fn buy(&mut self, day: Date, spend: i64) {
        self.count(noon(day), day, spend);
    }

    /// Takes back a part of what was bought on a day, at noon of another one.
    fn refund(&mut self, at: Date, day: Date, spend: i64) {
        self.count(noon(at), day, -spend);
    }

    fn tier_on(&mut self, day: Date) -> String {
        self.pass(noon(day));
        self.standing.tier_id.to_string()
    }

    fn ends_on(&self) -> Option<Date> {
        let calendar = calendar_of(&self.version, None);
        self.standing.outlook.ends_at.map(|ends_at| calendar.day_of(ends_at))
    }
}

fn noon(day: Date) -> Timestamp {
    day.at(12, 0, 0, 0).to_zoned(program().time_zone.0).unwrap().timestamp()
}

#[test]
fn thresholds_are_reached_exactly_and_not_by_a_cent_less() {
    for policy in [TierPolicy::default(), rolling(), yearly(KeptRule::UntilEndOfPeriod)] {
        let mut member = Member::new(policy);
        member.buy(date(2026, 3, 1), 19_999);
        assert_eq!(member.tier_on(date(2026, 3, 1)), "member");
        member.buy(date(2026, 3, 1), 1);
        assert_eq!(member.tier_on(date(2026, 3, 1)), "silver");
        member.buy(date(2026, 3, 1), 30_000);
        assert_eq!(member.tier_on(date(2026, 3, 1)), "gold");
    }
}

#[test]
fn each_rule_keeps_a_tier_to_its_own_end() {
    let cases = [
        (TierPolicy::default(), None),
        (rolling(), Some(date(2027, 2, 28))),
        (yearly(KeptRule::UntilEndOfPeriod), Some(date(2027, 1, 1))),
        (yearly(KeptRule::UntilEndOfNextPeriod), Some(date(2028, 1, 1))),
        (yearly(KeptRule::WhileConditionHolds), Some(date(2027, 1, 1))),
        (yearly(KeptRule::For(period("P1Y"))), Some(date(2027, 2, 28))),
        (TierPolicy { kept: KeptRule::For(period("P1M")), ..TierPolicy::default() }, Some(date(2026, 3, 28))),
        (
            TierPolicy { window: TierWindow::EnrolmentYear, kept: KeptRule::UntilEndOfPeriod, ..TierPolicy::default() },
            // The anniversary of who joined on 29 February 2024.
            Some(date(2027, 2, 28)),
        ),
    ];
    for (policy, end) in cases {
        let mut member = Member::new(policy.clone());
        member.buy(date(2026, 2, 28), 20_000);
        assert_eq!((member.tier_on(date(2026, 2, 28)), member.ends_on()), ("silver".to_owned(), end), "{policy:?}");
        let Some(end) = end else { continue };
        let lifetime = policy.window == TierWindow::Lifetime;
        assert_eq!(member.tier_on(end.yesterday().unwrap()), "silver");
        // Who has earned it in their whole life has earned it again.
        assert_eq!(member.tier_on(end), if lifetime { "silver" } else { "member" }, "{policy:?}");
    }
}

#[test]
fn a_soft_landing_goes_one_step_a_period() {
    let policy = TierPolicy { at_end: AtEnd::OneStep, ..yearly(KeptRule::UntilEndOfPeriod) };
    let mut member = Member::new(policy);
    member.buy(date(2026, 5, 1), 50_000);
    let tiers = [2026, 2027, 2028, 2029].map(|year| member.tier_on(date(year, 12, 31)));
    assert_eq!(tiers, ["gold", "silver", "member", "member"]);
}

#[test]
fn grace_saves_what_is_earned_in_it_and_nothing_later() {
    let policy = TierPolicy { grace: Some(period("P30D")), ..yearly(KeptRule::UntilEndOfNextPeriod) };
    let mut late = Member::new(policy.clone());
    late.buy(date(2025, 5, 1), 20_000);
    late.buy(date(2026, 5, 1), 15_000);
    assert_eq!((late.tier_on(date(2027, 1, 30)), late.ends_on()), ("silver".to_owned(), Some(date(2027, 1, 1))));
    assert_eq!(late.tier_on(date(2027, 1, 31)), "member");
    // 2026 alone would not do: what is bought during the grace counts for it.
    let mut saved = Member::new(policy);
    saved.buy(date(2025, 5, 1), 20_000);
    saved.buy(date(2026, 5, 1), 15_000);
    saved.buy(date(2027, 1, 30), 5_000);
    assert_eq!((saved.tier_on(date(2027, 2, 1)), saved.ends_on()), ("silver".to_owned(), Some(date(2028, 1, 1))));
    assert_eq!(saved.log.last().unwrap().1, Some(TierMove::Renewed));
}

#[test]
fn a_rolling_tier_in_grace_comes_back_with_its_condition() {
    let mut member = Member::new(TierPolicy { grace: Some(period("P10D")), ..rolling() });
    member.buy(date(2026, 3, 1), 20_000);
    member.buy(date(2027, 3, 5), 20_000);
    assert_eq!((member.tier_on(date(2027, 3, 20)), member.ends_on()), ("silver".to_owned(), Some(date(2028, 3, 5))));
    assert_eq!(member.tier_on(date(2028, 3, 14)), "silver");
    assert_eq!(member.tier_on(date(2028, 3, 15)), "member");
}

#[test]
fn an_upgrade_at_the_end_of_the_period_waits_for_it() {
    let policy = TierPolicy { upgrade: UpgradeTime::AtPeriodEnd, ..yearly(KeptRule::UntilEndOfPeriod) };
    let mut member = Member::new(policy);
    member.buy(date(2026, 5, 1), 50_000);
    let tiers = [date(2026, 12, 31), date(2027, 1, 1), date(2027, 12, 31), date(2028, 1, 1)];
    assert_eq!(tiers.map(|day| member.tier_on(day)), ["member", "gold", "gold", "member"]);
}

#[test]
fn a_tier_that_is_never_lost_catches_who_falls() {
    let mut member = Member::new(yearly(KeptRule::UntilEndOfPeriod));
    member.version.program.tiers[1].never_lost = true;
    member.buy(date(2026, 5, 1), 50_000);
    assert_eq!(member.tier_on(date(2027, 1, 1)), "silver");
    assert_eq!((member.tier_on(date(2040, 1, 1)), member.ends_on()), ("silver".to_owned(), None));
}

#[test]
fn a_refund_decides_again_what_it_earned_unless_the_policy_waits() {
    for (on_refund, then, kind) in
        [(RefundEffect::AtOnce, "silver", Some(TierMove::Redecided)), (RefundEffect::AtPeriodEnd, "gold", None)]
    {
        let mut member = Member::new(TierPolicy { on_refund, ..yearly(KeptRule::UntilEndOfNextPeriod) });
        member.buy(date(2026, 5, 1), 20_000);
        member.buy(date(2026, 6, 1), 30_000);
        member.count(noon(date(2026, 7, 1)), date(2026, 6, 1), -1);
        assert_eq!(member.tier_on(date(2026, 7, 1)), then);
        assert_eq!(member.log.last().unwrap().1, kind);
    }
}

#[test]
fn a_refund_gives_back_what_was_held_before_where_that_is_more() {
    let mut member = Member::new(yearly(KeptRule::UntilEndOfNextPeriod));
    member.buy(date(2025, 5, 1), 20_000);
    member.buy(date(2026, 5, 1), 50_000);
    member.count(noon(date(2026, 5, 2)), date(2026, 5, 1), -50_000);
    assert_eq!((member.tier_on(date(2026, 12, 31)), member.ends_on()), ("silver".to_owned(), Some(date(2027, 1, 1))));
    // A tier that was taken over has no earnings of its own, and comes back all the same.
    let mut brought = Member::new(TierPolicy::default());
    brought.standing.tier_id = "silver".try_into().unwrap();
    brought.buy(date(2026, 5, 1), 50_000);
    brought.count(noon(date(2026, 5, 2)), date(2026, 5, 1), -50_000);
    assert_eq!(brought.tier_on(date(2026, 12, 31)), "silver");
}

#[test]
fn what_a_refund_gave_back_is_taken_away_with_what_had_earned_it() {
    let (first, second) = (date(2025, 5, 1), date(2026, 5, 1));
    for kept in [KeptRule::Always, KeptRule::For(period("P5Y"))] {
        let start = || {
            let mut member = Member::new(yearly(kept.clone()));
            member.buy(first, 20_000);
            member.buy(second, 50_000);
            member
        };
        let mut member = start();
        member.refund(date(2026, 5, 2), second, 50_000);
        assert_eq!(member.tier_on(date(2026, 5, 2)), "silver");
        // What did not earn it takes it from nobody.
        member.buy(date(2026, 5, 3), 100);
        member.refund(date(2026, 5, 4), date(2026, 5, 3), 100);
        assert_eq!(member.tier_on(date(2026, 5, 4)), "silver");
        member.refund(date(2026, 5, 5), first, 1);
        assert_eq!(member.tier_on(date(2026, 5, 5)), "member", "{kept:?}");
        // In the other order, there is nothing to come back to.
        let mut member = start();
        member.refund(date(2026, 5, 2), first, 1);
        assert_eq!(member.tier_on(date(2026, 5, 2)), "gold");
        member.refund(date(2026, 5, 3), second, 50_000);
        assert_eq!(member.tier_on(date(2026, 5, 3)), "member", "{kept:?}");
    }
}

#[test]
fn what_was_held_before_comes_back_however_many_refunds_it_takes() {
    let (first, a, b) = (date(2025, 5, 1), date(2026, 5, 1), date(2026, 6, 1));
    let mut member = Member::new(yearly(KeptRule::For(period("P5Y"))));
    member.buy(first, 20_000);
    let end = member.ends_on();
    member.buy(a, 30_000);
    member.buy(b, 20_000);
    assert_eq!(member.tier_on(b), "gold");
    for (number, (day, spend)) in [(b, 20_000), (a, 30_000)].into_iter().enumerate() {
        let at = date(2026, 7, 1 + i8::try_from(number).unwrap());
        member.refund(at, day, spend);
        assert_eq!((member.tier_on(at), member.ends_on()), ("silver".to_owned(), end));
    }
    member.refund(date(2026, 8, 1), first, 1);
    assert_eq!(member.tier_on(date(2026, 8, 1)), "member");
}

#[test]
fn what_a_refund_leaves_ends_when_it_would_have_ended() {
    // What is left of a tier that is never lost has the end of its own.
    let mut member = Member::new(yearly(KeptRule::UntilEndOfPeriod));
    member.version.program.tiers[2].never_lost = true;
    member.buy(date(2026, 5, 1), 50_000);
    assert_eq!((member.tier_on(date(2026, 5, 1)), member.ends_on()), ("gold".to_owned(), None));
    member.refund(date(2026, 5, 2), date(2026, 5, 1), 1);
    assert_eq!((member.tier_on(date(2026, 5, 2)), member.ends_on()), ("silver".to_owned(), Some(date(2027, 1, 1))));
    // What was held before ends as if nothing had been bought.
    let mut member = Member::new(yearly(KeptRule::For(period("P1Y"))));
    member.buy(date(2026, 2, 1), 20_000);
    member.buy(date(2026, 11, 1), 30_000);
    member.refund(date(2026, 11, 2), date(2026, 11, 1), 30_000);
    assert_eq!((member.tier_on(date(2026, 11, 2)), member.ends_on()), ("silver".to_owned(), Some(date(2027, 2, 1))));
    // Its grace goes on, too.
    let mut member = Member::new(TierPolicy { grace: Some(period("P30D")), ..yearly(KeptRule::UntilEndOfPeriod) });
    member.buy(date(2026, 5, 1), 20_000);
    member.buy(date(2027, 1, 10), 50_000);
    assert_eq!(member.tier_on(date(2027, 1, 10)), "gold");
    member.refund(date(2027, 1, 12), date(2027, 1, 10), 50_000);
    assert_eq!([date(2027, 1, 30), date(2027, 1, 31)].map(|day| member.tier_on(day)), ["silver", "member"]);
}

#[test]
fn what_a_condition_keeps_is_what_holds_without_what_was_refunded() {
    let mut member = Member::new(rolling());
    member.buy(date(2025, 1, 10), 20_000);
    member.buy(date(2025, 7, 10), 20_000);
    member.buy(date(2025, 10, 10), 60_000);
    member.refund(date(2025, 11, 10), date(2025, 7, 10), 20_000);
    assert_eq!(member.tier_on(date(2026, 2, 1)), "gold");
    member.refund(date(2026, 2, 10), date(2025, 10, 10), 60_000);
    assert_eq!(member.tier_on(date(2026, 2, 10)), "member");
}

#[test]
fn what_was_held_before_is_not_judged_by_thresholds_that_came_later() {
    let mut member = Member::new(yearly(KeptRule::For(period("P5Y"))));
    member.buy(date(2025, 5, 1), 25_000);
    member.version.program.tiers[1].threshold = 50_000;
    member.version.program.tiers[2].threshold = 100_000;
    member.buy(date(2026, 5, 1), 100_000);
    assert_eq!(member.tier_on(date(2026, 5, 1)), "gold");
    member.refund(date(2026, 5, 2), date(2026, 5, 1), 100_000);
    assert_eq!((member.tier_on(date(2026, 5, 2)), member.ends_on()), ("silver".to_owned(), Some(date(2030, 5, 1))));
}

#[test]
fn what_is_left_of_a_window_that_has_passed_keeps_what_it_earns() {
    for refunded in [date(2026, 12, 1), date(2027, 3, 1)] {
        let mut member = Member::new(yearly(KeptRule::For(period("P5Y"))));
        member.buy(date(2026, 5, 1), 50_000);
        let end = member.ends_on();
        member.refund(refunded, date(2026, 5, 1), 1);
        assert_eq!((member.tier_on(refunded), member.ends_on()), ("silver".to_owned(), end), "{refunded}");
        let later = refunded.checked_add(1.day()).unwrap();
        member.refund(later, date(2026, 5, 1), 30_000);
        assert_eq!((member.tier_on(later), member.ends_on()), ("member".to_owned(), None), "{refunded}");
    }
}

#[test]
fn a_tier_that_two_windows_earned_is_lost_with_both() {
    let (first, second) = (date(2025, 5, 1), date(2026, 5, 1));
    for days in [[first, second], [second, first]] {
        let mut member = Member::new(yearly(KeptRule::For(period("P5Y"))));
        member.buy(first, 20_000);
        let end = member.ends_on();
        member.buy(second, 20_000);
        for (number, day) in days.into_iter().enumerate() {
            assert_eq!((member.tier_on(date(2026, 6, 1)), member.ends_on()), ("silver".to_owned(), end), "{days:?}");
            member.refund(date(2026, 6, 2 + i8::try_from(number).unwrap()), day, 1);
        }
        assert_eq!(member.tier_on(date(2026, 7, 1)), "member", "{days:?}");
    }
}

#[test]
fn tiers_end_when_they_should_on_days_that_hurt() {
    let days_only = |kept: &str| TierPolicy {
        window: TierWindow::Rolling(period("P1D")),
        kept: KeptRule::For(period(kept)),
        ..TierPolicy::default()
    };
    let by = |calendar, kept| TierPolicy { window: TierWindow::Calendar(calendar), kept, ..TierPolicy::default() };
    let until_end = |calendar| by(calendar, KeptRule::UntilEndOfPeriod);
    let rolling = |text: &str| TierPolicy { window: TierWindow::Rolling(period(text)), ..rolling() };
    let enrolment_year =
        TierPolicy { window: TierWindow::EnrolmentYear, kept: KeptRule::UntilEndOfPeriod, ..TierPolicy::default() };
    let cases = [
        (days_only("P1Y"), "2028-02-29T12:00:00-05:00", "2029-02-28T00:00:00-05:00"),
        (days_only("P1M"), "2026-01-31T23:59:59.999999-05:00", "2026-02-28T00:00:00-05:00"),
        (days_only("P1M"), "2026-03-31T00:00:00-04:00", "2026-04-30T00:00:00-04:00"),
        // Days of 23 and of 25 hours.
        (days_only("P1D"), "2026-03-08T12:00:00-04:00", "2026-03-09T00:00:00-04:00"),
        (days_only("P1D"), "2026-10-31T23:59:59.999999-04:00", "2026-11-01T00:00:00-04:00"),
        (days_only("P1D"), "2026-11-01T01:30:00-04:00", "2026-11-02T00:00:00-05:00"),
        (rolling("P1Y"), "2028-02-29T12:00:00-05:00", "2029-02-28T00:00:00-05:00"),
        (rolling("P1M"), "2026-01-31T12:00:00-05:00", "2026-02-28T00:00:00-05:00"),
        (rolling("P1D"), "2026-11-01T01:30:00-05:00", "2026-11-02T00:00:00-05:00"),
        (until_end(CalendarPeriod::Month), "2026-10-31T23:59:59.999999-04:00", "2026-11-01T00:00:00-04:00"),
        (until_end(CalendarPeriod::Month), "2026-11-01T00:00:00-04:00", "2026-12-01T00:00:00-05:00"),
        (until_end(CalendarPeriod::Month), "2028-02-29T23:59:59.999999-05:00", "2028-03-01T00:00:00-05:00"),
        (until_end(CalendarPeriod::Quarter), "2026-03-31T23:59:59.999999-04:00", "2026-04-01T00:00:00-04:00"),
        (
            by(CalendarPeriod::Quarter, KeptRule::WhileConditionHolds),
            "2026-10-01T00:00:00-04:00",
            "2027-01-01T00:00:00-05:00",
        ),
        (until_end(CalendarPeriod::Half), "2026-06-30T23:59:59.999999-04:00", "2026-07-01T00:00:00-04:00"),
        (
            by(CalendarPeriod::Half, KeptRule::UntilEndOfNextPeriod),
            "2026-06-30T12:00:00-04:00",
            "2027-01-01T00:00:00-05:00",
        ),
        (until_end(CalendarPeriod::Year), "2026-12-31T23:59:59.999999-05:00", "2027-01-01T00:00:00-05:00"),
        (until_end(CalendarPeriod::Year), "2027-01-01T00:00:00-05:00", "2028-01-01T00:00:00-05:00"),
        (yearly(KeptRule::UntilEndOfNextPeriod), "2026-12-31T23:59:59.999999-05:00", "2028-01-01T00:00:00-05:00"),
        // Of who joined on 29 February 2024.
        (enrolment_year.clone(), "2027-02-27T23:59:59.999999-05:00", "2027-02-28T00:00:00-05:00"),
        (enrolment_year.clone(), "2027-02-28T00:00:00-05:00", "2028-02-29T00:00:00-05:00"),
        (enrolment_year, "2028-02-29T00:00:00-05:00", "2029-02-28T00:00:00-05:00"),
    ];
    for (policy, bought, end) in cases {
        let case = format!("{policy:?} at {bought}");
        let mut member = Member::new(policy);
        let [bought, end]: [Timestamp; 2] = [bought, end].map(|instant| instant.parse().unwrap());
        member.count(bought, member.version.program.day_of(bought), 20_000);
        assert_eq!(
            (member.standing.tier_id.as_str(), member.standing.outlook.ends_at),
            ("silver", Some(end)),
            "{case}"
        );
        member.pass(end - jiff::SignedDuration::from_micros(1));
        assert_eq!(member.standing.tier_id.as_str(), "silver", "{case}");
        member.pass(end);
        assert_eq!(member.standing.tier_id.as_str(), "member", "{case}");
    }
}

#[test]
fn a_purchase_of_the_next_period_counts_from_its_first_instant() {
    let mut member = Member::new(yearly(KeptRule::UntilEndOfPeriod));
    let [told, new_year]: [Timestamp; 2] =
        ["2026-12-31T23:58:00-05:00", "2027-01-01T00:00:00-05:00"].map(|instant| instant.parse().unwrap());
    member.count(told, date(2027, 1, 1), 20_000);
    assert_eq!((member.standing.tier_id.as_str(), member.standing.outlook.decides_at), ("member", Some(new_year)));
    member.pass(new_year);
    assert_eq!((member.tier_on(date(2027, 1, 1)), member.ends_on()), ("silver".to_owned(), Some(date(2028, 1, 1))));
    assert_eq!(member.log, [(new_year, None, "silver".to_owned())]);
    // A rolling window has no end: it counts what is told ahead, until the same date a period later.
    let mut member = Member::new(rolling());
    member.count(told, date(2027, 1, 1), 20_000);
    assert_eq!((member.standing.tier_id.as_str(), member.ends_on()), ("silver", Some(date(2028, 1, 1))));
}

#[test]
fn each_metric_is_what_was_counted_of_it() {
    let counted = Counted { spend: 1, margin: 2, points: 3, purchases: 4, active_days: 5, referrals: 6 };
    assert_eq!(Metric::ALL.map(|metric| counted.of(metric)), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_tier_that_is_earned_each_year_is_renewed_each_year() {
    let mut member = Member::new(yearly(KeptRule::UntilEndOfNextPeriod));
    for year in [2025, 2026, 2027] {
        member.buy(date(year, 5, 1), 20_000);
    }
    member.pass(noon(date(2032, 1, 1)));
    let log: Vec<_> = member.log.iter().map(|(at, kind, to)| (at.to_string(), *kind, to.as_str())).collect();
    let expected = [
        ("2025-05-01T16:00:00Z".to_owned(), None, "silver"),
        ("2027-01-01T05:00:00Z".to_owned(), Some(TierMove::Renewed), "silver"),
        ("2028-01-01T05:00:00Z".to_owned(), Some(TierMove::Renewed), "silver"),
        ("2029-01-01T05:00:00Z".to_owned(), Some(TierMove::Downgraded), "member"),
    ];
    assert_eq!(log, expected);
}

/// What a customer holds on a day, from all that was reported by then, without any memory of what was held.
fn naive(policy: &TierPolicy, purchases: &[(Date, Date, i64)], today: Date) -> &'static str {
    let known = || purchases.iter().filter(|(told, _, _)| *told <= today);
    let tier = |spend: i64| if spend >= 50_000 { 2 } else { usize::from(spend >= 20_000) };
    let rank = match (&policy.window, &policy.kept) {
        (TierWindow::Rolling(_), _) => {
            tier(known().filter(|(_, day, _)| day.checked_add(1.year()).unwrap() > today).map(|it| it.2).sum())
        }
        (TierWindow::Calendar(CalendarPeriod::Year), kept) => {
            let years = if *kept == KeptRule::UntilEndOfNextPeriod { 2 } else { 1 };
            let of_year = |year: i16| known().filter(|(_, day, _)| day.year() == year).map(|it| it.2).sum();
            (0..years).map(|back| tier(of_year(today.year() - back))).max().unwrap()
        }
        (_, _) => tier(known().map(|it| it.2).sum()),
    };
    ["member", "silver", "gold"][rank]
}

proptest! {
    /// Purchases come in the order in which they are told, some of them late, and some are refunded in part; the tier is what
    /// counting everything gives.
    #[test]
    fn standing_is_what_recounting_everything_gives(
        policy in prop_oneof![
            Just(rolling()),
            Just(yearly(KeptRule::UntilEndOfPeriod)),
            Just(yearly(KeptRule::UntilEndOfNextPeriod)),
            Just(yearly(KeptRule::WhileConditionHolds)),
            Just(TierPolicy::default()),
        ],
        steps in prop::collection::vec((0..200_i64, 0..5_i64, 0..400_i64, 1..40_000_i64), 1..20),
        probes in prop::collection::vec(0..200_i64, 0..8),
    ) {
        let mut member = Member::new(policy.clone());
        let (mut told, mut purchases) = (date(2026, 1, 1), Vec::new());
        for (gap, what, late, spend) in steps {
            told = told.checked_add(gap.days()).unwrap();
            let bought = purchases.iter().filter(|(_, _, spend)| *spend > 0).count();
            let (day, spend) = match (what, usize::try_from(late).unwrap().checked_rem(bought)) {
                (3.., Some(place)) => {
                    let days = purchases.iter().filter(|(_, _, spend)| *spend > 0).map(|(_, day, _)| *day);
                    let day: Date = days.clone().nth(place).unwrap();
                    let there: i64 = purchases.iter().filter(|it| it.1 == day).map(|it| it.2).sum();
                    (day, -spend.min(there))
                }
                (0, _) => (told.checked_sub(late.days()).unwrap(), spend),
                (_, _) => (told, spend),
            };
            member.count(noon(told), day, spend);
            purchases.push((told, day, spend));
            prop_assert_eq!(member.tier_on(told), naive(&policy, &purchases, told), "on {}", told);
        }
        for gap in probes {
            told = told.checked_add(gap.days()).unwrap();
            prop_assert_eq!(member.tier_on(told), naive(&policy, &purchases, told), "on {}", told);
        }
        prop_assert!(member.standing.outlook.decides_at.is_none_or(|at| at > noon(told)));
    }
}
