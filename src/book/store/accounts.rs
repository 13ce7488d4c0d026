//! The SQL of accounts: locks, heads and balances.

use std::collections::BTreeSet;

use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::book::account::{Account, Balance};
use crate::book::account_kind::AccountKind;
use crate::database::{StoreError, Traced as _};
use crate::error::Defect;
use crate::ids::{AccountId, ProgramId};

/// An account as Postgres returns it.
pub(super) struct AccountRow {
    pub(super) account_id: Uuid,
    pub(super) program_id: String,
    pub(super) kind: String,
    pub(super) head: i64,
    pub(super) effective_at: jiff_sqlx::Timestamp,
    pub(super) next_due_at: Option<jiff_sqlx::Timestamp>,
    pub(super) issued: i64,
    pub(super) owed: i64,
    pub(super) pending: i64,
    pub(super) available: i64,
    pub(super) held: i64,
    pub(super) redeemed: i64,
    pub(super) expired: i64,
    pub(super) cancelled: i64,
    /// What the database's clock told when this row was read, and locked where it was to be.
    pub(super) told: jiff_sqlx::Timestamp,
}

impl TryFrom<AccountRow> for Account {
    type Error = Defect;

    fn try_from(row: AccountRow) -> Result<Self, Defect> {
        let damaged = |what: &str| Defect::new(format!("account {}: {what}", row.account_id));
        Ok(Self {
            account_id: AccountId(row.account_id),
            program_id: ProgramId::try_from(row.program_id.as_str()).map_err(damaged)?,
            kind: AccountKind::from_stored(&row.kind).ok_or_else(|| damaged("unknown kind"))?,
            head: row.head,
            effective_at: Some(row.effective_at.to_jiff()),
            next_due_at: row.next_due_at.map(jiff_sqlx::Timestamp::to_jiff),
            balance: Balance {
                issued: row.issued,
                owed: row.owed,
                pending: row.pending,
                available: row.available,
                held: row.held,
                redeemed: row.redeemed,
                expired: row.expired,
                cancelled: row.cancelled,
            },
            balances: Vec::new(),
        })
    }
}

/// A checked statement that reads accounts as [`AccountRow`]s: all that follows `FROM`, then the arguments.
macro_rules! select_accounts {
    ($rest:literal $($arguments:tt)*) => {
        sqlx::query_as!(
            $crate::book::store::accounts::AccountRow,
            r#"SELECT account_id, program_id, kind, head, effective_at, next_due_at, issued, owed, pending, available, held,
                      redeemed, expired, cancelled, clock_timestamp() AS "told!"
               FROM "# + $rest $($arguments)*
        )
    };
}
pub(super) use select_accounts;

/// Accounts, with what the database's clock told after the last of them; none without accounts.
pub(in crate::book) type ReadAccounts = (Vec<Account>, Option<jiff::Timestamp>);

fn into_accounts(rows: Vec<AccountRow>) -> Result<ReadAccounts, StoreError> {
    let told = rows.iter().map(|row| row.told.to_jiff()).max();
    let accounts: Result<Vec<Account>, Defect> = rows.into_iter().map(Account::try_from).collect();
    Ok((accounts?, told))
}

/// Locks the accounts that nobody else holds; each as it is now, readable or not, and what the clock told after the last
/// lock. Without waiting there is no deadlock, and in one order it is unlikely that each of two batches gets a part of
/// what both need. The clock is read for each row after it is locked, outside the subquery: so the last reading comes
/// after all locks.
pub(in crate::book) async fn lock_free_accounts(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<(Vec<(AccountId, Result<Account, Defect>)>, Option<jiff::Timestamp>), sqlx::Error> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let rows = select_accounts!(
        "(SELECT * FROM accounts WHERE account_id = ANY($1) ORDER BY kind, account_id FOR UPDATE SKIP LOCKED) locked",
        &ids,
    )
    .fetch_all(connection)
    .traced("SELECT accounts")
    .await?;
    let told = rows.iter().map(|row| row.told.to_jiff()).max();
    Ok((rows.into_iter().map(|row| (AccountId(row.account_id), Account::try_from(row))).collect(), told))
}

/// Which of the accounts there are, whoever holds them.
pub(in crate::book) async fn find_existing(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<BTreeSet<AccountId>, sqlx::Error> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let rows = sqlx::query_scalar!("SELECT account_id FROM accounts WHERE account_id = ANY($1)", &ids)
        .fetch_all(connection)
        .traced("SELECT accounts")
        .await?;
    Ok(rows.into_iter().map(AccountId).collect())
}

/// Accounts as they are, by their ids.
pub(in crate::book) async fn read_accounts(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<ReadAccounts, StoreError> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let rows = select_accounts!("accounts WHERE account_id = ANY($1) ORDER BY account_id", &ids,)
        .fetch_all(connection)
        .traced("SELECT accounts")
        .await?;
    into_accounts(rows)
}

/// The columns of a multi-row write of accounts.
#[derive(Default)]
pub(super) struct AccountColumns {
    pub(super) account_id: Vec<Uuid>,
    pub(super) program_id: Vec<String>,
    pub(super) kind: Vec<&'static str>,
    pub(super) head: Vec<i64>,
    pub(super) effective_at: Vec<Option<jiff_sqlx::Timestamp>>,
    pub(super) next_due_at: Vec<Option<jiff_sqlx::Timestamp>>,
    pub(super) pockets: [Vec<i64>; 8],
}

impl<'a> FromIterator<&'a Account> for AccountColumns {
    fn from_iter<I: IntoIterator<Item = &'a Account>>(accounts: I) -> Self {
        let mut rows = Self::default();
        for account in accounts {
            rows.account_id.push(account.account_id.0);
            rows.program_id.push(account.program_id.as_str().to_owned());
            rows.kind.push(account.kind.as_str());
            rows.head.push(account.head);
            rows.effective_at.push(account.effective_at.map(|instant| instant.to_sqlx()));
            rows.next_due_at.push(account.next_due_at.map(|instant| instant.to_sqlx()));
            for (column, count) in rows.pockets.iter_mut().zip(account.balance.counts()) {
                column.push(count);
            }
        }
        rows
    }
}

/// A checked statement that writes accounts: its rows, the columns that say which, and the text. The columns that
/// change follow as parameters, in their order in the schema.
macro_rules! write_accounts {
    ($rows:ident, [$($which:tt)*], $text:literal $(,)?) => {{
        let [issued, owed, pending, available, held, redeemed, expired, cancelled] = &$rows.pockets;
        sqlx::query!(
            $text,
            $($which)*,
            &$rows.head,
            &$rows.effective_at as _,
            &$rows.next_due_at as _,
            issued,
            owed,
            pending,
            available,
            held,
            redeemed,
            expired,
            cancelled,
        )
    }};
}
pub(super) use write_accounts;

/// Adds accounts that were opened in this batch.
pub(in crate::book) async fn insert_accounts(
    connection: &mut PgConnection,
    accounts: &[&Account],
) -> Result<(), sqlx::Error> {
    let rows = AccountColumns::from_iter(accounts.iter().copied());
    write_accounts!(
        rows,
        [&rows.account_id, &rows.program_id, &rows.kind as _],
        "INSERT INTO accounts (account_id, program_id, kind, head, effective_at, next_due_at, issued, owed, pending,
             available, held, redeemed, expired, cancelled)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::timestamptz[], $6::timestamptz[],
             $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[],
             $14::bigint[])",
    )
    .execute(connection)
    .traced("INSERT accounts")
    .await?;
    Ok(())
}

/// Writes the heads of locked accounts.
pub(in crate::book) async fn update_accounts(
    connection: &mut PgConnection,
    accounts: &[&Account],
) -> Result<(), sqlx::Error> {
    let rows = AccountColumns::from_iter(accounts.iter().copied());
    write_accounts!(
        rows,
        [&rows.account_id],
        "UPDATE accounts a SET head = u.head, effective_at = u.effective_at, next_due_at = u.next_due_at,
             issued = u.issued, owed = u.owed, pending = u.pending, available = u.available, held = u.held,
             redeemed = u.redeemed, expired = u.expired, cancelled = u.cancelled
         FROM unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::timestamptz[], $5::bigint[], $6::bigint[],
             $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[])
         AS u (account_id, head, effective_at, next_due_at, issued, owed, pending, available, held, redeemed, expired,
             cancelled)
         WHERE a.account_id = u.account_id",
    )
    .execute(connection)
    .traced("UPDATE accounts")
    .await?;
    Ok(())
}
