//! TLS of the listener, from files that are read again when they change. Connections that are open stay as they are.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use ring::digest::{Context, SHA256};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use zeroize::Zeroizing;

use crate::telemetry::metrics::registry::CERTIFICATE_EXPIRY;
use crate::telemetry::metrics::{Reading, show};

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// The files that TLS is made of, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate of the service, with those between it and its root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The roots that the certificates of callers must lead to. Without it, callers are not asked for one.
    pub client_ca: Option<PathBuf>,
}

/// Why TLS cannot be set up. It names files, and nothing that is in them.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{0}: {1}")]
    File(PathBuf, #[source] std::io::Error),
    /// A file does not hold what it must.
    #[error("{0}: {1}")]
    Content(PathBuf, String),
    /// Certificate and key do not fit together, or cannot be used.
    #[error("{0}: {1}")]
    Unusable(PathBuf, #[source] rustls::Error),
}

/// What was read of the files.
struct Contents {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    client_ca: Option<Vec<u8>>,
}

impl Contents {
    /// What tells whether they changed, so that no old private key is kept for it.
    fn digest(&self) -> Vec<u8> {
        let mut hasher = Context::new(&SHA256);
        for part in [Some(&self.certificate), Some(&*self.key), self.client_ca.as_ref()].into_iter().flatten() {
            hasher.update(&part.len().to_be_bytes());
            hasher.update(part);
        }
        hasher.finish().as_ref().to_vec()
    }
}

/// TLS as the files have it now.
#[derive(Clone, Debug)]
pub struct Tls {
    files: Arc<TlsFiles>,
    config: Arc<RwLock<Arc<ServerConfig>>>,
    /// The digest of what the files held when it was loaded.
    loaded: Vec<u8>,
}

impl TlsFiles {
    async fn read(&self) -> Result<Contents, TlsError> {
        let client_ca = match &self.client_ca {
            Some(path) => Some(read(path).await?),
            None => None,
        };
        let key = Zeroizing::new(read(&self.key).await?);
        Ok(Contents { certificate: read(&self.certificate).await?, key, client_ca })
    }

    fn configure(&self, contents: &Contents) -> Result<ServerConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = read_certificates(&self.certificate, &contents.certificate)?;
        let expiry = chain.first().and_then(|own| read_expiry(own));
        let key = PrivateKeyDer::from_pem_slice(&contents.key)
            .map_err(|_| TlsError::Content(self.key.clone(), "it holds no private key in PEM".to_owned()))?;
        let unusable = |error| TlsError::Unusable(self.certificate.clone(), error);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(unusable)?;
        let builder = match (&self.client_ca, &contents.client_ca) {
            (Some(path), Some(pem)) => {
                let mut roots = RootCertStore::empty();
                for root in read_certificates(path, pem)? {
                    roots.add(root).map_err(|error| TlsError::Unusable(path.clone(), error))?;
                }
                // Who shows no certificate may still have a token or a key.
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = verifier.allow_unauthenticated().build();
                builder.with_client_cert_verifier(
                    verifier.map_err(|error| TlsError::Content(path.clone(), error.to_string()))?,
                )
            }
            (None, _) | (_, None) => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
        if self.client_ca.is_some() {
            // A session that goes on would not have its certificate looked at again.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        show(&CERTIFICATE_EXPIRY, expiry.map(|left| (Vec::new(), left)));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// The time left until a certificate expires.
#[expect(clippy::disallowed_methods, reason = "certificates are judged by the machine's clock")]
fn read_expiry(certificate: &CertificateDer<'_>) -> Option<Reading> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "the seconds since 1970 are far below 2^53")]
    let was = certificate.validity().not_after.timestamp() as f64 - now;
    Some(Reading::Left { was, at: Instant::now() })
}

async fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    tokio::fs::read(path).await.map_err(|error| TlsError::File(path.to_owned(), error))
}

fn read_certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(|error| TlsError::Content(path.to_owned(), error.to_string()))?;
    if certificates.is_empty() {
        return Err(TlsError::Content(path.to_owned(), "it holds no certificate in PEM".to_owned()));
    }
    Ok(certificates)
}

impl Tls {
    /// TLS from these files, which are looked at again from time to time as long as the runtime lives.
    ///
    /// # Errors
    /// If they cannot be read or do not fit together.
    pub async fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let contents = files.read().await?;
        let config = Arc::new(files.configure(&contents)?);
        let loaded = contents.digest();
        Ok(Self { files: Arc::new(files), config: Arc::new(RwLock::new(config)), loaded })
    }

    pub(super) async fn accept(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>, std::io::Error> {
        let config = Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner));
        TlsAcceptor::from(config).accept(stream).await
    }

    /// Looks at the files again and again, until it is dropped. New connections get what they hold; if that cannot be
    /// used, what was there before.
    #[expect(clippy::disallowed_methods, reason = "the pause between two looks")]
    pub async fn keep_fresh(self) {
        // Not what they hold now: between loading and serving there is the start of the database, which may take long.
        let mut used = self.loaded;
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let read = match self.files.read().await {
                Ok(contents) if used == contents.digest() => continue,
                Ok(contents) => self.files.configure(&contents).map(|config| (contents.digest(), config)),
                Err(error) => Err(error),
            };
            match read {
                Ok((digest, config)) => {
                    *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                    used = digest;
                    tracing::info!("the TLS certificate was read anew");
                }
                Err(error) => tracing::warn!(%error, "the TLS files changed and cannot be used; those before count"),
            }
        }
    }
}
