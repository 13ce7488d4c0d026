//! The SQL of tier periods.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::benefits::state::BenefitsState;
use crate::book::States;
use crate::database::{Selection, StoreError, Traced as _, WritePart, selection, sent_as, write_part};
use crate::ids::AccountId;

/// A tier period as it is stored, and as it is sent.
#[derive(sqlx::Encode, sqlx::Decode)]
pub(in crate::benefits) struct PeriodRow {
    account_id: Uuid,
    began_seq: i64,
    began_at: jiff_sqlx::Timestamp,
}

sent_as!(PeriodRow, "sent_tier_period");

pub(in crate::benefits) fn take_periods(states: &mut States, rows: Vec<PeriodRow>) -> Result<(), StoreError> {
    let state: &mut BenefitsState = states.get_mut()?;
    for row in rows {
        state.periods.insert((AccountId(row.account_id), row.began_seq), row.began_at.to_jiff());
    }
    Ok(())
}

pub(super) fn all_periods_of(accounts: Vec<Uuid>) -> Selection<PeriodRow> {
    selection!(
        "tier_periods",
        PeriodRow,
        "SELECT account_id, began_seq, began_at FROM tier_periods WHERE account_id = ANY($1)",
        [accounts],
    )
}

/// The last tier period of each account of which commands ask for benefits.
pub(super) fn last_periods_of(state: &BenefitsState) -> Selection<PeriodRow> {
    let accounts: Vec<Uuid> = state.asked.benefits.keys().map(|(account_id, _)| account_id.0).collect();
    selection!(
        "tier_periods",
        PeriodRow,
        "SELECT p.account_id, p.began_seq, p.began_at
         FROM unnest($1::uuid[]) AS w (account_id)
         JOIN LATERAL (
             SELECT * FROM tier_periods f WHERE f.account_id = w.account_id ORDER BY f.began_seq DESC LIMIT 1
         ) p ON TRUE",
        [accounts],
    )
}

/// The last tier period of each account, and those in which tiers were reached for which packages are owed.
pub(in crate::benefits) fn reached_periods_of(accounts: Vec<Uuid>) -> Selection<PeriodRow> {
    selection!(
        "tier_periods",
        PeriodRow,
        r#"SELECT p.account_id AS "account_id!", p.began_seq AS "began_seq!", p.began_at AS "began_at!"
           FROM unnest($1::uuid[]) AS w (account_id)
           JOIN LATERAL (
               (SELECT * FROM tier_periods f WHERE f.account_id = w.account_id ORDER BY f.began_seq DESC LIMIT 1)
               UNION
               (SELECT l.* FROM packages_owed o
                JOIN LATERAL (
                    SELECT * FROM tier_periods f WHERE f.account_id = o.account_id AND f.began_seq <= o.reached_seq
                    ORDER BY f.began_seq DESC LIMIT 1
                ) l ON TRUE
                WHERE o.account_id = w.account_id AND o.settled_seq IS NULL)
           ) p ON TRUE"#,
        [accounts],
    )
}

/// What is written about tier periods.
pub(super) fn write_part(state: &BenefitsState) -> WritePart {
    let rows: Vec<PeriodRow> = state
        .new_periods
        .iter()
        .filter_map(|(account_id, began_seq)| {
            let began_at = state.periods.get(&(*account_id, *began_seq))?.to_sqlx();
            Some(PeriodRow { account_id: account_id.0, began_seq: *began_seq, began_at })
        })
        .collect();
    write_part!(
        "INSERT INTO tier_periods (account_id, began_seq, began_at) SELECT * FROM unnest($1::sent_tier_period[])",
        rows,
    )
}

/// The tier period of an account at an instant, as it is written, by the number of the entry that began it; 0 for the one
/// that began with the customer.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::benefits) async fn read_tier_period(
    connection: &mut PgConnection,
    account_id: AccountId,
    by: Timestamp,
) -> Result<i64, StoreError> {
    let began_seq = sqlx::query_scalar!(
        "SELECT began_seq FROM tier_periods WHERE account_id = $1 AND began_at <= $2 ORDER BY began_seq DESC LIMIT 1",
        account_id.0,
        by.to_sqlx() as _,
    )
    .fetch_optional(connection)
    .traced("SELECT tier_periods")
    .await?;
    Ok(began_seq.unwrap_or(0))
}
