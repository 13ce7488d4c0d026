//! Whether customers stay: the leaking bucket, and what became of those who came together. It is pure.

use jiff::civil::Date;

use super::fitting::share;

/// What customers who first bought in one part did in one part. Parts are numbered from 1; 0 is all time before.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct CohortPart {
    /// The part in which they first bought.
    pub(super) cohort: i32,
    pub(super) part: i32,
    pub(super) buyers: i64,
    /// Those who had bought in the part before, and those who had bought in none but earlier ones.
    pub(super) retained: i64,
    pub(super) won_back: i64,
    /// Those who had bought on an earlier day.
    pub(super) repeaters: i64,
    pub(super) spend: i64,
    /// What those spent who had bought in the part before; each one for no more than they had spent in that.
    pub(super) retained_spend: i64,
    pub(super) capped_spend: i64,
}

/// Whether customers stay, by the periods that were asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Retention {
    pub(super) periods: Vec<Period>,
    pub(super) cohorts: Vec<Cohort>,
}

/// Who came and who left in a period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Period {
    pub(super) days: (Date, Date),
    pub(super) buyers: i64,
    pub(super) retained: i64,
    pub(super) gained: i64,
    pub(super) won_back: i64,
    pub(super) lost: i64,
    pub(super) repeat_rate: Option<f64>,
    pub(super) retention_rate: Option<f64>,
    pub(super) spend: i64,
    pub(super) net_revenue: Option<f64>,
    pub(super) gross_revenue: Option<f64>,
}

/// What those did who first bought in a period: in it, and in each later one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cohort {
    pub(super) days: (Date, Date),
    pub(super) customers: i64,
    /// How many bought, and what they spent.
    pub(super) parts: Vec<(i64, i64)>,
}

impl Period {
    /// How many periods a customer would stay on average, if as many stayed for ever; none where nobody leaves.
    pub(super) fn expected_lifetime(&self) -> Option<f64> {
        self.retention_rate.filter(|rate| *rate < 1.0).map(|rate| 1.0 / (1.0 - rate))
    }
}

impl Retention {
    /// By what was counted of parts: the first is the period before those that were asked for.
    pub(super) fn of(periods: &[(Date, Date)], parts: &[CohortPart]) -> Self {
        let number = |place: usize| i32::try_from(place).unwrap_or(i32::MAX).saturating_add(2);
        let of_period = |(place, days): (usize, &(Date, Date))| {
            let (before, own) = (sum(parts, number(place) - 1), sum(parts, number(place)));
            Period {
                days: *days,
                buyers: own.buyers,
                retained: own.retained,
                gained: own.buyers - own.retained - own.won_back,
                won_back: own.won_back,
                lost: before.buyers - own.retained,
                repeat_rate: share(own.repeaters, own.buyers),
                retention_rate: share(own.retained, before.buyers),
                spend: own.spend,
                net_revenue: share(own.retained_spend, before.spend),
                gross_revenue: share(own.capped_spend, before.spend),
            }
        };
        let of_cohort = |(place, days): (usize, &(Date, Date))| {
            let own = |part: i32| parts.iter().find(|it| it.cohort == number(place) && it.part == part);
            let did = |part| own(part).map_or((0, 0), |it| (it.buyers, it.spend));
            let parts: Vec<(i64, i64)> = (place..periods.len()).map(|later| did(number(later))).collect();
            let customers = parts.first().map_or(0, |(buyers, _)| *buyers);
            Cohort { days: *days, customers, parts }
        };
        Self {
            periods: periods.iter().enumerate().map(of_period).collect(),
            cohorts: periods.iter().enumerate().map(of_cohort).collect(),
        }
    }
}

/// What all cohorts did in a part.
fn sum(parts: &[CohortPart], part: i32) -> CohortPart {
    parts.iter().filter(|it| it.part == part).fold(CohortPart::default(), |sum, it| CohortPart {
        cohort: 0,
        part,
        buyers: sum.buyers + it.buyers,
        retained: sum.retained + it.retained,
        won_back: sum.won_back + it.won_back,
        repeaters: sum.repeaters + it.repeaters,
        spend: sum.spend.saturating_add(it.spend),
        retained_spend: sum.retained_spend.saturating_add(it.retained_spend),
        capped_spend: sum.capped_spend.saturating_add(it.capped_spend),
    })
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn a_bucket_leaks_what_the_period_before_held_and_this_one_does_not() {
        let part = |cohort, part, buyers, retained, won_back, spend| CohortPart {
            cohort,
            part,
            buyers,
            retained,
            won_back,
            repeaters: retained + won_back,
            spend,
            retained_spend: retained * 20,
            capped_spend: retained * 10,
        };
        // Ten of long ago, of whom four bought in the period before.
        let parts =
            [part(0, 1, 4, 0, 0, 80), part(0, 2, 5, 3, 2, 100), part(2, 2, 6, 0, 0, 60), part(2, 3, 2, 2, 0, 40)];
        let (january, february) = ((date(2026, 1, 1), date(2026, 2, 1)), (date(2026, 2, 1), date(2026, 2, 9)));
        let retention = Retention::of(&[january, february], &parts);
        let first = retention.periods[0];
        assert_eq!((first.buyers, first.retained, first.gained, first.won_back, first.lost), (11, 3, 6, 2, 1));
        assert_eq!(
            (first.repeat_rate, first.retention_rate, first.expected_lifetime()),
            (Some(5.0 / 11.0), Some(0.75), Some(4.0))
        );
        assert_eq!((first.net_revenue, first.gross_revenue), (Some(0.75), Some(0.375)));
        let second = retention.periods[1];
        assert_eq!((second.buyers, second.retained, second.gained, second.won_back, second.lost), (2, 2, 0, 0, 9));
        let cohorts = [
            Cohort { days: january, customers: 6, parts: vec![(6, 60), (2, 40)] },
            Cohort { days: february, customers: 0, parts: vec![(0, 0)] },
        ];
        assert_eq!(retention.cohorts, cohorts);
    }

    #[test]
    fn nothing_has_no_rates_and_who_never_leaves_no_lifetime() {
        let month = (date(2026, 1, 1), date(2026, 2, 1));
        let empty = Retention::of(&[month], &[]).periods[0];
        assert_eq!((empty.repeat_rate, empty.retention_rate, empty.net_revenue), (None, None, None));
        let all = Period { retention_rate: Some(1.0), ..empty };
        assert_eq!(all.expected_lifetime(), None);
    }
}
