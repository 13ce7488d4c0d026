//! The SQL of the audits that are remembered.

use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx as _;
use sqlx::{Connection as _, PgConnection};

use crate::audit::record::{Extent, LastAudit, Record};
use crate::database::{StoreError, Traced as _};

/// How many audits of each extent are kept: a week of hourly ones.
const KEPT: i64 = 168;

/// The instant by which all that was recorded was found clean: that of the last clean audit.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::audit) async fn find_covered(connection: &mut PgConnection) -> Result<Option<Timestamp>, sqlx::Error> {
    let covered = sqlx::query_scalar!(
        r#"SELECT covers AS "covers!" FROM audits WHERE remaining = 0 AND covers IS NOT NULL
           ORDER BY audit_id DESC LIMIT 1"#,
    )
    .fetch_optional(connection)
    .traced("SELECT audits")
    .await?;
    Ok(covered.map(jiff_sqlx::Timestamp::to_jiff))
}

/// Adds an audit that came to its end just now, and removes old ones, but never the last clean one.
///
/// # Errors
/// If the role may not write it, or the database is one that is only read, such as a standby.
pub(in crate::audit) async fn insert_record(
    connection: &mut PgConnection,
    record: &Record,
    version: &str,
) -> Result<(), StoreError> {
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let mut transaction = connection.begin().traced("BEGIN").await?;
    sqlx::query!(
        "INSERT INTO audits (extent, since, covers, begun_at, accounts, entries, differences, remaining,
                             not_compared, version)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        record.extent().as_str(),
        record.since.map(Timestamp::to_sqlx) as _,
        record.covers.map(Timestamp::to_sqlx) as _,
        record.begun_at.to_sqlx() as _,
        count(record.tally.accounts),
        count(record.tally.entries),
        count(record.tally.differences),
        count(record.tally.remaining),
        count(record.tally.newer),
        version,
    )
    .execute(&mut *transaction)
    .traced("INSERT audits")
    .await?;
    sqlx::query!(
        "DELETE FROM audits a
         WHERE audit_id <= (
                   SELECT audit_id FROM audits o WHERE o.extent = a.extent ORDER BY audit_id DESC OFFSET $1 LIMIT 1
               )
           AND audit_id IS DISTINCT FROM (
                   SELECT audit_id FROM audits WHERE remaining = 0 AND covers IS NOT NULL ORDER BY audit_id DESC LIMIT 1
               )",
        KEPT,
    )
    .execute(&mut *transaction)
    .traced("DELETE audits")
    .await?;
    transaction.commit().traced("COMMIT").await?;
    Ok(())
}

/// The last audit of each extent.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::audit) async fn read_last(connection: &mut PgConnection) -> Result<Vec<LastAudit>, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT DISTINCT ON (extent) extent, ended_at, remaining, not_compared,
                  (extract(epoch FROM clock_timestamp() - ended_at) * 1000000)::bigint AS "age!"
           FROM audits ORDER BY extent, audit_id DESC"#,
    )
    .fetch_all(connection)
    .traced("SELECT audits")
    .await?;
    // One of an extent that a newer version has is for that one to tell.
    let known = rows.into_iter().filter_map(|row| {
        Some(LastAudit {
            extent: Extent::from_stored(&row.extent)?,
            ended_at: row.ended_at.to_jiff(),
            age: SignedDuration::from_micros(row.age),
            differences: u64::try_from(row.remaining).unwrap_or(0),
            newer: u64::try_from(row.not_compared).unwrap_or(0),
        })
    });
    Ok(known.collect())
}
