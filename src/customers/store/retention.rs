//! The SQL of the search for accounts without activity.

use jiff::{SignedDuration, Timestamp};
use jiff_sqlx::ToSqlx as _;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::clock::Clock;
use crate::customers::retention::commands::Inactive;
use crate::database::{StoreError, Traced as _};
use crate::ids::{AccountId, ProgramId};
use crate::programs::retention::Limits;

/// How long after a round began the next one of the same version begins.
const ROUND: SignedDuration = SignedDuration::from_hours(24);
/// How many of an account's newest entries are looked through for one of a caller.
const MAX_ENTRIES: i64 = 1_024;

/// Takes the next page of a program's accounts for whoever asks alone, with the present. None if the round is over, and
/// the next one does not begin yet: it begins a day later, or at once with a new version.
pub(in crate::customers) async fn take_page(
    connection: &mut PgConnection,
    clock: &Clock,
    program_id: &ProgramId,
    version: i32,
    limit: i64,
) -> Result<Option<(Vec<AccountId>, Timestamp)>, StoreError> {
    let mut transaction = connection.begin().traced("BEGIN").await?;
    sqlx::query!(
        "INSERT INTO retention_rounds (program_id, version, begun_at, is_over) VALUES ($1, 0, clock_timestamp(), TRUE)
         ON CONFLICT (program_id) DO NOTHING",
        program_id.as_str(),
    )
    .execute(&mut *transaction)
    .traced("INSERT retention_rounds")
    .await?;
    let round = sqlx::query!(
        r#"SELECT r.version, r.begun_at, r.after_account_id, r.is_over, clock_timestamp() AS "told!",
                  (SELECT version_at(p.versions, p.starts, coalesce($2, clock_timestamp())) FROM programs p
                   WHERE p.program_id = r.program_id) AS in_force
           FROM retention_rounds r WHERE r.program_id = $1 FOR UPDATE OF r"#,
        program_id.as_str(),
        clock.shown().map(|shown| shown.to_sqlx()) as _,
    )
    .fetch_one(&mut *transaction)
    .traced("SELECT retention_rounds")
    .await?;
    let now = clock.present(round.told.to_jiff());
    let age = now.duration_since(round.begun_at.to_jiff()).abs();
    let begins = round.version != version || (round.is_over && age >= ROUND);
    // By a version that is in force no longer, nothing would be erased.
    if round.in_force != Some(version) || (round.is_over && !begins) {
        return Ok(None);
    }
    let accounts = sqlx::query_scalar!(
        "SELECT account_id FROM customers WHERE program_id = $1 AND account_id > $2 ORDER BY account_id LIMIT $3",
        program_id.as_str(),
        round.after_account_id.filter(|_| !begins).unwrap_or(Uuid::nil()),
        limit,
    )
    .fetch_all(&mut *transaction)
    .traced("SELECT customers")
    .await?;
    sqlx::query!(
        "UPDATE retention_rounds SET version = $2, begun_at = $3, after_account_id = $4, is_over = $5
         WHERE program_id = $1",
        program_id.as_str(),
        version,
        if begins { now } else { round.begun_at.to_jiff() }.to_sqlx() as _,
        accounts.last(),
        accounts.is_empty(),
    )
    .execute(&mut *transaction)
    .traced("UPDATE retention_rounds")
    .await?;
    transaction.commit().traced("COMMIT").await?;
    let accounts: Vec<AccountId> = accounts.into_iter().map(AccountId).collect();
    Ok((!accounts.is_empty()).then_some((accounts, now)))
}

/// Those of some accounts of customers that have something that is kept no longer, and to which no caller wrote after the
/// limits. However much an account has done, at most [`MAX_ENTRIES`] of its entries are looked at, and only if there is
/// something to erase and something was written to it lately.
pub(in crate::customers) async fn find_inactive(
    connection: &mut PgConnection,
    accounts: &[AccountId],
    limits: Limits,
) -> Result<Vec<Inactive>, StoreError> {
    let ids: Vec<Uuid> = accounts.iter().map(|account_id| account_id.0).collect();
    // An account's time never goes back, so no entry before one that is old enough is newer.
    let rows = sqlx::query!(
        r#"SELECT a.account_id, a.head, k.notes AND s.since <= $2 IS TRUE AS "has_notes!",
                  k.dossier AND s.since <= $3 IS TRUE AS "has_dossier!"
           FROM unnest($1::uuid[]) AS u (account_id)
           CROSS JOIN LATERAL (
               SELECT * FROM accounts a
               WHERE a.account_id = u.account_id AND a.kind = 'customer' AND a.erased_at IS NULL OFFSET 0
           ) a
           CROSS JOIN LATERAL (
               SELECT $2::timestamptz IS NOT NULL
                          AND EXISTS (SELECT FROM entry_notes n WHERE n.account_id = a.account_id) AS notes,
                      $3::timestamptz IS NOT NULL AND (
                          EXISTS (SELECT FROM customers c WHERE c.account_id = a.account_id AND c.dossier <> '{}')
                          OR EXISTS (SELECT FROM marketing_consents m WHERE m.account_id = a.account_id)
                      ) AS dossier
               OFFSET 0
           ) k
           CROSS JOIN LATERAL (
               SELECT CASE WHEN NOT (k.notes OR k.dossier) THEN NULL
                           WHEN a.effective_at <= least($2, $3) THEN a.effective_at
                           ELSE (
                               SELECT e.effective_at FROM ledger_entries e
                               WHERE e.account_id = a.account_id AND e.account_seq > a.head - $4
                                 AND e.account_seq <= a.head
                                 AND (e.actor = 'caller' OR e.effective_at <= least($2, $3))
                               ORDER BY e.account_seq DESC LIMIT 1
                           ) END AS since
               OFFSET 0
           ) s
           WHERE (k.notes AND s.since <= $2) OR (k.dossier AND s.since <= $3)"#,
        &ids,
        limits.notes.map(|limit| limit.to_sqlx()) as _,
        limits.dossier.map(|limit| limit.to_sqlx()) as _,
        MAX_ENTRIES,
    )
    .fetch_all(connection)
    .traced("SELECT accounts")
    .await?;
    let found = rows.into_iter().map(|row| Inactive {
        account_id: AccountId(row.account_id),
        head: row.head,
        has_notes: row.has_notes,
        has_dossier: row.has_dossier,
    });
    Ok(found.collect())
}

/// How many seconds ago the oldest round began of those by the version in force, by the database's clock; 0 if there is none.
pub(in crate::customers) async fn read_oldest_round(connection: &mut PgConnection) -> Result<f64, StoreError> {
    let age = sqlx::query_scalar!(
        r#"SELECT coalesce(extract(epoch FROM clock_timestamp() - min(r.begun_at))::double precision, 0) AS "age!"
           FROM retention_rounds r
           WHERE EXISTS (SELECT FROM programs p WHERE p.program_id = r.program_id AND r.version = ANY (p.versions))"#,
    )
    .fetch_one(connection)
    .traced("SELECT retention_rounds")
    .await?;
    Ok(age)
}
