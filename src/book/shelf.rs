//! What a capability contributes to the book: the rows it keeps about accounts, loaded by need, changed by entries.

use std::any::{Any, TypeId};
use std::collections::BTreeSet;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use sqlx::PgConnection;

use super::account::Account;
use super::command::{Defect, Post};
use super::entry::Entry;
use crate::ids::{AccountId, ProgramId};

/// What a batch is about: all of it is loaded in one statement.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The locked accounts that have entries already, sorted.
    pub accounts: Vec<AccountId>,
    /// The programs that the batch's commands belong to, sorted.
    pub programs: Vec<ProgramId>,
}

/// One capability's rows in a batch.
///
/// A projection on a shelf is a function of its own account's entries alone, so that accounts can be rebuilt one at a
/// time. A shelf that no command of the batch asks for is neither loaded nor written.
pub trait Shelf: Any + Send + Sync {
    /// Accounts that commands on `accounts` may touch beyond them, in pairs; asked before locks are taken, so the
    /// answer may be out of date by the time it is used.
    fn reach<'a>(
        &'a self,
        _connection: &'a mut PgConnection,
        _accounts: &'a [AccountId],
    ) -> BoxFuture<'a, Result<Vec<(AccountId, AccountId)>, sqlx::Error>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Reads what is stored about the scope, in a statement of its own after the locks.
    fn load<'a>(
        &'a mut self,
        connection: &'a mut PgConnection,
        scope: &'a Scope,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>>;

    /// Takes one entry into the rows; the same when writing, when folding and when rebuilding.
    ///
    /// # Errors
    /// [`Defect`] if the entry contradicts what the rows say.
    fn apply(&mut self, entry: &Entry) -> Result<(), Defect>;

    /// When time alone will next do something to the account, by this shelf's rows.
    fn next_due(&self, _account_id: AccountId) -> Option<Timestamp> {
        None
    }

    /// What falls due on the account at the instant that [`next_due`](Self::next_due) told.
    fn settle(&self, _account: &Account) -> Option<Post> {
        None
    }

    /// Writes every changed row, in one statement for each table.
    fn write<'a>(&'a mut self, connection: &'a mut PgConnection) -> BoxFuture<'a, Result<(), sqlx::Error>>;
}

/// Every shelf of the house, empty or loaded.
pub struct Shelves(Vec<Box<dyn Shelf>>);

impl Shelves {
    /// Puts the shelves together.
    #[must_use]
    pub fn new(shelves: Vec<Box<dyn Shelf>>) -> Self {
        Self(shelves)
    }

    /// One capability's shelf, to read.
    ///
    /// # Errors
    /// [`Defect`] if the house has none of this type.
    pub fn get<S: Shelf>(&self) -> Result<&S, Defect> {
        self.0
            .iter()
            .find_map(|shelf| (shelf.as_ref() as &dyn Any).downcast_ref())
            .ok_or_else(|| Defect::new("a shelf is missing from the house"))
    }

    /// One capability's shelf, to add source rows to.
    ///
    /// # Errors
    /// [`Defect`] if the house has none of this type.
    pub fn get_mut<S: Shelf>(&mut self) -> Result<&mut S, Defect> {
        self.0
            .iter_mut()
            .find_map(|shelf| (shelf.as_mut() as &mut dyn Any).downcast_mut())
            .ok_or_else(|| Defect::new("a shelf is missing from the house"))
    }

    /// Takes an entry into every shelf.
    ///
    /// # Errors
    /// [`Defect`] of the first shelf that cannot.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        self.0.iter_mut().try_for_each(|shelf| shelf.apply(entry))
    }

    /// The earliest due of an account.
    #[must_use]
    pub fn next_due(&self, account_id: AccountId) -> Option<Timestamp> {
        self.0.iter().filter_map(|shelf| shelf.next_due(account_id)).min()
    }

    /// What falls due first on the account, if it does by `until`; its instant comes with it.
    #[must_use]
    pub fn next_settlement(&self, account: &Account, until: Timestamp) -> Option<(Timestamp, Post)> {
        let due_shelves = self.0.iter().filter_map(|shelf| Some((shelf.next_due(account.account_id)?, shelf)));
        // The house's order decides between dues of one instant.
        let (due_at, shelf) = due_shelves.min_by_key(|(due_at, _)| *due_at).filter(|(due_at, _)| *due_at <= until)?;
        shelf.settle(account).map(|post| (due_at, post))
    }

    /// The shelves among `wanted`, or all.
    fn chosen<'a>(&'a mut self, wanted: Option<&'a BTreeSet<TypeId>>) -> impl Iterator<Item = &'a mut Box<dyn Shelf>> {
        self.0
            .iter_mut()
            .filter(move |shelf| wanted.is_none_or(|wanted| wanted.contains(&(shelf.as_ref() as &dyn Any).type_id())))
    }

    /// Asks the wanted shelves for accounts that commands may touch beyond those they name.
    pub(super) async fn reach(
        &mut self,
        connection: &mut PgConnection,
        wanted: &BTreeSet<TypeId>,
        accounts: &[AccountId],
    ) -> Result<Vec<(AccountId, AccountId)>, sqlx::Error> {
        let mut reached = Vec::new();
        for shelf in self.chosen(Some(wanted)) {
            reached.extend(shelf.reach(connection, accounts).await?);
        }
        Ok(reached)
    }

    /// Loads the wanted shelves, or all.
    pub(super) async fn load(
        &mut self,
        connection: &mut PgConnection,
        wanted: Option<&BTreeSet<TypeId>>,
        scope: &Scope,
    ) -> Result<(), sqlx::Error> {
        for shelf in self.chosen(wanted) {
            shelf.load(connection, scope).await?;
        }
        Ok(())
    }

    /// Writes what changed on every shelf.
    ///
    /// # Errors
    /// If a statement fails.
    pub async fn write(&mut self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        for shelf in &mut self.0 {
            shelf.write(connection).await?;
        }
        Ok(())
    }
}
