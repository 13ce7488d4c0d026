//! Connection poolers between a program and Postgres.
//!
//! How statements are planned, how long one may take and how transactions are isolated is told to Postgres when a
//! connection begins, in its `options`. PgBouncer passes those on in no mode: it refuses them, or leaves them out. Where it
//! pools transactions, it also gives one connection's prepared statements and locks to others. So a connection carries a
//! mark in its options, and whoever does not find it there does not begin.

use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{PgConnection, Row as _};

use super::patience::connect;
use super::unfit::SchemaError;

/// The mark, and what is asked of the database for it.
const MARK: (&str, &str) = ("goldbook.session", "kept");
pub(super) const READ_MARK: &str = "current_setting('goldbook.session', true)";

/// How PgBouncer begins its refusals of what it does not pass on.
const REFUSAL: &str = "unsupported startup parameter";

/// Connects with the mark, within a bound.
///
/// # Errors
/// [`SchemaError::Pooled`] if a pooler refuses the mark.
pub(super) async fn connect_marked(options: &PgConnectOptions) -> Result<PgConnection, SchemaError> {
    match connect(&options.clone().options([MARK])).await {
        Err(sqlx::Error::Database(refusal)) if refusal.message().starts_with(REFUSAL) => {
            Err(SchemaError::Pooled { said: refusal.message().to_owned() })
        }
        connected => Ok(connected?),
    }
}

/// Makes sure that the mark arrived, which is in this column of what was answered.
///
/// # Errors
/// [`SchemaError::Pooled`] if it did not.
pub(super) fn refuse_unmarked(row: &PgRow, column: usize) -> Result<(), SchemaError> {
    let found: Option<String> = row.try_get(column)?;
    if found.as_deref() == Some(MARK.1) {
        return Ok(());
    }
    Err(SchemaError::Pooled { said: format!("{} was left out", MARK.0) })
}
