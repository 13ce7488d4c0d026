//! `goldbook serve`: runs the service, with a database of its own or with another.

mod admin_listen;
mod args;
mod embedded;
mod prepare;
mod serving;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Instant;

use futures_util::FutureExt as _;
use tokio::net::TcpSocket;
use tokio::signal::unix::{SignalKind, signal};

use super::database_url::DatabaseUrl;
use super::error::{CliError, with_causes};
use super::telemetry_args::StartTrace;
use crate::admin::Readiness;
use crate::database::Waiting;
use crate::server::Ending;
use crate::telemetry::metrics::registry::DATABASE_REACHABLE;
use crate::telemetry::metrics::{self, Measurements, Reading, show};
use crate::telemetry::{self, Logs, Telemetry};

pub(super) use args::ServeArgs;
use embedded::serve_embedded;
use serving::{Start, prepare_schema, serve_on};

/// Runs `goldbook serve` in a process that began at this time.
///
/// # Errors
/// If it cannot start, or its database ends by itself.
pub(crate) async fn run(args: ServeArgs, begun: Instant) -> Result<(), CliError> {
    // All that is wrong is told at once, before anything is touched.
    let mut faults = Vec::new();
    let prepared = args.read(&mut faults).await;
    let telemetry = telemetry::init(env!("CARGO_PKG_VERSION"), &args.telemetry.export(), &Logs::from_env());
    let telemetry = telemetry.map_err(|wrong| faults.extend(wrong.iter().map(|error| with_causes(error)))).ok();
    let measurements = metrics::measure(env!("CARGO_PKG_VERSION"), crate::version::COMMIT, args.receivers());
    let measurements = measurements.map_err(|error| faults.push(with_causes(&error))).ok();
    // The port is taken before a database is started for nothing. Nobody can connect to it yet.
    let socket = reserve(args.listen);
    let (Some(prepared), Some(telemetry), Some(measurements)) = (prepared, telemetry, measurements) else {
        faults.extend(socket.err().map(|error| error.to_string()));
        return Err(CliError::usage(faults.join("\n")));
    };
    telemetry::log_panics();
    let outcome = match socket {
        Ok(socket) => {
            let trace = StartTrace::begin();
            let readiness = Readiness::default();
            serve(Start { args, prepared, socket, begun, trace, readiness }, measurements.clone()).await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = &outcome {
        tracing::error!(%error, "the service ends");
    }
    let last_metrics = async {
        if let Some(measurements) = measurements {
            measurements.shutdown().await;
        }
    };
    tokio::join!(last_metrics, Telemetry::shutdown(telemetry));
    outcome
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

async fn serve(start: Start, measurements: Option<Measurements>) -> Result<(), CliError> {
    // Signals are caught from here on, however long the start takes.
    let mut stop = pin!(stop_signal()?);
    let _answering = start.args.admin_listen.start(measurements, start.readiness.clone()).await?;
    let Some(database) = &start.args.database_url else { return serve_embedded(start, stop).await };
    let database = database.options()?;
    let owner = start.args.owner_database_url.as_ref().map(DatabaseUrl::options).transpose()?;
    let prepare = async || prepare_schema(&start.args, &start.trace, owner.as_ref(), &database).await;
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
    let is_reachable = match waiting {
        Waiting::Begins { .. } => {
            tracing::warn!("{waiting}");
            0.0
        }
        Waiting::Ends { .. } => {
            tracing::info!("{waiting}");
            1.0
        }
    };
    show(&DATABASE_REACHABLE, [(vec![], Reading::Fixed(is_reachable))]);
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
