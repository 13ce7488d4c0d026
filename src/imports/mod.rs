//! Imports: what customers bring along from the loyalty system that Goldbook replaces. An opening is a lot or a tier,
//! so the room stands above points and tiers.

pub(crate) mod grpc;

use std::any::TypeId;

use futures_util::future::BoxFuture;

use crate::book::{
    Book, Command, CommandKey, Decision, DecisionError, Detail, Entry, Key, Name, NameUse, Pocket, PointsDetail,
    TierDetail, Written,
};
use crate::customers::{customer_not_found, enrol_by_name};
use crate::error::{Error, Reason};
use crate::ids::{CustomerId, IdempotencyKey, ProgramId};
use crate::points::grants::opening::OpeningLot;
use crate::points::state::PointsState;
use crate::programs::current_policy;
use crate::programs::state::ProgramsState;
use crate::tiers::model::{OpeningTier, import_tier};
use crate::tiers::state::StandingsState;

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
    ) -> Result<BoxFuture<'static, Result<Imported, Error>>, Error> {
        let program_id = import.program_id.clone();
        let outcome = self.book.enqueue(import).await?;
        Ok(Box::pin(async move { into_imported(outcome.await, &program_id) }))
    }
}

fn into_imported(outcome: Result<Written, Error>, program_id: &ProgramId) -> Result<Imported, Error> {
    let Written { entries, replayed } = outcome?;
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

/// What a customer brings along.
#[derive(Clone, Debug)]
pub(crate) enum Opening {
    /// Points, as a lot of their own.
    Lot(OpeningLot),
    /// A tier, with the spend that led to it.
    Tier(OpeningTier),
}

/// Takes over one opening. The fields are described in imports.proto.
#[derive(Clone, Debug)]
pub(crate) struct ImportBalance {
    pub program_id: ProgramId,
    pub customer_id: CustomerId,
    pub enrol: bool,
    pub opening: Opening,
    pub key: IdempotencyKey,
}

impl ImportBalance {
    fn name(&self) -> Name {
        Name::customer(&self.program_id, &self.customer_id)
    }
}

impl Command for ImportBalance {
    fn program_id(&self) -> &ProgramId {
        &self.program_id
    }

    fn names(&self) -> Vec<NameUse> {
        vec![if self.enrol { NameUse::FindOrOpen(self.name()) } else { NameUse::Find(self.name()) }]
    }

    fn key(&self) -> Option<CommandKey> {
        // The keys of imports have a space of their own. Another system may have used the same text for its lines as a
        // caller uses for a key.
        let (space, key) = ("import", self.key.as_str());
        let key = match &self.opening {
            Opening::Lot(lot) => Key::of_content(space, key, &("opening_lot", lot)),
            Opening::Tier(OpeningTier { tier_id, qualifying_spend }) => {
                let spend = qualifying_spend.map(|spend| (spend.currency.code(), spend.minor));
                Key::of_content(space, key, &("opening_tier", tier_id.as_str(), spend))
            }
        };
        Some(CommandKey { key, reused: Reason::IdempotencyKeyReused })
    }

    fn states(&self) -> Vec<TypeId> {
        let own = match self.opening {
            Opening::Lot(_) => TypeId::of::<PointsState>(),
            Opening::Tier(_) => TypeId::of::<StandingsState>(),
        };
        vec![TypeId::of::<ProgramsState>(), own]
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let policy = current_policy(decision, &self.program_id)?;
        let account = decision.find(&self.name())?.ok_or_else(|| customer_not_found(&self.customer_id))?;
        let account_id = account.account_id;
        if account.head == 0 {
            enrol_by_name(decision, &policy, account, &self.customer_id)?;
        }
        match &self.opening {
            Opening::Lot(lot) => {
                lot.open(decision, &policy, account_id)?;
            }
            Opening::Tier(tier) => {
                // The state does not have a customer who joins in this very command.
                let standing = decision.state::<StandingsState>()?.get(account_id);
                let new_entry = import_tier(&policy, standing, tier)?;
                decision.post(account_id, new_entry)?;
            }
        }
        Ok(())
    }
}
