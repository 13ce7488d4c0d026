//! The SQL of accounts: locks, heads and balances.

use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::book::account::{Account, Balance};
use crate::book::account_kind::AccountKind;
use crate::book::name::Name;
use crate::database::{StoreError, Traced as _, WritePart, sent_as, write_part};
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
    pub(super) erased_at: Option<jiff_sqlx::Timestamp>,
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
            kind: AccountKind::from_stored(&row.kind)
                .ok_or_else(|| Defect::unknown(format!("account {}: unknown kind", row.account_id)))?,
            head: row.head,
            effective_at: Some(row.effective_at.to_jiff()),
            next_due_at: row.next_due_at.map(jiff_sqlx::Timestamp::to_jiff),
            erased_at: row.erased_at.map(jiff_sqlx::Timestamp::to_jiff),
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
            r#"SELECT account_id, program_id, kind, head, effective_at, next_due_at, erased_at, issued, owed, pending, available, held,
                      redeemed, expired, cancelled, clock_timestamp() AS "told!"
               FROM "# + $rest $($arguments)*
        )
    };
}
pub(super) use select_accounts;

/// The [`AccountRow`] in a record that has more columns.
macro_rules! account_row {
    ($record:ident) => {
        account_row!($record: account_id, program_id, kind, head, effective_at, next_due_at, erased_at, issued, owed, pending,
            available, held, redeemed, expired, cancelled, told)
    };
    ($record:ident: $($column:ident),*) => {
        AccountRow { $($column: $record.$column,)* }
    };
}

/// Accounts, with what the database's clock told after the last of them; none without accounts.
pub(in crate::book) type ReadAccounts = (Vec<Account>, Option<jiff::Timestamp>);

fn into_accounts(rows: Vec<AccountRow>) -> Result<ReadAccounts, StoreError> {
    let told = rows.iter().map(|row| row.told.to_jiff()).max();
    let accounts: Result<Vec<Account>, Defect> = rows.into_iter().map(Account::try_from).collect();
    Ok((accounts?, told))
}

/// A name to look up.
#[derive(Clone, Copy)]
pub(in crate::book) struct WantedName<'a> {
    pub(in crate::book) name: &'a Name,
    /// The hash of a key that a command of the name's owner carries.
    pub(in crate::book) key_hash: Option<[u8; 32]>,
    /// Whether the owner's account is to be locked.
    pub(in crate::book) is_locked: bool,
    /// Whether the accounts that are related to it are, too.
    pub(in crate::book) with_related: bool,
}

/// An account that was wanted, as it was when the statement began.
pub(in crate::book) struct Owner {
    /// The place of the wanted name that it belongs to; None if it was wanted by its id, or because it is related.
    pub(in crate::book) place: Option<usize>,
    pub(in crate::book) account_id: AccountId,
    /// The number of its last entry; 0 if there is no such account.
    pub(in crate::book) head: i64,
    /// Whether the key that was asked about was used on it.
    pub(in crate::book) is_used: bool,
    /// The account that it is related to, if it was wanted for that.
    pub(in crate::book) related_to: Option<AccountId>,
}

/// An account that was locked, as it is.
pub(in crate::book) struct LockedAccount {
    pub(in crate::book) account_id: AccountId,
    pub(in crate::book) head: i64,
    /// All of it, if it can be understood.
    pub(in crate::book) account: Result<Account, Defect>,
}

/// What [`find_and_lock`] found.
#[derive(Default)]
pub(in crate::book) struct Found {
    pub(in crate::book) owners: Vec<Owner>,
    pub(in crate::book) locked: Vec<LockedAccount>,
    /// What the clock told after the last lock; None if nothing was found.
    pub(in crate::book) told: Option<jiff::Timestamp>,
}

/// A name to look up, as it is sent.
#[derive(sqlx::Encode)]
struct SentName {
    place: i64,
    program_id: String,
    space: &'static str,
    name: String,
    key_hash: Option<[u8; 32]>,
    is_locked: bool,
    with_related: bool,
}

sent_as!(SentName, "wanted_name");

fn sent_names(names: &[WantedName<'_>]) -> Vec<SentName> {
    let mut sent = Vec::with_capacity(names.len());
    for (place, name) in (0..).zip(names) {
        sent.push(SentName {
            place,
            program_id: name.name.program_id.as_str().to_owned(),
            space: name.name.space.as_str(),
            name: name.name.name.clone(),
            key_hash: name.key_hash,
            is_locked: name.is_locked,
            with_related: name.with_related,
        });
    }
    sent
}

/// Finds out whose names are and what is related to them, tells which keys were used, and locks the accounts that nobody
/// else holds.
///
/// Owners, what is related and keys are as they were when the statement began, and locked accounts as they are. Where both
/// have the same number of entries, nothing was written on the account between the two, so what is told of it is true under
/// the lock. Without waiting there is no deadlock, and in one order it is unlikely that each of two batches gets a part of
/// what both need. The clock is read for each row after it is locked, outside the subquery: so the last reading comes after
/// all locks.
pub(in crate::book) async fn find_and_lock(
    connection: &mut PgConnection,
    names: &[WantedName<'_>],
    accounts: &[AccountId],
) -> Result<Found, sqlx::Error> {
    let wanted = sent_names(names);
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    // Of an owner there is a place, which is below zero if it was wanted by its id, and of its account no more than the
    // number of its last entry. A locked account has no place.
    let rows = sqlx::query!(
        r#"WITH owners AS MATERIALIZED (
               SELECT u.place, n.account_id, u.is_locked, u.with_related, NULL::uuid AS related_to,
                      coalesce(a.head, 0) AS head, e.account_seq IS NOT NULL AS is_used
               FROM unnest($1::wanted_name[]) AS u
               CROSS JOIN LATERAL (
                   SELECT account_id FROM names n
                   WHERE n.program_id = u.program_id AND n.space = u.space AND n.name = u.name OFFSET 0
               ) n
               LEFT JOIN LATERAL (SELECT head FROM accounts a WHERE a.account_id = n.account_id OFFSET 0) a ON true
               LEFT JOIN LATERAL (
                   SELECT account_seq FROM ledger_entries e
                   WHERE e.account_id = n.account_id AND e.key_hash = u.key_hash OFFSET 0
               ) e ON true
               UNION ALL
               SELECT -1, u.account_id, true, false, NULL, coalesce(a.head, 0), false
               FROM unnest($2::uuid[]) AS u (account_id)
               LEFT JOIN LATERAL (SELECT head FROM accounts a WHERE a.account_id = u.account_id OFFSET 0) a ON true
           ), wanted AS MATERIALIZED (
               SELECT place, account_id, is_locked, related_to, head, is_used FROM owners
               UNION ALL
               SELECT -1, r.related_account_id, true, o.account_id, coalesce(a.head, 0), false
               FROM owners o
               CROSS JOIN LATERAL (
                   SELECT related_account_id FROM related_accounts r
                   WHERE o.with_related AND r.account_id = o.account_id OFFSET 0
               ) r
               LEFT JOIN LATERAL (
                   SELECT head FROM accounts a WHERE a.account_id = r.related_account_id OFFSET 0
               ) a ON true
           )
           SELECT place AS "place?", is_used AS "is_used!", related_to AS "related_to?", account_id AS "account_id!",
                  '' AS "program_id!", '' AS "kind!", head AS "head!", 'epoch'::timestamptz AS "effective_at!: jiff_sqlx::Timestamp", NULL::timestamptz AS "next_due_at?: jiff_sqlx::Timestamp", NULL::timestamptz AS "erased_at?: jiff_sqlx::Timestamp",
                  0::bigint AS "issued!", 0::bigint AS "owed!", 0::bigint AS "pending!", 0::bigint AS "available!",
                  0::bigint AS "held!", 0::bigint AS "redeemed!", 0::bigint AS "expired!", 0::bigint AS "cancelled!",
                  clock_timestamp() AS "told!"
           FROM wanted
           UNION ALL
           SELECT NULL, false, NULL, account_id, program_id, kind, head, effective_at, next_due_at, erased_at, issued, owed, pending,
                  available, held, redeemed, expired, cancelled, clock_timestamp()
           FROM (
               SELECT * FROM accounts WHERE account_id = ANY(ARRAY(SELECT account_id FROM wanted WHERE is_locked))
               ORDER BY kind, account_id FOR UPDATE SKIP LOCKED
           ) locked"#,
        wanted as _,
        &ids,
    )
    .fetch_all(connection)
    .traced("SELECT accounts")
    .await?;
    let mut found = Found { told: rows.iter().map(|row| row.told.to_jiff()).max(), ..Found::default() };
    for row in rows {
        let (account_id, head) = (AccountId(row.account_id), row.head);
        match row.place {
            Some(place) => {
                let (place, related_to) = (usize::try_from(place).ok(), row.related_to.map(AccountId));
                found.owners.push(Owner { place, account_id, head, is_used: row.is_used, related_to });
            }
            None => {
                let account = Account::try_from(account_row!(row));
                found.locked.push(LockedAccount { account_id, head, account });
            }
        }
    }
    Ok(found)
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

/// An account as it is sent.
#[derive(sqlx::Encode)]
pub(super) struct SentAccount {
    account_id: Uuid,
    program_id: String,
    kind: &'static str,
    head: i64,
    effective_at: Option<jiff_sqlx::Timestamp>,
    next_due_at: Option<jiff_sqlx::Timestamp>,
    erased_at: Option<jiff_sqlx::Timestamp>,
    issued: i64,
    owed: i64,
    pending: i64,
    available: i64,
    held: i64,
    redeemed: i64,
    expired: i64,
    cancelled: i64,
}

sent_as!(SentAccount, "sent_account");

impl From<&Account> for SentAccount {
    fn from(account: &Account) -> Self {
        let Balance { issued, owed, pending, available, held, redeemed, expired, cancelled } = account.balance;
        Self {
            account_id: account.account_id.0,
            program_id: account.program_id.as_str().to_owned(),
            kind: account.kind.as_str(),
            head: account.head,
            effective_at: account.effective_at.map(|instant| instant.to_sqlx()),
            next_due_at: account.next_due_at.map(|instant| instant.to_sqlx()),
            erased_at: account.erased_at.map(|instant| instant.to_sqlx()),
            issued,
            owed,
            pending,
            available,
            held,
            redeemed,
            expired,
            cancelled,
        }
    }
}

fn sent(accounts: &[&Account]) -> Vec<SentAccount> {
    accounts.iter().map(|account| SentAccount::from(*account)).collect()
}

/// Adds accounts that were opened in this batch.
pub(in crate::book) fn insert_accounts(accounts: &[&Account]) -> WritePart {
    write_part!(
        "INSERT INTO accounts (account_id, program_id, kind, head, effective_at, next_due_at, erased_at, issued, owed,
             pending, available, held, redeemed, expired, cancelled)
         SELECT * FROM unnest($1::sent_account[])",
        sent(accounts),
    )
}

/// Writes the heads of locked accounts.
pub(in crate::book) fn update_accounts(accounts: &[&Account]) -> WritePart {
    write_part!(
        always,
        "UPDATE accounts a SET head = u.head, effective_at = u.effective_at, next_due_at = u.next_due_at,
             erased_at = u.erased_at, issued = u.issued, owed = u.owed, pending = u.pending, available = u.available, held = u.held,
             redeemed = u.redeemed, expired = u.expired, cancelled = u.cancelled
         FROM unnest($1::sent_account[]) AS u WHERE a.account_id = u.account_id",
        sent(accounts),
    )
}
