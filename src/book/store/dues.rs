//! The SQL of the search for accounts with something due, and of those whose dues cannot be written.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::database::{StoreError, Traced as _};
use crate::error::Defect;
use crate::ids::{AccountId, ProgramId};

/// An account on which something may be due.
#[derive(Debug)]
pub(in crate::book) struct DueAccount {
    pub(in crate::book) account_id: AccountId,
    /// The program it belongs to, as far as that can be understood.
    pub(in crate::book) program_id: Result<ProgramId, Defect>,
    /// The instant that its head tells.
    pub(in crate::book) due_at: Timestamp,
}

/// An account of which what was due could not be written.
pub(in crate::book) struct StuckAccount {
    pub(in crate::book) account_id: AccountId,
    pub(in crate::book) due_at: Timestamp,
    pub(in crate::book) failure: String,
}

/// Takes the next page of accounts on which something may be due by an instant, those due first, for whoever asks alone.
/// An empty page ends the round; the next page is the first of another.
pub(in crate::book) async fn take_page(
    connection: &mut PgConnection,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<DueAccount>, StoreError> {
    let mut transaction = connection.begin().traced("BEGIN").await?;
    let after = sqlx::query!("SELECT after_due_at, after_account_id FROM due_rounds FOR UPDATE")
        .fetch_one(&mut *transaction)
        .traced("SELECT due_rounds")
        .await?;
    let rows = sqlx::query!(
        r#"SELECT a.account_id, a.program_id, a.next_due_at AS "next_due_at!" FROM accounts a
           WHERE a.next_due_at <= $1
             AND ($2::timestamptz IS NULL OR (a.next_due_at, a.account_id) > ($2, $3))
             AND NOT EXISTS (
                 SELECT FROM stuck_dues s
                 WHERE s.account_id = a.account_id AND s.due_at = a.next_due_at AND s.try_at > $1
             )
           ORDER BY a.next_due_at, a.account_id LIMIT $4"#,
        until.to_sqlx() as _,
        after.after_due_at as _,
        after.after_account_id,
        limit,
    )
    .fetch_all(&mut *transaction)
    .traced("SELECT accounts")
    .await?;
    let last = rows.last().map(|row| (row.next_due_at, row.account_id));
    sqlx::query!(
        "UPDATE due_rounds SET after_due_at = $1, after_account_id = $2",
        last.map(|(due_at, _)| due_at) as _,
        last.map(|(_, account_id)| account_id),
    )
    .execute(&mut *transaction)
    .traced("UPDATE due_rounds")
    .await?;
    transaction.commit().traced("COMMIT").await?;
    let accounts = rows.into_iter().map(|row| DueAccount {
        account_id: AccountId(row.account_id),
        program_id: ProgramId::try_from(row.program_id.as_str())
            .map_err(|error| Defect::new(format!("account {}: {error}", row.account_id))),
        due_at: row.next_due_at.to_jiff(),
    });
    Ok(accounts.collect())
}

/// Sets accounts aside: they are tried again a minute later, then after twice as long each time, up to a day.
pub(in crate::book) async fn set_aside(
    connection: &mut PgConnection,
    stuck: &[StuckAccount],
    now: Timestamp,
) -> Result<(), StoreError> {
    let accounts: Vec<Uuid> = stuck.iter().map(|stuck| stuck.account_id.0).collect();
    let dues: Vec<_> = stuck.iter().map(|stuck| stuck.due_at.to_sqlx()).collect();
    let failures: Vec<&str> = stuck.iter().map(|stuck| stuck.failure.as_str()).collect();
    sqlx::query!(
        "INSERT INTO stuck_dues AS s (account_id, due_at, failure, failures, since, try_at)
         SELECT u.account_id, u.due_at, u.failure, 1, $4::timestamptz, $4::timestamptz + interval '1 minute'
         FROM unnest($1::uuid[], $2::timestamptz[], $3::text[]) AS u (account_id, due_at, failure)
         ON CONFLICT (account_id) DO UPDATE SET due_at = excluded.due_at, failure = excluded.failure,
             failures = s.failures + 1,
             try_at = excluded.since + least(interval '1 minute' * 2 ^ least(s.failures, 20), interval '1 day')",
        &accounts,
        &dues,
        &failures as _,
        now.to_sqlx() as _,
    )
    .execute(connection)
    .traced("INSERT stuck_dues")
    .await?;
    Ok(())
}

/// Forgets accounts that were set aside, and whose dues have been written since.
pub(in crate::book) async fn forget_settled(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query!(
        "DELETE FROM stuck_dues s
         WHERE NOT EXISTS (SELECT FROM accounts a WHERE a.account_id = s.account_id AND a.next_due_at = s.due_at)"
    )
    .execute(connection)
    .traced("DELETE stuck_dues")
    .await?;
    Ok(())
}

/// For how many seconds the oldest due has been waiting that is not written, by the database's clock, and how many accounts
/// are set aside. Those are not waited for.
pub(in crate::book) async fn read_lag(connection: &mut PgConnection) -> Result<(f64, f64), StoreError> {
    let row = sqlx::query!(
        r#"SELECT coalesce((
                      SELECT extract(epoch FROM clock_timestamp() - a.next_due_at)::double precision FROM accounts a
                      WHERE a.next_due_at <= clock_timestamp()
                        AND NOT EXISTS (SELECT FROM stuck_dues s WHERE s.account_id = a.account_id)
                      ORDER BY a.next_due_at LIMIT 1
                  ), 0) AS "lag!",
                  (SELECT count(*) FROM stuck_dues)::double precision AS "stuck!""#,
    )
    .fetch_one(connection)
    .traced("SELECT accounts")
    .await?;
    Ok((row.lag, row.stuck))
}
