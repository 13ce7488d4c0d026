//! Exports: all entries of a program from one snapshot, read no faster than the caller receives them.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tracing::Instrument as _;

use super::commands::RecordExport;
use super::store::{OwnedEntry, TimeRange, begin_snapshot, count_entries, scan_entries};
use crate::book::{Book, Instants, Writer};
use crate::database::{StoreError, Traced as _, by_scan, connect_alone};
use crate::error::Error;
use crate::ids::{EntryId, ProgramId};
use crate::programs::model::program_not_found;
use crate::programs::read_version;
use crate::telemetry;

/// How many exports run at a time. Each scans the ledger, and its snapshot keeps Postgres from cleaning up.
const MAX_EXPORTS: usize = 2;
/// How many entries are read ahead of the caller.
const ENTRIES_AHEAD: usize = 256;
/// How long an export waits for a caller who receives nothing. After that it is given up: others may wait to export,
/// and the snapshot must not stay open.
const STALL_LIMIT: Duration = Duration::from_secs(600);

/// How much longer the database carries on, should the service not end the export itself.
const GRACE: Duration = Duration::from_secs(60);

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
    database: PgConnectOptions,
    limit: Duration,
    instants: Instants,
    book: Book,
    slots: Arc<Semaphore>,
}

impl Exports {
    pub(super) fn new(database: &PgConnectOptions, limit: Duration, instants: Instants, book: Book) -> Self {
        let at_most = (limit + GRACE).as_millis().to_string();
        let database = by_scan(database).options([("statement_timeout", at_most)]);
        Self { database, limit, instants, book, slots: Arc::new(Semaphore::new(MAX_EXPORTS)) }
    }

    pub(super) async fn begin(
        &self,
        program_id: ProgramId,
        range: TimeRange,
        after: Option<EntryId>,
        writer: Writer,
    ) -> Result<Export, Error> {
        let slot = self.slots.clone().try_acquire_owned().map_err(|_| crowded())?;
        // This connection is not from a pool. If the export is given up, it is closed; one of a pool would have to read
        // all its rows first.
        let mut connection = connect_alone(&self.database).await?;
        // Closed before the snapshot is made: so all that took effect by then is in it, and stays all.
        let as_of = self.instants.close_up_to(range.until).await?;
        begin_snapshot(&mut connection).await?;
        read_version(&mut connection, &program_id, None).await?.ok_or_else(|| program_not_found(&program_id))?;
        let entries_total = count_entries(&mut connection, &program_id, range, after).await?;
        // Recorded last of all that may refuse, so that no refused export is on the book; and after the snapshot, so that
        // the entry is later than `as_of`, and an export of the same period holds the same entries as before.
        let TimeRange { from, until } = range;
        self.book.submit(RecordExport { program_id: program_id.clone(), from, until }, writer).await?;
        let reading = Reading { connection, program_id, range, after, limit: self.limit, _slot: slot };
        Ok(Export { entries_total, as_of, entries: reading.start() })
    }
}

fn crowded() -> Error {
    Error::Crowded(format!("{MAX_EXPORTS} exports run already, as many as may; try again when one of them has ended"))
}

fn stalled() -> Error {
    let minutes = STALL_LIMIT.as_secs() / 60;
    let what = format!("the export was given up, since nothing of it was taken for {minutes} minutes");
    Error::Crowded(format!("{what}; go on from the last resume_token"))
}

fn too_long(limit: Duration) -> Error {
    let seconds = limit.as_secs();
    Error::Crowded(format!("an export may take {seconds} seconds in all; go on from the last resume_token"))
}

/// The reading side of an export.
struct Reading {
    connection: PgConnection,
    program_id: ProgramId,
    range: TimeRange,
    after: Option<EntryId>,
    limit: Duration,
    _slot: OwnedSemaphorePermit,
}

/// How reading ended, other than by a failure of the database.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Complete,
    Stalled,
    /// It took as long as an export may.
    TooLong,
    /// The caller has left.
    Left,
}

impl Reading {
    /// Reads in a task of its own, so that the time limit also runs while the caller asks for nothing.
    fn start(mut self) -> BoxStream<'static, Result<OwnedEntry, Error>> {
        let (entries, taken) = mpsc::channel(ENTRIES_AHEAD);
        let (program_id, limit) = (self.program_id.clone(), self.limit);
        let work = async move {
            let outcome = tokio::select! {
                // The caller may also leave while the database still sorts and there is nothing to send.
                () = entries.closed() => Ok(End::Left),
                outcome = tokio::time::timeout(limit, self.send_all(&entries).traced("SELECT ledger_entries")) => {
                    outcome.unwrap_or(Ok(End::TooLong))
                }
            };
            if matches!(outcome, Ok(End::Complete)) {
                // Everything was read, so it does not matter whether closing succeeds.
                let _ = self.connection.close().await;
            }
            outcome
        };
        let work = tokio::spawn(work.in_current_span());
        // A stream that only ended would look complete. So the task's outcome comes last.
        let end = stream::once(work).filter_map(move |ended| {
            ready(match ended {
                Ok(Ok(End::Complete | End::Left)) => None,
                Ok(Ok(End::Stalled)) => Some(Err(stalled())),
                Ok(Ok(End::TooLong)) => Some(Err(too_long(limit))),
                Ok(Err(error)) => Some(Err(error.into())),
                // Aborted, as when the runtime shuts down, or panicked.
                Err(ended) => Some(Err(Error::Internal(match ended.try_into_panic() {
                    Ok(panic) => {
                        format!("an export of program {program_id} panicked: {}", telemetry::message_of(&*panic))
                    }
                    Err(aborted) => format!("an export of program {program_id} was cut off: {aborted}"),
                }))),
            })
        });
        ReceiverStream::new(taken).map(Ok).chain(end).boxed()
    }

    async fn send_all(&mut self, entries: &mpsc::Sender<OwnedEntry>) -> Result<End, StoreError> {
        let mut rows = scan_entries(&mut self.connection, &self.program_id, self.range, self.after);
        while let Some(entry) = rows.try_next().await? {
            match entries.send_timeout(entry, STALL_LIMIT).await {
                Ok(()) => {}
                Err(SendTimeoutError::Timeout(_)) => return Ok(End::Stalled),
                Err(SendTimeoutError::Closed(_)) => return Ok(End::Left),
            }
        }
        Ok(End::Complete)
    }
}
