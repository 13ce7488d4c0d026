//! What of the configuration is more than a value: it is read, and all its faults are told, before anything is touched.

use std::path::Path;

use super::admin_listen::AdminListen;
use super::args::ServeArgs;
use crate::access::grpc::Identities;
use crate::access::limits::Limits;
use crate::cli::config_file::FileSettings;
use crate::cli::erasure_keys;
use crate::cli::error::{CliError, with_causes};
use crate::customers::ErasureKeys;
use crate::embedded_postgres::{check_data_dir, explain, find_bin_dir};
use crate::listener::{Tls, TlsFiles};
use crate::telemetry::metrics::{self, Receivers};
use crate::telemetry::{self, Logs};

/// What of the configuration is more than a value: it is read before anything is started.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) tls: Option<Tls>,
    pub(super) identities: Identities,
    pub(super) limits: Limits,
    pub(super) erasure_keys: ErasureKeys,
}

impl Prepared {
    /// Adds what a service makes that has a data directory.
    pub(super) fn complete(&mut self, data_dir: &Path) -> Result<(), CliError> {
        if self.erasure_keys.is_empty() {
            self.erasure_keys = erasure_keys::find_or_make(data_dir)?;
        }
        Ok(())
    }
}

impl ServeArgs {
    /// Finds all that would keep a service from starting with this configuration, but for a port that is taken. Nothing is
    /// started.
    ///
    /// # Errors
    /// If there is anything. All faults are told at once.
    pub(in crate::cli) async fn check(&self) -> Result<(), CliError> {
        let mut faults = Vec::new();
        self.read(&mut faults).await;
        let of_telemetry = telemetry::find_faults(&self.telemetry.export(), &Logs::from_env());
        let of_metrics = metrics::find_fault(self.receivers());
        faults.extend(of_telemetry.iter().chain(&of_metrics).map(|error| with_causes(error)));
        if faults.is_empty() { Ok(()) } else { Err(CliError::usage(faults.join("\n"))) }
    }

    /// Who gets the metrics, as the flags and the standard variables say.
    pub(super) fn receivers(&self) -> Receivers {
        Receivers::from_env(self.admin_listen != AdminListen::Off)
    }

    /// Reads all files that the configuration names, and checks that it is safe to listen with it. Adds what is wrong to
    /// the faults: a file that cannot be read or is wrong, or that callers from other machines could do what they like. It
    /// is something if there is nothing of that.
    pub(super) async fn read(&self, faults: &mut Vec<String>) -> Option<Prepared> {
        let earlier = faults.len();
        let file = keep(FileSettings::read(self.config()), faults);
        let tls = keep(self.load_tls().await, faults);
        let erasure_keys = keep(erasure_keys::read(self.erasure_key_file.as_deref()), faults);
        for url in [&self.database_url, &self.owner_database_url].into_iter().flatten() {
            keep(url.options(), faults);
        }
        match (&self.database_url, &self.owner_database_url) {
            (None, Some(_)) => faults.push("--owner-database-url needs --database-url".to_owned()),
            (None, None) => self.find_own_database_faults(erasure_keys.as_ref(), faults),
            (Some(_), _) => {}
        }
        // Who callers are is known only where the file is right.
        let known = file.map(|file| {
            let FileSettings { issuers, certificates, limits } = file;
            (Identities { api_keys: self.api_keys, issuers, certificates }, limits)
        });
        if let Some((identities, _)) = &known {
            faults.extend(self.find_listener_faults(identities));
            faults.extend(identities.find_file_faults().await);
        }
        let ((identities, limits), tls, erasure_keys) = (known?, tls?, erasure_keys?);
        (faults.len() == earlier).then_some(Prepared { tls, identities, limits, erasure_keys })
    }

    /// What keeps a database of the service's own from being started, as far as it shows before.
    fn find_own_database_faults(&self, erasure_keys: Option<&ErasureKeys>, faults: &mut Vec<String>) {
        keep(find_bin_dir(self.postgres_bin.as_deref()).map_err(|error| CliError::failed(explain(&error))), faults);
        let data_dir = check_data_dir(&self.data_dir);
        keep(data_dir.map_err(|error| CliError::failed(format!("{} (--data-dir)", with_causes(&error)))), faults);
        if erasure_keys.is_some_and(ErasureKeys::is_empty) {
            keep(erasure_keys::check_own(&self.data_dir), faults);
        }
    }

    async fn load_tls(&self) -> Result<Option<Tls>, CliError> {
        let files = match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                TlsFiles { certificate: certificate.clone(), key: key.clone(), client_ca: self.tls_client_ca.clone() }
            }
            (None, None) if self.tls_client_ca.is_none() => return Ok(None),
            _ => return Err(CliError::usage("TLS needs both --tls-certificate and --tls-key")),
        };
        Tls::load(files).await.map(Some).map_err(|error| CliError::usage(with_causes(&error)))
    }

    /// Whoever can be reached from other machines asks callers who they are, and lets nobody listen in.
    fn find_listener_faults(&self, identities: &Identities) -> Vec<String> {
        let address = self.listen;
        let is_open = !address.ip().is_loopback();
        let mut faults = Vec::new();
        if !identities.certificates.is_empty() && self.tls_client_ca.is_none() {
            faults.push("certificates of callers count only with --tls-client-ca".to_owned());
        }
        if is_open && identities.is_empty() {
            faults.push(format!(
                "{address} is reachable from other machines, and the service would not ask callers who they are: \
                 listen on 127.0.0.1, or configure --api-keys, an issuer of tokens, or certificates of callers",
            ));
        }
        if is_open && self.tls_certificate.is_none() && !self.insecure_listen {
            faults.push(format!(
                "{address} is reachable from other machines, and others could read and change what is sent: \
                 configure --tls-certificate and --tls-key, or say --insecure-listen if something in front has TLS",
            ));
        }
        faults
    }
}

/// What came of a part of the configuration. What is wrong with it is told with all other faults.
fn keep<T>(part: Result<T, CliError>, faults: &mut Vec<String>) -> Option<T> {
    part.map_err(|fault| faults.push(fault.to_string())).ok()
}
