//! Sums over a program's customers, and what they mean in money.

use std::ops::AddAssign;

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use crate::book::Balance;
use crate::money::{Money, Rate, divide_half_even};
use crate::programs::model::Program;

/// Within how many days points count as expiring soon.
pub(crate) const HORIZONS: [i32; 3] = [30, 90, 365];

/// Points by pocket, of all customers together. Each field is the pocket of its name, described at `Pocket`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    pub issued: i128,
    pub owed: i128,
    pub pending: i128,
    pub available: i128,
    pub held: i128,
    pub redeemed: i128,
    pub expired: i128,
    pub cancelled: i128,
}

impl AddAssign<Balance> for Sums {
    fn add_assign(&mut self, balance: Balance) {
        self.issued += i128::from(balance.issued);
        self.owed += i128::from(balance.owed);
        self.pending += i128::from(balance.pending);
        self.available += i128::from(balance.available);
        self.held += i128::from(balance.held);
        self.redeemed += i128::from(balance.redeemed);
        self.expired += i128::from(balance.expired);
        self.cancelled += i128::from(balance.cancelled);
    }
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.issued += other.issued;
        self.owed += other.owed;
        self.pending += other.pending;
        self.available += other.available;
        self.held += other.held;
        self.redeemed += other.redeemed;
        self.expired += other.expired;
        self.cancelled += other.cancelled;
    }
}

impl Sums {
    /// Points that customers may still spend.
    #[must_use]
    pub(crate) const fn outstanding(&self) -> i128 {
        self.pending + self.available + self.held
    }
}

/// What a program's customers had at an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    /// The instant that the sums are for.
    pub taken_at: Timestamp,
    /// Where their points were.
    pub sums: Sums,
    /// Available and held points that expire within each of the [`HORIZONS`].
    pub expiring: [i128; 3],
    /// How many accounts could not be read and are in none of the sums.
    pub left_out: i64,
}

/// The ends of the [`HORIZONS`], by the program's calendar.
#[must_use]
pub(crate) fn horizons_of(program: &Program, at: Timestamp) -> [Timestamp; 3] {
    let zoned = at.to_zoned(program.time_zone.0.clone());
    HORIZONS.map(|days| zoned.checked_add(days.days()).map_or(Timestamp::MAX, |end| end.timestamp()))
}

/// Of instants in order, those that are not the last of their local day.
pub(crate) fn superseded_on<'a>(instants: &'a [Timestamp], zone: &'a TimeZone) -> impl Iterator<Item = Timestamp> + 'a {
    let day_of = |instant: &Timestamp| zone.to_datetime(*instant).date();
    let pairs = instants.iter().zip(instants.iter().skip(1));
    pairs.filter(move |(instant, next)| day_of(instant) == day_of(next)).map(|(instant, _)| *instant)
}

/// What points are worth, in minor units, rounded half to even.
#[must_use]
pub(crate) fn worth_of(points: i128, value: Rate, program: &Program) -> Option<i128> {
    value.times(points, program.currency)
}

/// What is asked about revenue under IFRS 15 and ASC 606.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RevenueQuestion {
    /// The part of the transaction price that is allocated to the points.
    pub allocated: Money,
    /// How many points are expected to be redeemed in total; above zero.
    pub expected_redeemed: i64,
    /// What was recognized before.
    pub recognized_before: Money,
}

/// Revenue in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Revenue {
    /// To be recognized in all by now.
    pub cumulative: i64,
    /// Of that, in this period; below zero where estimates have changed.
    pub period: i64,
}

/// Revenue by the points redeemed so far: allocated × redeemed ÷ expected, rounded half to even. It is never more than
/// what was allocated.
#[must_use]
pub(crate) fn revenue_of(question: &RevenueQuestion, redeemed: i128) -> Revenue {
    let allocated = i128::from(question.allocated.minor);
    let expected = i128::from(question.expected_redeemed.max(1));
    let cumulative = if redeemed >= expected { allocated } else { divide_half_even(allocated * redeemed, expected) };
    let cumulative = i64::try_from(cumulative).unwrap_or(question.allocated.minor);
    // Both are zero or more: the difference cannot overflow.
    Revenue { cumulative, period: cumulative - question.recognized_before.minor }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::money::Currency;
    use crate::programs::model::tests::program;

    fn usd(minor: i64) -> Money {
        Money { currency: Currency::parse("USD").unwrap(), minor }
    }

    /// IFRS 15, Illustrative Example 52: 9,174 allocated to points, 9,500 expected; 4,500 redeemed in the first year, then
    /// 9,700 expected and 8,500 redeemed by the end of the second.
    #[test]
    fn revenue_is_that_of_the_standards_own_example() {
        let first = RevenueQuestion { allocated: usd(9_174), expected_redeemed: 9_500, recognized_before: usd(0) };
        assert_eq!(revenue_of(&first, 4_500), Revenue { cumulative: 4_346, period: 4_346 });
        let second = RevenueQuestion { expected_redeemed: 9_700, recognized_before: usd(4_346), ..first };
        assert_eq!(revenue_of(&second, 8_500), Revenue { cumulative: 8_039, period: 3_693 });
    }

    #[test]
    fn revenue_never_passes_what_was_allocated_and_may_fall_when_estimates_rise() {
        let question = RevenueQuestion { allocated: usd(100), expected_redeemed: 10, recognized_before: usd(90) };
        assert_eq!(revenue_of(&question, 11), Revenue { cumulative: 100, period: 10 });
        assert_eq!(revenue_of(&question, 5), Revenue { cumulative: 50, period: -40 });
        let most = RevenueQuestion { allocated: usd(i64::MAX), expected_redeemed: i64::MAX, recognized_before: usd(0) };
        assert_eq!(revenue_of(&most, i128::from(i64::MAX) - 1).cumulative, i64::MAX - 1);
    }

    #[test]
    fn worth_is_rounded_half_to_even() {
        let cent = Rate::parse("0.005").unwrap();
        let worth: Vec<_> = (0..6).map(|points| worth_of(points, cent, &program()).unwrap()).collect();
        // Half a cent each.
        assert_eq!(worth, [0, 0, 1, 2, 2, 2]);
    }

    #[test]
    fn days_are_the_programs_own() {
        let at: Timestamp = "2026-02-20T12:00:00-05:00".parse().unwrap();
        // The clocks go forward on 8 March.
        assert_eq!(horizons_of(&program(), at)[0], "2026-03-22T12:00:00-04:00".parse().unwrap());
    }

    #[test]
    fn the_last_of_each_local_day_is_kept() {
        let crate::programs::model::Zone(zone) = "America/Vancouver".to_owned().try_into().unwrap();
        let taken = ["2026-12-01T06:59:59Z", "2026-12-01T07:00:00Z", "2026-12-02T06:59:59Z", "2026-12-02T07:30:00Z"];
        let taken = taken.map(|instant| instant.parse().unwrap());
        assert_eq!(superseded_on(&taken, &zone).collect::<Vec<_>>(), [taken[1]]);
        assert_eq!(superseded_on(&taken[..1], &zone).count(), 0);
    }

    proptest! {
        #[test]
        fn quotients_are_as_near_as_can_be(dividend in 0..1_000_000_i128, divisor in 1..1_000_i128) {
            let quotient = divide_half_even(dividend, divisor);
            prop_assert!(2 * (quotient * divisor - dividend).abs() <= divisor);
        }
    }
}
