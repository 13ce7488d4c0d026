//! `goldbook value fit`, `model` and `backtest`: models of what customers will buy, and how well they tell who leaves.

use clap::Args;
use comfy_table::Table;
use goldbook_api::v1::{
    FitValueModelRequest, GetValueBacktestRequest, GetValueBacktestResponse, GetValueModelRequest, PurchaseModel,
    RuleResult, SpendModel, ValueModel,
};
use jiff::civil::Date;
use serde_json::{Value, json};
use uuid::Uuid;

use super::common::{CommonArgs, parse_day, percent, show_day, to_wire, write_day};
use crate::cli::client::incomplete_answer;
use crate::cli::error::CliError;
use crate::cli::instant;
use crate::cli::output::{self, grouped, print};

/// What is looked at of what customers bought.
#[derive(Debug, Args)]
struct DaysArgs {
    /// Look at those who first bought on this day or later.
    #[arg(long, value_name = "DAY", value_parser = parse_day)]
    from: Option<Date>,
    /// The first day that is left out; the present one if absent.
    #[arg(long, value_name = "DAY", value_parser = parse_day)]
    until: Option<Date>,
}

/// Fit a model to what customers bought, and put it in force as the next version.
#[derive(Debug, Args)]
pub(crate) struct FitArgs {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    days: DaysArgs,
    /// How many of the last days are not learned from, and tell how well the model does; a quarter of all if absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..=3_650))]
    holdout_days: Option<i32>,
    /// For how many days ahead to tell what customers are worth.
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(i32).range(1..=3_650))]
    horizon_days: i32,
    /// By how much less counts what is a year away, such as 0.1.
    #[arg(long, value_name = "RATE")]
    annual_discount: Option<f64>,
    /// A key of your own, so that a repetition fits nothing twice; a new one if absent.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

/// Show a model.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// The version; the latest if absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    version: Option<i32>,
}

/// Tell how well a model would have told who leaves, beside the rule "no purchase for so many weeks".
#[derive(Debug, Args)]
pub(crate) struct BacktestArgs {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    days: DaysArgs,
    /// How many of the last days are foretold; a quarter of all if absent.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=3_650))]
    holdout_days: Option<i32>,
    /// Warn of those who are still customers with a lower probability.
    #[arg(long, value_name = "P", default_value_t = 0.5)]
    alive_below: f64,
    /// Warn of those who are expected to buy on fewer of the days.
    #[arg(long, value_name = "N", default_value_t = 0.5)]
    expected_below: f64,
    /// The plain rule warns of those who have not bought for so many weeks.
    #[arg(long, value_name = "N", default_value_t = 13, value_parser = clap::value_parser!(i32).range(1..=520))]
    silent_weeks: i32,
}

/// Runs `goldbook value fit`.
///
/// # Errors
/// If the service does not answer or refuses.
pub(super) async fn fit(args: FitArgs) -> Result<(), CliError> {
    let client = args.common.client.connect().await?;
    let program = client.choose_program(args.common.program_id.as_deref()).await?;
    let request = FitValueModelRequest {
        program_id: program.program_id,
        from: args.days.from.map(to_wire),
        until: args.days.until.map(to_wire),
        holdout_days: args.holdout_days,
        horizon_days: args.horizon_days,
        annual_discount: args.annual_discount,
        idempotency_key: args.key.unwrap_or_else(|| Uuid::now_v7().to_string()),
    };
    let answer = client.value().fit_value_model(request).await.map_err(CliError::refused("cannot fit a model"))?;
    show_model(&answer.into_inner().model.ok_or_else(incomplete_answer)?, args.common.json)
}

/// Runs `goldbook value model`.
///
/// # Errors
/// If there is no such model, or the service does not answer or refuses.
pub(super) async fn show(args: ModelArgs) -> Result<(), CliError> {
    let client = args.common.client.connect().await?;
    let program = client.choose_program(args.common.program_id.as_deref()).await?;
    let request = GetValueModelRequest { program_id: program.program_id, version: args.version.unwrap_or_default() };
    let answer = client.value().get_value_model(request).await.map_err(CliError::refused("cannot show the model"))?;
    show_model(&answer.into_inner().model.ok_or_else(incomplete_answer)?, args.common.json)
}

/// Runs `goldbook value backtest`.
///
/// # Errors
/// If the service does not answer or refuses.
pub(super) async fn backtest(args: BacktestArgs) -> Result<(), CliError> {
    let client = args.common.client.connect().await?;
    let program = client.choose_program(args.common.program_id.as_deref()).await?;
    let request = GetValueBacktestRequest {
        program_id: program.program_id,
        from: args.days.from.map(to_wire),
        until: args.days.until.map(to_wire),
        holdout_days: args.holdout_days.unwrap_or_default(),
        alive_below: Some(args.alive_below),
        expected_below: Some(args.expected_below),
        silent_weeks: args.silent_weeks,
    };
    let answer = client.value().get_value_backtest(request).await;
    let test = answer.map_err(CliError::refused("cannot test a model"))?.into_inner();
    if args.common.json {
        return print(write_backtest(&test));
    }
    let (foretold, until) = (show_day(test.foretold_from.as_ref()), show_day(test.until.as_ref()));
    let (customers, left) = (grouped(test.customers), grouped(test.left));
    print(format_args!("{left} of {customers} customers bought nothing from {foretold} until {until}"))?;
    print(backtest_table(&test, &args).trim_fmt())
}

fn backtest_table(test: &GetValueBacktestResponse, args: &BacktestArgs) -> Table {
    let mut table = output::table(["Rule", "Warned of", "Precision", "Recall", "Lift"]);
    let rows = [
        (format!("still a customer: below {}", args.alive_below), test.alive_rule),
        (format!("expected days: below {}", args.expected_below), test.expected_rule),
        (format!("no purchase for {} weeks", args.silent_weeks), test.plain_rule),
    ];
    for (rule, result) in rows {
        let RuleResult { warned, precision, recall, lift, .. } = result.unwrap_or_default();
        let lift = lift.map_or_else(|| "–".to_owned(), |lift| format!("{lift:.2}"));
        table.add_row([rule, grouped(warned), percent(precision), percent(recall), lift]);
    }
    table
}

fn show_model(model: &ValueModel, is_json: bool) -> Result<(), CliError> {
    if is_json {
        return print(write_model(model));
    }
    print(model_facts(model).trim_fmt())
}

fn model_facts(model: &ValueModel) -> Table {
    let mut facts = output::facts();
    facts.add_row(["Model", &model.version.to_string()]);
    let from = model.from.as_ref().map_or_else(String::new, |from| format!(" from {}", show_day(Some(from))));
    let (customers, again) = (grouped(model.customers), grouped(model.repeat_buyers));
    let until = show_day(model.until.as_ref());
    facts
        .add_row(["Learned from", &format!("{customers} customers{from} until {until}, of whom {again} bought again")]);
    let PurchaseModel { r, alpha, a, b, log_likelihood } = model.purchases.unwrap_or_default();
    let told = format!("r {r:.4}, alpha {alpha:.3} weeks, a {a:.3}, b {b:.3}; log likelihood {log_likelihood:.2}");
    facts.add_row(["Purchases", &told]);
    let told = model.spend.map(|SpendModel { p, q, gamma, log_likelihood, customers }| {
        let of = grouped(customers);
        format!("p {p:.2}, q {q:.2}, gamma {gamma:.2}; log likelihood {log_likelihood:.2} of {of} customers")
    });
    facts.add_row(["Spend", &told.unwrap_or_else(|| "too little is known".to_owned())]);
    let told = model.holdout.map(|it| {
        let (days, bought) = (grouped(it.days), grouped(it.purchase_days));
        let (expected, error) = (it.expected_purchase_days, it.mean_error);
        format!("{bought} days of purchases in {days} days, {expected:.1} expected; off by {error:.2} for one customer")
    });
    facts.add_row(["Then came", &told.unwrap_or_else(|| "no days were kept to measure on".to_owned())]);
    let horizon = grouped(model.horizon_days);
    facts.add_row(["Tells", &format!("{horizon} days ahead, at a discount of {} a year", model.annual_discount)]);
    facts.add_row(["Entry", &model.entry_id]);
    facts
}

fn write_model(model: &ValueModel) -> Value {
    let purchases = model
        .purchases
        .map(|it| json!({"r": it.r, "alpha": it.alpha, "a": it.a, "b": it.b, "log_likelihood": it.log_likelihood}));
    let spend = model.spend.map(|it| {
        json!({"p": it.p, "q": it.q, "gamma": it.gamma, "log_likelihood": it.log_likelihood, "customers": it.customers})
    });
    let holdout = model.holdout.map(|it| {
        json!({"days": it.days, "purchase_days": it.purchase_days, "mean_error": it.mean_error,
               "expected_purchase_days": it.expected_purchase_days})
    });
    json!({
        "version": model.version,
        "fitted_at": instant::write(model.fitted_at.as_ref()),
        "entry_id": model.entry_id,
        "from": write_day(model.from.as_ref()),
        "until": write_day(model.until.as_ref()),
        "as_of": instant::write(model.as_of.as_ref()),
        "customers": model.customers,
        "repeat_buyers": model.repeat_buyers,
        "purchases": purchases,
        "spend": spend,
        "holdout": holdout,
        "horizon_days": model.horizon_days,
        "annual_discount": model.annual_discount,
    })
}

fn write_backtest(test: &GetValueBacktestResponse) -> Value {
    let rule = |result: Option<RuleResult>| {
        result.map(|it| {
            json!({"warned": it.warned, "right": it.right, "precision": it.precision, "recall": it.recall,
                   "lift": it.lift})
        })
    };
    json!({
        "as_of": instant::write(test.as_of.as_ref()),
        "foretold_from": write_day(test.foretold_from.as_ref()),
        "until": write_day(test.until.as_ref()),
        "customers": test.customers,
        "left": test.left,
        "alive_rule": rule(test.alive_rule),
        "expected_rule": rule(test.expected_rule),
        "plain_rule": rule(test.plain_rule),
    })
}
