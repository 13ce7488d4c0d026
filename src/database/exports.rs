//! Exports: long reads that are streamed, a few at a time, each on a connection of its own and no faster than its caller
//! receives them.

use std::future::ready;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio_stream::wrappers::ReceiverStream;
use tracing::Instrument as _;

use super::alone::connect_alone;
use super::error::StoreError;
use super::traced::{StatementError, Traced as _};
use crate::error::{Defect, Error};
use crate::ids::PrincipalId;
use crate::telemetry;

/// How much longer the database carries on, should the service not end an export itself.
const GRACE: Duration = Duration::from_secs(60);

/// What exports of one kind may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExportBounds {
    /// How many run at a time. Each has a connection, and its snapshot keeps Postgres from cleaning up.
    pub at_a_time: usize,
    /// How many of them may be one principal's.
    pub of_one: usize,
    /// How many items are read ahead of the caller.
    pub items_ahead: usize,
    /// How long an export waits for a caller who receives nothing. After that it is given up: others may wait to export,
    /// and the snapshot must not stay open.
    pub stall_limit: Duration,
    /// How long one may take in all.
    pub limit: Duration,
    /// What the caller of an export that was ended can do.
    pub advice: &'static str,
}

/// The places of exports of one kind. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ExportPlaces {
    database: PgConnectOptions,
    bounds: ExportBounds,
    holders: Holders,
}

/// Who has an export running, once for each.
type Holders = Arc<Mutex<Vec<PrincipalId>>>;

impl ExportPlaces {
    /// Places for exports that connect by these options.
    pub(crate) fn new(database: PgConnectOptions, bounds: ExportBounds) -> Self {
        let at_most = (bounds.limit + GRACE).as_millis().to_string();
        let database = database.options([("statement_timeout", at_most)]);
        Self { database, bounds, holders: Holders::default() }
    }

    /// Takes a place for a principal, and connects.
    ///
    /// # Errors
    /// If all places are taken, or all that one may have, or the database is away.
    pub(crate) async fn take(&self, principal_id: PrincipalId) -> Result<ExportPlace, Error> {
        let slot = self.take_slot(principal_id)?;
        // This connection is not from a pool. If the export is given up, it is closed; one of a pool would have to read
        // all its rows first.
        let connection = connect_alone(&self.database).await?;
        Ok(ExportPlace { connection, bounds: self.bounds, slot })
    }

    fn take_slot(&self, principal_id: PrincipalId) -> Result<Slot, Error> {
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        if holders.len() >= self.bounds.at_a_time {
            return Err(ExportBounds::crowded(&format!("{} exports", holders.len())));
        }
        let own = holders.iter().filter(|holder| **holder == principal_id).count();
        if own >= self.bounds.of_one {
            return Err(ExportBounds::crowded(&format!("{own} exports of this caller")));
        }
        holders.push(principal_id);
        Ok(Slot { holders: Arc::clone(&self.holders), principal_id })
    }
}

/// A principal's place, until it is dropped.
pub(crate) struct Slot {
    holders: Holders,
    principal_id: PrincipalId,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = holders.iter().position(|holder| *holder == self.principal_id) {
            holders.swap_remove(own);
        }
    }
}

impl ExportBounds {
    /// What counting over all customers of a program may take, of which nothing is streamed.
    pub(crate) const COUNTS: Self = Self {
        at_a_time: 2,
        of_one: 1,
        items_ahead: 1,
        stall_limit: Duration::from_secs(60),
        limit: Duration::from_secs(60),
        advice: "ask for a shorter period",
    };

    fn crowded(running: &str) -> Error {
        telemetry::metrics::count_limit("exports under way");
        Error::Exhausted(format!("{running} run already, as many as may; try again when one of them has ended"))
    }

    fn stalled(&self) -> Error {
        let seconds = self.stall_limit.as_secs();
        let what = format!("the export was given up, since nothing of it was taken for {seconds} seconds");
        Error::Exhausted(format!("{what}; {}", self.advice))
    }

    fn too_long(&self) -> Error {
        let seconds = self.limit.as_secs();
        Error::Exhausted(format!("an export may take {seconds} seconds in all; {}", self.advice))
    }
}

/// A place that was taken. Dropping it frees it for another export.
pub(crate) struct ExportPlace {
    /// The export's own connection.
    pub connection: PgConnection,
    bounds: ExportBounds,
    slot: Slot,
}

/// What an export reads, and how.
pub(crate) trait ExportReader: Send + 'static {
    /// What it sends.
    type Item: Send + 'static;

    /// What is exported, as a failure names it, such as `an export of program shop`.
    fn name(&self) -> String;

    /// Reads everything and sends it.
    fn read(
        &mut self,
        connection: &mut PgConnection,
        outlet: &Outlet<Self::Item>,
    ) -> impl Future<Output = Result<(), Halt>> + Send;
}

/// Why an export came to no end of its own.
#[derive(Debug)]
pub(crate) enum Halt {
    /// The caller has left.
    Left,
    /// The caller has received nothing for too long.
    Stalled,
    /// It took as long as an export may.
    TooLong,
    /// It cannot be read.
    Failed(StoreError),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl From<sqlx::Error> for Halt {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Defect> for Halt {
    fn from(defect: Defect) -> Self {
        Self::Failed(defect.into())
    }
}

impl StatementError for Halt {
    fn sql_state(&self) -> Option<String> {
        match self {
            Self::Failed(error) => error.sql_state(),
            Self::Left | Self::Stalled | Self::TooLong => None,
        }
    }
}

/// Where an export sends its items.
pub(crate) struct Outlet<T> {
    items: mpsc::Sender<T>,
    stall_limit: Duration,
    sent: AtomicUsize,
}

impl<T> Outlet<T> {
    /// Sends an item, and waits until there is room for it.
    ///
    /// # Errors
    /// If the caller has left, or receives nothing for too long.
    pub(crate) async fn send(&self, item: T) -> Result<(), Halt> {
        match self.items.send_timeout(item, self.stall_limit).await {
            Ok(()) => {
                self.sent.fetch_add(1, Relaxed);
                Ok(())
            }
            Err(SendTimeoutError::Timeout(_)) => Err(Halt::Stalled),
            Err(SendTimeoutError::Closed(_)) => Err(Halt::Left),
        }
    }
}

impl ExportPlace {
    /// Ends the connection, and with it the snapshot, and keeps the place: for whoever has read everything and goes on without.
    pub(crate) fn into_slot(self) -> Slot {
        self.slot
    }

    /// Begins a transaction in which all statements see the snapshot of the first one. It ends with the connection.
    ///
    /// # Errors
    /// If the database cannot be reached.
    pub(crate) async fn begin_snapshot(&mut self) -> Result<(), StoreError> {
        let begin = sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
        begin.execute(&mut self.connection).traced("BEGIN").await?;
        Ok(())
    }

    /// Reads in a task of its own, so that the time limit also runs while the caller asks for nothing. Dropping the
    /// stream ends the export.
    pub(crate) fn start<R: ExportReader>(self, mut reader: R) -> BoxStream<'static, Result<R::Item, Error>> {
        let Self { mut connection, bounds, slot } = self;
        let (items, taken) = mpsc::channel(bounds.items_ahead);
        let name = reader.name();
        let work = async move {
            let outlet = Outlet { items, stall_limit: bounds.stall_limit, sent: AtomicUsize::new(0) };
            let outcome = tokio::select! {
                // The caller may also leave while the database still sorts and there is nothing to send.
                () = outlet.items.closed() => Err(Halt::Left),
                outcome = tokio::time::timeout(bounds.limit, reader.read(&mut connection, &outlet)) => {
                    outcome.unwrap_or(Err(Halt::TooLong))
                }
            };
            telemetry::record_items(outlet.sent.load(Relaxed), 0);
            if outcome.is_ok() {
                // Everything was read, so it does not matter whether closing succeeds.
                let _ = connection.close().await;
            } else {
                drop(connection);
            }
            drop(slot);
            outcome
        };
        let work = tokio::spawn(work.in_current_span());
        // A stream that only ended would look complete. So the task's outcome comes last.
        let end = stream::once(work).filter_map(move |ended| {
            ready(match ended {
                Ok(Ok(()) | Err(Halt::Left)) => None,
                Ok(Err(Halt::Stalled)) => Some(Err(bounds.stalled())),
                Ok(Err(Halt::TooLong)) => Some(Err(bounds.too_long())),
                Ok(Err(Halt::Failed(error))) => Some(Err(error.into())),
                // Aborted, as when the runtime shuts down, or panicked.
                Err(ended) => Some(Err(Error::Internal(match ended.try_into_panic() {
                    Ok(panic) => format!("{name} panicked: {}", telemetry::message_of(&*panic)),
                    Err(aborted) => format!("{name} was cut off: {aborted}"),
                }))),
            })
        });
        ReceiverStream::new(taken).map(Ok).chain(end).boxed()
    }
}
