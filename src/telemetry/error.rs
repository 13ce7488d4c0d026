//! Why telemetry does not begin.

use std::io;

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// One kind of telemetry cannot be sent.
    #[error("export of {what}: {fault}")]
    Export {
        /// Which: traces, metrics or logs.
        what: &'static str,
        /// Why not.
        #[source]
        fault: ExportFault,
    },
    /// The log filter is not one.
    #[error("log filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Another subscriber is installed in this process already.
    #[error(transparent)]
    Installed(#[from] tracing_subscriber::util::TryInitError),
}

/// Why nothing can be sent to a collector.
#[derive(Debug, thiserror::Error)]
pub enum ExportFault {
    /// The `OTEL_*` variables do not describe a collector that can be reached with this build.
    #[error(transparent)]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// A file that a variable names cannot be read.
    #[error("{variable}={path}: {error}")]
    File {
        /// The variable.
        variable: String,
        /// What it says.
        path: String,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// A certificate of one's own without its key, or the other way round.
    #[error(
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY belong together, and one of them is missing"
    )]
    HalfOfIdentity,
    /// The thread that sends could not be started.
    #[error(transparent)]
    Thread(#[from] io::Error),
}
