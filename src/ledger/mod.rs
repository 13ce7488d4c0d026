//! Reading the book: its entries, as they were written.

mod export;
pub mod grpc;
pub mod statement;
pub mod store;

use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;

use crate::book::{Capabilities, Instants, find_entries_in, read_head};
use crate::customers::find_account;
use crate::customers::model::customer_not_found;
use crate::customers::read_customer_ids;
use crate::error::{Error, Reason, Refusal};
use crate::ids::{CustomerId, EntryId, ProgramId};
use crate::paging::{PageRequest, WINDOW};
use crate::programs::model::program_not_found;
use crate::programs::read_version;
pub use export::Export;
use export::Exports;
use store::{EntryFilter, HashedEntry, OwnedEntry, TimeRange};

/// The use cases of the ledger.
#[derive(Clone)]
pub struct Ledger {
    pool: PgPool,
    instants: Instants,
    capabilities: Capabilities,
    exports: Exports,
}

impl Ledger {
    /// The ledger read from `pool`; exports make connections of their own to `database`, and end within `export_limit`.
    #[must_use]
    pub fn new(
        pool: PgPool,
        database: &PgConnectOptions,
        export_limit: Duration,
        instants: Instants,
        capabilities: Capabilities,
    ) -> Self {
        let exports = Exports::new(database, export_limit, instants.clone());
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
    ) -> Result<(Vec<HashedEntry>, String), Error> {
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
        let cursor = |(entry, _): &HashedEntry| entry.id.account_seq.to_string();
        Ok(page.cut_by(entries, cursor, |(entry, _)| entry.bytes(), is_part.then(|| end.to_string())))
    }

    /// One entry and its customer. There is no customer for the program's own account, nor for one who was forgotten.
    ///
    /// # Errors
    /// If the program or the entry is unknown.
    pub async fn get_entry(&self, program_id: &ProgramId, entry_id: EntryId) -> Result<OwnedEntry, Error> {
        let mut connection = self.pool.acquire().await?;
        let Some(entry) = store::read_entry(&mut connection, program_id, entry_id).await? else {
            let version = read_version(&mut connection, program_id, None).await?;
            version.ok_or_else(|| program_not_found(program_id))?;
            let refusal = Refusal::new(Reason::EntryNotFound, format!("there is no entry {entry_id}"));
            return Err(refusal.with("entry_id", entry_id).into());
        };
        let customer = read_customer_ids(&mut connection, &[entry_id.account_id]).await?.pop();
        Ok((entry, customer.map(|(_, customer_id)| customer_id)))
    }

    /// Begins to export the entries of a program that took effect in a period, behind the one that another export came to.
    ///
    /// # Errors
    /// If the program is unknown, or too many exports are running.
    pub async fn export_entries(
        &self,
        program_id: ProgramId,
        range: TimeRange,
        after: Option<EntryId>,
    ) -> Result<Export, Error> {
        self.exports.begin(program_id, range, after).await
    }
}
