//! Traces and logs: one tracer for the whole process, log lines that name their trace, and the export of both.
//!
//! The tracer is always there, exporter or not, so that every ledger entry carries the id of a real trace. `tracing` is
//! what the other rooms use; OpenTelemetry appears here only. `rpc` makes the server spans and `statements`
//! those of SQL, `export` sends spans away and `always` says which in any case, `logs` writes lines and `records` sends
//! them, `panics` tells of defects.

mod always;
mod collector;
mod deadline;
mod error;
mod export;
mod headers;
mod logs;
pub mod metrics;
mod newer;
mod panics;
mod records;
mod resource;
mod rpc;
mod sending;
mod spans;
mod statements;
mod targets;
mod trace_id;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Layered, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

pub use always::{AlwaysKind, AlwaysSample};
pub use collector::Collector;
pub use error::{ExportFault, InitError};
pub use export::Export;
pub use logs::{LogFormat, Logs};
pub use opentelemetry::trace::SpanContext;
pub use panics::{log_panics, message_of};
pub use rpc::{Deadline, RpcBody, RpcFuture, RpcLayer, RpcService, record_items, record_program, record_reason};
pub use spans::{count, fail_span, is_current_unrecorded, link, records, span_context, trace_id};
pub use statements::{fail_statement, name_database, statement};
pub use trace_id::TraceId;

pub(crate) use newer::warn_of_newer;

use logs::Gate;
use records::Records;
use sending::{Counters, FLUSH_LIMIT, within};

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
/// If the collector's settings or the log filter make no sense, or if a subscriber is installed already: all that is wrong.
pub fn init(service_version: &'static str, export: &Export, logs: &Logs) -> Result<Telemetry, Vec<InitError>> {
    let of_filter = logs.check().err();
    let tracer = export::tracer_provider(service_version, export);
    let records = Records::connect(service_version, &export.logs);
    let ((provider, counters), records) = match (tracer, records, of_filter) {
        (Ok(tracer), Ok(records), None) => (tracer, records),
        (tracer, records, of_filter) => {
            return Err(tracer.err().into_iter().chain(records.err()).chain(of_filter).collect());
        }
    };
    let gate = Gate::new(counters.is_some(), logs, records.clone(), std::io::stderr);
    let installed = gate.and_then(|gate| Ok(subscriber(&provider, service_version, gate).try_init()?));
    installed.map_err(|error| vec![error])?;
    export::warn_of_unsupported_settings(export);
    if let Some(counters) = &counters {
        let counters = Arc::clone(counters);
        metrics::watch_spans(move || [counters.exported(), counters.dropped(), counters.given_up()]);
    }
    Ok(Telemetry { provider, counters, records })
}

/// What keeps [`init`] from setting up the export and the log. Nothing is installed, and nobody is sent anything.
#[must_use]
pub fn find_faults(export: &Export, logs: &Logs) -> Vec<InitError> {
    let counters = Arc::default();
    let of_traces = export::span_exporter(&export.traces, &counters).err();
    let of_logs = records::record_exporter(&export.logs, &counters).err();
    of_traces.into_iter().chain(of_logs).chain(logs.check().err()).collect()
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

    /// Sends what is left, waiting [`FLUSH_LIMIT`] at most for spans and as long for log records, and logs how many spans
    /// were exported and dropped.
    pub async fn shutdown(self) {
        self.shutdown_within(FLUSH_LIMIT).await;
    }

    async fn shutdown_within(self, limit: Duration) {
        let Self { provider, counters, records } = self;
        if let Some(counters) = counters {
            if !within(limit, move || provider.shutdown_with_timeout(limit)).await {
                tracing::warn!("the collector did not take the last spans in time");
            }
            let (spans_exported, spans_dropped) = (counters.exported(), counters.dropped() + counters.queued());
            let spans_given_up = counters.given_up();
            tracing::info!(spans_exported, spans_dropped, spans_given_up, "traces flushed");
        }
        // They come last, so that what is said of the traces is among them.
        if let Some(Records { provider, counters, .. }) = records {
            let in_time = within(limit, move || provider.shutdown_with_timeout(limit)).await;
            // Nobody takes what is said from here on.
            let _unsent = Context::enter_telemetry_suppressed_scope();
            if !in_time {
                tracing::warn!("the collector did not take the last log records in time");
            }
            let (records_sent, records_dropped) = (counters.exported(), counters.dropped() + counters.queued());
            tracing::info!(records_sent, records_dropped, "logs flushed");
        }
    }
}

#[cfg(test)]
mod tests;
