//! Serving with a database of the service's own.

use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpListener;

use super::args::ServeArgs;
use super::prepare::Prepared;
use super::{prepare_schema, serve_on};
use crate::cli::error::CliError;
use crate::embedded_postgres::{DATABASE, EmbeddedPostgres, GOLDBOOK, OWNER_ROLE, Options, SERVICE_ROLE, explain};
use crate::server::Ending;

/// Serves with a database of the service's own, which is started and stopped with it.
pub(super) async fn serve_embedded(
    listener: TcpListener,
    args: &ServeArgs,
    mut prepared: Prepared,
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
    let schema = prepare_schema(args, Some(&owner), &service).await;
    let outcome = match schema.and_then(|()| prepared.complete(&args.data_dir)) {
        Ok(()) => serve_until_either_ends(listener, args, prepared, service, &mut postgres, stop).await,
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
    prepared: Prepared,
    service: PgConnectOptions,
    postgres: &mut EmbeddedPostgres,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), CliError> {
    let mut ended = None;
    let stop_or_end = async {
        tokio::select! {
            () = stop => Ending::InOrder,
            status = postgres.wait() => {
                ended = Some(status);
                Ending::WithoutDatabase
            }
        }
    };
    let outcome = serve_on(listener, args, prepared, service, stop_or_end).await;
    let Some(status) = ended else { return outcome };
    Err(CliError::failed(format!(
        "the database ended by itself ({}); its log is in {}",
        status.map_or_else(|| "unknown status".to_owned(), |status| status.to_string()),
        args.data_dir.display()
    )))
}
