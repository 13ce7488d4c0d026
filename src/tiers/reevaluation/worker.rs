//! Carrying out orders to apply a version to every customer, in the background.

use std::time::Duration;

use futures_util::future::join_all;
use sqlx::PgPool;
use tracing::Instrument as _;

use super::commands::ReevaluateTier;
use super::state::{Order, Tally};
use super::store::{Page, PageEnd, count_page, lock_page};
use crate::book::{Book, Detail, Entry, TierDetail};
use crate::clock::Clock;
use crate::database::{StoreError, Traced as _};
use crate::error::{Error, Reason, with_causes};
use crate::ids::{AccountId, CustomerId};
use crate::points::subject::Subject;
use crate::telemetry::{self, metrics};

/// How many customers are gone through together.
const PAGE: usize = 256;
/// How often a customer is tried whose account somebody holds, before the page is put off.
const TRIES: usize = 3;

/// Why a round came to no end.
#[derive(Debug, thiserror::Error)]
enum ReevaluationError {
    /// The orders or the customers could not be read.
    #[error(transparent)]
    Read(#[from] StoreError),
    /// A customer could not be decided now.
    #[error(transparent)]
    Command(Error),
    /// Accounts were held by somebody else for too long.
    #[error("{0} accounts were held by somebody else")]
    Held(usize),
}

impl From<sqlx::Error> for ReevaluationError {
    fn from(error: sqlx::Error) -> Self {
        Self::Read(error.into())
    }
}

/// Carries out orders again and again, until it is dropped.
#[expect(clippy::disallowed_methods, reason = "the pause between two rounds")]
pub(crate) async fn keep_reevaluating(pool: PgPool, book: Book, clock: Clock, every: Duration) {
    let worker = Worker { pool, book, clock };
    let mut was_well = true;
    loop {
        let span = tracing::info_span!(parent: None, "tiers.reevaluate");
        let outcome = worker.carry_out_all().instrument(span.clone()).await;
        if outcome.is_err() {
            telemetry::fail_span(&span, "round_failed");
        }
        drop(span);
        match &outcome {
            Ok(()) if !was_well => tracing::info!("tiers are re-evaluated again"),
            Err(error) if was_well => {
                tracing::warn!(failure = with_causes(error), "tiers cannot be re-evaluated; trying on");
            }
            _ => {}
        }
        was_well = outcome.is_ok();
        metrics::count_round("reevaluation", was_well);
        tokio::time::sleep(every).await;
    }
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
    /// Somebody holds the account.
    Held,
    Superseded,
    LeftOut,
}

impl Worker {
    /// Goes through pages until no order is open that nobody else is at.
    async fn carry_out_all(&self) -> Result<(), ReevaluationError> {
        while self.carry_out_page().await? {}
        Ok(())
    }

    /// Goes through the next page of an order; false if there is none.
    async fn carry_out_page(&self) -> Result<bool, ReevaluationError> {
        let mut transaction = self.pool.begin().traced("BEGIN").await?;
        let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
        let Some(page) = lock_page(&mut transaction, limit).await? else { return Ok(false) };
        let (tally, is_superseded) = self.decide_all(&page).await?;
        let end = if is_superseded {
            PageEnd::Superseded
        } else if page.customers.len() < PAGE {
            PageEnd::Ended
        } else {
            PageEnd::GoesOn
        };
        count_page(&mut transaction, &page, tally, end, &self.clock).await?;
        transaction.commit().traced("COMMIT").await?;
        Ok(true)
    }

    /// Decides a page of customers. Whether the order is superseded, the commands find: by the version that is in force as
    /// each is decided.
    async fn decide_all(&self, page: &Page) -> Result<(Tally, bool), ReevaluationError> {
        let (mut tally, mut superseded) = (Tally::default(), false);
        let mut waiting: Vec<_> = page.customers.iter().collect();
        for _ in 0..TRIES {
            let commands = waiting.iter().map(|customer| self.decide(&page.order, customer));
            let outcomes = join_all(commands).await;
            let mut held = Vec::new();
            for (customer, outcome) in waiting.into_iter().zip(outcomes) {
                match outcome? {
                    Outcome::Decided(entry) => tally.count(entry.as_deref()),
                    Outcome::Gone => {}
                    Outcome::Held => held.push(customer),
                    Outcome::Superseded => superseded = true,
                    Outcome::LeftOut => {
                        tally.customers_done += 1;
                        tally.left_out += 1;
                    }
                }
            }
            waiting = held;
            if waiting.is_empty() || superseded {
                return Ok((tally, superseded));
            }
        }
        Err(ReevaluationError::Held(waiting.len()))
    }

    async fn decide(
        &self,
        order: &Order,
        (account_id, customer_id): &(AccountId, CustomerId),
    ) -> Result<Outcome, ReevaluationError> {
        let subject = Subject { program_id: order.program_id.clone(), customer_id: customer_id.clone() };
        let Order { version, downgrades, entry_id, .. } = order;
        let command = ReevaluateTier { subject, version: *version, downgrades: *downgrades, order: *entry_id };
        match self.book.submit_in_background(command).await {
            Ok(written) => Ok(Outcome::Decided(written.entries.into_iter().next().map(Box::new))),
            Err(Error::Overloaded) => Ok(Outcome::Held),
            Err(Error::Refused(refusal)) if refusal.reason == Reason::ProgramVersionNotInForce => {
                Ok(Outcome::Superseded)
            }
            Err(Error::Refused(refusal)) if refusal.reason == Reason::CustomerNotFound => Ok(Outcome::Gone),
            Err(error) if error.is_of_the_moment() => Err(ReevaluationError::Command(error)),
            Err(error) => {
                let failure = with_causes(&error);
                tracing::error!(account_id = %account_id.0, failure, "a re-evaluation leaves out a customer");
                Ok(Outcome::LeftOut)
            }
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
