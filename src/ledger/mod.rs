//! Reading the book: its entries, as they were written.

pub mod actions;
mod commands;
mod export;
pub mod grpc;
pub mod statement;
pub mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{PgConnection, PgPool};

use crate::access::key::KeyChangesWanted;
use crate::access::{list_key_changes, read_principals, wait_for_key_changes};
use crate::book::{Book, Capabilities, EntryRow, Instants, StoredEntry, Writer, find_entries_in, read_head};
use crate::customers::find_account;
use crate::customers::model::customer_not_found;
use crate::customers::read_customer_ids;
use crate::database::StoreError;
use crate::error::{Error, Reason, Refusal};
use crate::ids::{AccountId, CustomerId, EntryId, PrincipalId, ProgramId};
use crate::paging::{PageRequest, WINDOW};
use crate::programs::model::Which;
use crate::programs::model::program_not_found;
use crate::programs::read_version;
use actions::{ActionFilter, ActionPlace, KeptAction, PrivilegedAction, WrittenAction, merge};
pub use export::Export;
use export::Exports;
use store::{EntryFilter, OwnedEntry, TimeRange};

/// All rows of the command that wrote an entry, as they are stored, on whatever accounts; none if there is no such entry.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn read_command_of(
    connection: &mut PgConnection,
    entry_id: EntryId,
) -> Result<Vec<EntryRow>, StoreError> {
    store::command::read_command_of(connection, entry_id).await
}

/// The use cases of the ledger.
#[derive(Clone)]
pub struct Ledger {
    pool: PgPool,
    instants: Instants,
    capabilities: Capabilities,
    exports: Exports,
}

impl Ledger {
    /// The ledger read from `pool`; exports make connections of their own to `database`, end within `export_limit`, and are
    /// recorded through `book`.
    #[must_use]
    pub fn new(
        book: Book,
        pool: PgPool,
        database: &PgConnectOptions,
        export_limit: Duration,
        instants: Instants,
        capabilities: Capabilities,
    ) -> Self {
        let exports = Exports::new(database, export_limit, instants.clone(), book);
        Self { pool, instants, capabilities, exports }
    }

    /// A page of a customer's entries, in the order of the account.
    ///
    /// # Errors
    /// If the program or the customer is unknown, or the page token is bad.
    pub async fn list_entries(
        &self,
        program_id: &ProgramId,
        customer_id: &CustomerId,
        filter: &EntryFilter,
        page: &PageRequest,
    ) -> Result<(Vec<StoredEntry>, String), Error> {
        let after = page.after_number()?;
        if filter.until.is_some() {
            self.instants.close_up_to(filter.until).await?;
        }
        let mut connection = self.pool.acquire().await?;
        let account_id = find_account(&mut connection, program_id, customer_id).await?;
        let account = read_head(&mut connection, account_id).await?;
        let account = account.ok_or_else(|| customer_not_found(customer_id))?;
        let within = find_entries_in(&mut connection, &account, filter.from, filter.until).await?;
        // Entries of some kinds may be far apart: a page looks at no more than so many, and may be short.
        let most = if filter.kinds.is_empty() { account.head } else { WINDOW };
        let (range, is_part) = filter.look_at(within, after, most);
        let entries = store::list_entries(&mut connection, account_id, filter, range, page.limit()).await?;
        let end = if filter.newest_first { range.first } else { range.last };
        let cursor = |entry: &StoredEntry| entry.id.account_seq.to_string();
        Ok(page.cut_by(entries, cursor, StoredEntry::bytes, is_part.then(|| end.to_string())))
    }

    /// One entry and its customer. There is no customer for an account of the program, nor for one who was forgotten.
    ///
    /// # Errors
    /// If the program or the entry is unknown.
    pub async fn get_entry(&self, program_id: &ProgramId, entry_id: EntryId) -> Result<OwnedEntry, Error> {
        let mut connection = self.pool.acquire().await?;
        let Some(entry) = store::read_entry(&mut connection, program_id, entry_id).await? else {
            let version = read_version(&mut connection, program_id, Which::Latest).await?;
            version.ok_or_else(|| program_not_found(program_id))?;
            let refusal = Refusal::new(Reason::EntryNotFound, format!("there is no entry {entry_id}"));
            return Err(refusal.with("entry_id", entry_id).into());
        };
        let customer = read_customer_ids(&mut connection, &[entry_id.account_id]).await?.pop();
        Ok((entry, customer.map(|(_, customer_id)| customer_id)))
    }

    /// Begins to export the entries of a program that took effect in a period, behind the one that another export came to.
    /// That it was begun is on the book then.
    ///
    /// # Errors
    /// If the program is unknown, too many exports are running, or it cannot be recorded.
    pub async fn export_entries(
        &self,
        program_id: ProgramId,
        range: TimeRange,
        after: Option<EntryId>,
        writer: Writer,
    ) -> Result<Export, Error> {
        self.exports.begin(program_id, range, after, writer).await
    }

    /// A page of what callers did in a program that auditors look at, the newest first.
    ///
    /// # Errors
    /// If the program is unknown, or the page token is bad.
    pub async fn list_privileged_actions(
        &self,
        program_id: &ProgramId,
        filter: &ActionFilter,
        page: &PageRequest,
    ) -> Result<(Vec<PrivilegedAction>, String), Error> {
        let before = match page.after_with(ActionPlace::parse)? {
            Some(place) => place,
            None => self.begin_actions(filter).await?,
        };
        let mut connection = self.pool.acquire().await?;
        let written = store::actions::list_actions(&mut connection, program_id, filter, before, page.limit()).await?;
        if written.is_empty() {
            let version = read_version(&mut connection, program_id, Which::Latest).await?;
            version.ok_or_else(|| program_not_found(program_id))?;
        }
        let kinds = filter.key_changes();
        let on_keys = if kinds.is_empty() {
            Vec::new()
        } else {
            let before = (before.at, before.id, before.number);
            let wanted = KeyChangesWanted { program_id, kinds: &kinds, from: filter.from, before };
            list_key_changes(&mut connection, wanted, page.limit()).await?
        };
        let actions = describe(&mut connection, merge(written, on_keys, page.limit())).await?;
        let cursor = |action: &PrivilegedAction| action.kept.place().to_string();
        Ok(page.cut_by(actions, cursor, PrivilegedAction::bytes, None))
    }

    /// Where a list of actions begins: before all that has not happened yet. Whatever says that it was done by then can be
    /// seen then, so no page misses what was committed late.
    async fn begin_actions(&self, filter: &ActionFilter) -> Result<ActionPlace, Error> {
        let now = self.instants.close_up_to(filter.until).await?;
        if !filter.key_changes().is_empty() {
            let mut connection = self.pool.acquire().await?;
            wait_for_key_changes(&mut connection, now).await?;
        }
        // What happened at this very instant is in the list.
        let after_now = now.saturating_add(jiff::SignedDuration::from_micros(1)).unwrap_or(now);
        Ok(ActionPlace::before(filter.until.map_or(after_now, |until| until.min(after_now))))
    }
}

/// Adds to actions what is stored beside them: whose accounts they are, and who did them.
async fn describe(connection: &mut PgConnection, kept: Vec<KeptAction>) -> Result<Vec<PrivilegedAction>, Error> {
    let written = |action: &KeptAction| match action {
        KeptAction::Written(written) => Some(*written),
        KeptAction::OnKey(_) => None,
    };
    let accounts: BTreeSet<AccountId> = kept.iter().filter_map(written).map(|it| it.entry_id.account_id).collect();
    let accounts: Vec<AccountId> = accounts.into_iter().collect();
    let customers: BTreeMap<AccountId, CustomerId> =
        read_customer_ids(connection, &accounts).await?.into_iter().collect();
    let ids: BTreeSet<PrincipalId> = kept.iter().filter_map(written).map(|it| it.principal_id).collect();
    let ids: Vec<PrincipalId> = ids.into_iter().collect();
    let principals = read_principals(connection, &ids).await?;
    let with_names = |kept: KeptAction| match written(&kept) {
        Some(WrittenAction { entry_id, principal_id, .. }) => PrivilegedAction {
            customer_id: customers.get(&entry_id.account_id).cloned(),
            principal: principals.get(&principal_id).cloned(),
            kept,
        },
        None => PrivilegedAction { kept, customer_id: None, principal: None },
    };
    Ok(kept.into_iter().map(with_names).collect())
}
