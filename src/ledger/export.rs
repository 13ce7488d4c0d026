//! Exports: all entries of a program from one snapshot, read no faster than the caller receives them.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;

use super::commands::RecordExport;
use super::store::{OwnedEntry, TimeRange, count_entries, scan_entries};
use crate::book::{Book, Instants, Writer};
use crate::database::{ExportBounds, ExportPlaces, ExportReader, Halt, Outlet, Traced as _, by_scan};
use crate::error::Error;
use crate::ids::{EntryId, ProgramId};
use crate::programs::model::Which;
use crate::programs::model::program_not_found;
use crate::programs::read_version;

/// What exports may take. Each scans the ledger.
const fn bounds(limit: Duration) -> ExportBounds {
    let advice = "go on from the last resume_token";
    ExportBounds { at_a_time: 2, of_one: 2, items_ahead: 256, stall_limit: Duration::from_secs(600), limit, advice }
}

/// An export that has begun.
pub struct Export {
    /// How many entries there are.
    pub entries_total: i64,
    /// Everything of the period that took effect by this instant is in the snapshot.
    pub as_of: Timestamp,
    /// The entries, by account and number. Dropping it ends the export.
    pub entries: BoxStream<'static, Result<OwnedEntry, Error>>,
}

/// Begins exports, a few at a time.
#[derive(Clone)]
pub(super) struct Exports {
    places: ExportPlaces,
    instants: Instants,
    book: Book,
}

impl Exports {
    pub(super) fn new(database: &PgConnectOptions, limit: Duration, instants: Instants, book: Book) -> Self {
        Self { places: ExportPlaces::new(by_scan(database), bounds(limit)), instants, book }
    }

    pub(super) async fn begin(
        &self,
        program_id: ProgramId,
        range: TimeRange,
        after: Option<EntryId>,
        writer: Writer,
    ) -> Result<Export, Error> {
        let mut place = self.places.take(writer.principal_id).await?;
        // Closed before the snapshot is made: so all that took effect by then is in it, and stays all.
        let as_of = self.instants.close_up_to(range.until).await?;
        place.begin_snapshot().await?;
        let version = read_version(&mut place.connection, &program_id, Which::Latest).await?;
        version.ok_or_else(|| program_not_found(&program_id))?;
        let entries_total = count_entries(&mut place.connection, &program_id, range, after).await?;
        // Recorded last of all that may refuse, so that no refused export is on the book; and after the snapshot, so that
        // the entry is later than `as_of`, and an export of the same period holds the same entries as before.
        let TimeRange { from, until } = range;
        self.book.submit(RecordExport { program_id: program_id.clone(), from, until }, writer).await?;
        Ok(Export { entries_total, as_of, entries: place.start(Reading { program_id, range, after }) })
    }
}

/// The reading side of an export.
struct Reading {
    program_id: ProgramId,
    range: TimeRange,
    after: Option<EntryId>,
}

impl ExportReader for Reading {
    type Item = OwnedEntry;

    fn name(&self) -> String {
        format!("an export of program {}", self.program_id)
    }

    async fn read(&mut self, connection: &mut PgConnection, outlet: &Outlet<OwnedEntry>) -> Result<(), Halt> {
        let scan = async {
            let mut rows = scan_entries(connection, &self.program_id, self.range, self.after);
            while let Some(entry) = rows.try_next().await? {
                outlet.send(entry).await?;
            }
            Ok(())
        };
        scan.traced("SELECT ledger_entries").await
    }
}
