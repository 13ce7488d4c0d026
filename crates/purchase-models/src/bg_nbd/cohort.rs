//! What the BG/NBD model says of a cohort, to be laid beside what the cohort did.

use super::BgNbd;
use crate::bounds::{MAX_PERIODS, TimeError, time};
use crate::special::purchases_while_alive;

/// The most different times of first purchases in one cohort. Whoever has more counts them by day or by week.
pub const MAX_STARTS: usize = 10_000;

/// Why nothing can be expected of a cohort.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum CohortError {
    /// A time is out of bounds: that of a first purchase, or the end of the last period.
    #[error(transparent)]
    Time(#[from] TimeError),
    /// There are more different times of first purchases than [`MAX_STARTS`].
    #[error("the cohort has first purchases at more than {MAX_STARTS} different times: count them by day or by week")]
    TooManyStarts,
    /// There are more periods than [`MAX_PERIODS`].
    #[error("{periods} periods are more than {MAX_PERIODS}")]
    TooManyPeriods {
        /// What was given.
        periods: u32,
    },
}

impl BgNbd {
    /// How many repeat purchases a cohort will have made by the end of each of so many periods of one length, on average
    /// and all customers together. Periods are counted from time 0.
    ///
    /// A cohort is given by the times of first purchases, counted from time 0, each with the number of customers; their
    /// order does not matter, to the last bit. A customer counts from the first purchase on.
    ///
    /// # Errors
    ///
    /// Times, the end of the last period included, are between 0 and [`MAX_TIME`](crate::MAX_TIME). There are at most
    /// [`MAX_PERIODS`] and [`MAX_STARTS`] different times of first purchases.
    pub fn expected_cohort_purchases(
        &self,
        first_purchases: impl IntoIterator<Item = (f64, u32)>,
        period: f64,
        periods: u32,
    ) -> Result<Vec<f64>, CohortError> {
        if periods > MAX_PERIODS {
            return Err(CohortError::TooManyPeriods { periods });
        }
        time(period)?;
        time(period * f64::from(periods))?;
        let starts = starts(first_purchases)?;
        let expected = |end: f64| {
            let begun = starts.iter().filter(|(start, _)| *start < end);
            begun
                .map(|(start, customers)| {
                    customers * purchases_while_alive(self.a, self.b, self.r, (end - start) / self.alpha)
                })
                .sum()
        };
        Ok((1..=periods).map(|number| expected(period * f64::from(number))).collect())
    }
}

/// Customers by the time of their first purchase, in order.
fn starts(first_purchases: impl IntoIterator<Item = (f64, u32)>) -> Result<Vec<(f64, f64)>, CohortError> {
    let mut starts = Vec::new();
    for (start, customers) in first_purchases {
        starts.push((time(start)? + 0.0, f64::from(customers)));
        if starts.len() >= 2 * MAX_STARTS {
            merge(&mut starts)?;
        }
    }
    merge(&mut starts)?;
    Ok(starts)
}

fn merge(starts: &mut Vec<(f64, f64)>) -> Result<(), CohortError> {
    starts.sort_unstable_by(|(left, _), (right, _)| left.total_cmp(right));
    starts.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 += next.1;
        }
        same
    });
    if starts.len() > MAX_STARTS { Err(CohortError::TooManyStarts) } else { Ok(()) }
}
