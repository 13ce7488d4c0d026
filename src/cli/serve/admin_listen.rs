//! The admin listener of `goldbook serve`.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::admin::{Admin, Readiness};
use crate::cli::error::CliError;
use crate::telemetry::metrics::Measurements;

/// Where metrics and probes are answered, if anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AdminListen {
    /// Nowhere.
    Off,
    /// At an address.
    At(SocketAddr),
}

impl FromStr for AdminListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse()
            .map(Self::At)
            .map_err(|_| "neither an address with a port, such as 127.0.0.1:9464, nor off".to_owned())
    }
}

impl fmt::Display for AdminListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(address) => address.fmt(f),
        }
    }
}

/// The task that answers; it ends when this is dropped.
pub(crate) struct Answering(JoinHandle<()>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl AdminListen {
    /// Begins to answer, if there are metrics to tell of.
    ///
    /// # Errors
    /// If it cannot listen there.
    pub(crate) async fn start(
        self,
        measurements: Option<Measurements>,
        readiness: Readiness,
    ) -> Result<Option<Answering>, CliError> {
        let (Self::At(address), Some(measurements)) = (self, measurements) else { return Ok(None) };
        let listener = TcpListener::bind(address).await.map_err(|error| {
            let advice = "another address, or off, can be given with --admin-listen";
            CliError::failed(format!("cannot listen for metrics and probes on {address}: {error}; {advice}"))
        })?;
        let address = listener.local_addr().map_err(CliError::failed)?;
        tracing::info!(%address, "metrics and probes");
        let version = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "commit": crate::version::COMMIT,
            "schema": crate::database::needed_schema(),
        });
        let admin = Admin { readiness, measurements, version: format!("{version}\n") };
        Ok(Some(Answering(tokio::spawn(admin.serve(listener)))))
    }
}
