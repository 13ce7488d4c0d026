//! One batch on one connection, in one transaction. Nothing here knows what any command is about.
//!
//! The phases, in order, between `BEGIN` and `COMMIT`. A batch has at most 256 commands, and a statement is sent once
//! for all of them.
//!
//! | Phase         | What it does                                 | Statements, at most            | Bound                   |
//! | ------------- | -------------------------------------------- | ------------------------------ | ----------------------- |
//! | find names    | whose names are, and what is related; locks, claims the free ones  | 1 for all, 2 on `names`, and 1 for each of these that lost a name | the commands' names |
//! | load keys     | what was written with the used keys          | 1 on `ledger_entries`          | 32 entries of a key     |
//! | load states   | what commands ask for, and what is due       | 1 for all, and a few of each capability where that is not enough | set by the capability   |
//! | decide        | each command: applies dues, decides, accepts | none                           | 32 entries on its scope, 1,024 dues in all |
//! | write         | returns names; entries, heads, states' rows  | 2                              | what was decided        |
//!
//! The first statement is always sent; where others wrote at that moment, once more. A phase that has nothing to do sends
//! none. If a phase fails, the batch is rolled back as a whole, and the lane decides what follows.

mod accept;
mod decide;
mod dues;
mod load;
mod memory;
mod names;
mod tally;
mod write;

use sqlx::{Connection as _, PgConnection};

use self::memory::Batch;
use self::tally::Tally;
use super::capability::Capabilities;
use super::job::Job;
use super::outcome::CommandOutcome;
use crate::clock::Clock;
use crate::database::{StoreError, Traced as _};
use crate::error::Defect;
use crate::telemetry::metrics::{self, TimedBatch};

/// Why a batch was rolled back.
#[derive(Debug)]
pub(super) enum BatchError {
    /// A statement failed, or rows break the rules of the book.
    Store(StoreError),
    /// The command at this place breaks the rules of the book.
    Command {
        /// Its place in the batch.
        place: usize,
        /// What is wrong.
        defect: Defect,
    },
}

impl From<StoreError> for BatchError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<sqlx::Error> for BatchError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Carries out a batch in one transaction: every command's outcome, in the order of the commands.
///
/// # Errors
/// If a statement fails or the rules of the book are broken. Nothing is written then, unless the error came from the
/// commit itself.
pub(super) async fn carry_out(
    connection: &mut PgConnection,
    jobs: &[Job],
    capabilities: &Capabilities,
    clock: &Clock,
) -> Result<Vec<CommandOutcome>, BatchError> {
    let mut timed = TimedBatch::begin();
    let mut transaction = connection.begin().traced("BEGIN").await?;
    match run_phases(&mut transaction, jobs, capabilities, clock, &mut timed).await {
        Ok((outcomes, tally)) => {
            transaction.commit().traced("COMMIT").await?;
            timed.commit(outcomes.iter().filter(|outcome| outcome.for_followers().is_none()).count());
            tally.iter().for_each(|(program_id, wrote)| metrics::count_written(program_id.as_str(), wrote));
            Ok(outcomes)
        }
        Err(error) => {
            // Dropped alone, the transaction would keep its locks until the connection is used again.
            let _ = transaction.rollback().traced("ROLLBACK").await;
            Err(error)
        }
    }
}

async fn run_phases(
    connection: &mut PgConnection,
    jobs: &[Job],
    capabilities: &Capabilities,
    clock: &Clock,
    timed: &mut TimedBatch,
) -> Result<(Vec<CommandOutcome>, Tally), BatchError> {
    let mut batch = Batch::new(jobs, capabilities.new_states());
    batch.find_names(capabilities, connection).await?;
    batch.read_instant(clock, connection).await?;
    timed.enter("load");
    batch.load_keys(connection).await?;
    if let Err(error) = batch.load_states(capabilities, connection).await {
        if !batch.leave_related_out(&error, capabilities) {
            return Err(error.into());
        }
        batch.load_states(capabilities, connection).await?;
    }
    timed.enter("decide");
    let outcomes = batch.decide_all().map_err(|(place, defect)| BatchError::Command { place, defect })?;
    timed.enter("write");
    batch.write(capabilities, connection).await?;
    timed.enter("commit");
    Ok((outcomes, batch.tally()))
}
