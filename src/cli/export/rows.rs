//! Writes entries as rows, with the same columns in CSV and in JSON Lines.

use std::io::{self, BufWriter, Write};

use clap::ValueEnum;
use goldbook_api::v1::{Actor, Entry, EntryKind, EntryReason, Pocket};
use serde::de::IgnoredAny;

use super::super::instant;

/// How the rows of an export are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Comma-separated values with a header, as RFC 4180 has them.
    Csv,
    /// JSON Lines: one object a line.
    Jsonl,
}

/// The columns, in the order of [`cells`].
const COLUMNS: [&str; 20] = [
    "entry_id",
    "account_id",
    "account_seq",
    "program_id",
    "customer_id",
    "kind",
    "from_pocket",
    "to_pocket",
    "points",
    "principal_id",
    "actor",
    "reason",
    "policy_version",
    "cause_entry_ids",
    "command_id",
    "trace_id",
    "effective_at",
    "recorded_at",
    "content_hash",
    "detail",
];

/// What stands in one column of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Absent,
    Text(String),
    Number(i64),
    /// Words that have no spaces in them.
    List(Vec<String>),
    /// JSON on one line, as the service tells it.
    Json(String),
}

impl Cell {
    fn into_csv(self) -> String {
        match self {
            Self::Absent => String::new(),
            Self::Text(text) | Self::Json(text) => text,
            Self::Number(number) => number.to_string(),
            Self::List(words) => words.join(" "),
        }
    }

    fn into_json(self) -> serde_json::Result<String> {
        match self {
            Self::Absent => Ok("null".to_owned()),
            Self::Text(text) => serde_json::to_string(&text),
            // Many readers of JSON count with doubles, and would change it.
            Self::Number(number) if number.unsigned_abs() > 1 << 53 => Ok(format!("\"{number}\"")),
            Self::Number(number) => Ok(number.to_string()),
            Self::List(words) => serde_json::to_string(&words),
            Self::Json(json) => Ok(json),
        }
    }
}

/// The cells of an entry. Returns none if it lacks a field that the interface promises.
pub(super) fn cells(entry: &Entry) -> Option<[Cell; COLUMNS.len()]> {
    let text = |text: &str| if text.is_empty() { Cell::Absent } else { Cell::Text(text.to_owned()) };
    let time = |at: Option<&prost_types::Timestamp>| Some(Cell::Text(instant::from_wire(at?)?.to_string()));
    let kind = EntryKind::try_from(entry.kind).map(|kind| kind.as_str_name());
    let actor = Actor::try_from(entry.actor).map(|actor| actor.as_str_name());
    let reason = EntryReason::try_from(entry.reason).map(|reason| reason.as_str_name());
    let pocket = |pocket: i32| word(Pocket::try_from(pocket).map(|it| it.as_str_name()), "POCKET_", pocket);
    let (from, to, points) = entry.r#move.map_or((Cell::Absent, Cell::Absent, Cell::Absent), |it| {
        (pocket(it.from), pocket(it.to), Cell::Number(it.points))
    });
    let detail = &entry.detail_json;
    if detail.contains(['\n', '\r']) || serde_json::from_str::<IgnoredAny>(detail).is_err() {
        return None;
    }
    Some([
        text(&entry.entry_id),
        text(&entry.account_id),
        Cell::Number(entry.account_seq),
        text(&entry.program_id),
        text(&entry.customer_id),
        word(kind, "ENTRY_KIND_", entry.kind),
        from,
        to,
        points,
        text(&entry.principal_id),
        word(actor, "ACTOR_", entry.actor),
        word(reason, "ENTRY_REASON_", entry.reason),
        Cell::Number(entry.policy_version.into()),
        Cell::List(entry.cause_entry_ids.clone()),
        text(&entry.command_id),
        text(&entry.trace_id),
        time(entry.effective_at.as_ref())?,
        time(entry.recorded_at.as_ref())?,
        Cell::Text(entry.content_hash.iter().map(|byte| format!("{byte:02x}")).collect()),
        Cell::Json(detail.clone()),
    ])
}

/// An enum's value as the ledger spells it: `POCKET_AVAILABLE` is `available`. A value that this program does not know,
/// as of a newer service, is written as its number.
fn word<E>(name: Result<&str, E>, prefix: &str, number: i32) -> Cell {
    let name = name.map(|name| name.strip_prefix(prefix).unwrap_or(name).to_lowercase());
    Cell::Text(name.unwrap_or_else(|_| number.to_string()))
}

/// Writes rows in a format.
pub(super) enum Rows<W: Write> {
    Csv(Box<csv::Writer<W>>),
    JsonLines(BufWriter<W>),
}

impl<W: Write> Rows<W> {
    /// Writes the header, if the format has one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn begin(format: Format, writer: W) -> io::Result<Self> {
        match format {
            Format::Csv => {
                let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(writer);
                writer.write_record(COLUMNS).map_err(io_error)?;
                Ok(Self::Csv(Box::new(writer)))
            }
            Format::Jsonl => Ok(Self::JsonLines(BufWriter::new(writer))),
        }
    }

    /// Writes one row.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn write(&mut self, cells: [Cell; COLUMNS.len()]) -> io::Result<()> {
        match self {
            Self::Csv(writer) => writer.write_record(cells.map(Cell::into_csv)).map_err(io_error),
            Self::JsonLines(writer) => {
                for (index, (name, cell)) in COLUMNS.into_iter().zip(cells).enumerate() {
                    let separator = if index == 0 { '{' } else { ',' };
                    write!(writer, "{separator}\"{name}\":{}", cell.into_json()?)?;
                }
                writer.write_all(b"}\n")
            }
        }
    }

    /// Flushes what was written.
    ///
    /// # Errors
    /// If what was left cannot be written.
    pub(super) fn end(self) -> io::Result<()> {
        match self {
            Self::Csv(mut writer) => writer.flush(),
            Self::JsonLines(mut writer) => writer.flush(),
        }
    }
}

/// The failure of the writer. The library's own conversion would hide its kind.
#[expect(clippy::wildcard_enum_match_arm, reason = "another crate's kinds, of which it may add some")]
fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use goldbook_api::v1::PocketMove;

    fn entry() -> Entry {
        let instant = |nanos| Some(prost_types::Timestamp { seconds: 852_094_800, nanos });
        Entry {
            entry_id: "e.2".to_owned(),
            account_id: "e".to_owned(),
            account_seq: 2,
            program_id: "shop".to_owned(),
            customer_id: "a \"b\", c\nd".to_owned(),
            kind: EntryKind::PointsGranted.into(),
            r#move: Some(PocketMove { from: Pocket::Issued.into(), to: Pocket::Available.into(), points: 7 }),
            lots: Vec::new(),
            detail_json: r#"{"kind":"points_granted"}"#.to_owned(),
            principal_id: "p".to_owned(),
            actor: Actor::Rule.into(),
            reason: EntryReason::Purchase.into(),
            policy_version: 3,
            cause_entry_ids: vec!["e.1".to_owned(), "f.1".to_owned()],
            command_id: "c".to_owned(),
            trace_id: "t".to_owned(),
            effective_at: instant(0),
            recorded_at: instant(1_000),
            content_hash: vec![0, 255],
        }
    }

    fn written(format: Format, entries: &[Entry]) -> String {
        let mut written = Vec::new();
        let mut rows = Rows::begin(format, &mut written).unwrap();
        for entry in entries {
            rows.write(cells(entry).unwrap()).unwrap();
        }
        rows.end().unwrap();
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn csv_reads_back_with_a_header_even_when_nothing_follows() {
        let moved_nothing = Entry { r#move: None, customer_id: String::new(), kind: 999, ..entry() };
        let text = written(Format::Csv, &[entry(), moved_nothing]);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        assert_eq!(reader.headers().unwrap(), &COLUMNS[..]);
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        let row = |customer_id, kind, moved: [&'static str; 3]| {
            let begin = ["e.2", "e", "2", "shop", customer_id, kind];
            let end = ["p", "rule", "purchase", "3", "e.1 f.1", "c", "t", "1997-01-01T05:00:00Z"];
            let rest = ["1997-01-01T05:00:00.000001Z", "00ff", r#"{"kind":"points_granted"}"#];
            [&begin[..], &moved, &end, &rest].concat()
        };
        assert_eq!(rows[0], row("a \"b\", c\nd", "points_granted", ["issued", "available", "7"]));
        assert_eq!(rows[1], row("", "999", ["", "", ""]));
        assert_eq!(rows.len(), 2);
        assert_eq!(written(Format::Csv, &[]), format!("{}\r\n", COLUMNS.join(",")));
    }

    #[test]
    fn json_lines_read_back_and_keep_the_detail_byte_for_byte() {
        let detail = r#"{"kind":"tier_changed","from":null,"to":"gold","qualifying_spend":50000}"#;
        let second = Entry { r#move: None, detail_json: detail.to_owned(), ..entry() };
        let text = written(Format::Jsonl, &[entry(), second]);
        let lines: Vec<&str> = text.lines().collect();
        let first: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!(first["customer_id"], "a \"b\", c\nd");
        assert_eq!(first["points"], 7);
        assert_eq!(first["cause_entry_ids"], serde_json::json!(["e.1", "f.1"]));
        assert_eq!(first["detail"]["kind"], "points_granted");
        assert_eq!(first.as_object().unwrap().len(), COLUMNS.len());
        assert!(lines[1].ends_with(&format!(",\"detail\":{detail}}}")));
        let second: serde_json::Value = serde_json::from_str(lines[1]).unwrap();
        assert_eq!((&second["from_pocket"], &second["points"]), (&serde_json::Value::Null, &serde_json::Value::Null));
        assert_eq!((lines.len(), written(Format::Jsonl, &[]).as_str()), (2, ""));
    }

    #[test]
    fn json_lines_have_numbers_beyond_2_to_the_53_as_strings() {
        let written = |number| Cell::Number(number).into_json().unwrap();
        assert_eq!([1 << 53, -(1 << 53)].map(written), ["9007199254740992", "-9007199254740992"]);
        assert_eq!([(1 << 53) + 1, i64::MIN].map(written), ["\"9007199254740993\"", "\"-9223372036854775808\""]);
    }

    #[test]
    fn an_entry_without_what_the_interface_promises_is_none() {
        assert_eq!(cells(&Entry { effective_at: None, ..entry() }), None);
        assert_eq!(cells(&Entry { detail_json: "{".to_owned(), ..entry() }), None);
    }
}
