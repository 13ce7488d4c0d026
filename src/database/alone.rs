//! Connections of one's own, made within a bound.

use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgConnection};

use super::error::StoreError;

/// How long a read waits for a connection before the database counts as away.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection of one's own, made within a bound.
///
/// # Errors
/// If the database is away.
pub async fn connect_alone(options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    match tokio::time::timeout(ACQUIRE_TIMEOUT, unlogged(options).connect()).await {
        Ok(connection) => Ok(connection?),
        Err(_) => Err(StoreError::ConnectTimedOut { bound: ACQUIRE_TIMEOUT }),
    }
}

/// Connections that write no statement into the log. By itself the driver warns of every statement that takes a second, with
/// all of its text: of exports, which take hours, and of what waits for a lock. Spans and metrics tell how long statements
/// take, by their summaries.
pub(super) fn unlogged(options: &PgConnectOptions) -> PgConnectOptions {
    options.clone().disable_statement_logging()
}
