//! Tokens: what is read of one before its signature is known to be good, and what the signature proves. It is pure, but
//! that validity in time is by the machine's clock, which issuers and services share.

use std::collections::HashMap;
use std::fmt;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::issuer::{Issuer, is_for_audience};
use super::principal::Principal;

/// The longest token that is looked at, in bytes.
pub(crate) const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// How far the clocks of an issuer and of this machine may be apart, in seconds.
const LEEWAY_SECONDS: u64 = 30;
/// How deep claims may be nested.
const MAX_DEPTH: u8 = 16;
/// Headers by which a token would choose the key that it is checked with.
const OWN_KEYS: [&str; 4] = ["jku", "jwk", "x5u", "x5c"];

/// What a token says of itself. Nothing of it is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unverified {
    /// Who is said to have issued it.
    pub(crate) issuer: String,
    /// Which of the issuer's keys is said to have signed it.
    pub(crate) key_id: String,
    algorithm: Algorithm,
}

/// Keys of an issuer that tokens can be signed with, by their ids.
#[derive(Clone, Default)]
pub(crate) struct KeySet(HashMap<String, (Algorithm, DecodingKey)>);

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl KeySet {
    /// The keys of a JSON Web Key Set. Those that are for something else are left out.
    ///
    /// # Errors
    /// If it is no key set, or none of its keys can have signed a token.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, String> {
        #[derive(serde::Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(json).map_err(|error| format!("it is no JSON Web Key Set: {error}"))?;
        let keys = set.keys.into_iter().filter_map(|key| read_key(&serde_json::from_value(key).ok()?));
        let keys: HashMap<_, _> = keys.collect();
        if keys.is_empty() { Err("it has no key that tokens can be signed with".to_owned()) } else { Ok(Self(keys)) }
    }

    /// Whether it has a key.
    pub(crate) fn has(&self, key_id: &str) -> bool {
        self.0.contains_key(key_id)
    }
}

/// A key that can be asked whether it signed a token: a public one of the three kinds, which has an id.
fn read_key(jwk: &Jwk) -> Option<(String, (Algorithm, DecodingKey))> {
    let key_id = jwk.common.key_id.clone()?;
    if jwk.common.public_key_use.as_ref().is_some_and(|it| *it != PublicKeyUse::Signature) {
        return None;
    }
    #[expect(clippy::wildcard_enum_match_arm, reason = "another crate's kinds, of which it may add some")]
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        _ => return None,
    };
    let stated = jwk.common.key_algorithm.map(|stated| stated.to_string());
    if stated.is_some_and(|stated| stated != format!("{algorithm:?}")) {
        return None;
    }
    Some((key_id, (algorithm, DecodingKey::from_jwk(jwk).ok()?)))
}

/// Reads what a token says of itself.
///
/// # Errors
/// Why it cannot count, whoever signed it.
pub(crate) fn read_unverified(token: &str) -> Result<Unverified, &'static str> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err("the token is longer than 8 KiB");
    }
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err("the credentials are neither an API key nor a signed token");
    };
    let header = read_json(header).ok_or("the header of the token cannot be read")?;
    if OWN_KEYS.iter().any(|name| header.contains_key(*name)) {
        return Err("the token brings its own key");
    }
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err("the token asks for extensions that are not known here");
    }
    let algorithm = match header.get("alg").and_then(Value::as_str) {
        Some("RS256") => Algorithm::RS256,
        Some("ES256") => Algorithm::ES256,
        Some("EdDSA") => Algorithm::EdDSA,
        _ => return Err("the token must be signed with RS256, ES256 or EdDSA"),
    };
    let key_id = header.get("kid").and_then(Value::as_str).ok_or("the token does not name its key")?.to_owned();
    let claims = read_json(claims).ok_or("the claims of the token cannot be read")?;
    let issuer = claims.get("iss").and_then(Value::as_str).ok_or("the token does not name its issuer")?.to_owned();
    Ok(Unverified { issuer, key_id, algorithm })
}

/// Checks a token of an issuer with the issuer's keys. Returns who bears it, and until when it counts, in seconds of the
/// Unix epoch.
///
/// # Errors
/// Why it does not count.
pub(crate) fn verify(
    token: &str,
    unverified: &Unverified,
    issuer: &Issuer,
    keys: &KeySet,
) -> Result<(Principal, u64), &'static str> {
    let Some((algorithm, key)) = keys.0.get(&unverified.key_id) else {
        return Err("the token names a key that its issuer does not have");
    };
    if *algorithm != unverified.algorithm {
        return Err("the token's key is of another kind than its algorithm");
    }
    let mut validation = Validation::new(*algorithm);
    validation.leeway = LEEWAY_SECONDS;
    validation.validate_nbf = true;
    // Checked below, since its claim may have another name.
    validation.validate_aud = false;
    validation.set_issuer(&[&issuer.issuer]);
    validation.set_required_spec_claims(&["exp", "iss"]);
    let token = decode::<Map<String, Value>>(token, key, &validation).map_err(|error| explain(&error))?;
    if !is_for_audience(issuer, &token.claims) {
        return Err("the token is for somebody else");
    }
    let expires_at = token.claims.get("exp").and_then(Value::as_f64).ok_or("the token does not say when it expires")?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast of a float saturates")]
    let expires_at = expires_at as u64;
    Ok((issuer.principal_of(&token.claims)?, expires_at.saturating_add(LEEWAY_SECONDS)))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "another crate's kinds, of which it may add some")]
fn explain(error: &jsonwebtoken::errors::Error) -> &'static str {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token does not count yet",
        ErrorKind::InvalidIssuer => "the token is of another issuer",
        ErrorKind::InvalidSignature => "the signature of the token is wrong",
        _ => "the token cannot be verified",
    }
}

/// The JSON object in a part of a token, unless a name comes twice in it: readers differ in which of the two counts.
fn read_json(part: &str) -> Option<Map<String, Value>> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).ok()?;
    let mut reader = serde_json::Deserializer::from_slice(&bytes);
    let value = UniqueNames { depth: MAX_DEPTH }.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    match value {
        Value::Object(object) => Some(object),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
    }
}

/// Reads JSON in which no object has a name twice.
#[derive(Clone, Copy)]
struct UniqueNames {
    depth: u8,
}

impl UniqueNames {
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom("nested too deep"))?;
        Ok(Self { depth })
    }
}

impl<'de> DeserializeSeed<'de> for UniqueNames {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for UniqueNames {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inside)? {
            array.push(item);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inside)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name comes twice"));
            }
        }
        Ok(object.into())
    }
}
