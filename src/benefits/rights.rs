//! By which right a customer uses a benefit, where they have several. It is pure.

use std::cmp::Reverse;

use jiff::Timestamp;

use super::grants::Grant;
use super::model::{Present, counted_as, counts_at, left_of, used_in};
use crate::book::UseCounts;
use crate::programs::benefits::{Benefit, QuotaPeriod};

/// The number that stands for the tier where grants have those of their entries.
pub(crate) const BY_TIER: i64 = 0;

/// A right of a customer to use a benefit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Right {
    /// The entry that granted it; [`BY_TIER`] where the tier gives it.
    pub granted: i64,
    /// The most uses; as many as the customer likes, if absent.
    pub limit: Option<i64>,
    /// Whether each companion counts as a use, too.
    pub counts_companions: bool,
    /// How often it has been used.
    pub counts: UseCounts,
    /// How many of these uses count toward the limit.
    pub used: i64,
    /// How often it may still be used; as often as the customer likes, if absent.
    pub left: Option<i64>,
    /// When what is left of it is lost, or counts no more since it is whole again; it is not known, or never, if absent.
    pub lapses_at: Option<Timestamp>,
    /// When it is whole again; it is not known, or never, if absent.
    pub resets_at: Option<Timestamp>,
}

impl Right {
    /// What the tier gives, by what was last told of its uses. `resets_at` is when its quota is whole again, and `until` when
    /// the tier ends.
    #[must_use]
    pub(crate) fn of_tier(
        benefit: &Benefit,
        last: Option<&UseCounts>,
        present: Present,
        (resets_at, until): (Option<Timestamp>, Option<Timestamp>),
    ) -> Self {
        let counts = counts_at(last, present);
        let used = benefit.quota.map_or(0, |quota| used_in(&counts, quota.per));
        Self {
            granted: BY_TIER,
            limit: benefit.quota.map(|quota| quota.limit),
            counts_companions: benefit.quota.is_some_and(|quota| quota.counts_companions),
            counts,
            used,
            left: benefit.quota.map(|quota| left_of(quota, &counts)),
            lapses_at: resets_at.into_iter().chain(until).min(),
            resets_at,
        }
    }

    /// What a grant gives, by what was last told of its uses.
    #[must_use]
    pub(crate) fn of_grant(granted: i64, grant: &Grant, last: Option<&UseCounts>, present: Present) -> Self {
        let counts = counts_at(last, present);
        let used = used_in(&counts, QuotaPeriod::Lifetime);
        Self {
            granted,
            limit: grant.limit,
            counts_companions: grant.counts_companions,
            counts,
            used,
            left: grant.limit.map(|limit| limit.saturating_sub(used).max(0)),
            lapses_at: grant.ends_at,
            resets_at: None,
        }
    }

    /// How many uses a use with companions counts as.
    #[must_use]
    pub(crate) const fn count(&self, quantity: i64, companions: i64) -> i64 {
        counted_as(self.counts_companions, quantity, companions)
    }
}

/// What comes of the rights to a benefit for a use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// It is taken from this one, whole.
    From(Right),
    /// None has enough left; this one has most.
    Short(Right),
    /// There is no right at all.
    Nothing,
}

/// The right that a use is taken from: of those with enough left, one without a limit; or else the one whose rest
/// is lost first, of one instant the tier's before a grant's, and of two grants the older.
#[must_use]
pub(crate) fn choose(rights: Vec<Right>, quantity: i64, companions: i64) -> Chosen {
    let has_enough = |right: &Right| right.left.is_none_or(|left| left >= right.count(quantity, companions));
    let (enough, short): (Vec<Right>, Vec<Right>) = rights.into_iter().partition(has_enough);
    let lost_first = |right: &Right| (right.limit.is_some(), right.lapses_at.unwrap_or(Timestamp::MAX), right.granted);
    let most_left = |right: &Right| (Reverse(right.left), right.granted);
    match (enough.into_iter().min_by_key(lost_first), short.into_iter().min_by_key(most_left)) {
        (Some(right), _) => Chosen::From(right),
        (None, Some(short)) => Chosen::Short(short),
        (None, None) => Chosen::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::super::grants::tests::grant;
    use super::*;
    use crate::programs::benefits::BenefitKind;

    const PRESENT: Present = Present { day: date(2026, 1, 15), tier_period: 0 };

    fn right(granted: i64, left: Option<i64>, lapses_at: Option<i64>) -> Right {
        let lapses_at = lapses_at.map(|second| Timestamp::from_second(second).unwrap());
        Right { lapses_at, left, limit: left.map(|_| 9), ..Right::of_grant(granted, &grant(left), None, PRESENT) }
    }

    fn chosen(rights: Vec<Right>, quantity: i64) -> Result<i64, Option<i64>> {
        match choose(rights, quantity, 0) {
            Chosen::From(right) => Ok(right.granted),
            Chosen::Short(right) => Err(Some(right.granted)),
            Chosen::Nothing => Err(None),
        }
    }

    #[test]
    fn what_is_lost_first_is_used_first_unless_one_has_no_limit() {
        let table = [
            (vec![right(0, Some(3), Some(20)), right(7, Some(3), Some(10))], Ok(7)),
            (vec![right(0, Some(3), Some(20)), right(7, Some(3), Some(30))], Ok(0)),
            (vec![right(0, Some(3), Some(20)), right(7, Some(3), Some(20))], Ok(0)),
            (vec![right(0, Some(3), None), right(7, Some(3), Some(20))], Ok(7)),
            (vec![right(0, Some(3), None), right(7, Some(3), None)], Ok(0)),
            (vec![right(8, Some(3), Some(20)), right(7, Some(3), Some(20))], Ok(7)),
            (vec![right(0, None, None), right(7, Some(3), Some(20))], Ok(0)),
            (vec![right(0, Some(3), Some(10)), right(7, None, None)], Ok(7)),
            // A use is taken whole from one.
            (vec![right(0, Some(1), Some(10)), right(7, Some(2), Some(20))], Ok(7)),
            (vec![right(0, Some(1), Some(10)), right(7, Some(0), Some(20))], Err(Some(0))),
            (vec![right(0, Some(0), Some(10)), right(7, Some(0), Some(20))], Err(Some(0))),
            (vec![], Err(None)),
        ];
        for (i, (rights, expected)) in table.into_iter().enumerate() {
            assert_eq!(chosen(rights, 2), expected, "row {i}");
        }
    }

    #[test]
    fn what_a_tier_gives_is_lost_with_it_and_whole_again_with_its_period() {
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let (benefit_id, kind) = ("lounge".try_into().unwrap(), BenefitKind::LoungePass);
        let benefit =
            Benefit { benefit_id, display_name: String::new(), description: String::new(), kind, quota: None };
        let table = [(at(30), at(10), at(10)), (at(10), at(30), at(10)), (None, at(10), at(10)), (None, None, None)];
        for (resets_at, until, lapses_at) in table {
            let right = Right::of_tier(&benefit, None, PRESENT, (resets_at, until));
            assert_eq!((right.resets_at, right.lapses_at), (resets_at, lapses_at));
        }
    }

    #[test]
    fn companions_count_where_the_right_says_so() {
        let counting = right(7, Some(2), Some(10));
        let generous = Right { counts_companions: false, ..right(8, Some(2), Some(20)) };
        let both = || vec![counting.clone(), generous.clone()];
        assert_eq!(choose(both(), 1, 1), Chosen::From(counting.clone()));
        assert_eq!(choose(both(), 1, 2), Chosen::From(generous.clone()));
    }
}
