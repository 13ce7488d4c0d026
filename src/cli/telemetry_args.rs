//! What `goldbook serve` tells of itself: which traces are kept, and the one of its own start.

use std::time::Duration;

use clap::Args;
use tracing::{Instrument as _, Span};

use crate::telemetry::{self, AlwaysKind, AlwaysSample, Export};

/// Which traces are kept whatever the sampler says.
#[derive(Debug, Args)]
pub(super) struct TelemetryArgs {
    /// Export traces of this kind whatever OTEL_TRACES_SAMPLER says: `errors` of what failed by the service's fault, `slow`
    /// of what took long.
    #[arg(long, env = "GOLDBOOK_ALWAYS_SAMPLE", value_name = "KIND", value_delimiter = ',')]
    pub(super) always_sample: Vec<AlwaysKind>,
    /// From how many milliseconds on a call or a batch is slow. A call with a stream never is.
    #[arg(long, env = "GOLDBOOK_SLOW_MS", value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub(super) slow_ms: u64,
}

impl TelemetryArgs {
    /// Who gets what the service tells of itself, as these flags and the standard variables say.
    pub(super) fn export(&self) -> Export {
        let has = |kind| self.always_sample.contains(&kind);
        let slow = has(AlwaysKind::Slow).then(|| Duration::from_millis(self.slow_ms));
        Export::from_env(AlwaysSample { errors: has(AlwaysKind::Errors), slow })
    }
}

/// The trace of the service's start, which ends when health first says that it serves.
#[derive(Clone, Debug)]
pub(super) struct StartTrace(pub(super) Span);

impl StartTrace {
    pub(super) fn begin() -> Self {
        Self(tracing::info_span!(parent: None, "goldbook.start"))
    }

    /// Does a part of the start in a span of this name. If it fails, so does the start.
    ///
    /// # Errors
    /// Those of the part.
    pub(super) async fn step<T, E>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let step = tracing::info_span!(parent: &self.0, "start.step", otel.name = name);
        let done = work.instrument(step.clone()).await;
        if done.is_err() {
            telemetry::fail_span(&step, "start_failed");
            telemetry::fail_span(&self.0, "start_failed");
        }
        done
    }
}
