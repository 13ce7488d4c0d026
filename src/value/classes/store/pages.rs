//! Pages of a program's customers with what they bought and the class that they have.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

use super::rows::held_of;
use crate::book::Defect;
use crate::database::{StoreError, Traced as _};
use crate::ids::{AccountId, CustomerId, ProgramId};
use crate::value::classes::model::{Days, Held, Windowed};
use crate::value::model::PurchaseHistory;

/// A customer who may be of a class.
#[derive(Clone, Debug)]
pub(in crate::value::classes) struct Candidate {
    pub(in crate::value::classes) account_id: AccountId,
    pub(in crate::value::classes) customer_id: Result<CustomerId, Defect>,
    pub(in crate::value::classes) bought: Option<Windowed>,
    pub(in crate::value::classes) held: Option<Held>,
}

/// The customers behind one, by account, whether they bought anything or not. What they bought before a day is not looked at.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::value::classes) async fn read_page(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    (days, earliest, as_of): (Days, Date, Timestamp),
    after: AccountId,
    limit: i64,
) -> Result<Vec<Candidate>, StoreError> {
    let rows = sqlx::query!(
        r#"WITH page AS MATERIALIZED (
               SELECT account_id, customer_id FROM customers
               WHERE program_id = $1 AND account_id > $2 ORDER BY account_id LIMIT $3
           )
           SELECT c.account_id, c.customer_id, b.first AS "first?: jiff_sqlx::Date", b.last AS "last?: jiff_sqlx::Date",
                  b.all_days AS "all_days!", b.purchases AS "purchases!", b.all_spend AS "all_spend!",
                  b.first_spend AS "first_spend!", b.days AS "days!", b.spend AS "spend!", b.margin AS "margin!",
                  v.class_id AS "class_id?", v.level AS "level?", v.ends_below AS "ends_below?"
           FROM page c
           CROSS JOIN LATERAL (
               SELECT min(d.day) AS first, max(d.day) AS last, count(*) AS all_days,
                      least(coalesce(sum(d.visits), 0), 9223372036854775807)::bigint AS purchases,
                      least(coalesce(sum(d.spend), 0), 9223372036854775807)::bigint AS all_spend,
                      coalesce((array_agg(least(d.spend, 9223372036854775807)::bigint ORDER BY d.day))[1], 0) AS first_spend,
                      count(*) FILTER (WHERE d.day >= $4) AS days,
                      least(coalesce(sum(d.spend) FILTER (WHERE d.day >= $4), 0), 9223372036854775807)::bigint AS spend,
                      greatest(least(coalesce(sum(d.margin) FILTER (WHERE d.day >= $4), 0), 9223372036854775807),
                          -9223372036854775808)::bigint AS margin
               FROM (
                   SELECT p.day, sum(p.spend) AS spend, sum(p.margin) AS margin, sum(p.visits) AS visits FROM purchases p
                   WHERE p.account_id = c.account_id AND p.day >= $7 AND p.day < $5 AND p.effective_at <= $6
                   GROUP BY p.day HAVING sum(p.visits) > 0
               ) d
           ) b
           LEFT JOIN LATERAL (
               SELECT f.class_id, f.level, f.ends_below FROM value_classes f WHERE f.account_id = c.account_id
               ORDER BY f.account_seq DESC LIMIT 1
           ) v ON TRUE
           ORDER BY c.account_id"#,
        program_id.as_str(),
        after.0,
        limit,
        days.from.to_sqlx() as _,
        days.until.to_sqlx() as _,
        as_of.to_sqlx() as _,
        earliest.to_sqlx() as _,
    )
    .fetch_all(connection)
    .traced("SELECT customers")
    .await?;
    let candidates = rows.into_iter().map(|row| {
        let account_id = row.account_id;
        let held = row.class_id.zip(row.ends_below);
        let held =
            held.map(|(class_id, ends_below)| held_of(account_id, class_id, row.level, ends_below)).transpose()?;
        let bought = row.first.zip(row.last).map(|(first, last)| Windowed {
            history: PurchaseHistory {
                first: first.to_jiff(),
                last: last.to_jiff(),
                days: row.all_days,
                purchases: row.purchases,
                spend: row.all_spend,
                repeat_spend: row.all_spend.saturating_sub(row.first_spend),
            },
            days: row.days,
            spend: row.spend,
            margin: row.margin,
        });
        let defect = |_| Defect::new(format!("the customer of account {account_id} has no such id"));
        let customer_id = CustomerId::try_from(row.customer_id).map_err(defect);
        Ok(Candidate { account_id: AccountId(account_id), customer_id, bought, held })
    });
    candidates.collect()
}
