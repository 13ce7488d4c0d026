//! Pages of a program's customers with their standings.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, query};
use uuid::Uuid;

use super::rows::{standing_in, standing_rows};
use crate::book::Defect;
use crate::database::{StoreError, Traced as _};
use crate::ids::{AccountId, CustomerId, ProgramId};
use crate::tiers::standing::Standing;

/// Which customers of a program are looked at, and as of when.
#[derive(Clone, Debug)]
pub(crate) struct Population {
    pub(crate) program_id: ProgramId,
    /// How many of 100 customers: always the same ones.
    pub(crate) percent: i32,
    pub(crate) as_of: Timestamp,
}

/// A customer as a page has them.
pub(crate) struct Listed {
    pub(crate) account_id: AccountId,
    pub(crate) customer_id: Result<CustomerId, Defect>,
}

/// What the rows of an account say of the instant.
pub(in crate::tiers) enum Stored {
    /// What the standing was then.
    Settled(Box<Standing>),
    /// Time has done something by then that is not written.
    Due,
    /// Something was written since: there are so many entries.
    Ahead(i64),
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
    let rows = query!(
        "SELECT account_id, customer_id FROM customers
         WHERE program_id = $1 AND account_id > $2
           AND (hashtextextended(account_id::text, 0) & 9223372036854775807) % 100 < $4
         ORDER BY account_id LIMIT $3",
        population.program_id.as_str(),
        after.0,
        limit,
        i64::from(population.percent),
    )
    .fetch_all(connection)
    .traced("SELECT customers")
    .await?;
    let listed = rows.into_iter().map(|row| {
        let customer_id = CustomerId::try_from(row.customer_id)
            .map_err(|_| Defect::new(format!("the customer of account {} has no such id", row.account_id)));
        Listed { account_id: AccountId(row.account_id), customer_id }
    });
    Ok(listed.collect())
}

/// What the rows of accounts say of an instant. An account without rows is not among them.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::tiers) async fn read_stored(
    connection: &mut PgConnection,
    accounts: &[AccountId],
    as_of: Timestamp,
) -> Result<BTreeMap<AccountId, Result<Stored, Defect>>, StoreError> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let rows = standing_rows!(
        query!(),
        "a.head, a.effective_at > $2 AS \"is_ahead!\", a.next_due_at <= $2 IS TRUE AS \"is_due!\", s.",
        "last_seq",
        "FROM unnest($1::uuid[]) AS u (wanted)
         JOIN LATERAL (
             SELECT f.head, f.effective_at, f.next_due_at FROM accounts f WHERE f.account_id = u.wanted OFFSET 0
         ) a ON TRUE
         JOIN LATERAL (SELECT * FROM standings f WHERE f.account_id = u.wanted OFFSET 0) s ON TRUE",
        &ids,
        as_of.to_sqlx() as _,
    )
    .fetch_all(connection)
    .traced("SELECT standings")
    .await?;
    let stored = rows.into_iter().map(|row| {
        let (account_id, head) = (AccountId(row.account_id), row.head);
        let stored = match (row.is_ahead, row.is_due) {
            (true, _) => Ok(Stored::Ahead(head)),
            (false, true) => Ok(Stored::Due),
            (false, false) => (|| Ok(Stored::Settled(Box::new(standing_in!(row)))))(),
        };
        (account_id, stored)
    });
    Ok(stored.collect())
}
