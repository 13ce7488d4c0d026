//! Balances of a file that holds anything.

use goldbook_api::v1::{ImportBalancesRequest, Program};

use super::super::lines::{Line, Lines};
use super::file::{Columns, Entry, Setting, Survey};
use super::write_request;

pub(in crate::cli::import) fn read(file: &[u8], program: &Program) -> Vec<Line<ImportBalancesRequest>> {
    let open = || {
        let setting = Setting::of(program).ok()?;
        Lines::from_reader(file, |header| Columns::find(header, setting)).ok()
    };
    let (Some(surveyed), Some(lines)) = (open(), open()) else { return Vec::new() };
    let survey = Survey::of(surveyed);
    let write = |(line, entry): Line<Entry>| {
        (line, entry.and_then(Entry::into_balance).map(|balance| write_request(program, true, line, balance)))
    };
    let lines: Vec<_> = lines.map(write).collect();
    assert_eq!(survey.count.lines, u64::try_from(lines.len()).unwrap_or(u64::MAX), "the survey counts other lines");
    lines
}
