//! Sending spans to a collector over OTLP, such that no request ever waits for it and no span is lost uncounted.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_otlp::SpanExporter as OtlpExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Config, Sampler, SdkTracerProvider, Span, SpanData, SpanExporter,
    SpanProcessor,
};

use super::always::{AlwaysSample, KeepingProcessor, Recording};
use super::collector::{Collector, LOGS, TRACES};
use super::error::InitError;
use super::resource::resource;
use super::sending::{Counters, CountingExporter};

/// Ended spans that may wait for the collector, unless `OTEL_BSP_MAX_QUEUE_SIZE` says otherwise. The standard's 2,048
/// are a tenth of a second at the rates this service is made for; a span takes about a kilobyte.
const DEFAULT_QUEUE_SPANS: usize = 16_384;
/// Links per span, unless `OTEL_SPAN_LINK_COUNT_LIMIT` says otherwise: a batch links to each request that it carries,
/// and the standard's 128 would leave some out.
const DEFAULT_LINKS: u32 = 1_024;

/// Who gets what this process tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Who gets the spans.
    pub traces: Collector,
    /// Who gets the log records.
    pub logs: Collector,
    /// Which spans they get though they were not sampled.
    pub always_sample: AlwaysSample,
}

impl Export {
    /// To whom the standard variables say.
    #[must_use]
    pub fn from_env(always_sample: AlwaysSample) -> Self {
        Self { traces: Collector::from_env(TRACES), logs: Collector::from_env(LOGS), always_sample }
    }
}

/// Says so if the variables ask for another protocol than the one this service speaks.
pub(super) fn warn_of_unsupported_settings(export: &Export) {
    for (collector, signal) in [(&export.traces, TRACES), (&export.logs, LOGS)] {
        signal.warn_of_protocol(collector);
    }
}

/// What sends spans away; none without a collector.
///
/// # Errors
/// If the collector's settings make no sense.
pub(super) fn span_exporter(
    collector: &Collector,
    counters: &Arc<Counters>,
) -> Result<Option<CountingExporter<OtlpExporter>>, InitError> {
    let connect = || {
        let Some(address) = collector.address(TRACES)? else { return Ok(None) };
        let build = || address.set_on(OtlpExporter::builder().with_tonic()).build();
        CountingExporter::connect("spans", Arc::clone(counters), build).map(Some)
    };
    connect().map_err(|fault| TRACES.unsent(fault))
}

/// The tracer, and the counts of its export if there is one.
pub(super) fn tracer_provider(
    service_version: &'static str,
    export: &Export,
) -> Result<(SdkTracerProvider, Option<Arc<Counters>>), InitError> {
    let mut builder = SdkTracerProvider::builder();
    if env::var_os("OTEL_SPAN_LINK_COUNT_LIMIT").is_none() {
        builder = builder.with_max_links_per_span(DEFAULT_LINKS);
    }
    let counters = Arc::new(Counters::default());
    let Some(exporter) = span_exporter(&export.traces, &counters)? else {
        // Not sampled is not recorded: spans cost next to nothing then, and their ids are as real.
        return Ok((builder.with_sampler(Sampler::AlwaysOff).build(), None));
    };
    let limit = env::var("OTEL_BSP_MAX_QUEUE_SIZE").ok().and_then(|text| text.trim().parse().ok());
    let limit = limit.filter(|&spans| spans > 0).unwrap_or(DEFAULT_QUEUE_SPANS);
    // The other `OTEL_BSP_*` variables are read by this builder's default.
    let config = BatchConfigBuilder::default().with_max_queue_size(limit).build();
    let next = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
    let processor = BoundedProcessor { next, limit: limit as u64, counters: Arc::clone(&counters) };
    // The sampler is the default's, which `OTEL_TRACES_SAMPLER` sets: without it, the parent's decision, else always.
    builder = builder.with_resource(resource(service_version));
    if export.always_sample.is_off() {
        return Ok((builder.with_span_processor(processor).build(), Some(counters)));
    }
    let keeping = KeepingProcessor::new(processor, export.always_sample, Arc::clone(&counters.given_up));
    let sampler = Recording::new(Config::default().sampler, export.always_sample);
    Ok((builder.with_sampler(sampler).with_span_processor(keeping).build(), Some(counters)))
}

/// Bounds the batch processor's queue itself, since the processor does not tell what it drops.
#[derive(Debug)]
struct BoundedProcessor {
    next: BatchSpanProcessor,
    limit: u64,
    counters: Arc<Counters>,
}

impl SpanProcessor for BoundedProcessor {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.counters.takes(self.limit) {
            self.next.on_end(span);
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

impl SpanExporter for CountingExporter<OtlpExporter> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.count(spans, &self.next.export(batch).await);
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}
