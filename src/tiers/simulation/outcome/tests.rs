use jiff::civil::date;

use super::*;
use crate::money::Rate;
use crate::programs::benefits::{Benefit, BenefitKind};
use crate::programs::model::tests::program;
use crate::tiers::counting::DayCount;

fn benefit(id: &str, kind: BenefitKind) -> Benefit {
    let benefit_id = id.try_into().unwrap();
    Benefit { benefit_id, display_name: id.to_owned(), description: String::new(), kind, quota: None }
}

/// Silver gives a lounge before, and a double rate of points after; gold is gone, and diamond stands in its place.
fn trial() -> Trial {
    let (mut current, mut tried) = (program(), program());
    current.tiers.iter_mut().for_each(|tier| tier.benefits.clear());
    tried.tiers.iter_mut().for_each(|tier| tier.benefits.clear());
    current.tiers[1].benefits = vec![benefit("lounge", BenefitKind::LoungePass)];
    let double = BenefitKind::EarnRateMultiplier(Rate::parse("2").unwrap());
    tried.tiers[1].benefits = vec![benefit("double", double)];
    tried.tiers[2].tier_id = "diamond".try_into().unwrap();
    let at = date(2026, 6, 15).to_zoned(tried.time_zone.0.clone()).unwrap().timestamp();
    let policy = ProgramVersion { program: tried, version: 2, applied_at: at, effective_from: at };
    Trial { policy, current, downgrades: DowngradeTime::AtOnce, at }
}

fn outcome(trial: &Trial, tier_id: &str, spent: &[(Date, i64)]) -> Outcome {
    let mut history = History::empty();
    for (day, units) in spent {
        let more = DayCount { spend: units * 100, purchases: 1, last_seq: 9, ..DayCount::default() };
        history = history.with(*day, &more).unwrap();
    }
    let standing = Standing::new(tier_id.try_into().unwrap(), Timestamp::UNIX_EPOCH, 1, Some(date(2020, 3, 1)));
    trial.simulate(&standing, &history).unwrap()
}

#[test]
fn totals_count_moves_benefits_and_the_points_of_a_year() {
    let trial = trial();
    let mut totals = Totals::default();
    let (last_year, years_ago) = (date(2025, 6, 16), date(2025, 6, 15));
    for (tier_id, spent) in [
        ("member", vec![(last_year, 100)]),
        ("member", vec![(last_year, 300)]),
        ("silver", vec![(years_ago, 300)]),
        // The first tier of the program has no such tier any more.
        ("gold", vec![(last_year, 150), (years_ago, 100)]),
    ] {
        let outcome = outcome(&trial, tier_id, &spent);
        totals.add(&trial, &outcome);
    }
    let moves = totals.moves(&trial);
    let told: Vec<_> = moves.iter().map(|(from, to, count)| (from.as_str(), to.as_str(), count.customers)).collect();
    assert_eq!(
        told,
        [("member", "member", 1), ("member", "silver", 1), ("silver", "silver", 1), ("gold", "silver", 1)]
    );
    let benefits = totals.benefits(&trial);
    let told: Vec<_> = benefits.iter().map(|(id, count)| (id.as_str(), count.gaining, count.losing)).collect();
    assert_eq!(told, [("double", 3, 0), ("lounge", 0, 1)]);
    // 300 and 150 points more, of the purchases of 365 days.
    assert_eq!(totals.points_per_year(&trial), 450);
    assert_eq!(totals.ends(&trial), []);
}

#[test]
fn ends_are_counted_by_tier_and_local_month_with_those_who_would_fall() {
    let mut trial = trial();
    trial.policy.program.tier_policy.window = crate::programs::tier_policy::TierWindow::Calendar(CalendarPeriod::Year);
    trial.policy.program.tier_policy.kept = crate::programs::tier_policy::KeptRule::UntilEndOfNextPeriod;
    let mut totals = Totals::default();
    // What is spent this year earns the tier until the end of the next; what was spent last year, until this year's.
    for spent in [vec![(date(2026, 2, 1), 300)], vec![(date(2025, 9, 1), 300)], vec![(date(2025, 9, 2), 200)]] {
        totals.add(&trial, &outcome(&trial, "silver", &spent));
    }
    let told: Vec<_> = totals
        .ends(&trial)
        .iter()
        .map(|(tier_id, count)| (tier_id.to_string(), count.first_end.to_string(), count.customers, count.falling))
        .collect();
    let end = |at: &str, customers, falling| ("silver".to_owned(), at.to_owned(), customers, falling);
    assert_eq!(told, [end("2027-01-01T05:00:00Z", 2, 2), end("2028-01-01T05:00:00Z", 1, 1)]);
}

#[test]
fn who_has_earned_the_tier_again_already_is_not_among_those_who_fall() {
    let mut trial = trial();
    trial.policy.program.tier_policy.window = crate::programs::tier_policy::TierWindow::Calendar(CalendarPeriod::Year);
    trial.policy.program.tier_policy.kept = crate::programs::tier_policy::KeptRule::UntilEndOfPeriod;
    trial.downgrades = DowngradeTime::AtOwnEnd;
    let history = History::empty();
    let mut standing = Standing::new("silver".try_into().unwrap(), Timestamp::UNIX_EPOCH, 1, Some(date(2020, 3, 1)));
    standing.outlook.ends_at = Some(date(2027, 1, 1).to_zoned(trial.current.time_zone.0.clone()).unwrap().timestamp());
    standing.outlook.decides_at = standing.outlook.ends_at;
    let falls = trial.simulate(&standing, &history).unwrap();
    assert!(falls.falls && !falls.moves.is_move());
    // By the whole life, the tier is renewed for ever.
    trial.policy.program.tier_policy.window = crate::programs::tier_policy::TierWindow::Lifetime;
    trial.policy.program.tier_policy.kept =
        crate::programs::tier_policy::KeptRule::For(crate::programs::points::Period::parse("P1Y").unwrap());
    let more = DayCount { spend: 20_000, purchases: 1, last_seq: 9, ..DayCount::default() };
    let stays = trial.simulate(&standing, &history.with(date(2021, 1, 1), &more).unwrap()).unwrap();
    assert!(!stays.falls && stays.moves.valid_until == standing.outlook.ends_at);
}
