//! Erasing what programs keep no longer, in the background.

use std::time::Duration;

use futures_util::future::join_all;
use sqlx::PgPool;

use super::commands::{EraseOfInactive, Inactive};
use crate::access::forget_strangers;
use crate::book::Book;
use crate::clock::Clock;
use crate::customers::store::retention::{find_inactive, read_oldest_round, take_page};
use crate::database::{StoreError, leave_out_unreadable};
use crate::error::{Error, with_causes};
use crate::ids::AccountId;
use crate::programs::list_retentions;
use crate::programs::retention::{Limits, ProgramRetention};
use crate::rounds::Rounds;

/// How many accounts are looked at together.
const PAGE: i64 = 256;
/// How many programs are read at a time.
const PROGRAMS: i64 = 256;
/// How often an account is looked at in a round to which time or a caller writes meanwhile.
const LOOKS: usize = 3;

/// Why not everything was erased.
#[derive(Debug, thiserror::Error)]
enum RetentionError {
    /// The accounts could not be read.
    #[error(transparent)]
    Read(#[from] StoreError),
    /// What is kept no longer could not be erased.
    #[error(transparent)]
    Command(Error),
}

/// Erases what programs keep no longer of customers without activity, and forgets principals of customers who do not
/// exist, again and again, until it is dropped.
pub(crate) async fn keep_erasing_of_inactive(pool: PgPool, book: Book, clock: Clock, every: Duration) {
    let worker = Worker { pool, book, clock };
    let rounds = Rounds {
        worker: "retention",
        fails: "what programs keep no longer cannot be erased; trying on",
        is_well: "what programs keep no longer is erased again",
    };
    let span = || tracing::info_span!(parent: None, "customers.retention");
    rounds.keep_going(span, || worker.erase_all(), |_| every).await;
}

/// How many seconds ago the oldest round began; 0 if there is none.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn retention_age(pool: &PgPool) -> Result<f64, StoreError> {
    read_oldest_round(&mut *pool.acquire().await?).await
}

/// What the work needs.
struct Worker {
    pool: PgPool,
    book: Book,
    clock: Clock,
}

impl Worker {
    /// Does what is left of the round of each program, but for what other services are at.
    async fn erase_all(&self) -> Result<(), RetentionError> {
        let mut failed = None;
        let mut after = Some(String::new());
        while let Some(program_id) = after.take() {
            let mut connection = self.pool.acquire().await.map_err(StoreError::from)?;
            let programs = list_retentions(&mut connection, &program_id, PROGRAMS, &self.clock).await?;
            drop(connection);
            after = programs.last().map(|program| program.cursor.clone());
            // One that fails holds up no other.
            for program in leave_out_unreadable(programs) {
                failed = self.erase_in(&program).await.err().or(failed);
            }
        }
        forget_strangers(&self.pool, &self.clock).await?;
        failed.map_or(Ok(()), Err)
    }

    /// Takes pages of a program's accounts until the round is over. A page is taken for good, so that no two services look
    /// at it: what fails of it waits for the next round.
    async fn erase_in(&self, program: &ProgramRetention) -> Result<(), RetentionError> {
        loop {
            let mut connection = self.pool.acquire().await.map_err(StoreError::from)?;
            let (program_id, version) = (&program.program_id, program.version);
            let page = take_page(&mut connection, &self.clock, program_id, version, PAGE).await?;
            drop(connection);
            let Some((accounts, now)) = page else { return Ok(()) };
            self.erase_of(program, accounts, program.limits_at(now)).await?;
        }
    }

    /// Erases what is found on a page of accounts.
    async fn erase_of(
        &self,
        program: &ProgramRetention,
        mut accounts: Vec<AccountId>,
        limits: Limits,
    ) -> Result<(), RetentionError> {
        for _ in 0..LOOKS {
            let mut connection = self.pool.acquire().await.map_err(StoreError::from)?;
            let found = find_inactive(&mut connection, &accounts, limits).await?;
            drop(connection);
            accounts = self.submit(program, found).await?;
            if accounts.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Has what was found erased; returns the accounts that are worth another look, since something was due on them first,
    /// or somebody held them. Of those that were erased, the next look finds nothing.
    async fn submit(&self, program: &ProgramRetention, found: Vec<Inactive>) -> Result<Vec<AccountId>, RetentionError> {
        let commands = found.into_iter().map(|inactive| async move {
            let (program_id, version) = (program.program_id.clone(), program.version);
            let command = EraseOfInactive { program_id, version, inactive };
            (inactive.account_id, self.book.submit_in_background(command).await)
        });
        let (mut again, mut failed) = (Vec::new(), None);
        for (account_id, outcome) in join_all(commands).await {
            match outcome {
                Ok(_) | Err(Error::Overloaded) => again.push(account_id),
                Err(error) if error.is_of_the_moment() => failed = Some(error),
                Err(error) => {
                    let failure = with_causes(&error);
                    tracing::warn!(account_id = %account_id.0, failure, "what is kept no longer of an account stays");
                }
            }
        }
        failed.map_or(Ok(again), |error| Err(RetentionError::Command(error)))
    }
}
