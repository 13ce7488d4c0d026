//! The SQL of past instants: where an account's entries of an instant end, and where its points were then.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::book::account::{Account, Balance};
use crate::book::entry::{Pocket, PocketMove};
use crate::database::{StoreError, Traced as _, WritePart, sent_as, write_part};
use crate::error::Defect;
use crate::ids::AccountId;

/// A balance as it is kept, and as it is sent.
#[derive(sqlx::Encode)]
struct BalanceRow {
    account_id: Uuid,
    account_seq: i64,
    issued: i64,
    owed: i64,
    pending: i64,
    available: i64,
    held: i64,
    redeemed: i64,
    expired: i64,
    cancelled: i64,
}

sent_as!(BalanceRow, "sent_balance");

/// Adds the balances after every so many entries that were applied to accounts.
pub(in crate::book) fn insert_balances<'a>(accounts: impl Iterator<Item = &'a Account>) -> WritePart {
    let mut rows = Vec::new();
    for account in accounts {
        for (account_seq, balance) in &account.balances {
            let Balance { issued, owed, pending, available, held, redeemed, expired, cancelled } = *balance;
            rows.push(BalanceRow {
                account_id: account.account_id.0,
                account_seq: *account_seq,
                issued,
                owed,
                pending,
                available,
                held,
                redeemed,
                expired,
                cancelled,
            });
        }
    }
    write_part!(
        "INSERT INTO balances (account_id, account_seq, issued, owed, pending, available, held, redeemed, expired,
             cancelled)
         SELECT * FROM unnest($1::sent_balance[])",
        rows,
    )
}

impl BalanceRow {
    const fn balance(&self) -> Balance {
        Balance {
            issued: self.issued,
            owed: self.owed,
            pending: self.pending,
            available: self.available,
            held: self.held,
            redeemed: self.redeemed,
            expired: self.expired,
            cancelled: self.cancelled,
        }
    }
}

/// All balances that are kept of accounts, by account and number.
///
/// # Errors
/// If the database cannot be read.
pub async fn read_balances(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<Vec<(AccountId, i64, Balance)>, sqlx::Error> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let rows = sqlx::query_as!(
        BalanceRow,
        "SELECT account_id, account_seq, issued, owed, pending, available, held, redeemed, expired, cancelled
         FROM balances WHERE account_id = ANY($1) ORDER BY account_id, account_seq",
        &ids,
    )
    .fetch_all(connection)
    .traced("SELECT balances")
    .await?;
    Ok(rows.into_iter().map(|row| (AccountId(row.account_id), row.account_seq, row.balance())).collect())
}

/// How many of an account's entries took effect before an instant, or by it: so the number of the last of them. An
/// account's time never goes back and its numbers have no gap, so some twenty of a million entries tell.
pub(in crate::book) async fn find_last_by(
    connection: &mut PgConnection,
    account: &Account,
    instant: Timestamp,
    is_included: bool,
) -> Result<i64, StoreError> {
    let found = sqlx::query_scalar!(
        r#"WITH RECURSIVE search (low, high) AS (
               SELECT 0::bigint, $2::bigint
               UNION ALL
               SELECT CASE WHEN e.is_in THEN s.middle ELSE s.low END,
                      CASE WHEN e.is_in THEN s.high ELSE s.middle - 1 END
               FROM (SELECT low, high, (low + high + 1) / 2 AS middle FROM search WHERE low < high) s
               CROSS JOIN LATERAL (
                   SELECT e.effective_at < $3 OR ($4 AND e.effective_at = $3) AS is_in
                   FROM ledger_entries e WHERE e.account_id = $1 AND e.account_seq = s.middle
               ) e
           )
           SELECT low AS "low!" FROM search WHERE low = high"#,
        account.account_id.0,
        account.head,
        instant.to_sqlx() as _,
        is_included,
    )
    .fetch_optional(connection)
    .traced("SELECT ledger_entries")
    .await?;
    let id = account.account_id.0;
    Ok(found.ok_or_else(|| Defect::new(format!("account {id}: one of its {} entries is missing", account.head)))?)
}

/// The same by an instant for many accounts, whose heads tell how many entries there are. One of which an entry is missing
/// is not among them.
pub(in crate::book) async fn find_all_last_by(
    connection: &mut PgConnection,
    heads: &[(AccountId, i64)],
    instant: Timestamp,
) -> Result<BTreeMap<AccountId, i64>, StoreError> {
    let (accounts, heads): (Vec<Uuid>, Vec<i64>) = heads.iter().map(|(id, head)| (id.0, *head)).unzip();
    let found = sqlx::query!(
        r#"SELECT u.account_id AS "account_id!", l.low AS "last!"
           FROM unnest($1::uuid[], $2::bigint[]) AS u (account_id, head)
           CROSS JOIN LATERAL (
               WITH RECURSIVE search (low, high) AS (
                   SELECT 0::bigint, u.head
                   UNION ALL
                   SELECT CASE WHEN e.is_in THEN s.middle ELSE s.low END,
                          CASE WHEN e.is_in THEN s.high ELSE s.middle - 1 END
                   FROM (SELECT low, high, (low + high + 1) / 2 AS middle FROM search WHERE low < high) s
                   CROSS JOIN LATERAL (
                       SELECT e.effective_at <= $3 AS is_in
                       FROM ledger_entries e WHERE e.account_id = u.account_id AND e.account_seq = s.middle
                   ) e
               )
               SELECT low FROM search WHERE low = high
           ) l"#,
        &accounts,
        &heads,
        instant.to_sqlx() as _,
    )
    .fetch_all(connection)
    .traced("SELECT ledger_entries")
    .await?;
    Ok(found.into_iter().map(|row| (AccountId(row.account_id), row.last)).collect())
}

/// Where an account's points were after one of its entries: the balance that is kept before it, and the moves since.
pub(in crate::book) async fn read_balance_at(
    connection: &mut PgConnection,
    account_id: AccountId,
    seq: i64,
) -> Result<Balance, StoreError> {
    let kept = sqlx::query_as!(
        BalanceRow,
        "SELECT account_id, account_seq, issued, owed, pending, available, held, redeemed, expired, cancelled
         FROM balances WHERE account_id = $1 AND account_seq <= $2 ORDER BY account_seq DESC LIMIT 1",
        account_id.0,
        seq,
    )
    .fetch_optional(&mut *connection)
    .traced("SELECT balances")
    .await?;
    let (kept_at, mut balance) = kept.map_or((0, Balance::default()), |row| (row.account_seq, row.balance()));
    let moves = sqlx::query!(
        r#"SELECT account_seq, from_pocket AS "from!", to_pocket AS "to!", points AS "points!" FROM ledger_entries
           WHERE account_id = $1 AND account_seq > $2 AND account_seq <= $3 AND points IS NOT NULL
           ORDER BY account_seq"#,
        account_id.0,
        kept_at,
        seq,
    )
    .fetch_all(connection)
    .traced("SELECT ledger_entries")
    .await?;
    for row in moves {
        let damaged =
            |what: &str| Defect::new(format!("entry {} of account {}: {what}", row.account_seq, account_id.0));
        let unknown =
            || Defect::unknown(format!("entry {} of account {}: unknown pocket", row.account_seq, account_id.0));
        let pocket = |word: &str| Pocket::from_stored(word).ok_or_else(unknown);
        let movement = PocketMove { from: pocket(&row.from)?, to: pocket(&row.to)?, points: row.points };
        balance.make(movement).map_err(|error| damaged(&error.to_string()))?;
    }
    Ok(balance)
}
