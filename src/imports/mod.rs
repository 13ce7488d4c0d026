//! Imports: what customers bring along from the loyalty system that Goldbook replaces. An opening is a lot or a tier,
//! so the room stands above points and tiers.

mod commands;
pub(crate) mod grpc;

use futures_util::future::BoxFuture;

use crate::book::{Book, Detail, Entry, Pocket, PointsDetail, TierDetail, Writer, Written};
use crate::error::Error;
use crate::ids::ProgramId;

pub(crate) use commands::{ImportBalance, Opening};

/// The use cases of imports.
#[derive(Clone)]
pub(crate) struct Imports {
    book: Book,
}

/// An opening that is in the book, as its entries tell it.
#[derive(Clone, Debug)]
pub(crate) struct Imported {
    /// The entry of the opening itself.
    pub entry: Entry,
    /// How many of its points paid a debt at once.
    pub repaid: i64,
    /// Whether this was a repetition.
    pub replayed: bool,
}

impl Imports {
    /// Imports written through `book`.
    #[must_use]
    pub(crate) const fn new(book: Book) -> Self {
        Self { book }
    }

    /// Queues one opening of a stream; the future is its outcome.
    ///
    /// # Errors
    /// If the book is closing.
    pub(crate) async fn enqueue_balance(
        &self,
        import: ImportBalance,
        writer: Writer,
    ) -> Result<BoxFuture<'static, Result<Imported, Error>>, Error> {
        let program_id = import.program_id.clone();
        self.book.enqueue(import, writer, move |outcome| into_imported(outcome, &program_id)).await
    }
}

fn into_imported(outcome: Result<Written, Error>, program_id: &ProgramId) -> Result<Imported, Error> {
    let Written { entries, replayed, .. } = outcome?;
    let paid = entries.iter().filter_map(|entry| entry.movement).filter(|movement| movement.to == Pocket::Owed);
    let repaid = paid.map(|movement| movement.points).sum();
    let is_opening = |entry: &Entry| {
        matches!(
            entry.detail,
            Detail::Points(PointsDetail::PointsImported { .. }) | Detail::Tier(TierDetail::TierImported { .. })
        )
    };
    let entry = entries.into_iter().find(is_opening);
    let entry =
        entry.ok_or_else(|| Error::Internal(format!("program {program_id}: an import wrote no entry of its own")))?;
    Ok(Imported { entry, repaid, replayed })
}
