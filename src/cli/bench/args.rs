//! The arguments of `goldbook bench`.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

const NOTES: &str = "\
Without --address, it starts a service of its own with a throw-away database,
and removes both at the end.

What is measured, interleaved in rounds:
  grant        RewardService.GrantReward to random customers, with fresh keys
  grant-keyed  the same with an API key, at another service on the same database
  grant-unmeasured    the same at one whose metrics nobody gets
  pgbench      one small row per commit, on the same Postgres (from at most 64
               clients, since it takes 100 connections)
  grant-one    as grant, all to one customer
  redeem       RewardService.RedeemPoints of a few points of random customers
  tier         TierService.GetCustomerTier of random customers
  tier-keyed   the same with an API key, at that other service
  tier-many    with --many-customers: as tier, where there are a million
               customers
  echo         a bare tonic server that answers GetCustomerTier out of its head
  purchase     ActivityService.RecordActivity, random customers and amounts
  conversion   the same, each the first purchase of a customer who was referred,
               so that both sides are paid
  use-benefit  BenefitService.UseBenefit of a benefit with a quota, random
               customers
  redeem-5     as redeem, of customers with 5 open lots
  redeem-400   as redeem, of customers with 400 open lots
  stream       RewardService.BatchGrantRewards to random customers
  raw-200      200 rows per commit into a table like ledger_entries, by as many
               connections as there are streams
  grant-large, stream-large    with --large: as grant and stream, at a ledger
               of millions of entries
  grant-empty, stream-empty    with --large: as grant and stream, at a service
               started for it
  simulate, count-tiers    with --many-customers: TierService.SimulateTierPolicy
               and ListTierStatistics of all of them, told in customers a second,
               with the service's memory
  quiet        with --only fairness: one client with an API key of its own grants
               to its own customers, and nobody else calls
  beside-calls, beside-streams    with --only fairness: as quiet, while another
               key floods the service with as many clients, or streams, as are
               told

What needs API keys is not measured with --address.

Every client sends its next call when the last one is answered. Calls per second
are medians of the rounds; latencies and CPU are of all rounds together. Batches
(calls of a transaction) and trips (to Postgres, of a transaction and of a call)
are counted afterwards, at another service on the same database whose
connections lead through this program; nothing else is measured of it.

Examples:
  goldbook bench
  goldbook bench --clients 64,256 --large --json run.json
  goldbook bench --clients 1,64 --seconds 5 --only grant
  goldbook bench --only tier --many-customers
  goldbook bench --only fairness
  goldbook bench --address http://127.0.0.1:50051 \\
    --database-url postgres://goldbook_owner@localhost/goldbook

Exit status: 0 if every call was answered well, 1 if any was not.";

/// Measure the service, and beside it what the machine can do.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
pub(crate) struct BenchArgs {
    /// How many clients call at the same time; a list measures each in turn.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "64")]
    pub(super) clients: Vec<NonZeroU32>,
    /// How many streams there are at the same time; a list measures each in turn.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "4")]
    pub(super) streams: Vec<NonZeroU32>,
    /// How long each measurement takes.
    #[arg(long, value_name = "N", default_value = "10", value_parser = parse_seconds)]
    pub(super) seconds: Duration,
    /// How long the load runs before each measurement begins, in seconds.
    #[arg(long, value_name = "N", default_value = "2", value_parser = parse_warmup)]
    pub(super) warmup: Duration,
    /// How often everything is measured.
    #[arg(long, value_name = "N", default_value = "3")]
    pub(super) rounds: NonZeroU32,
    /// How many customers there are; they are enrolled first.
    #[arg(long, value_name = "N", default_value = "10000")]
    pub(super) customers: NonZeroU32,
    /// How many HTTP/2 connections the clients share.
    #[arg(long, value_name = "N", default_value = "4")]
    pub(super) connections: NonZeroU32,
    /// Measure only these, and the baselines that belong to them. Without it, all but fairness.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(super) only: Vec<Method>,
    /// Also measure grants at a large ledger, of so many customers with ten entries each. It takes minutes to fill, and
    /// some gigabytes in the folder for temporary files.
    #[arg(long, value_name = "CUSTOMERS", num_args = 0..=1, default_missing_value = "300000", conflicts_with = "address")]
    pub(super) large: Option<NonZeroU32>,
    /// Also read tiers where there are so many customers, with up to three purchases each, and try a policy on all of them. It takes
    /// minutes to fill, and some gigabytes in the folder for temporary files.
    #[arg(long, value_name = "CUSTOMERS", num_args = 0..=1, default_missing_value = "1000000", conflicts_with = "address")]
    pub(super) many_customers: Option<NonZeroU32>,
    /// Keep all figures in this file, as JSON, for `bench-check`. `-` is standard output, and the tables then go to
    /// standard error.
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Measure this running service. It gets programs named after --program, with customers and purchases to stay.
    #[arg(long, value_name = "URL")]
    pub(super) address: Option<String>,
    /// The running service's database, for pgbench, as a role that may create a table; without it, no pgbench.
    #[arg(long, value_name = "URL", requires = "address")]
    pub(super) database_url: Option<String>,
    /// The program to make and use.
    #[arg(long = "program", value_name = "ID", default_value = "bench")]
    pub(super) program_id: String,
    /// The folder of the PostgreSQL programs; found if absent.
    #[arg(long, env = "GOLDBOOK_POSTGRES_BIN", value_name = "DIR")]
    pub(super) postgres_bin: Option<PathBuf>,
}

/// A kind of call to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Method {
    /// Grants of points: RewardService.GrantReward
    Grant,
    /// Reads of a standing: TierService.GetCustomerTier
    Tier,
    /// Spends of points: RewardService.RedeemPoints
    Redeem,
    /// Purchases: ActivityService.RecordActivity
    Purchase,
    /// First purchases that convert a referral: ActivityService.RecordActivity
    Conversion,
    /// Uses of a benefit that has a quota: BenefitService.UseBenefit
    UseBenefit,
    /// Streams of grants: RewardService.BatchGrantRewards
    Stream,
    /// Grants of one caller while another one floods the service
    Fairness,
}

/// Reads a number of seconds above zero.
fn parse_seconds(text: &str) -> Result<Duration, String> {
    parse_warmup(text).and_then(|time| if time.is_zero() { Err("it must be above zero".to_owned()) } else { Ok(time) })
}

/// Reads a number of seconds.
fn parse_warmup(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
    let seconds: f64 = text.parse().map_err(|_| "it must be a number of seconds".to_owned())?;
    let time = Duration::try_from_secs_f64(seconds).ok().filter(|time| *time <= LONGEST);
    time.ok_or_else(|| "it must be between 0 and a day".to_owned())
}
