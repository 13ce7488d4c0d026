//! How uses of a benefit count, and what a quota leaves.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::grants::find_in;
use crate::book::{Actor, Entry, TierDetail, TierMove, UseCounts};
use crate::error::{Reason, Refusal};
use crate::ids::{BenefitId, TierId};
use crate::programs::benefits::{Benefit, Quota, QuotaPeriod};
use crate::programs::model::Program;
use crate::programs::points::CalendarPeriod;
use crate::tiers::standing::Standing;

/// Where uses count that are made now: the local day, and the tier period by the number of the entry that began it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Present {
    /// The local day.
    pub day: Date,
    /// The tier period; 0 for the one that began with the customer.
    pub tier_period: i64,
}

/// How often a benefit has been used in the present periods, by what was last told of it.
#[must_use]
pub(crate) fn counts_at(last: Option<&UseCounts>, present: Present) -> UseCounts {
    let Present { day, tier_period } = present;
    let in_period = |is_same: bool, count: fn(&UseCounts) -> i64| last.filter(|_| is_same).map_or(0, count);
    let is_in = |period: CalendarPeriod| last.is_some_and(|last| period.first_day(last.day) == period.first_day(day));
    UseCounts {
        day,
        tier_period,
        in_tier_period: in_period(last.is_some_and(|last| last.tier_period == tier_period), |it| it.in_tier_period),
        in_month: in_period(is_in(CalendarPeriod::Month), |it| it.in_month),
        in_quarter: in_period(is_in(CalendarPeriod::Quarter), |it| it.in_quarter),
        in_half: in_period(is_in(CalendarPeriod::Half), |it| it.in_half),
        in_year: in_period(is_in(CalendarPeriod::Year), |it| it.in_year),
        in_all: in_period(true, |it| it.in_all),
    }
}

/// The counts after so many uses more.
#[must_use]
pub(crate) const fn add_uses(counts: &UseCounts, more: i64) -> UseCounts {
    UseCounts {
        in_tier_period: counts.in_tier_period.saturating_add(more),
        in_month: counts.in_month.saturating_add(more),
        in_quarter: counts.in_quarter.saturating_add(more),
        in_half: counts.in_half.saturating_add(more),
        in_year: counts.in_year.saturating_add(more),
        in_all: counts.in_all.saturating_add(more),
        ..*counts
    }
}

/// The counts without so many uses of an earlier time: they are taken off where those still count.
#[must_use]
pub(crate) fn take_off(last: &UseCounts, used: &UseCounts, counted: i64) -> UseCounts {
    let less = |count: i64, is_same: bool| if is_same { count.saturating_sub(counted) } else { count };
    let is_in = |period: CalendarPeriod| period.first_day(last.day) == period.first_day(used.day);
    UseCounts {
        in_tier_period: less(last.in_tier_period, last.tier_period == used.tier_period),
        in_month: less(last.in_month, is_in(CalendarPeriod::Month)),
        in_quarter: less(last.in_quarter, is_in(CalendarPeriod::Quarter)),
        in_half: less(last.in_half, is_in(CalendarPeriod::Half)),
        in_year: less(last.in_year, is_in(CalendarPeriod::Year)),
        in_all: less(last.in_all, true),
        ..*last
    }
}

/// How many uses count in the period of a quota.
#[must_use]
pub(crate) const fn used_in(counts: &UseCounts, period: QuotaPeriod) -> i64 {
    match period {
        QuotaPeriod::TierPeriod => counts.in_tier_period,
        QuotaPeriod::Lifetime => counts.in_all,
        QuotaPeriod::Calendar(CalendarPeriod::Month) => counts.in_month,
        QuotaPeriod::Calendar(CalendarPeriod::Quarter) => counts.in_quarter,
        QuotaPeriod::Calendar(CalendarPeriod::Half) => counts.in_half,
        QuotaPeriod::Calendar(CalendarPeriod::Year) => counts.in_year,
        // No document says these.
        QuotaPeriod::Calendar(CalendarPeriod::Day | CalendarPeriod::Week) => 0,
    }
}

/// What is left of a quota: never less than none, also where another tier had a larger one.
#[must_use]
pub(crate) fn left_of(quota: Quota, counts: &UseCounts) -> i64 {
    quota.limit.saturating_sub(used_in(counts, quota.per)).max(0)
}

/// When a quota is whole again: at the end of its calendar period, or when time decides the standing next, which begins a
/// tier period. None if that is not known.
#[must_use]
pub(crate) fn resets_at(quota: Quota, at: Timestamp, standing: &Standing, time_zone: &TimeZone) -> Option<Timestamp> {
    match quota.per {
        QuotaPeriod::Calendar(period) => Some(period.end_of(at, time_zone)),
        QuotaPeriod::TierPeriod => standing.outlook.decides_at.filter(|decides_at| *decides_at > at),
        QuotaPeriod::Lifetime => None,
    }
}

/// How many uses a use with companions counts as.
#[must_use]
pub(crate) const fn counted_as(counts_companions: bool, quantity: i64, companions: i64) -> i64 {
    if counts_companions { quantity.saturating_add(companions) } else { quantity }
}

/// The benefit as a tier gives it; none, if it does not.
#[must_use]
pub(crate) fn find_benefit<'a>(program: &'a Program, tier_id: &TierId, benefit_id: &BenefitId) -> Option<&'a Benefit> {
    find_in(&program.tier(tier_id)?.benefits, benefit_id)
}

/// The refusal of a benefit that neither the tier nor a grant gives: it says which tiers do. It is another if the program
/// does not know it.
#[must_use]
pub(crate) fn refuse_unentitled(program: &Program, tier_id: &TierId, benefit_id: &BenefitId) -> Refusal {
    let givers = program.tiers.iter().filter(|tier| find_in(&tier.benefits, benefit_id).is_some());
    let givers: Vec<&str> = givers.map(|tier| tier.tier_id.as_str()).collect();
    if givers.is_empty() && find_in(&program.extras, benefit_id).is_none() {
        let message = format!("the program has no benefit {benefit_id}, and the customer no grant of it");
        return Refusal::new(Reason::BenefitNotFound, message).with("benefit_id", benefit_id);
    }
    let givers = givers.join(", ");
    let source = if givers.is_empty() { "can only be granted".to_owned() } else { format!("comes with {givers}") };
    let message =
        format!("the customer holds the tier {tier_id} and has no grant of the benefit {benefit_id}, which {source}");
    let refusal = Refusal::new(Reason::BenefitNotEntitled, message).with("benefit_id", benefit_id);
    refusal.with("tier_id", tier_id).with("given_by", givers)
}

/// Whether a change of a standing begins a new tier period: a renewal, a loss at the end, or a tier that is reached as a
/// period begins or the one before has ended. A tier that is reached in between begins none, and neither does what a
/// refund or another version of the program takes away: otherwise uses would count anew by buying and giving back. Nor does
/// an override, behind which the periods of the customer's own tier go on.
#[must_use]
pub(crate) fn begins_tier_period(entry: &Entry, detail: &TierDetail) -> bool {
    match detail {
        TierDetail::TierChanged { from: Some(_), change, former_ends_at, .. } => match change {
            Some(TierMove::Renewed | TierMove::Downgraded) => true,
            Some(TierMove::Redecided) => false,
            None => {
                let has_ended = former_ends_at.is_some_and(|ended| ended <= entry.effective_at);
                entry.actor == Actor::Time || has_ended
            }
        },
        TierDetail::TierChanged { from: None, .. }
        | TierDetail::TierImported { .. }
        | TierDetail::TierOverridden { .. }
        | TierDetail::TierReleased { .. }
        | TierDetail::ReferralCounted { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn at(year: i16, month: i8, day: i8, tier_period: i64) -> Present {
        Present { day: date(year, month, day), tier_period }
    }

    fn used(last: Option<&UseCounts>, present: Present, counted: i64) -> UseCounts {
        add_uses(&counts_at(last, present), counted)
    }

    #[test]
    fn each_period_counts_anew_when_it_begins() {
        let first = used(None, at(2028, 2, 29, 0), 2);
        let same_month = used(Some(&first), at(2028, 2, 29, 0), 1);
        assert_eq!((same_month.in_month, same_month.in_all), (3, 3));
        let march = counts_at(Some(&same_month), at(2028, 3, 1, 0));
        assert_eq!((march.in_month, march.in_quarter, march.in_tier_period), (0, 3, 3));
        let july = counts_at(Some(&same_month), at(2028, 7, 1, 0));
        assert_eq!((july.in_quarter, july.in_half, july.in_year), (0, 0, 3));
        let next_year = counts_at(Some(&same_month), at(2029, 2, 28, 9));
        assert_eq!((next_year.in_month, next_year.in_year, next_year.in_tier_period, next_year.in_all), (0, 0, 0, 3));
    }

    #[test]
    fn a_reversal_gives_back_where_the_use_still_counts() {
        let march = used(None, at(2026, 3, 31, 0), 2);
        let april = used(Some(&march), at(2026, 4, 1, 5), 1);
        let without_march = take_off(&april, &march, 2);
        assert_eq!((without_march.in_month, without_march.in_quarter), (1, 1));
        assert_eq!((without_march.in_half, without_march.in_year, without_march.in_all), (1, 1, 1));
        assert_eq!(without_march.in_tier_period, 1);
        let without_april = take_off(&without_march, &april, 1);
        assert_eq!((without_april.in_month, without_april.in_all, without_april.in_tier_period), (0, 0, 0));
    }

    #[test]
    fn a_smaller_quota_than_was_used_leaves_none_and_never_less() {
        let counts = used(None, at(2026, 1, 1, 0), 4);
        let quota = |limit, per| Quota { limit, per, counts_companions: false };
        assert_eq!(left_of(quota(6, QuotaPeriod::TierPeriod), &counts), 2);
        assert_eq!(left_of(quota(3, QuotaPeriod::TierPeriod), &counts), 0);
        assert_eq!(left_of(quota(5, QuotaPeriod::Calendar(CalendarPeriod::Year)), &counts), 1);
    }

    /// A use as a naive model keeps it.
    #[derive(Clone, Copy, Debug)]
    struct Use {
        day: Date,
        counted: i64,
        reversed: bool,
    }

    proptest! {
        /// Counting from row to row comes to what going through all uses comes to.
        #[test]
        fn counts_are_those_of_a_model_that_goes_through_all_uses(
            steps in prop::collection::vec((0..40_i64, 1..5_i64, prop::option::of(0..20_usize)), 1..40)
        ) {
            let (mut day, mut uses, mut last) = (date(2027, 11, 20), Vec::<(Use, UseCounts)>::new(), None::<UseCounts>);
            for (days, counted, reversed) in steps {
                day = day.checked_add(jiff::Span::new().days(days)).unwrap();
                match reversed.and_then(|i| uses.get_mut(i)).filter(|(it, _)| !it.reversed) {
                    Some((it, counts)) => {
                        it.reversed = true;
                        last = last.map(|last| take_off(&last, counts, it.counted));
                    }
                    None => {
                        let counts = used(last.as_ref(), Present { day, tier_period: 0 }, counted);
                        uses.push((Use { day, counted, reversed: false }, counts));
                        last = Some(counts);
                    }
                }
                let now = counts_at(last.as_ref(), Present { day, tier_period: 0 });
                for (period, count) in [
                    (CalendarPeriod::Month, now.in_month),
                    (CalendarPeriod::Quarter, now.in_quarter),
                    (CalendarPeriod::Half, now.in_half),
                    (CalendarPeriod::Year, now.in_year),
                ] {
                    let counts = |it: &&(Use, UseCounts)| {
                        !it.0.reversed && period.first_day(it.0.day) == period.first_day(day)
                    };
                    let naive: i64 = uses.iter().filter(counts).map(|it| it.0.counted).sum();
                    prop_assert_eq!(count, naive);
                }
                let naive: i64 = uses.iter().filter(|it| !it.0.reversed).map(|it| it.0.counted).sum();
                prop_assert_eq!((now.in_all, now.in_tier_period), (naive, naive));
            }
        }
    }
}
