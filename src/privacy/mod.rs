//! What people can have of what is known of them: all of one customer, as one document.
//!
//! The room reads what every other room keeps of a customer, and so stands above them. It is served as a part of
//! `CustomerService`, which knows it by a trait.

mod commands;
mod document;
mod reading;
mod store;
mod text;

use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::PgConnectOptions;

use crate::book::{Book, Instants, Writer};
use crate::customers::model::customer_not_found;
use crate::customers::{CustomerExport, CustomerExporter, read_dossier};
use crate::database::{ExportBounds, ExportPlaces, by_key};
use crate::error::Error;
use crate::ids::{CustomerId, ProgramId};
use commands::RecordExport;
use reading::{CustomerReader, Subject};

/// How long an export may take in all, where exports of the ledger may take longer.
const LIMIT: Duration = Duration::from_secs(600);

/// Exports of all that is known of a customer.
#[derive(Clone)]
pub(crate) struct CustomerExports {
    book: Book,
    places: ExportPlaces,
    instants: Instants,
}

impl CustomerExports {
    /// Exports recorded through `book`. They make connections of their own to `database`, and end within `limit`.
    #[must_use]
    pub(crate) fn new(book: Book, database: &PgConnectOptions, limit: Duration, instants: Instants) -> Self {
        let bounds = ExportBounds {
            at_a_time: 4,
            of_one: 2,
            items_ahead: 4,
            stall_limit: Duration::from_secs(60),
            limit: limit.min(LIMIT),
            advice: "begin anew",
        };
        let database = by_key(database).options([("client_connection_check_interval", "1s")]);
        Self { book, places: ExportPlaces::new(database, bounds), instants }
    }
}

#[async_trait]
impl CustomerExporter for CustomerExports {
    async fn export_customer(
        &self,
        program_id: ProgramId,
        customer_id: CustomerId,
        writer: Writer,
    ) -> Result<CustomerExport, Error> {
        // Before anything is written: who finds no place has been given nothing.
        let mut place = self.places.take(writer.principal_id).await?;
        let record = RecordExport { program_id: program_id.clone(), customer_id: customer_id.clone() };
        let written = self.book.submit(record, writer).await?;
        let recorded = written.entries.first();
        let recorded = recorded.ok_or_else(|| Error::Internal("an export of a customer wrote no entry".to_owned()))?;
        let (account_id, as_of) = (recorded.id.account_id, recorded.effective_at);
        // The command wrote what time had done to the account by then. Of what stands on the accounts of others, such as
        // the state of a referral, all is there once the instant is closed.
        self.instants.close_up_to(Some(as_of)).await?;
        place.begin_snapshot().await?;
        // This first statement takes the snapshot. The customer may have been erased in between.
        let dossier = read_dossier(&mut place.connection, account_id).await?;
        let dossier = dossier.ok_or_else(|| customer_not_found(&customer_id))?;
        let subject = Subject { program_id, customer_id, account_id, as_of };
        Ok(CustomerExport { as_of, chunks: place.start(CustomerReader { subject, dossier }) })
    }
}
