//! The SQL of the rounds through customers who have a day.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

use crate::book::{Defect, Occasion};
use crate::clock::FIRST_INSTANT;
use crate::database::{StoreError, Traced as _};
use crate::ids::{AccountId, CustomerId, ProgramId};

/// For how long the database waits for the service while a page is carried out.
const PAGE_LIMIT: &str = "120s";

/// Where the round of a program has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::benefits::packages) struct Round {
    /// The local day that it is at.
    pub(in crate::benefits::packages) day: Date,
    /// The first day that has to be gone through again, if there is one: all before are over.
    pub(in crate::benefits::packages) again_from: Option<Date>,
    /// What packages are given for on that day: birthdays first.
    pub(in crate::benefits::packages) occasion: Occasion,
    /// When the last customer joined who was gone through for that, and their account.
    pub(in crate::benefits::packages) after: Option<(Timestamp, AccountId)>,
}

/// Somebody who has a day.
#[derive(Clone, Debug)]
pub(in crate::benefits::packages) struct Celebrant {
    pub(in crate::benefits::packages) account_id: AccountId,
    pub(in crate::benefits::packages) joined_at: Timestamp,
    pub(in crate::benefits::packages) customer_id: Result<CustomerId, Defect>,
}

/// The programs that have rounds.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::benefits::packages) async fn list_rounds(
    connection: &mut PgConnection,
) -> Result<BTreeSet<String>, StoreError> {
    let programs = sqlx::query_scalar!("SELECT program_id FROM package_rounds");
    Ok(programs.fetch_all(connection).traced("SELECT package_rounds").await?.into_iter().collect())
}

/// Ends the rounds of some programs: there is nothing to give there. What is missed until one begins again is not made up
/// for.
///
/// # Errors
/// If the statement fails.
pub(in crate::benefits::packages) async fn end_rounds(
    connection: &mut PgConnection,
    programs: BTreeSet<String>,
) -> Result<(), StoreError> {
    let programs: Vec<String> = programs.into_iter().collect();
    sqlx::query!("DELETE FROM package_rounds WHERE program_id = ANY ($1::text[])", &programs)
        .execute(connection)
        .traced("DELETE package_rounds")
        .await?;
    Ok(())
}

/// Locks the round of a program, which begins today if there is none; none if somebody else is at it. The lock lasts as long
/// as the transaction.
///
/// # Errors
/// If the database cannot be read or written.
pub(in crate::benefits::packages) async fn lock_round(
    transaction: &mut Transaction<'_, Postgres>,
    program_id: &ProgramId,
    today: Date,
) -> Result<Option<Round>, StoreError> {
    sqlx::query!(
        "INSERT INTO package_rounds (program_id, day, occasion) VALUES ($1, $2, $3) ON CONFLICT (program_id) DO NOTHING",
        program_id.as_str(),
        today.to_sqlx() as _,
        Occasion::Birthday.as_str(),
    )
    .execute(&mut **transaction)
    .traced("INSERT package_rounds")
    .await?;
    let row = sqlx::query!(
        r#"SELECT day AS "day: jiff_sqlx::Date", again_from AS "again_from: jiff_sqlx::Date", occasion,
                  after_joined_at AS "joined: jiff_sqlx::Timestamp", after_account_id,
                  set_config('idle_in_transaction_session_timeout', $2, TRUE) AS "limit"
           FROM package_rounds WHERE program_id = $1 FOR UPDATE SKIP LOCKED"#,
        program_id.as_str(),
        PAGE_LIMIT,
    )
    .fetch_optional(&mut **transaction)
    .traced("SELECT package_rounds")
    .await?;
    let Some(row) = row else { return Ok(None) };
    let occasion = Occasion::from_stored(&row.occasion);
    let occasion =
        occasion.ok_or_else(|| Defect::new(format!("the packages of {program_id}: their occasion is unknown")))?;
    let after = row.joined.zip(row.after_account_id);
    let after = after.map(|(joined_at, account_id)| (joined_at.to_jiff(), AccountId(account_id)));
    let again_from = row.again_from.map(jiff_sqlx::Date::to_jiff);
    Ok(Some(Round { day: row.day.to_jiff(), again_from, occasion, after }))
}

/// Notes where a round has come to.
///
/// # Errors
/// If the statement fails.
pub(in crate::benefits::packages) async fn move_round(
    transaction: &mut Transaction<'_, Postgres>,
    program_id: &ProgramId,
    round: Round,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE package_rounds SET day = $2, again_from = $3, occasion = $4, after_joined_at = $5, after_account_id = $6
         WHERE program_id = $1",
        program_id.as_str(),
        round.day.to_sqlx() as _,
        round.again_from.map(|day| day.to_sqlx()) as _,
        round.occasion.as_str(),
        round.after.map(|(joined_at, _)| joined_at.to_sqlx()) as _,
        round.after.map(|(_, account_id)| account_id.0),
    )
    .execute(&mut **transaction)
    .traced("UPDATE package_rounds")
    .await?;
    Ok(())
}

fn celebrant(account_id: Uuid, joined_at: jiff_sqlx::Timestamp, customer_id: String) -> Celebrant {
    let defect = |_| Defect::new(format!("the customer of account {account_id} has no such id"));
    let customer_id = CustomerId::try_from(customer_id).map_err(defect);
    Celebrant { account_id: AccountId(account_id), joined_at: joined_at.to_jiff(), customer_id }
}

/// Customers of a program who were born on one of these months and days: the next ones, by their accounts.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::benefits::packages) async fn find_birthdays(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    dates: &[(i8, i8)],
    after: Option<(Timestamp, AccountId)>,
    limit: i64,
) -> Result<Vec<Celebrant>, StoreError> {
    // As the dossier has them, whose months and days are numbers without zeros before them.
    let (months, days): (Vec<String>, Vec<String>) =
        dates.iter().map(|(month, day)| (month.to_string(), day.to_string())).unzip();
    let rows = sqlx::query!(
        "SELECT c.account_id, c.created_at, c.customer_id FROM unnest($2::text[], $3::text[]) AS d (month, day)
         JOIN LATERAL (
             SELECT f.account_id, f.created_at, f.customer_id FROM customers f
             WHERE f.program_id = $1 AND f.dossier #>> '{birth_date,month}' = d.month
               AND f.dossier #>> '{birth_date,day}' = d.day AND f.account_id > $4
             ORDER BY f.account_id LIMIT $5
         ) c ON TRUE
         ORDER BY c.account_id LIMIT $5",
        program_id.as_str(),
        &months,
        &days,
        after.map_or(Uuid::nil(), |(_, account_id)| account_id.0),
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT customers")
    .await?;
    Ok(rows.into_iter().map(|row| celebrant(row.account_id, row.created_at, row.customer_id)).collect())
}

/// Customers of a program who joined within one of these spans of time: the next ones, by when they joined.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::benefits::packages) async fn find_anniversaries(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    spans: &[(Timestamp, Timestamp)],
    after: Option<(Timestamp, AccountId)>,
    limit: i64,
) -> Result<Vec<Celebrant>, StoreError> {
    let (begins, ends): (Vec<_>, Vec<_>) = spans.iter().map(|(from, until)| (from.to_sqlx(), until.to_sqlx())).unzip();
    let (after_joined_at, after_account_id) = after.unwrap_or((FIRST_INSTANT, AccountId(Uuid::nil())));
    let rows = sqlx::query!(
        "SELECT c.account_id, c.created_at, c.customer_id
         FROM unnest($2::timestamptz[], $3::timestamptz[]) AS s (begins, ends)
         JOIN LATERAL (
             SELECT f.account_id, f.created_at, f.customer_id FROM customers f
             WHERE f.program_id = $1 AND f.created_at >= s.begins AND f.created_at < s.ends
               AND (f.created_at, f.account_id) > ($4, $5)
             ORDER BY f.created_at, f.account_id LIMIT $6
         ) c ON TRUE
         ORDER BY c.created_at, c.account_id LIMIT $6",
        program_id.as_str(),
        &begins as _,
        &ends as _,
        after_joined_at.to_sqlx() as _,
        after_account_id.0,
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT customers")
    .await?;
    Ok(rows.into_iter().map(|row| celebrant(row.account_id, row.created_at, row.customer_id)).collect())
}

/// Those of some accounts that were not given what there is for an occasion of a year, and that hold one of these tiers, any
/// if there are none, or one that time has something to do with by now.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::benefits::packages) async fn read_open(
    connection: &mut PgConnection,
    accounts: &[AccountId],
    (occasion, year): (Occasion, i16),
    tiers: Option<Vec<&str>>,
    now: Timestamp,
) -> Result<BTreeSet<AccountId>, StoreError> {
    if accounts.is_empty() {
        return Ok(BTreeSet::new());
    }
    let ids: Vec<Uuid> = accounts.iter().map(|account_id| account_id.0).collect();
    let open = sqlx::query_scalar!(
        r#"SELECT u.account_id AS "account_id!" FROM unnest($1::uuid[]) AS u (account_id)
           WHERE NOT EXISTS (
               SELECT FROM packages_given g
               WHERE g.account_id = u.account_id AND g.year = $2 AND g.occasion = $3
           ) AND (
               $4::text[] IS NULL
               OR EXISTS (SELECT FROM standings s WHERE s.account_id = u.account_id AND s.tier_id = ANY ($4))
               OR EXISTS (SELECT FROM accounts a WHERE a.account_id = u.account_id AND a.next_due_at <= $5)
           )"#,
        &ids,
        i64::from(year),
        occasion.as_str(),
        tiers.as_deref() as _,
        now.to_sqlx() as _,
    )
    .fetch_all(connection)
    .traced("SELECT packages_given")
    .await?;
    Ok(open.into_iter().map(AccountId).collect())
}
