//! What callers prove with who they are: the header, API keys, and tokens of an issuer whose keys are known.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, Ed25519KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde_json::{Map, Value};

use super::authentication::read_bearer;
use crate::access::issuer::Issuer;
use crate::access::key::{KEY_BEGIN, KEY_CHARS, parse_key};
use crate::access::principal::{Principal, PrincipalKind, ProgramSet};
use crate::access::role::Role;
use crate::access::token::{KeySet, MAX_TOKEN_BYTES, read_unverified, verify};

/// Keys of three kinds. Their private halves are nowhere, but for that of `ed`, which is made of this seed.
const KEYS: &str = include_str!("fuzzing/keys.json");
const SEED: [u8; 32] = [7; 32];

const ISSUER: &str = r#"
    issuer = "https://id.example"
    audience = ["goldbook"]
    customer_claim = "customer"
    program_claim = "programs"
    roles_claim = "access.roles"
    programs = ["shop", "cafe"]
"#;

static KEY_SET: LazyLock<KeySet> = LazyLock::new(|| KeySet::parse(KEYS.as_bytes()).unwrap_or_default());
static KEY_PAIR: LazyLock<Option<Ed25519KeyPair>> = LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&SEED).ok());
static BELIEVED: LazyLock<Option<Issuer>> = LazyLock::new(|| toml::from_str(ISSUER).ok());

/// The value of an authorization header; or the JSON of a token's header and of its claims, on a line each, which is signed
/// here, so that claims are tried as well; or a set of keys.
#[must_use]
pub fn tokens(input: &[u8]) -> bool {
    if input.starts_with(b"{\"keys\"") {
        let _ = KeySet::parse(input);
        return true;
    }
    if input.starts_with(b"{")
        && let Some(end) = input.iter().position(|byte| *byte == b'\n')
        && let Some(pair) = &*KEY_PAIR
    {
        let (header, claims) = input.split_at(end);
        let message = [header, claims.get(1..).unwrap_or_default()].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let signature = pair.sign(message.as_bytes());
        check_signed(&message, signature.as_ref());
        return true;
    }
    let Ok(value) = HeaderValue::from_bytes(input) else { return false };
    let Ok(Some(credential)) =
        read_bearer(&HeaderMap::from_iter([(AUTHORIZATION, value)])).map(|it| it.map(str::to_owned))
    else {
        return true;
    };
    assert!(credential.len() <= MAX_TOKEN_BYTES, "a credential of {} bytes", credential.len());
    if parse_key(&credential).is_some() {
        let rest = credential.strip_prefix(KEY_BEGIN).unwrap_or_default();
        assert!(rest.len() == KEY_CHARS && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{credential}");
    }
    if let Some(principal) = bearer_of(&credential) {
        check_principal(&principal, &credential);
    }
    true
}

/// A token counts with its own signature alone.
fn check_signed(message: &str, signature: &[u8]) {
    let token = |message: &str, signature: &[u8]| format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
    let good = token(message, signature);
    let Some(principal) = bearer_of(&good) else { return };
    check_principal(&principal, &good);
    for at in [0, signature.len() / 2, signature.len() - 1] {
        let mut changed = signature.to_vec();
        if let Some(byte) = changed.get_mut(at) {
            *byte ^= 1;
        }
        assert!(bearer_of(&token(message, &changed)).is_none(), "a token counts with another signature");
    }
    for other in ["", "AA"] {
        assert!(bearer_of(&format!("{message}.{other}")).is_none(), "a token counts with the signature {other:?}");
    }
    assert!(bearer_of(&token(&format!("{message}A"), signature)).is_none(), "a token counts with other claims");
}

fn bearer_of(token: &str) -> Option<Principal> {
    let unverified = read_unverified(token).ok()?;
    let (principal, _) = verify(token, &unverified, BELIEVED.as_ref()?, &KEY_SET).ok()?;
    Some(principal)
}

/// A principal is what a token of the issuer says, which one of its keys has signed.
fn check_principal(principal: &Principal, token: &str) {
    assert!(token.len() <= MAX_TOKEN_BYTES && is_signed(token), "{token} counts");
    let claims = part(token, 1);
    let claim = |name: &str| claims.get(name).and_then(Value::as_str);
    assert_eq!((claim("iss"), claim("sub")), (Some("https://id.example"), Some(principal.subject.as_str())));
    assert!((1..=255).contains(&principal.subject.len()) && principal.kind == PrincipalKind::Token);
    let audience = claims.get("aud").unwrap_or_default();
    let is_for_us = |audience: &Value| audience.as_str() == Some("goldbook");
    assert!(is_for_us(audience) || audience.as_array().is_some_and(|all| all.iter().any(is_for_us)), "{audience}");
    // Later than 2001, and so than any present.
    assert!(claims.get("exp").and_then(Value::as_f64).is_some_and(|exp| exp > 1e9), "{claims:?}");
    for (role, programs) in &principal.grants {
        let ProgramSet::Only(programs) = programs else { unreachable!("{role:?} in every program") };
        assert!(programs.iter().all(|program| ["shop", "cafe"].contains(&program.as_str())), "{programs:?}");
    }
    assert_eq!(principal.grants.contains_key(&Role::Customer), principal.customer_id.is_some());
    assert_eq!(principal.customer_id.as_ref().map(|id| id.as_str()), claim("customer"));
}

/// Whether one of the keys has signed it, as another library sees it.
fn is_signed(token: &str) -> bool {
    let Some((message, signature)) = token.rsplit_once('.') else { return false };
    let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
    let header = part(token, 0);
    let said = |name: &str| header.get(name).and_then(Value::as_str);
    let keys: Value = serde_json::from_str(KEYS).unwrap_or_default();
    let keys = keys.get("keys").and_then(Value::as_array);
    let key = keys.into_iter().flatten().find(|key| key.get("kid").and_then(Value::as_str) == said("kid"));
    let bytes = |name: &str| {
        let text = key.and_then(|key| key.get(name)).and_then(Value::as_str);
        URL_SAFE_NO_PAD.decode(text.unwrap_or_default()).unwrap_or_default()
    };
    let message = message.as_bytes();
    match said("alg") {
        Some("RS256") => RsaPublicKeyComponents { n: bytes("n"), e: bytes("e") }
            .verify(&RSA_PKCS1_2048_8192_SHA256, message, &signature)
            .is_ok(),
        Some("ES256") => {
            let point = [vec![4], bytes("x"), bytes("y")].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, &signature).is_ok()
        }
        Some("EdDSA") => UnparsedPublicKey::new(&ED25519, bytes("x")).verify(message, &signature).is_ok(),
        _ => false,
    }
}

/// The JSON in a part of a token.
fn part(token: &str, place: usize) -> Map<String, Value> {
    let text = token.split('.').nth(place).unwrap_or_default();
    let bytes = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}
