//! `goldbook value retention`: who came, who left and who came back, and what became of those who came together.

use clap::{Args, ValueEnum};
use goldbook_api::v1::{CalendarPeriod, GetRetentionRequest, GetRetentionResponse, RetentionPeriod};
use goldbook_api::values::write_instant;
use jiff::civil::Date;
use serde_json::{Value, json};

use super::common::{CommonArgs, align, parse_day, percent, show_day, to_wire, write_day};
use crate::cli::amount::{show_money, write_money};
use crate::cli::bars::columns;
use crate::cli::error::CliError;
use crate::cli::instant;
use crate::cli::output::{grouped, heading, print};

/// Show period by period who came, who left and who came back, and what became of those who came together.
#[derive(Debug, Args)]
pub(crate) struct RetentionArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// The first day; its whole period is looked at. A year before `--until` if absent.
    #[arg(long, value_name = "DAY", value_parser = parse_day)]
    from: Option<Date>,
    /// The first day after the last; tomorrow if absent.
    #[arg(long, value_name = "DAY", value_parser = parse_day)]
    until: Option<Date>,
    /// What a period is.
    #[arg(long, value_enum, default_value_t = Each::Month)]
    each: Each,
    /// Only what the customers of this segment of the program bought.
    #[arg(long = "segment", value_name = "SEGMENT")]
    segment_id: Option<String>,
    /// Answer for the start of a day of the program, such as 2026-07-01, or for an instant. Now if absent.
    #[arg(long, value_name = "WHEN")]
    as_of: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Each {
    Day,
    Week,
    Month,
    Quarter,
    Half,
    Year,
}

impl Each {
    const fn to_wire(self) -> CalendarPeriod {
        match self {
            Self::Day => CalendarPeriod::Day,
            Self::Week => CalendarPeriod::Week,
            Self::Month => CalendarPeriod::Month,
            Self::Quarter => CalendarPeriod::Quarter,
            Self::Half => CalendarPeriod::Half,
            Self::Year => CalendarPeriod::Year,
        }
    }
}

/// Runs `goldbook value retention`.
///
/// # Errors
/// If the service does not answer or refuses.
pub(super) async fn run(args: RetentionArgs) -> Result<(), CliError> {
    let client = args.common.client.connect().await?;
    let program = client.choose_program(args.common.program_id.as_deref()).await?;
    let zone = instant::time_zone(&program.time_zone)?;
    let request = GetRetentionRequest {
        program_id: program.program_id,
        from: args.from.map(to_wire),
        until: args.until.map(to_wire),
        each: args.each.to_wire().into(),
        segment_id: args.segment_id.unwrap_or_default(),
        as_of: instant::parse_option("--as-of", args.as_of.as_deref(), &zone)?.map(write_instant),
    };
    let answer = client.value().get_retention(request).await;
    let found = answer.map_err(CliError::refused("cannot count who stays"))?.into_inner();
    if args.common.json {
        return print(write_retention(&found));
    }
    print(bucket(&found.periods))?;
    let buyers: Vec<i64> = found.periods.iter().map(|it| it.buyers).collect();
    print(format_args!("buyers  {}", columns(&buyers)))?;
    print(heading("Of those who first bought in a period, who bought in it and in each later one"))?;
    print(triangle(&found))
}

/// The leaking bucket: a line for each period.
fn bucket(periods: &[RetentionPeriod]) -> String {
    let headings = ["From", "Buyers", "Gained", "Back", "Lost", "Net", "Stayed", "Periods", "Spent", "NRR", "GRR"];
    let rows = periods.iter().map(|it| {
        let net = if it.net > 0 { format!("+{}", grouped(it.net)) } else { grouped(it.net) };
        [
            show_day(it.from.as_ref()),
            grouped(it.buyers),
            grouped(it.gained),
            grouped(it.won_back),
            grouped(it.lost),
            net,
            percent(it.retention_rate),
            it.expected_lifetime.map_or_else(|| "–".to_owned(), |periods| format!("{periods:.1}")),
            it.spend.as_ref().map(show_money).unwrap_or_default(),
            percent(it.net_revenue_retention),
            percent(it.gross_revenue_retention),
        ]
    });
    align(headings, 1, rows.collect())
}

/// A line for each cohort: how many they are, and what share of them bought in each period, in percent.
fn triangle(found: &GetRetentionResponse) -> String {
    let lines = found.cohorts.iter().filter(|cohort| cohort.customers > 0).map(|cohort| {
        let shares = cohort.periods.iter().map(|period| format!("{:>4.0}", period.share * 100.0));
        let shares: String = shares.collect();
        format!("{}  {:>9}  {shares}", show_day(cohort.from.as_ref()), grouped(cohort.customers))
    });
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() { "nobody".to_owned() } else { lines.join("\n") }
}

fn write_retention(found: &GetRetentionResponse) -> Value {
    let periods = found.periods.iter().map(|it| {
        json!({
            "from": write_day(it.from.as_ref()),
            "until": write_day(it.until.as_ref()),
            "buyers": it.buyers,
            "retained": it.retained,
            "gained": it.gained,
            "won_back": it.won_back,
            "lost": it.lost,
            "net": it.net,
            "repeat_rate": it.repeat_rate,
            "retention_rate": it.retention_rate,
            "expected_lifetime": it.expected_lifetime,
            "spend": it.spend.as_ref().map(write_money),
            "net_revenue_retention": it.net_revenue_retention,
            "gross_revenue_retention": it.gross_revenue_retention,
        })
    });
    let cohorts = found.cohorts.iter().map(|cohort| {
        let periods = cohort
            .periods
            .iter()
            .map(|it| json!({"buyers": it.buyers, "share": it.share, "spend": it.spend.as_ref().map(write_money)}));
        json!({"from": write_day(cohort.from.as_ref()), "until": write_day(cohort.until.as_ref()),
               "customers": cohort.customers, "periods": periods.collect::<Vec<_>>()})
    });
    json!({
        "as_of": instant::write(found.as_of.as_ref()),
        "periods": periods.collect::<Vec<_>>(),
        "cohorts": cohorts.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use goldbook_api::google::Date as WireDate;
    use goldbook_api::v1::{CohortPeriod, RetentionCohort};

    use super::*;

    fn day(month: i32) -> Option<WireDate> {
        Some(WireDate { year: 2026, month, day: 1 })
    }

    #[test]
    fn a_cohort_is_a_line_of_shares_and_those_of_nobody_are_left_out() {
        let period = |share| CohortPeriod { buyers: 1, share, spend: None };
        let cohort = |month, customers, shares: &[f64]| RetentionCohort {
            from: day(month),
            until: day(month + 1),
            customers,
            periods: shares.iter().map(|share| period(*share)).collect(),
        };
        let cohorts = vec![cohort(1, 1_204, &[1.0, 0.254]), cohort(2, 0, &[0.0])];
        let found = GetRetentionResponse { cohorts, ..GetRetentionResponse::default() };
        assert_eq!(triangle(&found), "2026-01-01      1,204   100  25");
        assert_eq!(triangle(&GetRetentionResponse::default()), "nobody");
    }

    #[test]
    fn a_period_without_one_before_has_no_rates() {
        let period = RetentionPeriod { from: day(3), buyers: 5, gained: 5, net: 5, ..RetentionPeriod::default() };
        let shown = bucket(&[period]);
        let row = shown.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(row, "2026-03-01 5 5 0 0 +5 – – – –");
    }
}
