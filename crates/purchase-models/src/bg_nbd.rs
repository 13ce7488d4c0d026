//! The BG/NBD model: its parameters, and how they are found. What it predicts stands in its modules.

pub(crate) mod cohort;
mod likelihood;
mod predict;

use self::likelihood::Scaled;
use crate::bounds::{MAX_ALPHA, MAX_PARAMETER, MIN_ALPHA, MIN_PARAMETER, ParameterError, parameter};
use crate::fit::{Fit, FitError, Groups, MIN_CUSTOMERS};
use crate::optimum::minimize;
use crate::summary::PurchaseSummary;

/// How often customers buy and when they stop, by four parameters.
///
/// The customer's rate of purchases, while alive, is gamma distributed with shape `r` and rate `alpha`. The chance to be
/// gone after a repeat purchase is beta distributed with `a` and `b`. A customer who never bought again is alive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BgNbd {
    r: f64,
    alpha: f64,
    a: f64,
    b: f64,
}

impl BgNbd {
    /// The model with known parameters. `alpha` is a time, the others have no unit.
    ///
    /// # Errors
    ///
    /// `r`, `a` and `b` are between [`MIN_PARAMETER`] and [`MAX_PARAMETER`], `alpha` is between [`MIN_ALPHA`] and
    /// [`MAX_ALPHA`].
    pub fn new(r: f64, alpha: f64, a: f64, b: f64) -> Result<Self, ParameterError> {
        Ok(Self {
            r: parameter("r", r, MIN_PARAMETER, MAX_PARAMETER)?,
            alpha: parameter("alpha", alpha, MIN_ALPHA, MAX_ALPHA)?,
            a: parameter("a", a, MIN_PARAMETER, MAX_PARAMETER)?,
            b: parameter("b", b, MIN_PARAMETER, MAX_PARAMETER)?,
        })
    }

    /// The model under which the histories of these customers are likeliest. Each history comes with the number of
    /// customers who have it; the same history may come again. All customers count, also those who never bought again.
    ///
    /// The order of customers does not matter, to the last bit. `alpha` is sought between [`MIN_PARAMETER`] and
    /// [`MAX_PARAMETER`] times the longest time for which a customer was watched.
    ///
    /// # Errors
    ///
    /// There are at least [`MIN_CUSTOMERS`], somebody has bought again, there are at most
    /// [`MAX_GROUPS`](crate::MAX_GROUPS) different histories, and the search for the parameters comes to an end.
    pub fn fit(customers: impl IntoIterator<Item = (PurchaseSummary, u32)>) -> Result<Fit<Self>, FitError> {
        let groups = Groups::count(customers)?;
        groups.at_least(MIN_CUSTOMERS)?;
        if groups.groups.iter().all(|group| group.member.repeat_purchases() == 0) {
            return Err(FitError::NoRepeatPurchase);
        }
        let scaled = Scaled::new(&groups);
        let optimum = minimize(&|parameters| scaled.objective(parameters));
        let [r, alpha, a, b] = optimum.parameters;
        let model = Self { r, alpha: alpha * scaled.unit(), a, b };
        groups.fit(&optimum, model, scaled.log_likelihood(optimum.value))
    }

    /// The logarithm of the likelihood of the histories of these customers, under this model.
    ///
    /// # Errors
    ///
    /// There are at most [`MAX_GROUPS`](crate::MAX_GROUPS) different histories.
    pub fn log_likelihood(&self, customers: impl IntoIterator<Item = (PurchaseSummary, u32)>) -> Result<f64, FitError> {
        let groups = Groups::count(customers)?;
        if groups.customers == 0 {
            return Ok(0.0);
        }
        let scaled = Scaled::new(&groups);
        let (value, _) = scaled.objective([self.r, self.alpha / scaled.unit(), self.a, self.b]);
        Ok(scaled.log_likelihood(value))
    }

    /// The shape of the distribution of rates: the smaller, the more customers differ in how often they buy.
    pub fn r(&self) -> f64 {
        self.r
    }

    /// The rate of the distribution of rates, a time: `r / alpha` purchases are made in a unit of time, on average.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// The first parameter of the distribution of chances to be gone, whose mean is `a / (a + b)`.
    pub fn a(&self) -> f64 {
        self.a
    }

    /// The second parameter of the distribution of chances to be gone.
    pub fn b(&self) -> f64 {
        self.b
    }
}
