//! Closed instants: those that nothing can be written for any more, so that what is answered for them stays the answer.
//!
//! An instant is closed once no batch that began before it, or at it, is under way. A batch reads its instant while it
//! is under way, later than it began. So of all batches that a look at the sessions of the lanes can meet,
//!
//! - one that has not said yet that it began reads its instant after the look;
//! - one that began after the instant in question reads a later one;
//! - one that has ended is seen by every snapshot that is taken after the look, since Postgres makes a transaction
//!   visible before it says that it ended.
//!
//! Nobody is locked for that, and nothing is added to a write.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sqlx::{PgConnection, PgPool};
use tokio::time::Instant;

use super::store::instants::{Look, fetch_looks, look_at_batches};
use crate::clock::{Clock, refuse_future_in};
use crate::database::{BatchReader, StoreError};
use crate::error::Error;

/// What is closed already, without waiting for anything.
#[derive(Clone, Copy, Debug)]
pub struct ClosedSoFar {
    /// What the database's clock told when it was looked.
    pub told: Timestamp,
    /// The latest instant that is closed by the database's clock. None if sessions that write do not show whether they
    /// have a batch under way, such as to another role than theirs.
    pub closed: Option<Timestamp>,
}

/// Looks what is closed already. Whatever was recorded by then is seen in snapshots that are taken afterwards. The
/// connection must not be in a transaction.
///
/// # Errors
/// If the database cannot be read.
pub async fn find_closed(connection: &mut PgConnection) -> Result<ClosedSoFar, StoreError> {
    let look = look_at_batches(connection).await?;
    let open = look.oldest_batch.map_or(look.told, |began| began.min(look.told));
    // A batch may take the very instant at which it began.
    let closed = open.saturating_sub(SignedDuration::from_micros(1)).unwrap_or(Timestamp::MIN);
    Ok(ClosedSoFar { told: look.told, closed: (look.hidden_sessions == 0).then_some(closed) })
}

/// How long an answer waits for its instant to be closed.
const WAIT_LIMIT: Duration = Duration::from_secs(2);
/// The pause between two looks: about as long as a batch takes.
const PAUSE: Duration = Duration::from_millis(3);

/// Closes instants before something is answered for them. Cheap to clone.
#[derive(Clone)]
pub struct Instants {
    clock: Clock,
    looks: BatchReader<(), Look>,
}

impl Instants {
    /// Instants by a clock; the looks of all who wait at the same time are one statement on `lookups`.
    #[must_use]
    pub fn open(lookups: &PgPool, clock: Clock) -> Self {
        Self { clock, looks: BatchReader::open("instants", lookups, &fetch_looks()) }
    }

    /// The clock that tells the present.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Waits until an instant is closed, or the present if none is asked for, and returns it. Only what is read in
    /// snapshots that are taken afterwards is an answer for it.
    ///
    /// # Errors
    /// A refusal that names the field if the instant lies ahead; [`Error::InstantOpen`] if a batch that began before it
    /// does not end.
    pub async fn close(&self, field: &'static str, asked: Option<Timestamp>) -> Result<Timestamp, Error> {
        let first = self.look().await?;
        let now = self.clock.present(first.told);
        let instant = asked.unwrap_or(now);
        refuse_future_in(field, instant, now)?;
        self.wait_until_closed(first, now, instant).await?;
        Ok(instant)
    }

    /// Waits until all is closed that has passed of a period with this end, or without one, and returns the present.
    ///
    /// # Errors
    /// [`Error::InstantOpen`] if a batch that began before it does not end.
    pub async fn close_up_to(&self, end: Option<Timestamp>) -> Result<Timestamp, Error> {
        let first = self.look().await?;
        let now = self.clock.present(first.told);
        let instant = end.map_or(now, |end| end.min(now));
        self.wait_until_closed(first, now, instant).await?;
        Ok(now)
    }

    #[expect(clippy::disallowed_methods, reason = "the pause between two looks, and their end; no entry knows of them")]
    async fn wait_until_closed(&self, first: Look, now: Timestamp, instant: Timestamp) -> Result<(), Error> {
        // When batches began is told by the database's clock alone. So an instant of a fixed clock stands for one of
        // the database's that is as far from the present.
        let instant_there = first.told.saturating_sub(now.duration_since(instant)).unwrap_or(Timestamp::MIN);
        let give_up = Instant::now() + WAIT_LIMIT;
        let mut look = first;
        loop {
            let is_under_way = look.oldest_batch.is_some_and(|began| began <= instant_there);
            // A batch that began within the same microsecond as the look might still take this instant.
            if look.told > instant_there && !is_under_way {
                return Ok(());
            }
            if is_under_way {
                if Instant::now() >= give_up {
                    tracing::warn!(%instant, oldest_batch = ?look.oldest_batch, "an answer waits for a batch in vain");
                    return Err(Error::InstantOpen(instant));
                }
                tokio::time::sleep(PAUSE).await;
            }
            look = self.look().await?;
        }
    }

    async fn look(&self) -> Result<Look, Error> {
        let look = self.looks.find(()).await?.ok_or_else(|| Error::Internal("a look saw nothing".to_owned()))?;
        if look.hidden_sessions > 0 {
            // An answer that may change later would be worse than none.
            let count = look.hidden_sessions;
            let what = "do not show whether they write: track_activities is off, or they have another role";
            return Err(Error::Internal(format!("{count} sessions of the service {what}")));
        }
        Ok(look)
    }
}
