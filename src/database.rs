//! Reaching Postgres: the pool for reads, the migrations, the privileges of the service's role, and reads that come
//! together in one statement.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};
use tokio::sync::{Mutex, mpsc, oneshot};
use tracing::{Instrument as _, Span};

use crate::error::{Defect, Error};
use crate::telemetry;

/// The schema, embedded in the program.
static MIGRATIONS: Migrator = sqlx::migrate!();

/// How long a statement that answers lookups may take before the database counts as away.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a read waits for a connection before the database counts as away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// The most lookups that one statement answers.
const MAX_LOOKUPS: usize = 256;
/// How many statements of lookups run at a time, for each kind of lookup: few, so that many lookups share one.
const LOOKUP_WORKERS: usize = 2;
/// How many connections the lookups share.
const LOOKUP_CONNECTIONS: u32 = 4;
/// How many lookups may wait.
const QUEUE_LENGTH: usize = 8_192;

/// The schema cannot be used as it is.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The database cannot be reached or refuses.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    /// A migration failed or was changed after it had run.
    #[error("migrating the schema: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The database lacks migrations that this program needs.
    #[error("the database's schema is at version {found} and this program needs {needed}: run `goldbook migrate`")]
    Old {
        /// The newest migration that has run; 0 for none.
        found: i64,
        /// The newest migration of this program.
        needed: i64,
    },
}

/// Why rows could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is away, or refuses.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// No connection was made in time.
    #[error("no connection to the database was made within {bound:?}")]
    ConnectTimedOut {
        /// How long it may take.
        bound: Duration,
    },
    /// A row contradicts the rules of the book, as stored or as it would be stored.
    #[error(transparent)]
    Defect(#[from] Defect),
}

impl StoreError {
    /// What can be done about it.
    pub(crate) fn kind(&self) -> FailureKind {
        match self {
            Self::Database(error) => FailureKind::of(error),
            Self::ConnectTimedOut { .. } => FailureKind::Away,
            Self::Defect(_) => FailureKind::Other,
        }
    }
}

/// A pool for reads; connections are made when they are needed, and asked whether they live before they are used.
#[must_use]
pub fn connect_lazily(options: &PgConnectOptions, connections: u32) -> PgPool {
    pool_options(connections).connect_lazy_with(by_key(options))
}

/// A pool for the lookups of a [`BatchReader`]. Its connections are used without a test, since the reader asks again
/// where one was dead.
#[must_use]
pub fn connect_for_lookups(options: &PgConnectOptions) -> PgPool {
    pool_options(LOOKUP_CONNECTIONS).test_before_acquire(false).connect_lazy_with(by_key(options))
}

fn pool_options(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT)
}

/// Connections on which every statement is planned as lookups by key. All statements of the service are such lookups,
/// except those of exports. Without this, the planner would read whole tables right after a bulk load, since it knows
/// nothing of them yet.
#[must_use]
pub fn by_key(options: &PgConnectOptions) -> PgConnectOptions {
    options.clone().options([
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
        ("jit", "off"),
        // Planned once, not anew for each size of a batch.
        ("plan_cache_mode", "force_generic_plan"),
    ])
}

/// Connections for statements that read most of a table, planned freely. They take no more than one core of the
/// database, and end soon after whoever asked has gone, whatever the statement is doing then.
#[must_use]
pub fn by_scan(options: &PgConnectOptions) -> PgConnectOptions {
    options.clone().options([
        ("jit", "off"),
        ("max_parallel_workers_per_gather", "0"),
        ("client_connection_check_interval", "1s"),
    ])
}

/// A connection of one's own, made within a bound.
///
/// # Errors
/// If the database is away.
pub async fn connect_alone(options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    match tokio::time::timeout(ACQUIRE_TIMEOUT, options.connect()).await {
        Ok(connection) => Ok(connection?),
        Err(_) => Err(StoreError::ConnectTimedOut { bound: ACQUIRE_TIMEOUT }),
    }
}

/// Brings the schema up to date as its owner, and gives the service's role its privileges: `grants` are pairs of
/// privileges and the table that they are for. Safe to run at the same time from several places: one waits for the other.
///
/// # Errors
/// If the database cannot be reached, a migration fails, or the role does not exist.
pub async fn migrate(
    owner: &PgConnectOptions,
    service_role: &str,
    grants: &[(&'static str, &'static str)],
) -> Result<(), SchemaError> {
    let mut connection = owner.connect().await?;
    MIGRATIONS.run(&mut connection).await?;
    let mut transaction = connection.begin().await?;
    // Two that grant at the same time would update the same catalogue rows.
    sqlx::raw_sql("LOCK TABLE _sqlx_migrations IN SHARE ROW EXCLUSIVE MODE").execute(&mut *transaction).await?;
    let role = service_role.replace('"', "\"\"");
    let all = grants.iter().chain(&[("SELECT", "_sqlx_migrations")]);
    for (privileges, table) in all {
        // Identifiers cannot be parameters; the role is quoted and the rest is ours.
        let grant = format!("GRANT {privileges} ON {table} TO \"{role}\"");
        sqlx::raw_sql(AssertSqlSafe(grant)).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    connection.close().await?;
    Ok(())
}

/// Makes sure that every migration of this program has run.
///
/// # Errors
/// [`SchemaError::Old`] if one is missing.
pub async fn check_schema(options: &PgConnectOptions) -> Result<(), SchemaError> {
    let mut connection = options.connect().await?;
    let needed = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    let found = newest_migration(&mut connection).await?;
    connection.close().await?;
    if found < needed { Err(SchemaError::Old { found, needed }) } else { Ok(()) }
}

async fn newest_migration(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let exists: bool =
        sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(&mut *connection).await?;
    if !exists {
        return Ok(0);
    }
    sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success")
        .fetch_one(connection)
        .await
}

/// Asks the database whether it lives, on a connection of its own: one that is busy is not away.
pub struct DatabaseProbe {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
}

impl DatabaseProbe {
    /// A probe that connects when it is first asked.
    #[must_use]
    pub const fn new(options: PgConnectOptions) -> Self {
        Self { options, connection: None }
    }

    /// Whether the database answers, within a bound.
    pub async fn is_reachable(&mut self) -> bool {
        matches!(tokio::time::timeout(ACQUIRE_TIMEOUT, self.ping()).await, Ok(Ok(())))
    }

    async fn ping(&mut self) -> Result<(), sqlx::Error> {
        // Taken out while it is used, so that one that failed is not asked again.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        connection.ping().await?;
        self.connection = Some(connection);
        Ok(())
    }
}

/// What can be done about a failed statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Two transactions were in each other's way: try again.
    Conflict,
    /// Someone else holds a lock for long, or cancelled the statement: let the caller try again.
    Busy,
    /// The database is gone, going, full, or not the one to write to: try again on a new connection, later.
    Away,
    /// Anything else, which is a defect: trying again does not help.
    Other,
}

impl FailureKind {
    /// Tells failures apart by their SQLSTATE.
    #[must_use]
    #[expect(clippy::wildcard_enum_match_arm, reason = "another crate's kinds, of which it may add some")]
    pub fn of(error: &sqlx::Error) -> Self {
        use sqlx::Error as E;
        match error {
            E::Io(_) | E::Tls(_) | E::Protocol(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed => Self::Away,
            E::Database(error) => match error.code().as_deref() {
                // Serialization failure, deadlock.
                Some("40001" | "40P01") => Self::Conflict,
                // Lock timeout, cancelled.
                Some("55P03" | "57014") => Self::Busy,
                // Read-only: a standby, after a failover. Shutting down, crashed, starting up.
                Some("25006" | "57P01" | "57P02" | "57P03" | "57P05") => Self::Away,
                // Connection exceptions; out of disk, memory or connections.
                Some(code) if code.starts_with("08") || code.starts_with("53") => Self::Away,
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

/// A failure of which a trace shows the SQLSTATE.
pub trait StatementError {
    /// The SQLSTATE, if Postgres told one.
    fn sql_state(&self) -> Option<String>;
}

impl StatementError for sqlx::Error {
    fn sql_state(&self) -> Option<String> {
        Some(self.as_database_error()?.code()?.into_owned())
    }
}

impl StatementError for StoreError {
    fn sql_state(&self) -> Option<String> {
        match self {
            Self::Database(error) => error.sql_state(),
            Self::ConnectTimedOut { .. } | Self::Defect(_) => None,
        }
    }
}

/// A statement that shows in the trace.
pub trait Traced<T, E: StatementError>: Future<Output = Result<T, E>> + Sized + Send {
    /// Runs the statement in a client span, named by its verb and table; a failure shows in the span.
    fn traced(self, summary: &'static str) -> impl Future<Output = Result<T, E>> + Send {
        let span = telemetry::statement(summary);
        let failed = span.clone();
        async move {
            self.await.inspect_err(|error| {
                telemetry::fail_statement(&failed, error.sql_state().as_deref().unwrap_or("_OTHER"));
            })
        }
        .instrument(span)
    }
}

impl<T, E: StatementError, F: Future<Output = Result<T, E>> + Send> Traced<T, E> for F {}

/// Answers many lookups at once: finds each key's value, in the order of the keys.
pub type Fetch<K, V> =
    Arc<dyn Fn(PgPool, Arc<[K]>) -> BoxFuture<'static, Result<Vec<Option<V>>, StoreError>> + Send + Sync>;

struct Lookup<K, V> {
    key: K,
    /// The caller's span and its identity, to link to the statement's batch and back.
    span: Span,
    caller: telemetry::SpanContext,
    reply: oneshot::Sender<Result<Option<V>, Error>>,
}

/// Lookups that come together in one statement. A lookup is answered by a statement that began after it was asked, so
/// whoever reads after a write sees it.
#[derive(Clone)]
pub struct BatchReader<K, V> {
    queue: mpsc::Sender<Lookup<K, V>>,
}

impl<K: Send + Sync + 'static, V: Send + 'static> BatchReader<K, V> {
    /// Starts a few tasks, each of which takes whatever waits.
    #[must_use]
    pub fn open(pool: &PgPool, fetch: &Fetch<K, V>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_LENGTH);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..LOOKUP_WORKERS {
            tokio::spawn(answer_lookups(pool.clone(), waiting.clone(), fetch.clone()));
        }
        Self { queue }
    }

    /// Finds the value of a key.
    ///
    /// # Errors
    /// If too many wait, or the database fails.
    pub async fn find(&self, key: K) -> Result<Option<V>, Error> {
        let (reply, answer) = oneshot::channel();
        let span = Span::current();
        let caller = telemetry::span_context(&span);
        let lookup = Lookup { key, span, caller, reply };
        self.queue.try_send(lookup).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Overloaded,
            mpsc::error::TrySendError::Closed(_) => Error::Unavailable,
        })?;
        answer.await.unwrap_or(Err(Error::Unavailable))
    }
}

async fn answer_lookups<K: Send + Sync + 'static, V: Send + 'static>(
    pool: PgPool,
    waiting: Arc<Mutex<mpsc::Receiver<Lookup<K, V>>>>,
    fetch: Fetch<K, V>,
) {
    loop {
        let mut lookups = Vec::new();
        if waiting.lock().await.recv_many(&mut lookups, MAX_LOOKUPS).await == 0 {
            return;
        }
        let span = tracing::info_span!(parent: None, "read.batch", size = lookups.len());
        let mut keys = Vec::with_capacity(lookups.len());
        let mut replies = Vec::with_capacity(lookups.len());
        let batch = telemetry::span_context(&span);
        for Lookup { key, span: asking, caller, reply } in lookups {
            telemetry::link(&span, &caller);
            if caller.is_sampled() {
                telemetry::link(&asking, &batch);
            }
            keys.push(key);
            replies.push(reply);
        }
        match fetch_surely(&pool, &fetch, &keys.into()).instrument(span).await {
            Ok(values) => {
                for (reply, value) in replies.into_iter().zip(values) {
                    let _ = reply.send(Ok(value));
                }
            }
            Err(error) => {
                for reply in replies {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }
}

/// Asks as often as there may be dead connections in the pool. A statement that hangs or panics ends like one that
/// failed, so that the worker goes on.
async fn fetch_surely<K, V>(pool: &PgPool, fetch: &Fetch<K, V>, keys: &Arc<[K]>) -> Result<Vec<Option<V>>, Error> {
    let mut dead_connections = 0;
    loop {
        let work = AssertUnwindSafe(fetch(pool.clone(), keys.clone())).catch_unwind();
        match tokio::time::timeout(FETCH_TIMEOUT, work).await {
            Ok(Ok(Err(StoreError::Database(error)))) if was_dead(&error) && dead_connections < LOOKUP_CONNECTIONS => {
                dead_connections += 1
            }
            Ok(Ok(outcome)) => return outcome.map_err(Error::from),
            Ok(Err(panic)) => {
                return Err(Error::Internal(format!("a read panicked: {}", telemetry::message_of(&*panic))));
            }
            Err(_) => {
                tracing::warn!(keys = keys.len(), "a read did not end within {FETCH_TIMEOUT:?}");
                return Err(Error::Unavailable);
            }
        }
    }
}

/// Whether a connection turned out to be dead, and not the whole database.
fn was_dead(error: &sqlx::Error) -> bool {
    FailureKind::of(error) == FailureKind::Away && !matches!(error, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed)
}
