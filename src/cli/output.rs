//! What the command line prints: text, tables that fit the terminal, and colour where it is wanted.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle, Width, presets};

use super::error::CliError;

/// How wide tables are where there is no terminal, as in a pipe.
const USUAL_WIDTH: u16 = 80;
/// The widest that tables become. Longer lines are hard to read.
const WIDEST: u16 = 120;
/// The narrowest that tables become. In a narrower terminal their lines are broken, since narrower tables are not
/// readable.
const NARROWEST: u16 = 60;

/// Lines where a table begins and ends, and below its headings. There are none between rows, so that more rows fit on a
/// screen.
const FEW_LINES: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// Prints to standard output, with a line end.
///
/// # Errors
/// [`CliError::ReaderLeft`] if the other end of the pipe is closed, where `println!` would panic.
#[expect(clippy::wildcard_enum_match_arm, reason = "another crate's kinds, of which it may add some")]
pub(super) fn print(text: impl fmt::Display) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => CliError::ReaderLeft,
        _ => CliError::failed(format_args!("cannot write to standard output: {error}")),
    })
}

/// An empty table with these headings, as wide as the terminal.
pub(super) fn table<const N: usize>(headings: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(FEW_LINES);
    arrange(&mut table);
    table.set_header(headings);
    table
}

/// An empty table without headings and lines, for names on the left and values on the right.
pub(super) fn facts() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    arrange(&mut table);
    table
}

/// Makes a column wide enough for texts of this length. Ids must not be broken, so that they can be copied.
pub(super) fn keep_whole(table: &mut Table, column: usize, length: usize) {
    // One blank on each side.
    let width = Width::Fixed(u16::try_from(length + 2).unwrap_or(WIDEST));
    if let Some(column) = table.column_mut(column) {
        column.set_constraint(ColumnConstraint::LowerBoundary(width));
    }
}

fn arrange(table: &mut Table) {
    let width = table.width().unwrap_or(USUAL_WIDTH).clamp(NARROWEST, WIDEST);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
}

/// A heading with a line under it, to set parts of a screen apart.
pub(super) fn heading(text: &str) -> String {
    format!("\n{}", Style::of_stdout().bold(text))
}

/// Colours text if there is a terminal and `NO_COLOR` is not set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    is_on: bool,
}

impl Style {
    /// For text on standard output.
    pub(super) fn of_stdout() -> Self {
        let is_forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { is_on: io::stdout().is_terminal() && !is_forbidden }
    }

    /// No colour at all.
    #[cfg(test)]
    pub(super) const fn plain() -> Self {
        Self { is_on: false }
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.color("1", text)
    }

    pub(super) fn green(self, text: &str) -> String {
        self.color("32", text)
    }

    pub(super) fn red(self, text: &str) -> String {
        self.color("31", text)
    }

    pub(super) fn cyan(self, text: &str) -> String {
        self.color("36", text)
    }

    fn color(self, code: &str, text: &str) -> String {
        if self.is_on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// A count with its thousands apart: `6,919`.
pub(super) fn grouped(count: impl Into<i128>) -> String {
    group_digits(&count.into().to_string())
}

/// A decimal with the thousands of its whole part apart: `1,112.60`.
pub(super) fn group_digits(decimal: &str) -> String {
    let digits = decimal.strip_prefix('-').unwrap_or(decimal);
    let whole = digits.split_once('.').map_or(digits, |(whole, _)| whole);
    let mut grouped = String::from(if digits.len() < decimal.len() { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && index < whole.len() && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A value of an enum of the protos as words: `ENTRY_KIND_POINTS_GRANTED` without its prefix is `points granted`.
pub(super) fn words(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase().replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_their_thousands_apart() {
        for (count, shown) in [(0, "0"), (999, "999"), (1_000, "1,000"), (6_919, "6,919"), (-1_234_567, "-1,234,567")] {
            assert_eq!(grouped(count), shown);
        }
        for (decimal, shown) in [("0.00", "0.00"), ("1112.6012", "1,112.6012"), ("-100.5", "-100.5"), ("1000", "1,000")]
        {
            assert_eq!(group_digits(decimal), shown);
        }
    }

    #[test]
    fn enum_values_read_as_words() {
        assert_eq!(words("ENTRY_KIND_POINTS_GRANTED", "ENTRY_KIND_"), "points granted");
    }
}
