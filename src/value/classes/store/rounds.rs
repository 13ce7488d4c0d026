//! The SQL of the rounds in which customers are decided about.

use jiff::civil::Date;
use jiff_sqlx::ToSqlx as _;
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use crate::database::{StoreError, Traced as _};
use crate::ids::{AccountId, ProgramId};

/// For how long the database waits for the service while a page is carried out.
const PAGE_LIMIT: &str = "120s";

/// Where the round of a program has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::value::classes) struct Round {
    /// The end that it is about, as the first day after the period.
    pub(in crate::value::classes) until: Date,
    /// The last account that was decided about.
    pub(in crate::value::classes) after: AccountId,
    /// Whether all were.
    pub(in crate::value::classes) is_done: bool,
}

impl Round {
    /// One that begins.
    pub(in crate::value::classes) const fn begin(until: Date) -> Self {
        Self { until, after: AccountId(Uuid::nil()), is_done: false }
    }
}

/// Locks the round of a program, which begins with an end if there is none; none if somebody else is at it. The lock lasts as
/// long as the transaction.
///
/// # Errors
/// If the database cannot be read or written.
pub(in crate::value::classes) async fn lock_round(
    transaction: &mut Transaction<'_, Postgres>,
    program_id: &ProgramId,
    until: Date,
) -> Result<Option<Round>, StoreError> {
    let Round { after, is_done, .. } = Round::begin(until);
    sqlx::query!(
        "INSERT INTO classification_rounds (program_id, until, after_account_id, is_done) VALUES ($1, $2, $3, $4)
         ON CONFLICT (program_id) DO NOTHING",
        program_id.as_str(),
        until.to_sqlx() as _,
        after.0,
        is_done,
    )
    .execute(&mut **transaction)
    .traced("INSERT classification_rounds")
    .await?;
    let row = sqlx::query!(
        r#"SELECT until AS "until: jiff_sqlx::Date", after_account_id, is_done,
                  set_config('idle_in_transaction_session_timeout', $2, TRUE) AS "limit"
           FROM classification_rounds WHERE program_id = $1 FOR UPDATE SKIP LOCKED"#,
        program_id.as_str(),
        PAGE_LIMIT,
    )
    .fetch_optional(&mut **transaction)
    .traced("SELECT classification_rounds")
    .await?;
    Ok(row.map(|row| Round {
        until: row.until.to_jiff(),
        after: AccountId(row.after_account_id),
        is_done: row.is_done,
    }))
}

/// Notes where a round has come to.
///
/// # Errors
/// If the statement fails.
pub(in crate::value::classes) async fn move_round(
    transaction: &mut Transaction<'_, Postgres>,
    program_id: &ProgramId,
    round: Round,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE classification_rounds SET until = $2, after_account_id = $3, is_done = $4 WHERE program_id = $1",
        program_id.as_str(),
        round.until.to_sqlx() as _,
        round.after.0,
        round.is_done,
    )
    .execute(&mut **transaction)
    .traced("UPDATE classification_rounds")
    .await?;
    Ok(())
}
