//! Pages of a program's customers with their standings.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, query};

use super::rows::{standing_in, standing_rows};
use crate::book::Defect;
use crate::database::{StoreError, Traced as _};
use crate::ids::{AccountId, CustomerId, ProgramId};
use crate::tiers::standing::Standing;

/// Which customers of a program are looked at, and as of when.
#[derive(Clone, Debug)]
pub(in crate::tiers) struct Population {
    pub(in crate::tiers) program_id: ProgramId,
    /// How many of 100 customers: always the same ones.
    pub(in crate::tiers) percent: i32,
    pub(in crate::tiers) as_of: Timestamp,
}

/// A customer as a page has them.
pub(in crate::tiers) struct Listed {
    pub(in crate::tiers) account_id: AccountId,
    pub(in crate::tiers) customer_id: Result<CustomerId, Defect>,
    /// How many entries there are.
    pub(in crate::tiers) head: i64,
    pub(in crate::tiers) row: Stored,
}

/// What the row of a standing says of the instant.
pub(in crate::tiers) enum Stored {
    /// What the standing was then.
    Settled(Result<Box<Standing>, Defect>),
    /// Time has done something by then that is not written.
    Due,
    /// Something was written since.
    Ahead,
}

/// How many customers there are; of a sample its share, about.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::tiers) async fn count_customers(
    connection: &mut PgConnection,
    population: &Population,
) -> Result<i64, StoreError> {
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM customers WHERE program_id = $1"#,
        population.program_id.as_str(),
    )
    .fetch_one(connection)
    .traced("SELECT customers")
    .await?;
    Ok(count * i64::from(population.percent) / 100)
}

/// The customers behind one, by account.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::tiers) async fn read_page(
    connection: &mut PgConnection,
    population: &Population,
    after: AccountId,
    limit: i64,
) -> Result<Vec<Listed>, StoreError> {
    let rows = standing_rows!(
        query!(),
        "c.customer_id, a.head, a.effective_at > $4 AS \"is_ahead!\", a.next_due_at <= $4 IS TRUE AS \"is_due!\", s.",
        "last_seq",
        "FROM (
             SELECT f.account_id AS listed_id, f.customer_id FROM customers f
             WHERE f.program_id = $1 AND f.account_id > $2
               AND (hashtextextended(f.account_id::text, 0) & 9223372036854775807) % 100 < $5
             ORDER BY f.account_id LIMIT $3
         ) c
         JOIN LATERAL (
             SELECT f.head, f.effective_at, f.next_due_at FROM accounts f WHERE f.account_id = c.listed_id OFFSET 0
         ) a ON TRUE
         JOIN LATERAL (SELECT * FROM standings f WHERE f.account_id = c.listed_id OFFSET 0) s ON TRUE
         ORDER BY listed_id",
        population.program_id.as_str(),
        after.0,
        limit,
        population.as_of.to_sqlx() as _,
        i64::from(population.percent),
    )
    .fetch_all(connection)
    .traced("SELECT standings")
    .await?;
    let listed = rows.into_iter().map(|row| {
        let account_id = AccountId(row.account_id);
        let customer_id = CustomerId::try_from(row.customer_id)
            .map_err(|_| Defect::new(format!("the customer of account {} has no such id", account_id.0)));
        let (head, is_ahead, is_due) = (row.head, row.is_ahead, row.is_due);
        let row = match (is_ahead, is_due) {
            (true, _) => Stored::Ahead,
            (false, true) => Stored::Due,
            (false, false) => Stored::Settled((|| Ok(Box::new(standing_in!(row))))()),
        };
        Listed { account_id, customer_id, head, row }
    });
    Ok(listed.collect())
}
