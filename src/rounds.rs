//! Work in the background that goes on in rounds: what is told of them, and how patient they are.

use std::time::{Duration, Instant};

use futures_util::future::{Either, join_all, ready};
use tracing::{Instrument as _, Span};

use crate::error::with_causes;
use crate::telemetry::{self, metrics};

/// The pauses before that is tried again which cannot be done at the moment, such as since somebody holds an account.
const PAUSES: [Duration; 3] = [Duration::from_millis(20), Duration::from_millis(100), Duration::from_millis(500)];

/// For how many times as long as a round took the next one is waited for, if that is longer than usual, and for how long at
/// most.
const REST: u32 = 20;
const MAX_REST: Duration = Duration::from_mins(10);

/// How long to wait behind a round that took so long and goes through very many rows, where one waits so long otherwise.
pub(crate) fn rest_behind(took: Duration, every: Duration) -> Duration {
    every.max((took * REST).min(MAX_REST))
}

/// What the log and the metrics tell of a worker.
pub(crate) struct Rounds {
    /// Its name in the metrics.
    pub worker: &'static str,
    /// What is logged as a round fails after one that did not.
    pub fails: &'static str,
    /// What is logged as a round is done after one that failed.
    pub is_well: &'static str,
}

impl Rounds {
    /// Has round after round carried out, until it is dropped. `rest` is how long to wait behind one that took so long.
    #[expect(clippy::disallowed_methods, reason = "the pause between two rounds, by how long one took")]
    pub(crate) async fn keep_going<E: std::error::Error, F: Future<Output = Result<(), E>>>(
        self,
        open_span: impl Fn() -> Span,
        carry_out: impl Fn() -> F,
        rest: impl Fn(Duration) -> Duration,
    ) {
        let Self { worker, fails, is_well } = self;
        let mut was_well = true;
        loop {
            let begun = Instant::now();
            let span = open_span();
            let outcome = carry_out().instrument(span.clone()).await;
            if outcome.is_err() {
                telemetry::fail_span(&span, "round_failed");
            }
            drop(span);
            match &outcome {
                Ok(()) if !was_well => tracing::info!("{is_well}"),
                Err(error) if was_well => tracing::warn!(failure = with_causes(error), "{fails}"),
                Ok(()) | Err(_) => {}
            }
            was_well = outcome.is_ok();
            metrics::count_round(worker, was_well);
            tokio::time::sleep(rest(begun.elapsed())).await;
        }
    }
}

/// Tries something with each of some things, all at once, and again after a while with those that wait: what became of each.
#[expect(clippy::disallowed_methods, reason = "the pause before what cannot be done at the moment is tried again")]
pub(crate) async fn try_patiently<'t, T, F: Future>(
    things: &'t [T],
    attempt: impl Fn(&'t T) -> F,
    waits: impl Fn(&F::Output) -> bool,
) -> Vec<F::Output> {
    let mut outcomes = join_all(things.iter().map(&attempt)).await;
    for pause in PAUSES {
        if !outcomes.iter().any(&waits) {
            break;
        }
        tokio::time::sleep(pause).await;
        let again = things.iter().zip(outcomes).map(|(thing, outcome)| {
            if waits(&outcome) { Either::Left(attempt(thing)) } else { Either::Right(ready(outcome)) }
        });
        outcomes = join_all(again).await;
    }
    outcomes
}
