//! Activities: what customers did, as the business reports it. A purchase can earn, lift a tier and convert a referral,
//! so the room stands on top of the others.

pub(crate) mod commands;
pub(crate) mod grpc;
pub(crate) mod model;
pub(crate) mod state;
mod store;

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use sqlx::{PgConnection, PgPool};

use crate::book::{Book, Detail, Entry, EntryRange, Writer, Written};
use crate::customers::find_account;
use crate::database::StoreError;
use crate::error::{Defect, Error};
use crate::ids::{AccountId, CustomerId, ProgramId};
use crate::money::Currency;
use crate::paging::PageRequest;
use crate::programs::read_currency;
use crate::satisfaction::read_feedback;
use crate::satisfaction::state::Feedback;
use state::{ActivityRow, Deed};

pub(crate) use commands::RecordActivity;
pub(crate) use store::capability;

/// The use cases of activities.
#[derive(Clone)]
pub(crate) struct Activities {
    book: Book,
    pool: PgPool,
}

/// An accepted activity with what it brought about, as its entries tell it.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    /// The entry that accepted it.
    pub accepted: Entry,
    /// Everything that its command wrote on the customer's account, in order.
    pub entries: Vec<Entry>,
    /// Whether this was a repetition.
    pub replayed: bool,
}

impl Activities {
    /// Activities written through `book` and read from `pool`.
    #[must_use]
    pub(crate) const fn new(book: Book, pool: PgPool) -> Self {
        Self { book, pool }
    }

    /// Accepts an activity, with everything that follows from it.
    ///
    /// # Errors
    /// Every refusal that `activities.proto` lists.
    pub(crate) async fn record_activity(&self, record: RecordActivity, writer: Writer) -> Result<Recorded, Error> {
        let program_id = record.program_id.clone();
        into_recorded(self.book.submit(record, writer).await, &program_id)
    }

    /// Queues one activity of a stream; the future is its outcome.
    ///
    /// # Errors
    /// If the book is closing.
    pub(crate) async fn enqueue_activity(
        &self,
        record: RecordActivity,
        writer: Writer,
    ) -> Result<BoxFuture<'static, Result<Recorded, Error>>, Error> {
        let program_id = record.program_id.clone();
        self.book.enqueue(record, writer, move |outcome| into_recorded(outcome, &program_id)).await
    }

    /// A page of a customer's activities, the newest accepted first, with the currency they are counted in.
    ///
    /// # Errors
    /// If the program or the customer is unknown, or the page token is bad.
    pub(crate) async fn list_activities(
        &self,
        program_id: &ProgramId,
        customer_id: &CustomerId,
        page: &PageRequest,
    ) -> Result<(Currency, Vec<ActivityRow>, String), Error> {
        let before = page.after_number()?;
        let mut connection = self.pool.acquire().await?;
        let account_id = find_account(&mut connection, program_id, customer_id).await?;
        let currency = read_currency(&mut connection, program_id).await?;
        let rows = read_activities(&mut connection, account_id, before.unwrap_or(i64::MAX), page.limit()).await?;
        let cursor = |row: &ActivityRow| row.entry_id.account_seq.to_string();
        let (rows, next_page_token) = page.cut_by(rows, cursor, bytes, None);
        Ok((currency, rows, next_page_token))
    }
}

/// About how many bytes an activity takes in a page.
fn bytes(row: &ActivityRow) -> usize {
    match &row.what {
        Deed::Purchase { .. } | Deed::Refund { .. } => 300,
        Deed::Feedback { answers, text, .. } => 600 + 80 * answers.factors.len() + text.len(),
    }
}

/// The activities that an account accepted before one of its numbers, the newest first; at most `limit`.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn read_activities(
    connection: &mut PgConnection,
    account_id: AccountId,
    before: i64,
    limit: i64,
) -> Result<Vec<ActivityRow>, StoreError> {
    let mut rows = store::list_activities(connection, account_id, before, limit).await?;
    let said = |row: &ActivityRow| matches!(row.what, Deed::Feedback { .. }).then_some(row.entry_id.account_seq);
    let (last, first) = (rows.iter().find_map(said), rows.iter().rev().find_map(said));
    let Some((first, last)) = first.zip(last) else { return Ok(rows) };
    // All that was said in between is on this page.
    let feedback = read_feedback(connection, account_id, EntryRange { first, last }, limit).await?;
    let mut feedback: BTreeMap<i64, Feedback> = feedback.into_iter().collect();
    for row in &mut rows {
        if let Deed::Feedback { answers, .. } = &mut row.what {
            let found = feedback.remove(&row.entry_id.account_seq);
            let found = found.ok_or_else(|| Defect::new(format!("entry {}: its feedback is missing", row.entry_id)))?;
            **answers = found.answers;
        }
    }
    Ok(rows)
}

fn into_recorded(outcome: Result<Written, Error>, program_id: &ProgramId) -> Result<Recorded, Error> {
    let Written { entries, replayed, .. } = outcome?;
    let is_activity = |entry: &&Entry| matches!(entry.detail, Detail::Activity(_));
    let accepted = entries.iter().find(is_activity).cloned();
    let accepted = accepted
        .ok_or_else(|| Error::Internal(format!("program {program_id}: an activity wrote no entry of its own")))?;
    Ok(Recorded { accepted, entries, replayed })
}
