//! Letting time do its part on accounts that nobody touches. What it writes is what the book would have written at the
//! account's next command, so nobody can tell from an answer whether it ran, how late, or in how many places.

use std::any::TypeId;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use sqlx::PgPool;
use tracing::Instrument as _;

use super::command::{Command, CommandKey, Decision, Halt, NameUse};
use super::{Book, store};
use crate::clock::Clock;
use crate::error::Error;
use crate::ids::{AccountId, ProgramId};

/// How many accounts are looked up at a time.
const PAGE: i64 = 256;

/// An empty command on one account, before which the book settles it like before any other.
struct SettleAccount {
    program_id: ProgramId,
    account_id: AccountId,
}

impl Command for SettleAccount {
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

    fn shelves(&self) -> Vec<TypeId> {
        Vec::new()
    }

    fn decide(&self, _decision: &mut Decision<'_>) -> Result<(), Halt> {
        Ok(())
    }
}

/// Looks for accounts with something due again and again, until it is dropped.
pub async fn settle_dues(pool: PgPool, book: Book, clock: Clock, every: Duration) {
    let mut was_well = true;
    loop {
        let span = tracing::info_span!(parent: None, "book.settle");
        let outcome = settle_all(&pool, &book, clock.now()).instrument(span).await;
        match &outcome {
            Ok(()) if !was_well => tracing::info!("what is due is settled again"),
            Err(error) if was_well => tracing::warn!(%error, "what is due cannot be settled; trying on"),
            _ => {}
        }
        was_well = outcome.is_ok();
        tokio::time::sleep(every).await;
    }
}

/// Settles every account on which something is due by `until`.
///
/// # Errors
/// If the database cannot be read, or one of the accounts could not be settled; all others were.
pub async fn settle_all(pool: &PgPool, book: &Book, until: Timestamp) -> Result<(), Error> {
    let (mut after, mut failed) = (None, None);
    loop {
        let due = store::accounts::find_due(&mut *pool.acquire().await?, until, after, PAGE).await?;
        after = due.last().map(|(account_id, _, due_at)| (*due_at, *account_id));
        let commands = due
            .into_iter()
            .map(|(account_id, program_id, _)| book.submit_in_background(SettleAccount { program_id, account_id }));
        for outcome in join_all(commands).await {
            // One that fails stays due; it must not keep the others waiting.
            failed = outcome.err().or(failed);
        }
        if after.is_none() {
            return failed.map_or(Ok(()), Err);
        }
    }
}
