//! `goldbook import`: history and balances from files, through the same RPCs that everyone uses.

mod balances;
mod lines;
mod purchases;
mod refusals;

use std::sync::{Mutex, MutexGuard, PoisonError};

use clap::{Args, Subcommand};

use super::CliError;

/// How many lines are read ahead of the stream. It is the stream that holds the reading back, as far as the service is
/// behind; this only keeps the two from waiting for each other.
const LINES_AHEAD: usize = 256;

/// What an import that came to no end tells.
const BROKEN: &str = "the import was interrupted; repeat it, since what is in the book counts once";

/// Bring in what happened before, from files.
#[derive(Debug, Args)]
pub struct ImportArgs {
    #[command(subcommand)]
    command: ImportCommand,
}

#[derive(Debug, Subcommand)]
enum ImportCommand {
    /// Record purchases from a CSV file, as history.
    #[command(after_help = purchases::FILE_HELP)]
    Purchases(purchases::PurchasesArgs),
    /// Take over points and tiers from another system, from a CSV file.
    #[command(after_help = balances::FILE_HELP)]
    Balances(balances::BalancesArgs),
}

/// Does what a `goldbook import` command line asks for.
///
/// # Errors
/// If the file makes no sense, the service does not answer or refuses, or any line was refused.
pub async fn run(args: ImportArgs) -> Result<(), CliError> {
    match args.command {
        ImportCommand::Purchases(args) => purchases::run(args).await,
        ImportCommand::Balances(args) => balances::run(args).await,
    }
}

/// What two tasks count together, also after a panic of one: it is complete after every count.
fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
