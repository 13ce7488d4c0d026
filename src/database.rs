//! Reaching Postgres: the pool for reads, the migrations, the privileges of the service's role, reads that come together
//! in one statement, and exports.

mod alone;
mod error;
mod exports;
mod lookups;
mod pages;
pub(crate) mod parts;
mod sent;
mod traced;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};

pub use alone::connect_alone;
pub use error::{FailureKind, StoreError};
pub(crate) use exports::{ExportBounds, ExportPlaces, ExportReader, Halt, Outlet};
pub use lookups::{BatchReader, Fetch};
pub(crate) use pages::{Listed, leave_out_unreadable, read_page};
pub use parts::{ReadPart, WritePart};
pub(crate) use parts::{Selection, read_parts, selection, write_part, write_parts};
pub(crate) use sent::{JsonText, sent_as};
pub use traced::{StatementError, Traced};

use alone::ACQUIRE_TIMEOUT;
use lookups::LOOKUP_CONNECTIONS;

/// The application name of the connections that write entries, and of no others: by it, a reader sees in
/// `pg_stat_activity` whether a batch is under way.
pub(crate) const BATCH_SESSIONS: &str = "goldbook batch";

/// The schema, embedded in the program.
static MIGRATIONS: Migrator = sqlx::migrate!();

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

/// A pool for reads; connections are made when they are needed, and asked whether they live before they are used.
#[must_use]
pub fn connect_lazily(options: &PgConnectOptions, connections: u32) -> PgPool {
    pool_options(connections).connect_lazy_with(bounded(by_key(options)))
}

/// A pool for the lookups of a [`BatchReader`]. Its connections are used without a test, since the reader asks again
/// where one was dead.
#[must_use]
pub fn connect_for_lookups(options: &PgConnectOptions) -> PgPool {
    pool_options(LOOKUP_CONNECTIONS).test_before_acquire(false).connect_lazy_with(bounded(by_key(options)))
}

fn pool_options(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_TIMEOUT)
}

/// How long a statement of a read may take, and how long its snapshot may stay open with nothing asked: the database
/// ends what nobody waits for any more.
const READ_BOUNDS: [(&str, &str); 2] = [("statement_timeout", "10s"), ("idle_in_transaction_session_timeout", "30s")];

fn bounded(options: PgConnectOptions) -> PgConnectOptions {
    options.options(READ_BOUNDS)
}

/// Connections on which every statement is planned as lookups by key. All statements of the service are such lookups,
/// except those of exports. Without this, the planner would read whole tables right after a bulk load, since it knows
/// nothing of them yet. A statement that was planned while a table was empty keeps its plan until the table is analyzed,
/// about a minute after the load. So statements that look up many keys at once do so in lateral subqueries with
/// `OFFSET 0`, which leave the planner no other way.
#[must_use]
pub fn by_key(options: &PgConnectOptions) -> PgConnectOptions {
    options.clone().options([
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
        // A lookup finds a row or two, for which a bitmap or a memory of earlier ones is more work than the lookup.
        ("enable_bitmapscan", "off"),
        ("enable_memoize", "off"),
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
    let all = grants.iter().chain(&[("SELECT", "_sqlx_migrations"), ("SELECT", "related_accounts")]);
    for (privileges, table) in all {
        // Identifiers cannot be parameters; the role is quoted and the rest is ours.
        let grant = format!("GRANT {privileges} ON {table} TO \"{role}\"");
        sqlx::raw_sql(AssertSqlSafe(grant)).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    connection.close().await?;
    Ok(())
}

/// The number of the newest migration, without which the program refuses to start.
#[must_use]
pub fn needed_version() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Makes sure that every migration of this program has run.
///
/// # Errors
/// [`SchemaError::Old`] if one is missing.
pub async fn check_schema(options: &PgConnectOptions) -> Result<(), SchemaError> {
    let mut connection = options.connect().await?;
    let needed = needed_version();
    let found = newest_migration(&mut connection).await?;
    connection.close().await?;
    if found < needed { Err(SchemaError::Old { found, needed }) } else { Ok(()) }
}

/// It cannot be seen in the database what the service's sessions do.
#[derive(Debug, thiserror::Error)]
pub enum SightError {
    /// The database cannot be reached or refuses.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    /// The service does not see its own sessions.
    #[error(
        "the service does not see its own transactions in pg_stat_activity, and cannot tell which writes are under way: \
         track_activities must be on, and application_name must reach Postgres"
    )]
    Untracked,
    /// Somebody else writes to the database.
    #[error("{0} sessions write to the book in another role, which hides from this one which writes are under way")]
    Hidden(i64),
}

/// Makes sure that it can be seen which batches are under way: answers for an instant depend on it. It connects as a lane
/// does, and looks for itself.
///
/// # Errors
/// If it cannot be seen, and why.
pub async fn check_sessions(options: &PgConnectOptions) -> Result<(), SightError> {
    let mut connection = options.clone().application_name(BATCH_SESSIONS).connect().await?;
    let (seen, hidden): (i64, i64) = sqlx::query_as(
        "SELECT count(*) FILTER (WHERE pid = pg_backend_pid() AND xact_start IS NOT NULL),
                count(*) FILTER (WHERE query = '<insufficient privilege>')
         FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1",
    )
    .bind(BATCH_SESSIONS)
    .fetch_one(&mut connection)
    .await?;
    connection.close().await?;
    match (seen, hidden) {
        (0, _) => Err(SightError::Untracked),
        (_, 0) => Ok(()),
        (_, hidden) => Err(SightError::Hidden(hidden)),
    }
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
