//! Authentication: who calls, by what a request carries.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use quick_cache::sync::Cache;
use sqlx::PgPool;

use super::issuers::{Issuers, find_file_faults, unix_seconds};
use super::live_keys::LiveKeys;
use super::recognized::{Known, Proof, Recognized};
use crate::access::allowance::Allowance;
use crate::access::certificate::CertificateRule;
use crate::access::issuer::Issuer;
use crate::access::key::{KEY_BEGIN, KeyHash, parse_key};
use crate::access::limits::Limits;
use crate::access::principal::{Principal, PrincipalKind};
use crate::access::role::Role;
use crate::access::store;
use crate::access::token::MAX_TOKEN_BYTES;
use crate::error::{Error, Reason, Refusal};
use crate::ids::PrincipalId;
use crate::listener::{PeerName, PeerNames};

/// How many principals are remembered with what they may still do.
const REMEMBERED_ALLOWANCES: usize = 100_000;

/// How callers prove who they are.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    /// By keys of the service's own.
    pub api_keys: bool,
    /// By tokens of these issuers.
    pub issuers: Vec<Issuer>,
    /// By the certificates of their connections.
    pub certificates: Vec<CertificateRule>,
}

impl Identities {
    /// Whether there is any way to prove it. If not, nobody is asked.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        let Self { api_keys, issuers, certificates } = self;
        !*api_keys && issuers.is_empty() && certificates.is_empty()
    }

    /// What is wrong with the files that they name, if anything is.
    pub(crate) async fn find_file_faults(&self) -> Vec<String> {
        find_file_faults(&self.issuers).await
    }
}

/// Finds out who calls.
#[derive(Clone, Debug)]
pub(crate) struct Authentication {
    ways: Arc<Ways>,
    limits: Arc<Limits>,
    /// By principal: as many as fit. One that was forgotten begins anew.
    allowances: Arc<Cache<Name, Arc<Allowance>>>,
    pool: PgPool,
}

/// What a principal is known by: how they prove who they are, who vouches, and their name there; and with which roles, since
/// those say what is allowed.
type Name = (PrincipalKind, String, String, Vec<Role>);

/// The ways in which callers prove who they are.
#[derive(Debug)]
enum Ways {
    /// None: everyone is this principal, who may do everything.
    NobodyIsAsked(Arc<Principal>),
    Asked {
        keys: Option<LiveKeys>,
        issuers: Option<Issuers>,
        certificates: HashMap<PeerName, Arc<Principal>>,
    },
}

impl Authentication {
    /// Authentication in these ways. What was seen of principals is kept through `pool`.
    ///
    /// # Errors
    /// If nothing can be made that fetches the keys of issuers.
    pub(crate) fn new(identities: &Identities, limits: Limits, pool: PgPool) -> Result<Self, reqwest::Error> {
        let ways = if identities.is_empty() {
            Ways::NobodyIsAsked(Arc::new(Principal::anyone()))
        } else {
            let keys = identities.api_keys.then(|| LiveKeys::new(pool.clone()));
            let issuers = (!identities.issuers.is_empty()).then(|| Issuers::new(&identities.issuers)).transpose()?;
            let rules = identities.certificates.iter();
            let certificates = rules.filter_map(|rule| Some((rule.peer()?, Arc::new(rule.principal())))).collect();
            Ways::Asked { keys, issuers, certificates }
        };
        let allowances = Arc::new(Cache::new(REMEMBERED_ALLOWANCES));
        Ok(Self { ways: Arc::new(ways), limits: Arc::new(limits), allowances, pool })
    }

    /// The same, where whoever is not asked has an id before the database is.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn with_known_id(self) -> Self {
        if let Ways::NobodyIsAsked(anyone) = &*self.ways {
            let _ = anyone.id.set(PrincipalId::NOBODY);
        }
        self
    }

    /// Keeps what it knows up to date, until it is dropped.
    pub(crate) async fn keep_fresh(self) {
        let Ways::Asked { keys, issuers, .. } = &*self.ways else { return };
        let keys = keys.iter().map(|keys| keys.clone().keep_fresh().boxed());
        let issuers = issuers.iter().map(|issuers| issuers.clone().keep_fresh().boxed());
        join_all(keys.chain(issuers)).await;
    }

    /// Who sends a request, by what it carries. Refuses with [`Reason::NotAuthenticated`] if that proves nobody.
    pub(super) fn recognize<B>(&self, request: &http::Request<B>) -> Recognized {
        match &*self.ways {
            Ways::NobodyIsAsked(anyone) => Recognized::Now(Ok(Known { principal: Arc::clone(anyone), proof: None })),
            Ways::Asked { keys, issuers, certificates } => match read_bearer(request.headers()) {
                Err(refusal) => Recognized::Now(Err(refusal.into())),
                Ok(None) => Recognized::Now(recognize_certificate(certificates, request)),
                Ok(Some(credential)) => match (keys, issuers) {
                    (Some(keys), _) if credential.starts_with(KEY_BEGIN) => recognize_key(keys, credential),
                    (_, Some(issuers)) => issuers.recognize(credential),
                    (_, None) => Recognized::Now(Err(refuse("such credentials do not count here").into())),
                },
            },
        }
    }

    /// What a principal may still do.
    pub(super) fn allowance_of(&self, principal: &Principal) -> Arc<Allowance> {
        let look_up = || {
            let roles = principal.grants.keys().copied().collect();
            let name = (principal.kind, principal.issuer.clone(), principal.subject.clone(), roles);
            let made =
                || Ok::<_, std::convert::Infallible>(Arc::new(Allowance::of(principal.grants.keys(), &self.limits)));
            let Ok(allowance) = self.allowances.get_or_insert_with(&name, made);
            allowance
        };
        Arc::clone(principal.allowance.get_or_init(look_up))
    }

    /// The id that entries name a principal by.
    ///
    /// # Errors
    /// If the database cannot be read or written.
    pub(super) async fn id_of(&self, principal: &Principal) -> Result<PrincipalId, Error> {
        if let Some(id) = principal.id.get() {
            return Ok(*id);
        }
        let id = store::find_or_add(&self.pool, principal).await?;
        // A customer may be erased, on whichever replica. Whoever comes back has another id.
        if principal.customer_id.is_some() {
            return Ok(id);
        }
        // Whoever looked it up at the same time found the same.
        Ok(*principal.id.get_or_init(|| id))
    }

    /// What a principal is named by without the customer whom they may be.
    pub(super) async fn person_of(&self, principal: &Principal) -> Result<PrincipalId, Error> {
        if principal.customer_id.is_none() {
            return self.id_of(principal).await;
        }
        let (issuer, subject) = (principal.issuer.clone(), principal.subject.clone());
        let person = Principal::new(principal.kind, issuer, subject, principal.grants.clone());
        store::find_or_add(&self.pool, &person).await
    }
}

fn refuse(message: &str) -> Refusal {
    Refusal::new(Reason::NotAuthenticated, message)
}

/// The token or key in the header for it.
pub(super) fn read_bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(refuse("the request has more than one authorization"));
    }
    if value.len() > MAX_TOKEN_BYTES {
        return Err(refuse("the authorization is longer than 8 KiB"));
    }
    let bearer = value.to_str().ok().and_then(|text| text.split_once(' '));
    let bearer = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let (_, credential) = bearer.ok_or_else(|| refuse("the authorization is not of the form `Bearer …`"))?;
    Ok(Some(credential.trim()))
}

/// Who shows a certificate that was verified when they connected.
fn recognize_certificate<B>(
    certificates: &HashMap<PeerName, Arc<Principal>>,
    request: &http::Request<B>,
) -> Result<Known, Error> {
    let peer = request.extensions().get::<PeerNames>();
    let mut names = peer.into_iter().flat_map(PeerNames::iter);
    let principal = names.find_map(|name| certificates.get(name)).cloned();
    let not_after = peer.map_or(i64::MIN, PeerNames::not_after);
    let principal = principal.ok_or_else(|| refuse("the request carries no credentials"))?;
    let proof = CertificateProof { not_after };
    if !proof.counts() {
        return Err(refuse("the certificate of the connection has expired").into());
    }
    Ok(Known { principal, proof: Some(Arc::new(proof)) })
}

/// A certificate that counts until then, in seconds of the Unix epoch.
#[derive(Debug)]
struct CertificateProof {
    not_after: i64,
}

impl Proof for CertificateProof {
    fn counts(&self) -> bool {
        unix_seconds().cast_signed() <= self.not_after
    }
}

fn recognize_key(keys: &LiveKeys, text: &str) -> Recognized {
    let unknown = || Error::from(refuse("the API key is unknown, has expired, or was revoked"));
    let Some(hash) = parse_key(text) else { return Recognized::Now(Err(unknown())) };
    if let Some(known) = keys.find(hash) {
        return Recognized::Now(Ok(known));
    }
    let keys = keys.clone();
    let find_anew = async move |hash: KeyHash| keys.find_anew(hash).await?.ok_or_else(unknown);
    Recognized::Later(async move { find_anew(hash).await }.boxed())
}
