//! Why a service cannot work with a database.

use std::time::Duration;

/// The schema cannot be used as it is.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The database cannot be reached or refuses.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    /// A migration failed or was changed after it had run.
    #[error("migrating the schema: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// Others held a lock that a migration needs, at each try.
    #[error(
        "migration {version} was held up for {} s by transactions that use a table which it changes, and nothing of it was \
         done: look for old ones in pg_stat_activity (xact_start), then run it again",
        tried.as_secs()
    )]
    HeldUp {
        /// The migration.
        version: i64,
        /// For how long it was tried.
        tried: Duration,
    },
    /// The database lacks migrations that this program needs.
    #[error("the database's schema is at version {found} and this program needs {needed}: run `goldbook migrate`")]
    Old {
        /// The newest migration that has run; 0 for none.
        found: i64,
        /// The newest migration of this program.
        needed: i64,
    },
    /// A connection pooler stands between, which does not pass on what is asked of a session.
    #[error(
        "a connection pooler keeps from Postgres how its sessions must be ({said}): connect to Postgres itself, past PgBouncer \
         or whatever pools; see \"Connection poolers\" in docs/operations.md"
    )]
    Pooled {
        /// What was refused or left out.
        said: String,
    },
    /// The database was away for as long as it was waited for.
    #[error("the database at {place} cannot be reached: {cause}")]
    Away {
        /// Where it should be.
        place: String,
        /// Why it could not be reached the last time.
        cause: String,
    },
    /// It cannot be seen which writes are under way.
    #[error(transparent)]
    Sight(#[from] SightError),
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
