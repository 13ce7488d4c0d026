//! `goldbook value scores`: customers by recency, frequency and monetary value, with what became of them.

use clap::Args;
use goldbook_api::v1::{GetScoreClassesRequest, GetScoreClassesResponse};
use goldbook_api::values::write_instant;
use jiff::civil::Date;
use serde_json::{Value, json};

use super::common::{CommonArgs, align, parse_day, percent, show_day, to_wire, write_day};
use crate::cli::amount::{show_money, write_money};
use crate::cli::error::CliError;
use crate::cli::instant;
use crate::cli::output::{grouped, print};

/// Show customers by how recently, how often and for how much they bought, with what became of them.
#[derive(Debug, Args)]
pub(crate) struct ScoresArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Classes are made of what was bought before this day; `--after-days` before tomorrow if absent.
    #[arg(long, value_name = "DAY", value_parser = parse_day)]
    until: Option<Date>,
    /// How many days from then on tell what became of customers.
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(i32).range(1..=3_650))]
    after_days: i32,
    /// Three scores instead of five.
    #[arg(long)]
    terciles: bool,
    /// Answer for the start of a day of the program, such as 2026-07-01, or for an instant. Now if absent.
    #[arg(long, value_name = "WHEN")]
    as_of: Option<String>,
}

/// Runs `goldbook value scores`.
///
/// # Errors
/// If the service does not answer or refuses.
pub(super) async fn run(args: ScoresArgs) -> Result<(), CliError> {
    let client = args.common.client.connect().await?;
    let program = client.choose_program(args.common.program_id.as_deref()).await?;
    let zone = instant::time_zone(&program.time_zone)?;
    let request = GetScoreClassesRequest {
        program_id: program.program_id,
        until: args.until.map(to_wire),
        classes: if args.terciles { 3 } else { 5 },
        after_days: args.after_days,
        as_of: instant::parse_option("--as-of", args.as_of.as_deref(), &zone)?.map(write_instant),
    };
    let answer = client.value().get_score_classes(request).await;
    let found = answer.map_err(CliError::refused("cannot count the classes"))?.into_inner();
    if args.common.json {
        return print(write_scores(&found));
    }
    let (until, after) = (show_day(found.until.as_ref()), show_day(found.after_until.as_ref()));
    let customers = grouped(found.customers);
    print(format_args!("{customers} customers who had bought before {until}, and what became of them before {after}"))?;
    print(scores_table(&found))
}

fn scores_table(found: &GetScoreClassesResponse) -> String {
    let headings = ["R", "F", "M", "Customers", "Last bought", "Days", "Spent", "Came back", "Spent then"];
    let rows = found.classes.iter().map(|it| {
        let (fewest, most) = (grouped(it.fewest_purchase_days), grouped(it.most_purchase_days));
        [
            it.recency.to_string(),
            it.frequency.to_string(),
            it.monetary.to_string(),
            grouped(it.customers),
            show_day(it.last_purchase_to.as_ref()),
            if fewest == most { fewest } else { format!("{fewest}–{most}") },
            it.spend.as_ref().map(show_money).unwrap_or_default(),
            percent(Some(it.share_bought_afterwards)),
            it.spend_afterwards.as_ref().map(show_money).unwrap_or_default(),
        ]
    });
    align(headings, 3, rows.collect())
}

fn write_scores(found: &GetScoreClassesResponse) -> Value {
    let classes = found.classes.iter().map(|it| {
        json!({
            "recency": it.recency,
            "frequency": it.frequency,
            "monetary": it.monetary,
            "customers": it.customers,
            "last_purchase_from": write_day(it.last_purchase_from.as_ref()),
            "last_purchase_to": write_day(it.last_purchase_to.as_ref()),
            "fewest_purchase_days": it.fewest_purchase_days,
            "most_purchase_days": it.most_purchase_days,
            "spend": it.spend.as_ref().map(write_money),
            "bought_afterwards": it.bought_afterwards,
            "share_bought_afterwards": it.share_bought_afterwards,
            "spend_afterwards": it.spend_afterwards.as_ref().map(write_money),
        })
    });
    json!({
        "as_of": instant::write(found.as_of.as_ref()),
        "until": write_day(found.until.as_ref()),
        "after_until": write_day(found.after_until.as_ref()),
        "customers": found.customers,
        "classes": classes.collect::<Vec<_>>(),
    })
}
