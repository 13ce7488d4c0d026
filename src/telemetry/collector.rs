//! Who gets what is sent, as the standard variables say, and how it is reached.

use std::{env, fs};

use opentelemetry_otlp::{
    OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_LOGS_ENDPOINT, OTEL_EXPORTER_OTLP_LOGS_PROTOCOL,
    OTEL_EXPORTER_OTLP_METRICS_ENDPOINT, OTEL_EXPORTER_OTLP_METRICS_PROTOCOL, OTEL_EXPORTER_OTLP_PROTOCOL,
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_PROTOCOL, WithExportConfig, WithTonicConfig,
};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use super::error::{ExportFault, InitError};

/// The variables of one kind of what is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signal {
    what: &'static str,
    endpoint: &'static str,
    exporter: &'static str,
    protocol: &'static str,
}

pub(super) const TRACES: Signal = Signal {
    what: "traces",
    endpoint: OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
    exporter: "OTEL_TRACES_EXPORTER",
    protocol: OTEL_EXPORTER_OTLP_TRACES_PROTOCOL,
};
pub(super) const METRICS: Signal = Signal {
    what: "metrics",
    endpoint: OTEL_EXPORTER_OTLP_METRICS_ENDPOINT,
    exporter: "OTEL_METRICS_EXPORTER",
    protocol: OTEL_EXPORTER_OTLP_METRICS_PROTOCOL,
};
pub(super) const LOGS: Signal = Signal {
    what: "logs",
    endpoint: OTEL_EXPORTER_OTLP_LOGS_ENDPOINT,
    exporter: "OTEL_LOGS_EXPORTER",
    protocol: OTEL_EXPORTER_OTLP_LOGS_PROTOCOL,
};

/// Who gets what is sent of one kind.
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
    /// Where it is for a signal; none if it is off.
    ///
    /// # Errors
    /// As of [`Address::find`].
    pub(super) fn address(&self, signal: Signal) -> Result<Option<Address>, ExportFault> {
        match self {
            Self::Off => Ok(None),
            Self::Environment => Address::find(signal, None).map(Some),
            Self::At(endpoint) => Address::find(signal, Some(endpoint)).map(Some),
        }
    }

    /// Asks the standard variables: a collector is an endpoint that is set, and neither `OTEL_SDK_DISABLED=true` nor the
    /// signal's exporter `none`.
    pub(super) fn from_env(signal: Signal) -> Self {
        Self::from_variables(signal, |name| env::var(name).ok())
    }

    pub(super) fn from_variables(signal: Signal, variable: impl Fn(&str) -> Option<String>) -> Self {
        let is = |name: &str, word| trimmed(variable(name)).is_some_and(|value| value.eq_ignore_ascii_case(word));
        let endpoint = signal.value("ENDPOINT", &variable);
        if endpoint.is_none() || is("OTEL_SDK_DISABLED", "true") || is(signal.exporter, "none") {
            return Self::Off;
        }
        Self::Environment
    }
}

/// What is set, and not empty.
fn trimmed(value: Option<String>) -> Option<String> {
    value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

impl Signal {
    /// What is told if it cannot be sent.
    pub(super) fn unsent(self, fault: ExportFault) -> InitError {
        InitError::Export { what: self.what, fault }
    }

    /// The variable that says this of the signal, such as `ENDPOINT`, or of all signals, and its value.
    pub(super) fn value(self, what: &str, variable: impl Fn(&str) -> Option<String>) -> Option<(String, String)> {
        let names = [self.endpoint, OTEL_EXPORTER_OTLP_ENDPOINT].map(|endpoint| endpoint.replace("ENDPOINT", what));
        names.into_iter().find_map(|name| trimmed(variable(&name)).map(|value| (name, value)))
    }

    /// Says so if the variables ask for another protocol of this signal than the one that is spoken.
    pub(super) fn warn_of_protocol(self, collector: &Collector) {
        let set = |name| env::var(name).ok().filter(|protocol| !protocol.is_empty());
        let protocol = set(self.protocol).or_else(|| set(OTEL_EXPORTER_OTLP_PROTOCOL));
        if *collector == Collector::Environment
            && let Some(protocol) = protocol.filter(|protocol| protocol != "grpc")
        {
            let what = self.what;
            tracing::warn!(
                protocol,
                "{what} are sent over OTLP/gRPC; the protocol that OTEL_* asks for is not supported"
            );
        }
    }
}

/// Where a collector is, and how its connection is kept safe.
pub(super) struct Address {
    /// As the standard variables say, if absent.
    endpoint: Option<String>,
    tls: Option<ClientTlsConfig>,
}

impl Address {
    /// Finds it for a signal, at this endpoint or at that of the standard variables.
    ///
    /// With an endpoint that is not `http`, the machine's authorities are trusted, or that of `OTEL_EXPORTER_OTLP_CERTIFICATE`
    /// alone, and `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE` is shown with `OTEL_EXPORTER_OTLP_CLIENT_KEY`. Variables of the signal
    /// itself come first. The files are read once.
    ///
    /// # Errors
    /// If a file cannot be read, or if one of a certificate and its key is missing.
    pub(super) fn find(signal: Signal, endpoint: Option<&str>) -> Result<Self, ExportFault> {
        let endpoint = endpoint.map(str::to_owned);
        let value = |what| signal.value(what, |name| env::var(name).ok());
        let known = endpoint.clone().or_else(|| value("ENDPOINT").map(|(_, endpoint)| endpoint));
        // Without a scheme it may be one or the other.
        if known.is_none_or(|endpoint| endpoint.to_ascii_lowercase().starts_with("http://")) {
            return Ok(Self { endpoint, tls: None });
        }
        let read = |what| value(what).map(|(variable, path)| read_file(variable, path)).transpose();
        let config = match read("CERTIFICATE")? {
            Some(authority) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority)),
            None => ClientTlsConfig::new().with_enabled_roots(),
        };
        let config = match (read("CLIENT_CERTIFICATE")?, read("CLIENT_KEY")?) {
            (Some(certificate), Some(key)) => config.identity(Identity::from_pem(certificate, key)),
            (None, None) => config,
            (Some(_), None) | (None, Some(_)) => return Err(ExportFault::HalfOfIdentity),
        };
        Ok(Self { endpoint, tls: Some(config) })
    }

    /// Has an exporter send there.
    pub(super) fn set_on<B: WithExportConfig + WithTonicConfig>(self, mut builder: B) -> B {
        if let Some(tls) = self.tls {
            builder = builder.with_tls_config(tls);
        }
        match self.endpoint {
            Some(endpoint) => builder.with_endpoint(endpoint),
            None => builder,
        }
    }
}

fn read_file(variable: String, path: String) -> Result<Vec<u8>, ExportFault> {
    fs::read(&path).map_err(|error| ExportFault::File { variable, path, error })
}
