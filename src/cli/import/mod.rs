//! `goldbook import`: history and balances from files, through the same RPCs that everyone uses.

mod balances;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod lines;
mod purchases;
mod refusals;
mod sending;

use clap::{Args, Subcommand};

use super::error::CliError;

/// Bring in what happened before, from files.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
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

/// Runs `goldbook import`.
///
/// # Errors
/// If the file makes no sense, the service does not answer or refuses, or any line was refused.
pub(crate) async fn run(args: ImportArgs) -> Result<(), CliError> {
    match args.command {
        ImportCommand::Purchases(args) => purchases::run(args).await,
        ImportCommand::Balances(args) => balances::run(args).await,
    }
}
