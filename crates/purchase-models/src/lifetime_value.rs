//! What customers are worth: their purchases to come, each discounted by how far away it is, times what one costs.

use crate::bg_nbd::BgNbd;
use crate::bounds::{MAX_PERIODS, TimeError, time};
use crate::gamma_gamma::{GammaGamma, NoMean};
use crate::summary::{PurchaseSummary, SpendSummary};

/// The greatest rate of discount for a period: what is a period away then counts as an eleventh.
pub const MAX_DISCOUNT_RATE: f64 = 10.0;

/// How far to look ahead, in periods of one length, and how much less a purchase counts for each period it is away.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Horizon {
    periods: u32,
    period: f64,
    discount_rate: f64,
}

/// Why there is no such horizon.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum HorizonError {
    /// There is no period, or there are more than [`MAX_PERIODS`].
    #[error("a horizon has {periods} periods, but must have between 1 and {MAX_PERIODS}")]
    Periods {
        /// What was given.
        periods: u32,
    },
    /// A period is no time, or the end of the last is too far away.
    #[error(transparent)]
    Time(#[from] TimeError),
    /// The rate of discount is negative, no number, or too great.
    #[error("a discount rate is {discount_rate}, but must be between 0 and {MAX_DISCOUNT_RATE}")]
    DiscountRate {
        /// What was given.
        discount_rate: f64,
    },
}

impl Horizon {
    /// So many periods of `period` each, in the unit of time of the model. What a purchase counts is divided by
    /// `1 + discount_rate` for each period until it. All purchases of a period count as if they were made at its end.
    ///
    /// # Errors
    ///
    /// There are between 1 and [`MAX_PERIODS`], the last ends within [`MAX_TIME`](crate::MAX_TIME), and `discount_rate` is
    /// between 0 and [`MAX_DISCOUNT_RATE`].
    pub fn new(periods: u32, period: f64, discount_rate: f64) -> Result<Self, HorizonError> {
        if periods == 0 || periods > MAX_PERIODS {
            return Err(HorizonError::Periods { periods });
        }
        time(period)?;
        time(period * f64::from(periods))?;
        if !(0.0..=MAX_DISCOUNT_RATE).contains(&discount_rate) {
            return Err(HorizonError::DiscountRate { discount_rate });
        }
        Ok(Self { periods, period, discount_rate })
    }

    /// How many periods there are.
    pub fn periods(&self) -> u32 {
        self.periods
    }

    /// How long one is.
    pub fn period(&self) -> f64 {
        self.period
    }

    /// By how much what a purchase counts is divided for each period, less one.
    pub fn discount_rate(&self) -> f64 {
        self.discount_rate
    }
}

/// How many purchases the customer will make within the horizon, on average, each counting by how far away it is.
pub fn discounted_purchases(purchases: &BgNbd, customer: &PurchaseSummary, horizon: &Horizon) -> f64 {
    let (mut sum, mut before, mut factor) = (0.0, 0.0, 1.0);
    for number in 1..=horizon.periods {
        let until = purchases.purchases_within(customer, horizon.period * f64::from(number));
        factor /= 1.0 + horizon.discount_rate;
        // Expectations grow, but for the last digits.
        sum += factor * (until - before).max(0.0);
        before = until;
    }
    sum
}

/// What the customer will pay within the horizon, on average and discounted, in the currency of the model of spend: the
/// customer's [`discounted_purchases`], each at the customer's [`expected_spend`](GammaGamma::expected_spend). `history`
/// is what the customer paid for the purchases that the model of spend takes into account, if there are any.
///
/// # Errors
///
/// [`NoMean`], if the model of spend expects no amount.
pub fn lifetime_value(
    purchases: &BgNbd,
    spend: &GammaGamma,
    customer: &PurchaseSummary,
    history: Option<&SpendSummary>,
    horizon: &Horizon,
) -> Result<f64, NoMean> {
    Ok(discounted_purchases(purchases, customer, horizon) * spend.expected_spend(history)?)
}
