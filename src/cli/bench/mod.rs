//! `goldbook bench`: measures the service under load over gRPC, and what the machine can do without it.
//!
//! Numbers of one machine say little about another. So every run also measures baselines: how many rows `pgbench`
//! commits on the same Postgres, and how many calls a bare tonic server answers. The ratios can be compared between
//! machines; [`check`] compares those of two runs. `docs/performance.md` says what each means.

pub(crate) mod args;
mod caller;
pub(crate) mod check;
mod child;
mod cpu;
pub(crate) mod echo;
mod fairness;
mod ground;
mod grounds;
mod load;
mod log;
mod many_customers;
mod memory;
mod pgbench;
mod plan;
mod ratios;
mod record;
mod referees;
mod report;
mod run;
mod sample;
mod stream;
mod trips;
mod walk;
mod workload;

use tokio::signal::unix::{SignalKind, signal};

use self::args::BenchArgs;
use self::run::Bench;
use super::error::CliError;
use super::export::destination::Destination;
use super::output::print;

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
