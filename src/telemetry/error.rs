//! Why telemetry does not begin.

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The `OTEL_*` variables do not describe a collector that can be reached with this build.
    #[error("trace export: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The thread that sends spans could not be started.
    #[error("trace export: {0}")]
    Thread(#[from] std::io::Error),
    /// The log filter is not one.
    #[error("log filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Another subscriber is installed in this process already.
    #[error(transparent)]
    Installed(#[from] tracing_subscriber::util::TryInitError),
}
