//! Bringing the schema up to date while services of two versions use it.
//!
//! A statement that waits for a lock on a table holds up everyone who wants the table after it. So a migration waits for
//! a second and a half at most, gives up what it has done, and tries again once all of those are through: whatever is under
//! way for long, such as an export, holds up the migration alone.

use std::time::{Duration, Instant};

use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, PgConnection, SqlSafeStr as _};

use super::error::FailureKind;
use super::pooled::{READ_MARK, connect_marked, refuse_unmarked};
use super::unfit::SchemaError;

/// The schema, embedded in the program.
static MIGRATIONS: Migrator = sqlx::migrate!();

/// How long a statement of a migration waits for a lock. Nobody waits longer behind it. It is more than the second
/// (`deadlock_timeout`) after which Postgres has an autovacuum make way for whoever waits: that may be under way for hours.
const LOCK_TIMEOUT: &str = "1500ms";
/// How long a migration is tried again, in all.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// The pause before it is tried again. A command that found the table locked is itself tried again only now and then, and
/// must not find it locked each time.
const PAUSE: Duration = Duration::from_secs(2);
/// By what those who migrate know each other: of all advisory locks, this is Goldbook's only one.
const LOCK: i64 = 0x676f_6c64_626f_6f6b;
/// How often whoever waits for another migration looks for its end.
const LOOK: Duration = Duration::from_millis(200);

/// The migrations of this program, in order.
#[must_use]
pub fn migrations() -> Vec<Migration> {
    MIGRATIONS.iter().cloned().collect()
}

/// The newest migration of this program.
pub(super) fn newest() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// Connects as the owner, once nobody else migrates. Who waits holds no snapshot meanwhile: an index that is made
/// `CONCURRENTLY` would wait for that, and so both for ever.
///
/// # Errors
/// If the database cannot be reached, or a pooler stands before it, which would keep the lock when all is done.
pub async fn connect_alone(owner: &PgConnectOptions) -> Result<PgConnection, SchemaError> {
    let mut connection = connect_marked(owner).await?;
    let select = format!("SELECT {READ_MARK}");
    refuse_unmarked(&sqlx::raw_sql(AssertSqlSafe(select)).fetch_one(&mut connection).await?, 0)?;
    let lock = || sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(LOCK);
    while !lock().fetch_one(&mut connection).await? {
        sleep(LOOK).await;
    }
    Ok(connection)
}

/// Runs those migrations that have not run. One that a newer version ran and that is not among them is left alone.
///
/// # Errors
/// If one fails, was changed after it had run, or gets a lock on no try within `patience`.
pub async fn run_migrations(
    connection: &mut PgConnection,
    migrations: Vec<Migration>,
    patience: Duration,
) -> Result<(), SchemaError> {
    let mut migrator = Migrator::with_migrations(migrations.into_iter().map(in_no_ones_way).collect());
    migrator.set_ignore_missing(true).set_locking(false);
    let begun = now();
    loop {
        let error = match migrator.run_direct(None, connection, false).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let Some(version) = held_up(&error) else { return Err(error.into()) };
        if begun.elapsed() >= patience {
            return Err(SchemaError::HeldUp { version, tried: begun.elapsed() });
        }
        tracing::info!(version, "a migration waits for others to let go of a table");
        sleep(PAUSE).await;
    }
}

/// The migration with a bound to how long it waits for locks. One that runs in no transaction makes an index
/// `CONCURRENTLY`: it holds up nobody however long it waits, and would leave a part of itself behind.
fn in_no_ones_way(migration: Migration) -> Migration {
    if migration.no_tx {
        return migration;
    }
    let sql = format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}';\n{}", migration.sql.as_str());
    // What it is known by stays that of the file.
    Migration { sql: AssertSqlSafe(sql).into_sql_str(), ..migration }
}

/// The migration that did not get a lock in time, or gave way to somebody who wanted what it had, if that is why.
fn held_up(error: &MigrateError) -> Option<i64> {
    let MigrateError::ExecuteMigration(error, version) = error else { return None };
    matches!(FailureKind::of(error), FailureKind::Locked | FailureKind::Conflict).then_some(*version)
}

#[expect(clippy::disallowed_methods, reason = "how long a migration has been tried, which no entry knows")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the pause before a migration is tried again")]
async fn sleep(pause: Duration) {
    tokio::time::sleep(pause).await;
}
