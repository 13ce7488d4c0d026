//! The service's own Postgres: its roles, its database, and what to tell who starts it. How it is run is the business of
//! the crate `embedded-postgres`.

use std::io;
use std::path::Path;

use sqlx::postgres::PgConnectOptions;

pub use ::embedded_postgres::{
    Application, EmbeddedPostgres, Options, SUPERUSER, StartError, StopError, check_data_dir, find_bin_dir,
    throwaway_dir,
};

/// Owns the database and its schema; migrations run as this role.
pub const OWNER_ROLE: &str = "goldbook_owner";
/// What the service works as; what it may do is granted by the migrations.
pub const SERVICE_ROLE: &str = "goldbook_service";
/// The name of the database that holds Goldbook's tables.
pub const DATABASE: &str = "goldbook";

/// Goldbook, as its Postgres knows it.
pub const GOLDBOOK: Application = Application {
    name: "goldbook",
    database: DATABASE,
    owner_role: OWNER_ROLE,
    other_roles: &[SERVICE_ROLE],
    settings: &[
        // Most of what a busy ledger writes to the log are first changes of pages after a checkpoint: so fewer
        // checkpoints, and those pages compressed.
        ("max_wal_size", "4GB"),
        ("wal_compression", "lz4"),
    ],
};

/// How to connect as this role to the database that a service runs in this data directory.
///
/// # Errors
/// If the directory has no socket, as before a first start.
pub fn connect_options_of_running(data_dir: &Path, role: &str) -> io::Result<PgConnectOptions> {
    ::embedded_postgres::connect_options_of_running(&GOLDBOOK, data_dir, role)
}

/// Why Postgres did not start, with the options of `goldbook serve` that change it.
#[must_use]
pub fn explain(error: &StartError) -> String {
    let options = match error {
        StartError::NotFound => "--postgres-bin, or --database-url for a running Postgres",
        StartError::UnusableBinaries { .. } | StartError::OtherVersion { .. } => "--postgres-bin",
        StartError::InUse { .. }
        | StartError::Unreachable { .. }
        | StartError::OtherOwner { .. }
        | StartError::NotACluster(_) => "--data-dir",
        // As in a container whose file system is read-only.
        StartError::File { .. } => "--data-dir, or --database-url for a running Postgres",
        StartError::NoAccount
        | StartError::Run { .. }
        | StartError::Initdb(_)
        | StartError::LeftRunning(_)
        | StartError::Ended { .. }
        | StartError::NoAnswer { .. }
        | StartError::Setup(_)
        | StartError::ToldToStop
        | StartError::Interrupted(_) => return error.to_string(),
    };
    format!("{error} ({options})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_that_would_help_is_named() {
        let told = explain(&StartError::NotACluster("/data/postgres".into()));
        assert!(told.ends_with("or choose another data directory (--data-dir)"), "{told}");
        let read_only = io::Error::from(io::ErrorKind::ReadOnlyFilesystem);
        let told = explain(&StartError::File { action: "create", path: ".goldbook".into(), source: read_only });
        assert!(told.ends_with("(--data-dir, or --database-url for a running Postgres)"), "{told}");
        assert_eq!(explain(&StartError::LeftRunning(7)), StartError::LeftRunning(7).to_string());
    }
}
