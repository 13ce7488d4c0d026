//! `goldbook migrate`: brings the schema up to date, in the role of its owner.

use clap::Args;

use super::database_args::{Patience, tell_waiting};
use super::database_url::DatabaseUrl;
use super::error::CliError;
use crate::database;
use crate::embedded_postgres::SERVICE_ROLE;
use crate::server;

const EXAMPLES: &str = "\
Example:
  goldbook migrate --database-url postgres://goldbook_owner@db/goldbook

Both roles must exist; see the README. The service's own database is migrated by `goldbook serve`.";

/// Bring a database's schema up to date, and give the service's role its privileges.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct MigrateArgs {
    /// The database, in the owner's role.
    #[arg(long, env = "GOLDBOOK_OWNER_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: DatabaseUrl,
    /// The role that the service uses: it may read everything and change no ledger row.
    #[arg(long, env = "GOLDBOOK_SERVICE_ROLE", value_name = "ROLE", default_value = SERVICE_ROLE)]
    service_role: String,
    #[command(flatten)]
    patience: Patience,
}

/// Runs `goldbook migrate`.
///
/// # Errors
/// If the database cannot be reached or a migration fails.
pub(crate) async fn run(args: MigrateArgs) -> Result<(), CliError> {
    let database = args.database_url.options()?;
    let migrate = async || {
        server::migrate(&database, &args.service_role).await?;
        database::check_schema(&database).await
    };
    args.patience.wait_for(&database, migrate, tell_waiting).await.map_err(CliError::failed)?;
    println!("the schema is up to date");
    Ok(())
}
