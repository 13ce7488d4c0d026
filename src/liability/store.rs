//! The SQL of liability summaries.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use super::model::{Summary, Sums};
use crate::book::{Defect, Table, TableRights};
use crate::database::{StoreError, Traced as _};
use crate::ids::{AccountId, ProgramId};
use crate::telemetry::metrics::{MAX_PROGRAMS, OTHER_PROGRAMS};

/// The tables of liability.
pub(crate) const TABLES: &[Table] = &[
    Table::report("liability_summaries", TableRights::AppendAndRemove),
    Table::report("liability_lease", TableRights::AppendAndChange),
];

/// How long a lease lasts if it is not renewed.
const LEASE: &str = "30 seconds";

/// Takes or renews the lease on making summaries, unless somebody else has it. It ends by the database's clock, so one
/// that crashed keeps nobody waiting for longer.
pub(super) async fn take_lease(connection: &mut PgConnection, holder: Uuid) -> Result<bool, sqlx::Error> {
    let taken = sqlx::query!(
        "INSERT INTO liability_lease AS l (holder, ends_at) VALUES ($1, clock_timestamp() + $2::text::interval)
         ON CONFLICT (one_row) DO UPDATE SET holder = excluded.holder, ends_at = excluded.ends_at
         WHERE l.holder = excluded.holder OR l.ends_at <= clock_timestamp()",
        holder,
        LEASE,
    )
    .execute(connection)
    .traced("INSERT liability_lease")
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Gives the lease back, so that the next one need not wait for its end.
pub(super) async fn end_lease(connection: &mut PgConnection, holder: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!("UPDATE liability_lease SET ends_at = clock_timestamp() WHERE holder = $1", holder)
        .execute(connection)
        .traced("UPDATE liability_lease")
        .await?;
    Ok(())
}

/// A sum that Postgres tells as text, since it may pass what a `bigint` counts.
fn parse(program_id: &str, sum: Option<String>) -> Result<i128, Defect> {
    let Some(sum) = sum else { return Ok(0) };
    sum.parse()
        .map_err(|error| Defect::new(format!("the sum {sum:?} of the liability of program {program_id}: {error}")))
}

/// Sums up the customers of all programs whose accounts are as they were at an instant: nothing was written to them
/// since, and nothing was due by then. Programs are told as they are stored.
pub(super) async fn sum_settled(
    connection: &mut PgConnection,
    at: Timestamp,
) -> Result<Vec<(String, Sums)>, StoreError> {
    let rows = sqlx::query!(
        "SELECT program_id, sum(issued)::text AS issued, sum(owed)::text AS owed, sum(pending)::text AS pending,
                sum(available)::text AS available, sum(held)::text AS held, sum(redeemed)::text AS redeemed,
                sum(expired)::text AS expired, sum(cancelled)::text AS cancelled
         FROM accounts
         WHERE kind = 'customer' AND effective_at <= $1 AND (next_due_at IS NULL OR next_due_at > $1)
         GROUP BY program_id",
        at.to_sqlx() as _,
    )
    .fetch_all(connection)
    .traced("SELECT accounts")
    .await?;
    let sums: Result<Vec<_>, Defect> = rows
        .into_iter()
        .map(|row| {
            let sums = Sums {
                issued: parse(&row.program_id, row.issued)?,
                owed: parse(&row.program_id, row.owed)?,
                pending: parse(&row.program_id, row.pending)?,
                available: parse(&row.program_id, row.available)?,
                held: parse(&row.program_id, row.held)?,
                redeemed: parse(&row.program_id, row.redeemed)?,
                expired: parse(&row.program_id, row.expired)?,
                cancelled: parse(&row.program_id, row.cancelled)?,
            };
            Ok((row.program_id, sums))
        })
        .collect();
    Ok(sums?)
}

/// Sums up what expires by each of three instants of some programs, on the accounts that [`sum_settled`] sums up.
pub(super) async fn sum_expiring<'a>(
    connection: &mut PgConnection,
    at: Timestamp,
    horizons: impl Iterator<Item = (&'a str, [Timestamp; 3])>,
) -> Result<Vec<(String, [i128; 3])>, StoreError> {
    let (mut programs, mut ends) = (Vec::new(), [const { Vec::new() }; 3]);
    for (program_id, horizons) in horizons {
        programs.push(program_id);
        for (column, end) in ends.iter_mut().zip(horizons) {
            column.push(end.to_sqlx());
        }
    }
    let [first, second, third] = &ends;
    let rows = sqlx::query!(
        r#"SELECT program_id AS "program_id!", sum(points) FILTER (WHERE expires_at <= first)::text AS first,
                sum(points) FILTER (WHERE expires_at <= second)::text AS second, sum(points)::text AS third
         FROM (
             SELECT p.*, l.available::numeric + l.held AS points,
                    CASE WHEN NOT l.slides THEN l.expires_at ELSE coalesce((
                        SELECT min(lapse) FROM unnest(e.lapses) lapse WHERE lapse > l.live_since
                    ), e.slides_to) END AS expires_at
             FROM unnest($2::text[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[])
                 AS p (program_id, first, second, third)
             JOIN accounts a ON a.program_id = p.program_id
             JOIN lots l ON l.account_id = a.account_id
             LEFT JOIN earnings e ON e.account_id = l.account_id
             WHERE a.kind = 'customer' AND a.effective_at <= $1 AND (a.next_due_at IS NULL OR a.next_due_at > $1)
               AND l.available + l.held > 0
         ) lots
         WHERE expires_at <= third
         GROUP BY program_id"#,
        at.to_sqlx() as _,
        &programs as _,
        first,
        second,
        third,
    )
    .fetch_all(connection)
    .traced("SELECT lots")
    .await?;
    let sums: Result<Vec<_>, Defect> = rows
        .into_iter()
        .map(|row| {
            let mut expiring = [0; 3];
            for (slot, sum) in expiring.iter_mut().zip([row.first, row.second, row.third]) {
                *slot = parse(&row.program_id, sum)?;
            }
            Ok((row.program_id, expiring))
        })
        .collect();
    Ok(sums?)
}

/// Begins to look for the customers that [`sum_settled`] leaves out. A cursor, so that however many there are, accounts
/// are gone through once; its rows cannot be checked when this is compiled.
pub(super) async fn open_unsettled(connection: &mut PgConnection, at: Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query(
        "DECLARE unsettled NO SCROLL CURSOR FOR SELECT account_id, program_id, head, effective_at > $1 FROM accounts
         WHERE kind = 'customer' AND (effective_at > $1 OR next_due_at <= $1)",
    )
    .bind(at.to_sqlx())
    .execute(connection)
    .traced("SELECT accounts")
    .await?;
    Ok(())
}

/// A customer that [`sum_settled`] leaves out.
#[derive(Clone, Debug)]
pub(super) struct Unsettled {
    pub(super) account_id: AccountId,
    /// Its program, as it is stored.
    pub(super) program: String,
    /// How many entries it has: it has no more lots than that.
    pub(super) head: i64,
    /// Whether anything was written to it since the instant.
    pub(super) is_ahead: bool,
}

/// The next ones of [`open_unsettled`].
pub(super) async fn fetch_unsettled(connection: &mut PgConnection) -> Result<Vec<Unsettled>, sqlx::Error> {
    let rows: Vec<(Uuid, String, i64, bool)> =
        sqlx::query_as("FETCH 256 FROM unsettled").fetch_all(connection).traced("SELECT accounts").await?;
    let read = |(account_id, program, head, is_ahead)| {
        let account_id = AccountId(account_id);
        Unsettled { account_id, program, head, is_ahead }
    };
    Ok(rows.into_iter().map(read).collect())
}

/// Every program there is, as it is stored.
pub(super) async fn list_programs(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!("SELECT program_id FROM programs ORDER BY program_id")
        .fetch_all(connection)
        .traced("SELECT programs")
        .await
}

/// When the last summary of any program was taken, and what the database's clock tells.
pub(super) async fn last_taken_at(
    connection: &mut PgConnection,
) -> Result<(Option<Timestamp>, Timestamp), sqlx::Error> {
    let row = sqlx::query!(
        r#"SELECT max(taken_at) AS "taken_at: jiff_sqlx::Timestamp", clock_timestamp() AS "told!"
           FROM liability_summaries"#,
    )
    .fetch_one(connection)
    .traced("SELECT liability_summaries")
    .await?;
    Ok((row.taken_at.map(jiff_sqlx::Timestamp::to_jiff), row.told.to_jiff()))
}

/// Adds summaries of programs, all of one instant.
pub(super) async fn insert_summaries<'a>(
    connection: &mut PgConnection,
    summaries: impl Iterator<Item = (&'a str, &'a Summary)>,
) -> Result<(), sqlx::Error> {
    let (mut programs, mut taken, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    let mut numbers: [Vec<String>; 11] = Default::default();
    for (program_id, summary) in summaries {
        programs.push(program_id);
        taken.push(summary.taken_at.to_sqlx());
        left_out.push(summary.left_out);
        let Sums { issued, owed, pending, available, held, redeemed, expired, cancelled } = summary.sums;
        let [first, second, third] = summary.expiring;
        let row = [issued, owed, pending, available, held, redeemed, expired, cancelled, first, second, third];
        for (column, number) in numbers.iter_mut().zip(row) {
            column.push(number.to_string());
        }
    }
    let [issued, owed, pending, available, held, redeemed, expired, cancelled, first, second, third] = &numbers;
    sqlx::query!(
        "INSERT INTO liability_summaries (program_id, taken_at, issued, owed, pending, available, held, redeemed, expired,
             cancelled, expiring_30, expiring_90, expiring_365, left_out)
         SELECT program_id, taken_at, issued::numeric, owed::numeric, pending::numeric, available::numeric,
             held::numeric, redeemed::numeric, expired::numeric, cancelled::numeric, first::numeric, second::numeric,
             third::numeric, left_out
         FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
             $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::bigint[])
             AS u (program_id, taken_at, issued, owed, pending, available, held, redeemed, expired, cancelled, first,
             second, third, left_out)
         ON CONFLICT DO NOTHING",
        &programs as _,
        &taken,
        issued,
        owed,
        pending,
        available,
        held,
        redeemed,
        expired,
        cancelled,
        first,
        second,
        third,
        &left_out,
    )
    .execute(connection)
    .traced("INSERT liability_summaries")
    .await?;
    Ok(())
}

/// When a program's summaries of a time were taken, in order.
pub(super) async fn list_taken(
    connection: &mut PgConnection,
    program_id: &str,
    since: Timestamp,
    before: Timestamp,
) -> Result<Vec<Timestamp>, sqlx::Error> {
    let rows = sqlx::query_scalar!(
        "SELECT taken_at FROM liability_summaries WHERE program_id = $1 AND taken_at >= $2 AND taken_at < $3
         ORDER BY taken_at",
        program_id,
        since.to_sqlx() as _,
        before.to_sqlx() as _,
    )
    .fetch_all(connection)
    .traced("SELECT liability_summaries")
    .await?;
    Ok(rows.into_iter().map(jiff_sqlx::Timestamp::to_jiff).collect())
}

/// Removes programs' summaries by when they were taken.
pub(super) async fn remove<'a>(
    connection: &mut PgConnection,
    summaries: impl Iterator<Item = (&'a str, Timestamp)>,
) -> Result<(), sqlx::Error> {
    let (programs, taken): (Vec<&str>, Vec<jiff_sqlx::Timestamp>) =
        summaries.map(|(program, taken_at)| (program, taken_at.to_sqlx())).unzip();
    sqlx::query!(
        "DELETE FROM liability_summaries s USING unnest($1::text[], $2::timestamptz[]) AS u (program_id, taken_at)
         WHERE s.program_id = u.program_id AND s.taken_at = u.taken_at",
        &programs as _,
        &taken,
    )
    .execute(connection)
    .traced("DELETE liability_summaries")
    .await?;
    Ok(())
}

/// The newest summary of a program, or the newest up to an instant.
pub(super) async fn read_summary(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    as_of: Option<Timestamp>,
) -> Result<Option<Summary>, StoreError> {
    let row = sqlx::query!(
        "SELECT taken_at, issued::text, owed::text, pending::text, available::text, held::text, redeemed::text,
                expired::text, cancelled::text, expiring_30::text, expiring_90::text, expiring_365::text, left_out
         FROM liability_summaries WHERE program_id = $1 AND ($2::timestamptz IS NULL OR taken_at <= $2) ORDER BY taken_at DESC LIMIT 1",
        program_id.as_str(),
        as_of.map(|as_of| as_of.to_sqlx()) as _,
    )
    .fetch_optional(connection)
    .traced("SELECT liability_summaries")
    .await?;
    let Some(row) = row else { return Ok(None) };
    let program_id = program_id.as_str();
    Ok(Some(Summary {
        taken_at: row.taken_at.to_jiff(),
        left_out: row.left_out,
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

/// How old the newest summary of each of the first hundred programs is, in seconds by the database's clock, and the oldest one of
/// the others, and of all. A program without one counts from its first version on. Of more than a thousand programs, the others are
/// those of the first thousand.
pub(super) async fn read_summary_ages(connection: &mut PgConnection) -> Result<(Vec<(String, f64)>, f64), StoreError> {
    let rows = sqlx::query!(
        r#"SELECT p.program_id AS "program_id!",
                  extract(epoch FROM clock_timestamp() - coalesce(s.taken_at, v.applied_at))::double precision AS "age!"
           FROM (SELECT program_id FROM programs ORDER BY program_id LIMIT 1000) p
           LEFT JOIN LATERAL (
               SELECT l.taken_at FROM liability_summaries l WHERE l.program_id = p.program_id
               ORDER BY l.taken_at DESC LIMIT 1
           ) s ON TRUE
           CROSS JOIN LATERAL (
               SELECT f.applied_at FROM program_versions f WHERE f.program_id = p.program_id
               ORDER BY f.version LIMIT 1
           ) v
           ORDER BY p.program_id"#,
    )
    .fetch_all(connection)
    .traced("SELECT liability_summaries")
    .await?;
    let oldest = rows.iter().map(|row| row.age).fold(0.0, f64::max);
    let mut ages: Vec<_> = rows.into_iter().map(|row| (row.program_id, row.age)).collect();
    let others = ages.split_off(MAX_PROGRAMS.min(ages.len())).into_iter().map(|(_, age)| age).reduce(f64::max);
    ages.extend(others.map(|age| (OTHER_PROGRAMS.to_owned(), age)));
    Ok((ages, oldest))
}
