//! Reading the book: its entries, as they were written.

pub mod grpc;
pub mod store;

use sqlx::PgPool;

use crate::customers::find_account;
use crate::customers::store::read_customers;
use crate::error::{Error, Reason, Refusal};
use crate::ids::{CustomerId, EntryId, ProgramId};
use crate::paging::PageRequest;
use crate::programs::program_not_found;
use crate::programs::store::read_version;
use store::{EntryFilter, SealedEntry};

/// The use cases of the ledger.
#[derive(Clone)]
pub struct Ledger {
    pool: PgPool,
}

impl Ledger {
    /// The ledger read from `pool`.
    #[must_use]
    pub const fn new(pool: PgPool) -> Self {
        Self { pool }
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
    ) -> Result<(Vec<SealedEntry>, String), Error> {
        let after = page.after_number()?;
        let mut connection = self.pool.acquire().await?;
        let account_id = find_account(&mut connection, program_id, customer_id).await?;
        let entries = store::list_entries(&mut connection, account_id, filter, after, page.limit()).await?;
        Ok(page.cut(entries, |(entry, _)| entry.id.account_seq.to_string()))
    }

    /// One entry, and the customer it belongs to: none for the program's own account, or one who was forgotten.
    ///
    /// # Errors
    /// If the program or the entry is unknown.
    pub async fn get_entry(
        &self,
        program_id: &ProgramId,
        entry_id: EntryId,
    ) -> Result<(SealedEntry, Option<CustomerId>), Error> {
        let mut connection = self.pool.acquire().await?;
        let Some(entry) = store::read_entry(&mut connection, program_id, entry_id).await? else {
            let version = read_version(&mut connection, program_id, None).await?;
            version.ok_or_else(|| program_not_found(program_id))?;
            let refusal = Refusal::new(Reason::EntryNotFound, format!("there is no entry {entry_id}"));
            return Err(refusal.with("entry_id", entry_id).into());
        };
        let customer = read_customers(&mut connection, &[entry_id.account_id]).await?.pop();
        Ok((entry, customer.map(|row| row.customer_id)))
    }
}
