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
use crate::clock::Clock;
use crate::database::StoreError;
use crate::error::{Error, with_causes};
use crate::ids::{AccountId, ProgramId};

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
        let outcome = apply_all_dues(&pool, &book, &clock).instrument(span).await;
        match &outcome {
            Ok(()) if !was_well => tracing::info!("dues are applied again"),
            Err(error) if was_well => {
                tracing::warn!(error = with_causes(error), "dues cannot be applied; trying again");
            }
            _ => {}
        }
        was_well = outcome.is_ok();
        tokio::time::sleep(every).await;
    }
}

/// Applies every due of every account by now.
///
/// # Errors
/// If the database cannot be read, or the dues of an account could not be applied; those of all others were.
pub async fn apply_all_dues(pool: &PgPool, book: &Book, clock: &Clock) -> Result<(), DuesError> {
    let told = store::instants::read_clock(&mut *pool.acquire().await.map_err(StoreError::from)?).await?;
    let until = clock.present(told);
    let (mut after, mut failed) = (None, None);
    loop {
        let mut connection = pool.acquire().await.map_err(StoreError::from)?;
        let due = store::accounts::find_due(&mut connection, until, after, PAGE).await?;
        drop(connection);
        after = due.last().map(|(account_id, _, due_at)| (*due_at, *account_id));
        let commands = due
            .into_iter()
            .map(|(account_id, program_id, _)| book.submit_in_background(ApplyDues { program_id, account_id }));
        for outcome in join_all(commands).await {
            // One that fails stays due; it must not keep the others waiting.
            failed = outcome.err().or(failed);
        }
        if after.is_none() {
            return failed.map_or(Ok(()), |error| Err(DuesError::Command(error)));
        }
    }
}
