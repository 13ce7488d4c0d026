//! Accounts as they were at past instants, from no more than some entries however many there are.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sqlx::PgConnection;

use super::account::{Account, Balance};
use super::capability::Capabilities;
use super::fold::Folded;
use super::reading::{WithDues, apply_dues_in_memory};
use super::state::{Depth, States};
use super::store;
use crate::database::StoreError;
use crate::error::Defect;
use crate::ids::AccountId;

/// How many entries are held in memory at a time.
const PAGE: i64 = 1_000;
/// How many entries are folded at most for what only the lots of that time tell.
const MAX_FOLDED: i64 = 512;

/// An account at an instant.
pub enum AsOf {
    /// It is as its rows say, with what was due by the instant done in memory: the last entry is not later.
    Rows(Folded),
    /// Later entries changed its rows. What was due by the instant is written.
    Past(Past),
}

/// An account at the end of an instant before its last entry.
#[derive(Clone, Copy, Debug)]
pub struct Past {
    /// The account.
    pub account_id: AccountId,
    /// The number of the last entry of that time.
    pub last: i64,
    /// Where its points were.
    pub balance: Balance,
}

/// An account as it was at an instant: what was answered then. None if it had no entries yet. It is read in several
/// statements: `snapshot` must be a transaction in which all of them see one moment.
///
/// # Errors
/// If the database cannot be read, the entries contradict each other, or too much is due at once.
pub async fn read_as_of(
    snapshot: &mut PgConnection,
    account_id: AccountId,
    as_of: Timestamp,
    capabilities: &Capabilities,
) -> Result<Option<AsOf>, StoreError> {
    let Some(account) = read_head(snapshot, account_id).await? else { return Ok(None) };
    if account.effective_at.is_none_or(|last| last <= as_of) {
        let WithDues { mut accounts, states, applied_dues, .. } =
            apply_dues_in_memory(snapshot, &[account_id], |_| as_of, Depth::Due, capabilities).await?;
        return Ok(accounts.pop().map(|account| AsOf::Rows(Folded { account, states, applied_dues })));
    }
    let last = store::balances::find_last_by(snapshot, &account, as_of, true).await?;
    if last == 0 {
        return Ok(None);
    }
    let balance = store::balances::read_balance_at(snapshot, account_id, last).await?;
    Ok(Some(AsOf::Past(Past { account_id, last, balance })))
}

impl Past {
    /// All of the account's states of that time, from its entries; none if it had more of them than are folded.
    ///
    /// # Errors
    /// If the database cannot be read, or the entries contradict each other.
    pub async fn fold(&self, snapshot: &mut PgConnection, states: States) -> Result<Option<Folded>, StoreError> {
        if self.last > MAX_FOLDED {
            return Ok(None);
        }
        let entries = store::read_entries_between(snapshot, self.account_id, 1, self.last).await?;
        Ok(Folded::from_entries(&entries, states)?)
    }
}

/// All of an account's states as they were at an instant, from its entries. None if it had no entries yet. However many
/// there are, it is for who has the time: nobody waits for the answer.
///
/// # Errors
/// If the database cannot be read, or the entries contradict each other.
pub async fn fold(
    snapshot: &mut PgConnection,
    account_id: AccountId,
    as_of: Timestamp,
    states: States,
) -> Result<Option<Folded>, StoreError> {
    let Some(account) = read_head(snapshot, account_id).await? else { return Ok(None) };
    let last = store::balances::find_last_by(snapshot, &account, as_of, true).await?;
    let first = store::read_entries_between(snapshot, account_id, 1, last.min(PAGE)).await?;
    let Some(mut folded) = Folded::from_entries(&first, states)? else { return Ok(None) };
    while folded.account.head < last {
        let first = folded.account.head + 1;
        let page = store::read_entries_between(snapshot, account_id, first, last.min(first + PAGE - 1)).await?;
        if page.is_empty() {
            return Err(Defect::new(format!("entry {} is missing", folded.account.next_entry_id())).into());
        }
        folded.extend(&page)?;
    }
    folded.apply_dues(as_of)?;
    Ok(Some(folded))
}

/// Some consecutive entries of an account, by number. There are none if `last` is below `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRange {
    /// The number of the first.
    pub first: i64,
    /// The number of the last.
    pub last: i64,
}

/// Which entries of an account took effect in a period: from an instant on, before another. An account's time never goes
/// back, so they are consecutive. If there are none, the range is empty and begins where they would be.
///
/// # Errors
/// If the database cannot be read, or an entry is missing.
pub async fn find_entries_in(
    snapshot: &mut PgConnection,
    account: &Account,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
) -> Result<EntryRange, StoreError> {
    let before = match from {
        Some(from) => store::balances::find_last_by(snapshot, account, from, false).await?,
        None => 0,
    };
    let last = match until {
        Some(until) => store::balances::find_last_by(snapshot, account, until, false).await?,
        None => account.head,
    };
    Ok(EntryRange { first: before + 1, last })
}

/// How many entries accounts had by an instant, whose heads tell how many there are now. One of which an entry is missing is
/// not among them.
///
/// # Errors
/// If the database cannot be read.
pub async fn find_all_last_by(
    snapshot: &mut PgConnection,
    heads: &[(AccountId, i64)],
    instant: Timestamp,
) -> Result<BTreeMap<AccountId, i64>, StoreError> {
    store::balances::find_all_last_by(snapshot, heads, instant).await
}

/// Where an account's points were after one of its entries; nowhere before the first.
///
/// # Errors
/// If the database cannot be read, or the entries contradict each other.
pub async fn read_balance_at(
    snapshot: &mut PgConnection,
    account_id: AccountId,
    seq: i64,
) -> Result<Balance, StoreError> {
    store::balances::read_balance_at(snapshot, account_id, seq).await
}

/// An account's head by its written entries.
///
/// # Errors
/// If the database cannot be read.
pub async fn read_head(connection: &mut PgConnection, account_id: AccountId) -> Result<Option<Account>, StoreError> {
    Ok(store::accounts::read_accounts(connection, &[account_id]).await?.0.pop())
}
