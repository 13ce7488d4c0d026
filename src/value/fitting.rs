//! How models are fitted to what customers bought, and measured on what they bought then. It is pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use purchase_models::{BgNbd, Fit, GammaGamma, PurchaseSummary};

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

/// When customers with one history bought, in days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct History {
    /// On how many days they bought after the first.
    pub(super) repeats: i64,
    /// How many days after the first the last of these was.
    pub(super) last_after: i32,
    /// How many days there were from the first to the last that is learned from.
    pub(super) watched: i32,
    /// On how many of the days that are not learned from they bought.
    pub(super) after: i64,
}

/// What customers bought, as models learn it: how many have each history, in one order whatever the database's is, so that
/// sums are the same to the last bit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Learned {
    histories: BTreeMap<History, i64>,
    /// How many spent so much on so many days after the first, in minor units; nothing, if that is too many to learn from.
    spends: Option<BTreeMap<(i64, i64), i64>>,
    customers: i64,
    is_too_much: bool,
}

impl Learned {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self { spends: Some(BTreeMap::new()), ..Self::default() }
    }

    /// Adds customers with a history, who spent so much after the first day. What is kept of them has a bound.
    pub(super) fn add(&mut self, history: History, repeat_spend: i64, customers: i64) {
        self.customers += customers;
        if self.is_too_much {
            return;
        }
        *self.histories.entry(history).or_default() += customers;
        if self.histories.len() > MAX_HISTORIES {
            self.is_too_much = true;
            self.histories.clear();
            self.spends = None;
        }
        if let Some(spends) = self.spends.as_mut().filter(|_| history.repeats > 0 && repeat_spend > 0) {
            *spends.entry((history.repeats, repeat_spend)).or_default() += customers;
            if spends.len() > MAX_HISTORIES {
                self.spends = None;
            }
        }
    }
}

impl History {
    fn summary(&self) -> Result<PurchaseSummary, Defect> {
        let summary = PurchaseSummary::new(capped(self.repeats), weeks(self.last_after), weeks(self.watched));
        summary.map_err(|error| Defect::new(format!("what a customer bought: {error}")))
    }
}

fn count(customers: i64) -> u32 {
    u32::try_from(customers).unwrap_or(u32::MAX)
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
pub(super) fn fit(learned: &Learned, window: &Window, currency: Currency) -> Result<FittedModels, FittingError> {
    let purchases = fit_purchases(learned)?;
    let spends = learned.spends.iter().flatten().filter_map(|((days, spend), customers)| {
        Some((spend_summary(*days, *spend, currency).ok()?, count(*customers)))
    });
    // A program whose customers bought too little again, or too much, still has a model of when they buy.
    let spend = GammaGamma::fit(spends).ok().map(spend_parameters).transpose()?;
    let repeat_buyers = learned.histories.iter().filter(|(it, _)| it.repeats > 0).map(|(_, customers)| customers).sum();
    Ok(FittedModels {
        customers: learned.customers,
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
pub(super) fn fit_purchases(learned: &Learned) -> Result<Fit<BgNbd>, FittingError> {
    let refused = |why: String| {
        let refusal = Refusal::new(Reason::ValueModelNotFitted, format!("no model was fitted: {why}"));
        FittingError::Refused(refusal.with("customers", learned.customers))
    };
    if learned.is_too_much {
        return Err(refused(format!("customers have more than {MAX_HISTORIES} different histories; say a later from")));
    }
    let summaries: Vec<(PurchaseSummary, u32)> = learned
        .histories
        .iter()
        .map(|(it, customers)| Ok((it.summary()?, count(*customers))))
        .collect::<Result<_, Defect>>()?;
    BgNbd::fit(summaries).map_err(|error| refused(error.to_string()))
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
fn measure(model: &BgNbd, learned: &Learned, days: i32) -> Result<Option<Holdout>, Defect> {
    if days == 0 {
        return Ok(None);
    }
    let (mut bought, mut expected, mut error, mut all) = (0_i64, 0.0, 0.0, 0.0);
    for (it, customers) in &learned.histories {
        let weight = f64::from(count(*customers));
        let own = purchases_of(model, &it.summary()?, weeks(days))?;
        bought = bought.saturating_add(it.after.saturating_mul(*customers));
        expected += own * weight;
        error += (own - f64::from(capped(it.after))).abs() * weight;
        all += weight;
    }
    let (expected, mean_error) = (figure(expected)?, figure(error / f64::max(all, 1.0))?);
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
pub(super) fn backtest(learned: &Learned, window: &Window, rules: &Rules) -> Result<Backtest, FittingError> {
    let model = fit_purchases(learned)?.model;
    let mut test = Backtest::default();
    for (it, customers) in &learned.histories {
        let (summary, left) = (it.summary()?, it.after == 0);
        let expected = purchases_of(&model, &summary, weeks(window.holdout_days()))?;
        test.customers += customers;
        test.left += if left { *customers } else { 0 };
        test.alive.add(model.probability_alive(&summary) < rules.alive_below, left, *customers);
        test.expected.add(expected < rules.expected_below, left, *customers);
        test.silent.add(it.watched - it.last_after >= rules.silent_weeks.saturating_mul(7), left, *customers);
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

    /// Of each three customers, one buys each tenth day until the end and goes on, one stops on the twentieth, one bought once.
    fn learned() -> Learned {
        let mut learned = Learned::new();
        for (repeats, last_after, after) in [(10, 100, 3), (2, 20, 0), (0, 0, 0)] {
            learned.add(History { repeats, last_after, watched: 100, after }, 0, 40);
        }
        learned
    }

    #[test]
    fn too_few_customers_have_no_model_and_spend_of_nothing_has_none() {
        let mut few = Learned::new();
        few.add(History { repeats: 10, last_after: 100, watched: 100, after: 3 }, 0, 49);
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

    #[test]
    fn what_is_learned_has_a_bound_and_more_is_refused() {
        let mut learned = Learned::new();
        for i in 0..=i32::try_from(MAX_HISTORIES).unwrap() {
            // More than differ in time differ in spend.
            let history = History { repeats: 1, last_after: 1 + i / 2, watched: i32::MAX, after: 0 };
            learned.add(history, i64::from(i) + 1, 1);
        }
        assert!(!learned.is_too_much && learned.spends.is_none());
        assert_eq!(learned.histories.len(), MAX_HISTORIES / 2 + 1);
        for i in 0..=i32::try_from(MAX_HISTORIES / 2).unwrap() {
            learned.add(History { repeats: 2, last_after: 1 + i, watched: i32::MAX, after: 0 }, 0, 1);
        }
        assert_eq!(learned.histories.len(), 0);
        let refused = fit_purchases(&learned);
        let is_told = |refusal: &Refusal| refusal.message.contains("2000000 different histories");
        assert!(matches!(refused, Err(FittingError::Refused(refusal)) if is_told(&refusal)));
    }
}
