//! What customers will buy: two models of repeat purchases and of what they cost, and the lifetime value that follows.
//!
//! [`BgNbd`] is the model of Fader, Hardie and Lee ("Counting Your Customers" the Easy Way, Marketing Science 24(2),
//! 2005). While a customer is alive, purchases come at random at the customer's own rate. After each of them the customer
//! may be gone for good, by a chance of the customer's own. Rates are gamma distributed over customers (`r`, `alpha`),
//! chances to be gone beta distributed (`a`, `b`). Nobody tells the shop who is gone; the model tells how likely it is.
//!
//! [`GammaGamma`] is the model of what a purchase costs (Fader and Hardie, "The Gamma-Gamma Model of Monetary Value",
//! 2013): amounts vary around a mean of the customer's own, and means vary over customers, regardless of how often they
//! buy.
//!
//! [`lifetime_value()`] multiplies both and discounts what lies ahead.
//!
//! # Units
//!
//! Times are numbers of any one unit: weeks, days. All times that meet one model must have the same. Amounts are numbers
//! of any one currency. A customer's time begins with the first purchase, which is therefore no repeat purchase.
//!
//! # Promises
//!
//! - **A fit depends on the customers alone, not on their order.** Customers with the same history are counted, and the
//!   groups are sorted before anything is added up, so that the parameters are the same to the last bit. That holds on one
//!   machine: the mathematical functions of another system may differ in the last bits.
//! - **Work is bounded.** Groups, iterations, periods and terms of series have limits, which are public where a caller can
//!   meet them.
//! - **Every answer is a finite number, or an error says why there is none**, whatever history the types of this crate
//!   allow.
//! - **No clock, no randomness, no threads, no input or output.**
//!
//! # Why another crate
//!
//! No crate for these models was found; the packages for them are in R and Python.
//!
//! # Example
//!
//! ```
//! use purchase_models::{BgNbd, GammaGamma, Horizon, PurchaseSummary, SpendSummary, lifetime_value};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let purchases = BgNbd::new(0.243, 4.414, 0.793, 2.426)?; // in weeks
//! let spend = GammaGamma::new(6.25, 3.74, 15.44)?;
//! let customer = PurchaseSummary::new(2, 30.43, 38.86)?; // twice again, last in week 30, in almost 39 weeks
//! let history = SpendSummary::new(2, 22.35)?;
//!
//! assert!((purchases.probability_alive(&customer) - 0.73).abs() < 0.01);
//! assert!((purchases.expected_purchases(&customer, 39.0)? - 1.226).abs() < 0.001);
//! let year = Horizon::new(52, 1.0, 0.002)?;
//! let value = lifetime_value(&purchases, &spend, &customer, Some(&history), &year)?;
//! assert!(value > 20.0 && value < 50.0);
//! # Ok(())
//! # }
//! ```

mod bg_nbd;
mod bounds;
mod fit;
mod gamma_gamma;
mod lifetime_value;
mod optimum;
mod special;
mod summary;

pub use self::bg_nbd::BgNbd;
pub use self::bg_nbd::cohort::{CohortError, MAX_STARTS};
pub use self::bounds::{
    MAX_ALPHA, MAX_AMOUNT, MAX_PARAMETER, MAX_PERIODS, MAX_PURCHASES, MAX_TIME, MIN_ALPHA, MIN_AMOUNT, MIN_PARAMETER,
    MIN_TIME, ParameterError, TimeError,
};
pub use self::fit::{Fit, FitError, MAX_GROUPS, MAX_ITERATIONS, MIN_CUSTOMERS, MIN_REPEAT_BUYERS};
pub use self::gamma_gamma::{GammaGamma, NoMean};
pub use self::lifetime_value::{Horizon, HorizonError, MAX_DISCOUNT_RATE, discounted_purchases, lifetime_value};
pub use self::summary::{PurchaseSummary, SpendSummary, SummaryError};
