//! The dossier: who customers are, how to reach them, what matters to them.

pub(crate) mod commands;
pub(crate) mod erasure;
pub(crate) mod grpc;
pub(crate) mod model;
pub(crate) mod retention;
pub(crate) mod state;
mod store;
pub(crate) mod stored;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};
use sqlx::{PgConnection, PgPool};

use crate::book::{Account, Book, Entry, EntryRange, Writer, find_entries_in, read_head};
use crate::database::{Listed, StoreError, leave_out_unreadable};
use crate::error::{Defect, Error, Reason, Refusal};
use crate::ids::{AccountId, CustomerId, ProgramId};
use crate::paging::PageRequest;
use crate::programs::model::Which;
use crate::programs::model::program_not_found;
use crate::programs::read_version;
use erasure::commands::ToldErasure;
use model::{MarketingConsent, customer_not_found};
use state::{Customer, CustomerRow};
use store::consents;

pub(crate) use commands::{CreateCustomer, UpdateCustomer};
pub(crate) use erasure::commands::EraseCustomer;
pub use erasure::keys::ErasureKeys;
pub(crate) use retention::worker::{keep_erasing_of_inactive, retention_age};
pub(crate) use store::consents::ConsentPlace;
pub(crate) use store::{capability, erasures_capability};

/// The most consents in the history of one customer that an answer holds.
const MAX_HISTORY: i64 = 1_000;

/// Gives people what is known of them. A room above does, since it reads what all rooms keep.
#[async_trait]
pub(crate) trait CustomerExporter: Send + Sync {
    /// Records that somebody is given all that is known of a customer, and begins to read it.
    ///
    /// # Errors
    /// If the program or the customer is unknown, it cannot be recorded, or too many exports are running.
    async fn export_customer(
        &self,
        program_id: ProgramId,
        customer_id: CustomerId,
        writer: Writer,
    ) -> Result<CustomerExport, Error>;
}

/// An export of all that is known of a customer, which has begun.
pub(crate) struct CustomerExport {
    /// The instant of the document.
    pub as_of: Timestamp,
    /// The document in pieces, none of them empty. Dropping it ends the export.
    pub chunks: BoxStream<'static, Result<Vec<u8>, Error>>,
}

/// The use cases of customers.
#[derive(Clone)]
pub(crate) struct Customers {
    book: Book,
    pool: PgPool,
    /// Whether there is a key under which what is left of them is kept.
    can_erase: bool,
    exporter: Arc<dyn CustomerExporter>,
}

impl Customers {
    /// Customers written through `book` and read from `pool`. They can be erased where there is a key for it.
    #[must_use]
    pub(crate) fn new(book: Book, pool: PgPool, exporter: Arc<dyn CustomerExporter>, can_erase: bool) -> Self {
        Self { book, pool, can_erase, exporter }
    }

    /// Enrols a customer with a dossier. Says whether it is a repetition.
    ///
    /// # Errors
    /// If the program is unknown, the customer exists, or the key was used for something else.
    pub(crate) async fn create_customer(
        &self,
        create: CreateCustomer,
        writer: Writer,
    ) -> Result<(Customer, bool), Error> {
        let answer = create.clone();
        let written = self.book.submit(create, writer).await?;
        Ok((answer.into_customer(&written.entries)?, written.replayed))
    }

    /// Finds one customer by the business's own id.
    ///
    /// # Errors
    /// If the program or the customer is unknown.
    pub(crate) async fn get_customer(
        &self,
        program_id: &ProgramId,
        customer_id: &CustomerId,
    ) -> Result<Customer, Error> {
        let mut connection = self.pool.acquire().await?;
        let account_id = find_account(&mut connection, program_id, customer_id).await?;
        let row = read_dossier(&mut connection, account_id).await?;
        let row = row.ok_or_else(|| customer_not_found(customer_id))?;
        let consents = consents::read_current_consents(&mut connection, &[account_id]).await?;
        Ok(Customer { row, consents: consents.into_iter().map(|(_, consent)| consent).collect() })
    }

    /// The consents of a customer's account, those decided last first; no more than an answer may hold.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(crate) async fn list_consents(&self, account_id: AccountId) -> Result<Vec<MarketingConsent>, Error> {
        let mut connection = self.pool.acquire().await?;
        Ok(consents::read_consents_of(&mut connection, account_id, MAX_HISTORY).await?)
    }

    /// Changes parts of a dossier.
    ///
    /// # Errors
    /// If the customer is unknown, or the dossier changed since the etag was read.
    pub(crate) async fn update_customer(&self, update: UpdateCustomer, writer: Writer) -> Result<Customer, Error> {
        self.book.submit(update, writer).await?.take_told()
    }

    /// Erases a customer; one who was erased already is not erased again.
    ///
    /// # Errors
    /// If there is no key for it, the customer is unknown, points of theirs are held, or the idempotency key was used for
    /// something else.
    pub(crate) async fn erase_customer(&self, erase: EraseCustomer, writer: Writer) -> Result<ToldErasure, Error> {
        if !self.can_erase {
            let message = "the service has no key to erase customers with: configure --erasure-key-file";
            return Err(Refusal::new(Reason::ErasureKeyMissing, message).into());
        }
        self.book.submit(erase, writer).await?.take_told()
    }

    /// Begins to export all that is known of a customer.
    ///
    /// # Errors
    /// As [`CustomerExporter::export_customer`].
    pub(crate) async fn export_customer(
        &self,
        program_id: ProgramId,
        customer_id: CustomerId,
        writer: Writer,
    ) -> Result<CustomerExport, Error> {
        self.exporter.export_customer(program_id, customer_id, writer).await
    }

    /// A page of a program's customers.
    ///
    /// # Errors
    /// If the program is unknown.
    pub(crate) async fn list_customers(
        &self,
        program_id: &ProgramId,
        page: &PageRequest,
    ) -> Result<(Vec<Customer>, String), Error> {
        let after = page.after_with(|cursor| CustomerId::try_from(cursor).ok())?;
        let mut connection = self.pool.acquire().await?;
        let rows = store::list_customers(&mut connection, program_id, after.as_ref(), page.limit()).await?;
        if rows.is_empty() {
            let exists = read_version(&mut connection, program_id, Which::Latest).await?.is_some();
            if !exists {
                return Err(program_not_found(program_id).into());
            }
        }
        let bytes = |row: &Listed<CustomerRow>| row.bytes(CustomerRow::bytes);
        let (rows, next_page_token) = page.cut_by(rows, |row| row.cursor.clone(), bytes, None);
        let rows = leave_out_unreadable(rows);
        let accounts: Vec<AccountId> = rows.iter().map(|row| row.account_id).collect();
        let mut consents = BTreeMap::<AccountId, Vec<MarketingConsent>>::new();
        for (account_id, consent) in consents::read_current_consents(&mut connection, &accounts).await? {
            consents.entry(account_id).or_default().push(consent);
        }
        let customers = rows.into_iter().map(|row| {
            let consents = consents.remove(&row.account_id).unwrap_or_default();
            Customer { row, consents }
        });
        Ok((customers.collect(), next_page_token))
    }
}

/// The account of a customer, for reads.
///
/// # Errors
/// If the program or the customer is unknown.
pub(crate) async fn find_account(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    customer_id: &CustomerId,
) -> Result<AccountId, Error> {
    let account_id = store::find_account(connection, program_id, customer_id).await?;
    let account_id = account_id.ok_or_else(|| program_not_found(program_id))?;
    Ok(account_id.ok_or_else(|| customer_not_found(customer_id))?)
}

/// The head of a customer's account, and which entries it had by an instant; all that it has, if none is said.
///
/// # Errors
/// If the customer was unknown then.
pub(crate) async fn find_entries_by(
    snapshot: &mut PgConnection,
    (account_id, customer_id): (AccountId, &CustomerId),
    as_of: Option<Timestamp>,
) -> Result<(Account, EntryRange), Error> {
    let account = read_head(snapshot, account_id).await?;
    let account = account.ok_or_else(|| Defect::new(format!("account {} has no head", account_id.0)))?;
    let after = as_of.and_then(|as_of| as_of.saturating_add(SignedDuration::from_micros(1)).ok());
    let range = find_entries_in(snapshot, &account, None, after).await?;
    if range.last < range.first {
        return Err(customer_not_found(customer_id).into());
    }
    Ok((account, range))
}

/// The business's own names of accounts' customers; of those that have one.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn read_customer_ids(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<Vec<(AccountId, CustomerId)>, StoreError> {
    Ok(store::read_customer_ids(connection, accounts).await?)
}

/// An account's dossier; none if it has none.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn read_dossier(
    connection: &mut PgConnection,
    account_id: AccountId,
) -> Result<Option<CustomerRow>, StoreError> {
    Ok(store::read_customers(connection, &[account_id]).await?.pop())
}

/// Consents of an account in the order in which they were recorded, behind a place; at most `limit`.
///
/// # Errors
/// If the database cannot be read, or one cannot be understood.
pub(crate) async fn read_recorded_consents(
    connection: &mut PgConnection,
    account_id: AccountId,
    after: ConsentPlace,
    limit: i64,
) -> Result<Vec<(ConsentPlace, MarketingConsent)>, StoreError> {
    consents::read_recorded_consents(connection, account_id, after, limit).await
}

impl CreateCustomer {
    /// The customer as this command made them, from its entries.
    fn into_customer(self, entries: &[Entry]) -> Result<Customer, Error> {
        let first = entries
            .first()
            .ok_or_else(|| Error::Internal(format!("program {}: an enrolment wrote no entry", self.program_id)))?;
        let row = CustomerRow {
            account_id: first.id.account_id,
            program_id: self.program_id,
            customer_id: self.customer_id,
            dossier: self.dossier,
            stored: serde_json::Value::Null,
            revision: 1,
            created_at: first.effective_at,
            updated_at: first.effective_at,
        };
        Ok(Customer { row, consents: self.consents })
    }
}
