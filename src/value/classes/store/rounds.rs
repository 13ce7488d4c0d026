//! The SQL of the rounds in which customers are decided about.
//!
//! Whoever works has a lease on the round and says so again while they work, so that no transaction lasts as long as the work. If
//! a lease is lost, two may do the same work: what they write is written once.

use jiff::civil::Date;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::database::{StoreError, Traced as _};
use crate::ids::{AccountId, ProgramId};

/// Where the round of a program has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::value::classes) struct Round {
    /// The end that it is about, as the first day after the period.
    pub(in crate::value::classes) until: Date,
    /// The last account that was decided about.
    pub(in crate::value::classes) after: AccountId,
    /// Whether somebody before it could not be written to.
    pub(in crate::value::classes) has_left: bool,
    /// Whether all were decided about.
    pub(in crate::value::classes) is_done: bool,
}

impl Round {
    /// One that begins.
    pub(in crate::value::classes) const fn begin(until: Date) -> Self {
        Self { until, after: AccountId(Uuid::nil()), has_left: false, is_done: false }
    }
}

/// The round of a program, if it has one.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::value::classes) async fn read_round(
    connection: &mut PgConnection,
    program_id: &ProgramId,
) -> Result<Option<Round>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT until AS "until: jiff_sqlx::Date", after_account_id, has_left, is_done FROM classification_rounds
           WHERE program_id = $1"#,
        program_id.as_str(),
    )
    .fetch_optional(connection)
    .traced("SELECT classification_rounds")
    .await?;
    Ok(row.map(|row| Round {
        until: row.until.to_jiff(),
        after: AccountId(row.after_account_id),
        has_left: row.has_left,
        is_done: row.is_done,
    }))
}

/// Takes a lease of a minute on the round of a program, for whoever has looked where it has come to. Says whether that is still
/// so, and nobody else has one.
///
/// # Errors
/// If the statement fails.
pub(in crate::value::classes) async fn lease_round(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    (seen, round): (Option<Round>, Round),
) -> Result<bool, StoreError> {
    let taken = sqlx::query!(
        "INSERT INTO classification_rounds AS r (program_id, until, after_account_id, has_left, is_done, leased_until)
         VALUES ($1, $2, $3, $4, $5, clock_timestamp() + interval '1 minute')
         ON CONFLICT (program_id) DO UPDATE SET until = excluded.until, after_account_id = excluded.after_account_id,
             has_left = excluded.has_left, is_done = excluded.is_done, leased_until = excluded.leased_until
         WHERE r.until = $6 AND r.after_account_id = $7 AND r.is_done = $8
           AND (r.leased_until IS NULL OR r.leased_until < clock_timestamp())",
        program_id.as_str(),
        round.until.to_sqlx() as _,
        round.after.0,
        round.has_left,
        round.is_done,
        seen.map(|seen| seen.until.to_sqlx()) as _,
        seen.map(|seen| seen.after.0),
        seen.map(|seen| seen.is_done),
    )
    .execute(connection)
    .traced("INSERT classification_rounds")
    .await?;
    Ok(taken.rows_affected() > 0)
}

/// Says again that somebody works on the round of a program.
///
/// # Errors
/// If the statement fails.
pub(in crate::value::classes) async fn renew_lease(
    connection: &mut PgConnection,
    program_id: &ProgramId,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE classification_rounds SET leased_until = clock_timestamp() + interval '1 minute' WHERE program_id = $1",
        program_id.as_str(),
    )
    .execute(connection)
    .traced("UPDATE classification_rounds")
    .await?;
    Ok(())
}

/// Notes where a round has come to; the lease goes on, or ends.
///
/// # Errors
/// If the statement fails.
pub(in crate::value::classes) async fn move_round(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    (round, works_on): (Round, bool),
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE classification_rounds SET until = $2, after_account_id = $3, has_left = $4, is_done = $5,
             leased_until = CASE WHEN $6 THEN clock_timestamp() + interval '1 minute' END
         WHERE program_id = $1",
        program_id.as_str(),
        round.until.to_sqlx() as _,
        round.after.0,
        round.has_left,
        round.is_done,
        works_on,
    )
    .execute(connection)
    .traced("UPDATE classification_rounds")
    .await?;
    Ok(())
}
