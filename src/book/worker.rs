//! Letting time do its part on accounts that nobody touches. What it writes is what the book would have written at the
//! account's next command, so nobody can tell from an answer whether it ran, how late, or in how many places.

use std::any::TypeId;
use std::time::Duration;

use futures_util::future::join_all;
use sqlx::PgPool;
use tracing::Instrument as _;

use super::command::{Command, CommandKey};
use super::decision::{Decision, DecisionError};
use super::intake::Book;
use super::name::NameUse;
use super::store;
use super::store::dues::{DueAccount, StuckAccount};
use crate::clock::Clock;
use crate::database::StoreError;
use crate::error::{Error, with_causes};
use crate::ids::{AccountId, ProgramId};
use crate::telemetry::{self, metrics};

/// How many accounts are looked up at a time.
const PAGE: i64 = 256;

/// An empty command on one account, before which the book applies its dues as before any other.
struct ApplyDues {
    program_id: ProgramId,
    account_id: AccountId,
}

impl Command for ApplyDues {
    fn program_id(&self) -> &ProgramId {
        &self.program_id
    }

    fn names(&self) -> Vec<NameUse> {
        Vec::new()
    }

    fn accounts(&self) -> Vec<AccountId> {
        vec![self.account_id]
    }

    fn key(&self) -> Option<CommandKey> {
        None
    }

    fn states(&self) -> Vec<TypeId> {
        Vec::new()
    }

    fn decide(&self, _decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        Ok(())
    }
}

/// Why not all dues were applied.
#[derive(Debug, thiserror::Error)]
pub enum DuesError {
    /// The accounts with dues could not be read.
    #[error(transparent)]
    Read(#[from] StoreError),
    /// The dues of an account could not be applied.
    #[error(transparent)]
    Command(Error),
}

/// Looks for accounts with something due again and again, until it is dropped.
#[expect(clippy::disallowed_methods, reason = "the pause between two rounds")]
pub async fn keep_applying_dues(pool: PgPool, book: Book, clock: Clock, every: Duration) {
    let mut was_well = true;
    loop {
        let span = tracing::info_span!(parent: None, "book.apply_dues");
        let outcome = apply_all_dues(&pool, &book, &clock).instrument(span.clone()).await;
        if outcome.is_err() {
            telemetry::fail_span(&span, "round_failed");
        }
        drop(span);
        match &outcome {
            Ok(()) if !was_well => tracing::info!("dues are applied again"),
            Err(error) if was_well => {
                tracing::warn!(error = with_causes(error), "dues cannot be applied; trying again");
            }
            _ => {}
        }
        was_well = outcome.is_ok();
        metrics::count_round("dues", was_well);
        tokio::time::sleep(every).await;
    }
}

/// For how many seconds the oldest due has been waiting that is not written, and how many accounts are set aside.
///
/// # Errors
/// If the database cannot be read.
pub async fn dues_lag(pool: &PgPool) -> Result<(f64, f64), StoreError> {
    store::dues::read_lag(&mut *pool.acquire().await?).await
}

/// Applies every due of every account by now, but for those that another service is at. An account whose dues cannot be
/// written is set aside, and holds up no other.
///
/// # Errors
/// If the database cannot be read, or the dues of an account could not be written now; those of all others were.
pub async fn apply_all_dues(pool: &PgPool, book: &Book, clock: &Clock) -> Result<(), DuesError> {
    let told = store::instants::read_clock(&mut *pool.acquire().await.map_err(StoreError::from)?).await?;
    let until = clock.present(told);
    let mut failed = None;
    loop {
        let mut connection = pool.acquire().await.map_err(StoreError::from)?;
        let page = store::dues::take_page(&mut connection, until, PAGE).await?;
        if page.is_empty() {
            store::dues::forget_settled(&mut connection).await?;
            return failed.map_or(Ok(()), |error| Err(DuesError::Command(error)));
        }
        drop(connection);
        let stuck = apply_page(book, page, &mut failed).await;
        if !stuck.is_empty() {
            for StuckAccount { account_id, due_at, failure } in &stuck {
                tracing::warn!(account_id = %account_id.0, %due_at, failure, "the dues of an account are set aside");
            }
            let mut connection = pool.acquire().await.map_err(StoreError::from)?;
            store::dues::set_aside(&mut connection, &stuck, until).await?;
        }
    }
}

/// Applies what is due on a page of accounts; returns those of which it cannot be written.
async fn apply_page(book: &Book, page: Vec<DueAccount>, failed: &mut Option<Error>) -> Vec<StuckAccount> {
    let commands = page.into_iter().map(|DueAccount { account_id, program_id, due_at }| async move {
        let outcome = match program_id {
            Ok(program_id) => book.submit_in_background(ApplyDues { program_id, account_id }).await.map(drop),
            Err(defect) => Err(defect.into()),
        };
        (account_id, due_at, outcome)
    });
    let mut stuck = Vec::new();
    for (account_id, due_at, outcome) in join_all(commands).await {
        match outcome {
            // Of a held account whoever holds it will see to the dues, or the next round does.
            Ok(()) | Err(Error::Overloaded) => {}
            Err(error) if error.is_of_the_moment() => *failed = Some(error),
            Err(error) => stuck.push(StuckAccount { account_id, due_at, failure: error.to_string() }),
        }
    }
    stuck
}
