//! The statements that go through the whole book, and the one that puts a head right: for audits and repairs.

use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use super::accounts::{SentAccount, select_accounts};
use super::balances::insert_balances;
use super::rows::select_entries;
use crate::book::account::Account;
use crate::book::stored_entry::StoredEntry;
use crate::database::{Traced as _, write_parts};
use crate::error::Defect;
use crate::ids::AccountId;

/// The whole ledger by account and number. Rows are read as they are taken.
pub fn scan_entries(connection: &mut PgConnection) -> BoxStream<'_, Result<StoredEntry, sqlx::Error>> {
    let rows = select_entries!("FROM ledger_entries e ORDER BY account_id, account_seq",);
    rows.fetch(connection).map_ok(StoredEntry::from).boxed()
}

/// All entries of an account, by number. Rows are read as they are taken.
pub fn scan_entries_of(
    connection: &mut PgConnection,
    account_id: AccountId,
) -> BoxStream<'_, Result<StoredEntry, sqlx::Error>> {
    let rows = select_entries!("FROM ledger_entries e WHERE account_id = $1 ORDER BY account_seq", account_id.0,);
    rows.fetch(connection).map_ok(StoredEntry::from).boxed()
}

/// All entries of some accounts, by account and number. Rows are read as they are taken.
pub fn scan_entries_of_all<'c>(
    connection: &'c mut PgConnection,
    accounts: &[AccountId],
) -> BoxStream<'c, Result<StoredEntry, sqlx::Error>> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let rows = select_entries!(
        "FROM unnest($1::uuid[]) AS u (account_id) JOIN ledger_entries e ON e.account_id = u.account_id
         ORDER BY e.account_id, e.account_seq",
        &ids,
    );
    rows.fetch(connection).map_ok(StoredEntry::from).boxed()
}

/// The accounts that have an entry which was recorded after an instant, by account. Rows are read as they are taken.
pub fn scan_changed(connection: &mut PgConnection, since: Timestamp) -> BoxStream<'_, Result<AccountId, sqlx::Error>> {
    let rows = sqlx::query_scalar!(
        "SELECT DISTINCT account_id FROM ledger_entries WHERE recorded_at > $1 ORDER BY account_id",
        since.to_sqlx() as _,
    );
    rows.fetch(connection).map_ok(AccountId).boxed()
}

/// Heads by account, after one, and no more than `limit`; each readable or not.
///
/// # Errors
/// If the database cannot be read.
pub async fn scan_accounts(
    connection: &mut PgConnection,
    after: AccountId,
    limit: i64,
) -> Result<Vec<(AccountId, Result<Account, Defect>)>, sqlx::Error> {
    let rows = select_accounts!("accounts WHERE account_id > $1 ORDER BY account_id LIMIT $2", after.0, limit,)
        .fetch_all(connection)
        .traced("SELECT accounts")
        .await?;
    Ok(rows.into_iter().map(|row| (AccountId(row.account_id), Account::try_from(row))).collect())
}

/// Heads of some accounts, by account; each readable or not.
///
/// # Errors
/// If the database cannot be read.
pub async fn read_accounts(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<Vec<(AccountId, Result<Account, Defect>)>, sqlx::Error> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let rows = select_accounts!("accounts WHERE account_id = ANY($1) ORDER BY account_id", &ids,)
        .fetch_all(connection)
        .traced("SELECT accounts")
        .await?;
    Ok(rows.into_iter().map(|row| (AccountId(row.account_id), Account::try_from(row))).collect())
}

/// How many entries there are by the heads.
///
/// # Errors
/// If the database cannot be read.
pub async fn sum_heads(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT coalesce(sum(head), 0)::bigint AS "sum!" FROM accounts"#)
        .fetch_one(connection)
        .traced("SELECT accounts")
        .await
}

/// Locks one account, if it has a head; how many entries it has by that.
///
/// # Errors
/// If the statement fails.
pub async fn lock_account(connection: &mut PgConnection, account_id: AccountId) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!("SELECT head FROM accounts WHERE account_id = $1 FOR UPDATE", account_id.0)
        .fetch_optional(connection)
        .traced("SELECT accounts")
        .await
}

/// Writes a head as its entries say it is, and the balances on the way there. A locked row is changed and not replaced, since whoever waits for its lock
/// would find it gone.
///
/// # Errors
/// If the statement fails.
pub async fn restore_account(connection: &mut PgConnection, account: &Account) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "INSERT INTO accounts (account_id, program_id, kind, head, effective_at, next_due_at, erased_at, issued, owed,
             pending, available, held, redeemed, expired, cancelled)
         SELECT * FROM unnest($1::sent_account[])
         ON CONFLICT (account_id) DO UPDATE SET program_id = excluded.program_id, kind = excluded.kind,
             head = excluded.head, effective_at = excluded.effective_at, next_due_at = excluded.next_due_at,
             erased_at = excluded.erased_at, issued = excluded.issued, owed = excluded.owed, pending = excluded.pending,
             available = excluded.available, held = excluded.held, redeemed = excluded.redeemed,
             expired = excluded.expired, cancelled = excluded.cancelled",
        vec![SentAccount::from(account)] as _,
    )
    .execute(&mut *connection)
    .traced("INSERT accounts")
    .await?;
    let balances = insert_balances(std::iter::once(account));
    write_parts(connection, "INSERT balances", vec![balances]).await
}

/// Removes the head of an account that has no entries.
///
/// # Errors
/// If the statement fails.
pub async fn delete_account(connection: &mut PgConnection, account_id: AccountId) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM accounts WHERE account_id = $1", account_id.0)
        .execute(connection)
        .traced("DELETE accounts")
        .await?;
    Ok(())
}

/// Keys that were used more than once on an account.
///
/// # Errors
/// If the database cannot be read.
pub async fn find_doubled_keys(connection: &mut PgConnection, account_id: AccountId) -> Result<Vec<i64>, sqlx::Error> {
    let id: Uuid = account_id.0;
    sqlx::query_scalar!(
        r#"SELECT max(account_seq) AS "seq!" FROM ledger_entries WHERE account_id = $1 AND key_hash IS NOT NULL
           GROUP BY key_hash HAVING count(*) > 1"#,
        id,
    )
    .fetch_all(connection)
    .traced("SELECT ledger_entries")
    .await
}

/// Whether whoever is connected may do what only the tables' owner may.
///
/// # Errors
/// If the database cannot be read.
pub async fn owns_tables(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT pg_has_role(relowner, 'USAGE') AS "is_owner!" FROM pg_class WHERE oid = 'accounts'::regclass"#
    )
    .fetch_one(connection)
    .traced("SELECT pg_class")
    .await
}
