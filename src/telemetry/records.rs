//! Sending log lines to a collector over OTLP, as records with the ids of their trace: the same lines that are written.

use std::env;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::trace::{SpanContext, SpanId, TraceId};
use opentelemetry::{Context, InstrumentationScope, Key};
use opentelemetry_otlp::LogExporter as OtlpExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{
    BatchConfigBuilder, BatchLogProcessor, LogBatch, LogExporter, LogProcessor, SdkLogRecord, SdkLogger,
    SdkLoggerProvider,
};
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::collector::{Collector, LOGS};
use super::error::InitError;
use super::resource::{resource, scope};
use super::sending::{Counters, CountingExporter};
use super::targets::OURS;

/// Records that may wait for the collector, unless `OTEL_BLRP_MAX_QUEUE_SIZE` says otherwise.
const DEFAULT_QUEUE_RECORDS: usize = 2_048;
/// Where a line comes from, such as `goldbook::book::lane`.
const TARGET: &str = "goldbook.log.target";

/// What sends log records to a collector; none without one.
///
/// # Errors
/// If the collector's settings make no sense.
pub(super) fn record_exporter(
    collector: &Collector,
    counters: &Arc<Counters>,
) -> Result<Option<CountingExporter<OtlpExporter>>, InitError> {
    let connect = || {
        let Some(address) = collector.address(LOGS)? else { return Ok(None) };
        let build = || address.set_on(OtlpExporter::builder().with_tonic()).build();
        CountingExporter::connect("log records", Arc::clone(counters), build).map(Some)
    };
    connect().map_err(|fault| LOGS.unsent(fault))
}

/// What sends log records away.
#[derive(Clone, Debug)]
pub(super) struct Records {
    logger: SdkLogger,
    pub(super) provider: SdkLoggerProvider,
    pub(super) counters: Arc<Counters>,
}

impl Records {
    /// None without a collector.
    ///
    /// # Errors
    /// If the collector's settings make no sense.
    pub(super) fn connect(service_version: &'static str, collector: &Collector) -> Result<Option<Self>, InitError> {
        let counters = Arc::new(Counters::default());
        let Some(exporter) = record_exporter(collector, &counters)? else { return Ok(None) };
        let limit = env::var("OTEL_BLRP_MAX_QUEUE_SIZE").ok().and_then(|text| text.trim().parse().ok());
        let limit = limit.filter(|&records| records > 0).unwrap_or(DEFAULT_QUEUE_RECORDS);
        // The other `OTEL_BLRP_*` variables are read by this builder's default.
        let config = BatchConfigBuilder::default().with_max_queue_size(limit).build();
        let next = BatchLogProcessor::builder(exporter).with_batch_config(config).build();
        let processor = BoundedProcessor { next, limit: limit as u64, counters: Arc::clone(&counters) };
        let builder = SdkLoggerProvider::builder().with_resource(resource(service_version));
        let provider = builder.with_log_processor(processor).build();
        let logger = provider.logger_with_scope(scope(service_version));
        Ok(Some(Self { logger, provider, counters }))
    }

    /// Sends a line that belongs to this span, but for what sending itself has to tell: that would never end.
    pub(super) fn send(&self, event: &Event<'_>, current: Option<&SpanContext>) {
        let (target, level) = (event.metadata().target(), *event.metadata().level());
        if Context::is_current_telemetry_suppressed() || target.starts_with("opentelemetry") {
            return;
        }
        let mut record = self.logger.create_log_record();
        record.set_timestamp(opentelemetry::time::now());
        record.set_severity_number(severity(level));
        record.set_severity_text(level.as_str());
        if let Some(current) = current {
            record.set_trace_context(current.trace_id(), current.span_id(), Some(current.trace_flags()));
        }
        let (target, is_ours) = (target.to_owned(), target.starts_with(OURS));
        let mut fields = Fields { record, target, is_ours, trace_id: None };
        event.record(&mut fields);
        let Fields { mut record, target, trace_id, .. } = fields;
        if let Some(trace_id) = trace_id {
            record.set_trace_context(trace_id, SpanId::INVALID, None);
        }
        record.add_attribute(TARGET, target);
        self.logger.emit(record);
    }
}

const fn severity(level: Level) -> Severity {
    match level {
        Level::TRACE => Severity::Trace,
        Level::DEBUG => Severity::Debug,
        Level::INFO => Severity::Info,
        Level::WARN => Severity::Warn,
        Level::ERROR => Severity::Error,
    }
}

/// Puts a line's fields into its record. Those of lines of our own become attributes of our own namespace.
struct Fields {
    record: SdkLogRecord,
    target: String,
    is_ours: bool,
    /// The trace that the line itself names, where it is not within that trace: a failure that somebody was told of.
    trace_id: Option<TraceId>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: impl Into<AnyValue>) {
        match field.name() {
            "message" => self.record.set_body(value.into()),
            // What `log` tells beside the line stands in the record's own places.
            name if name.starts_with("log.") => {}
            "trace_id" if self.trace_id.is_some() => {}
            name if self.is_ours => self.record.add_attribute(Key::new(format!("{OURS}.{name}")), value),
            name => self.record.add_attribute(Key::new(name), value),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if self.is_ours && field.name() == "trace_id" {
            self.trace_id = TraceId::from_hex(&text).ok();
        }
        self.add(field, text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "log.target" {
            value.clone_into(&mut self.target);
        }
        self.add(field, value.to_owned());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, i64::try_from(value).unwrap_or(i64::MAX));
    }
}

/// Bounds the batch processor's queue itself, since the processor does not tell what it drops.
#[derive(Debug)]
struct BoundedProcessor {
    next: BatchLogProcessor,
    limit: u64,
    counters: Arc<Counters>,
}

impl LogProcessor for BoundedProcessor {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if self.counters.takes(self.limit) {
            self.next.emit(record, scope);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}

impl LogExporter for CountingExporter<OtlpExporter> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let records = batch.iter().count();
        self.count(records, &self.next.export(batch).await);
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}
