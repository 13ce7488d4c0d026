//! `goldbook bench`: measures the service under load over gRPC, and what the machine can do without it.
//!
//! Numbers of one machine say little about another. So every run also measures baselines: how many rows `pgbench`
//! commits on the same Postgres, and how many calls a bare tonic server answers. The ratios can be compared between
//! machines; [`check`] compares those of two runs. `docs/performance.md` says what each means.

mod caller;
pub(crate) mod check;
mod child;
mod cpu;
pub(crate) mod echo;
mod ground;
mod load;
mod pgbench;
mod plan;
mod ratios;
mod record;
mod referees;
mod report;
mod run;
mod stream;
mod trips;
mod workload;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use self::plan::{Method, parse_seconds, parse_warmup};
use self::run::Bench;
use super::error::CliError;
use super::export::destination::Destination;
use super::output::print;

const NOTES: &str = "\
Without --address, it starts a service of its own with a throw-away database,
and removes both at the end.

What is measured, interleaved in rounds:
  grant        RewardService.GrantReward to random customers, with fresh keys
  pgbench      one small row per commit, on the same Postgres (from at most 80
               clients, since it takes 100 connections)
  grant-one    as grant, all to one customer
  redeem       RewardService.RedeemPoints of a few points of random customers
  tier         TierService.GetCustomerTier of random customers
  echo         a bare tonic server that answers GetCustomerTier out of its head
  purchase     ActivityService.RecordActivity, random customers and amounts
  conversion   the same, each the first purchase of a customer who was referred,
               so that both sides are paid
  redeem-5     as redeem, of customers with 5 open lots
  redeem-400   as redeem, of customers with 400 open lots
  stream       RewardService.BatchGrantRewards to random customers
  raw-200      200 rows per commit into a table like ledger_entries, by as many
               connections as there are streams
  grant-large, stream-large    with --large: as grant and stream, at a ledger
               of millions of entries
  grant-empty, stream-empty    with --large: as grant and stream, at a service
               started for it

Every client sends its next call when the last one is answered. Calls per second
are medians of the rounds; latencies and CPU are of all rounds together. Batches
(calls of a transaction) and trips (to Postgres, of a transaction and of a call)
are counted afterwards, at another service on the same database whose
connections lead through this program; nothing else is measured of it.

Examples:
  goldbook bench
  goldbook bench --clients 64,256 --large --json run.json
  goldbook bench --clients 1,64 --seconds 5 --only grant
  goldbook bench --address http://127.0.0.1:50051 \\
    --database-url postgres://goldbook_owner@localhost/goldbook

Exit status: 0 if every call was answered well, 1 if any was not.";

/// Measure the service, and beside it what the machine can do.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(crate) struct BenchArgs {
    /// How many clients call at the same time; a list measures each in turn.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "64")]
    clients: Vec<NonZeroU32>,
    /// How many streams there are at the same time; a list measures each in turn.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "4")]
    streams: Vec<NonZeroU32>,
    /// How long each measurement takes.
    #[arg(long, value_name = "N", default_value = "10", value_parser = parse_seconds)]
    seconds: Duration,
    /// How long the load runs before each measurement begins, in seconds.
    #[arg(long, value_name = "N", default_value = "2", value_parser = parse_warmup)]
    warmup: Duration,
    /// How often everything is measured.
    #[arg(long, value_name = "N", default_value = "3")]
    rounds: NonZeroU32,
    /// How many customers there are; they are enrolled first.
    #[arg(long, value_name = "N", default_value = "10000")]
    customers: NonZeroU32,
    /// How many HTTP/2 connections the clients share.
    #[arg(long, value_name = "N", default_value = "4")]
    connections: NonZeroU32,
    /// Measure only these, and the baselines that belong to them.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    only: Vec<Method>,
    /// Also measure grants at a large ledger, of so many customers with ten entries each. It takes minutes to fill, and
    /// some gigabytes in the folder for temporary files.
    #[arg(long, value_name = "CUSTOMERS", num_args = 0..=1, default_missing_value = "300000", conflicts_with = "address")]
    large: Option<NonZeroU32>,
    /// Keep all figures in this file, as JSON, for `bench-check`. `-` is standard output, and the tables then go to
    /// standard error.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure this running service. It gets programs named after --program, with customers and purchases to stay.
    #[arg(long, value_name = "URL")]
    address: Option<String>,
    /// The running service's database, for pgbench, as a role that may create a table; without it, no pgbench.
    #[arg(long, value_name = "URL", requires = "address")]
    database_url: Option<String>,
    /// The program to make and use.
    #[arg(long = "program", value_name = "ID", default_value = "bench")]
    program_id: String,
    /// The folder of the PostgreSQL programs; found if absent.
    #[arg(long, env = "GOLDBOOK_POSTGRES_BIN", value_name = "DIR")]
    postgres_bin: Option<PathBuf>,
}

/// Runs `goldbook bench`.
///
/// # Errors
/// If something could not be started or measured, or any call was not answered well.
pub(crate) async fn run(args: BenchArgs) -> Result<(), CliError> {
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: what it measures says little about a release build");
    }
    // Whether it can be written there is found out at the start.
    let destination = args.json.as_deref().map(Destination::open).transpose()?;
    let mut bench = Bench::default();
    let outcome = tokio::select! {
        outcome = bench.measure(&args) => outcome,
        () = interrupted() => Err(CliError::failed("interrupted")),
    };
    // Whatever was started is stopped, even after a failure.
    let stopped = bench.stop().await;
    let (report, settings) = outcome?;
    match destination {
        Some(destination) => {
            let is_file = destination.is_file();
            report.record(settings).write(destination)?;
            if is_file { print(report.text())? } else { eprintln!("{}", report.text()) }
        }
        None => print(report.text())?,
    }
    stopped?;
    match report.errors() {
        0 => Ok(()),
        errors => Err(CliError::Incomplete(format!("{errors} calls were not answered well"))),
    }
}

/// Returns at the first SIGINT or SIGTERM.
async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
