//! The SQL of liability summaries.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{Connection as _, PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::model::{Summary, Sums};
use crate::book::{Defect, Table, TableRights, TableRole};
use crate::database::{StoreError, Traced as _};
use crate::ids::{AccountId, ProgramId};

/// The tables of liability.
pub(crate) const TABLES: &[Table] = &[Table {
    name: "liability_summaries",
    role: TableRole::Report,
    rights: TableRights::AppendAndRemove,
    strays: &[],
}];

/// How long the writers of all accounts may keep a summary waiting, and how long those behind it wait with it.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '2s'";

/// Waits until no batch is under way. Then none can begin until the transaction ends.
pub(super) async fn lock_all_accounts(connection: &mut PgConnection) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
    let mut transaction = connection.begin().traced("BEGIN").await?;
    sqlx::query(LOCK_TIMEOUT).execute(&mut *transaction).traced("SET").await?;
    sqlx::query("LOCK TABLE accounts IN EXCLUSIVE MODE").execute(&mut *transaction).traced("LOCK accounts").await?;
    Ok(transaction)
}

/// Starts the snapshot of a transaction that has begun. Postgres takes it with the first statement, so this is one.
pub(super) async fn start_snapshot(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT 1").execute(connection).traced("SELECT").await?;
    Ok(())
}

/// A sum that Postgres tells as text, since it may pass what a `bigint` counts.
fn parse(program_id: &ProgramId, sum: Option<String>) -> Result<i128, Defect> {
    let Some(sum) = sum else { return Ok(0) };
    sum.parse()
        .map_err(|error| Defect::new(format!("the sum {sum:?} of the liability of program {program_id}: {error}")))
}

/// Sums up a program's customers on whose accounts nothing is due by an instant.
pub(super) async fn sum_accounts(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    at: Timestamp,
) -> Result<Sums, StoreError> {
    let row = sqlx::query!(
        "SELECT sum(issued)::text AS issued, sum(owed)::text AS owed, sum(pending)::text AS pending,
                sum(available)::text AS available, sum(held)::text AS held, sum(redeemed)::text AS redeemed,
                sum(expired)::text AS expired, sum(cancelled)::text AS cancelled
         FROM accounts
         WHERE program_id = $1 AND kind = 'customer' AND (next_due_at IS NULL OR next_due_at > $2)",
        program_id.as_str(),
        at.to_sqlx() as _,
    )
    .fetch_one(connection)
    .traced("SELECT accounts")
    .await?;
    Ok(Sums {
        issued: parse(program_id, row.issued)?,
        owed: parse(program_id, row.owed)?,
        pending: parse(program_id, row.pending)?,
        available: parse(program_id, row.available)?,
        held: parse(program_id, row.held)?,
        redeemed: parse(program_id, row.redeemed)?,
        expired: parse(program_id, row.expired)?,
        cancelled: parse(program_id, row.cancelled)?,
    })
}

/// Sums up what expires by each of three instants, on accounts where nothing is due.
pub(super) async fn sum_expiring(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    at: Timestamp,
    horizons: [Timestamp; 3],
) -> Result<[i128; 3], StoreError> {
    let [first, second, third] = horizons.map(|horizon| horizon.to_sqlx());
    let row = sqlx::query!(
        "SELECT sum(points) FILTER (WHERE expires_at <= $3)::text AS first,
                sum(points) FILTER (WHERE expires_at <= $4)::text AS second,
                sum(points)::text AS third
         FROM (
             SELECT l.available::numeric + l.held AS points,
                    CASE WHEN NOT l.slides THEN l.expires_at ELSE coalesce((
                        SELECT min(lapse::timestamptz) FROM jsonb_array_elements_text(e.lapses) lapse
                        WHERE lapse::timestamptz > l.live_since
                    ), e.slides_to) END AS expires_at
             FROM lots l
             JOIN accounts a ON a.account_id = l.account_id
             LEFT JOIN earnings e ON e.account_id = l.account_id
             WHERE a.program_id = $1 AND (a.next_due_at IS NULL OR a.next_due_at > $2) AND l.available + l.held > 0
         ) lots
         WHERE expires_at <= $5",
        program_id.as_str(),
        at.to_sqlx() as _,
        first as _,
        second as _,
        third as _,
    )
    .fetch_one(connection)
    .traced("SELECT lots")
    .await?;
    Ok([parse(program_id, row.first)?, parse(program_id, row.second)?, parse(program_id, row.third)?])
}

/// A page of a program's customers on whose accounts something is due by an instant.
pub(super) async fn list_due(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    at: Timestamp,
    after: AccountId,
    limit: i64,
) -> Result<Vec<AccountId>, sqlx::Error> {
    let rows = sqlx::query_scalar!(
        "SELECT account_id FROM accounts
         WHERE program_id = $1 AND kind = 'customer' AND next_due_at <= $2 AND account_id > $3
         ORDER BY account_id LIMIT $4",
        program_id.as_str(),
        at.to_sqlx() as _,
        after.0,
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT accounts")
    .await?;
    Ok(rows.into_iter().map(AccountId).collect())
}

/// Every program there is.
pub(super) async fn list_programs(connection: &mut PgConnection) -> Result<Vec<ProgramId>, StoreError> {
    let rows = sqlx::query_scalar!("SELECT program_id FROM programs ORDER BY program_id")
        .fetch_all(connection)
        .traced("SELECT programs")
        .await?;
    rows.into_iter()
        .map(|program_id| {
            let described = format!("the program id {program_id:?}");
            ProgramId::try_from(program_id).map_err(|error| Defect::new(format!("{described}: {error}")).into())
        })
        .collect()
}

/// When the last summary of any program was taken.
pub(super) async fn last_taken_at(connection: &mut PgConnection) -> Result<Option<Timestamp>, sqlx::Error> {
    let last = sqlx::query_scalar!("SELECT max(taken_at) FROM liability_summaries")
        .fetch_one(connection)
        .traced("SELECT liability_summaries")
        .await?;
    Ok(last.map(jiff_sqlx::Timestamp::to_jiff))
}

/// Adds a summary.
pub(super) async fn insert_summary(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    summary: &Summary,
) -> Result<(), sqlx::Error> {
    let Sums { issued, owed, pending, available, held, redeemed, expired, cancelled } = summary.sums;
    let [first, second, third] = summary.expiring;
    let numbers: Vec<String> =
        [issued, owed, pending, available, held, redeemed, expired, cancelled, first, second, third]
            .iter()
            .map(ToString::to_string)
            .collect();
    sqlx::query!(
        "INSERT INTO liability_summaries (program_id, taken_at, issued, owed, pending, available, held, redeemed, expired,
             cancelled, expiring_30, expiring_90, expiring_365)
         SELECT $1, $2, n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10], n[11]
         FROM (SELECT $3::text[]::numeric[] AS n) numbers
         ON CONFLICT DO NOTHING",
        program_id.as_str(),
        summary.taken_at.to_sqlx() as _,
        &numbers,
    )
    .execute(connection)
    .traced("INSERT liability_summaries")
    .await?;
    Ok(())
}

/// Removes the summaries of days that have passed, but for the last of each local day.
pub(super) async fn thin_out(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    time_zone: &str,
    before: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "DELETE FROM liability_summaries s
         WHERE s.program_id = $1 AND s.taken_at < $3 AND EXISTS (
             SELECT FROM liability_summaries later
             WHERE later.program_id = s.program_id AND later.taken_at > s.taken_at
               AND (later.taken_at AT TIME ZONE $2)::date = (s.taken_at AT TIME ZONE $2)::date
         )",
        program_id.as_str(),
        time_zone,
        before.to_sqlx() as _,
    )
    .execute(connection)
    .traced("DELETE liability_summaries")
    .await?;
    Ok(())
}

/// The newest summary of a program up to an instant.
pub(super) async fn read_summary(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    as_of: Timestamp,
) -> Result<Option<Summary>, StoreError> {
    let row = sqlx::query!(
        "SELECT taken_at, issued::text, owed::text, pending::text, available::text, held::text, redeemed::text,
                expired::text, cancelled::text, expiring_30::text, expiring_90::text, expiring_365::text
         FROM liability_summaries WHERE program_id = $1 AND taken_at <= $2 ORDER BY taken_at DESC LIMIT 1",
        program_id.as_str(),
        as_of.to_sqlx() as _,
    )
    .fetch_optional(connection)
    .traced("SELECT liability_summaries")
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Summary {
        taken_at: row.taken_at.to_jiff(),
        sums: Sums {
            issued: parse(program_id, row.issued)?,
            owed: parse(program_id, row.owed)?,
            pending: parse(program_id, row.pending)?,
            available: parse(program_id, row.available)?,
            held: parse(program_id, row.held)?,
            redeemed: parse(program_id, row.redeemed)?,
            expired: parse(program_id, row.expired)?,
            cancelled: parse(program_id, row.cancelled)?,
        },
        expiring: [
            parse(program_id, row.expiring_30)?,
            parse(program_id, row.expiring_90)?,
            parse(program_id, row.expiring_365)?,
        ],
    }))
}

/// The smallest id: a page after it is the first.
pub(super) const BEFORE_ALL: AccountId = AccountId(Uuid::nil());
