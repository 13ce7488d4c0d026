//! What a capability contributes to the book: its state, the store of that state, and its tables.

use std::any::TypeId;
use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::PgConnection;

use super::state::{Depth, Scope, State, States};
use super::store::projections;
use super::table::Table;
use crate::database::{ReadPart, StoreError, WritePart, read_parts, write_parts};
use crate::ids::AccountId;

/// The stored part of a capability: it reads rows into the capability's [`State`], and writes those that changed.
#[async_trait]
pub trait Store: Send + Sync {
    /// Whether commands that ask for the state may touch accounts beyond those that they name: those that the view
    /// `related_accounts` tells.
    fn has_related(&self) -> bool {
        false
    }

    /// The states that are read where this one is loaded. They are loaded before it, and wherever it is.
    fn reads(&self) -> Vec<TypeId> {
        Vec::new()
    }

    /// What is read of the scope's accounts before anything of this state is known; it is not asked without accounts. It
    /// goes to the database together with that of others, in a statement that begins after the locks are held.
    ///
    /// # Errors
    /// [`Defect`](crate::error::Defect) if a state that it looks at is not there.
    fn read_parts(&self, _states: &States, _scope: &Scope) -> Result<Vec<ReadPart<States>>, StoreError> {
        Ok(Vec::new())
    }

    /// Reads the rest: what depends on what was read already.
    async fn load(
        &self,
        _states: &mut States,
        _scope: &Scope,
        _connection: &mut PgConnection,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    /// What is written: a part for each table. They go to the database together with those of others.
    ///
    /// # Errors
    /// If a row cannot be written down.
    fn write_parts(&self, _states: &States) -> Result<Vec<WritePart>, StoreError> {
        Ok(Vec::new())
    }
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

    /// Whether commands that ask for one of these states may touch accounts beyond those that they name.
    pub(super) fn have_related(&self, wanted: &[TypeId]) -> bool {
        self.0.iter().any(|capability| wanted.contains(&capability.state) && capability.store.has_related())
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
        let scope_of = |capability: &Capability| {
            let dues = || due.contains(&capability.state).then_some(&scope_of_dues);
            wanted.contains(&capability.state).then_some(scope).or_else(dues)
        };
        let loaded: Vec<_> = self.0.iter().filter_map(|it| Some((it, scope_of(it)?))).collect();
        load_each(&loaded, states, connection).await
    }

    /// Loads every state.
    pub(super) async fn load_all(
        &self,
        states: &mut States,
        scope: &Scope,
        connection: &mut PgConnection,
    ) -> Result<(), StoreError> {
        let contained = self.0.iter().filter(|capability| states.contain(capability.state));
        let loaded: Vec<_> = contained.map(|capability| (capability, scope)).collect();
        load_each(&loaded, states, connection).await
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

    /// The same, with parts of the book's own in the statement, which the trace shows by its summary.
    pub(super) async fn write_with(
        &self,
        summary: &'static str,
        mut parts: Vec<WritePart>,
        states: &States,
        connection: &mut PgConnection,
    ) -> Result<(), StoreError> {
        for capability in self.0.iter().filter(|capability| states.contain(capability.state)) {
            parts.extend(capability.store.write_parts(states)?);
        }
        Ok(write_parts(connection, summary, parts).await?)
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

/// Loads states, each by its scope: what is read first, in as few statements as can be.
async fn load_each(
    capabilities: &[(&Capability, &Scope)],
    states: &mut States,
    connection: &mut PgConnection,
) -> Result<(), StoreError> {
    let mut rest = capabilities;
    while !rest.is_empty() {
        let (together, later) = rest.split_at(count_independent(rest));
        let mut parts = Vec::new();
        for (capability, scope) in together.iter().filter(|(_, scope)| !scope.accounts.is_empty()) {
            parts.extend(capability.store.read_parts(states, scope)?);
        }
        read_parts(connection, parts, states).await?;
        for (capability, scope) in together {
            capability.store.load(states, scope, connection).await?;
            states.note_loaded(capability.state);
        }
        rest = later;
    }
    Ok(())
}

/// How many of the first capabilities read nothing that another of them loads: at least one.
fn count_independent(capabilities: &[(&Capability, &Scope)]) -> usize {
    let mut states = BTreeSet::new();
    let is_independent = |(capability, _): &&(&Capability, &Scope)| {
        let reads = capability.store.reads();
        states.insert(capability.state);
        !reads.iter().any(|state| states.contains(state))
    };
    capabilities.iter().take_while(is_independent).count().max(1)
}
