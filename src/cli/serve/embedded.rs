//! Serving with a database of the service's own.

use std::pin::pin;

use sqlx::postgres::PgConnectOptions;

use super::serving::{Start, prepare_schema, serve_on};
use crate::cli::error::CliError;
use crate::database::DatabaseProbe;
use crate::embedded_postgres::{
    DATABASE, EmbeddedPostgres, GOLDBOOK, OWNER_ROLE, Options, SERVICE_ROLE, StartError, explain,
};
use crate::server::Ending;

/// Serves with a database of the service's own, which is started and stopped with it.
pub(super) async fn serve_embedded(mut start: Start, stop: impl Future<Output = ()> + Send) -> Result<(), CliError> {
    let mut stop = pin!(stop);
    let options = Options {
        application: GOLDBOOK,
        data_dir: start.args.data_dir.clone(),
        bin_dir: start.args.postgres_bin.clone(),
        throwaway: start.args.throwaway_database,
    };
    let starting = EmbeddedPostgres::start_unless(options, &mut stop);
    let mut postgres = match start.trace.step("start.postgres", starting).await {
        Ok(postgres) => postgres,
        Err(StartError::ToldToStop) => {
            tracing::info!("told to stop before it served");
            return Ok(());
        }
        Err(error) => return Err(CliError::failed(explain(&error))),
    };
    let owner = postgres.connect_options(OWNER_ROLE, DATABASE);
    let service = postgres.connect_options(SERVICE_ROLE, DATABASE);
    let schema = prepare_schema(&start.args, &start.trace, Some(&owner), &service).await.map_err(CliError::failed);
    let prepared = schema.and_then(|probe| start.prepared.complete(&start.args.data_dir).map(|()| probe));
    let outcome = match prepared {
        Ok(probe) => serve_until_either_ends(start, service, probe, &mut postgres, stop).await,
        Err(error) => Err(error),
    };
    if let Err(error) = postgres.stop().await {
        tracing::warn!(%error, "the database did not stop in order; it recovers at the next start");
    }
    outcome
}

/// Serves until a signal comes, or until the database ends by itself, which is a failure.
async fn serve_until_either_ends(
    start: Start,
    service: PgConnectOptions,
    probe: DatabaseProbe,
    postgres: &mut EmbeddedPostgres,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), CliError> {
    let log_dir = start.args.data_dir.clone();
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
    let outcome = serve_on(start, service, probe, stop_or_end).await;
    let Some(status) = ended else { return outcome };
    Err(CliError::failed(format!(
        "the database ended by itself ({}); its log is in {}",
        status.map_or_else(|| "unknown status".to_owned(), |status| status.to_string()),
        log_dir.display()
    )))
}
