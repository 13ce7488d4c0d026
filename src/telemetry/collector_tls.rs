//! TLS on the way to a collector whose endpoint is `https`.

use std::{env, fs};

use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use super::error::InitError;
use super::export::Signal;

/// Whom the collector of a signal has to prove to be, and who this program is there; none for an endpoint that is `http`.
///
/// The machine's authorities are trusted, or that of `OTEL_EXPORTER_OTLP_CERTIFICATE` alone. This program shows
/// `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE` with `OTEL_EXPORTER_OTLP_CLIENT_KEY`. Variables of the signal itself come first.
/// The files are read once.
///
/// # Errors
/// If a file cannot be read, or if one of a certificate and its key is missing.
pub(super) fn tls_to_collector(signal: Signal, endpoint: Option<&str>) -> Result<Option<ClientTlsConfig>, InitError> {
    let value = |what| signal.value(what, |name| env::var(name).ok());
    let endpoint = endpoint.map(str::to_owned).or_else(|| value("ENDPOINT").map(|(_, endpoint)| endpoint));
    // Without a scheme it may be one or the other.
    if endpoint.is_none_or(|endpoint| endpoint.to_ascii_lowercase().starts_with("http://")) {
        return Ok(None);
    }
    let read = |what| value(what).map(|(variable, path)| read_file(variable, path)).transpose();
    let config = match read("CERTIFICATE")? {
        Some(authority) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority)),
        None => ClientTlsConfig::new().with_enabled_roots(),
    };
    match (read("CLIENT_CERTIFICATE")?, read("CLIENT_KEY")?) {
        (Some(certificate), Some(key)) => Ok(Some(config.identity(Identity::from_pem(certificate, key)))),
        (None, None) => Ok(Some(config)),
        (Some(_), None) | (None, Some(_)) => Err(InitError::HalfOfIdentity),
    }
}

fn read_file(variable: String, path: String) -> Result<Vec<u8>, InitError> {
    fs::read(&path).map_err(|error| InitError::File { variable, path, error })
}
