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
use crate::database::{StoreError, Traced as _};
use crate::ids::{AccountId, ProgramId};

/// Accounts as they are at `until`, from their projections, with everything that is due by then done in memory. They are
/// read in several statements: `snapshot` must be a transaction in which all of them see one moment.
///
/// # Errors
/// If the database cannot be read, a due contradicts the rows, or more is due than a read applies.
pub async fn apply_dues_in_memory(
    snapshot: &mut PgConnection,
    accounts: &[AccountId],
    until: Timestamp,
    depth: Depth,
    capabilities: &Capabilities,
) -> Result<(Vec<Account>, States, Vec<Entry>), StoreError> {
    let read = store::accounts::read_accounts(snapshot, accounts).await?;
    let programs: BTreeSet<ProgramId> = read.iter().map(|account| account.program_id.clone()).collect();
    let accounts: Vec<AccountId> = read.iter().map(|account| account.account_id).collect();
    let programs = programs.into_iter().collect();
    let scope = Scope { due: accounts.clone(), accounts, programs, latest: until, depth };
    let mut states = capabilities.new_states();
    capabilities.load(&mut states, None, &scope, snapshot).await?;
    let (mut applied, mut entries) = (Vec::with_capacity(read.len()), Vec::new());
    for account in read {
        let mut folded = Folded { account, states, applied_dues: Vec::new() };
        if !folded.apply_dues(until)? {
            return Err(StoreError::TooManyDues);
        }
        states = folded.states;
        applied.push(folded.account);
        entries.extend(folded.applied_dues);
    }
    Ok((applied, states, entries))
}

/// One account as it is at `until`, as [`apply_dues_in_memory`] gives it. None if it has no entries.
///
/// # Errors
/// If the database cannot be read, or a due contradicts the rows.
pub async fn read_with_dues(
    connection: &mut PgConnection,
    account_id: AccountId,
    until: Timestamp,
    capabilities: &Capabilities,
) -> Result<Option<Folded>, StoreError> {
    let mut snapshot = begin_snapshot(connection).await?;
    let (mut accounts, states, applied_dues) =
        apply_dues_in_memory(&mut snapshot, &[account_id], until, Depth::Due, capabilities).await?;
    snapshot.commit().traced("COMMIT").await?;
    Ok(accounts.pop().map(|account| Folded { account, states, applied_dues }))
}

/// A transaction in which all statements see one moment.
///
/// # Errors
/// If the database is away.
pub async fn begin_snapshot(connection: &mut PgConnection) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
    connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").traced("BEGIN").await
}
