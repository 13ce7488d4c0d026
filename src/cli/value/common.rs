//! What the commands of `goldbook value` share.

use clap::Args;
use goldbook_api::google::Date as WireDate;
use jiff::civil::Date;
use serde_json::{Value, json};

use crate::cli::client::ClientOptions;

/// What all commands about value take.
#[derive(Debug, Args)]
pub(super) struct CommonArgs {
    /// The program; may be left out where there is only one.
    #[arg(long = "program", value_name = "ID")]
    pub(super) program_id: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) client: ClientOptions,
}

/// Reads a day such as 2026-07-01.
pub(super) fn parse_day(text: &str) -> Result<Date, String> {
    text.parse().map_err(|_| "must be a day such as 2026-07-01".to_owned())
}

pub(super) fn to_wire(day: Date) -> WireDate {
    WireDate { year: day.year().into(), month: day.month().into(), day: day.day().into() }
}

pub(super) fn show_day(day: Option<&WireDate>) -> String {
    day.map_or_else(|| "?".to_owned(), |day| format!("{:04}-{:02}-{:02}", day.year, day.month, day.day))
}

pub(super) fn write_day(day: Option<&WireDate>) -> Value {
    day.map_or(Value::Null, |day| json!(show_day(Some(day))))
}

/// A share as a percentage with one decimal; a dash where there is none.
pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{:.1} %", share * 100.0))
}

/// Rows below headings, each column as wide as its longest text: the first columns as they are, numbers to the right. Lines are never
/// broken, so that what belongs together stands together.
pub(super) fn align<const N: usize>(headings: [&str; N], left: usize, rows: Vec<[String; N]>) -> String {
    let mut widths = headings.map(|heading| heading.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let headings = headings.map(str::to_owned);
    let lines = std::iter::once(&headings).chain(&rows).map(|row| {
        let cells = row.iter().zip(widths).enumerate().map(|(place, (cell, width))| {
            if place < left { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<String>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<String>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_longest_text() {
        let rows = vec![["a".to_owned(), "1,000".to_owned()], ["long".to_owned(), "–".to_owned()]];
        assert_eq!(align(["Name", "N"], 1, rows), "Name      N\na     1,000\nlong      –");
    }
}
