//! What customers bought, as models learn it: customers with the same history are one row.

use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

use crate::database::{StoreError, Traced as _};
use crate::ids::ProgramId;
use crate::value::fitting::{Learned, MAX_HISTORIES, Window};

/// The first day on which a customer of a program bought anything, by what was recorded by an instant; not before a day, if one is
/// said.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::value) async fn first_day(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    from: Option<Date>,
    as_of: Timestamp,
) -> Result<Option<Date>, StoreError> {
    let day = sqlx::query_scalar!(
        r#"SELECT min(day) AS "day: jiff_sqlx::Date" FROM purchases
           WHERE program_id = $1 AND ($2::date IS NULL OR day >= $2) AND effective_at <= $3"#,
        program_id.as_str(),
        from.map(|from| from.to_sqlx()) as _,
        as_of.to_sqlx() as _,
    )
    .fetch_one(connection)
    .traced("SELECT purchases")
    .await?;
    Ok(day.map(jiff_sqlx::Date::to_jiff))
}

/// What the customers of a program bought in a window; no more than one history more than a model takes.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::value) async fn read_histories(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    window: &Window,
) -> Result<Vec<Learned>, StoreError> {
    let limit = i64::try_from(MAX_HISTORIES).unwrap_or(i64::MAX).saturating_add(1);
    let rows = sqlx::query!(
        r#"WITH days AS (
               SELECT account_id, day, sum(spend) AS spend FROM purchases
               WHERE program_id = $1 AND day < $4 AND effective_at <= $5
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
                  repeat_spend::float8 AS "repeat_spend!", after AS "after!", count(*) AS "customers!"
           FROM customers GROUP BY 1, 2, 3, 4, 5 LIMIT $6"#,
        program_id.as_str(),
        window.from.map(|from| from.to_sqlx()) as _,
        window.learned_until.to_sqlx() as _,
        window.until.to_sqlx() as _,
        window.as_of.to_sqlx() as _,
        limit,
    )
    .fetch(connection)
    .map_ok(|row| Learned {
        repeats: row.repeats,
        last_after: row.last_after,
        watched: row.watched,
        repeat_spend: row.repeat_spend,
        after: row.after,
        customers: row.customers,
    })
    .try_collect()
    .traced("SELECT purchases")
    .await?;
    Ok(rows)
}
