//! Traces and logs: one tracer for the whole process, log lines that name their trace, and the export of both.
//!
//! The tracer is always there, exporter or not, so that every ledger entry carries the id of a real trace. `tracing` is
//! what the other rooms use; OpenTelemetry appears here only. `rpc` makes the server spans and `statements`
//! those of SQL, `export` sends spans away and `always` says which in any case, `logs` writes lines and `records` sends
//! them, `panics` tells of defects.

mod always;
mod deadline;
mod error;
mod export;
mod headers;
mod logs;
mod panics;
mod records;
mod resource;
mod rpc;
mod sending;
mod statements;
mod targets;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanRef, Status, TraceContextExt as _, TracerProvider as _};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::{Span, Subscriber};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt as _};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Layered, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

pub use always::{AlwaysKind, AlwaysSample};
pub use error::InitError;
pub use export::{Collector, Export};
pub use logs::{LogFormat, Logs};
pub use opentelemetry::trace::SpanContext;
pub use panics::{log_panics, message_of};
pub use rpc::{Deadline, RpcBody, RpcFuture, RpcLayer, RpcService, record_items, record_program, record_reason};
pub use statements::{fail_statement, name_database, statement};

use logs::Gate;
use records::Records;
use sending::Counters;

/// How long [`Telemetry::shutdown`] waits for the collector to take spans, and then to take log records: a hanging one must not hold up the end of the process.
const FLUSH_LIMIT: Duration = Duration::from_secs(3);

/// Keeps the tracer's export going; whoever holds it flushes it at the end with [`Telemetry::shutdown`].
#[derive(Debug)]
pub struct Telemetry {
    provider: SdkTracerProvider,
    counters: Option<Arc<Counters>>,
    records: Option<Records>,
}

/// Installs the tracer and the log subscriber of this process.
///
/// # Errors
/// If the collector's settings or the log filter make no sense, or if a subscriber is installed already.
pub fn init(service_version: &'static str, export: &Export, logs: &Logs) -> Result<Telemetry, InitError> {
    let (provider, counters) = export::tracer_provider(service_version, export)?;
    let records = Records::connect(service_version, &export.logs)?;
    let gate = Gate::new(counters.is_some(), logs, records.clone(), std::io::stderr)?;
    subscriber(&provider, service_version, gate).try_init()?;
    export::warn_of_unsupported_settings(export);
    Ok(Telemetry { provider, counters, records })
}

/// What the gate is in front of.
type Spans = Layered<OpenTelemetryLayer<Registry, SdkTracer>, Registry>;

/// Spans go to the tracer and events to the log, each by its own measure: a quiet log does not switch off spans.
fn subscriber(
    provider: &SdkTracerProvider,
    service_version: &'static str,
    gate: Gate<Spans>,
) -> impl Subscriber + Send + Sync + use<> {
    // Everything switched off here is work per span that nobody reads. Without context activation a child finds its
    // parent through `tracing`, and OpenTelemetry's current context is free for `rpc` to hold the server span.
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer_with_scope(resource::scope(service_version)))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false);
    Registry::default().with(spans).with(gate)
}

impl Telemetry {
    /// How many spans ended that the collector did not get: the queue was full, or sending failed.
    #[must_use]
    pub fn spans_dropped(&self) -> u64 {
        self.counters.as_ref().map_or(0, |counters| counters.dropped())
    }

    /// How many spans that might have been kept though they were not sampled had to be given up before that was known.
    #[must_use]
    pub fn spans_given_up(&self) -> u64 {
        self.counters.as_ref().map_or(0, |counters| counters.given_up())
    }

    /// How many spans the collector has taken.
    #[must_use]
    pub fn spans_exported(&self) -> u64 {
        self.counters.as_ref().map_or(0, |counters| counters.exported())
    }

    /// Sends what has ended so far and waits for it, at most about five seconds.
    pub async fn flush(&self) {
        let (provider, records) = (self.provider.clone(), self.records.clone());
        let flush = move || (provider.force_flush(), records.map(|records| records.provider.force_flush()));
        // The processors' flush blocks. That it timed out shows in the counters.
        let _ = tokio::task::spawn_blocking(flush).await;
    }

    /// Sends what is left, waiting a few seconds at most, and logs how many spans were exported and dropped.
    pub async fn shutdown(self) {
        self.shutdown_within(FLUSH_LIMIT).await;
    }

    async fn shutdown_within(self, limit: Duration) {
        let Self { provider, counters, records } = self;
        if let Some(counters) = counters {
            let flushed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(limit)).await;
            if !matches!(flushed, Ok(Ok(()))) {
                tracing::warn!("the collector did not take the last spans in time");
            }
            let (spans_exported, spans_dropped) = (counters.exported(), counters.dropped() + counters.queued());
            let spans_given_up = counters.given_up();
            tracing::info!(spans_exported, spans_dropped, spans_given_up, "traces flushed");
        }
        // They come last, so that what is said of the traces is among them.
        if let Some(Records { provider, counters, .. }) = records {
            let flushed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(limit)).await;
            if !matches!(flushed, Ok(Ok(()))) {
                tracing::warn!("the collector did not take the last log records in time");
            }
            let (records_sent, records_dropped) = (counters.exported(), counters.dropped() + counters.queued());
            tracing::info!(records_sent, records_dropped, "logs flushed");
        }
    }
}

/// The id of a trace, as entries keep it; shown in hexadecimal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TraceId(pub [u8; 16]);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// The id of the trace that a span belongs to: valid with and without an exporter, sampled or not; all zero only for a
/// span that is disabled, as all are before [`init`].
#[must_use]
pub fn trace_id(span: &Span) -> TraceId {
    TraceId(span.context().span().span_context().trace_id().to_bytes())
}

/// What identifies a span to others, for [`link`].
#[must_use]
pub fn span_context(span: &Span) -> SpanContext {
    span.context().span().span_context().clone()
}

/// Links a span to another that is not its parent, such as a batch to a request that it carries.
pub fn link(from: &Span, to: &SpanContext) {
    from.add_link(to.clone());
}

/// Whether spans below the current one need not be made: nobody would get to see them, and log lines within them find its
/// ids all the same.
#[must_use]
pub fn is_current_unrecorded() -> bool {
    let current = Span::current();
    !current.is_none() && !is_recorded(&current.context().span())
}

/// Whether somebody may get to see a span.
fn is_recorded(span: &SpanRef<'_>) -> bool {
    span.span_context().is_sampled() || (always::is_on() && span.is_recording())
}

/// Whether somebody may get to see a span of this identity, so that it is worth telling things of it.
#[must_use]
pub fn records(span: &Span, context: &SpanContext) -> bool {
    context.is_sampled() || (always::is_on() && span.context().span().is_recording())
}

/// A number as an attribute of a span: `tracing` would make a text of one that has no sign.
#[must_use]
pub fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Marks a span of work of our own as failed; `error_type` is a short, fixed name of the failure.
pub fn fail_span(span: &Span, error_type: &'static str) {
    if span.is_disabled() {
        return;
    }
    let context = span.context();
    let failed = context.span();
    if is_recorded(&failed) {
        failed.set_attribute(KeyValue::new("error.type", error_type));
        failed.set_status(Status::error(""));
    }
}

#[cfg(test)]
mod tests;
