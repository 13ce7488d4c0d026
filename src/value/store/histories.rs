//! What customers bought, as models learn it.

use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

use crate::database::{StoreError, Traced as _};
use crate::ids::ProgramId;
use crate::value::fitting::{History, Learned, Window};
use crate::value::model::EARLIEST;

/// The first day on which a customer of a program bought anything, by what was recorded by an instant: from one day on, before
/// another.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::value) async fn first_day(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    (from, until): (Option<Date>, Date),
    as_of: Timestamp,
) -> Result<Option<Date>, StoreError> {
    let day = sqlx::query_scalar!(
        r#"SELECT min(day) AS "day: jiff_sqlx::Date" FROM purchases
           WHERE program_id = $1 AND day >= $2 AND day < $3 AND effective_at <= $4"#,
        program_id.as_str(),
        from.unwrap_or(EARLIEST).max(EARLIEST).to_sqlx() as _,
        until.to_sqlx() as _,
        as_of.to_sqlx() as _,
    )
    .fetch_one(connection)
    .traced("SELECT purchases")
    .await?;
    Ok(day.map(jiff_sqlx::Date::to_jiff))
}

/// What the customers of a program bought in a window.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::value) async fn read_histories(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    window: &Window,
) -> Result<Learned, StoreError> {
    let rows = sqlx::query!(
        r#"WITH days AS (
               SELECT account_id, day, sum(spend) AS spend FROM purchases
               WHERE program_id = $1 AND day >= $6 AND day < $4 AND effective_at <= $5
               GROUP BY account_id, day HAVING sum(visits) > 0
           ), since AS (
               SELECT *, min(day) OVER (PARTITION BY account_id) AS first FROM days
           ), customers AS (
               SELECT first, max(day) FILTER (WHERE day < $3) AS last, count(*) FILTER (WHERE day < $3) - 1 AS repeats,
                      coalesce(sum(spend) FILTER (WHERE day > first AND day < $3), 0) AS repeat_spend,
                      count(*) FILTER (WHERE day >= $3) AS after
               FROM since WHERE first < $3 AND ($2::date IS NULL OR first >= $2)
               GROUP BY account_id, first
           )
           SELECT repeats AS "repeats!", last - first AS "last_after!", $3::date - 1 - first AS "watched!",
                  least(repeat_spend, 9223372036854775807)::bigint AS "repeat_spend!", after AS "after!",
                  count(*) AS "customers!"
           FROM customers GROUP BY 1, 2, 3, 4, 5"#,
        program_id.as_str(),
        window.from.map(|from| from.to_sqlx()) as _,
        window.learned_until.to_sqlx() as _,
        window.until.to_sqlx() as _,
        window.as_of.to_sqlx() as _,
        EARLIEST.to_sqlx() as _,
    )
    .fetch(connection);
    let learned = rows.try_fold(Learned::new(), async |mut learned, row| {
        let history =
            History { repeats: row.repeats, last_after: row.last_after, watched: row.watched, after: row.after };
        learned.add(history, row.repeat_spend, row.customers);
        Ok(learned)
    });
    Ok(learned.traced("SELECT purchases").await?)
}
