//! The database of a command that needs no running service.

use std::path::PathBuf;

use clap::Args;
use sqlx::PgConnection;

use super::database_url::{DatabaseUrl, find_database};
use super::error::{CliError, with_causes};
use crate::database::{check_schema, connect_alone};
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
