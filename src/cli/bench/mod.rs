//! `goldbook bench`: measures the service under load over gRPC, and what the machine can do without it.
//!
//! Numbers of one machine say little about another. So every run also measures two baselines: how many single-row
//! commits `pgbench` makes on the same Postgres, and how many calls a bare tonic server answers. The ratios can be
//! compared between machines.

mod child;
pub(crate) mod echo;
mod load;
mod pgbench;
mod report;
mod workload;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use self::child::{EchoServer, Service};
use self::load::{Load, Window};
use self::pgbench::Pgbench;
use self::report::{Report, Sample};
use self::workload::{Ground, Workload};
use super::client::endpoint;
use super::error::CliError;

/// The most connections of pgbench. By default Postgres allows 100, and the service needs some of them.
const MOST_PGBENCH_CLIENTS: u32 = 80;

const NOTES: &str = "\
Without --address, it starts a service of its own with a throw-away database,
and removes both at the end.

What is measured, interleaved in rounds:
  grant     RewardService.GrantReward to random customers, with fresh keys
  pgbench   one small row per commit, on the same Postgres (from at most 80
            clients, since it takes 100 connections)
  tier      TierService.GetCustomerTier of random customers
  echo      a bare tonic server that answers GetCustomerTier out of its head
  redeem    RewardService.RedeemPoints of a few points of random customers
  purchase  ActivityService.RecordActivity, random customers and amounts

Every client sends its next call when the last one is answered. Calls per second
are medians of the rounds; latencies are of all rounds together. The ratios are
grant/pgbench, redeem/pgbench, purchase/pgbench and tier/echo.

Examples:
  goldbook bench
  goldbook bench --clients 1,64 --seconds 5 --only grant --json > bench.jsonl
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
    /// How long each measurement takes.
    #[arg(long, value_name = "N", default_value = "10")]
    seconds: NonZeroU32,
    /// How long the load runs before each measurement begins, in seconds.
    #[arg(long, value_name = "N", default_value_t = 2)]
    warmup: u32,
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
    /// Print JSON lines on standard output, and the table on standard error.
    #[arg(long)]
    json: bool,
    /// Measure this running service. It gets a program named by --program, with customers and purchases to stay.
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

/// A method of the service to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Method {
    /// Grants of points: RewardService.GrantReward
    Grant,
    /// Reads of a standing: TierService.GetCustomerTier
    Tier,
    /// Spends of points: RewardService.RedeemPoints
    Redeem,
    /// Purchases: ActivityService.RecordActivity
    Purchase,
}

impl BenchArgs {
    /// What to measure in one round, in order. Each workload is measured next to its baseline.
    fn workloads(&self) -> Vec<Workload> {
        let wants = |method| self.only.is_empty() || self.only.contains(&method);
        let writes = [Method::Grant, Method::Redeem, Method::Purchase].into_iter().any(wants);
        let has_database = self.address.is_none() || self.database_url.is_some();
        [
            (Workload::Grant, wants(Method::Grant)),
            (Workload::Pgbench, has_database && writes),
            (Workload::Redeem, wants(Method::Redeem)),
            (Workload::Tier, wants(Method::Tier)),
            (Workload::Echo, wants(Method::Tier)),
            (Workload::Purchase, wants(Method::Purchase)),
        ]
        .into_iter()
        .filter_map(|(workload, is_wanted)| is_wanted.then_some(workload))
        .collect()
    }

    fn window(&self) -> Window {
        Window {
            warmup: Duration::from_secs(self.warmup.into()),
            measured: Duration::from_secs(self.seconds.get().into()),
        }
    }
}

/// Runs `goldbook bench`.
///
/// # Errors
/// If something could not be started or measured, or any call was not answered well.
pub(crate) async fn run(args: BenchArgs) -> Result<(), CliError> {
    if cfg!(debug_assertions) {
        eprintln!("this is a debug build: what it measures says little about a release build");
    }
    let mut bench = Bench::default();
    let outcome = tokio::select! {
        outcome = bench.measure(&args) => outcome,
        () = interrupted() => Err(CliError::failed("interrupted")),
    };
    // Whatever was started is stopped, even after a failure.
    let stopped = bench.stop().await;
    let report = outcome?;
    report.finish()?;
    stopped?;
    match report.errors() {
        0 => Ok(()),
        errors => Err(CliError::Incomplete(format!("{errors} calls were not answered well"))),
    }
}

/// What was started for the run and must be stopped.
#[derive(Default)]
struct Bench {
    service: Option<Service>,
    echo: Option<EchoServer>,
    pgbench: Option<Pgbench>,
}

impl Bench {
    async fn measure(&mut self, args: &BenchArgs) -> Result<Report, CliError> {
        let workloads = args.workloads();
        let needs_pgbench = workloads.contains(&Workload::Pgbench);
        let address = match &args.address {
            Some(address) => {
                let pgbench = args
                    .database_url
                    .clone()
                    .map(|database_url| Pgbench::find(args.postgres_bin.as_deref(), database_url));
                self.pgbench = pgbench.transpose()?;
                address.clone()
            }
            None => {
                eprintln!("starting a service with a throw-away database");
                let service = self.service.insert(Service::start(args.postgres_bin.as_deref())?);
                service.ready().await?;
                self.pgbench = Some(Pgbench::find(args.postgres_bin.as_deref(), service.owner_connection()?)?);
                service.address()
            }
        };
        let endpoint = endpoint(&address)?;
        let ground = Ground::prepare(&endpoint, &args.program_id, args.customers).await?;
        if let Some(pgbench) = &self.pgbench {
            if needs_pgbench {
                pgbench.create_table().await?;
            }
            pgbench.analyze().await?;
        }
        let mut load = Load::connect(&endpoint, args.connections, ground).await?;
        if workloads.contains(&Workload::Echo) {
            let echo = self.echo.insert(EchoServer::start()?);
            echo.ready().await?;
            load.connect_echo(&echo.endpoint()?, args.connections).await?;
        }

        let mut report = Report::begin(args.json, &address)?;
        for clients in &args.clients {
            for round in 1..=args.rounds.get() {
                for workload in &workloads {
                    let sample = self.sample(*workload, *clients, &load, args.window()).await?;
                    report.add(round, sample)?;
                }
            }
        }
        Ok(report)
    }

    async fn sample(
        &self,
        workload: Workload,
        clients: NonZeroU32,
        load: &Load,
        window: Window,
    ) -> Result<Sample, CliError> {
        match (workload, &self.pgbench) {
            (Workload::Pgbench, Some(pgbench)) => {
                let connections = clients.get().min(MOST_PGBENCH_CLIENTS);
                pgbench.run(clients.get(), connections, window).await
            }
            _ => load.run(workload, clients.get(), window).await,
        }
    }

    /// Stops everything in the reverse order of its start.
    async fn stop(self) -> Result<(), CliError> {
        if let Some(echo) = self.echo {
            echo.stop().await;
        }
        if let Some(pgbench) = &self.pgbench {
            // A throw-away database is removed as a whole. From any other, the table is removed.
            if self.service.is_none() {
                pgbench.drop_table().await?;
            }
        }
        match self.service {
            Some(service) => service.stop().await,
            None => Ok(()),
        }
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: BenchArgs,
    }

    fn workloads(line: &[&str]) -> Vec<Workload> {
        Line::try_parse_from([&["bench"], line].concat()).unwrap().args.workloads()
    }

    #[test]
    fn each_method_brings_its_baseline() {
        use Workload::{Echo, Grant, Pgbench, Purchase, Redeem, Tier};
        assert_eq!(workloads(&[]), [Grant, Pgbench, Redeem, Tier, Echo, Purchase]);
        assert_eq!(workloads(&["--only", "tier"]), [Tier, Echo]);
        assert_eq!(workloads(&["--only", "purchase,grant"]), [Grant, Pgbench, Purchase]);
        assert_eq!(workloads(&["--address", "http://localhost:1", "--only", "grant"]), [Grant]);
        let running = ["--address", "http://localhost:1", "--database-url", "postgres://x", "--only", "grant"];
        assert_eq!(workloads(&running), [Grant, Pgbench]);
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [&["--clients", "0"][..], &["--seconds", "0"], &["--database-url", "x"], &["--only", "echo"]] {
            assert!(Line::try_parse_from([&["bench"], line].concat()).is_err(), "{line:?}");
        }
    }
}
