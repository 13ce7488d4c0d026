//! The SQL of the rounds through customers who have a day.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

use crate::book::{Defect, Occasion};
use crate::database::{StoreError, Traced as _};
use crate::ids::{AccountId, CustomerId, ProgramId};

/// For how long the database waits for the service while a page is carried out.
const PAGE_LIMIT: &str = "120s";

/// Where the round of a program has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::benefits::packages) struct Round {
    /// The local day that it is at. All days before are over.
    pub(in crate::benefits::packages) day: Date,
    /// The last customer who was gone through for that day.
    pub(in crate::benefits::packages) after: Option<AccountId>,
}

/// Somebody who has a day.
#[derive(Clone, Debug)]
pub(in crate::benefits::packages) struct Celebrant {
    pub(in crate::benefits::packages) account_id: AccountId,
    pub(in crate::benefits::packages) customer_id: Result<CustomerId, Defect>,
    pub(in crate::benefits::packages) occasion: Occasion,
}

/// Ends the rounds of all programs but some: there is nothing to give there. What is missed until one begins again is not
/// made up for.
///
/// # Errors
/// If the statement fails.
pub(in crate::benefits::packages) async fn end_other_rounds(
    connection: &mut PgConnection,
    programs: &[ProgramId],
) -> Result<(), StoreError> {
    let programs: Vec<&str> = programs.iter().map(ProgramId::as_str).collect();
    sqlx::query!("DELETE FROM package_rounds WHERE program_id <> ALL ($1::text[])", &programs as _)
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
        "INSERT INTO package_rounds (program_id, day) VALUES ($1, $2) ON CONFLICT (program_id) DO NOTHING",
        program_id.as_str(),
        today.to_sqlx() as _,
    )
    .execute(&mut **transaction)
    .traced("INSERT package_rounds")
    .await?;
    let row = sqlx::query!(
        r#"SELECT day AS "day: jiff_sqlx::Date", after_account_id,
                  set_config('idle_in_transaction_session_timeout', $2, TRUE) AS "limit"
           FROM package_rounds WHERE program_id = $1 FOR UPDATE SKIP LOCKED"#,
        program_id.as_str(),
        PAGE_LIMIT,
    )
    .fetch_optional(&mut **transaction)
    .traced("SELECT package_rounds")
    .await?;
    Ok(row.map(|row| Round { day: row.day.to_jiff(), after: row.after_account_id.map(AccountId) }))
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
        "UPDATE package_rounds SET day = $2, after_account_id = $3 WHERE program_id = $1",
        program_id.as_str(),
        round.day.to_sqlx() as _,
        round.after.map(|account_id| account_id.0),
    )
    .execute(&mut **transaction)
    .traced("UPDATE package_rounds")
    .await?;
    Ok(())
}

fn celebrant(account_id: Uuid, customer_id: String, occasion: Occasion) -> Celebrant {
    let defect = |_| Defect::new(format!("the customer of account {account_id} has no such id"));
    let customer_id = CustomerId::try_from(customer_id).map_err(defect);
    Celebrant { account_id: AccountId(account_id), customer_id, occasion }
}

/// Customers of a program who were born on one of these months and days, who joined before an instant, and who were not given
/// what there is for the birthday of a year: the next ones, by their accounts.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::benefits::packages) async fn find_birthdays(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    dates: &[(i8, i8)],
    (year, joined_before): (i16, Timestamp),
    after: Option<AccountId>,
    limit: i64,
) -> Result<Vec<Celebrant>, StoreError> {
    // As the dossier has them, whose months and days are numbers without zeros before them.
    let (months, days): (Vec<String>, Vec<String>) =
        dates.iter().map(|(month, day)| (month.to_string(), day.to_string())).unzip();
    let rows = sqlx::query!(
        "SELECT c.account_id, c.customer_id
         FROM unnest($2::text[], $3::text[]) AS d (month, day)
         JOIN LATERAL (
             SELECT f.account_id, f.customer_id, f.created_at FROM customers f
             WHERE f.program_id = $1 AND f.dossier #>> '{birth_date,month}' = d.month
               AND f.dossier #>> '{birth_date,day}' = d.day AND f.account_id > $4 OFFSET 0
         ) c ON TRUE
         WHERE c.created_at < $5 AND NOT EXISTS (
             SELECT FROM packages_given g
             WHERE g.account_id = c.account_id AND g.year = $6 AND g.occasion = 'birthday'
         )
         ORDER BY c.account_id LIMIT $7",
        program_id.as_str(),
        &months,
        &days,
        after.map_or(Uuid::nil(), |account_id| account_id.0),
        joined_before.to_sqlx() as _,
        i64::from(year),
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT customers")
    .await?;
    Ok(rows.into_iter().map(|row| celebrant(row.account_id, row.customer_id, Occasion::Birthday)).collect())
}

/// Customers of a program who joined within one of these spans of time, and who were not given what there is for the
/// anniversary of a year: the next ones, by their accounts.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::benefits::packages) async fn find_anniversaries(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    spans: &[(Timestamp, Timestamp)],
    year: i16,
    after: Option<AccountId>,
    limit: i64,
) -> Result<Vec<Celebrant>, StoreError> {
    let (begins, ends): (Vec<_>, Vec<_>) = spans.iter().map(|(from, until)| (from.to_sqlx(), until.to_sqlx())).unzip();
    let rows = sqlx::query!(
        "SELECT c.account_id, c.customer_id
         FROM unnest($2::timestamptz[], $3::timestamptz[]) AS s (begins, ends)
         JOIN LATERAL (
             SELECT f.account_id, f.customer_id FROM customers f
             WHERE f.program_id = $1 AND f.created_at >= s.begins AND f.created_at < s.ends AND f.account_id > $4 OFFSET 0
         ) c ON TRUE
         WHERE NOT EXISTS (
             SELECT FROM packages_given g
             WHERE g.account_id = c.account_id AND g.year = $5 AND g.occasion = 'enrolment_anniversary'
         )
         ORDER BY c.account_id LIMIT $6",
        program_id.as_str(),
        &begins as _,
        &ends as _,
        after.map_or(Uuid::nil(), |account_id| account_id.0),
        i64::from(year),
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT customers")
    .await?;
    let celebrants = rows.into_iter();
    Ok(celebrants.map(|row| celebrant(row.account_id, row.customer_id, Occasion::EnrolmentAnniversary)).collect())
}
