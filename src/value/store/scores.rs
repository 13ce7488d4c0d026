//! Customers by classes of recency, frequency and monetary value.

use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

use crate::database::{StoreError, Traced as _};
use crate::ids::ProgramId;
use crate::value::model::{EARLIEST, ScoreClass, Scored};

/// The classes that somebody is in, the best first.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::value) async fn score(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    scored: &Scored,
) -> Result<Vec<ScoreClass>, StoreError> {
    let rows = sqlx::query!(
        r#"WITH days AS (
               SELECT account_id, day, sum(spend) AS spend FROM purchases
               WHERE program_id = $1 AND day >= $6 AND day < $3 AND effective_at <= $4
               GROUP BY account_id, day HAVING sum(visits) > 0
           ), customers AS (
               SELECT max(day) FILTER (WHERE day < $2) AS last, count(*) FILTER (WHERE day < $2) AS days,
                      sum(spend) FILTER (WHERE day < $2) AS spend, count(*) FILTER (WHERE day >= $2) AS after,
                      coalesce(sum(spend) FILTER (WHERE day >= $2), 0) AS spend_after
               FROM days GROUP BY account_id HAVING min(day) < $2
           ), scored AS (
               SELECT *, 1 + $5 * (rank() OVER (ORDER BY last) - 1) / count(*) OVER () AS recency,
                      1 + $5 * (rank() OVER (ORDER BY days) - 1) / count(*) OVER () AS frequency,
                      1 + $5 * (rank() OVER (ORDER BY spend) - 1) / count(*) OVER () AS monetary
               FROM customers
           )
           SELECT recency AS "recency!", frequency AS "frequency!", monetary AS "monetary!", count(*) AS "customers!",
                  min(last) AS "first_last!: jiff_sqlx::Date", max(last) AS "last_last!: jiff_sqlx::Date",
                  min(days) AS "fewest!", max(days) AS "most!",
                  least(sum(spend), 9223372036854775807)::bigint AS "spend!",
                  count(*) FILTER (WHERE after > 0) AS "bought_afterwards!",
                  least(sum(spend_after), 9223372036854775807)::bigint AS "spend_afterwards!"
           FROM scored GROUP BY 1, 2, 3 ORDER BY 1 DESC, 2 DESC, 3 DESC"#,
        program_id.as_str(),
        scored.until.to_sqlx() as _,
        scored.after_until.to_sqlx() as _,
        scored.as_of.to_sqlx() as _,
        scored.scores,
        EARLIEST.to_sqlx() as _,
    )
    .fetch_all(connection)
    .traced("SELECT purchases")
    .await?;
    let found = rows.into_iter().map(|row| ScoreClass {
        recency: row.recency,
        frequency: row.frequency,
        monetary: row.monetary,
        customers: row.customers,
        last: (row.first_last.to_jiff(), row.last_last.to_jiff()),
        days: (row.fewest, row.most),
        spend: row.spend,
        bought_afterwards: row.bought_afterwards,
        spend_afterwards: row.spend_afterwards,
    });
    Ok(found.collect())
}
