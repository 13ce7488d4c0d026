//! Who gets the metrics: a collector over OTLP, whoever reads them by HTTP, both or nobody.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{
    InstrumentKind, ManualReader, PeriodicReader, Pipeline, SdkMeterProvider, Temporality,
};

use super::instruments::{INSTRUMENTS, Instruments};
use super::shown::{Reading, observe, show};
use super::{exposition, registry};
use crate::telemetry::collector::{Address, Collector, METRICS};
use crate::telemetry::error::InitError;
use crate::telemetry::resource::{resource, scope};
use crate::telemetry::sending::{FLUSH_LIMIT, OnOwnThread, within};

/// Who wants metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receivers {
    /// Whether the collector that the standard variables name gets them.
    pub collector: bool,
    /// Whether they are read by HTTP.
    pub scraped: bool,
}

impl Receivers {
    /// Asks the standard variables: a collector is an endpoint that is set, and neither `OTEL_SDK_DISABLED=true` nor
    /// `OTEL_METRICS_EXPORTER=none`.
    #[must_use]
    pub fn from_env(scraped: bool) -> Self {
        let collector = Collector::from_env(METRICS);
        METRICS.warn_of_protocol(&collector);
        Self { collector: collector != Collector::Off, scraped }
    }
}

/// The metrics of this process, for whoever reads them. A clone reads the same.
#[derive(Clone, Debug)]
pub struct Measurements {
    provider: SdkMeterProvider,
    reader: Arc<ManualReader>,
}

/// Makes the instruments of this process, if anybody wants metrics: `commit` is what the program was built from.
///
/// # Errors
/// If the settings of the collector make no sense.
pub fn measure(
    version: &'static str,
    commit: Option<&'static str>,
    receivers: Receivers,
) -> Result<Option<Measurements>, InitError> {
    if !receivers.collector && !receivers.scraped {
        return Ok(None);
    }
    let reader = Arc::new(ManualReader::builder().build());
    let mut builder = SdkMeterProvider::builder().with_resource(resource(version));
    if receivers.scraped {
        builder = builder.with_reader(Shared(Arc::clone(&reader)));
    }
    if receivers.collector {
        builder = builder.with_reader(PeriodicReader::builder(Sender::connect()?).build());
    }
    let provider = builder.build();
    let meter = provider.meter_with_scope(scope(version));
    if INSTRUMENTS.set(Instruments::new(&meter)).is_ok() {
        observe(&meter);
    }
    let commit = commit.unwrap_or("unknown");
    show(
        &registry::BUILD,
        [(vec![("goldbook.version", version.to_owned()), ("goldbook.commit", commit.to_owned())], Reading::Fixed(1.0))],
    );
    show(&registry::UPTIME, [(vec![], Reading::Age { was: 0.0, at: Instant::now() })]);
    Ok(Some(Measurements { provider, reader }))
}

/// What keeps [`measure`] from sending metrics. Nothing is measured, and nobody is sent anything.
#[must_use]
pub fn find_fault(receivers: Receivers) -> Option<InitError> {
    if receivers.collector { Sender::connect().err() } else { None }
}

impl Measurements {
    /// All metrics as text, in the format of OpenMetrics, which has exemplars, or in the older one of Prometheus. It may take
    /// some milliseconds.
    #[must_use]
    pub fn text(&self, is_openmetrics: bool) -> String {
        let mut metrics = ResourceMetrics::default();
        // It can only fail before there is a reader and after the end.
        let _ = self.reader.collect(&mut metrics);
        exposition::write(&metrics, is_openmetrics)
    }

    /// Sends the collector what it has not got yet, waiting [`FLUSH_LIMIT`] at most.
    pub async fn shutdown(self) {
        let provider = self.provider;
        // Whatever hinders it was logged when it was sent.
        within(FLUSH_LIMIT, move || provider.shutdown_with_timeout(FLUSH_LIMIT)).await;
    }
}

/// A reader that is asked by others as well.
#[derive(Debug)]
struct Shared(Arc<ManualReader>);

impl MetricReader for Shared {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

/// Sends metrics to the collector.
struct Sender(OnOwnThread<MetricExporter>);

impl Sender {
    fn connect() -> Result<Self, InitError> {
        // Sums from the start: what a collector did not take is in the next ones.
        let builder = MetricExporter::builder().with_tonic().with_temporality(Temporality::Cumulative);
        let connected =
            Address::find(METRICS, None).and_then(|address| OnOwnThread::connect(|| address.set_on(builder).build()));
        connected.map(Self).map_err(|fault| METRICS.unsent(fault))
    }
}

impl PushMetricExporter for Sender {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        // Said as often as it is sent, by default once a minute.
        if let Err(error) = self.0.export(metrics).await {
            tracing::warn!(%error, "the collector did not take the metrics");
        }
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.0.temporality()
    }
}
