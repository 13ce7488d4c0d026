//! Purchases in a CSV file: line by line, so that one bad line is one bad line.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use csv::{ByteRecord, Reader, ReaderBuilder, Terminator};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::super::amount::Amount;
use super::super::{CliError, instant};

/// What a file of purchases is about, from its program.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// What amounts are in.
    pub(super) currency_code: String,
    /// Where a day begins.
    pub(super) zone: TimeZone,
}

/// One line as a purchase.
#[derive(Debug, PartialEq)]
pub(super) struct Purchase {
    pub(super) purchase_id: String,
    pub(super) customer_id: String,
    pub(super) happened_at: Timestamp,
    pub(super) amount: Amount,
}

/// A line's number in its file, from 1, and what it holds or why it holds no purchase.
pub(super) type Line = (u64, Result<Purchase, String>);

/// Which columns hold what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Columns {
    purchase_id: usize,
    customer_id: usize,
    purchased_on: usize,
    amount: usize,
}

impl Columns {
    /// Finds the columns by their names; others are ignored.
    fn find(header: &ByteRecord, currency_code: &str) -> Result<Self, String> {
        let names: Vec<String> =
            header.iter().map(|name| String::from_utf8_lossy(name).trim().to_ascii_lowercase()).collect();
        let find = |wanted: &dyn Fn(&str) -> bool, description: &str| {
            let mut places = names.iter().enumerate().filter(|(_, name)| wanted(name)).map(|(place, _)| place);
            match (places.next(), places.next()) {
                (Some(place), None) => Ok(place),
                (Some(_), Some(_)) => Err(format!("the header has more than one column {description}")),
                (None, _) => Err(format!("the header has no column {description}; it has: {}", names.join(", "))),
            }
        };
        let amount_in_currency = format!("amount_{}", currency_code.to_ascii_lowercase());
        if let Some(other) = names.iter().find(|name| name.starts_with("amount_") && **name != amount_in_currency) {
            return Err(format!("the column {other} is not in the program's currency, {currency_code}"));
        }
        Ok(Self {
            purchase_id: find(&|name| name == "purchase_id", "purchase_id")?,
            customer_id: find(&|name| name == "customer_id", "customer_id")?,
            purchased_on: find(&|name| name == "purchased_on", "purchased_on")?,
            amount: find(
                &|name| name == "amount" || name == amount_in_currency,
                &format!("amount or {amount_in_currency}"),
            )?,
        })
    }

    fn parse(self, record: &ByteRecord, setting: &Setting) -> Result<Purchase, String> {
        let field = |place: usize, name: &str| {
            let field = record.get(place).ok_or_else(|| format!("has no {name}: the line is too short"))?;
            let text = str::from_utf8(field).map_err(|_| format!("{name} is not UTF-8"))?.trim();
            if text.is_empty() { Err(format!("{name} is empty")) } else { Ok(text) }
        };
        let purchased_on = field(self.purchased_on, "purchased_on")?;
        let amount = field(self.amount, "amount")?;
        Ok(Purchase {
            purchase_id: field(self.purchase_id, "purchase_id")?.to_owned(),
            customer_id: field(self.customer_id, "customer_id")?.to_owned(),
            happened_at: instant::parse(purchased_on, &setting.zone)
                .ok_or_else(|| format!("purchased_on is {purchased_on}, not a day such as 1997-01-18 or an instant"))?,
            amount: Amount::parse(amount).map_err(|expected| format!("amount is {amount}, but {expected}"))?,
        })
    }
}

/// A file of purchases that is being read.
pub(super) struct Purchases<R> {
    reader: Reader<io::Chain<R, &'static [u8]>>,
    columns: Columns,
    setting: Setting,
    record: ByteRecord,
    is_broken: bool,
}

impl Purchases<File> {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// If it cannot be read, or its header lacks a column.
    pub(super) fn open(path: &Path, setting: Setting) -> Result<Self, CliError> {
        let usage = |problem: String| CliError::usage(format_args!("{}: {problem}", path.display()));
        let file = File::open(path).map_err(|error| usage(error.to_string()))?;
        Self::from_reader(file, setting).map_err(usage)
    }
}

impl<R: Read> Purchases<R> {
    fn from_reader(source: R, setting: Setting) -> Result<Self, String> {
        // The line end after the last line may be missing; one too many does no harm.
        let mut reader = lines_of(source.chain(b"\n".as_slice()));
        let header = reader.byte_headers().map_err(|error| error.to_string())?;
        let columns = Columns::find(header, &setting.currency_code)?;
        Ok(Self { reader, columns, setting, record: ByteRecord::new(), is_broken: false })
    }

    /// The number of the line on which the record begins. The reader only knows where the search for it began, blank
    /// lines before it included, and where it ended.
    fn line_number(&self) -> u64 {
        let breaks_within = self.record.as_slice().iter().filter(|byte| **byte == b'\n').count();
        let after = self.reader.position().line();
        after.saturating_sub(1).saturating_sub(u64::try_from(breaks_within).unwrap_or_default())
    }
}

impl<R: Read> Iterator for Purchases<R> {
    type Item = Line;

    fn next(&mut self) -> Option<Line> {
        if self.is_broken {
            return None;
        }
        loop {
            match self.reader.read_byte_record(&mut self.record) {
                Ok(true) if is_blank(&self.record) => {}
                Ok(true) => return Some((self.line_number(), self.columns.parse(&self.record, &self.setting))),
                Ok(false) => return None,
                Err(error) => {
                    self.is_broken = true;
                    let line = self.reader.position().line();
                    return Some((line, Err(format!("this line and all after it cannot be read: {error}"))));
                }
            }
        }
    }
}

/// A reader that takes lines of any length: one that is too short must not look like the end of the file. Lines end by
/// a line feed alone, so that they can be counted; a carriage return before it is white space at the end of a field.
fn lines_of<R: Read>(source: R) -> Reader<R> {
    ReaderBuilder::new().flexible(true).terminator(Terminator::Any(b'\n')).from_reader(source)
}

fn is_blank(record: &ByteRecord) -> bool {
    record.as_slice().trim_ascii().is_empty() && record.len() <= 1
}

/// How many lines after the header there are, to tell how far an import is. None where reading the file twice is not
/// possible, as for a pipe, or fails: reading it for real will tell.
pub(super) fn count_lines(path: &Path) -> Option<u64> {
    if !path.metadata().ok()?.is_file() {
        return None;
    }
    let mut reader = lines_of(File::open(path).ok()?);
    let mut record = ByteRecord::new();
    let mut count = 0;
    while reader.read_byte_record(&mut record).ok()? {
        count += u64::from(!is_blank(&record));
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::super::super::instant::time_zone;
    use super::*;

    fn read(text: &str) -> Result<Vec<Line>, String> {
        let setting = Setting { currency_code: "USD".to_owned(), zone: time_zone("America/New_York").unwrap() };
        Ok(Purchases::from_reader(text.as_bytes(), setting)?.collect())
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
    fn what_is_not_utf_8_spoils_its_own_line_only() {
        let setting = Setting { currency_code: "USD".to_owned(), zone: TimeZone::UTC };
        let text = b"purchase_id,customer_id,purchased_on,amount\np1,\xff,1997-01-01,1\np2,c,1997-01-01,1\n";
        let lines: Vec<Line> = Purchases::from_reader(text.as_slice(), setting).unwrap().collect();
        assert_eq!(lines[0], (2, Err("customer_id is not UTF-8".to_owned())));
        assert!(lines[1].1.is_ok());
    }
}
