//! Sending spans to a collector over OTLP, such that no request ever waits for it and no span is lost uncounted.

use std::env;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry_otlp::{
    OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, SpanExporter as OtlpExporter,
};
use opentelemetry_otlp::{OTEL_EXPORTER_OTLP_PROTOCOL, OTEL_EXPORTER_OTLP_TRACES_PROTOCOL, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, Span, SpanData, SpanExporter, SpanProcessor,
};
use tokio::runtime::Runtime;

use super::error::InitError;
use super::resource::resource;

/// Ended spans that may wait for the collector, unless `OTEL_BSP_MAX_QUEUE_SIZE` says otherwise. The standard's 2,048
/// are a tenth of a second at the rates this service is made for; a span takes about a kilobyte.
const DEFAULT_QUEUE_SPANS: usize = 16_384;
/// Links per span, unless `OTEL_SPAN_LINK_COUNT_LIMIT` says otherwise: a batch links to each request that it carries,
/// and the standard's 128 would leave some out.
const DEFAULT_LINKS: u32 = 1_024;
/// How often at most the log says that spans are being dropped.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Who gets the spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Collector {
    /// Nobody. Spans still have real ids.
    Off,
    /// Whoever the standard `OTEL_EXPORTER_OTLP_*` variables name.
    Environment,
    /// The OTLP receiver over gRPC at this address: `http://127.0.0.1:4317`.
    At(String),
}

impl Collector {
    /// Asks the standard variables: a collector is an endpoint that is set, and neither `OTEL_SDK_DISABLED=true` nor
    /// `OTEL_TRACES_EXPORTER=none`.
    #[must_use]
    pub fn from_env() -> Self {
        Self::from_variables(|name| env::var(name).ok())
    }

    pub(super) fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let value = |name| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let is = |name, word: &str| value(name).is_some_and(|value| value.eq_ignore_ascii_case(word));
        let endpoint = value(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT).or_else(|| value(OTEL_EXPORTER_OTLP_ENDPOINT));
        if endpoint.is_none() || is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
            return Self::Off;
        }
        Self::Environment
    }
}

/// Says so if the variables ask for another protocol than the one this service speaks.
pub(super) fn warn_of_unsupported_settings(collector: &Collector) {
    if *collector != Collector::Environment {
        return;
    }
    let protocol = env::var(OTEL_EXPORTER_OTLP_TRACES_PROTOCOL).or_else(|_| env::var(OTEL_EXPORTER_OTLP_PROTOCOL));
    if let Ok(protocol) = protocol
        && !protocol.is_empty()
        && protocol != "grpc"
    {
        tracing::warn!(protocol, "traces are sent over OTLP/gRPC; the protocol that OTEL_* asks for is not supported");
    }
}

/// The tracer, and the counts of its export if there is one.
pub(super) fn tracer_provider(
    service_version: &'static str,
    collector: &Collector,
) -> Result<(SdkTracerProvider, Option<Arc<Counters>>), InitError> {
    let mut builder = SdkTracerProvider::builder();
    if env::var_os("OTEL_SPAN_LINK_COUNT_LIMIT").is_none() {
        builder = builder.with_max_links_per_span(DEFAULT_LINKS);
    }
    let endpoint = match collector {
        // Not sampled is not recorded: spans cost next to nothing then, and their ids are as real.
        Collector::Off => return Ok((builder.with_sampler(Sampler::AlwaysOff).build(), None)),
        Collector::Environment => None,
        Collector::At(endpoint) => Some(endpoint.as_str()),
    };
    let counters = Arc::new(Counters::default());
    let exporter = CountingExporter::connect(endpoint, Arc::clone(&counters))?;
    let limit = env::var("OTEL_BSP_MAX_QUEUE_SIZE").ok().and_then(|text| text.trim().parse().ok());
    let limit = limit.filter(|&spans| spans > 0).unwrap_or(DEFAULT_QUEUE_SPANS);
    // The other `OTEL_BSP_*` variables are read by this builder's default.
    let config = BatchConfigBuilder::default().with_max_queue_size(limit).build();
    let next = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
    let processor = BoundedProcessor { next, limit: limit as u64, counters: Arc::clone(&counters) };
    // The sampler is the default's, which `OTEL_TRACES_SAMPLER` sets: without it, the parent's decision, else always.
    let provider = builder.with_span_processor(processor).with_resource(resource(service_version)).build();
    Ok((provider, Some(counters)))
}

/// What became of the spans that ended.
#[derive(Debug, Default)]
pub(super) struct Counters {
    queued: AtomicU64,
    exported: AtomicU64,
    dropped: AtomicU64,
}

impl Counters {
    /// Waiting for the collector, or on the way to it.
    pub(super) fn queued(&self) -> u64 {
        self.queued.load(Relaxed)
    }

    /// Taken by the collector.
    pub(super) fn exported(&self) -> u64 {
        self.exported.load(Relaxed)
    }

    /// Lost: no room in the queue, or sending failed.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
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
        // Counted until the exporter is done with it, so the processor's own queue of the same size is never full.
        if self.counters.queued.fetch_add(1, Relaxed) >= self.limit {
            self.counters.queued.fetch_sub(1, Relaxed);
            self.counters.dropped.fetch_add(1, Relaxed);
            return;
        }
        self.next.on_end(span);
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

/// The OTLP exporter with counts, and with a thread of its own for its connection: encoding and sending take nothing
/// from the threads that answer requests, and do not end with the runtime that happened to start the tracer.
#[derive(Debug)]
struct CountingExporter {
    next: OtlpExporter,
    counters: Arc<Counters>,
    warned: Mutex<Warned>,
    /// Taken only when dropped.
    runtime: Option<Runtime>,
}

/// What the log knows about drops already.
#[derive(Debug, Default)]
struct Warned {
    at: Option<Instant>,
    dropped: u64,
}

impl CountingExporter {
    fn connect(endpoint: Option<&str>, counters: Arc<Counters>) -> Result<Self, InitError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("trace-export")
            .enable_io()
            .enable_time()
            .build()?;
        let mut builder = OtlpExporter::builder().with_tonic();
        if let Some(endpoint) = endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        // The channel connects on first use, on the runtime that it was built in.
        let next = {
            let _inside = runtime.enter();
            builder.build()
        };
        let next = match next {
            Ok(next) => next,
            Err(error) => {
                // It has done nothing yet, and must not be waited for where this is called.
                runtime.shutdown_background();
                return Err(error.into());
            }
        };
        Ok(Self { next, counters, warned: Mutex::default(), runtime: Some(runtime) })
    }

    /// Logs that spans were dropped since the last time, at most once a minute. Called after every attempt to send,
    /// which the exporter's own timeout brings about however the collector hangs.
    fn warn_of_drops(&self, failure: Option<&OTelSdkError>) {
        let spans_dropped = self.counters.dropped();
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if spans_dropped == warned.dropped || warned.at.is_some_and(|at| at.elapsed() < WARNING_INTERVAL) {
            return;
        }
        *warned = Warned { at: Some(Instant::now()), dropped: spans_dropped };
        let cause = failure.map_or_else(|| "the collector is slower than spans end".to_owned(), ToString::to_string);
        tracing::warn!(spans_dropped, cause, "spans are being dropped");
    }
}

impl SpanExporter for CountingExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let sent = self.next.export(batch).await;
        let outcome = if sent.is_ok() { &self.counters.exported } else { &self.counters.dropped };
        outcome.fetch_add(spans, Relaxed);
        self.counters.queued.fetch_sub(spans, Relaxed);
        self.warn_of_drops(sent.as_ref().err());
        // The failure is counted and logged; the batch processor would log it again, every time.
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}

impl Drop for CountingExporter {
    fn drop(&mut self) {
        // An ordinary drop waits for the runtime's tasks, and panics if it happens inside another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
