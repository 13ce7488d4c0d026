//! Purchases of a file that holds anything.

use goldbook_api::v1::{BatchRecordActivitiesRequest, Program};

use super::super::lines::{Line, Lines};
use super::file::{Columns, Setting};
use super::write_request;
use crate::cli::amount::Amount;
use crate::cli::instant;

pub(in crate::cli::import) fn read(file: &[u8], program: &Program) -> Vec<Line<BatchRecordActivitiesRequest>> {
    let Ok(zone) = instant::time_zone(&program.time_zone) else { return Vec::new() };
    let setting = Setting { currency_code: program.currency_code.clone(), zone };
    let Ok(lines) = Lines::from_reader(file, |header| Columns::find(header, setting)) else { return Vec::new() };
    let write = |(line, purchase): Line<_>| {
        let purchase = purchase.map(|purchase: super::file::Purchase| {
            let amount = purchase.amount;
            assert_eq!(Amount::from_money(&amount.to_money("USD")), amount, "the wire has another amount");
            assert_eq!(Amount::parse(&amount.to_string()), Ok(amount), "an amount is another one once it was written");
            write_request(program, line, purchase)
        });
        (line, purchase)
    };
    lines.map(write).collect()
}
