//! The Gamma–Gamma model: its parameters, how they are found, and what it says of a customer.

mod likelihood;

use self::likelihood::Scaled;
use crate::bounds::{MAX_AMOUNT, MAX_PARAMETER, MIN_AMOUNT, MIN_PARAMETER, ParameterError, parameter};
use crate::fit::{Fit, FitError, Groups, MIN_REPEAT_BUYERS};
use crate::optimum::minimize;
use crate::summary::SpendSummary;

/// What customers pay for a purchase, by three parameters.
///
/// The amounts of one customer are gamma distributed with shape `p` around the customer's own mean; the rate of that
/// distribution is itself gamma distributed over customers, with shape `q` and rate `gamma`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GammaGamma {
    p: f64,
    q: f64,
    gamma: f64,
}

/// The distribution of means over customers has no mean: a few of them may pay any amount. Nothing can be expected then,
/// whatever more data would say; more data may also lead to other parameters.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("the spend of customers has no mean under a model with q = {q}")]
pub struct NoMean {
    /// The parameter of the model.
    pub q: f64,
}

impl GammaGamma {
    /// The model with known parameters. `gamma` is an amount, the others have no unit.
    ///
    /// # Errors
    ///
    /// `p` and `q` are between [`MIN_PARAMETER`] and [`MAX_PARAMETER`], `gamma` is between [`MIN_AMOUNT`] times the former
    /// and [`MAX_AMOUNT`] times the latter.
    pub fn new(p: f64, q: f64, gamma: f64) -> Result<Self, ParameterError> {
        Ok(Self {
            p: parameter("p", p, MIN_PARAMETER, MAX_PARAMETER)?,
            q: parameter("q", q, MIN_PARAMETER, MAX_PARAMETER)?,
            gamma: parameter("gamma", gamma, MIN_AMOUNT * MIN_PARAMETER, MAX_AMOUNT * MAX_PARAMETER)?,
        })
    }

    /// The model under which the mean amounts of these customers are likeliest. Each comes with the number of customers
    /// who have it; the same may come again. They are those who bought again: of the others, the model knows the mean of
    /// all.
    ///
    /// The order of customers does not matter, to the last bit. `gamma` is sought between [`MIN_PARAMETER`] and
    /// [`MAX_PARAMETER`] times the mean of all customers' means.
    ///
    /// # Errors
    ///
    /// There are at least [`MIN_REPEAT_BUYERS`], at most [`MAX_GROUPS`](crate::MAX_GROUPS) different histories, and the
    /// search for the parameters comes to an end.
    pub fn fit(customers: impl IntoIterator<Item = (SpendSummary, u32)>) -> Result<Fit<Self>, FitError> {
        let groups = Groups::count(customers)?;
        groups.at_least(MIN_REPEAT_BUYERS)?;
        let scaled = Scaled::new(&groups);
        let optimum = minimize(&|parameters| scaled.objective(parameters));
        let [p, q, gamma] = optimum.parameters;
        let model = Self { p, q, gamma: gamma * scaled.unit() };
        groups.fit(&optimum, model, scaled.log_likelihood(optimum.value))
    }

    /// The logarithm of the likelihood of the mean amounts of these customers, under this model.
    ///
    /// # Errors
    ///
    /// There are at most [`MAX_GROUPS`](crate::MAX_GROUPS) different histories.
    pub fn log_likelihood(&self, customers: impl IntoIterator<Item = (SpendSummary, u32)>) -> Result<f64, FitError> {
        let groups = Groups::count(customers)?;
        if groups.customers == 0 {
            return Ok(0.0);
        }
        let scaled = Scaled::new(&groups);
        let (value, _) = scaled.objective([self.p, self.q, self.gamma / scaled.unit()]);
        Ok(scaled.log_likelihood(value))
    }

    /// What a purchase of the customer will cost, on average: a mean of what the customer paid and of what all customers
    /// pay, in which the former counts the more, the more purchases there were. Without a history, it is the latter.
    ///
    /// # Errors
    ///
    /// [`NoMean`], if `q` is at most 1 and there is too short a history to make up for it.
    pub fn expected_spend(&self, history: Option<&SpendSummary>) -> Result<f64, NoMean> {
        let (purchases, mean) = history.map_or((0.0, 0.0), |paid| (f64::from(paid.purchases()), paid.mean()));
        let weight = self.p * purchases + self.q - 1.0;
        let spend = self.p * (self.gamma + purchases * mean) / weight;
        if weight > 0.0 && spend.is_finite() { Ok(spend) } else { Err(NoMean { q: self.q }) }
    }

    /// The shape of the distribution of a customer's amounts: the greater, the less they vary.
    pub fn p(&self) -> f64 {
        self.p
    }

    /// The shape of the distribution over customers: the greater, the less they differ.
    pub fn q(&self) -> f64 {
        self.q
    }

    /// The rate of the distribution over customers, an amount: on average, a purchase costs `p · gamma / (q − 1)`.
    pub fn gamma(&self) -> f64 {
        self.gamma
    }
}
