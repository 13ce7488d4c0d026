//! Carrying out orders to apply a version to every customer, in the background.

use std::time::Duration;

use sqlx::PgPool;

use super::commands::ReevaluateTier;
use super::state::{Order, Tally};
use super::store::{Page, PageEnd, count_page, lock_page};
use crate::book::{Book, Detail, Entry, TierDetail};
use crate::clock::Clock;
use crate::database::{StoreError, Traced as _};
use crate::error::{Defect, Error, Reason, with_causes};
use crate::ids::{AccountId, CustomerId, EntryId};
use crate::points::subject::Subject;
use crate::rounds::{Rounds, try_patiently};

/// How many customers are gone through together.
const PAGE: usize = 256;
/// Why a round left something undone.
#[derive(Debug, thiserror::Error)]
enum ReevaluationError {
    /// The orders or the customers could not be read.
    #[error(transparent)]
    Read(#[from] StoreError),
    /// An order is not understood.
    #[error(transparent)]
    Order(Defect),
    /// A customer could not be decided now.
    #[error(transparent)]
    Command(Error),
}

impl From<sqlx::Error> for ReevaluationError {
    fn from(error: sqlx::Error) -> Self {
        Self::Read(error.into())
    }
}

/// Carries out orders again and again, until it is dropped.
pub(crate) async fn keep_reevaluating(pool: PgPool, book: Book, clock: Clock, every: Duration) {
    let worker = Worker { pool, book, clock };
    let rounds = Rounds {
        worker: "reevaluation",
        fails: "tiers cannot be re-evaluated; trying on",
        is_well: "tiers are re-evaluated again",
    };
    let span = || tracing::info_span!(parent: None, "tiers.reevaluate");
    rounds.keep_going(span, || worker.carry_out_all(), |_| every).await;
}

/// What the work needs.
struct Worker {
    pool: PgPool,
    book: Book,
    clock: Clock,
}

/// What became of one customer.
enum Outcome {
    Decided(Option<Box<Entry>>),
    /// The customer was erased meanwhile.
    Gone,
    /// Another version came into force.
    Superseded,
    LeftOut,
    /// They cannot be decided at the moment.
    NotNow(Error),
}

impl Worker {
    /// Goes through pages until no order is open that nobody else is at. One that fails holds up no other, and waits for
    /// the next round.
    async fn carry_out_all(&self) -> Result<(), ReevaluationError> {
        let (mut failed, mut first) = (Vec::new(), None);
        while let Some((entry_id, outcome)) = self.carry_out_page(&failed).await? {
            if let Err(error) = outcome {
                failed.push(entry_id);
                first.get_or_insert(error);
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// Goes through the next page of an order that has not failed: which order, and whether that could be done; none if
    /// there is none.
    async fn carry_out_page(
        &self,
        failed: &[EntryId],
    ) -> Result<Option<(EntryId, Result<(), ReevaluationError>)>, ReevaluationError> {
        let mut transaction = self.pool.begin().traced("BEGIN").await?;
        let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
        let Some(Page { entry_id, order, customers }) = lock_page(&mut transaction, failed, limit).await? else {
            return Ok(None);
        };
        let order = match order {
            Ok(order) => order,
            Err(defect) => return Ok(Some((entry_id, Err(ReevaluationError::Order(defect))))),
        };
        let decide = |customer| self.decide(&order, customer);
        let outcomes = try_patiently(&customers, decide, |outcome| matches!(outcome, Outcome::NotNow(_))).await;
        let (mut tally, mut last, mut end, mut error) = (Tally::default(), None, PageEnd::GoesOn, None);
        for ((account_id, _), outcome) in customers.iter().zip(outcomes) {
            match outcome {
                Outcome::Decided(entry) => tally.count(entry.as_deref()),
                Outcome::Gone => {}
                Outcome::LeftOut => {
                    tally.customers_done += 1;
                    tally.left_out += 1;
                }
                Outcome::Superseded => {
                    end = PageEnd::Superseded;
                    break;
                }
                // Whoever stands behind is found decided by the next round, and counted then.
                Outcome::NotNow(not_now) => {
                    error = Some(ReevaluationError::Command(not_now));
                    break;
                }
            }
            last = Some(*account_id);
        }
        if end == PageEnd::GoesOn && error.is_none() && customers.len() < PAGE {
            end = PageEnd::Ended;
        }
        count_page(&mut transaction, entry_id, last, (tally, end), &self.clock).await?;
        transaction.commit().traced("COMMIT").await?;
        Ok(Some((entry_id, error.map_or(Ok(()), Err))))
    }

    /// Decides a customer: what became of them. Whether the order is superseded, the command finds: by the version that is in
    /// force as they are decided.
    async fn decide(
        &self,
        order: &Order,
        (account_id, customer_id): &(AccountId, Result<CustomerId, Defect>),
    ) -> Outcome {
        let leave_out = |error: &dyn std::error::Error| {
            let failure = with_causes(error);
            tracing::error!(account_id = %account_id.0, failure, "a re-evaluation leaves out a customer");
            Outcome::LeftOut
        };
        let customer_id = match customer_id {
            Ok(customer_id) => customer_id.clone(),
            Err(defect) => return leave_out(defect),
        };
        let Order { program_id, version, downgrades, entry_id, .. } = order;
        let subject = Subject { program_id: program_id.clone(), customer_id };
        let command = ReevaluateTier { subject, version: *version, downgrades: *downgrades, order: *entry_id };
        match self.book.submit_in_background(command).await {
            Ok(written) => Outcome::Decided(written.entries.into_iter().next().map(Box::new)),
            Err(Error::Refused(refusal)) if refusal.reason == Reason::ProgramVersionNotInForce => Outcome::Superseded,
            Err(Error::Refused(refusal)) if refusal.reason == Reason::CustomerNotFound => Outcome::Gone,
            // A service of the newer version understands what it wrote.
            Err(error) if error.is_of_the_moment() || matches!(error, Error::Newer(_)) => Outcome::NotNow(error),
            Err(error) => leave_out(&error),
        }
    }
}

impl Tally {
    /// Counts a customer who was decided, by what was written of them.
    fn count(&mut self, entry: Option<&Entry>) {
        self.customers_done += 1;
        let Some(Entry { detail: Detail::Tier(TierDetail::TierChanged { from, to, change, .. }), .. }) = entry else {
            return;
        };
        if from.as_ref() == Some(to) {
            self.redecided += 1;
        } else if change.is_none() {
            self.raised += 1;
        } else {
            self.lowered += 1;
        }
    }
}
