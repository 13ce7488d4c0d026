//! What one customer bought, all together.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

use crate::database::{StoreError, Traced as _};
use crate::ids::AccountId;
use crate::value::model::{EARLIEST, PurchaseHistory};

/// What a customer bought until now, by what was counted on each day, and the database's time.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::value) async fn read_bought(
    connection: &mut PgConnection,
    account_id: AccountId,
) -> Result<(Option<PurchaseHistory>, Timestamp), StoreError> {
    let row = sqlx::query!(
        r#"WITH days AS (
               SELECT day, visits, spend, min(day) OVER () AS first FROM standing_days
               WHERE account_id = $1 AND day >= $2 AND visits > 0
           )
           SELECT min(day) AS "first: jiff_sqlx::Date", max(day) AS "last: jiff_sqlx::Date", count(*) AS "days!",
                  coalesce(least(sum(visits), 9223372036854775807), 0)::bigint AS "purchases!",
                  coalesce(least(sum(spend), 9223372036854775807), 0)::bigint AS "spend!",
                  coalesce(least(sum(spend) FILTER (WHERE day > first), 9223372036854775807), 0)::bigint
                      AS "repeat_spend!",
                  clock_timestamp() AS "told!: jiff_sqlx::Timestamp"
           FROM days"#,
        account_id.0,
        EARLIEST.to_sqlx() as _,
    )
    .fetch_one(connection)
    .traced("SELECT standing_days")
    .await?;
    let bought = row.first.zip(row.last).map(|(first, last)| PurchaseHistory {
        first: first.to_jiff(),
        last: last.to_jiff(),
        days: row.days,
        purchases: row.purchases,
        spend: row.spend,
        repeat_spend: row.repeat_spend,
    });
    Ok((bought, row.told.to_jiff()))
}
