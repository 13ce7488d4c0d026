//! What a customer is worth: by what they bought, and by a model of what they will buy. It is pure.

use jiff::Timestamp;
use jiff::civil::Date;
use purchase_models::{BgNbd, GammaGamma, Horizon, PurchaseSummary, SpendSummary, SummaryError, discounted_purchases};

use crate::book::{PurchaseParameters, SpendParameters, ValueModel};
use crate::error::Defect;
use crate::money::{Currency, Money};
use crate::tiers::counting::DayCount;

const DAYS_OF_A_YEAR: f64 = 365.0;

/// Purchases of earlier days are not looked at, so that what is read of one customer has a bound.
pub(crate) const EARLIEST: Date = jiff::civil::date(1900, 1, 1);

/// A number of days, in weeks.
pub(super) fn weeks(days: i32) -> f64 {
    f64::from(days) / 7.0
}

/// How many purchases a model is told of.
pub(super) fn capped(purchases: i64) -> u32 {
    u32::try_from(purchases).unwrap_or(u32::MAX).min(purchase_models::MAX_PURCHASES)
}

/// What days cost that came after the first, by their number and all that was spent on them, in minor units.
///
/// # Errors
/// If there are none, or nothing was spent.
#[expect(clippy::cast_precision_loss, reason = "the model takes no more digits")]
pub(super) fn spend_summary(days: i64, spend: i64, currency: Currency) -> Result<SpendSummary, SummaryError> {
    let days = capped(days);
    SpendSummary::new(days, spend as f64 / f64::from(days.max(1)) / minor_per_major(currency))
}

/// How many minor units a unit of the currency has.
fn minor_per_major(currency: Currency) -> f64 {
    10_f64.powi(i32::try_from(currency.decimals()).unwrap_or(0))
}

/// What a customer bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PurchaseHistory {
    /// The first day of purchases, and the last.
    pub first: Date,
    pub last: Date,
    /// How many days of purchases there are.
    pub days: i64,
    /// How many purchases.
    pub purchases: i64,
    /// What was spent in all, and after the first day.
    pub spend: i64,
    pub repeat_spend: i64,
}

impl PurchaseHistory {
    /// By what was counted on days, in their order; none, if nothing was bought on any.
    pub(super) fn on(days: &[(Date, DayCount)]) -> Option<Self> {
        let mut bought: Option<Self> = None;
        for (day, count) in days.iter().filter(|(day, count)| count.visits > 0 && *day >= EARLIEST) {
            let before =
                bought.unwrap_or(Self { first: *day, last: *day, days: 0, purchases: 0, spend: 0, repeat_spend: 0 });
            let repeat = if *day == before.first { 0 } else { count.spend };
            bought = Some(Self {
                last: *day,
                days: before.days + 1,
                purchases: before.purchases.saturating_add(count.visits),
                spend: before.spend.saturating_add(count.spend),
                repeat_spend: before.repeat_spend.saturating_add(repeat),
                ..before
            });
        }
        bought
    }
}

/// What is scored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scored {
    /// The first day that counts to no class.
    pub(super) until: Date,
    /// The first day that does not count to what became of them either.
    pub(super) after_until: Date,
    pub(super) as_of: Timestamp,
    /// How many scores there are.
    pub(super) scores: i64,
}

/// A class with what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScoreClass {
    pub(super) recency: i64,
    pub(super) frequency: i64,
    pub(super) monetary: i64,
    pub(super) customers: i64,
    /// The earliest and the latest last day of purchases.
    pub(super) last: (Date, Date),
    /// The fewest and the most days of purchases.
    pub(super) days: (i64, i64),
    pub(super) spend: i64,
    pub(super) bought_afterwards: i64,
    pub(super) spend_afterwards: i64,
}

/// What a customer will buy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Forecast {
    pub version: i32,
    pub horizon_days: i32,
    /// How likely it is that they are still a customer.
    pub probability_alive: f64,
    /// On how many days they will buy.
    pub expected_days: f64,
    /// What such a day will cost, and what all of them are worth today; none, if the model cannot say.
    pub worth: Option<(Money, Money)>,
}

impl Forecast {
    /// By a model, on a day.
    ///
    /// # Errors
    /// If the model or the customer is out of all bounds.
    pub(super) fn of(
        model: &ValueModel,
        bought: &PurchaseHistory,
        today: Date,
        currency: Currency,
    ) -> Result<Self, Defect> {
        let impossible = |error: &dyn std::error::Error| Defect::new(format!("model {}: {error}", model.version));
        let purchases = read_purchases(&model.purchases)?;
        let last_after = (bought.last - bought.first).get_days();
        let watched = (today - bought.first).get_days().max(last_after);
        let repeats = bought.days - 1;
        let customer = PurchaseSummary::new(capped(repeats), weeks(last_after), weeks(watched));
        let customer = customer.map_err(|error| impossible(&error))?;
        let ahead = weeks(model.horizon_days);
        let worth = match &model.spend {
            None => None,
            Some(spend) => {
                let spend = read_spend(spend)?;
                let history = spend_summary(repeats, bought.repeat_spend, currency).ok();
                let horizon =
                    horizon_of(model.horizon_days, model.discount.get()).map_err(|error| impossible(&error))?;
                let days = discounted_purchases(&purchases, &customer, &horizon);
                // Where spend has no mean, nothing can be expected.
                let each = spend.expected_spend(history.as_ref()).ok();
                each.map(|each| (into_money(each, currency), into_money(each * days, currency)))
            }
        };
        Ok(Self {
            version: model.version,
            horizon_days: model.horizon_days,
            probability_alive: purchases.probability_alive(&customer),
            expected_days: purchases_of(&purchases, &customer, ahead)?,
            worth,
        })
    }
}

/// How many days of purchases are expected of a customer within so many weeks.
pub(super) fn purchases_of(model: &BgNbd, customer: &PurchaseSummary, weeks: f64) -> Result<f64, Defect> {
    model.expected_purchases(customer, weeks).map_err(|error| Defect::new(format!("a time ahead: {error}")))
}

/// So many days, in weeks or as near to weeks as divides them, each counting less by the discount of a year.
fn horizon_of(days: i32, discount: f64) -> Result<Horizon, purchase_models::HorizonError> {
    let periods = u32::try_from(days).unwrap_or(0).div_ceil(7).max(1);
    let period = weeks(days) / f64::from(periods);
    Horizon::new(periods, period, (1.0 + discount).powf(period * 7.0 / DAYS_OF_A_YEAR) - 1.0)
}

fn read_purchases(parameters: &PurchaseParameters) -> Result<BgNbd, Defect> {
    let PurchaseParameters { r, alpha, a, b, log_likelihood: _ } = parameters;
    let model = BgNbd::new(r.get(), alpha.get(), a.get(), b.get());
    model.map_err(|error| Defect::new(format!("a model of purchases: {error}")))
}

fn read_spend(parameters: &SpendParameters) -> Result<GammaGamma, Defect> {
    let SpendParameters { p, q, gamma, log_likelihood: _, customers: _ } = parameters;
    let model = GammaGamma::new(p.get(), q.get(), gamma.get());
    model.map_err(|error| Defect::new(format!("a model of spend: {error}")))
}

/// An amount in units of the currency, to the nearest minor unit; as much as can be told, where it is more.
#[expect(clippy::cast_possible_truncation, reason = "a cast from a float stops at the bounds")]
fn into_money(amount: f64, currency: Currency) -> Money {
    Money { currency, minor: (amount * minor_per_major(currency)).round() as i64 }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::book::Figure;

    fn figure(number: f64) -> Figure {
        Figure::new(number).unwrap()
    }

    /// The model that Fader, Hardie and Lee published for the CDNOW sample.
    fn cdnow() -> ValueModel {
        let log_likelihood = figure(-9_582.43);
        let (r, alpha, a, b) = (figure(0.242_6), figure(4.414), figure(0.793), figure(2.426));
        let (p, q, gamma) = (figure(6.25), figure(3.74), figure(15.44));
        ValueModel {
            version: 3,
            from: None,
            until: date(1997, 10, 1),
            as_of: Timestamp::UNIX_EPOCH,
            customers: 2_357,
            repeat_buyers: 946,
            purchases: PurchaseParameters { r, alpha, a, b, log_likelihood },
            spend: Some(SpendParameters { p, q, gamma, log_likelihood, customers: 946 }),
            holdout: None,
            horizon_days: 273,
            discount: figure(0.0),
        }
    }

    fn days(of: &[(Date, i64, i64)]) -> Vec<(Date, DayCount)> {
        of.iter()
            .map(|(day, visits, spend)| (*day, DayCount { visits: *visits, spend: *spend, ..DayCount::default() }))
            .collect()
    }

    #[test]
    fn what_was_bought_counts_days_and_leaves_out_those_that_were_refunded() {
        let (first, second, third) = (date(2026, 1, 1), date(2026, 1, 9), date(2026, 2, 1));
        let bought = PurchaseHistory::on(&days(&[(first, 2, 500), (second, 0, 0), (third, 1, 0)])).unwrap();
        let expected = PurchaseHistory { first, last: third, days: 2, purchases: 3, spend: 500, repeat_spend: 0 };
        assert_eq!(bought, expected);
        assert_eq!(PurchaseHistory::on(&days(&[(second, 0, 0)])), None);
    }

    /// The customer of the papers: two purchases more, the last in week 30.43, watched for 38.86.
    #[test]
    fn a_customer_is_foretold_as_the_papers_do() {
        let first = date(1997, 1, 1);
        let bought =
            PurchaseHistory { first, last: date(1997, 8, 2), days: 3, purchases: 3, spend: 7_402, repeat_spend: 4_469 };
        let usd = Currency::parse("USD").unwrap();
        let forecast = Forecast::of(&cdnow(), &bought, date(1997, 9, 30), usd).unwrap();
        assert_eq!((forecast.version, forecast.horizon_days), (3, 273));
        assert!((forecast.probability_alive - 0.73).abs() < 0.005, "{forecast:?}");
        assert!((forecast.expected_days - 1.226).abs() < 0.001, "{forecast:?}");
        let (each, all) = forecast.worth.unwrap();
        // Between what they spend, 22.35, and what all do, 35.22.
        assert_eq!(each.minor, 2_466);
        assert_eq!(all.minor, 3_023);
        let discounted = ValueModel { discount: figure(0.1), ..cdnow() };
        let less = Forecast::of(&discounted, &bought, date(1997, 9, 30), usd).unwrap().worth.unwrap().1;
        assert!(less.minor < all.minor && less.minor > all.minor * 9 / 10, "{less:?}");
        let without = ValueModel { spend: None, ..cdnow() };
        assert_eq!(Forecast::of(&without, &bought, date(1997, 9, 30), usd).unwrap().worth, None);
    }

    #[test]
    fn a_forecast_is_finite_for_the_busiest_and_for_a_clock_that_went_back() {
        let first = date(1997, 1, 1);
        let busy = PurchaseHistory {
            first,
            last: date(1998, 12, 26),
            days: 222,
            purchases: 9_000,
            spend: i64::MAX,
            repeat_spend: i64::MAX,
        };
        let jpy = Currency::parse("JPY").unwrap();
        for today in [date(1998, 12, 27), first, date(9999, 12, 31)] {
            let forecast = Forecast::of(&cdnow(), &busy, today, jpy).unwrap();
            assert!(forecast.expected_days.is_finite() && (0.0..=1.0).contains(&forecast.probability_alive));
        }
    }

    #[test]
    fn a_horizon_is_as_long_as_its_days() {
        for days in [1, 7, 8, 365, 3_650] {
            let horizon = horizon_of(days, 0.1).unwrap();
            assert!((horizon.period() * f64::from(horizon.periods()) - weeks(days)).abs() < 1e-9, "{days}");
            let all = (1.0 + horizon.discount_rate()).powf(f64::from(horizon.periods()));
            assert!((all - 1.1_f64.powf(f64::from(days) / 365.0)).abs() < 1e-9, "{days}");
        }
    }
}
