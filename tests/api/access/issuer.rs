//! An issuer of tokens, with keys of the test's own.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use goldbook::access::issuer::{Issuer, KeySource};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::harness::SHOP;

pub(crate) const ISSUER: &str = "https://login.example.com/realms/shop";
pub(crate) const AUDIENCE: &str = "goldbook";

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A pair of keys of one of the kinds that count.
pub(crate) enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A key of an issuer.
pub(crate) struct SigningKey {
    pub key_id: String,
    pub pair: Pair,
}

impl SigningKey {
    pub(crate) fn rsa(key_id: &str) -> Self {
        let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        Self { key_id: key_id.to_owned(), pair: Pair::Rsa(pair) }
    }

    pub(crate) fn p256(key_id: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { key_id: key_id.to_owned(), pair: Pair::P256(pair) }
    }

    pub(crate) fn ed25519(key_id: &str) -> Self {
        Self { key_id: key_id.to_owned(), pair: Pair::Ed25519(Ed25519KeyPair::generate().unwrap()) }
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::P256(_) => "ES256",
            Pair::Ed25519(_) => "EdDSA",
        }
    }

    /// The public half, as issuers publish it.
    pub(crate) fn jwk(&self) -> Value {
        let (kid, alg) = (&self.key_id, self.algorithm());
        match &self.pair {
            Pair::Rsa(pair) => {
                let public = pair.public_key();
                let modulus = public.modulus().big_endian_without_leading_zero().to_vec();
                let exponent = public.exponent().big_endian_without_leading_zero().to_vec();
                json!({"kty": "RSA", "use": "sig", "kid": kid, "alg": alg, "n": encode(modulus), "e": encode(exponent)})
            }
            Pair::P256(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
                json!({"kty": "EC", "use": "sig", "kid": kid, "alg": alg, "crv": "P-256", "x": x, "y": y})
            }
            Pair::Ed25519(pair) => {
                let x = encode(pair.public_key());
                json!({"kty": "OKP", "use": "sig", "kid": kid, "alg": alg, "crv": "Ed25519", "x": x})
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
            Pair::P256(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm(), "typ": "JWT", "kid": self.key_id});
        self.token_of(&header.to_string(), &claims.to_string())
    }

    /// A token of these texts, whatever they are.
    pub(crate) fn token_of(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = encode(self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

/// Seconds of the Unix epoch, so long from now.
#[expect(clippy::disallowed_methods, reason = "tokens count by the machine's clock")]
pub(crate) fn from_now(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    i64::try_from(now).unwrap() + seconds
}

/// Claims of a customer of the shop.
pub(crate) fn claims_of_customer(customer_id: &str) -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": format!("user-{customer_id}"), "exp": from_now(3_600),
        "iat": from_now(0), "customer_id": customer_id, "program_id": SHOP,
    })
}

/// Claims of a colleague with this role in the shop.
pub(crate) fn claims_of_role(role: &str) -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": format!("user-{role}"), "exp": from_now(3_600), "roles": [role],
        "program_id": SHOP,
    })
}

/// The issuer as a service knows it, with its keys from there.
pub(crate) fn trusted(name: &str, keys: KeySource) -> Issuer {
    Issuer {
        issuer: name.to_owned(),
        audience: [AUDIENCE.to_owned()].into(),
        audience_claim: "aud".to_owned(),
        keys,
        customer_claim: Some("customer_id".to_owned()),
        program_claim: Some("program_id".to_owned()),
        roles_claim: Some("roles".to_owned()),
        programs: None,
        roles: None,
    }
}

/// A key set in a file.
pub(crate) struct KeyFile(tempfile::TempDir);

impl KeyFile {
    pub(crate) fn of(keys: &[&SigningKey]) -> Self {
        let file = Self(tempfile::tempdir().unwrap());
        file.replace(keys);
        file
    }

    pub(crate) fn replace(&self, keys: &[&SigningKey]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
        std::fs::write(self.0.path().join("keys.json"), json!({"keys": keys}).to_string()).unwrap();
    }

    pub(crate) fn source(&self) -> KeySource {
        KeySource::File(self.0.path().join("keys.json"))
    }
}

/// An issuer on the network of this machine, by OpenID Connect.
pub(crate) struct Online {
    pub name: String,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    keys: Mutex<Vec<Value>>,
    is_away: AtomicBool,
    asked: AtomicUsize,
    turned_away: AtomicUsize,
    /// How long answers take, in milliseconds.
    delay: AtomicUsize,
}

impl Drop for Online {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Online {
    pub(crate) async fn start(keys: &[&SigningKey]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let name = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State::default());
        let serving = tokio::spawn({
            let (state, name) = (state.clone(), name.clone());
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(answer(stream, state.clone(), name.clone()));
                }
            }
        });
        let online = Self { name, state, serving };
        online.replace(keys);
        online
    }

    /// Has these keys from now on.
    pub(crate) fn replace(&self, keys: &[&SigningKey]) {
        *self.state.keys.lock().unwrap() = keys.iter().map(|key| key.jwk()).collect();
    }

    pub(crate) fn set_away(&self, is_away: bool) {
        self.state.is_away.store(is_away, Ordering::SeqCst);
    }

    pub(crate) fn set_delay(&self, milliseconds: usize) {
        self.state.delay.store(milliseconds, Ordering::SeqCst);
    }

    /// How often it was asked for anything while it was away.
    pub(crate) fn turned_away(&self) -> usize {
        self.state.turned_away.load(Ordering::SeqCst)
    }

    /// How often it was asked for its keys.
    pub(crate) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }
}

async fn answer(mut stream: TcpStream, state: Arc<State>, name: String) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            return;
        }
        request.push(byte[0]);
    }
    let delay = u64::try_from(state.delay.load(Ordering::SeqCst)).unwrap();
    crate::wait::pause(std::time::Duration::from_millis(delay)).await;
    let (status, body) = if state.is_away.load(Ordering::SeqCst) {
        state.turned_away.fetch_add(1, Ordering::SeqCst);
        ("503 Service Unavailable", json!({}))
    } else if request.starts_with(b"GET /.well-known/openid-configuration ") {
        ("200 OK", json!({"issuer": name, "jwks_uri": format!("{name}/keys")}))
    } else {
        state.asked.fetch_add(1, Ordering::SeqCst);
        ("200 OK", json!({"keys": *state.keys.lock().unwrap()}))
    };
    let body = body.to_string();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
}
