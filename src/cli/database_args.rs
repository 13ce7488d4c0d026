//! The database of a command that needs no running service.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;

use super::database_url::{DatabaseUrl, find_database};
use super::error::{CliError, with_causes};
use crate::database::{SchemaError, Waiting, check_schema, connect_alone, wait_for_database};
use crate::embedded_postgres::SERVICE_ROLE;

/// Which database a command is about, where it needs no running service.
#[derive(Debug, Args)]
pub(super) struct DatabaseArgs {
    /// The database, in the service's role. Without it, the one that a service runs in the data directory.
    #[arg(long, env = "GOLDBOOK_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<DatabaseUrl>,
    /// The data directory of a running service with a database of its own.
    #[arg(long, env = "GOLDBOOK_DATA_DIR", value_name = "DIR", default_value = ".goldbook")]
    data_dir: PathBuf,
}

impl DatabaseArgs {
    /// Connects in the role of the service.
    ///
    /// # Errors
    /// If the database cannot be reached, or is not of this version.
    pub(super) async fn connect(&self) -> Result<PgConnection, CliError> {
        let options = find_database(self.database_url.as_ref(), &self.data_dir, SERVICE_ROLE)?;
        check_schema(&options).await.map_err(CliError::failed)?;
        connect_alone(&options).await.map_err(|error| CliError::failed(with_causes(&error)))
    }
}

/// How long a command waits for its database.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Patience {
    /// How long to wait for a database that is away at the start, in seconds; 0 to fail at once. What does not mend by
    /// itself, such as a wrong password, is never waited for.
    #[arg(long = "wait-for-database", env = "GOLDBOOK_WAIT_FOR_DATABASE", value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    pub(super) wait_for_database: u64,
}

impl Patience {
    /// Does what a command needs its database for first, as soon as the database is there.
    ///
    /// # Errors
    /// If the database stays away, or refuses.
    pub(super) async fn wait_for<T>(
        self,
        database: &PgConnectOptions,
        attempt: impl AsyncFnMut() -> Result<T, SchemaError>,
        tell: impl Fn(Waiting),
    ) -> Result<T, SchemaError> {
        wait_for_database(database, Duration::from_secs(self.wait_for_database), attempt, tell).await
    }
}

/// Tells whoever runs a command that it waits.
pub(super) fn tell_waiting(waiting: Waiting) {
    eprintln!("{waiting}");
}
