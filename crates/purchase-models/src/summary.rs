//! What the models need to know of a customer.

use crate::bounds::{MAX_AMOUNT, MAX_PURCHASES, MAX_TIME, MIN_AMOUNT, MIN_TIME};

/// When a customer bought: how often again, when last, and for how long the customer has been watched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PurchaseSummary {
    repeat_purchases: u32,
    last_purchase: f64,
    observed: f64,
}

/// How much a customer paid: over how many purchases, and the mean of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpendSummary {
    purchases: u32,
    mean: f64,
}

/// Why there is no customer with such numbers.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum SummaryError {
    /// More purchases than [`MAX_PURCHASES`].
    #[error("{purchases} purchases are more than the {MAX_PURCHASES} that one customer can have")]
    TooManyPurchases {
        /// What was given.
        purchases: u32,
    },
    /// A time is negative, no number, too long, or so short that it must be meant as zero.
    #[error("a time is {time}, but must be 0, or between {MIN_TIME:e} and {MAX_TIME:e}")]
    Time {
        /// What was given.
        time: f64,
    },
    /// The last purchase comes after the end of what was watched.
    #[error("the last purchase at {last_purchase} comes after the {observed} for which the customer was watched")]
    LastAfterEnd {
        /// When the last purchase was made.
        last_purchase: f64,
        /// For how long the customer was watched.
        observed: f64,
    },
    /// Who never bought again has no time of a last repeat purchase, and who did bought after the first purchase.
    #[error(
        "the last of {repeat_purchases} repeat purchases was made {last_purchase} after the first: zero goes with zero"
    )]
    ZeroWithoutZero {
        /// How many repeat purchases were given.
        repeat_purchases: u32,
        /// When the last of them was made.
        last_purchase: f64,
    },
    /// A mean of no purchases.
    #[error("a mean spend needs at least one purchase")]
    NoPurchase,
    /// The mean amount is not positive, no number, or too great.
    #[error("a mean amount is {mean}, but must be between {MIN_AMOUNT:e} and {MAX_AMOUNT:e}")]
    Amount {
        /// What was given.
        mean: f64,
    },
}

impl PurchaseSummary {
    /// A customer who bought `repeat_purchases` times after the first purchase (`x`), for the last time `last_purchase`
    /// after the first (`t_x`), and was watched for `observed` since the first (`T`), all times in one unit.
    ///
    /// Purchases at the same time count as one, because the model has no two at one time; a shop that knows days alone
    /// counts the days on which the customer bought.
    ///
    /// # Errors
    ///
    /// Times are 0, or between [`MIN_TIME`] and [`MAX_TIME`], the last purchase comes no later than the end, there are at
    /// most [`MAX_PURCHASES`], and the last purchase is at 0 exactly if nothing was bought again.
    pub fn new(repeat_purchases: u32, last_purchase: f64, observed: f64) -> Result<Self, SummaryError> {
        if repeat_purchases > MAX_PURCHASES {
            return Err(SummaryError::TooManyPurchases { purchases: repeat_purchases });
        }
        for time in [last_purchase, observed] {
            if time != 0.0 && !(MIN_TIME..=MAX_TIME).contains(&time) {
                return Err(SummaryError::Time { time });
            }
        }
        if last_purchase > observed {
            return Err(SummaryError::LastAfterEnd { last_purchase, observed });
        }
        if (repeat_purchases == 0) != (last_purchase == 0.0) {
            return Err(SummaryError::ZeroWithoutZero { repeat_purchases, last_purchase });
        }
        // Adding zero turns a negative zero into the positive one, so that equal customers have equal bits.
        Ok(Self { repeat_purchases, last_purchase: last_purchase + 0.0, observed: observed + 0.0 })
    }

    /// How often the customer bought after the first purchase: `x`.
    pub fn repeat_purchases(&self) -> u32 {
        self.repeat_purchases
    }

    /// The time from the first purchase to the last: `t_x`. Zero if there is only one.
    pub fn last_purchase(&self) -> f64 {
        self.last_purchase
    }

    /// The time from the first purchase to the end of what was watched: `T`.
    pub fn observed(&self) -> f64 {
        self.observed
    }
}

impl SpendSummary {
    /// A customer who paid `mean` on average over `purchases`.
    ///
    /// Which purchases they are is for the caller to say, in one way for all customers. Fader and Hardie take the repeat
    /// purchases alone, so that `purchases` is `x` of [`PurchaseSummary`].
    ///
    /// # Errors
    ///
    /// There is at least one purchase and at most [`MAX_PURCHASES`]; the mean is between [`MIN_AMOUNT`] and
    /// [`MAX_AMOUNT`]. Somebody who only ever paid nothing is nobody whom the model can describe.
    pub fn new(purchases: u32, mean: f64) -> Result<Self, SummaryError> {
        if purchases == 0 {
            return Err(SummaryError::NoPurchase);
        }
        if purchases > MAX_PURCHASES {
            return Err(SummaryError::TooManyPurchases { purchases });
        }
        if !(MIN_AMOUNT..=MAX_AMOUNT).contains(&mean) {
            return Err(SummaryError::Amount { mean });
        }
        Ok(Self { purchases, mean })
    }

    /// Over how many purchases the mean was taken.
    pub fn purchases(&self) -> u32 {
        self.purchases
    }

    /// The mean amount of these purchases.
    pub fn mean(&self) -> f64 {
        self.mean
    }
}
