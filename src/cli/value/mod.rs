//! `goldbook value`: models of what customers will buy, who leaves, and whether customers stay.

mod classes;
mod common;
mod models;
mod retention;
mod scores;

use clap::{Args, Subcommand};

use super::error::CliError;

/// Fit models of what customers will buy, and show value classes, who leaves and whether customers stay.
///
/// All of it counts days of purchases of the program's calendar: a customer who buys twice on one day bought once.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  goldbook value fit
  goldbook value fit --program cdnow --until 1998-07-01 --holdout-days 273
  goldbook value backtest --program cdnow --until 1998-07-01 --holdout-days 273
  goldbook value classes
  goldbook value classes --try shop.toml
  goldbook value scores --until 1998-01-01 --after-days 180
  goldbook value retention --from 1997-01-01 --until 1998-07-01 --json")]
pub(crate) struct ValueArgs {
    #[command(subcommand)]
    command: ValueCommand,
}

#[derive(Debug, Subcommand)]
enum ValueCommand {
    Fit(models::FitArgs),
    Model(models::ModelArgs),
    Backtest(models::BacktestArgs),
    Classes(classes::ClassesArgs),
    Scores(scores::ScoresArgs),
    Retention(retention::RetentionArgs),
}

/// Runs `goldbook value`.
///
/// # Errors
/// If the service does not answer or refuses.
pub(crate) async fn run(args: ValueArgs) -> Result<(), CliError> {
    match args.command {
        ValueCommand::Fit(args) => models::fit(args).await,
        ValueCommand::Model(args) => models::show(args).await,
        ValueCommand::Backtest(args) => models::backtest(args).await,
        ValueCommand::Classes(args) => classes::run(args).await,
        ValueCommand::Scores(args) => scores::run(args).await,
        ValueCommand::Retention(args) => retention::run(args).await,
    }
}
