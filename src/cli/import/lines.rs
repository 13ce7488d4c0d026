//! CSV files line by line, so that one bad line is one bad line.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use csv::{ByteRecord, Reader, ReaderBuilder, Terminator};

use crate::cli::CliError;

/// What the lines of a file hold, as its header says.
pub(super) trait Form {
    /// What a line holds.
    type Row;

    /// Reads a line, or says why it cannot be one of these.
    fn parse(&self, record: &ByteRecord) -> Result<Self::Row, String>;
}

/// A line's number in its file, from 1, and what it holds or why it does not.
pub(super) type Line<T> = (u64, Result<T, String>);

/// The names of a file's columns.
pub(super) struct Header(Vec<String>);

impl Header {
    /// The place of a column by one of its names; case does not matter.
    pub(super) fn find(&self, names: &[&str]) -> Result<usize, String> {
        let missing = || format!("the header has no column {}; it has: {}", names.join(" or "), self.0.join(", "));
        self.find_optional(names)?.ok_or_else(missing)
    }

    /// The same of a column that may be missing.
    pub(super) fn find_optional(&self, names: &[&str]) -> Result<Option<usize>, String> {
        let mut places = self.0.iter().enumerate().filter(|(_, name)| names.contains(&name.as_str()));
        match (places.next(), places.next()) {
            (Some(_), Some(_)) => Err(format!("the header has more than one column {}", names.join(" or "))),
            (place, _) => Ok(place.map(|(place, _)| place)),
        }
    }

    /// The place of a column of amounts: by its name alone, or with the program's currency after it.
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

/// A field that must hold something.
pub(super) fn required<'a>(record: &'a ByteRecord, place: usize, name: &str) -> Result<&'a str, String> {
    let text = field(record, place, name)?;
    if text.is_empty() { Err(format!("{name} is empty")) } else { Ok(text) }
}

/// A file that is being read.
pub(super) struct Lines<R, F> {
    reader: Reader<io::Chain<R, &'static [u8]>>,
    form: F,
    record: ByteRecord,
    is_broken: bool,
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
        // The line end after the last line may be missing; one too many does no harm.
        let mut reader = lines_of(source.chain(b"\n".as_slice()));
        let header = reader.byte_headers().map_err(|error| error.to_string())?;
        let lower = |name: &[u8]| String::from_utf8_lossy(name).trim().to_ascii_lowercase();
        let form = form(&Header(header.iter().map(lower).collect()))?;
        Ok(Self { reader, form, record: ByteRecord::new(), is_broken: false })
    }

    /// The number of the line on which the record begins. The reader only knows where the search for it began, blank
    /// lines before it included, and where it ended.
    fn line_number(&self) -> u64 {
        let breaks_within = self.record.as_slice().iter().filter(|byte| **byte == b'\n').count();
        let after = self.reader.position().line();
        after.saturating_sub(1).saturating_sub(u64::try_from(breaks_within).unwrap_or_default())
    }
}

impl<R: Read, F: Form> Iterator for Lines<R, F> {
    type Item = Line<F::Row>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_broken {
            return None;
        }
        loop {
            match self.reader.read_byte_record(&mut self.record) {
                Ok(true) if is_blank(&self.record) => {}
                Ok(true) => return Some((self.line_number(), self.form.parse(&self.record))),
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
