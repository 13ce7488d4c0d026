//! Tokens: those that count, and every way in which one does not.

use goldbook::access::grpc::Identities;
use serde_json::{Value, json};

use super::issuer::{
    AUDIENCE, ISSUER, KeyFile, SigningKey, claims_of_customer, claims_of_role, encode, from_now, trusted,
};
use super::{ask_balance, assert_denied, assert_unknown, start_with_issuer};
use crate::harness::{Database, Service};

fn changed(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

#[tokio::test]
async fn tokens_signed_with_each_of_the_three_algorithms_count() {
    let keys = [SigningKey::rsa("rsa"), SigningKey::p256("p256"), SigningKey::ed25519("ed25519")];
    let (service, _file) = start_with_issuer(&keys.each_ref()).await;
    for key in &keys {
        let token = key.token(&claims_of_customer("anna"));
        // The second time it is remembered.
        assert_eq!(ask_balance(&service, &token, "anna").await.unwrap(), 0, "{}", key.key_id);
        assert_eq!(ask_balance(&service, &token, "anna").await.unwrap(), 0, "{}", key.key_id);
        assert_denied(ask_balance(&service, &token, "ben").await);
    }
}

#[tokio::test]
async fn a_token_that_anyone_could_have_made_does_not_count() {
    let (rsa, stranger) = (SigningKey::rsa("rsa"), SigningKey::rsa("rsa"));
    let (service, _file) = start_with_issuer(&[&rsa]).await;
    let claims = claims_of_customer("anna");
    let header = |algorithm: &str| json!({"alg": algorithm, "kid": "rsa"}).to_string();
    let unsigned = format!("{}.{}.", encode(header("none")), encode(claims.to_string()));
    let algorithms = "the token must be signed with RS256, ES256 or EdDSA";
    assert_unknown(ask_balance(&service, &unsigned, "anna").await, algorithms);
    // Signed with the public key as if it were a secret.
    let message = format!("{}.{}", encode(header("HS256")), encode(claims.to_string()));
    let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, rsa.jwk().to_string().as_bytes());
    let confused = format!("{message}.{}", encode(ring::hmac::sign(&secret, message.as_bytes())));
    assert_unknown(ask_balance(&service, &confused, "anna").await, algorithms);
    let wrong = "the signature of the token is wrong";
    assert_unknown(ask_balance(&service, &stranger.token(&claims), "anna").await, wrong);
    let of_another_kind = rsa.token_of(&header("ES256"), &claims.to_string());
    let kinds = "the token's key is of another kind than its algorithm";
    assert_unknown(ask_balance(&service, &of_another_kind, "anna").await, kinds);
    let unknown = SigningKey::rsa("unknown").token(&claims);
    let no_such_key = "the token names a key that its issuer does not have";
    assert_unknown(ask_balance(&service, &unknown, "anna").await, no_such_key);
    let without_key = rsa.token_of(r#"{"alg": "RS256"}"#, &claims.to_string());
    assert_unknown(ask_balance(&service, &without_key, "anna").await, "the token does not name its key");
}

#[tokio::test]
async fn a_token_that_brings_its_own_key_does_not_count() {
    let (rsa, own) = (SigningKey::rsa("rsa"), SigningKey::rsa("rsa"));
    let (service, _file) = start_with_issuer(&[&rsa]).await;
    let claims = claims_of_customer("anna").to_string();
    for (name, value) in [
        ("jku", json!("https://evil.example.com/keys")),
        ("x5u", json!("https://evil.example.com/chain")),
        ("jwk", own.jwk()),
        ("x5c", json!(["MIIB"])),
    ] {
        let header = json!({"alg": "RS256", "kid": "rsa", name: value}).to_string();
        for key in [&own, &rsa] {
            let token = key.token_of(&header, &claims);
            assert_unknown(ask_balance(&service, &token, "anna").await, "the token brings its own key");
        }
    }
    let critical = rsa.token_of(r#"{"alg": "RS256", "kid": "rsa", "crit": ["exp"]}"#, &claims);
    let extensions = "the token asks for extensions that are not known here";
    assert_unknown(ask_balance(&service, &critical, "anna").await, extensions);
}

#[tokio::test]
async fn a_token_for_somebody_else_or_of_somebody_else_does_not_count() {
    let key = SigningKey::p256("p256");
    let (service, _file) = start_with_issuer(&[&key]).await;
    let claims = claims_of_customer("anna");
    let ask = async |claims: Value| ask_balance(&service, &key.token(&claims), "anna").await;
    let for_somebody_else = "the token is for somebody else";
    assert_unknown(ask(changed(&claims, "aud", json!("another"))).await, for_somebody_else);
    assert_unknown(ask(changed(&claims, "aud", json!([]))).await, for_somebody_else);
    assert_unknown(ask(changed(&claims, "aud", Value::Null)).await, for_somebody_else);
    assert_eq!(ask(changed(&claims, "aud", json!(["another", AUDIENCE]))).await.unwrap(), 0);
    let another = changed(&claims, "iss", json!("https://login.example.com/realms/other"));
    assert_unknown(ask(another).await, "the token is of an issuer that does not count here");
    assert_unknown(ask(changed(&claims, "iss", json!([ISSUER]))).await, "the token does not name its issuer");
}

#[tokio::test]
async fn a_token_counts_in_its_time_with_half_a_minute_for_clocks() {
    let key = SigningKey::ed25519("ed25519");
    let (service, _file) = start_with_issuer(&[&key]).await;
    let claims = claims_of_customer("anna");
    let ask = async |claims: Value| ask_balance(&service, &key.token(&claims), "anna").await;
    assert_eq!(ask(changed(&claims, "exp", json!(from_now(-10)))).await.unwrap(), 0);
    assert_eq!(ask(changed(&claims, "nbf", json!(from_now(10)))).await.unwrap(), 0);
    assert_unknown(ask(changed(&claims, "exp", json!(from_now(-40)))).await, "the token has expired");
    assert_unknown(ask(changed(&claims, "nbf", json!(from_now(60)))).await, "the token does not count yet");
    for bad in [Value::Null, json!("soon")] {
        assert_unknown(ask(changed(&claims, "exp", bad)).await, "the token cannot be verified");
    }
}

#[tokio::test]
async fn a_token_with_a_claim_twice_or_of_64_kib_does_not_count() {
    let key = SigningKey::ed25519("ed25519");
    let (service, _file) = start_with_issuer(&[&key]).await;
    let header = json!({"alg": "EdDSA", "kid": "ed25519"}).to_string();
    let claims = claims_of_customer("anna").to_string();
    let with = |more: &str| key.token_of(&header, &claims.replacen('{', &format!("{{{more},"), 1));
    let unreadable = "the claims of the token cannot be read";
    for twice in [r#""customer_id": "ben""#, r#""exp": 1"#, r#""nested": {"a": 1, "a": 2}"#] {
        assert_unknown(ask_balance(&service, &with(twice), "anna").await, unreadable);
    }
    assert_eq!(ask_balance(&service, &with(r#""nested": {"a": 1, "b": [{"a": 2}]}"#), "anna").await.unwrap(), 0);
    let deep = format!(r#""nested": {}1{}"#, "[".repeat(100), "]".repeat(100));
    assert_unknown(ask_balance(&service, &with(&deep), "anna").await, unreadable);
    let header_twice = key.token_of(r#"{"alg": "none", "alg": "EdDSA", "kid": "ed25519"}"#, &claims);
    assert_unknown(ask_balance(&service, &header_twice, "anna").await, "the header of the token cannot be read");
    let long = with(&format!(r#""padding": "{}""#, "x".repeat(9_000)));
    assert_unknown(ask_balance(&service, &long, "anna").await, "the authorization is longer than 8 KiB");
    // So long a header does not even come through.
    let endless = with(&format!(r#""padding": "{}""#, "x".repeat(48 * 1024)));
    assert!(ask_balance(&service, &endless, "anna").await.is_err());
    assert_eq!(ask_balance(&service, &key.token(&claims_of_customer("anna")), "anna").await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_no_token_does_not_count() {
    let key = SigningKey::ed25519("ed25519");
    let (service, _file) = start_with_issuer(&[&key]).await;
    let neither = "the credentials are neither an API key nor a signed token";
    for text in ["x", "a.b", "a.b.c.d", "gbk_live_0123456789012345678901234567890123456789abc"] {
        assert_unknown(ask_balance(&service, text, "anna").await, neither);
    }
    assert_unknown(ask_balance(&service, "a.b.c", "anna").await, "the header of the token cannot be read");
    let request = || goldbook::proto::GetBalanceRequest {
        program_id: crate::harness::SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        as_of: None,
    };
    let nothing = service.rewards().get_balance(request()).await;
    assert_unknown(nothing, "the request carries no credentials");
    let token = key.token(&claims_of_customer("anna"));
    for (scheme, message) in [
        (format!("Basic {token}"), "the authorization is not of the form `Bearer …`"),
        (token.clone(), "the authorization is not of the form `Bearer …`"),
    ] {
        let mut with_scheme = tonic::Request::new(request());
        with_scheme.metadata_mut().insert("authorization", scheme.parse().unwrap());
        assert_unknown(service.rewards().get_balance(with_scheme).await, message);
    }
    let mut twice = super::by(&token, request());
    twice.metadata_mut().append("authorization", format!("Bearer {token}").parse().unwrap());
    assert_unknown(service.rewards().get_balance(twice).await, "the request has more than one authorization");
}

#[tokio::test]
async fn a_stream_ends_when_its_token_has_expired() {
    let key = SigningKey::ed25519("ed25519");
    let (service, _file) = start_with_issuer(&[&key]).await;
    // It has expired, but for the half minute that clocks may differ by: some seconds of that are left.
    let claims = changed(&claims_of_role("service"), "exp", json!(from_now(-24)));
    let (send, items) = tokio::sync::mpsc::channel(1);
    let items = tokio_stream::wrappers::ReceiverStream::new(items);
    let answers = service.rewards().batch_grant_rewards(super::by(&key.token(&claims), items)).await;
    let mut answers = answers.unwrap().into_inner();
    let mut number = 0;
    let ended = crate::wait::until("the end of the stream", async || {
        number += 1;
        let grant = Some(crate::harness::grant_reward("anna", 1, &format!("k-{number}")));
        let item = goldbook::proto::BatchGrantRewardsRequest { item_id: number.to_string(), grant };
        let _ = send.send(item).await;
        answers.message().await.err()
    })
    .await;
    assert_unknown(Err::<(), _>(ended), "the credentials that the stream was opened with do not count any more");
}

/// Words that an issuer uses for itself mean nothing once there is a list of meanings, also an empty one.
#[tokio::test]
async fn roles_mean_what_is_configured_and_nothing_where_nothing_is() {
    let key = SigningKey::ed25519("ed25519");
    let file = KeyFile::of(&[&key]);
    let issuer = goldbook::access::issuer::Issuer { roles: Some([].into()), ..trusted(ISSUER, file.source()) };
    let identities = Identities { issuers: vec![issuer], ..Identities::default() };
    let service = Service::start_asking(Database::create().await, identities).await;
    assert_denied(ask_balance(&service, &key.token(&claims_of_role("admin")), "anna").await);
}
