//! Reading accounts as they were or are, with what is due applied in memory. Nothing is written.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sqlx::{Connection as _, PgConnection, Postgres, Transaction};

use super::account::Account;
use super::capability::Capabilities;
use super::entry::Entry;
use super::fold::Folded;
use super::state::{Depth, Scope, States};
use super::store;
use crate::clock::Clock;
use crate::database::{StoreError, Traced as _};
use crate::ids::{AccountId, ProgramId};

/// Accounts from their projections, with everything that is due by an instant done in memory.
pub struct WithDues {
    /// The heads and balances, by their ids.
    pub accounts: Vec<Account>,
    /// Every capability's rows of them.
    pub states: States,
    /// What time has done to them by then that is not written yet.
    pub applied_dues: Vec<Entry>,
    /// The instant.
    pub until: Timestamp,
}

/// Accounts as they are by an instant, which `until` chooses when the first statement has brought the database's time.
/// They are read in several statements: `snapshot` must be a transaction in which all of them see one moment.
///
/// # Errors
/// If the database cannot be read, a due contradicts the rows, or more is due than a read applies.
pub async fn apply_dues_in_memory(
    snapshot: &mut PgConnection,
    accounts: &[AccountId],
    until: impl FnOnce(Timestamp) -> Timestamp,
    depth: Depth,
    capabilities: &Capabilities,
) -> Result<WithDues, StoreError> {
    let (read, told) = store::accounts::read_accounts(snapshot, accounts).await?;
    // Without accounts there is nothing that an instant would matter to.
    let until = until(told.unwrap_or_default());
    let programs: BTreeSet<ProgramId> = read.iter().map(|account| account.program_id.clone()).collect();
    let accounts: Vec<AccountId> = read.iter().map(|account| account.account_id).collect();
    let programs = programs.into_iter().collect();
    let scope =
        Scope { due: accounts.clone(), accounts, programs, now: until, latest: until, depth, ..Scope::default() };
    let mut states = capabilities.new_states();
    capabilities.load_all(&mut states, &scope, snapshot).await?;
    let (mut accounts, mut applied_dues) = (Vec::with_capacity(read.len()), Vec::new());
    for account in read {
        let mut folded = Folded { account, states, applied_dues: Vec::new() };
        if !folded.apply_dues(until)? {
            return Err(StoreError::TooManyDues);
        }
        states = folded.states;
        accounts.push(folded.account);
        applied_dues.extend(folded.applied_dues);
    }
    Ok(WithDues { accounts, states, applied_dues, until })
}

/// One account as it is now, as [`apply_dues_in_memory`] gives it, and the instant that this is. None if it has no
/// entries.
///
/// # Errors
/// If the database cannot be read, or a due contradicts the rows.
pub async fn read_with_dues(
    connection: &mut PgConnection,
    account_id: AccountId,
    clock: &Clock,
    capabilities: &Capabilities,
) -> Result<Option<(Folded, Timestamp)>, StoreError> {
    let WithDues { mut accounts, states, applied_dues, until } =
        read_all_with_dues(connection, &[account_id], clock, capabilities).await?;
    Ok(accounts.pop().map(|account| (Folded { account, states, applied_dues }, until)))
}

/// Accounts as they are now, as [`apply_dues_in_memory`] gives them.
///
/// # Errors
/// As [`read_with_dues`], for any of them.
pub async fn read_all_with_dues(
    connection: &mut PgConnection,
    accounts: &[AccountId],
    clock: &Clock,
    capabilities: &Capabilities,
) -> Result<WithDues, StoreError> {
    let mut snapshot = begin_snapshot(connection).await?;
    let until = |told| clock.present(told);
    let read = apply_dues_in_memory(&mut snapshot, accounts, until, Depth::Due, capabilities).await?;
    snapshot.commit().traced("COMMIT").await?;
    Ok(read)
}

/// A transaction in which all statements see one moment.
///
/// # Errors
/// If the database is away.
pub async fn begin_snapshot(connection: &mut PgConnection) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
    connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").traced("BEGIN").await
}
