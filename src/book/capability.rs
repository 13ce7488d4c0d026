//! What a capability contributes to the book: its state, the store of that state, and its tables.

use std::any::TypeId;
use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::PgConnection;

use super::state::{Depth, Scope, State, States};
use super::store::projections;
use super::table::Table;
use crate::database::{Part, StoreError, write_parts};
use crate::ids::AccountId;

/// The stored part of a capability: it reads rows into the capability's [`State`], and writes those that changed.
#[async_trait]
pub trait Store: Send + Sync {
    /// Finds accounts that commands on `accounts` may touch beyond them, in pairs. It is asked before locks are taken,
    /// so the answer may be out of date by the time it is used.
    async fn find_related(
        &self,
        _connection: &mut PgConnection,
        _accounts: &[AccountId],
    ) -> Result<Vec<(AccountId, AccountId)>, StoreError> {
        Ok(Vec::new())
    }

    /// The states that [`load`](Self::load) reads. They are loaded wherever this one is.
    fn reads(&self) -> Vec<TypeId> {
        Vec::new()
    }

    /// Reads what is stored about the scope, in statements that begin after the locks are held. The states of the
    /// capabilities that stand before this one are loaded already.
    async fn load(&self, states: &mut States, scope: &Scope, connection: &mut PgConnection) -> Result<(), StoreError>;

    /// What nearly every batch writes: always the same parts, whether they have rows or not. They go to the database
    /// together with those of others.
    ///
    /// # Errors
    /// If a row cannot be written down.
    fn parts(&self, _states: &States) -> Result<Vec<Part>, StoreError> {
        Ok(Vec::new())
    }

    /// Writes every other changed row, in one statement for each table.
    async fn write(&self, states: &States, connection: &mut PgConnection) -> Result<(), StoreError>;
}

/// One capability, as the book knows it.
pub struct Capability {
    state: TypeId,
    new_state: Box<dyn Fn() -> Box<dyn State> + Send + Sync>,
    has_dues: bool,
    store: Box<dyn Store>,
    tables: &'static [Table],
}

impl Capability {
    /// A capability whose states are made by `new_state`, empty, and are read and written by `store`.
    pub fn new<S: State>(
        new_state: impl Fn() -> S + Send + Sync + 'static,
        store: impl Store + 'static,
        tables: &'static [Table],
    ) -> Self {
        Self {
            state: TypeId::of::<S>(),
            has_dues: new_state().dues().is_some(),
            new_state: Box::new(move || Box::new(new_state())),
            store: Box::new(store),
            tables,
        }
    }

    fn has_projection(&self) -> bool {
        self.tables.iter().any(Table::is_projection)
    }
}

/// Every capability of the service, in the order in which states are loaded. The order also decides between dues of one
/// kind at one instant. Cheap to clone.
#[derive(Clone)]
pub struct Capabilities(Arc<[Capability]>);

impl Capabilities {
    /// Puts capabilities together, each one behind those whose states it reads when it is loaded.
    #[must_use]
    pub fn new(capabilities: Vec<Capability>) -> Self {
        Self(capabilities.into())
    }

    /// The empty states of all capabilities.
    #[must_use]
    pub fn new_states(&self) -> States {
        self.0.iter().map(|capability| (capability.new_state)()).collect()
    }

    /// The empty states of those capabilities that have rows which entries decide.
    #[must_use]
    pub fn new_projections(&self) -> States {
        let projections = self.0.iter().filter(|capability| capability.has_projection());
        projections.map(|capability| (capability.new_state)()).collect()
    }

    /// The tables of all capabilities.
    pub fn tables(&self) -> impl Iterator<Item = &'static Table> {
        self.0.iter().flat_map(|capability| capability.tables)
    }

    /// Asks the wanted capabilities for accounts that commands may touch beyond those they name.
    pub(super) async fn find_related(
        &self,
        connection: &mut PgConnection,
        wanted: &BTreeSet<TypeId>,
        accounts: &[AccountId],
    ) -> Result<Vec<(AccountId, AccountId)>, StoreError> {
        let mut related = Vec::new();
        for capability in self.0.iter().filter(|capability| wanted.contains(&capability.state)) {
            related.extend(capability.store.find_related(connection, accounts).await?);
        }
        Ok(related)
    }

    /// These states, and those that their stores read.
    fn with_those_read(&self, states: impl Fn(&Capability) -> bool) -> BTreeSet<TypeId> {
        let mut needed = BTreeSet::new();
        // Each stands behind those that it reads.
        for capability in self.0.iter().rev() {
            if states(capability) || needed.contains(&capability.state) {
                needed.insert(capability.state);
                needed.extend(capability.store.reads());
            }
        }
        needed
    }

    /// Loads the wanted states. The others are loaded as far as dues need them: of the accounts that are due, and only
    /// those that may have what is due.
    pub(super) async fn load_wanted(
        &self,
        states: &mut States,
        wanted: &BTreeSet<TypeId>,
        scope: &Scope,
        connection: &mut PgConnection,
    ) -> Result<(), StoreError> {
        let wanted = self.with_those_read(|capability| wanted.contains(&capability.state));
        let due = self.with_those_read(|capability| capability.has_dues && !scope.due.is_empty());
        let scope_of_dues = Scope { accounts: scope.due.clone(), ..scope.clone() };
        for capability in self.0.iter() {
            let scope = if wanted.contains(&capability.state) {
                scope
            } else if due.contains(&capability.state) {
                &scope_of_dues
            } else {
                continue;
            };
            capability.store.load(states, scope, connection).await?;
            states.note_loaded(capability.state);
        }
        Ok(())
    }

    /// Loads every state.
    pub(super) async fn load_all(
        &self,
        states: &mut States,
        scope: &Scope,
        connection: &mut PgConnection,
    ) -> Result<(), StoreError> {
        for capability in self.0.iter() {
            if states.contain(capability.state) {
                capability.store.load(states, scope, connection).await?;
                states.note_loaded(capability.state);
            }
        }
        Ok(())
    }

    /// Reads everything about accounts into states, as it is stored.
    ///
    /// # Errors
    /// If a statement fails, or a row cannot be understood.
    pub async fn load_whole(
        &self,
        states: &mut States,
        accounts: &[AccountId],
        connection: &mut PgConnection,
    ) -> Result<(), StoreError> {
        let scope = Scope { accounts: accounts.to_vec(), depth: Depth::Whole, ..Scope::default() };
        self.load_all(states, &scope, connection).await
    }

    /// Writes what changed in every state. An unloaded state can change only if an entry creates its rows.
    ///
    /// # Errors
    /// If a statement fails, or a row cannot be written down.
    pub async fn write(&self, states: &States, connection: &mut PgConnection) -> Result<(), StoreError> {
        self.write_with("INSERT", Vec::new(), states, connection).await
    }

    /// The same, with parts of the book's own in the first statement, which the trace shows by its summary.
    pub(super) async fn write_with(
        &self,
        summary: &'static str,
        mut parts: Vec<Part>,
        states: &States,
        connection: &mut PgConnection,
    ) -> Result<(), StoreError> {
        let own = || self.0.iter().filter(|capability| states.contain(capability.state));
        for capability in own() {
            parts.extend(capability.store.parts(states)?);
        }
        write_parts(connection, summary, parts).await?;
        for capability in own() {
            capability.store.write(states, connection).await?;
        }
        Ok(())
    }

    /// Removes an account's projected rows from the database. Needs the rights of the tables' owner.
    ///
    /// # Errors
    /// If a statement fails.
    pub async fn delete_rows(&self, account_id: AccountId, connection: &mut PgConnection) -> Result<(), StoreError> {
        for table in super::store::TABLES.iter().chain(self.tables()).filter(|table| table.is_projection()) {
            projections::delete_rows(connection, table, account_id).await?;
        }
        Ok(())
    }
}
