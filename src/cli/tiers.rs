//! `goldbook tiers`: how many hold each tier, what became of tiers month by month, and who is about to move.

use clap::Args;
use goldbook_api::google::Date as WireDate;
use goldbook_api::v1::{
    ListTierStatisticsRequest, ListTierStatisticsResponse, TierChangeKind, TierMonth, TierStatistics,
    UpcomingTierCount, UpcomingTierMove,
};
use goldbook_api::values::write_instant;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::bars::{bar, columns};
use super::client::{ClientOptions, incomplete_answer};
use super::error::CliError;
use super::instant;
use super::output::{self, grouped, heading, print, words};
use super::progress::Progress;

/// How wide the bar of all customers is.
const BAR_CELLS: usize = 40;

/// Show how many customers hold each tier, what became of tiers month by month, and who is about to move.
///
/// All of it is of one moment, exactly, with what time has done by then. A million customers take about a minute.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  goldbook tiers
  goldbook tiers --program cdnow --as-of 1998-01-01 --months 24
  goldbook tiers --within-days 90 --customers     also who is about to move, one a line
  goldbook tiers --json")]
pub(crate) struct TiersArgs {
    /// The program; may be left out where there is only one.
    #[arg(long = "program", value_name = "ID")]
    program_id: Option<String>,
    /// Answer for the start of a day of the program, such as 2026-07-01, or for an instant. Now if absent.
    #[arg(long, value_name = "WHEN")]
    as_of: Option<String>,
    /// Who moves within so many days is about to.
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(i32).range(1..=400))]
    within_days: i32,
    /// Of how many months to show what became of tiers.
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(i32).range(1..=60))]
    months: i32,
    /// Also list who is about to move: customer, when, what, tier before and tier after, with tabs between.
    #[arg(long, conflicts_with = "json")]
    customers: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientOptions,
}

/// Runs `goldbook tiers`.
///
/// # Errors
/// If the service does not answer or refuses.
pub(crate) async fn run(args: TiersArgs) -> Result<(), CliError> {
    let client = args.client.connect().await?;
    let program = client.choose_program(args.program_id.as_deref()).await?;
    let zone = instant::time_zone(&program.time_zone)?;
    let as_of = instant::parse_option("--as-of", args.as_of.as_deref(), &zone)?;
    let request = ListTierStatisticsRequest {
        program_id: program.program_id.clone(),
        as_of: as_of.map(write_instant),
        within_days: args.within_days,
        months: args.months,
        list_customers: args.customers,
    };
    let refused = |status| CliError::refused("cannot count the tiers")(status);
    let mut stream = client.tiers().list_tier_statistics(request).await.map_err(refused)?.into_inner();
    let (mut progress_bar, mut statistics) = (None, None);
    while let Some(message) = stream.message().await.map_err(refused)? {
        let ListTierStatisticsResponse { progress, upcoming, statistics: told } = message;
        let progress = progress.unwrap_or_default();
        let shown = Progress::follow(&mut progress_bar, "customers", progress.customers_done, progress.customers_total);
        for it in &upcoming {
            shown.suspend(|| print(show_upcoming(it, &zone)))?;
        }
        statistics = told;
    }
    if let Some(progress_bar) = progress_bar {
        progress_bar.end();
    }
    let statistics = statistics.ok_or_else(incomplete_answer)?;
    if args.json {
        return print(write_json(&statistics));
    }
    let as_of = instant::show(statistics.as_of.as_ref(), &zone);
    let customers = grouped(statistics.customers);
    print(format_args!("{} ({}): {customers} customers as of {as_of}", program.display_name, program.program_id))?;
    print(show_tiers(&statistics))?;
    print(heading(&format!("What became of tiers, {}", span_of(&statistics.months))))?;
    print(show_months(&statistics.months))?;
    print(heading(&format!("About to move within {} days, if nothing more is earned", args.within_days)))?;
    print(show_all_upcoming(&statistics.upcoming, &zone))
}

/// A bar for each tier.
fn show_tiers(statistics: &TierStatistics) -> String {
    let all: i128 = statistics.tiers.iter().map(|tier| i128::from(tier.customers)).sum();
    let most = statistics.tiers.iter().map(|tier| i128::from(tier.customers)).max().unwrap_or(0);
    let mut table = output::facts();
    for tier in statistics.tiers.iter().rev() {
        let customers = i128::from(tier.customers);
        #[expect(clippy::cast_precision_loss, reason = "a share with one decimal")]
        let percent = if all == 0 { 0.0 } else { customers as f64 * 100.0 / all as f64 };
        let by_hand =
            if tier.overridden > 0 { format!(", {} by hand", grouped(tier.overridden)) } else { String::new() };
        table.add_row([
            tier.tier_id.clone(),
            bar(customers, most, BAR_CELLS).trim_end().to_owned(),
            format!("{} ({percent:.1} %){by_hand}", grouped(tier.customers)),
        ]);
    }
    let mut shown = table.trim_fmt();
    if statistics.left_out > 0 {
        shown.push_str(&format!("\n{} could not be read", grouped(statistics.left_out)));
    }
    shown
}

fn month_of(day: Option<&WireDate>) -> String {
    day.map_or_else(|| "?".to_owned(), |day| format!("{:04}-{:02}", day.year, day.month))
}

fn span_of(months: &[TierMonth]) -> String {
    let first = month_of(months.first().and_then(|month| month.first_day.as_ref()));
    let last = month_of(months.last().and_then(|month| month.first_day.as_ref()));
    format!("{first} to {last}")
}

/// What a month tells of one kind of move.
type Told = fn(&TierMonth) -> i64;

/// A row of columns for each kind of move that there was, one column a month.
fn show_months(months: &[TierMonth]) -> String {
    let rows: [(&str, Told); 8] = [
        ("joined", |it| it.joined),
        ("up", |it| it.upgraded),
        ("down", |it| it.downgraded),
        ("renewed", |it| it.renewed),
        ("re-decided", |it| it.redecided),
        ("imported", |it| it.imported),
        ("set by hand", |it| it.overridden),
        ("released", |it| it.released),
    ];
    let mut table = output::facts();
    for (place, (name, of)) in rows.into_iter().enumerate() {
        let numbers: Vec<i64> = months.iter().map(of).collect();
        let all: i128 = numbers.iter().copied().map(i128::from).sum();
        // The first four are always shown.
        if all == 0 && place >= 4 {
            continue;
        }
        let most = months.iter().max_by_key(|it| of(it)).filter(|it| of(it) > 0);
        let most = most.map(|it| format!(", most in {}: {}", month_of(it.first_day.as_ref()), grouped(of(it))));
        table.add_row([name.to_owned(), columns(&numbers), format!("{}{}", grouped(all), most.unwrap_or_default())]);
    }
    table.trim_fmt()
}

fn change_in_words(change: TierChangeKind) -> String {
    words(change.as_str_name(), "TIER_CHANGE_KIND_")
}

fn show_upcoming(it: &UpcomingTierMove, zone: &TimeZone) -> String {
    let at = instant::show(it.at.as_ref(), zone);
    let change = change_in_words(it.change());
    format!("{}\t{at}\t{change}\t{}\t{}", it.customer_id, it.from_tier_id, it.to_tier_id)
}

fn show_all_upcoming(upcoming: &[UpcomingTierCount], zone: &TimeZone) -> String {
    if upcoming.is_empty() {
        return "nobody".to_owned();
    }
    let mut table = output::facts();
    for it in upcoming {
        let tiers = if it.from_tier_id == it.to_tier_id {
            it.to_tier_id.clone()
        } else {
            format!("{} → {}", it.from_tier_id, it.to_tier_id)
        };
        let (first, last) = (instant::show(it.first_at.as_ref(), zone), instant::show(it.last_at.as_ref(), zone));
        let when = if first == last { first } else { format!("{first} to {last}") };
        table.add_row([grouped(it.customers), change_in_words(it.change()), tiers, when]);
    }
    table.trim_fmt()
}

fn write_json(statistics: &TierStatistics) -> Value {
    let tiers = statistics.tiers.iter().map(|it| {
        json!({"tier_id": it.tier_id, "display_name": it.display_name, "customers": it.customers,
               "overridden": it.overridden})
    });
    let upcoming = statistics.upcoming.iter().map(|it| {
        json!({"change": change_in_words(it.change()), "from_tier_id": it.from_tier_id, "to_tier_id": it.to_tier_id,
               "customers": it.customers, "first_at": instant::write(it.first_at.as_ref()),
               "last_at": instant::write(it.last_at.as_ref())})
    });
    let months = statistics.months.iter().map(|it| {
        json!({"month": month_of(it.first_day.as_ref()), "joined": it.joined, "upgraded": it.upgraded,
               "downgraded": it.downgraded, "renewed": it.renewed, "redecided": it.redecided, "imported": it.imported,
               "overridden": it.overridden, "released": it.released})
    });
    json!({
        "as_of": instant::write(statistics.as_of.as_ref()),
        "customers": statistics.customers,
        "left_out": statistics.left_out,
        "tiers": tiers.collect::<Vec<_>>(),
        "upcoming": upcoming.collect::<Vec<_>>(),
        "months": months.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use goldbook_api::v1::TierCount;

    use super::*;

    fn statistics() -> TierStatistics {
        let tier = |id: &str, customers, overridden| TierCount {
            tier_id: id.to_owned(),
            display_name: id.to_uppercase(),
            customers,
            overridden,
        };
        let month = |month, joined, upgraded| TierMonth {
            first_day: Some(WireDate { year: 2026, month, day: 1 }),
            joined,
            upgraded,
            ..TierMonth::default()
        };
        let at = |text: &str| Some(write_instant(text.parse().unwrap()));
        let upcoming = UpcomingTierCount {
            change: TierChangeKind::Downgraded.into(),
            from_tier_id: "gold".to_owned(),
            to_tier_id: "silver".to_owned(),
            customers: 1_012,
            first_at: at("2026-12-01T05:00:00Z"),
            last_at: at("2027-01-01T05:00:00Z"),
        };
        TierStatistics {
            customers: 2_000,
            tiers: vec![tier("member", 1_500, 0), tier("silver", 500, 3), tier("gold", 0, 0)],
            months: vec![month(10, 100, 0), month(11, 50, 8)],
            upcoming: vec![upcoming],
            ..TierStatistics::default()
        }
    }

    #[test]
    fn tiers_are_bars_with_the_highest_first() {
        let shown = show_tiers(&statistics());
        let lines: Vec<String> =
            shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines[0], "gold 0 (0.0 %)");
        assert_eq!(lines[1], format!("silver {}▎ 500 (25.0 %), 3 by hand", "█".repeat(13)));
        assert_eq!(lines[2], format!("member {} 1,500 (75.0 %)", "█".repeat(40)));
    }

    #[test]
    fn months_are_columns_and_what_never_happened_is_left_out() {
        let shown = show_months(&statistics().months);
        let lines: Vec<&str> = shown.lines().map(str::trim).collect();
        assert_eq!(lines.len(), 4, "{shown}");
        assert!(
            lines[0].starts_with("joined")
                && lines[0].contains("█▄")
                && lines[0].ends_with("150, most in 2026-10: 100")
        );
        assert!(lines[1].ends_with("8, most in 2026-11: 8"), "{shown}");
        assert_eq!(span_of(&statistics().months), "2026-10 to 2026-11");
    }

    #[test]
    fn who_is_about_to_move_is_counted_with_the_span_of_time() {
        let zone = instant::time_zone("America/New_York").unwrap();
        let shown = show_all_upcoming(&statistics().upcoming, &zone);
        let words: Vec<&str> = shown.split_whitespace().collect();
        let expected = "1,012 downgraded gold → silver 2026-12-01 00:00:00 EST to 2027-01-01 00:00:00 EST";
        assert_eq!(words.join(" "), expected);
        assert_eq!(show_all_upcoming(&[], &zone), "nobody");
        let told = write_json(&statistics());
        assert_eq!(
            told["tiers"][1],
            json!({"tier_id": "silver", "display_name": "SILVER", "customers": 500, "overridden": 3})
        );
        assert_eq!(told["upcoming"][0]["change"], json!("downgraded"));
        assert_eq!(told["months"][0]["month"], json!("2026-10"));
    }
}
