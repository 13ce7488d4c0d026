//! What operators count and time: instruments of OpenTelemetry, which a collector is sent and Prometheus reads.
//!
//! There is one set for the process, as there is one tracer. Before [`measure`], and where nobody wants metrics, nothing is
//! recorded.

mod exemplars;
mod export;
mod exposition;
mod instruments;
mod levels;
mod process;
mod programs;
pub mod registry;
mod shown;

use std::borrow::Cow;
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::KeyValue;
use opentelemetry::trace::SpanContext;
use tonic::Code;

pub use export::{Measurements, Receivers, find_fault, measure};
pub(crate) use levels::{CommandOrigin, Counted};
pub use programs::{MAX_PROGRAMS, OTHER_PROGRAMS};
pub(super) use shown::watch_spans;
pub use shown::{Reading, show, watch_pool};

use super::always;
use super::headers::{code_name, is_our_fault};
use exemplars::Exemplar;
pub use instruments::is_measured;
use instruments::record;

/// A call that is under way.
#[derive(Debug)]
pub(super) struct TimedCall {
    method: &'static str,
    is_stream: bool,
    begun: Instant,
    _active: Counted,
}

impl TimedCall {
    pub(super) fn begin(method: &'static str, is_stream: bool) -> Self {
        Self { method, is_stream, begun: Instant::now(), _active: Counted::call() }
    }

    /// Records the end of the call.
    pub(super) fn end(&self, code: Code, span: &SpanContext) {
        record(|instruments| {
            let elapsed = self.begun.elapsed();
            let seconds = elapsed.as_secs_f64();
            let name = code_name(code);
            let attributes = [
                KeyValue::new("rpc.system.name", "grpc"),
                KeyValue::new("rpc.method", self.method),
                KeyValue::new("rpc.response.status_code", name),
                KeyValue::new("error.type", name),
            ];
            let known = if is_our_fault(code) { 4 } else { 3 };
            instruments.call_duration.record(seconds, attributes.get(..known).unwrap_or_default());
            if span.is_sampled() || always::keeps_call(code, elapsed, self.is_stream) {
                let (trace_id, span_id) = (span.trace_id(), span.span_id());
                let exemplar = Exemplar { trace_id, span_id, seconds, at: SystemTime::now() };
                instruments.exemplars.note(self.method, code, exemplar);
            }
        });
    }
}

/// Counts a refusal by its reason.
pub(crate) fn count_refusal(reason: &'static str) {
    record(|instruments| instruments.refusals.add(1, &[KeyValue::new("goldbook.reason", reason)]));
}

/// What a caller showed that did not prove who it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Credential {
    /// Nothing.
    None,
    /// An API key.
    ApiKey,
    /// Something else in the header for tokens.
    Token,
    /// A certificate.
    Certificate,
}

/// Counts a call whose caller did not prove who it is.
pub(crate) fn count_authentication_failure(shown: Credential) {
    let name = match shown {
        Credential::None => "none",
        Credential::ApiKey => "api_key",
        Credential::Token => "token",
        Credential::Certificate => "certificate",
    };
    record(|instruments| instruments.authentication_failures.add(1, &[KeyValue::new("goldbook.credential", name)]));
}

/// Counts a call that was turned away because a limit was reached.
pub(crate) fn count_limit(limit: &'static str) {
    record(|instruments| instruments.limits_hit.add(1, &[KeyValue::new("goldbook.limit", limit)]));
}

/// A command that waits for a batch to take it.
#[derive(Debug)]
pub(crate) struct WaitingCommand {
    origin: CommandOrigin,
    since: Instant,
    _counted: Counted,
}

impl WaitingCommand {
    pub(crate) fn new(origin: CommandOrigin) -> Self {
        Self { origin, since: Instant::now(), _counted: Counted::waiting(origin) }
    }

    /// Records that a batch takes it.
    pub(crate) fn taken(self) {
        record(|instruments| {
            let attribute = KeyValue::new("goldbook.origin", self.origin.name());
            instruments.lane_wait.record(self.since.elapsed().as_secs_f64(), &[attribute]);
        });
    }
}

/// A try of a batch, phase by phase.
pub(crate) struct TimedBatch {
    begun: Instant,
    /// The phase that is under way, and since when.
    phase: (&'static str, Instant),
    is_committed: bool,
}

impl TimedBatch {
    pub(crate) fn begin() -> Self {
        let now = Instant::now();
        Self { begun: now, phase: ("find_and_lock", now), is_committed: false }
    }

    /// Records that a phase has ended, and this one begins.
    pub(crate) fn enter(&mut self, phase: &'static str) {
        let now = Instant::now();
        let (ended, since) = std::mem::replace(&mut self.phase, (phase, now));
        record_phase(ended, now.duration_since(since));
    }

    /// Records that the batch is committed.
    pub(crate) fn commit(mut self, size: usize) {
        self.is_committed = true;
        record(|instruments| instruments.batch_size.record(u64::try_from(size).unwrap_or(u64::MAX), &[]));
    }
}

fn record_phase(phase: &'static str, took: Duration) {
    record(|instruments| {
        instruments.phase_duration.record(took.as_secs_f64(), &[KeyValue::new("goldbook.batch.phase", phase)]);
    });
}

impl Drop for TimedBatch {
    /// The last phase is recorded here, also one that failed or was given up.
    fn drop(&mut self) {
        let (phase, since) = self.phase;
        record_phase(phase, since.elapsed());
        let outcome = if self.is_committed { "committed" } else { "failed" };
        record(|instruments| {
            let attribute = KeyValue::new("goldbook.outcome", outcome);
            instruments.batch_duration.record(self.begun.elapsed().as_secs_f64(), &[attribute]);
        });
    }
}

/// Counts a batch that is tried again as it was.
pub(crate) fn count_retry(cause: &'static str) {
    record(|instruments| instruments.retries.add(1, &[KeyValue::new("goldbook.cause", cause)]));
}

/// Counts a batch that is tried again in parts.
pub(crate) fn count_split() {
    record(|instruments| instruments.splits.add(1, &[]));
}

/// Counts commands that a later batch has to carry out.
pub(crate) fn count_postponements(cause: &'static str, count: usize) {
    if count > 0 {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        record(|instruments| instruments.postponements.add(count, &[KeyValue::new("goldbook.cause", cause)]));
    }
}

/// Records how many reads a statement answers.
pub(crate) fn record_lookups(read: &'static str, count: usize) {
    record(|instruments| {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        instruments.lookups.record(count, &[KeyValue::new("goldbook.read", read)]);
    });
}

/// What was written of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wrote {
    pub(crate) entries: u64,
    pub(crate) points_granted: u64,
    pub(crate) points_redeemed: u64,
    pub(crate) points_expired: u64,
    pub(crate) conversions: u64,
    pub(crate) tier_changes: u64,
}

/// Counts what was written of a program.
pub(crate) fn count_written(program_id: &str, wrote: &Wrote) {
    record(|instruments| {
        let attributes = [instruments.programs.attribute(program_id)];
        let counts = [
            (&instruments.entries, wrote.entries),
            (&instruments.points_granted, wrote.points_granted),
            (&instruments.points_redeemed, wrote.points_redeemed),
            (&instruments.points_expired, wrote.points_expired),
            (&instruments.conversions, wrote.conversions),
            (&instruments.tier_changes, wrote.tier_changes),
        ];
        for (counter, count) in counts {
            if count > 0 {
                counter.add(count, &attributes);
            }
        }
    });
}

/// Counts a round of work in the background.
pub(crate) fn count_round(worker: &'static str, is_done: bool) {
    let outcome = if is_done { "done" } else { "failed" };
    let attributes = [KeyValue::new("goldbook.worker", worker), KeyValue::new("goldbook.outcome", outcome)];
    record(|instruments| instruments.worker_rounds.add(1, &attributes));
}

/// A statement that is under way.
#[derive(Debug)]
pub(crate) struct TimedStatement(Option<(Instant, Cow<'static, str>)>);

impl TimedStatement {
    /// Begins one that has this summary: a verb and its tables.
    #[expect(clippy::ptr_arg, reason = "a summary that is fixed is not copied")]
    pub(crate) fn begin(summary: &Cow<'static, str>) -> Self {
        Self(is_measured().then(|| (Instant::now(), summary.clone())))
    }

    /// Records its end, with the short name of its failure if it failed.
    pub(crate) fn end(mut self, failure: Option<&str>) {
        self.record_end(failure);
    }

    fn record_end(&mut self, failure: Option<&str>) {
        let Some((begun, summary)) = self.0.take() else { return };
        record(|instruments| {
            let mut attributes = vec![KeyValue::new("db.system.name", "postgresql")];
            attributes.extend(instruments::statement_attributes(summary));
            attributes.extend(failure.map(|code| KeyValue::new("error.type", code.to_owned())));
            instruments.statement_duration.record(begun.elapsed().as_secs_f64(), &attributes);
        });
    }
}

impl Drop for TimedStatement {
    /// One that nobody waits for any more has taken at least as long.
    fn drop(&mut self) {
        self.record_end(Some("cancelled"));
    }
}
