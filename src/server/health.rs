//! What is said of the service's health, by the state of its database.

use std::time::Duration;

use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthReporter;
use tracing::Span;

use crate::admin::Readiness;
use crate::database::DatabaseProbe;
use crate::proto;
use crate::telemetry::metrics::registry::DATABASE_REACHABLE;
use crate::telemetry::metrics::{Reading, show};

/// How often the database is asked whether it lives.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// What `grpc.health.v1` says of every service, which is the same for all.
#[derive(Clone)]
pub(super) struct Health(HealthReporter, Readiness);

impl Health {
    pub(super) fn new(readiness: Readiness) -> (Self, HealthServer<impl tonic_health::pb::health_server::Health>) {
        let (reporter, service) = tonic_health::server::health_reporter();
        (Self(reporter, readiness), service)
    }

    /// The services by name; the empty name stands for all.
    fn services() -> impl Iterator<Item = &'static str> {
        std::iter::once("").chain(proto::SERVICES.iter().copied())
    }

    /// Says this of every service.
    pub(super) async fn report(&self, status: ServingStatus) {
        self.1.set(matches!(status, ServingStatus::Serving));
        for service in Self::services() {
            self.0.set_service_status(service, status).await;
        }
    }

    /// Ends the calls that watch health, which would otherwise never end.
    pub(super) async fn end_watches(mut self) {
        // Time for the last word to be read before the stream ends.
        tokio::task::yield_now().await;
        for service in Self::services() {
            self.0.clear_service_status(service).await;
        }
    }

    /// Keeps health at what the database's state is, which is known where the probe is connected already.
    #[expect(clippy::disallowed_methods, reason = "the pause between two questions")]
    pub(super) async fn follow(self, mut probe: DatabaseProbe, is_reachable: bool, start: Span) {
        let mut starting = Some([tracing::info_span!(parent: &start, "start.first_health"), start]);
        let mut was_reachable = None;
        if is_reachable {
            was_reachable = Some(true);
            starting = None;
            show(&DATABASE_REACHABLE, [(vec![], Reading::Fixed(1.0))]);
            tokio::time::sleep(HEALTH_INTERVAL).await;
        }
        loop {
            let reachable = probe.is_reachable().await;
            show(&DATABASE_REACHABLE, [(vec![], Reading::Fixed(f64::from(u8::from(reachable))))]);
            if was_reachable != Some(reachable) {
                let status = if reachable { ServingStatus::Serving } else { ServingStatus::NotServing };
                self.report(status).await;
                starting = starting.filter(|_| !reachable);
                match (was_reachable, reachable) {
                    (_, false) => tracing::warn!("the database is away"),
                    (Some(false), true) => tracing::info!("the database is back"),
                    (Some(true) | None, true) => {}
                }
                was_reachable = Some(reachable);
            }
            tokio::time::sleep(HEALTH_INTERVAL).await;
        }
    }
}
