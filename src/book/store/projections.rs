//! The statements that are the same for every projection, made from the declarations of tables.

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use uuid::Uuid;

use crate::book::table::{Table, TableRole};
use crate::database::Traced as _;
use crate::ids::AccountId;

/// A row that belongs to nobody, or that points at what does not point back.
#[derive(Debug)]
pub struct Stray {
    /// The account that the row says it belongs to.
    pub account_id: AccountId,
    /// What is wrong, for people.
    pub what: String,
}

/// Removes an account's rows of one projection.
pub(in crate::book) async fn delete_rows(
    connection: &mut PgConnection,
    table: &Table,
    account_id: AccountId,
) -> Result<(), sqlx::Error> {
    // Identifiers cannot be parameters; the name is declared in the code.
    let delete = format!("DELETE FROM {} WHERE account_id = $1", table.name);
    let statement = sqlx::query(AssertSqlSafe(delete)).bind(account_id.0);
    statement.execute(connection).traced("DELETE projection").await.map(drop)
}

/// Projected rows of accounts that have no head, by account.
pub fn scan_headless_rows(
    connection: &mut PgConnection,
    tables: impl Iterator<Item = &'static Table>,
) -> BoxStream<'_, Result<Stray, sqlx::Error>> {
    let rows: Vec<String> = tables
        .filter_map(|table| match table.role {
            TableRole::Projection { row } => Some(format!("SELECT account_id, {row} AS what FROM {}", table.name)),
            TableRole::Ledger | TableRole::Head | TableRole::Source | TableRole::Report => None,
        })
        .collect();
    let select = format!(
        "SELECT t.account_id, t.what FROM ({}) t
         WHERE NOT EXISTS (SELECT FROM accounts a WHERE a.account_id = t.account_id) ORDER BY 1, 2",
        rows.join(" UNION ALL ")
    );
    scan_strays(connection, select)
}

/// Rows that the declarations of tables call stray.
pub fn scan_stray_rows(
    connection: &mut PgConnection,
    tables: impl Iterator<Item = &'static Table>,
) -> BoxStream<'_, Result<Stray, sqlx::Error>> {
    let selects: Vec<&str> =
        tables.flat_map(|table| table.strays.iter().chain(table.scanned_strays)).copied().collect();
    scan_strays(connection, selects.join(" UNION ALL "))
}

/// Rows of some accounts that the declarations of tables call stray, as far as an index finds them by account.
///
/// # Errors
/// If the database cannot be read.
pub async fn find_stray_rows(
    connection: &mut PgConnection,
    tables: impl Iterator<Item = &'static Table>,
    accounts: &[AccountId],
) -> Result<Vec<Stray>, sqlx::Error> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let selects: Vec<&str> = tables.flat_map(|table| table.strays).copied().collect();
    // Postgres brings the condition into each part.
    let select = format!(
        "SELECT account_id, what FROM ({}) s (account_id, what) WHERE account_id = ANY($1)",
        selects.join(" UNION ALL ")
    );
    let rows = sqlx::query(AssertSqlSafe(select)).bind(ids).try_map(read_stray);
    rows.fetch_all(connection).traced("SELECT strays").await
}

fn scan_strays(connection: &mut PgConnection, select: String) -> BoxStream<'_, Result<Stray, sqlx::Error>> {
    sqlx::query(AssertSqlSafe(select)).try_map(read_stray).fetch(connection).boxed()
}

fn read_stray(row: sqlx::postgres::PgRow) -> Result<Stray, sqlx::Error> {
    Ok(Stray { account_id: AccountId(row.try_get::<Uuid, _>(0)?), what: row.try_get(1)? })
}
