//! Reaching Postgres: the pool for reads, the migrations, the privileges of the service's role, and reads that come
//! together in one statement.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use opentelemetry::trace::SpanContext;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};
use tokio::sync::{Mutex, mpsc, oneshot};
use tracing::{Instrument as _, Span};

use crate::error::Error;
use crate::telemetry;

/// The schema, embedded in the program.
static MIGRATIONS: Migrator = sqlx::migrate!();

/// What the service may do: read everything, add to the ledger and the sources of record, change projections and
/// dossiers, and give a name back that it has just taken.
const PRIVILEGES: &[(&str, &str)] = &[
    ("SELECT, INSERT", "ledger_entries, entry_notes, program_versions, marketing_consents, activities"),
    ("SELECT, INSERT, UPDATE", "accounts, programs, customers, standings, lots, referral_codes, referrals"),
    ("SELECT, INSERT, DELETE", "names"),
    ("SELECT", "_sqlx_migrations"),
];

/// How long a read waits for a connection before the database counts as away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// The most lookups that one statement answers.
const MAX_GATHERED: usize = 256;
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

/// A pool for reads; connections are made when they are needed.
#[must_use]
pub fn connect_lazily(options: &PgConnectOptions, connections: u32) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_lazy_with(options.clone())
}

/// Brings the schema up to date as its owner, and gives the service's role its privileges. Safe to run at the same
/// time from several places: one waits for the other.
///
/// # Errors
/// If the database cannot be reached, a migration fails, or the role does not exist.
pub async fn migrate(owner: &PgConnectOptions, service_role: &str) -> Result<(), SchemaError> {
    let mut connection = owner.connect().await?;
    MIGRATIONS.run(&mut connection).await?;
    let mut transaction = connection.begin().await?;
    // Two that grant at the same time would update the same catalogue rows.
    sqlx::raw_sql("LOCK TABLE _sqlx_migrations IN SHARE ROW EXCLUSIVE MODE").execute(&mut *transaction).await?;
    let role = service_role.replace('"', "\"\"");
    for (privileges, tables) in PRIVILEGES {
        // Identifiers cannot be parameters; the role is quoted and the rest is ours.
        let grant = format!("GRANT {privileges} ON {tables} TO \"{role}\"");
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

/// Whether the database answers, within a bound.
pub async fn is_reachable(pool: &PgPool) -> bool {
    let ping = async { sqlx::query("SELECT 1").execute(pool).await.is_ok() };
    tokio::time::timeout(ACQUIRE_TIMEOUT, ping).await.unwrap_or(false)
}

/// Answers many lookups at once: finds each key's value, in the order of the keys.
pub type Fetch<K, V> =
    Arc<dyn Fn(PgPool, Arc<[K]>) -> BoxFuture<'static, Result<Vec<Option<V>>, sqlx::Error>> + Send + Sync>;

struct Lookup<K, V> {
    key: K,
    caller: SpanContext,
    reply: oneshot::Sender<Result<Option<V>, Error>>,
}

/// Lookups that come together in one statement. A lookup is answered by a statement that began after it was asked, so
/// whoever reads after a write sees it.
#[derive(Clone)]
pub struct Gather<K, V> {
    queue: mpsc::Sender<Lookup<K, V>>,
}

impl<K: Send + Sync + 'static, V: Send + 'static> Gather<K, V> {
    /// Starts `workers` tasks, each of which takes whatever waits.
    #[must_use]
    pub fn open(pool: &PgPool, workers: usize, fetch: &Fetch<K, V>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_LENGTH);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..workers.max(1) {
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
        let lookup = Lookup { key, caller: telemetry::span_context(&Span::current()), reply };
        self.queue.try_send(lookup).map_err(|_| Error::Overloaded)?;
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
        if waiting.lock().await.recv_many(&mut lookups, MAX_GATHERED).await == 0 {
            return;
        }
        let span = tracing::info_span!(parent: None, "read.batch", size = lookups.len());
        let mut keys = Vec::with_capacity(lookups.len());
        let mut replies = Vec::with_capacity(lookups.len());
        for Lookup { key, caller, reply } in lookups {
            telemetry::link(&span, &caller);
            keys.push(key);
            replies.push(reply);
        }
        match fetch(pool.clone(), keys.into()).instrument(span).await {
            Ok(values) => {
                for (reply, value) in replies.into_iter().zip(values) {
                    let _ = reply.send(Ok(value));
                }
            }
            Err(error) => {
                let error = Error::from(error);
                for reply in replies {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }
}
