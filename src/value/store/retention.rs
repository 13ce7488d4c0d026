//! Who first bought when, and when again: by parts of a period.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::database::{StoreError, Traced as _};
use crate::ids::{AccountId, ProgramId};
use crate::value::model::EARLIEST;
use crate::value::retention::CohortPart;

/// What customers did in each part, by when they first bought: all, or some alone.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::value) async fn count_cohorts(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    (first_days, until): (&[Date], Date),
    members: Option<&[AccountId]>,
    as_of: Timestamp,
) -> Result<Vec<CohortPart>, StoreError> {
    let first_days: Vec<jiff_sqlx::Date> = first_days.iter().map(|day| day.to_sqlx()).collect();
    let accounts: Vec<Uuid> = members.unwrap_or_default().iter().map(|account| account.0).collect();
    let rows = sqlx::query!(
        r#"WITH days AS (
               SELECT account_id, day, sum(spend) AS spend FROM purchases
               LEFT JOIN unnest($6::uuid[]) AS m (member) ON m.member = account_id
               WHERE program_id = $1 AND day >= $5 AND day < $3 AND effective_at <= $4 AND ($7 OR m.member IS NOT NULL)
               GROUP BY account_id, day HAVING sum(visits) > 0
           ), parts AS (
               SELECT account_id, width_bucket(day, $2::date[]) AS part, count(*) AS days, sum(spend) AS spend
               FROM days GROUP BY 1, 2
           ), since AS (
               SELECT *, min(part) OVER (PARTITION BY account_id) AS cohort, lag(part) OVER own AS before,
                      lag(spend) OVER own AS spend_before
               FROM parts WINDOW own AS (PARTITION BY account_id ORDER BY part)
           )
           SELECT cohort AS "cohort!", part AS "part!", count(*) AS "buyers!",
                  count(*) FILTER (WHERE before = part - 1) AS "retained!",
                  count(*) FILTER (WHERE before < part - 1) AS "won_back!",
                  count(*) FILTER (WHERE before IS NOT NULL OR days > 1) AS "repeaters!",
                  least(sum(spend), 9223372036854775807)::bigint AS "spend!",
                  least(coalesce(sum(spend) FILTER (WHERE before = part - 1), 0), 9223372036854775807)::bigint
                      AS "retained_spend!",
                  least(coalesce(sum(least(spend, spend_before)) FILTER (WHERE before = part - 1), 0),
                      9223372036854775807)::bigint AS "capped_spend!"
           FROM since WHERE part > 0 GROUP BY 1, 2 ORDER BY 1, 2"#,
        program_id.as_str(),
        &first_days as _,
        until.to_sqlx() as _,
        as_of.to_sqlx() as _,
        EARLIEST.to_sqlx() as _,
        &accounts,
        members.is_none(),
    )
    .fetch_all(connection)
    .traced("SELECT purchases")
    .await?;
    let found = rows.into_iter().map(|row| CohortPart {
        cohort: row.cohort,
        part: row.part,
        buyers: row.buyers,
        retained: row.retained,
        won_back: row.won_back,
        repeaters: row.repeaters,
        spend: row.spend,
        retained_spend: row.retained_spend,
        capped_spend: row.capped_spend,
    });
    Ok(found.collect())
}
