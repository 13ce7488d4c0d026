//! Purchases in a CSV file.

use std::fs::File;
use std::path::Path;

use csv::ByteRecord;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::lines::{Form, Header, Lines, required};
use crate::cli::amount::Amount;
use crate::cli::error::CliError;
use crate::cli::instant;
use crate::cli::instant::Unreadable;

/// What the program says that a file of purchases needs.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// The currency of all amounts.
    pub(super) currency_code: String,
    /// The time zone in which days begin.
    pub(super) zone: TimeZone,
}

/// A purchase, as one line tells it.
#[derive(Debug, PartialEq)]
pub(super) struct Purchase {
    pub(super) purchase_id: String,
    pub(super) customer_id: String,
    pub(super) happened_at: Timestamp,
    pub(super) amount: Amount,
}

/// A file of purchases that is being read.
pub(super) type Purchases<R> = Lines<R, Columns>;

/// Opens a file of purchases and reads its header.
///
/// # Errors
/// If it cannot be read, or its header lacks a column.
pub(super) fn open(path: &Path, setting: Setting) -> Result<Purchases<File>, CliError> {
    Lines::open(path, |header| Columns::find(header, setting))
}

/// The positions of the columns that are read. Others are ignored.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    purchase_id: usize,
    customer_id: usize,
    purchased_on: usize,
    amount: usize,
    setting: Setting,
}

impl Columns {
    pub(super) fn find(header: &Header, setting: Setting) -> Result<Self, String> {
        let currency_code = &setting.currency_code;
        let amount = header.find_amount("amount", currency_code)?;
        let amount_in_currency = format!("amount_{}", currency_code.to_ascii_lowercase());
        Ok(Self {
            purchase_id: header.find(&["purchase_id"])?,
            customer_id: header.find(&["customer_id"])?,
            purchased_on: header.find(&["purchased_on"])?,
            amount: amount.map_or_else(|| header.find(&["amount", &amount_in_currency]), Ok)?,
            setting,
        })
    }
}

impl Form for Columns {
    type Row = Purchase;

    fn parse(&self, record: &ByteRecord) -> Result<Purchase, String> {
        let purchased_on = required(record, self.purchased_on, "purchased_on")?;
        let amount = required(record, self.amount, "amount")?;
        Ok(Purchase {
            purchase_id: required(record, self.purchase_id, "purchase_id")?.to_owned(),
            customer_id: required(record, self.customer_id, "customer_id")?.to_owned(),
            happened_at: instant::parse(purchased_on, &self.setting.zone).map_err(|why| match why {
                Unreadable::Malformed => {
                    format!("purchased_on is {purchased_on}, not a day such as 1997-01-18 or an instant")
                }
                Unreadable::TooLate => format!("purchased_on is {purchased_on}, which lies in the future"),
            })?,
            amount: Amount::parse(amount).map_err(|expected| format!("amount is {amount}, but {expected}"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::Line;
    use super::*;
    use crate::cli::instant::time_zone;

    fn read(text: &str) -> Result<Vec<Line<Purchase>>, String> {
        let setting = Setting { currency_code: "USD".to_owned(), zone: time_zone("America/New_York").unwrap() };
        Ok(Lines::from_reader(text.as_bytes(), |header| Columns::find(header, setting))?.collect())
    }

    fn purchase(purchase_id: &str, customer_id: &str, happened_at: &str, amount: &str) -> Result<Purchase, String> {
        Ok(Purchase {
            purchase_id: purchase_id.to_owned(),
            customer_id: customer_id.to_owned(),
            happened_at: happened_at.parse().unwrap(),
            amount: Amount::parse(amount).unwrap(),
        })
    }

    #[test]
    fn columns_are_found_by_name_in_any_order_and_others_ignored() {
        let lines =
            read("amount_usd,Customer_ID,quantity,purchase_id,purchased_on\n9.99,c1,3,p1,1997-07-01\n").unwrap();
        assert_eq!(lines, [(2, purchase("p1", "c1", "1997-07-01T04:00:00Z", "9.99"))]);
        let lines = read("purchase_id,customer_id,purchased_on,amount\n\"p,1\",c1,1997-01-01T12:00:00Z,1\n").unwrap();
        assert_eq!(lines, [(2, purchase("p,1", "c1", "1997-01-01T12:00:00Z", "1"))]);
    }

    #[test]
    fn a_header_without_a_column_or_in_another_currency_is_refused() {
        assert!(read("purchase_id,customer_id,amount\n").unwrap_err().contains("no column purchased_on"));
        assert!(read("purchase_id,customer_id,purchased_on\n").unwrap_err().contains("no column amount or amount_usd"));
        let both = read("purchase_id,customer_id,purchased_on,amount,amount_usd\n").unwrap_err();
        assert!(both.contains("more than one column amount"), "{both}");
        let other = read("purchase_id,customer_id,purchased_on,amount_eur\n").unwrap_err();
        assert!(other.contains("amount_eur is not in the program's currency, USD"), "{other}");
        assert!(read("").is_err());
    }

    #[test]
    fn a_bad_line_is_told_by_its_number_and_the_others_are_read() {
        let text = "purchase_id,customer_id,purchased_on,amount\n\
                    p1,c1,1997-01-01,1.00\n\
                    p2,c1\n\
                    \n\
                    p3,c1,01/02/1997,1.00\n\
                    p4,c1,1997-01-02T10:00:00,1.00\n\
                    p5,c1,1997-01-02,$1\n\
                    p6,,1997-01-02,1\n\
                    p7,c1,1997-01-02,1,more\r\n\
                    \r\n\
                    \"p\n8\",c1,1997-01-02,1\r\n\
                    p9,c1,1997-01-02,\"1\"";
        let lines = read(text).unwrap();
        let numbers: Vec<(u64, bool)> = lines.iter().map(|(number, line)| (*number, line.is_ok())).collect();
        let expected =
            [(2, true), (3, false), (5, false), (6, false), (7, false), (8, false), (9, true), (11, true), (13, true)];
        assert_eq!(numbers, expected);
        let problem = |place: usize| lines[place].1.as_ref().unwrap_err().as_str();
        assert_eq!(problem(1), "has no purchased_on: the line is too short");
        assert!(problem(2).starts_with("purchased_on is 01/02/1997, not a day"));
        assert!(problem(4).starts_with("amount is $1, but must be a decimal"));
        assert_eq!(problem(5), "customer_id is empty");
    }

    #[test]
    fn a_quote_that_is_not_closed_is_told_where_it_begins() {
        let header = "purchase_id,customer_id,purchased_on,amount,note\n";
        for (rest, number) in [
            ("p1,c1,1997-01-01,1,\n\np2,c1,1997-01-01,1,\"so\np3,c1,1997-01-01,1,\n", 4),
            ("p1,c1,1997-01-01,1,\np2,c1,1997-01-01,1,\"", 3),
            ("p1,c1,1997-01-01,1,\np2,c1,1997-01-01,1,\"so\"\"", 3),
        ] {
            let lines = read(&format!("{header}{rest}")).unwrap();
            assert_eq!((lines.len(), lines[0].0, lines[0].1.is_ok(), lines[1].0), (2, 2, true, number), "{rest}");
            let problem = lines[1].1.as_ref().unwrap_err();
            assert!(problem.starts_with("has a quote that is not closed"), "{problem}");
        }
        let header = read("purchase_id,customer_id,purchased_on,amount,\"note\np1,c1,1997-01-01,1,").unwrap_err();
        assert!(header.starts_with("the header has a quote that is not closed"), "{header}");
        assert_eq!(read("purchase_id,customer_id,purchased_on,amount,\"note\"").unwrap(), []);
    }

    #[test]
    fn what_is_not_utf_8_spoils_its_own_line_only() {
        let setting = Setting { currency_code: "USD".to_owned(), zone: TimeZone::UTC };
        let text = b"purchase_id,customer_id,purchased_on,amount\np1,\xff,1997-01-01,1\np2,c,1997-01-01,1\n";
        let lines: Vec<Line<Purchase>> =
            Lines::from_reader(text.as_slice(), |header| Columns::find(header, setting)).unwrap().collect();
        assert_eq!(lines[0], (2, Err("customer_id is not UTF-8".to_owned())));
        assert!(lines[1].1.is_ok());
    }
}
