//! Tokens in the shapes that issuers document, signed by keys of the test's own.

use std::collections::BTreeMap;

use goldbook::access::grpc::Identities;
use goldbook::access::issuer::{Issuer, ProgramNames, RoleMeaning};
use goldbook::access::role::Role;
use serde_json::{Value, json};

use super::issuer::{KeyFile, SigningKey, from_now, trusted};
use super::{apply_shop_by, ask_balance, assert_denied, enrol_by};
use crate::harness::{Database, SHOP, Service};

/// A service that believes this issuer; one token is a manager's, the other one Anna's.
async fn both_count(issuer: impl FnOnce(Issuer) -> Issuer, manager: Value, customer: Value) {
    both_count_with(json!({"typ": "JWT"}), issuer, manager, customer).await;
}

/// The same, of tokens with these headers beside what names the key.
async fn both_count_with(more_headers: Value, issuer: impl FnOnce(Issuer) -> Issuer, manager: Value, customer: Value) {
    let key = SigningKey::rsa("key-1");
    let file = KeyFile::of(&[&key]);
    let issuer = issuer(trusted(manager["iss"].as_str().unwrap(), file.source()));
    assert_eq!(issuer.find_faults(), [""; 0]);
    let own = SigningKey::p256("own");
    let own_file = KeyFile::of(&[&own]);
    let own_issuer = trusted("https://own.example.com", own_file.source());
    let identities = Identities { issuers: vec![issuer, own_issuer], ..Identities::default() };
    let service = Service::start_asking(Database::create().await, identities).await;
    let header = with(&json!({"alg": "RS256", "kid": key.key_id}), &more_headers);
    let sign = |claims: &Value| key.token_of(&header.to_string(), &claims.to_string());
    apply_shop_by(&service, &sign(&manager)).await;
    let admin = json!({
        "iss": "https://own.example.com", "aud": "goldbook", "sub": "admin", "exp": from_now(60), "roles": ["admin"],
        "program_id": SHOP,
    });
    enrol_by(&service, &own.token(&admin), "anna").await;
    let anna = sign(&customer);
    assert_eq!(ask_balance(&service, &anna, "anna").await.unwrap(), 0);
    assert_denied(ask_balance(&service, &anna, "ben").await);
}

/// An object with more in it.
fn with(base: &Value, more: &Value) -> Value {
    let mut all = base.clone();
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

fn in_shop() -> Option<ProgramNames> {
    Some(ProgramNames::List([SHOP.try_into().unwrap()].into()))
}

fn means(words: &[(&str, Role)]) -> Option<BTreeMap<String, RoleMeaning>> {
    Some(words.iter().map(|(word, role)| ((*word).to_owned(), RoleMeaning::Role(*role))).collect())
}

/// Keycloak: roles in `realm_access`, the audience a list, attributes of the user by a mapper.
#[tokio::test]
async fn tokens_of_keycloak_count() {
    let base = json!({
        "exp": from_now(300), "iat": from_now(0), "jti": "0b1c", "iss": "https://sso.example.com/realms/shop",
        "aud": ["goldbook", "account"], "sub": "f2b9a1c0-0000-4000-8000-000000000001", "typ": "Bearer",
        "azp": "app", "scope": "openid profile", "resource_access": {"account": {"roles": ["manage-account"]}},
    });
    both_count(
        |issuer| Issuer {
            roles_claim: Some("realm_access.roles".to_owned()),
            programs: in_shop(),
            program_claim: None,
            roles: means(&[("loyalty-manager", Role::Manager)]),
            ..issuer
        },
        with(&base, &json!({"realm_access": {"roles": ["offline_access", "loyalty-manager"]}})),
        with(&base, &json!({"realm_access": {"roles": ["offline_access"]}, "customer_id": "anna"})),
    )
    .await;
}

/// Auth0: claims of one's own have a URL for a name, and the issuer ends with a slash.
#[tokio::test]
async fn tokens_of_auth0_count() {
    let base = json!({
        "iss": "https://shop.eu.auth0.com/", "sub": "auth0|507f1f77bcf86cd799439020",
        "aud": ["goldbook", "https://shop.eu.auth0.com/userinfo"], "azp": "my_client_id",
        "exp": from_now(300), "iat": from_now(0), "scope": "openid profile",
    });
    both_count(
        |issuer| Issuer {
            roles_claim: Some("https://shop.example.com/roles".to_owned()),
            customer_claim: Some("https://shop.example.com/customer".to_owned()),
            program_claim: Some("https://shop.example.com/program".to_owned()),
            ..issuer
        },
        with(&base, &json!({"https://shop.example.com/roles": ["manager"], "https://shop.example.com/program": SHOP})),
        with(&base, &json!({"https://shop.example.com/customer": "anna", "https://shop.example.com/program": [SHOP]})),
    )
    .await;
}

/// An issuer whose tokens are for this audience, as Microsoft Entra ID names it.
fn of_entra(issuer: Issuer, audience: &str) -> Issuer {
    Issuer {
        audience: [audience.to_owned()].into(),
        program_claim: None,
        programs: in_shop(),
        customer_claim: Some("extn.customer_id".to_owned()),
        roles: means(&[("Goldbook.Manage", Role::Manager)]),
        ..issuer
    }
}

/// Microsoft Entra ID: app roles in `roles`, the audience the application's id, the person in `oid`.
#[tokio::test]
async fn tokens_of_azure_count() {
    let tenant = "72f988bf-0000-0000-0000-2d7cd011db47";
    let base = json!({
        "aud": "6e74172b-0000-0000-0000-2d4c27ebf0fa", "iss": format!("https://login.microsoftonline.com/{tenant}/v2.0"),
        "iat": from_now(0), "nbf": from_now(0), "exp": from_now(300), "azp": "00000003", "tid": tenant,
        "oid": "00000000-0000-0000-66f3-3332eca7ea81", "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
        "ver": "2.0", "scp": "access_as_user",
    });
    both_count(
        |issuer| of_entra(issuer, "6e74172b-0000-0000-0000-2d4c27ebf0fa"),
        with(&base, &json!({"roles": ["Goldbook.Manage"]})),
        with(&base, &json!({"extn.customer_id": "anna"})),
    )
    .await;
}

/// Microsoft Entra ID's older tokens, which an application has unless it asks for others: the thumbprint of the certificate
/// stands beside the key's id.
#[tokio::test]
async fn tokens_of_azure_version_1_count() {
    let tenant = "72f988bf-0000-0000-0000-2d7cd011db47";
    let base = json!({
        "aud": "api://6e74172b-0000-0000-0000-2d4c27ebf0fa", "iss": format!("https://sts.windows.net/{tenant}/"),
        "iat": from_now(0), "nbf": from_now(0), "exp": from_now(300), "acr": "1", "amr": ["pwd"],
        "appid": "00000003-0000-0000-0000-000000000000", "appidacr": "0", "tid": tenant,
        "oid": "00000000-0000-0000-66f3-3332eca7ea81", "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
        "ver": "1.0", "scp": "access_as_user", "upn": "anna@example.com",
    });
    both_count_with(
        json!({"typ": "JWT", "x5t": "i6lGk3FZzxRcUb2C3nEQ7syHJlY"}),
        |issuer| of_entra(issuer, "api://6e74172b-0000-0000-0000-2d4c27ebf0fa"),
        with(&base, &json!({"roles": ["Goldbook.Manage"]})),
        with(&base, &json!({"extn.customer_id": "anna"})),
    )
    .await;
}

/// Amazon Cognito: access tokens have no audience but the client, groups are roles, attributes begin with `custom:`.
#[tokio::test]
async fn tokens_of_cognito_count() {
    let base = json!({
        "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "token_use": "access", "scope": "goldbook/use",
        "auth_time": from_now(-60), "iss": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_example",
        "exp": from_now(300), "iat": from_now(0), "version": 2, "jti": "0b1c", "client_id": "57cbishk4j24pabc1234567890",
    });
    both_count(
        |issuer| Issuer {
            audience: ["57cbishk4j24pabc1234567890".to_owned()].into(),
            audience_claim: "client_id".to_owned(),
            roles_claim: Some("cognito:groups".to_owned()),
            customer_claim: Some("custom:customer_id".to_owned()),
            program_claim: None,
            programs: in_shop(),
            roles: Some(
                [(
                    "loyalty".to_owned(),
                    RoleMeaning::In { role: Role::Manager, programs: [SHOP.try_into().unwrap()].into() },
                )]
                .into(),
            ),
            ..issuer
        },
        with(&base, &json!({"cognito:groups": ["loyalty"]})),
        with(&base, &json!({"custom:customer_id": "anna"})),
    )
    .await;
}
