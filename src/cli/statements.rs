//! `goldbook statement`: a customer's moves of points in a period, between the balances before and after it.

use clap::Args;
use comfy_table::{CellAlignment, Table};
use goldbook_api::v1::{Balance, GetStatementRequest, PocketBalances, StatementLine};
use goldbook_api::values::write_instant;
use jiff::tz::TimeZone;

use super::client::{Client, ClientOptions, LARGEST_PAGE, incomplete_answer};
use super::error::CliError;
use super::instant;
use super::output::{self, heading, print};
use super::statement::{show_balance, show_move};
use super::statement_line::describe;

/// Show a customer's statement: every move of points in a period, and the balances before and after it.
///
/// What is due but not written yet is in it, with the entries that it will have.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  goldbook statement C0001
  goldbook statement C0001 --from 1997-01-01 --until 1997-02-01")]
pub(crate) struct StatementArgs {
    /// The business's own id of the customer.
    #[arg(value_name = "CUSTOMER")]
    customer_id: String,
    /// The program; may be left out where there is only one.
    #[arg(long = "program", value_name = "ID")]
    program_id: Option<String>,
    /// When the period begins: 1997-01-18T15:30:00-05:00, or the beginning of a day in the program's time zone:
    /// 1997-01-18. Without it, when the customer joined.
    #[arg(long, value_name = "INSTANT")]
    from: Option<String>,
    /// When the period has ended, in the same forms. Without it, now.
    #[arg(long, value_name = "INSTANT")]
    until: Option<String>,
    #[command(flatten)]
    client: ClientOptions,
}

/// A statement with the lines of all its pages.
struct Statement {
    opening: PocketBalances,
    closing: PocketBalances,
    lines: Vec<StatementLine>,
}

/// Runs `goldbook statement`.
///
/// # Errors
/// If the period makes no sense, there is no such customer, or the service does not answer or refuses.
pub(crate) async fn run(args: StatementArgs) -> Result<(), CliError> {
    let client = args.client.connect().await?;
    let program = client.choose_program(args.program_id.as_deref()).await?;
    let zone = instant::time_zone(&program.time_zone)?;
    let (from, until) = instant::parse_period(args.from.as_deref(), args.until.as_deref(), &zone)?;
    let request = GetStatementRequest {
        program_id: program.program_id,
        customer_id: args.customer_id,
        start_time: from.map(write_instant),
        end_time: until.map(write_instant),
        page_size: LARGEST_PAGE,
        page_token: String::new(),
    };
    let statement = read(&client, request).await?;
    print(format_args!("Before: {}", show_pockets(&statement.opening)))?;
    print(heading(&format!("{} moves; times in {}", statement.lines.len(), program.time_zone)))?;
    print(line_table(&statement.lines, &zone).trim_fmt())?;
    print(format_args!("\nAfter: {}", show_pockets(&statement.closing)))
}

/// Reads all pages.
async fn read(client: &Client, mut request: GetStatementRequest) -> Result<Statement, CliError> {
    let mut lines = Vec::new();
    loop {
        let page = client.ledger().get_statement(request.clone()).await;
        let page = page.map_err(CliError::refused("cannot read the customer's statement"))?.into_inner();
        lines.extend(page.lines);
        if page.next_page_token.is_empty() {
            let opening = page.opening.ok_or_else(incomplete_answer)?;
            let closing = page.closing.ok_or_else(incomplete_answer)?;
            return Ok(Statement { opening, closing, lines });
        }
        request.page_token = page.next_page_token;
    }
}

/// The points available, and all other counts that are not zero.
fn show_pockets(pockets: &PocketBalances) -> String {
    let PocketBalances { issued, owed, pending, available, held, redeemed, expired, cancelled } = *pockets;
    let balance =
        Balance { issued, owed, pending, available, held, redeemed, expired, cancelled, ..Balance::default() };
    show_balance(&balance)
}

/// The moves as a table, with what is known of each below it.
fn line_table(lines: &[StatementLine], zone: &TimeZone) -> Table {
    let mut table = output::table(["Effective", "What", "Points"]);
    for line in lines {
        let mut what = describe(line).to_owned();
        for (name, text) in [("activity", &line.activity_id), ("note", &line.note), ("by", &line.author)] {
            if !text.is_empty() {
                what.push_str(&format!("\n{name} {text}"));
            }
        }
        if line.trace_id.is_empty() {
            what.push_str("\ndue, not written yet");
        }
        let effective = instant::show_on_two_lines(line.effective_at.as_ref(), zone);
        table.add_row([effective, what, show_move(line.r#move.as_ref())]);
    }
    if let Some(points) = table.column_mut(2) {
        points.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests {
    use goldbook_api::v1::{EntryKind, EntryReason, Pocket, PocketMove};

    use super::*;

    #[test]
    fn a_line_shows_what_happened_and_what_is_known_about_it() {
        let movement = PocketMove { from: Pocket::Available.into(), to: Pocket::Redeemed.into(), points: 1_200 };
        let line = StatementLine {
            kind: EntryKind::PointsRedeemed.into(),
            reason: EntryReason::Redemption.into(),
            r#move: Some(movement),
            note: "a book".to_owned(),
            effective_at: Some(prost_types::Timestamp { seconds: 852_094_800, nanos: 0 }),
            ..StatementLine::default()
        };
        let shown = line_table(&[line], &TimeZone::UTC).to_string();
        for part in ["1997-01-01", "05:00:00", "Points redeemed", "note a book", "due, not written yet", "1,200"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
    }
}
