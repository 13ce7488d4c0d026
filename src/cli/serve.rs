//! `goldbook serve`: runs the service, with a database of its own or with another.

mod args;
mod embedded;
mod prepare;

use std::time::Duration;

use futures_util::FutureExt as _;
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::database_url::DatabaseUrl;
use super::error::CliError;
use crate::clock::Clock;
use crate::database;
use crate::listener::Bounds;
use crate::server::{self, Ending, Settings};
use crate::telemetry::{self, Collector, Logs, Telemetry};

pub(super) use args::ServeArgs;
use embedded::serve_embedded;
use prepare::Prepared;

/// Runs `goldbook serve`.
///
/// # Errors
/// If it cannot start, or its database ends by itself.
pub(crate) async fn run(args: ServeArgs) -> Result<(), CliError> {
    let prepared = args.prepare().await?;
    let telemetry = telemetry::init(env!("CARGO_PKG_VERSION"), &Collector::from_env(), &Logs::from_env())
        .map_err(CliError::failed)?;
    telemetry::log_panics();
    let outcome = serve(args, prepared).await;
    if let Err(error) = &outcome {
        tracing::error!(%error, "the service ends");
    }
    Telemetry::shutdown(telemetry).await;
    outcome
}
async fn serve(args: ServeArgs, prepared: Prepared) -> Result<(), CliError> {
    // Signals are caught from here on, however long the start takes.
    let stop = stop_signal()?;
    // The port comes first: if it is taken, no database is started for nothing.
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| CliError::failed(format!("cannot listen on {}: {error}", args.listen)))?;
    match &args.database_url {
        Some(database) => {
            let database = database.options()?;
            let owner = args.owner_database_url.as_ref().map(DatabaseUrl::options).transpose()?;
            prepare_schema(&args, owner.as_ref(), &database).await?;
            serve_on(listener, &args, prepared, database, stop.map(|()| Ending::InOrder)).await
        }
        None => serve_embedded(listener, &args, prepared, stop).await,
    }
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
    prepared: Prepared,
    database: PgConnectOptions,
    stop: impl Future<Output = Ending> + Send,
) -> Result<(), CliError> {
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
