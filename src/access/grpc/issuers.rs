//! The issuers that the service believes, with their keys, and the tokens that were verified.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join_all};
use quick_cache::sync::Cache;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::recognized::{Known, Proof, Recognized};
use crate::access::hash::sha256;
use crate::access::issuer::{Issuer, KeySource, find_url_fault, without_user};
use crate::access::token::{KeySet, Unverified, read_unverified, verify};
use crate::error::{Error, Reason, Refusal, with_causes};

/// How often keys are fetched anew in the background.
const REFRESH_INTERVAL: Duration = Duration::from_secs(300);
/// How often they are fetched for a token whose key is not known.
const UNKNOWN_INTERVAL: Duration = Duration::from_secs(10);
/// How long an issuer may take to answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer that is read of an issuer, in bytes.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// How many verified tokens are remembered.
const REMEMBERED_TOKENS: usize = 10_000;

/// The issuers that the service believes.
#[derive(Clone, Debug)]
pub(super) struct Issuers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    by_name: HashMap<String, Arc<Trusted>>,
    /// By the hash of the token.
    verified: Cache<[u8; 32], Verified>,
}

/// An issuer with its keys.
#[derive(Debug)]
struct Trusted {
    issuer: Issuer,
    keys: RwLock<Arc<Keys>>,
    /// Held by whoever fetches them: when that was last begun.
    fetching: Mutex<Option<Instant>>,
    client: reqwest::Client,
}

/// Keys as they were fetched last. Those of an issuer that is away are kept.
#[derive(Debug, Default)]
struct Keys {
    set: KeySet,
    /// Counts the changes: what was verified with others is verified again.
    generation: u64,
    is_fetched: bool,
    json: Vec<u8>,
}

/// A token that was verified.
#[derive(Clone, Debug)]
struct Verified {
    known: Known,
    proof: Arc<TokenProof>,
    generation: u64,
}

/// A token that counted when its call began.
#[derive(Clone, Debug)]
struct TokenProof {
    /// In seconds of the Unix epoch.
    expires_at: u64,
    issuer: Arc<Trusted>,
    key_id: String,
}

impl Proof for TokenProof {
    /// It has not expired, and its issuer still has the key.
    fn counts(&self) -> bool {
        unix_seconds() < self.expires_at && self.issuer.keys().set.has(&self.key_id)
    }
}

fn refuse(message: &'static str) -> Error {
    Refusal::new(Reason::NotAuthenticated, message).into()
}

/// The present as issuers tell it, in seconds of the Unix epoch.
pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Issuers {
    /// Issuers whose keys are not fetched yet.
    ///
    /// # Errors
    /// If no client for fetching them can be made.
    pub(super) fn new(issuers: &[Issuer]) -> Result<Self, reqwest::Error> {
        // Whoever installed one before, such as another service of this process, has chosen the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(FETCH_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("goldbook/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let trusted = |issuer: &Issuer| {
            let (keys, fetching) = (RwLock::default(), Mutex::default());
            let trusted = Trusted { issuer: issuer.clone(), keys, fetching, client: client.clone() };
            (issuer.issuer.clone(), Arc::new(trusted))
        };
        let by_name = issuers.iter().map(trusted).collect();
        Ok(Self(Arc::new(Shared { by_name, verified: Cache::new(REMEMBERED_TOKENS) })))
    }

    /// Who bears a token: at once if it was verified before or its key is known.
    pub(super) fn recognize(&self, token: &str) -> Recognized {
        let hash = sha256(token);
        if let Some(verified) = self.0.verified.get(&hash)
            && verified.generation == verified.proof.issuer.keys().generation
            && unix_seconds() < verified.proof.expires_at
        {
            return Recognized::Now(Ok(verified.known));
        }
        let unverified = match read_unverified(token) {
            Ok(unverified) => unverified,
            Err(why) => return Recognized::Now(Err(refuse(why))),
        };
        let Some(trusted) = self.0.by_name.get(&unverified.issuer) else {
            return Recognized::Now(Err(refuse("the token is of an issuer that does not count here")));
        };
        if trusted.keys().set.has(&unverified.key_id) {
            return Recognized::Now(self.verify(hash, token, &unverified, trusted));
        }
        Recognized::Later(self.verify_with_new_keys(hash, token.to_owned(), unverified, Arc::clone(trusted)))
    }

    fn verify_with_new_keys(
        &self,
        hash: [u8; 32],
        token: String,
        unverified: Unverified,
        trusted: Arc<Trusted>,
    ) -> BoxFuture<'static, Result<Known, Error>> {
        let issuers = self.clone();
        async move {
            // A task of its own: a caller who goes away does not end the fetching for all others.
            let fetching = tokio::spawn({
                let trusted = Arc::clone(&trusted);
                async move { trusted.fetch_for_unknown().await }
            });
            let _ = fetching.await;
            if !trusted.keys().is_fetched {
                // Nobody knows yet whether the token counts.
                return Err(Error::IssuerAway);
            }
            issuers.verify(hash, &token, &unverified, &trusted)
        }
        .boxed()
    }

    fn verify(
        &self,
        hash: [u8; 32],
        token: &str,
        unverified: &Unverified,
        trusted: &Arc<Trusted>,
    ) -> Result<Known, Error> {
        let keys = trusted.keys();
        let generation = keys.generation;
        let (principal, expires_at) = verify(token, unverified, &trusted.issuer, &keys.set).map_err(refuse)?;
        let (issuer, key_id) = (Arc::clone(trusted), unverified.key_id.clone());
        let proof = Arc::new(TokenProof { expires_at, issuer, key_id });
        let known = Known { principal: Arc::new(principal), proof: Some(Arc::<TokenProof>::clone(&proof)) };
        self.0.verified.insert(hash, Verified { known: known.clone(), proof, generation });
        Ok(known)
    }

    /// Fetches keys from time to time, until it is dropped.
    pub(super) async fn keep_fresh(self) {
        loop {
            join_all(self.0.by_name.values().map(|trusted| trusted.fetch_in_background())).await;
            sleep(REFRESH_INTERVAL).await;
        }
    }
}

impl Trusted {
    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fetches the keys, unless that was done a moment ago. Whoever comes meanwhile waits for it.
    async fn fetch_for_unknown(&self) {
        let mut fetching = self.fetching.lock().await;
        if fetching.is_none_or(|last| last.elapsed() >= UNKNOWN_INTERVAL) {
            *fetching = Some(Instant::now());
            self.fetch().await;
        }
    }

    async fn fetch_in_background(&self) {
        let mut fetching = self.fetching.lock().await;
        *fetching = Some(Instant::now());
        self.fetch().await;
    }

    async fn fetch(&self) {
        let read = async {
            let json = self.read_keys().await?;
            Ok::<_, String>((KeySet::parse(&json)?, json))
        };
        match read.await {
            Ok((set, json)) => {
                let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
                if keys.json != json {
                    let generation = keys.generation + 1;
                    *keys = Arc::new(Keys { set, generation, is_fetched: true, json });
                }
            }
            Err(failure) => {
                tracing::warn!(
                    issuer = self.issuer.issuer,
                    failure,
                    "keys cannot be fetched; those known so far count"
                );
            }
        }
    }

    async fn read_keys(&self) -> Result<Vec<u8>, String> {
        match &self.issuer.keys {
            KeySource::File(path) => read_file(path).await,
            KeySource::Url(url) => self.get(url).await,
            KeySource::Discovery => {
                #[derive(serde::Deserialize)]
                struct Configuration {
                    issuer: String,
                    jwks_uri: String,
                }
                let name = &self.issuer.issuer;
                let json =
                    self.get(&format!("{}/.well-known/openid-configuration", name.trim_end_matches('/'))).await?;
                let configuration: Configuration = serde_json::from_slice(&json).map_err(|error| error.to_string())?;
                if configuration.issuer != *name {
                    return Err("the issuer's configuration is of another issuer".to_owned());
                }
                self.get(&configuration.jwks_uri).await
            }
        }
    }

    /// What a URL answers. What an issuer says where its keys are is held to the same rule as the configuration.
    async fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        if let Some(fault) = find_url_fault(url) {
            return Err(format!("{} {fault}", without_user(url)));
        }
        let answer = self.client.get(url).send().await.and_then(reqwest::Response::error_for_status);
        let mut answer = answer.map_err(|error| with_causes(&error))?;
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| with_causes(&error))? {
            if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err("the answer is larger than 1 MiB".to_owned());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

/// What is wrong with the files in which issuers have their keys, if anything is.
pub(super) async fn find_file_faults(issuers: &[Issuer]) -> Vec<String> {
    let mut faults = Vec::new();
    for issuer in issuers {
        let KeySource::File(path) = &issuer.keys else { continue };
        let fault = match read_file(path).await {
            Ok(json) => KeySet::parse(&json).err().map(|fault| format!("{}: {fault}", path.display())),
            Err(fault) => Some(fault),
        };
        faults.extend(fault.map(|fault| format!("issuer {}: {fault}", issuer.shown_name())));
    }
    faults
}

async fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    tokio::fs::read(path).await.map_err(|error| format!("{}: {error}", path.display()))
}
