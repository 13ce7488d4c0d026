//! `goldbook wait`: makes a script wait until the service is ready.

use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::client::ClientOptions;
use super::error::CliError;
use super::error::with_causes;

/// How long to pause between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// Wait until the service is ready.
///
/// Ready means that grpc.health.v1 answers SERVING, which it does while the service reaches its database.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  goldbook wait && goldbook demo
  goldbook wait --seconds 120 --address http://goldbook.internal:50051

Exit status: 0 once it is ready, 1 when the time has passed before.")]
pub(crate) struct WaitArgs {
    /// How long to wait at most.
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub(crate) seconds: u64,
    #[command(flatten)]
    client: ClientOptions,
}

/// Waits until the service answers that it serves.
///
/// # Errors
/// If it does not within the time. The message tells what it answered last.
pub(crate) async fn run(args: WaitArgs) -> Result<(), CliError> {
    let endpoint = args.client.endpoint()?;
    let give_up = Instant::now() + Duration::from_secs(args.seconds);
    loop {
        let left = give_up.saturating_duration_since(Instant::now()).max(PAUSE);
        let problem = match timeout(left, check_ready(&endpoint)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(problem)) => problem,
            Err(_) => "no answer".to_owned(),
        };
        if Instant::now() + PAUSE >= give_up {
            return Err(CliError::failed(format_args!(
                "the service at {} was not ready within {} s: {problem}",
                args.client.address, args.seconds
            )));
        }
        sleep(PAUSE).await;
    }
}

/// Asks the service once whether it is ready. Each attempt connects anew, since a connection from before the start may
/// be broken.
pub(super) async fn check_ready(endpoint: &Endpoint) -> Result<(), String> {
    let channel = endpoint.connect().await.map_err(|error| with_causes(&error))?;
    // The empty name asks for the service as a whole.
    let request = HealthCheckRequest { service: String::new() };
    let answer = HealthClient::new(channel).check(request).await;
    let status = answer.map_err(|status| format!("{:?}: {}", status.code(), status.message()))?.into_inner().status();
    if status == ServingStatus::Serving { Ok(()) } else { Err(status.as_str_name().to_owned()) }
}
