//! An account as its entries say it is: the same code as when writing, in memory, for time travel and rebuilding.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sqlx::{Connection as _, PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::account::{Account, AccountKind};
use super::command::{Defect, NewEntry};
use super::detail::Detail;
use super::entry::Entry;
use super::state::{Depth, NextDue, Scope, States};
use super::store;
use crate::database::Traced as _;
use crate::ids::{AccountId, ProgramId};

/// An account and its rows as they were at an instant.
pub struct Folded {
    /// The head and the balance.
    pub account: Account,
    /// Every capability's rows of this account.
    pub states: States,
    /// What [`apply_dues`](Self::apply_dues) has done in memory.
    pub applied_dues: Vec<Entry>,
}

impl Folded {
    /// Takes an account's entries, in order and from the first, into empty states.
    ///
    /// # Errors
    /// [`Defect`] if the entries contradict each other.
    pub fn from_entries(entries: &[Entry], mut states: States) -> Result<Option<Self>, Defect> {
        let Some(first) = entries.first() else { return Ok(None) };
        let kind = match first.detail {
            Detail::ProgramApplied { .. } => AccountKind::Program,
            _ => AccountKind::Customer,
        };
        let mut account = Account::empty(first.id.account_id, first.program_id.clone(), kind);
        for entry in entries {
            if entry.id != account.next_entry_id() {
                return Err(Defect::new(format!("entry {} is missing", account.next_entry_id())));
            }
            account.apply(entry).map_err(|error| Defect::new(format!("entry {}: {error}", entry.id)))?;
            states.apply(entry)?;
        }
        account.next_due_at = states.next_due(account.account_id);
        Ok(Some(Self { account, states, applied_dues: Vec::new() }))
    }

    /// Writes the account and its rows into tables that have none of it: a rebuilding.
    ///
    /// # Errors
    /// If a statement fails, as it does where the rows are there already.
    pub async fn write(&mut self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        store::accounts::insert_accounts(connection, std::iter::once(&self.account)).await?;
        self.states.write(connection).await
    }

    /// Does in memory whatever time alone does to the account by `until`: what the book would write if it were
    /// touched then.
    ///
    /// # Errors
    /// [`Defect`] if a due contradicts the entries.
    pub fn apply_dues(&mut self, until: Timestamp) -> Result<(), Defect> {
        loop {
            let (due_at, new_entries) = match self.states.next_due_entries(&self.account, until) {
                NextDue::Entries(due_at, new_entries) => (due_at, new_entries),
                NextDue::Nothing => return Ok(()),
                NextDue::NotLoaded => return Err(Defect::new("a due was not read")),
            };
            for new_entry in new_entries {
                self.take(due_at, new_entry)?;
            }
        }
    }

    fn take(&mut self, due_at: Timestamp, new_entry: NewEntry) -> Result<(), Defect> {
        let effective_at = self.account.time_at(due_at);
        let entry = Entry {
            id: self.account.next_entry_id(),
            program_id: self.account.program_id.clone(),
            detail: new_entry.detail,
            movement: new_entry.movement,
            command_id: Uuid::nil(),
            key: None,
            actor: new_entry.actor,
            reason: new_entry.reason,
            policy_version: new_entry.policy_version,
            causes: new_entry.causes,
            trace_id: [0; 16],
            effective_at,
            recorded_at: effective_at,
        };
        self.account.apply(&entry).map_err(|error| Defect::new(format!("entry {}: {error}", entry.id)))?;
        self.states.apply(&entry)?;
        self.applied_dues.push(entry);
        Ok(())
    }
}

/// The account at `as_of`: what was answered then. None if it had no entries yet.
///
/// # Errors
/// If the database cannot be read, or the entries contradict each other.
pub async fn fold(
    connection: &mut PgConnection,
    account_id: AccountId,
    as_of: Timestamp,
    states: States,
) -> Result<Option<Folded>, sqlx::Error> {
    let entries = store::read_entries_until(connection, account_id, as_of).await?;
    let fold_and_apply_dues = || {
        let mut folded = Folded::from_entries(&entries, states)?;
        if let Some(folded) = &mut folded {
            folded.apply_dues(as_of)?;
        }
        Ok(folded)
    };
    fold_and_apply_dues().map_err(|defect: Defect| sqlx::Error::Decode(Box::new(defect)))
}

/// Accounts as they are at `until`, from their projections, with everything that is due by then done in memory. They are
/// read in several statements: `snapshot` must be a transaction in which all of them see one moment.
///
/// # Errors
/// If the database cannot be read, or a due contradicts the rows.
pub async fn apply_dues_in_memory(
    snapshot: &mut PgConnection,
    accounts: &[AccountId],
    until: Timestamp,
    depth: Depth,
    mut states: States,
) -> Result<(Vec<Account>, States, Vec<Entry>), sqlx::Error> {
    let read = store::accounts::read_accounts(snapshot, accounts).await?;
    let programs: BTreeSet<ProgramId> = read.iter().map(|account| account.program_id.clone()).collect();
    let accounts: Vec<AccountId> = read.iter().map(|account| account.account_id).collect();
    let programs = programs.into_iter().collect();
    let scope = Scope { due: accounts.clone(), accounts, programs, latest: until, depth };
    states.load(snapshot, None, &scope).await?;
    let (mut applied, mut entries) = (Vec::with_capacity(read.len()), Vec::new());
    for account in read {
        let mut folded = Folded { account, states, applied_dues: Vec::new() };
        folded.apply_dues(until).map_err(|defect| sqlx::Error::Decode(Box::new(defect)))?;
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
    states: States,
) -> Result<Option<Folded>, sqlx::Error> {
    let mut snapshot = begin_snapshot(connection).await?;
    let (mut accounts, states, applied_dues) =
        apply_dues_in_memory(&mut snapshot, &[account_id], until, Depth::Due, states).await?;
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
