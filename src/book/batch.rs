//! One batch on one connection, in one transaction. Nothing here knows what any command is about.
//!
//! The phases, in order. A batch has at most 256 commands, and each statement is sent once for all of them.
//!
//! | Phase             | What it does                                                | Statements, at most                | Bound                                                  |
//! | ----------------- | ----------------------------------------------------------- | ---------------------------------- | ------------------------------------------------------ |
//! | begin             | opens the transaction                                       | `BEGIN`                            | 1                                                      |
//! | find names        | tells whose the commands' names are; claims free ones       | `SELECT names`, then twice `INSERT names` and, for the names that others won, `SELECT names` | 5; the names of the commands |
//! | find accounts     | asks capabilities which related accounts commands may touch | one of each wanted capability      | what each capability bounds                            |
//! | lock accounts     | locks all of them in one order; then reads the clock        | `SELECT accounts … FOR UPDATE`     | 1; the accounts found so far                           |
//! | load keys         | reads what commands with these keys wrote before            | `SELECT ledger_entries`            | 1; 32 entries of each key                              |
//! | load states       | reads what commands asked for, and what is due              | a few of each wanted capability    | what was asked for; of each account, the dues that one batch applies |
//! | decide            | of each command in order: applies dues, decides, accepts    | none                               | memory alone                                           |
//! | write             | writes what changed                                         | `DELETE names`, `INSERT ledger_entries`, `INSERT accounts`, `UPDATE accounts`, one for each changed table of a capability | 4, and the changed tables |
//! | commit            | makes all of it true at once                                | `COMMIT`                           | 1                                                      |
//!
//! Where a phase fails, the whole batch is rolled back, and the lane sees to it. A statement with nothing to do is not
//! sent, but for the first `SELECT names` and the lock.

mod accept;
mod decide;
mod dues;
mod load;
mod memory;
mod names;
mod write;

use sqlx::{Connection as _, PgConnection};

use self::memory::Batch;
use super::capability::Capabilities;
use super::job::Job;
use super::outcome::CommandOutcome;
use crate::clock::Clock;
use crate::database::{StoreError, Traced as _};

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
) -> Result<Vec<CommandOutcome>, StoreError> {
    let mut transaction = connection.begin().traced("BEGIN").await?;
    match run_phases(&mut transaction, jobs, capabilities, clock).await {
        Ok(outcomes) => {
            transaction.commit().traced("COMMIT").await?;
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
) -> Result<Vec<CommandOutcome>, StoreError> {
    let mut batch = Batch::new(jobs, capabilities.new_states(), clock.now());
    batch.find_names(connection).await?;
    batch.find_related_accounts(capabilities, connection).await?;
    batch.lock_accounts(connection).await?;
    // The clock is read only now, when all locks are held. Every batch holds at least its lock on the table of accounts
    // from here to its commit. So whoever gets a lock on the whole table knows: what was decided at an earlier instant
    // is committed, and what is decided from then on is later.
    batch.now = clock.now();
    // Every statement from here on sees what the transactions wrote that the locks waited for.
    batch.load_keys(connection).await?;
    batch.load_states(capabilities, connection).await?;
    let outcomes = batch.decide_all()?;
    batch.write(capabilities, connection).await?;
    Ok(outcomes)
}
