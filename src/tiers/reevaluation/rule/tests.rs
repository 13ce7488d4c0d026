use jiff::civil::{Date, date};

use super::*;
use crate::book::OverrideForce;
use crate::programs::model::ProgramVersion;
use crate::programs::model::tests::program;
use crate::programs::points::{CalendarPeriod, Period};
use crate::programs::tier_policy::windows::DayRange;
use crate::programs::tier_policy::{AtEnd, TierPolicy, UpgradeTime};
use crate::tiers::counting::{DayCount, History};
use crate::tiers::standing::{Standing, TierOverride};

const NEVER: Option<&str> = None;

fn midnight(day: Date) -> Timestamp {
    day.to_zoned(program().time_zone.0).unwrap().timestamp()
}

fn yearly(kept: KeptRule) -> TierPolicy {
    TierPolicy { window: TierWindow::Calendar(CalendarPeriod::Year), kept, ..TierPolicy::default() }
}

fn rolling() -> TierPolicy {
    let window = TierWindow::Rolling(Period::parse("P1Y").unwrap());
    TierPolicy { window, kept: KeptRule::WhileConditionHolds, ..TierPolicy::default() }
}

/// The tiers are member, silver from 200 and gold from 500.
fn version(policy: TierPolicy) -> ProgramVersion {
    let mut program = program();
    program.tier_policy = policy;
    ProgramVersion { program, version: 2, applied_at: Timestamp::UNIX_EPOCH, effective_from: Timestamp::UNIX_EPOCH }
}

fn history(spent: &[(Date, i64)]) -> History {
    let mut history = History::empty();
    for (day, units) in spent {
        let more = DayCount { spend: units * 100, purchases: 1, last_seq: 9, ..DayCount::default() };
        history = history.with(*day, &more).unwrap();
    }
    history
}

/// Who holds a tier until a day, and joined on 1 March 2020.
fn holding(tier_id: &str, ends_on: Option<Date>) -> Standing {
    let first = Timestamp::UNIX_EPOCH;
    let mut standing = Standing::new(tier_id.try_into().unwrap(), first, 1, Some(date(2020, 3, 1)));
    standing.outlook.ends_at = ends_on.map(midnight);
    standing.outlook.decides_at = standing.outlook.ends_at;
    standing.changed_seq = 3;
    standing
}

/// The tier, what it was, and the day of its end, where anything changes on 15 June 2026.
fn decided(
    policy: &TierPolicy,
    standing: &Standing,
    spent: &[(Date, i64)],
    downgrades: DowngradeTime,
) -> Option<(String, Option<TierMove>, Option<String>)> {
    let (version, history) = (version(policy.clone()), history(spent));
    let deciding = Deciding { version: &version, standing, history: &history };
    let at = midnight(date(2026, 6, 15));
    let verdict = reevaluate(&deciding, at, downgrades).unwrap();
    let ends_on = verdict.outlook.ends_at.map(|ends_at| deciding.calendar().day_of(ends_at).to_string());
    // Once it is written, nothing is left to be decided.
    let mut after = standing.clone();
    after.outlook = verdict.outlook;
    if let Some(change) = &verdict.change {
        after.tier_id = change.to.clone();
    }
    let again = Deciding { version: &version, standing: &after, history: &history };
    assert_eq!(reevaluate(&again, at, downgrades).unwrap().change, None, "decided twice");
    verdict.change.map(|change| (change.to.to_string(), change.kind, ends_on))
}

fn told(
    tier_id: &str,
    kind: Option<TierMove>,
    ends_on: Option<&str>,
) -> Option<(String, Option<TierMove>, Option<String>)> {
    Some((tier_id.to_owned(), kind, ends_on.map(str::to_owned)))
}

#[test]
fn at_once_everybody_holds_what_the_windows_in_effect_earn() {
    let redecided = Some(TierMove::Redecided);
    let (last_year, this_year) = (date(2025, 8, 1), date(2026, 5, 1));
    let next = |kept| yearly(kept);
    let table = [
        // The whole life: totals decide, up and down, though tiers are kept for ever.
        (TierPolicy::default(), ("gold", None), vec![(last_year, 300)], told("silver", redecided, NEVER)),
        (TierPolicy::default(), ("member", None), vec![(last_year, 300)], told("silver", None, NEVER)),
        (TierPolicy::default(), ("silver", None), vec![(last_year, 300)], None),
        // An end that another policy gave is gone with it.
        (
            TierPolicy::default(),
            ("silver", Some(date(2026, 8, 1))),
            vec![(last_year, 300)],
            told("silver", redecided, NEVER),
        ),
        // What another window earned may be kept for ever.
        (yearly(KeptRule::Always), ("gold", None), vec![(this_year, 300)], None),
        (yearly(KeptRule::Always), ("member", None), vec![(this_year, 300)], told("silver", None, NEVER)),
        (rolling(), ("gold", None), vec![(last_year, 300)], told("silver", redecided, Some("2026-08-01"))),
        (rolling(), ("gold", None), vec![(date(2025, 6, 15), 300)], told("member", redecided, NEVER)),
        (
            next(KeptRule::UntilEndOfPeriod),
            ("gold", None),
            vec![(this_year, 500)],
            told("gold", redecided, Some("2027-01-01")),
        ),
        (next(KeptRule::UntilEndOfPeriod), ("gold", Some(date(2027, 1, 1))), vec![(this_year, 500)], None),
        (
            next(KeptRule::UntilEndOfPeriod),
            ("gold", Some(date(2028, 1, 1))),
            vec![(last_year, 900)],
            told("member", redecided, NEVER),
        ),
        // What the year before earned is kept to the end of this one.
        (
            next(KeptRule::UntilEndOfNextPeriod),
            ("gold", None),
            vec![(last_year, 300)],
            told("silver", redecided, Some("2027-01-01")),
        ),
        (
            TierPolicy { at_end: AtEnd::OneStep, ..next(KeptRule::UntilEndOfPeriod) },
            ("gold", Some(date(2027, 1, 1))),
            vec![],
            told("member", redecided, NEVER),
        ),
    ];
    for (policy, (tier_id, ends_on), spent, expected) in table {
        let outcome = decided(&policy, &holding(tier_id, ends_on), &spent, DowngradeTime::AtOnce);
        assert_eq!(outcome, expected, "{policy:?} {tier_id} {ends_on:?} {spent:?}");
    }
}

#[test]
fn at_their_own_end_customers_rise_at_once_and_keep_what_they_hold_until_then() {
    let redecided = Some(TierMove::Redecided);
    let this_year = date(2026, 5, 1);
    let until = |month| Some(date(2026, month, 1));
    let table = [
        (rolling(), ("member", None), vec![(this_year, 300)], told("silver", None, Some("2027-05-01"))),
        (yearly(KeptRule::UntilEndOfPeriod), ("gold", until(9)), vec![(this_year, 300)], None),
        (rolling(), ("gold", until(9)), vec![], None),
        // A tier without an end gets the one of a tier that is reached now.
        (yearly(KeptRule::UntilEndOfNextPeriod), ("gold", None), vec![], told("gold", redecided, Some("2028-01-01"))),
        // Where tiers are kept while the condition holds, that has passed.
        (
            rolling(),
            ("gold", None),
            vec![(this_year, 300)],
            told("silver", Some(TierMove::Downgraded), Some("2027-05-01")),
        ),
        (
            TierPolicy { grace: Some(Period::parse("P30D").unwrap()), ..rolling() },
            ("gold", None),
            vec![],
            told("gold", redecided, Some("2026-06-15")),
        ),
        (TierPolicy::default(), ("gold", None), vec![], None),
        (TierPolicy::default(), ("gold", until(9)), vec![], told("gold", redecided, NEVER)),
    ];
    for (policy, (tier_id, ends_on), spent, expected) in table {
        let outcome = decided(&policy, &holding(tier_id, ends_on), &spent, DowngradeTime::AtOwnEnd);
        assert_eq!(outcome, expected, "{policy:?} {tier_id} {ends_on:?} {spent:?}");
    }
}

#[test]
fn a_tier_that_is_never_lost_is_not_taken() {
    for downgrades in DowngradeTime::ALL {
        let mut version = version(rolling());
        version.program.tiers[1].never_lost = true;
        let history = History::empty();
        let standing = holding("gold", None);
        let deciding = Deciding { version: &version, standing: &standing, history: &history };
        let verdict = reevaluate(&deciding, midnight(date(2026, 6, 15)), *downgrades).unwrap();
        assert_eq!(verdict.change.unwrap().to.as_str(), "silver");
        assert_eq!(verdict.outlook.ends_at, None);
    }
}

#[test]
fn what_a_period_earned_counts_from_its_end_where_the_policy_waits_for_that() {
    let policy = TierPolicy { upgrade: UpgradeTime::AtPeriodEnd, ..yearly(KeptRule::UntilEndOfPeriod) };
    for downgrades in DowngradeTime::ALL {
        let now = decided(&policy, &holding("member", None), &[(date(2026, 5, 1), 500)], *downgrades);
        // The rise to come is written down.
        assert_eq!(now, told("member", Some(TierMove::Redecided), NEVER));
        let before = decided(&policy, &holding("member", None), &[(date(2025, 5, 1), 500)], *downgrades);
        assert_eq!(before, told("gold", None, Some("2027-01-01")));
    }
}

#[test]
fn under_an_override_the_tier_behind_it_is_decided() {
    let mut standing = holding("gold", None);
    let forced = TierOverride {
        force: OverrideForce::Lock,
        tier_id: "gold".try_into().unwrap(),
        ends_at: None,
        set_seq: 4,
        hidden: "silver".try_into().unwrap(),
    };
    standing.forced = Some(forced);
    let (version, history) = (version(rolling()), History { read: vec![DayRange::ALL], ..History::default() });
    let deciding = Deciding { version: &version, standing: &standing, history: &history };
    let verdict = reevaluate(&deciding, midnight(date(2026, 6, 15)), DowngradeTime::AtOnce).unwrap();
    assert_eq!(verdict.change.unwrap().to.as_str(), "member");
}
