//! Reaching Postgres: the pool for reads, the migrations, the privileges of the service's role, reads that come together
//! in one statement, and exports.

mod alone;
mod error;
mod exports;
mod lookups;
pub mod migrations;
mod pages;
pub(crate) mod parts;
mod patience;
mod pooled;
mod sent;
mod traced;
mod unfit;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, Row as _};

pub use alone::connect_alone;
pub use error::{FailureKind, StoreError};
pub(crate) use exports::{ExportBounds, ExportPlace, ExportPlaces, ExportReader, Halt, Outlet, Slot};
pub use lookups::{BatchReader, Fetch};
pub(crate) use pages::{Listed, leave_out_unreadable, read_page};
pub use parts::{ReadPart, WritePart};
pub(crate) use parts::{Selection, read_parts, selection, write_part, write_parts};
pub use patience::{Waiting, wait_for_database};
pub(crate) use sent::{JsonText, sent_as};
pub use traced::{StatementError, Traced};
pub use unfit::{SchemaError, SightError};

use alone::{ACQUIRE_TIMEOUT, unlogged};
use lookups::LOOKUP_CONNECTIONS;
use patience::connect;
use pooled::{READ_MARK, connect_marked, refuse_unmarked};

use crate::telemetry;

/// The application name of the connections that write entries, and of no others: by it, a reader sees in
/// `pg_stat_activity` whether a batch is under way.
pub(crate) const BATCH_SESSIONS: &str = "goldbook batch";

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

/// Tells the spans of statements which database they are for.
pub fn name_in_traces(options: &PgConnectOptions) {
    let name = options.get_database().unwrap_or_else(|| options.get_username());
    let socket = options.get_socket().map(std::path::PathBuf::as_path);
    telemetry::name_database(name, options.get_host(), socket, options.get_port());
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
    unlogged(options).options([
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
    unlogged(options).options([
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
    let mut connection = migrations::connect_alone(owner).await?;
    migrations::run_migrations(&mut connection, migrations::migrations(), migrations::PATIENCE).await?;
    let role = service_role.replace('"', "\"\"");
    let all = grants.iter().chain(&[("SELECT", "_sqlx_migrations"), ("SELECT", "related_accounts")]);
    // Identifiers cannot be parameters; the role is quoted and the rest is ours.
    let all: String = all.map(|(privileges, table)| format!("GRANT {privileges} ON {table} TO \"{role}\";")).collect();
    // All or none of them; nobody else grants meanwhile, since the connection's lock keeps others out.
    let grant = format!("BEGIN; {all} COMMIT");
    sqlx::raw_sql(AssertSqlSafe(grant)).execute(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// The newest migration of this program.
#[must_use]
pub fn needed_schema() -> i64 {
    migrations::newest()
}

/// Makes sure that a service can work with a database, and that it sees there what it needs to see. It takes no longer than
/// to connect and to ask one question. The connection is kept, for those who ask later whether the database lives.
///
/// # Errors
/// As of [`check_schema`] and [`check_sessions`].
pub async fn check(options: &PgConnectOptions) -> Result<DatabaseProbe, SchemaError> {
    let with_schema = async {
        let mut connection = connect_marked(options).await?;
        refuse_unfit(&mut connection).await?;
        Ok::<_, SchemaError>(connection)
    };
    let (connection, sessions) = tokio::join!(with_schema, check_sessions(options));
    let connection = connection?;
    sessions?;
    Ok(DatabaseProbe { options: unlogged(options), connection: Some(connection) })
}

/// Makes sure that every migration of this program has run, and that no pooler changes what the program asks for.
///
/// # Errors
/// [`SchemaError::Old`] if a migration is missing, [`SchemaError::Pooled`] if there is such a pooler.
pub async fn check_schema(options: &PgConnectOptions) -> Result<(), SchemaError> {
    let mut connection = connect_marked(options).await?;
    refuse_unfit(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// Makes sure that it can be seen which batches are under way: answers for an instant depend on it. It connects as a lane
/// does, and looks for itself.
///
/// # Errors
/// If it cannot be seen, and why.
pub async fn check_sessions(options: &PgConnectOptions) -> Result<(), SightError> {
    let mut connection = connect(&options.clone().application_name(BATCH_SESSIONS)).await?;
    let select = format!(
        "SELECT count(*) FILTER (WHERE pid = pg_backend_pid() AND xact_start IS NOT NULL),
                count(*) FILTER (WHERE query = '<insufficient privilege>')
         FROM pg_stat_activity WHERE datname = current_database() AND application_name = '{BATCH_SESSIONS}'"
    );
    // One round trip, where a prepared statement would take two.
    let row = sqlx::raw_sql(AssertSqlSafe(select)).fetch_one(&mut connection).await?;
    let (seen, hidden): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    connection.close().await?;
    match (seen, hidden) {
        (0, _) => Err(SightError::Untracked),
        (_, 0) => Ok(()),
        (_, hidden) => Err(SightError::Hidden(hidden)),
    }
}

/// How many bytes of a disk the database takes, and the newest migration that has run.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn measure(pool: &PgPool) -> Result<(f64, i64), StoreError> {
    let mut connection = pool.acquire().await?;
    let size = sqlx::query_scalar!(r#"SELECT pg_database_size(current_database())::double precision AS "size!""#)
        .fetch_one(&mut *connection)
        .traced("SELECT pg_database")
        .await?;
    let schema = newest_migration(&mut connection).traced("SELECT _sqlx_migrations").await?;
    Ok((size, schema))
}

/// Asks for the newest migration and the mark of the connection in one round trip.
async fn refuse_unfit(connection: &mut PgConnection) -> Result<(), SchemaError> {
    let needed = needed_schema();
    let select = format!("SELECT coalesce(max(version), 0), {READ_MARK} FROM _sqlx_migrations WHERE success");
    let row = match sqlx::raw_sql(AssertSqlSafe(select)).fetch_one(connection).await {
        Ok(row) => row,
        Err(error) if is_no_table(&error) => return Err(SchemaError::Old { found: 0, needed }),
        Err(error) => return Err(error.into()),
    };
    refuse_unmarked(&row, 1)?;
    let found: i64 = row.try_get(0)?;
    if found < needed { Err(SchemaError::Old { found, needed }) } else { Ok(()) }
}

/// The newest migration that has run; 0 for none. It takes one round trip, where a prepared statement would take two.
async fn newest_migration(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    let select = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success";
    match sqlx::raw_sql(select).fetch_one(connection).await {
        Ok(row) => row.try_get(0),
        Err(error) if is_no_table(&error) => Ok(0),
        Err(error) => Err(error),
    }
}

fn is_no_table(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).as_deref() == Some("42P01")
}

/// Asks the database whether it lives, on a connection of its own: one that is busy is not away.
pub struct DatabaseProbe {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
}

impl DatabaseProbe {
    /// A probe that connects when it is first asked.
    #[must_use]
    pub fn new(options: &PgConnectOptions) -> Self {
        Self { options: unlogged(options), connection: None }
    }

    /// Whether it is connected, as one is that a check has left.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.connection.is_some()
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
