//! Why telemetry does not begin.

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The `OTEL_*` variables do not describe a collector that can be reached with this build.
    #[error("trace export: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// A file that a variable names cannot be read.
    #[error("trace export: {variable}={path}: {error}")]
    File {
        /// The variable.
        variable: String,
        /// What it says.
        path: String,
        /// Why not.
        #[source]
        error: std::io::Error,
    },
    /// A certificate of one's own without its key, or the other way round.
    #[error(
        "trace export: OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY belong together, and one of \
         them is missing"
    )]
    HalfOfIdentity,
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
