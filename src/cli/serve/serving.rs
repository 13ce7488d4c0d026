//! From a database that is there to the service that works with it.

use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpSocket;

use super::args::ServeArgs;
use super::prepare::Prepared;
use crate::admin::Readiness;
use crate::cli::error::CliError;
use crate::cli::telemetry_args::StartTrace;
use crate::clock::Clock;
use crate::database::{self, DatabaseProbe, SchemaError};
use crate::listener::Bounds;
use crate::server::{self, Ending, Settings};

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1_024;

/// What a service starts with.
pub(super) struct Start {
    pub(super) args: ServeArgs,
    pub(super) prepared: Prepared,
    /// Takes the port, and listens once the database is ready: until then, connections are refused.
    pub(super) socket: TcpSocket,
    pub(super) begun: Instant,
    pub(super) trace: StartTrace,
    pub(super) readiness: Readiness,
}

/// Migrates the schema if there is an owner's connection, and checks that it is up to date.
pub(super) async fn prepare_schema(
    args: &ServeArgs,
    trace: &StartTrace,
    owner: Option<&PgConnectOptions>,
    service: &PgConnectOptions,
) -> Result<DatabaseProbe, SchemaError> {
    if let Some(owner) = owner.filter(|_| !args.no_migrate) {
        trace.step("start.migrate", server::migrate(owner, &args.service_role)).await?;
    }
    trace.step("start.check", database::check(service)).await
}

/// Listens, and serves until it is told to stop.
pub(super) async fn serve_on(
    Start { args, prepared, socket, begun, trace, readiness }: Start,
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
        data_dir: args.database_url.is_none().then(|| args.data_dir.clone()),
        readiness,
        begun,
        start: trace.0,
    };
    server::run(listener, settings, probe, stop).await.map_err(CliError::failed)
}
