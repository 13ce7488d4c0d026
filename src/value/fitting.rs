//! How models are fitted to what customers bought, and measured on what they bought then. It is pure.

use jiff::Timestamp;
use jiff::civil::Date;
use purchase_models::{BgNbd, Fit, FitError, GammaGamma, PurchaseSummary, SpendSummary};

use super::model::{capped, purchases_of, spend_summary, weeks};
use crate::book::{Figure, Holdout, PurchaseParameters, SpendParameters};
use crate::error::{Defect, Reason, Refusal};
use crate::money::Currency;

/// How many different histories a model takes.
pub(super) const MAX_HISTORIES: usize = purchase_models::MAX_GROUPS;

/// Which purchases are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Customers who first bought before are left out; none, if absent.
    pub(super) from: Option<Date>,
    /// The first day that is not learned from.
    pub(super) learned_until: Date,
    /// The first day that is not looked at.
    pub(super) until: Date,
    /// What was recorded by then.
    pub(super) as_of: Timestamp,
}

impl Window {
    /// How many days are kept to measure on.
    pub(super) fn holdout_days(&self) -> i32 {
        (self.until - self.learned_until).get_days()
    }
}

/// A history, and how many customers have it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Learned {
    /// On how many days they bought after the first.
    pub(super) repeats: i64,
    /// How many days after the first the last of these was.
    pub(super) last_after: i32,
    /// How many days there were from the first to the last that is learned from.
    pub(super) watched: i32,
    /// What they spent on these days, without the first, in minor units.
    pub(super) repeat_spend: f64,
    /// On how many of the days that are not learned from they bought.
    pub(super) after: i64,
    /// How many customers.
    pub(super) customers: i64,
}

impl Learned {
    fn summary(&self) -> Result<PurchaseSummary, Defect> {
        let summary = PurchaseSummary::new(capped(self.repeats), weeks(self.last_after), weeks(self.watched));
        summary.map_err(|error| Defect::new(format!("what a customer bought: {error}")))
    }

    /// What a day of theirs cost; none where they bought once, or for nothing.
    fn spend(&self, currency: Currency) -> Option<SpendSummary> {
        spend_summary(self.repeats, self.repeat_spend, currency).ok()
    }

    fn customers(&self) -> u32 {
        u32::try_from(self.customers).unwrap_or(u32::MAX)
    }
}

/// What was fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FittedModels {
    pub(super) customers: i64,
    pub(super) repeat_buyers: i64,
    pub(super) purchases: PurchaseParameters,
    pub(super) spend: Option<SpendParameters>,
    pub(super) holdout: Option<Holdout>,
}

/// Fits both models, and measures the first on the days that it did not learn from.
///
/// # Errors
/// A refusal if what customers bought tells too little.
pub(super) fn fit(learned: &[Learned], window: &Window, currency: Currency) -> Result<FittedModels, FittingError> {
    let purchases = fit_purchases(learned)?;
    let spends = learned.iter().filter_map(|it| Some((it.spend(currency)?, it.customers())));
    // A program whose customers bought too little again still has a model of when they buy.
    let spend = GammaGamma::fit(spends).ok().map(spend_parameters).transpose()?;
    let repeat_buyers = learned.iter().filter(|it| it.repeats > 0).map(|it| it.customers).sum();
    Ok(FittedModels {
        customers: learned.iter().map(|it| it.customers).sum(),
        repeat_buyers,
        purchases: purchase_parameters(&purchases)?,
        spend,
        holdout: measure(&purchases.model, learned, window.holdout_days())?,
    })
}

/// Why nothing was fitted.
#[derive(Debug)]
pub(super) enum FittingError {
    /// What customers bought tells too little, or too much.
    Refused(Refusal),
    /// What was read cannot be.
    Defect(Defect),
}

impl From<Defect> for FittingError {
    fn from(defect: Defect) -> Self {
        Self::Defect(defect)
    }
}

impl From<FittingError> for crate::error::Error {
    fn from(error: FittingError) -> Self {
        match error {
            FittingError::Refused(refusal) => refusal.into(),
            FittingError::Defect(defect) => defect.into(),
        }
    }
}

/// Fits the model of when customers buy and when they stop.
///
/// # Errors
/// As of [`fit`].
pub(super) fn fit_purchases(learned: &[Learned]) -> Result<Fit<BgNbd>, FittingError> {
    let customers: i64 = learned.iter().map(|it| it.customers).sum();
    let refused = |error: &FitError| {
        let refusal = Refusal::new(Reason::ValueModelNotFitted, format!("no model was fitted: {error}"));
        FittingError::Refused(refusal.with("customers", customers))
    };
    if learned.len() > MAX_HISTORIES {
        return Err(refused(&FitError::TooManyGroups));
    }
    let summaries: Vec<(PurchaseSummary, u32)> =
        learned.iter().map(|it| Ok((it.summary()?, it.customers()))).collect::<Result<_, Defect>>()?;
    BgNbd::fit(summaries).map_err(|error| refused(&error))
}

fn purchase_parameters(fit: &Fit<BgNbd>) -> Result<PurchaseParameters, Defect> {
    Ok(PurchaseParameters {
        r: figure(fit.model.r())?,
        alpha: figure(fit.model.alpha())?,
        a: figure(fit.model.a())?,
        b: figure(fit.model.b())?,
        log_likelihood: figure(fit.log_likelihood)?,
    })
}

fn spend_parameters(fit: Fit<GammaGamma>) -> Result<SpendParameters, Defect> {
    Ok(SpendParameters {
        p: figure(fit.model.p())?,
        q: figure(fit.model.q())?,
        gamma: figure(fit.model.gamma())?,
        log_likelihood: figure(fit.log_likelihood)?,
        customers: i64::try_from(fit.customers).unwrap_or(i64::MAX),
    })
}

fn figure(number: f64) -> Result<Figure, Defect> {
    Figure::new(number).ok_or_else(|| Defect::new(format!("a model has the figure {number}")))
}

/// How a model did on days that it had not learned from; nothing, if there are none.
fn measure(model: &BgNbd, learned: &[Learned], days: i32) -> Result<Option<Holdout>, Defect> {
    if days == 0 {
        return Ok(None);
    }
    let (mut bought, mut expected, mut error, mut customers) = (0_i64, 0.0, 0.0, 0.0);
    // In one order, whatever the database's is: so sums are the same to the last bit.
    let mut ordered: Vec<&Learned> = learned.iter().collect();
    ordered.sort_unstable_by_key(|it| (it.repeats, it.last_after, it.watched, it.after));
    for it in ordered {
        let count = f64::from(it.customers());
        let own = purchases_of(model, &it.summary()?, weeks(days))?;
        bought = bought.saturating_add(it.after.saturating_mul(it.customers));
        expected += own * count;
        error += (own - f64::from(capped(it.after))).abs() * count;
        customers += count;
    }
    let (expected, mean_error) = (figure(expected)?, figure(error / f64::max(customers, 1.0))?);
    Ok(Some(Holdout { days, bought, expected, mean_error }))
}

/// How well a rule told who leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RuleResult {
    /// Of how many it said so.
    pub(super) warned: i64,
    /// How many of those left.
    pub(super) right: i64,
}

impl RuleResult {
    fn add(&mut self, warns: bool, left: bool, customers: i64) {
        self.warned += if warns { customers } else { 0 };
        self.right += if warns && left { customers } else { 0 };
    }

    /// The share of those warned of who left.
    pub(super) fn precision(self) -> Option<f64> {
        share(self.right, self.warned)
    }

    /// The share of those who left that were warned of.
    pub(super) fn recall(self, left: i64) -> Option<f64> {
        share(self.right, left)
    }

    /// How many times as many left as of all.
    pub(super) fn lift(self, left: i64, customers: i64) -> Option<f64> {
        Some(self.precision()? / share(left, customers).filter(|share| *share > 0.0)?)
    }
}

/// A part of a whole; none of nothing.
#[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
pub(super) fn share(part: i64, whole: i64) -> Option<f64> {
    (whole != 0).then(|| part as f64 / whole as f64)
}

/// By what rules somebody is said to leave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rules {
    /// By a lower probability that they are still a customer.
    pub(super) alive_below: f64,
    /// By fewer days of purchases that are expected.
    pub(super) expected_below: f64,
    /// By so many weeks without a purchase.
    pub(super) silent_weeks: i32,
}

/// How well rules would have told who leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backtest {
    pub(super) customers: i64,
    /// How many bought nothing on the days that were foretold.
    pub(super) left: i64,
    pub(super) alive: RuleResult,
    pub(super) expected: RuleResult,
    pub(super) silent: RuleResult,
}

/// Lays what rules say of customers beside what they did then.
///
/// # Errors
/// As of [`fit`].
pub(super) fn backtest(learned: &[Learned], window: &Window, rules: &Rules) -> Result<Backtest, FittingError> {
    let model = fit_purchases(learned)?.model;
    let mut test = Backtest::default();
    for it in learned {
        let (summary, left) = (it.summary()?, it.after == 0);
        let expected = purchases_of(&model, &summary, weeks(window.holdout_days()))?;
        test.customers += it.customers;
        test.left += if left { it.customers } else { 0 };
        test.alive.add(model.probability_alive(&summary) < rules.alive_below, left, it.customers);
        test.expected.add(expected < rules.expected_below, left, it.customers);
        test.silent.add(it.watched - it.last_after >= rules.silent_weeks.saturating_mul(7), left, it.customers);
    }
    Ok(test)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn window() -> Window {
        let (learned_until, until) = (date(2026, 3, 1), date(2026, 4, 1));
        Window { from: None, learned_until, until, as_of: Timestamp::UNIX_EPOCH }
    }

    /// Half of the customers buy each tenth day until the end and go on, half stop on the twentieth.
    fn learned() -> Vec<Learned> {
        let of = |repeats: i64, last_after, after| Learned {
            repeats,
            last_after,
            watched: 100,
            repeat_spend: 0.0,
            after,
            customers: 40,
        };
        vec![of(10, 100, 3), of(2, 20, 0), of(0, 0, 0)]
    }

    #[test]
    fn too_few_customers_have_no_model_and_spend_of_nothing_has_none() {
        let few = [Learned { customers: 49, ..learned()[0] }];
        let refused = fit(&few, &window(), Currency::parse("USD").unwrap());
        assert!(
            matches!(refused, Err(FittingError::Refused(refusal)) if refusal.reason == Reason::ValueModelNotFitted)
        );
        let fitted = fit(&learned(), &window(), Currency::parse("USD").unwrap()).unwrap();
        assert_eq!((fitted.customers, fitted.repeat_buyers, fitted.spend), (120, 80, None));
        let holdout = fitted.holdout.unwrap();
        assert_eq!((holdout.days, holdout.bought), (31, 120));
        assert!(holdout.mean_error.get() < 1.0 && holdout.expected.get() > 60.0, "{holdout:?}");
    }

    #[test]
    fn rules_are_measured_by_whom_they_warn_of_and_who_left() {
        let rules = Rules { alive_below: 0.5, expected_below: 1.0, silent_weeks: 11 };
        let test = backtest(&learned(), &window(), &rules).unwrap();
        assert_eq!((test.customers, test.left), (120, 80));
        // One who never bought again is alive, as this model has it.
        assert_eq!(test.alive, RuleResult { warned: 40, right: 40 });
        assert_eq!(test.expected, RuleResult { warned: 80, right: 80 });
        assert_eq!(test.silent, RuleResult { warned: 80, right: 80 });
        assert_eq!((test.silent.precision(), test.silent.recall(80)), (Some(1.0), Some(1.0)));
        assert_eq!((test.alive.recall(80), test.alive.lift(80, 120)), (Some(0.5), Some(1.5)));
        let later = Rules { silent_weeks: 12, ..rules };
        assert_eq!(backtest(&learned(), &window(), &later).unwrap().silent, RuleResult { warned: 40, right: 40 });
        assert_eq!((RuleResult::default().precision(), RuleResult::default().recall(0)), (None, None));
    }
}
