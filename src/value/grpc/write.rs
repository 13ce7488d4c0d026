//! What `ValueService` answers.

use jiff::Timestamp;
use jiff::civil::Date;

use crate::book::{Holdout, PurchaseParameters, SpendParameters};
use crate::money::{Currency, Money};
use crate::proto;
use crate::proto::fields::{write_day, write_instant, write_money};
use crate::value::fitting::{Backtest, RuleResult, share};
use crate::value::model::{Forecast, ScoreClass};
use crate::value::retention::{Cohort, Period};
use crate::value::{CustomerValue, FoundModel, FoundRetention, Scores};

pub(super) fn write_value(found: &CustomerValue) -> proto::GetCustomerValueResponse {
    let CustomerValue { as_of, today, currency, bought, forecast } = found;
    let first = bought.map(|bought| bought.first);
    let last = bought.map(|bought| bought.last);
    proto::GetCustomerValueResponse {
        as_of: Some(write_instant(*as_of)),
        first_purchase_on: first.map(write_day),
        last_purchase_on: last.map(write_day),
        // A purchase may lie ahead of a clock that went back.
        days_since_last_purchase: last.map_or(0, |last| (*today - last).get_days().max(0)),
        purchase_days: bought.map_or(0, |bought| bought.days),
        purchases: bought.map_or(0, |bought| bought.purchases),
        spend: Some(money(*currency, bought.map_or(0, |bought| bought.spend))),
        forecast: forecast.as_ref().map(write_forecast),
    }
}

fn write_forecast(forecast: &Forecast) -> proto::ValueForecast {
    proto::ValueForecast {
        model_version: forecast.version,
        horizon_days: forecast.horizon_days,
        probability_alive: forecast.probability_alive,
        expected_purchase_days: forecast.expected_days,
        expected_spend: forecast.worth.map(|(each, _)| write_money(each)),
        lifetime_value: forecast.worth.map(|(_, all)| write_money(all)),
    }
}

fn money(currency: Currency, minor: i64) -> goldbook_api::google::Money {
    write_money(Money { currency, minor })
}

pub(super) fn write_model(found: &FoundModel) -> proto::ValueModel {
    let FoundModel { entry, model } = found;
    let PurchaseParameters { r, alpha, a, b, log_likelihood } = model.purchases;
    let purchases = proto::PurchaseModel {
        r: r.get(),
        alpha: alpha.get(),
        a: a.get(),
        b: b.get(),
        log_likelihood: log_likelihood.get(),
    };
    proto::ValueModel {
        version: model.version,
        fitted_at: Some(write_instant(entry.effective_at)),
        entry_id: entry.id.to_string(),
        from: model.from.map(write_day),
        until: Some(write_day(model.until)),
        as_of: Some(write_instant(model.as_of)),
        customers: model.customers,
        repeat_buyers: model.repeat_buyers,
        purchases: Some(purchases),
        spend: model.spend.map(write_spend),
        holdout: model.holdout.map(write_holdout),
        horizon_days: model.horizon_days,
        annual_discount: model.discount.get(),
    }
}

fn write_spend(spend: SpendParameters) -> proto::SpendModel {
    let SpendParameters { p, q, gamma, log_likelihood, customers } = spend;
    proto::SpendModel { p: p.get(), q: q.get(), gamma: gamma.get(), log_likelihood: log_likelihood.get(), customers }
}

fn write_holdout(holdout: Holdout) -> proto::ModelHoldout {
    let Holdout { days, bought, expected, mean_error } = holdout;
    proto::ModelHoldout {
        days,
        purchase_days: bought,
        expected_purchase_days: expected.get(),
        mean_error: mean_error.get(),
    }
}

pub(super) fn write_backtest(
    test: &Backtest,
    as_of: Timestamp,
    (foretold_from, until): (Date, Date),
) -> proto::GetValueBacktestResponse {
    let Backtest { customers, left, alive, expected, silent } = *test;
    let write = |result: RuleResult| proto::RuleResult {
        warned: result.warned,
        right: result.right,
        precision: result.precision(),
        recall: result.recall(left),
        lift: result.lift(left, customers),
    };
    proto::GetValueBacktestResponse {
        as_of: Some(write_instant(as_of)),
        foretold_from: Some(write_day(foretold_from)),
        until: Some(write_day(until)),
        customers,
        left,
        alive_rule: Some(write(alive)),
        expected_rule: Some(write(expected)),
        plain_rule: Some(write(silent)),
    }
}

pub(super) fn write_scores(found: &Scores) -> proto::GetScoreClassesResponse {
    let Scores { scored, classes, currency } = found;
    proto::GetScoreClassesResponse {
        as_of: Some(write_instant(scored.as_of)),
        until: Some(write_day(scored.until)),
        after_until: Some(write_day(scored.after_until)),
        customers: classes.iter().map(|class| class.customers).sum(),
        classes: classes.iter().map(|class| write_class(class, *currency)).collect(),
    }
}

fn write_class(class: &ScoreClass, currency: Currency) -> proto::ScoreClass {
    // At most five.
    let score = |score: i64| i32::try_from(score).unwrap_or(i32::MAX);
    let (first_last, last_last) = class.last;
    let (fewest, most) = class.days;
    proto::ScoreClass {
        recency: score(class.recency),
        frequency: score(class.frequency),
        monetary: score(class.monetary),
        customers: class.customers,
        last_purchase_from: Some(write_day(first_last)),
        last_purchase_to: Some(write_day(last_last)),
        fewest_purchase_days: fewest,
        most_purchase_days: most,
        spend: Some(money(currency, class.spend)),
        bought_afterwards: class.bought_afterwards,
        share_bought_afterwards: share(class.bought_afterwards, class.customers).unwrap_or(0.0),
        spend_afterwards: Some(money(currency, class.spend_afterwards)),
    }
}

pub(super) fn write_retention(found: &FoundRetention) -> proto::GetRetentionResponse {
    let FoundRetention { as_of, currency, retention } = found;
    proto::GetRetentionResponse {
        as_of: Some(write_instant(*as_of)),
        periods: retention.periods.iter().map(|period| write_period(period, *currency)).collect(),
        cohorts: retention.cohorts.iter().map(|cohort| write_cohort(cohort, *currency)).collect(),
    }
}

fn write_period(period: &Period, currency: Currency) -> proto::RetentionPeriod {
    let (from, until) = period.days;
    proto::RetentionPeriod {
        from: Some(write_day(from)),
        until: Some(write_day(until)),
        buyers: period.buyers,
        retained: period.retained,
        gained: period.gained,
        won_back: period.won_back,
        lost: period.lost,
        net: period.gained + period.won_back - period.lost,
        repeat_rate: period.repeat_rate,
        retention_rate: period.retention_rate,
        expected_lifetime: period.expected_lifetime(),
        spend: Some(money(currency, period.spend)),
        net_revenue_retention: period.net_revenue,
        gross_revenue_retention: period.gross_revenue,
    }
}

fn write_cohort(cohort: &Cohort, currency: Currency) -> proto::RetentionCohort {
    let (from, until) = cohort.days;
    let periods = cohort.parts.iter().map(|(buyers, spend)| proto::CohortPeriod {
        buyers: *buyers,
        share: share(*buyers, cohort.customers).unwrap_or(0.0),
        spend: Some(money(currency, *spend)),
    });
    proto::RetentionCohort {
        from: Some(write_day(from)),
        until: Some(write_day(until)),
        customers: cohort.customers,
        periods: periods.collect(),
    }
}
