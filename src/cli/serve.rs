//! `goldbook serve`: runs the service, with a database of its own or with another.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::error::CliError;
use crate::access::grpc::Identities;
use crate::clock::Clock;
use crate::database;
use crate::embedded_postgres::{DATABASE, EmbeddedPostgres, GOLDBOOK, OWNER_ROLE, Options, SERVICE_ROLE, explain};
use crate::server::{self, Settings};
use crate::telemetry::{self, Collector, Logs, Telemetry};
use crate::web::Origin;

const EXAMPLES: &str = "\
Examples:
  goldbook serve
  goldbook serve --data-dir /var/lib/goldbook --listen 127.0.0.1:50051
  GOLDBOOK_DATABASE_URL=postgres://goldbook_service@db/goldbook goldbook serve --no-migrate

Traces go to OTEL_EXPORTER_OTLP_ENDPOINT, if it is set; GOLDBOOK_LOG or RUST_LOG filters the log.";

/// Run the service until SIGTERM or SIGINT.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    /// Where to listen; port 0 takes any that is free.
    #[arg(long, env = "GOLDBOOK_LISTEN", default_value = "127.0.0.1:50051", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Listen beyond this machine although there is no authentication: only behind something that has.
    #[arg(long)]
    insecure_listen: bool,
    /// Ask callers for an API key; see `goldbook key`.
    #[arg(long, env = "GOLDBOOK_API_KEYS")]
    api_keys: bool,
    /// Let pages of this origin call from a browser, such as `https://shop.example`. May be given several times.
    #[arg(long = "cors-origin", env = "GOLDBOOK_CORS_ORIGINS", value_name = "ORIGIN", value_delimiter = ',')]
    cors_origins: Vec<Origin>,
    /// The Postgres to use, in the service's role. Without it the service runs one of its own in the data directory.
    #[arg(long, env = "GOLDBOOK_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<PgConnectOptions>,
    /// The same database in the owner's role, to migrate the schema at the start.
    #[arg(
        long,
        env = "GOLDBOOK_OWNER_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true,
        requires = "database_url"
    )]
    owner_database_url: Option<PgConnectOptions>,
    /// The role that the service uses in a database that the owner migrates.
    #[arg(long, env = "GOLDBOOK_SERVICE_ROLE", value_name = "ROLE", default_value = SERVICE_ROLE)]
    service_role: String,
    /// Where the service's own database lives.
    #[arg(long, env = "GOLDBOOK_DATA_DIR", value_name = "DIR", default_value = ".goldbook")]
    data_dir: PathBuf,
    /// Where PostgreSQL's programs are, if not where they usually are.
    #[arg(long, env = "GOLDBOOK_POSTGRES_BIN", value_name = "DIR")]
    postgres_bin: Option<PathBuf>,
    /// Do not migrate; refuse to start on an old schema.
    #[arg(long)]
    no_migrate: bool,
    /// How many batches are written at a time, each on a connection of its own.
    #[arg(long, env = "GOLDBOOK_LANES", value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    lanes: u8,
    /// How many connections reads share.
    #[arg(long, env = "GOLDBOOK_READ_CONNECTIONS", value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=256))]
    read_connections: u32,
    /// How often accounts that nobody touches are looked through for points that vest or expire, in milliseconds; 0 for
    /// never. Balances and statements do not depend on it: it keeps the ledger's rows up to date. Where history is
    /// imported into a program whose points vest or expire by time, 0 keeps it from coming in between.
    #[arg(long, env = "GOLDBOOK_DUES_MS", value_name = "MS", default_value_t = 1_000)]
    dues_ms: u64,
    /// How often the liability of programs is summed up, in seconds; 0 for never. After a sum that took long it rests
    /// for twenty times as long, if that is more.
    #[arg(long, env = "GOLDBOOK_LIABILITY_SECONDS", value_name = "S", default_value_t = 60)]
    liability_seconds: u64,
    /// How long one export may take in all, in minutes. One that is cut off can be gone on with.
    #[arg(long, env = "GOLDBOOK_EXPORT_MINUTES", value_name = "MINUTES", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    export_minutes: u64,
    /// The data directory is thrown away afterwards: set it up faster, at the price of not surviving a power cut.
    #[arg(long, hide = true)]
    throwaway_database: bool,
}

/// Runs `goldbook serve`.
///
/// # Errors
/// If it cannot start, or its database ends by itself.
pub(crate) async fn run(args: ServeArgs) -> Result<(), CliError> {
    if !args.listen.ip().is_loopback() && !args.insecure_listen {
        return Err(CliError::usage(format!(
            "{} is reachable from other machines, and the service does not ask callers who they are: \
             listen on 127.0.0.1, or say --insecure-listen if something in front of it does",
            args.listen
        )));
    }
    let telemetry = telemetry::init(env!("CARGO_PKG_VERSION"), &Collector::from_env(), &Logs::from_env())
        .map_err(CliError::failed)?;
    telemetry::log_panics();
    let outcome = serve(args).await;
    if let Err(error) = &outcome {
        tracing::error!(%error, "the service ends");
    }
    Telemetry::shutdown(telemetry).await;
    outcome
}

async fn serve(args: ServeArgs) -> Result<(), CliError> {
    // Signals are caught from here on, however long the start takes.
    let stop = stop_signal()?;
    // The port comes first: if it is taken, no database is started for nothing.
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| CliError::failed(format!("cannot listen on {}: {error}", args.listen)))?;
    match args.database_url.clone() {
        Some(database) => {
            let owner = args.owner_database_url.as_ref();
            prepare_schema(&args, owner, &database).await?;
            serve_on(listener, &args, database, stop).await
        }
        None => serve_embedded(listener, &args, stop).await,
    }
}

/// Serves with a database of the service's own, which is started and stopped with it.
async fn serve_embedded(
    listener: TcpListener,
    args: &ServeArgs,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), CliError> {
    let options = Options {
        application: GOLDBOOK,
        data_dir: args.data_dir.clone(),
        bin_dir: args.postgres_bin.clone(),
        throwaway: args.throwaway_database,
    };
    let started = EmbeddedPostgres::start(options).await;
    let mut postgres = started.map_err(|error| CliError::failed(explain(&error)))?;
    let owner = postgres.connect_options(OWNER_ROLE, DATABASE);
    let service = postgres.connect_options(SERVICE_ROLE, DATABASE);
    let outcome = match prepare_schema(args, Some(&owner), &service).await {
        Ok(()) => serve_until_either_ends(listener, args, service, &mut postgres, stop).await,
        Err(error) => Err(error),
    };
    if let Err(error) = postgres.stop().await {
        tracing::warn!(%error, "the database did not stop in order; it recovers at the next start");
    }
    outcome
}

/// Serves until a signal comes, or until the database ends by itself, which is a failure.
async fn serve_until_either_ends(
    listener: TcpListener,
    args: &ServeArgs,
    service: PgConnectOptions,
    postgres: &mut EmbeddedPostgres,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), CliError> {
    let mut ended = None;
    let stop_or_end = async {
        tokio::select! {
            () = stop => {}
            status = postgres.wait() => ended = Some(status),
        }
    };
    let outcome = serve_on(listener, args, service, stop_or_end).await;
    let Some(status) = ended else { return outcome };
    Err(CliError::failed(format!(
        "the database ended by itself ({}); its log is in {}",
        status.map_or_else(|| "unknown status".to_owned(), |status| status.to_string()),
        args.data_dir.display()
    )))
}

/// Migrates the schema if there is an owner's connection, and checks that it is up to date.
async fn prepare_schema(
    args: &ServeArgs,
    owner: Option<&PgConnectOptions>,
    service: &PgConnectOptions,
) -> Result<(), CliError> {
    if let Some(owner) = owner.filter(|_| !args.no_migrate) {
        server::migrate(owner, &args.service_role).await.map_err(CliError::failed)?;
    }
    database::check_schema(service).await.map_err(CliError::failed)?;
    database::check_sessions(service).await.map_err(CliError::failed)
}

async fn serve_on(
    listener: TcpListener,
    args: &ServeArgs,
    database: PgConnectOptions,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), CliError> {
    let address = listener.local_addr().map_err(CliError::failed)?;
    tracing::info!(%address, "listening");
    let settings = Settings {
        database,
        lanes: args.lanes.into(),
        apply_dues_every: Some(Duration::from_millis(args.dues_ms)).filter(|every| !every.is_zero()),
        sum_up_every: Some(Duration::from_secs(args.liability_seconds)).filter(|every| !every.is_zero()),
        read_connections: args.read_connections,
        export_limit: Duration::from_secs(args.export_minutes * 60),
        identities: Identities { api_keys: args.api_keys, issuers: Vec::new() },
        cors_origins: args.cors_origins.clone(),
        clock: Clock::database(),
    };
    server::run(listener, settings, stop).await.map_err(CliError::failed)
}

/// Returns a future that ends at the first SIGTERM or SIGINT.
fn stop_signal() -> Result<impl Future<Output = ()> + Send, CliError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CliError::failed)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
