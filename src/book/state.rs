//! What a capability contributes to the book: the rows it keeps about accounts, loaded by need, changed by entries.

use std::any::{Any, TypeId};
use std::collections::BTreeSet;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use sqlx::PgConnection;

use super::account::Account;
use super::command::{Defect, NewEntry};
use super::entry::Entry;
use super::projection::{Projection, Row};
use crate::ids::{AccountId, ProgramId};

/// What a batch is about: all of it is loaded in one statement.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The locked accounts that have entries already, sorted.
    pub accounts: Vec<AccountId>,
    /// The programs that the batch's commands belong to, sorted.
    pub programs: Vec<ProgramId>,
    /// Those of the accounts that time alone does something to by `latest`.
    pub due: Vec<AccountId>,
    /// The latest instant that the batch runs at, or that one of the due accounts has reached already.
    pub latest: Timestamp,
    /// How much is read of what an account may have thousands of.
    pub depth: Depth,
}

/// How much is read of what an account may have thousands of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// What the commands asked for, and of what is due as much as one batch shall write.
    #[default]
    Asked,
    /// Also all of what is due.
    Due,
    /// Everything.
    Whole,
}

/// Something that time alone will do to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// When.
    pub at: Timestamp,
    /// What goes first, of several at one instant.
    pub kind: DueKind,
}

/// In which order dues of one instant come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DueKind {
    /// Pending points become available, or what they waited for was missed.
    Vest,
    /// Held points come back.
    ReleaseHold,
    /// Points expire.
    Expire,
    /// A referral ends.
    EndReferral,
}

/// What time does to an account next.
#[derive(Debug)]
pub enum NextDue {
    /// Nothing until the instant that was asked about.
    Nothing,
    /// These entries, at this instant.
    Entries(Timestamp, Vec<NewEntry>),
    /// Something that was not read yet.
    NotLoaded,
}

/// One capability's rows in a batch.
///
/// A projection on a state is a function of its own account's entries alone, so that accounts can be rebuilt one at a
/// time. A state that no command of the batch asks for is neither loaded nor written.
pub trait State: Any + Send + Sync {
    /// Accounts that commands on `accounts` may touch beyond them, in pairs; asked before locks are taken, so the
    /// answer may be out of date by the time it is used.
    fn related_accounts<'a>(
        &'a self,
        _connection: &'a mut PgConnection,
        _accounts: &'a [AccountId],
    ) -> BoxFuture<'a, Result<Vec<(AccountId, AccountId)>, sqlx::Error>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Reads what is stored about the scope, in a statement of its own after the locks. `earlier` are the states that
    /// stand before this one, loaded.
    fn load<'a>(
        &'a mut self,
        connection: &'a mut PgConnection,
        scope: &'a Scope,
        earlier: Earlier<'a>,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>>;

    /// Takes one entry into the rows; the same when writing, when folding and when rebuilding.
    ///
    /// # Errors
    /// [`Defect`] if the entry contradicts what the rows say.
    fn apply(&mut self, entry: &Entry) -> Result<(), Defect>;

    /// What time alone will do next to the account, by this state's rows; rather too early than too late.
    fn next_due(&self, _account_id: AccountId) -> Option<Due> {
        None
    }

    /// What falls due on the account by what [`next_due`](Self::next_due) told. Empty if it has not been read yet.
    fn decide_due(&self, _account: &Account, _due: Due) -> Vec<NewEntry> {
        Vec::new()
    }

    /// Writes every changed row, in one statement for each table.
    fn write<'a>(&'a mut self, connection: &'a mut PgConnection) -> BoxFuture<'a, Result<(), sqlx::Error>>;

    /// Those of the rows that entries alone decide, if there are any.
    fn projection(&self) -> Option<&dyn Projection> {
        None
    }
}

/// The states that stand before one, and are loaded before it.
#[derive(Clone, Copy)]
pub struct Earlier<'a>(&'a [Box<dyn State>]);

impl<'a> Earlier<'a> {
    /// One capability's state.
    ///
    /// # Errors
    /// If none of this type stands before.
    pub fn get<S: State>(&self) -> Result<&'a S, sqlx::Error> {
        let found = find(self.0);
        found.ok_or_else(|| sqlx::Error::Configuration("a state is missing from the house".into()))
    }
}

fn find<S: State>(states: &[Box<dyn State>]) -> Option<&S> {
    states.iter().find_map(|state| (state.as_ref() as &dyn Any).downcast_ref())
}

/// Every state of the house, empty or loaded.
pub struct States(Vec<Box<dyn State>>);

impl States {
    /// Puts the states together.
    #[must_use]
    pub fn new(states: Vec<Box<dyn State>>) -> Self {
        Self(states)
    }

    /// One capability's state, to read.
    ///
    /// # Errors
    /// [`Defect`] if the house has none of this type.
    pub fn get<S: State>(&self) -> Result<&S, Defect> {
        find(&self.0).ok_or_else(|| Defect::new("a state is missing from the house"))
    }

    /// One capability's state, to add source rows to.
    ///
    /// # Errors
    /// [`Defect`] if the house has none of this type.
    pub fn get_mut<S: State>(&mut self) -> Result<&mut S, Defect> {
        self.0
            .iter_mut()
            .find_map(|state| (state.as_mut() as &mut dyn Any).downcast_mut())
            .ok_or_else(|| Defect::new("a state is missing from the house"))
    }

    /// Takes an entry into every state.
    ///
    /// # Errors
    /// [`Defect`] of the first state that cannot.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        self.0.iter_mut().try_for_each(|state| state.apply(entry))
    }

    /// The earliest due of an account.
    #[must_use]
    pub fn next_due(&self, account_id: AccountId) -> Option<Timestamp> {
        self.0.iter().filter_map(|state| state.next_due(account_id)).min().map(|due| due.at)
    }

    /// What time does first to the account, by `until`.
    #[must_use]
    pub fn next_due_entries(&self, account: &Account, until: Timestamp) -> NextDue {
        let dues = self.0.iter().filter_map(|state| Some((state.next_due(account.account_id)?, state)));
        let Some((due, state)) = dues.min_by_key(|(due, _)| *due).filter(|(due, _)| due.at <= until) else {
            return NextDue::Nothing;
        };
        let new_entries = state.decide_due(account, due);
        if new_entries.is_empty() { NextDue::NotLoaded } else { NextDue::Entries(due.at, new_entries) }
    }

    /// Asks the wanted states for accounts that commands may touch beyond those they name.
    pub(super) async fn related_accounts(
        &mut self,
        connection: &mut PgConnection,
        wanted: &BTreeSet<TypeId>,
        accounts: &[AccountId],
    ) -> Result<Vec<(AccountId, AccountId)>, sqlx::Error> {
        let mut related = Vec::new();
        for state in self.0.iter_mut().filter(|state| is_wanted(Some(wanted), state.as_ref())) {
            related.extend(state.related_accounts(connection, accounts).await?);
        }
        Ok(related)
    }

    /// Loads the wanted states, or all.
    pub(super) async fn load(
        &mut self,
        connection: &mut PgConnection,
        wanted: Option<&BTreeSet<TypeId>>,
        scope: &Scope,
    ) -> Result<(), sqlx::Error> {
        for place in 0..self.0.len() {
            let (earlier, rest) = self.0.split_at_mut(place);
            if let Some(state) = rest.first_mut()
                && is_wanted(wanted, state.as_ref())
            {
                state.load(connection, scope, Earlier(earlier)).await?;
            }
        }
        Ok(())
    }

    /// The states alone whose rows entries decide.
    #[must_use]
    pub fn into_projections(self) -> Self {
        Self(self.0.into_iter().filter(|state| state.projection().is_some()).collect())
    }

    /// Reads everything about accounts, as it is stored.
    ///
    /// # Errors
    /// If a statement fails, or a row cannot be understood.
    pub async fn load_whole(
        &mut self,
        connection: &mut PgConnection,
        accounts: &[AccountId],
    ) -> Result<(), sqlx::Error> {
        let scope = Scope { accounts: accounts.to_vec(), depth: Depth::Whole, ..Scope::default() };
        self.load(connection, None, &scope).await
    }

    /// An account's projected rows, state by state.
    pub fn rows(&self, account_id: AccountId) -> impl Iterator<Item = Box<dyn Iterator<Item = Row<'_>> + Send + '_>> {
        self.0.iter().filter_map(move |state| Some(state.projection()?.rows(account_id)))
    }

    /// Removes an account's projected rows from the database.
    ///
    /// # Errors
    /// If a statement fails.
    pub async fn delete_rows(&self, connection: &mut PgConnection, account_id: AccountId) -> Result<(), sqlx::Error> {
        for projection in self.0.iter().filter_map(|state| state.projection()) {
            projection.delete(connection, account_id).await?;
        }
        Ok(())
    }

    /// Writes what changed on every state.
    ///
    /// # Errors
    /// If a statement fails.
    pub async fn write(&mut self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        for state in &mut self.0 {
            state.write(connection).await?;
        }
        Ok(())
    }
}

/// Whether a state is among `wanted`, or all are.
fn is_wanted(wanted: Option<&BTreeSet<TypeId>>, state: &dyn State) -> bool {
    wanted.is_none_or(|wanted| wanted.contains(&(state as &dyn Any).type_id()))
}
