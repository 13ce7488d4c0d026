//! `goldbook serve`: runs the service, with a database of its own or with another.

mod args;
mod embedded;
mod prepare;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpSocket;
use tokio::signal::unix::{SignalKind, signal};

use super::database_url::DatabaseUrl;
use super::error::{CliError, with_causes};
use crate::clock::Clock;
use crate::database::{self, DatabaseProbe, SchemaError, Waiting};
use crate::listener::Bounds;
use crate::server::{self, Ending, Settings};
use crate::telemetry::{self, Collector, Logs, Telemetry};

pub(super) use args::ServeArgs;
use embedded::serve_embedded;
use prepare::Prepared;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1_024;

/// Runs `goldbook serve` in a process that began at this time.
///
/// # Errors
/// If it cannot start, or its database ends by itself.
pub(crate) async fn run(args: ServeArgs, begun: Instant) -> Result<(), CliError> {
    // All that is wrong is told at once, before anything is touched.
    let mut faults = Vec::new();
    let prepared = args.read(&mut faults).await;
    let telemetry = telemetry::init(env!("CARGO_PKG_VERSION"), &Collector::from_env(), &Logs::from_env());
    let telemetry = telemetry.map_err(|wrong| faults.extend(wrong.iter().map(|error| with_causes(error)))).ok();
    // The port is taken before a database is started for nothing. Nobody can connect to it yet.
    let socket = reserve(args.listen);
    let (Some(prepared), Some(telemetry)) = (prepared, telemetry) else {
        faults.extend(socket.err().map(|error| error.to_string()));
        return Err(CliError::usage(faults.join("\n")));
    };
    telemetry::log_panics();
    let outcome = match socket {
        Ok(socket) => serve(Start { args, prepared, socket, begun }).await,
        Err(error) => Err(error),
    };
    if let Err(error) = &outcome {
        tracing::error!(%error, "the service ends");
    }
    Telemetry::shutdown(telemetry).await;
    outcome
}

/// What a service starts with.
struct Start {
    args: ServeArgs,
    prepared: Prepared,
    /// Takes the port, and listens once the database is ready: until then, connections are refused.
    socket: TcpSocket,
    begun: Instant,
}

/// Takes the port without listening on it.
fn reserve(address: SocketAddr) -> Result<TcpSocket, CliError> {
    let take = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Connections of an earlier service that still end are in nobody's way.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(socket)
    };
    take().map_err(|error: io::Error| CliError::failed(format!("cannot listen on {address}: {error}")))
}

async fn serve(start: Start) -> Result<(), CliError> {
    // Signals are caught from here on, however long the start takes.
    let mut stop = pin!(stop_signal()?);
    let Some(database) = &start.args.database_url else { return serve_embedded(start, stop).await };
    let database = database.options()?;
    let owner = start.args.owner_database_url.as_ref().map(DatabaseUrl::options).transpose()?;
    let prepare = async || prepare_schema(&start.args, owner.as_ref(), &database).await;
    let first = owner.as_ref().unwrap_or(&database);
    let probe = tokio::select! {
        () = &mut stop => {
            tracing::info!("told to stop before it served");
            return Ok(());
        }
        probe = start.args.patience.wait_for(first, prepare, log_waiting) => probe.map_err(CliError::failed)?,
    };
    serve_on(start, database, probe, stop.map(|()| Ending::InOrder)).await
}

fn log_waiting(waiting: Waiting) {
    match waiting {
        Waiting::Begins { .. } => tracing::warn!("{waiting}"),
        Waiting::Ends { .. } => tracing::info!("{waiting}"),
    }
}

/// Migrates the schema if there is an owner's connection, and checks that it is up to date.
async fn prepare_schema(
    args: &ServeArgs,
    owner: Option<&PgConnectOptions>,
    service: &PgConnectOptions,
) -> Result<DatabaseProbe, SchemaError> {
    if let Some(owner) = owner.filter(|_| !args.no_migrate) {
        server::migrate(owner, &args.service_role).await?;
    }
    database::check(service).await
}

async fn serve_on(
    Start { args, prepared, socket, begun }: Start,
    database: PgConnectOptions,
    probe: DatabaseProbe,
    stop: impl Future<Output = Ending> + Send,
) -> Result<(), CliError> {
    let listener = socket.listen(BACKLOG);
    let listener = listener.map_err(|error| CliError::failed(format!("cannot listen on {}: {error}", args.listen)))?;
    let address = listener.local_addr().map_err(CliError::failed)?;
    tracing::info!(%address, tls = prepared.tls.is_some(), "listening");
    if prepared.identities.is_empty() {
        tracing::warn!("callers are not asked who they are: everyone on this machine may do everything");
    }
    let settings = Settings {
        database,
        lanes: args.lanes.into(),
        apply_dues_every: Some(Duration::from_millis(args.dues_ms)).filter(|every| !every.is_zero()),
        sum_up_every: Some(Duration::from_secs(args.liability_seconds)).filter(|every| !every.is_zero()),
        erase_of_inactive_every: Some(Duration::from_secs(args.retention_minutes * 60))
            .filter(|every| !every.is_zero()),
        read_connections: args.read_connections,
        export_limit: Duration::from_secs(args.export_minutes * 60),
        tls: prepared.tls,
        reflection: args.reflection || args.listen.ip().is_loopback(),
        connections: Bounds::at_most(usize::try_from(args.connections).unwrap_or(usize::MAX)),
        identities: prepared.identities,
        limits: prepared.limits,
        erasure_keys: prepared.erasure_keys,
        cors_origins: args.cors_origins.clone(),
        clock: Clock::database(),
        begun,
    };
    server::run(listener, settings, probe, stop).await.map_err(CliError::failed)
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
