//! Writing the book: the one path that every change takes, for one command or for five hundred.
//!
//! A [`Command`] waits in a [`lane`]; the lane takes whatever waits as one [`batch`]: load, settle, decide, write,
//! reply. Rules are the commands' own; rows beyond the ledger are kept on [`shelf::Shelf`]s. The book knows both by
//! traits alone.

pub mod account;
mod batch;
pub mod command;
pub mod entry;
mod fold;
mod lane;
pub mod shelf;
pub mod store;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use futures_util::future::BoxFuture;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::Span;
use uuid::Uuid;

pub use account::{Account, AccountKind, Balance};
pub use command::{Command, CommandKey, Decision, Defect, Halt, Name, NameUse, Post};
pub use entry::{Actor, Detail, Entry, EntryReason, Key, Movement, Pocket};
pub use fold::{Folded, fold};
pub use lane::House;
pub use shelf::{Scope, Shelf, Shelves};

use crate::clock::Clock;
use crate::error::Error;
use crate::telemetry;
use lane::{Job, Lane};

/// How many commands may wait in one lane before callers are turned away.
const QUEUE_LENGTH: usize = 4_096;

/// What a command wrote on the account of its scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The entries in order; from the ledger if the command was carried out before.
    pub entries: Vec<Entry>,
    /// Whether this was a repetition.
    pub replayed: bool,
}

/// Takes commands and hands them to the lanes. Cheap to clone.
#[derive(Clone)]
pub struct Book {
    lanes: Vec<mpsc::Sender<Job>>,
}

/// The running lanes; they end when every [`Book`] is gone and the queues are empty.
pub struct Lanes(Vec<JoinHandle<()>>);

impl Lanes {
    /// Waits until everything that was accepted is answered.
    pub async fn drain(self) {
        for lane in self.0 {
            if lane.await.is_err() {
                tracing::error!("a lane ended by a panic");
            }
        }
    }
}

impl Book {
    /// Opens the book: starts `lanes` lanes, each with its own connection, made when first needed.
    #[must_use]
    pub fn open(database: &PgConnectOptions, lanes: usize, house: &House, clock: &Clock) -> (Self, Lanes) {
        let (senders, handles) = (0..lanes.max(1))
            .map(|_| {
                let (sender, queue) = mpsc::channel(QUEUE_LENGTH);
                let lane = Lane {
                    queue,
                    database: database.clone(),
                    house: house.clone(),
                    clock: clock.clone(),
                    connection: None,
                };
                (sender, tokio::spawn(lane.run()))
            })
            .unzip();
        (Self { lanes: senders }, Lanes(handles))
    }

    /// Carries out a command, or refuses at once where too many wait.
    ///
    /// # Errors
    /// The command's refusal, or that it could not be carried out.
    pub async fn submit(&self, command: impl Command + 'static, deadline: Option<Instant>) -> Result<Written, Error> {
        let (lane, job, reply) = self.prepare(Box::new(command), deadline)?;
        lane.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Overloaded,
            mpsc::error::TrySendError::Closed(_) => Error::Unavailable,
        })?;
        receive(reply).await
    }

    /// Queues one command of a stream: waits for a place in the lane, then returns the future of its outcome, so that
    /// a stream keeps its order and the slowest part sets the pace.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the book is closing.
    pub async fn enqueue(
        &self,
        command: impl Command + 'static,
    ) -> Result<BoxFuture<'static, Result<Written, Error>>, Error> {
        let (lane, job, reply) = self.prepare(Box::new(command), None)?;
        lane.send(job).await.map_err(|_| Error::Unavailable)?;
        Ok(Box::pin(receive(reply)))
    }

    #[allow(clippy::type_complexity, reason = "used twice, right here")]
    fn prepare(
        &self,
        command: Box<dyn Command>,
        deadline: Option<Instant>,
    ) -> Result<(&mpsc::Sender<Job>, Job, oneshot::Receiver<Result<Written, Error>>), Error> {
        let caller = Span::current();
        let waiting = tracing::info_span!("book.wait");
        let mut hasher = DefaultHasher::new();
        command.names().first().map(NameUse::name).hash(&mut hasher);
        let count = u64::try_from(self.lanes.len()).unwrap_or(1);
        let place = usize::try_from(hasher.finish() % count.max(1)).unwrap_or(0);
        let lane = self.lanes.get(place).ok_or(Error::Unavailable)?;
        let (sender, reply) = oneshot::channel();
        let job = Job {
            command,
            command_id: Uuid::now_v7(),
            trace_id: telemetry::trace_id(&waiting).0,
            caller: telemetry::span_context(&caller),
            waiting: Some(waiting),
            deadline,
            postponements: 0,
            reply: sender,
        };
        Ok((lane, job, reply))
    }
}

async fn receive(reply: oneshot::Receiver<Result<Written, Error>>) -> Result<Written, Error> {
    reply.await.unwrap_or(Err(Error::Unavailable))
}
