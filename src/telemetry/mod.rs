//! Traces and logs: one tracer for the whole process, its export, and log lines that name their trace.
//!
//! The tracer is always there, exporter or not, so that every ledger entry carries the id of a real trace. `tracing` is
//! what the other rooms use; OpenTelemetry appears here only. `rpc` makes the server spans, `export` sends spans
//! away, `logs` writes lines, `panics` tells of defects.

mod deadline;
mod error;
mod export;
mod headers;
mod logs;
mod panics;
mod resource;
mod rpc;
mod targets;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::{Status, TraceContextExt as _, TracerProvider as _};
use opentelemetry::{KeyValue, StringValue};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Registry;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

pub use error::InitError;
pub use export::Collector;
pub use logs::{LogFormat, Logs};
pub use opentelemetry::trace::SpanContext;
pub use panics::{log_panics, message_of};
pub use rpc::{Deadline, RpcBody, RpcFuture, RpcLayer, RpcService, record_program, record_reason};

use export::Counters;
use logs::Gate;
use targets::{OURS, SQL};

/// How long [`Telemetry::shutdown`] waits for the collector: a hanging one must not hold up the end of the process.
const FLUSH_LIMIT: Duration = Duration::from_secs(4);

/// Keeps the tracer's export going; whoever holds it flushes it at the end with [`Telemetry::shutdown`].
#[derive(Debug)]
pub struct Telemetry {
    provider: SdkTracerProvider,
    counters: Option<Arc<Counters>>,
}

/// Installs the tracer and the log subscriber of this process.
///
/// # Errors
/// If the collector's settings or the log filter make no sense, or if a subscriber is installed already: all that is wrong.
pub fn init(service_version: &'static str, collector: &Collector, logs: &Logs) -> Result<Telemetry, Vec<InitError>> {
    let of_filter = logs.check().err();
    let tracer = export::tracer_provider(service_version, collector);
    let (provider, counters) = match (tracer, of_filter) {
        (Ok(tracer), None) => tracer,
        (tracer, of_filter) => return Err(tracer.err().into_iter().chain(of_filter).collect()),
    };
    let installed = subscriber(&provider, counters.is_some(), logs, std::io::stderr)
        .and_then(|subscriber| Ok(subscriber.try_init()?));
    installed.map_err(|error| vec![error])?;
    export::warn_of_unsupported_settings(collector);
    Ok(Telemetry { provider, counters })
}

/// Spans go to the tracer and events to the log, each by its own measure: a quiet log does not switch off spans.
fn subscriber<W>(
    provider: &SdkTracerProvider,
    exporting: bool,
    logs: &Logs,
    writer: W,
) -> Result<impl Subscriber + Send + Sync + use<W>, InitError>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    // Everything switched off here is work per span that nobody reads. Without context activation a child finds its
    // parent through `tracing`, and OpenTelemetry's current context is free for `rpc` to hold the server span.
    let spans = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(OURS))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false);
    Ok(Registry::default().with(spans).with(Gate::new(exporting, logs, writer)?))
}

impl Telemetry {
    /// How many spans ended that the collector did not get: the queue was full, or sending failed.
    #[must_use]
    pub fn spans_dropped(&self) -> u64 {
        self.counters.as_ref().map_or(0, |counters| counters.dropped())
    }

    /// How many spans the collector has taken.
    #[must_use]
    pub fn spans_exported(&self) -> u64 {
        self.counters.as_ref().map_or(0, |counters| counters.exported())
    }

    /// Sends what has ended so far and waits for it, at most about five seconds.
    pub async fn flush(&self) {
        let provider = self.provider.clone();
        // The processor's flush blocks. That it timed out shows in the counters.
        let _ = tokio::task::spawn_blocking(move || provider.force_flush()).await;
    }

    /// Sends what is left, waiting a few seconds at most, and logs how many spans were exported and dropped.
    pub async fn shutdown(self) {
        self.shutdown_within(FLUSH_LIMIT).await;
    }

    async fn shutdown_within(self, limit: Duration) {
        let Self { provider, counters } = self;
        let Some(counters) = counters else { return };
        let flushed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(limit)).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!("the collector did not take the last spans in time");
        }
        let (spans_exported, spans_dropped) = (counters.exported(), counters.dropped() + counters.queued());
        tracing::info!(spans_exported, spans_dropped, "traces flushed");
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

/// Whether spans below the current one need not be made: it is not sampled, so they would not be either, and log lines
/// within them find its ids all the same.
#[must_use]
pub fn is_current_unsampled() -> bool {
    let current = Span::current();
    !current.is_none() && !current.context().span().span_context().is_sampled()
}

/// The client span of one SQL statement, named by what it does to which tables: `INSERT ledger_entries`, `SELECT
/// referrals, standings`. None where it would not be sampled.
///
/// The summary is all that it tells: parameters are people's data.
#[must_use]
pub fn statement(summary: impl Into<Cow<'static, str>>) -> Span {
    if is_current_unsampled() {
        return Span::none();
    }
    let span = tracing::info_span!(target: SQL, "sql", otel.kind = "client");
    if span.is_disabled() {
        return span;
    }
    // Static strings go to the span directly: as fields of the macro, each would be copied to the heap.
    let context = span.context();
    let sql = context.span();
    if sql.span_context().is_sampled() {
        let summary: Cow<'static, str> = summary.into();
        let (operation, tables) = summary.split_once(' ').unwrap_or((&summary, ""));
        sql.set_attribute(KeyValue::new("db.operation.name", operation.to_owned()));
        // Of several tables none is the one.
        if !tables.is_empty() && !tables.contains(',') {
            sql.set_attribute(KeyValue::new("db.collection.name", tables.to_owned()));
        }
        sql.set_attributes([
            KeyValue::new("db.system.name", "postgresql"),
            KeyValue::new("db.query.summary", summary.clone()),
        ]);
        sql.update_name(summary);
    }
    span
}

/// Marks a statement's span as failed, with Postgres's error code or another short, fixed name of the failure.
pub fn fail_statement(span: &Span, code: &str) {
    if span.is_disabled() {
        return;
    }
    let context = span.context();
    let sql = context.span();
    if sql.span_context().is_sampled() {
        let code = StringValue::from(code.to_owned());
        sql.set_attributes([KeyValue::new("db.response.status_code", code.clone()), KeyValue::new("error.type", code)]);
        sql.set_status(Status::error(""));
    }
}

#[cfg(test)]
mod tests;
