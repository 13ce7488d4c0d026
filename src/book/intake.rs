//! Where commands come in: the book hands each one to the lane of its account.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use futures_util::future::BoxFuture;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::Span;
use uuid::Uuid;

use super::capability::Capabilities;
use super::command::{Command, CommandKey, KeyKind, Written};
use super::job::{Job, Origin};
use super::key::Key;
use super::lane::places::{MAX_CALLS, MAX_STREAMED, Place, Places};
use super::lane::{Lane, Queues};
use super::name::NameUse;
use crate::clock::Clock;
use crate::database::{BATCH_SESSIONS, by_key};
use crate::error::Error;
use crate::ids::{AccountId, PrincipalId};
use crate::telemetry;
use crate::telemetry::metrics::{self, WaitingCommand};

/// How many commands of the background may wait in one lane.
const MAX_BACKGROUND: usize = 512;
/// How long a statement of a batch waits for a lock that someone else holds. No batch waits for an account, so this is
/// for a name that another one claims. It keeps all others waiting, so it is short; the lane tries again.
const LOCK_TIMEOUT: &str = "5ms";
/// How long a statement of a batch may take. The batch is then split, on the same connection.
const STATEMENT_TIMEOUT: &str = "10s";
/// How many statements a lane's connection keeps prepared. There is one for each set of tables that a batch writes.
const MAX_STATEMENTS: usize = 512;
/// How long a batch may wait for its next statement: as long as it may take in all. Where the service was cut off from the
/// database, its batch ends then, and with it the waiting of all who need to know whether it was written.
const IDLE_TIMEOUT: &str = "30s";

/// Where the outcome of a command will be told.
type Reply = oneshot::Receiver<Result<Written, Error>>;

/// Whom a command is written for, and until when they wait for its outcome.
#[derive(Clone, Copy, Debug)]
pub struct Writer {
    /// What entries name the principal by.
    pub principal_id: PrincipalId,
    /// When the caller stops waiting, if it said so.
    pub deadline: Option<Instant>,
}

impl Writer {
    /// Nobody: what time alone does. Nobody waits for it either.
    pub const NOBODY: Self = Self { principal_id: PrincipalId::NOBODY, deadline: None };
}

/// Takes commands and hands them to the lanes. Cheap to clone.
#[derive(Clone)]
pub struct Book {
    lanes: Vec<LaneEntrance>,
}

/// Where commands enter a lane.
#[derive(Clone)]
struct LaneEntrance {
    places: Places,
    calls: mpsc::Sender<Job>,
    streamed: mpsc::Sender<Job>,
    /// For what may wait until nobody else does.
    background: mpsc::Sender<Job>,
}

/// The running lanes.
pub struct Lanes {
    running: Vec<oneshot::Receiver<()>>,
    closing: watch::Sender<bool>,
}

impl Lanes {
    /// Takes no more commands, and waits until everything that was accepted is answered.
    pub async fn close(self) {
        self.closing.send_replace(true);
        for end in self.running {
            if end.await.is_err() {
                tracing::error!("a lane ended by a panic, or was never started");
            }
        }
    }
}

impl Book {
    /// Opens the book: starts `lanes` lanes, each with its own connection, made when first needed.
    #[must_use]
    pub fn open(
        database: &PgConnectOptions,
        lanes: usize,
        capabilities: &Capabilities,
        clock: &Clock,
    ) -> (Self, Lanes) {
        // Statements after a lock must see what was committed while it waited, so the isolation is set here.
        let isolation = ("default_transaction_isolation", "read committed");
        let bounds = [
            ("lock_timeout", LOCK_TIMEOUT),
            ("statement_timeout", STATEMENT_TIMEOUT),
            ("idle_in_transaction_session_timeout", IDLE_TIMEOUT),
        ];
        let database = by_key(database).application_name(BATCH_SESSIONS).options(bounds).options([isolation]);
        let database = database.statement_cache_capacity(MAX_STATEMENTS);
        let (close, closing) = watch::channel(false);
        let (senders, running) = (0..lanes.max(1))
            .map(|_| {
                let (calls, received_calls) = mpsc::channel(MAX_CALLS);
                let (streamed, received_streamed) = mpsc::channel(MAX_STREAMED);
                let (background, received_background) = mpsc::channel(MAX_BACKGROUND);
                let queues =
                    Queues { calls: received_calls, streamed: received_streamed, background: received_background };
                let (capabilities, clock) = (capabilities.clone(), clock.clone());
                let lane = Lane::new(queues, database.clone(), capabilities, clock, closing.clone());
                let entrance = LaneEntrance { places: Places::new(), calls, streamed, background };
                (entrance, run_alone(lane))
            })
            .unzip();
        (Self { lanes: senders }, Lanes { running, closing: close })
    }

    /// A book that takes everything in and carries out nothing.
    #[cfg(any(test, fuzzing))]
    #[must_use]
    pub(crate) const fn without_lanes() -> Self {
        Self { lanes: Vec::new() }
    }

    /// Carries out a command, or refuses at once where too many wait.
    ///
    /// # Errors
    /// The command's refusal, or that it could not be carried out.
    pub async fn submit(&self, command: impl Command + 'static, writer: Writer) -> Result<Written, Error> {
        let (lane, mut job, reply) = self.prepare(Box::new(command), Origin::Call, writer)?;
        job.place = lane.places.take_for_call(writer.principal_id).ok_or_else(overloaded)?;
        lane.calls.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => overloaded(),
            mpsc::error::TrySendError::Closed(_) => Error::Unavailable,
        })?;
        receive(reply).await
    }

    /// Queues one command of a stream: waits for a place in the lane, then returns the future of what `read` makes of
    /// its outcome. So a stream keeps its order, and the slowest part sets the pace.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the book is closing.
    pub async fn enqueue<T>(
        &self,
        command: impl Command + 'static,
        writer: Writer,
        read: impl FnOnce(Result<Written, Error>) -> Result<T, Error> + Send + 'static,
    ) -> Result<BoxFuture<'static, Result<T, Error>>, Error> {
        let (lane, mut job, reply) =
            self.prepare(Box::new(command), Origin::Stream, Writer { deadline: None, ..writer })?;
        job.place = lane.places.wait_for_streamed(writer.principal_id).await.ok_or(Error::Unavailable)?;
        lane.streamed.send(job).await.map_err(|_| Error::Unavailable)?;
        Ok(Box::pin(async move { read(receive(reply).await) }))
    }

    /// Carries out a command once nobody else waits, or a few of them with every batch.
    ///
    /// # Errors
    /// The command's refusal, or that it could not be carried out.
    pub async fn submit_in_background(&self, command: impl Command + 'static) -> Result<Written, Error> {
        let (lane, job, reply) = self.prepare(Box::new(command), Origin::Background, Writer::NOBODY)?;
        lane.background.send(job).await.map_err(|_| Error::Unavailable)?;
        receive(reply).await
    }

    /// The command with all that its lane must know, and where its outcome will be told.
    fn prepare(
        &self,
        command: Box<dyn Command>,
        origin: Origin,
        writer: Writer,
    ) -> Result<(&LaneEntrance, Job, Reply), Error> {
        let caller = Span::current();
        // Its ids are in the entries, so where the caller has none to give, there is a span in any case.
        let waiting = (!telemetry::is_current_unrecorded()).then(|| match origin {
            Origin::Call => tracing::info_span!("book.wait"),
            // The span above is of a stream or a round, which may be for several programs.
            Origin::Stream | Origin::Background => {
                tracing::info_span!("book.wait", goldbook.program.id = command.program_id().as_str())
            }
        });
        let names = command.names();
        let lane = self.lane_of(&names, &command.accounts())?;
        let (sender, reply) = oneshot::channel();
        #[expect(clippy::disallowed_methods, reason = "names a command; no time is read out of it")]
        let command_id = Uuid::now_v7();
        let key = command.key();
        let job = Job {
            origin,
            names,
            states: command.states(),
            has_key: key.is_some(),
            key: key.unwrap_or_else(|| own_key(command_id)),
            command,
            command_id,
            trace_id: telemetry::trace_id(waiting.as_ref().unwrap_or(&caller)),
            caller: telemetry::span_context(&caller),
            waiting,
            counted: Some(WaitingCommand::new(origin.into())),
            principal_id: writer.principal_id,
            place: Place::Background,
            deadline: writer.deadline,
            postponements: 0,
            stay: None,
            reply: sender,
        };
        Ok((lane, job, reply))
    }

    /// The lane of a command: always the same for the same first name and account.
    fn lane_of(&self, names: &[NameUse], accounts: &[AccountId]) -> Result<&LaneEntrance, Error> {
        let mut hasher = DefaultHasher::new();
        names.first().map(NameUse::name).hash(&mut hasher);
        accounts.first().hash(&mut hasher);
        let count = u64::try_from(self.lanes.len()).unwrap_or(1);
        let place = usize::try_from(hasher.finish() % count.max(1)).unwrap_or(0);
        self.lanes.get(place).ok_or(Error::Unavailable)
    }
}

/// Runs a lane on a thread of its own: so a batch does not wait for calls that are answered meanwhile, nor they for it.
/// The end of the process does not wait for it either. Returns what tells its end.
fn run_alone(lane: Lane) -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    // What it logs goes where the log of whoever opens the book goes.
    let log = tracing::dispatcher::get_default(Clone::clone);
    let work = move || {
        let _log = tracing::dispatcher::set_default(&log);
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(lane.run()),
            // Its queues are closed with it, so callers are told that the service is away.
            Err(error) => tracing::error!(%error, "a lane cannot be started"),
        }
        // Nobody may be waiting for it.
        let _ = ended.send(());
    };
    if let Err(error) = std::thread::Builder::new().name("lane".to_owned()).spawn(work) {
        tracing::error!(%error, "a lane cannot be started");
    }
    end
}

/// A key made for this command alone. It finds the command's entries after a lost acknowledgement.
fn own_key(command_id: Uuid) -> CommandKey {
    let key = Key::new("command", &command_id.to_string(), &[]);
    CommandKey { key, kind: KeyKind::Idempotency }
}

/// Refuses a command because too many wait.
fn overloaded() -> Error {
    metrics::count_limit("waiting commands");
    Error::Overloaded
}

async fn receive(reply: Reply) -> Result<Written, Error> {
    reply.await.unwrap_or(Err(Error::Unavailable))
}
