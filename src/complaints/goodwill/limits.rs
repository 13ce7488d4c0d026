//! How much goodwill may be given, by what was given before. It is pure.

use jiff::Timestamp;
use jiff::civil::Date;

use crate::book::GivenCounts;
use crate::error::{Reason, Refusal};
use crate::programs::goodwill::{GoodwillLimit, GoodwillParty, GoodwillPolicy};
use crate::programs::model::Program;
use crate::programs::points::CalendarPeriod;

/// What one party has given or was given, and the instant at which it counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    pub(super) party: GoodwillParty,
    pub(super) at: Timestamp,
    /// What was counted last; nothing, if absent.
    pub(super) last: Option<GivenCounts>,
}

/// What was given in the periods that a day lies in, by what was counted last.
pub(super) fn counts_on(last: Option<GivenCounts>, day: Date) -> GivenCounts {
    let still = |period: CalendarPeriod, count: fn(&GivenCounts) -> i64| {
        last.filter(|last| period.first_day(last.day) == period.first_day(day)).map_or(0, |last| count(&last))
    };
    GivenCounts {
        day,
        in_day: still(CalendarPeriod::Day, |it| it.in_day),
        in_week: still(CalendarPeriod::Week, |it| it.in_week),
        in_month: still(CalendarPeriod::Month, |it| it.in_month),
        in_quarter: still(CalendarPeriod::Quarter, |it| it.in_quarter),
        in_half: still(CalendarPeriod::Half, |it| it.in_half),
        in_year: still(CalendarPeriod::Year, |it| it.in_year),
    }
}

const fn given_in(counts: &GivenCounts, period: CalendarPeriod) -> i64 {
    match period {
        CalendarPeriod::Day => counts.in_day,
        CalendarPeriod::Week => counts.in_week,
        CalendarPeriod::Month => counts.in_month,
        CalendarPeriod::Quarter => counts.in_quarter,
        CalendarPeriod::Half => counts.in_half,
        CalendarPeriod::Year => counts.in_year,
    }
}

impl Side {
    fn day(&self, program: &Program) -> Date {
        // Whoever counted on a later day, such as before the zone's rules were mended, goes on from there.
        let day = program.day_of(self.at);
        self.last.map_or(day, |last| last.day.max(day))
    }

    /// What a limit leaves; none, if it is another party's.
    fn left_of(&self, limit: GoodwillLimit, program: &Program) -> Option<i64> {
        let given = given_in(&counts_on(self.last, self.day(program)), limit.period);
        (self.party == limit.of).then_some(limit.points.saturating_sub(given).max(0))
    }

    /// What is counted once so much more is given. None, if nobody can count so much.
    pub(super) fn with(&self, value: i64, program: &Program) -> Option<GivenCounts> {
        add(&counts_on(self.last, self.day(program)), value)
    }
}

/// The counts with so much more. None, if nobody can count so much.
pub(super) fn add(counts: &GivenCounts, value: i64) -> Option<GivenCounts> {
    let GivenCounts { day, in_day, in_week, in_month, in_quarter, in_half, in_year } = *counts;
    Some(GivenCounts {
        day,
        in_day: in_day.checked_add(value)?,
        in_week: in_week.checked_add(value)?,
        in_month: in_month.checked_add(value)?,
        in_quarter: in_quarter.checked_add(value)?,
        in_half: in_half.checked_add(value)?,
        in_year: in_year.checked_add(value)?,
    })
}

/// How much may still be given, by the narrowest limit of the parties; as much as anybody likes, if absent.
pub(super) fn least_left(policy: &GoodwillPolicy, program: &Program, sides: &[Side]) -> Option<i64> {
    policy.limits.iter().filter_map(|limit| sides.iter().find_map(|side| side.left_of(*limit, program))).min()
}

/// Refuses what is more than a limit leaves: of several, by the one that leaves least.
pub(super) fn require_within(
    policy: &GoodwillPolicy,
    program: &Program,
    sides: &[Side],
    value: i64,
) -> Result<(), Refusal> {
    if let Some(most) = policy.most_at_once.filter(|most| value > *most) {
        let message = format!("it counts as {value} points, and at most {most} may be given at once");
        let refusal = Refusal::new(Reason::GoodwillLimitExceeded, message).with("value", value);
        return Err(refusal.with("maximum", most));
    }
    let held = policy.limits.iter().filter_map(|limit| {
        let (left, side) = sides.iter().find_map(|side| Some((side.left_of(*limit, program)?, side)))?;
        (value > left).then_some((left, limit, side))
    });
    let Some((left, limit, side)) = held.min_by_key(|(left, ..)| *left) else { return Ok(()) };
    let (of, period, most) = (limit.of.as_str(), limit.period.as_str(), limit.points);
    let ends_at = limit.period.end_of(side.at, &program.time_zone.0);
    let message = format!(
        "it counts as {value} points, and {left} are left of the {most} points a {period} that each {of} has, before {ends_at}"
    );
    let refusal = Refusal::new(Reason::GoodwillLimitExceeded, message).with("value", value).with("of", of);
    Err(refusal.with("period", period).with("maximum", most).with("left", left).with("ends_at", ends_at))
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;
    use crate::programs::model::tests::program;

    fn at(day: Date, program: &Program) -> Timestamp {
        CalendarPeriod::Day.begins_at(day, &program.time_zone.0).unwrap()
    }

    fn limit(period: CalendarPeriod, points: i64) -> GoodwillPolicy {
        let limits = vec![GoodwillLimit { of: GoodwillParty::Person, period, points }];
        GoodwillPolicy { limits, ..GoodwillPolicy::default() }
    }

    #[test]
    fn the_limit_that_leaves_least_refuses_and_says_until_when() {
        let program = program();
        let day = date(2026, 1, 15);
        let side = |party| Side { party, at: at(day, &program), last: None };
        let sides = [side(GoodwillParty::Person), side(GoodwillParty::Customer)];
        let limit_of = |of, period, points| GoodwillLimit { of, period, points };
        let policy = GoodwillPolicy {
            most_at_once: Some(500),
            limits: vec![
                limit_of(GoodwillParty::Person, CalendarPeriod::Year, 300),
                limit_of(GoodwillParty::Customer, CalendarPeriod::Month, 200),
            ],
            benefits: Vec::new(),
        };
        let refused = |value| require_within(&policy, &program, &sides, value).unwrap_err();
        assert!(require_within(&policy, &program, &sides, 200).is_ok());
        let metadata = |refusal: &Refusal, key: &str| {
            refusal.metadata.iter().find(|(name, _)| *name == key).map(|(_, value)| value.clone())
        };
        let told = refused(201);
        assert_eq!(metadata(&told, "of").as_deref(), Some("customer"));
        assert_eq!(metadata(&told, "left").as_deref(), Some("200"));
        let february = at(date(2026, 2, 1), &program).to_string();
        assert_eq!(metadata(&told, "ends_at"), Some(february));
        assert_eq!(metadata(&refused(501), "maximum").as_deref(), Some("500"));
    }

    proptest! {
        /// Whatever was given on whichever days, each period counts what a list of all of it comes to.
        #[test]
        fn random_gifts_count_in_each_period_as_a_list_of_them_does(
            gifts in prop::collection::vec((0..200_i32, 1..100_i64), 1..40)
        ) {
            let program = program();
            let (mut last, mut day, mut all) = (None, date(2025, 11, 3), Vec::new());
            for (days, value) in gifts {
                day = day.checked_add(days.days()).unwrap();
                let side = Side { party: GoodwillParty::Person, at: at(day, &program), last };
                let periods = [
                    CalendarPeriod::Day, CalendarPeriod::Week, CalendarPeriod::Month, CalendarPeriod::Quarter,
                    CalendarPeriod::Half, CalendarPeriod::Year,
                ];
                for period in periods {
                    let is_same = |other: Date| period.first_day(other) == period.first_day(day);
                    let before: i64 = all.iter().filter(|(of, _)| is_same(*of)).map(|(_, value)| *value).sum();
                    // Exactly what the limit leaves may be given.
                    let within = |points| require_within(&limit(period, points), &program, &[side], value).is_ok();
                    prop_assert!(within(before + value));
                    prop_assert!(before + value == 1 || !within(before + value - 1));
                }
                all.push((day, value));
                last = side.with(value, &program);
            }
        }
    }
}
