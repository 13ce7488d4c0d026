//! The SQL that asks the database's clock, and looks for batches under way.

use std::sync::Arc;

use jiff::Timestamp;
use sqlx::{PgConnection, PgExecutor, PgPool};

use crate::database::{BATCH_SESSIONS, Fetch, StoreError, Traced as _};

/// What the database's clock tells, asked for alone: in the statements that read something, it comes with them.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::book) async fn read_clock(connection: &mut PgConnection) -> Result<Timestamp, StoreError> {
    let told =
        sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "told!""#).fetch_one(connection).traced("SELECT").await?;
    Ok(told.to_jiff())
}

/// What a look at the batches under way sees.
#[derive(Clone, Copy, Debug)]
pub(in crate::book) struct Look {
    /// What the database's clock told before anything was seen.
    pub told: Timestamp,
    /// When the oldest batch under way began.
    pub oldest_batch: Option<Timestamp>,
    /// How many sessions do not show whether they have a batch under way.
    pub hidden_sessions: i64,
}

/// Looks at the batches under way. Postgres keeps what it has seen of sessions until a transaction ends, so each look is
/// a transaction of its own.
pub(in crate::book) async fn look_at_batches(executor: impl PgExecutor<'_>) -> Result<Look, StoreError> {
    // `now()` is read when the statement begins, and the sessions afterwards.
    let seen = sqlx::query!(
        r#"SELECT now() AS "told!", min(xact_start) AS "oldest_batch?: jiff_sqlx::Timestamp",
                  count(*) FILTER (WHERE state = 'disabled' OR query = '<insufficient privilege>')
                      AS "hidden_sessions!"
           FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1"#,
        BATCH_SESSIONS,
    )
    .fetch_one(executor)
    .traced("SELECT pg_stat_activity")
    .await?;
    Ok(Look {
        told: seen.told.to_jiff(),
        oldest_batch: seen.oldest_batch.map(jiff_sqlx::Timestamp::to_jiff),
        hidden_sessions: seen.hidden_sessions,
    })
}

/// Looks once for all who ask at the same time.
#[must_use]
pub(in crate::book) fn fetch_looks() -> Fetch<(), Look> {
    Arc::new(|pool: PgPool, askers: Arc<[()]>| {
        Box::pin(async move {
            let look = look_at_batches(&pool).await?;
            Ok(vec![Some(look); askers.len()])
        })
    })
}
