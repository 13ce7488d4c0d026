//! Reads CSV files line by line, so that a bad line spoils no other.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use csv::{ByteRecord, Reader, ReaderBuilder, Terminator};

use crate::cli::error::CliError;

/// Reads the lines of a file, whose header says where their fields are.
pub(super) trait Form {
    /// What one line says.
    type Row;

    /// Reads a line, or says why it is bad.
    fn parse(&self, record: &ByteRecord) -> Result<Self::Row, String>;
}

/// The number of a line in its file, from 1, and what the line says or why it is bad.
pub(super) type Line<T> = (u64, Result<T, String>);

/// The names of a file's columns.
pub(super) struct Header(Vec<String>);

impl Header {
    /// The position of a column that has one of these names. Case does not matter.
    pub(super) fn find(&self, names: &[&str]) -> Result<usize, String> {
        let missing = || format!("the header has no column {}; it has: {}", names.join(" or "), self.0.join(", "));
        self.find_optional(names)?.ok_or_else(missing)
    }

    /// The position of a column that may be missing.
    pub(super) fn find_optional(&self, names: &[&str]) -> Result<Option<usize>, String> {
        let mut places = self.0.iter().enumerate().filter(|(_, name)| names.contains(&name.as_str()));
        match (places.next(), places.next()) {
            (Some(_), Some(_)) => Err(format!("the header has more than one column {}", names.join(" or "))),
            (place, _) => Ok(place.map(|(place, _)| place)),
        }
    }

    /// The position of a column of amounts. Its name may end in the program's currency.
    pub(super) fn find_amount(&self, name: &str, currency_code: &str) -> Result<Option<usize>, String> {
        let (prefix, in_currency) = (format!("{name}_"), format!("{name}_{}", currency_code.to_ascii_lowercase()));
        if let Some(other) = self.0.iter().find(|column| column.starts_with(&prefix) && **column != in_currency) {
            return Err(format!("the column {other} is not in the program's currency, {currency_code}"));
        }
        self.find_optional(&[name, &in_currency])
    }
}

/// A field of a line, without white space around it.
pub(super) fn field<'a>(record: &'a ByteRecord, place: usize, name: &str) -> Result<&'a str, String> {
    let field = record.get(place).ok_or_else(|| format!("has no {name}: the line is too short"))?;
    Ok(str::from_utf8(field).map_err(|_| format!("{name} is not UTF-8"))?.trim())
}

/// A field of a line that must not be empty.
pub(super) fn required<'a>(record: &'a ByteRecord, place: usize, name: &str) -> Result<&'a str, String> {
    let text = field(record, place, name)?;
    if text.is_empty() { Err(format!("{name} is empty")) } else { Ok(text) }
}

/// What is wrong with a line that takes in all others.
const UNCLOSED: &str = "has a quote that is not closed, so all lines after it count as one text";

/// What is read behind a file. Its last line may lack its end; an end too many does no harm. The quote begins a line of its
/// own, unless it closes one that the file left open: then that line is the last one.
const BEHIND: &[u8] = b"\n\"\n";

/// A file that is being read.
pub(super) struct Lines<R, F> {
    reader: Reader<io::Chain<R, &'static [u8]>>,
    form: F,
    /// What comes next, read already: nothing follows a quote that is not closed.
    ahead: Option<Line<ByteRecord>>,
}

impl<F: Form> Lines<File, F> {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// If it cannot be read, or its header lacks a column.
    pub(super) fn open(path: &Path, form: impl FnOnce(&Header) -> Result<F, String>) -> Result<Self, CliError> {
        let usage = |problem: String| CliError::usage(format_args!("{}: {problem}", path.display()));
        let file = File::open(path).map_err(|error| usage(error.to_string()))?;
        Self::from_reader(file, form).map_err(usage)
    }
}

impl<R: Read, F: Form> Lines<R, F> {
    /// Reads the header.
    pub(super) fn from_reader(source: R, form: impl FnOnce(&Header) -> Result<F, String>) -> Result<Self, String> {
        let mut reader = lines_of(source.chain(BEHIND));
        let header = reader.byte_headers().map_err(|error| error.to_string())?;
        let lower = |name: &[u8]| String::from_utf8_lossy(name).trim().to_ascii_lowercase();
        let form = form(&Header(header.iter().map(lower).collect()))?;
        let mut lines = Self { reader, form, ahead: None };
        lines.ahead = lines.read();
        if lines.ahead.is_none() { Err(format!("the header {UNCLOSED}")) } else { Ok(lines) }
    }

    fn read(&mut self) -> Option<Line<ByteRecord>> {
        let mut record = ByteRecord::new();
        match self.reader.read_byte_record(&mut record) {
            Ok(true) => Some((self.number_of(&record), Ok(record))),
            Ok(false) => None,
            Err(error) => {
                let line = self.reader.position().line();
                Some((line, Err(format!("this line and all after it cannot be read: {error}"))))
            }
        }
    }

    /// The number of the line on which the record that was just read begins. The reader knows only where it ended, and
    /// where it began to look for it, which may be at blank lines before.
    fn number_of(&self, record: &ByteRecord) -> u64 {
        let breaks_within = record.as_slice().iter().filter(|byte| **byte == b'\n').count();
        let after = self.reader.position().line();
        after.saturating_sub(1).saturating_sub(u64::try_from(breaks_within).unwrap_or_default())
    }
}

impl<R: Read, F: Form> Iterator for Lines<R, F> {
    type Item = Line<F::Row>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (number, record) = self.ahead.take()?;
            let record = match record {
                Ok(record) => record,
                Err(why) => return Some((number, Err(why))),
            };
            self.ahead = self.read();
            if is_blank(&record) {
                continue;
            }
            let row = if self.ahead.is_none() { Err(UNCLOSED.to_owned()) } else { self.form.parse(&record) };
            return Some((number, row));
        }
    }
}

/// A reader of lines with any number of fields, so that a short line does not look like the end of the file. A line
/// ends at a line feed alone, so that lines can be counted. A carriage return before it is white space at the end of a
/// field.
fn lines_of<R: Read>(source: R) -> Reader<R> {
    ReaderBuilder::new().flexible(true).terminator(Terminator::Any(b'\n')).from_reader(source)
}

fn is_blank(record: &ByteRecord) -> bool {
    record.as_slice().trim_ascii().is_empty() && record.len() <= 1
}

/// How many lines there are after the header, to tell how far an import is. None if the file cannot be read twice, as a
/// pipe, or cannot be read at all, which the import itself will tell.
pub(super) fn count(path: &Path) -> Option<u64> {
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
