//! Privileged actions with who did them: by keys, by tokens and in the database.

use std::collections::BTreeSet;

use goldbook::access::grpc::Identities;
use goldbook::access::key::{KeyTerms, NewKey};
use goldbook::access::principal::ProgramSet;
use goldbook::access::role::Role;
use goldbook::access::{Kept, create_key, revoke_key};
use goldbook::embedded_postgres::{OWNER_ROLE, SERVICE_ROLE};
use goldbook::proto;
use goldbook::proto::PrivilegedActionKind as Kind;
use goldbook::proto::adjust_points_request::Change;
use tonic::Status;

use super::issuer::{ISSUER, KeyFile, SigningKey, claims_of_customer, claims_of_role, trusted};
use super::{apply_shop_by, assert_denied, by, enrol_by, key_of};
use crate::harness::{Clock, Database, SHOP, Service, grant_reward, purchase};
use crate::points::calls::{adjust_points, refund, reverse_entry};
use crate::wait::until;

/// A service that believes keys and one issuer, by the database's clock, as keys are kept by it.
async fn start(signing: &SigningKey) -> (Service, KeyFile) {
    let file = KeyFile::of(&[signing]);
    let identities =
        Identities { api_keys: true, issuers: vec![trusted(ISSUER, file.source())], ..Identities::default() };
    let service = Service::start_configured(Database::create().await, |settings| {
        settings.identities = identities;
        settings.clock = goldbook::clock::Clock::database();
    })
    .await;
    (service, file)
}

async fn list(service: &Service, credential: &str, program_id: &str) -> Result<Vec<proto::PrivilegedAction>, Status> {
    let request = proto::ListPrivilegedActionsRequest { program_id: program_id.to_owned(), ..Default::default() };
    Ok(service.ledger().list_privileged_actions(by(credential, request)).await?.into_inner().actions)
}

async fn export(service: &Service, credential: &str) {
    let request = proto::ExportEntriesRequest { program_id: SHOP.to_owned(), ..Default::default() };
    let mut stream = service.ledger().export_entries(by(credential, request)).await.unwrap().into_inner();
    while stream.message().await.unwrap().is_some() {}
}

/// What was done, to which customer or key, and by whom.
fn told(action: &proto::PrivilegedAction) -> (Kind, &str, proto::PrincipalKind, &str, &str) {
    let principal = action.principal.as_ref().unwrap();
    let to = action.api_key.as_ref().map_or(action.customer_id.as_str(), |key| key.name.as_str());
    (action.kind(), to, principal.kind(), principal.issuer.as_str(), principal.subject.as_str())
}

#[tokio::test]
async fn every_action_is_listed_once_with_who_did_it() {
    let signing = SigningKey::ed25519("key");
    let (service, _file) = start(&signing).await;
    let token = |role| signing.token(&claims_of_role(role));
    let admin = key_of(&service.database, "admin", Role::Admin, None).await;
    let till = key_of(&service.database, "till", Role::Service, Some(&[SHOP])).await;
    key_of(&service.database, "elsewhere", Role::Service, Some(&["other"])).await;
    apply_shop_by(&service, &admin).await;
    enrol_by(&service, &admin, "anna").await;
    let granted = service.rewards().grant_reward(by(&till, grant_reward("anna", 9, "g"))).await.unwrap();
    let lot = granted.into_inner().reward.unwrap().reward_id;
    let adjust = || {
        let reason = proto::CorrectionReason::CustomerRequest.into();
        by(&token("support"), proto::AdjustPointsRequest { reason, ..adjust_points(Change::PointsUp(3), "up") })
    };
    for _ in 0..2 {
        service.rewards().adjust_points(adjust()).await.unwrap();
    }
    let reverse = reverse_entry(&lot, 4, proto::Clawback::AllowDebt, "undo");
    service.rewards().reverse_entry(by(&till, reverse)).await.unwrap();
    // What a refund takes back nobody asked for.
    let bought = purchase("anna", "order", "20.00", Clock::database().now());
    service.activities().record_activity(by(&till, bought)).await.unwrap();
    let refunded = proto::RecordActivityRequest {
        happened_at: Some(crate::harness::instant(Clock::database().now())),
        ..refund("order", "20.00", &service, "refund")
    };
    service.activities().record_activity(by(&till, refunded)).await.unwrap();
    export(&service, &token("auditor")).await;
    let mut connection = service.database.connect(OWNER_ROLE).await;
    assert!(revoke_key(&mut connection, &till[..17]).await.unwrap());

    let actions = list(&service, &token("auditor"), SHOP).await.unwrap();
    let (key, token_kind, role) =
        (proto::PrincipalKind::ApiKey, proto::PrincipalKind::Token, proto::PrincipalKind::DatabaseRole);
    let expected = [
        (Kind::ApiKeyRevoked, "till", role, "", OWNER_ROLE),
        (Kind::EntriesExported, "", token_kind, ISSUER, "user-auditor"),
        (Kind::EntryReversed, "anna", key, "", "till"),
        (Kind::PointsAdjusted, "anna", token_kind, ISSUER, "user-support"),
        (Kind::ProgramApplied, "", key, "", "admin"),
        (Kind::ApiKeyCreated, "till", role, "", SERVICE_ROLE),
        (Kind::ApiKeyCreated, "admin", role, "", SERVICE_ROLE),
    ];
    assert_eq!(actions.iter().map(told).collect::<Vec<_>>(), expected);
    assert!(actions.is_sorted_by_key(|action| {
        let at = action.done_at.unwrap();
        std::cmp::Reverse((at.seconds, at.nanos))
    }));
    for action in &actions {
        assert_eq!(action.api_key.is_some(), action.entry_id.is_empty());
        let Some(api_key) = &action.api_key else {
            let request = proto::GetEntryRequest { program_id: SHOP.to_owned(), entry_id: action.entry_id.clone() };
            let entry = service.ledger().get_entry(by(&admin, request)).await.unwrap().into_inner().entry.unwrap();
            let of_entry = (&entry.account_id, &entry.customer_id, &entry.principal_id, entry.recorded_at);
            assert_eq!(of_entry, (&action.account_id, &action.customer_id, &action.principal_id, action.done_at));
            continue;
        };
        assert_eq!((action.account_id.as_str(), action.principal_id.as_str()), ("", ""));
        let secret = if api_key.name == "till" { &till } else { &admin };
        assert_eq!((api_key.prefix.as_str(), api_key.counts_in_all_programs), (&secret[..17], secret == &admin));
    }
}

#[tokio::test]
async fn who_was_erased_is_told_by_an_id_alone() {
    let signing = SigningKey::ed25519("key");
    let (service, _file) = start(&signing).await;
    let admin = signing.token(&claims_of_role("admin"));
    apply_shop_by(&service, &admin).await;
    let before = list(&service, &admin, SHOP).await.unwrap();
    let mut owner = service.database.connect(OWNER_ROLE).await;
    sqlx::query("DELETE FROM principals").execute(&mut owner).await.unwrap();
    let after = list(&service, &admin, SHOP).await.unwrap();
    assert_eq!(after, [proto::PrivilegedAction { principal: None, ..before[0].clone() }]);
    assert!(before[0].principal.is_some() && !after[0].principal_id.is_empty());
}

/// Such as one of a newer version.
#[tokio::test]
async fn a_principal_that_cannot_be_understood_keeps_nobody_from_the_list() {
    let signing = SigningKey::ed25519("key");
    let (service, _file) = start(&signing).await;
    let admin = signing.token(&claims_of_role("admin"));
    apply_shop_by(&service, &admin).await;
    let mut owner = service.database.connect(OWNER_ROLE).await;
    sqlx::query("UPDATE principals SET kind = 'passkey'").execute(&mut owner).await.unwrap();
    let actions = list(&service, &admin, SHOP).await.unwrap();
    assert_eq!((actions.len(), actions[0].kind(), &actions[0].principal), (1, Kind::ProgramApplied, &None));
}

/// That a key has ended is noted when its place is needed. It is no action of anybody.
#[tokio::test]
async fn a_key_that_ended_by_itself_was_not_revoked() {
    let signing = SigningKey::ed25519("key");
    let (service, _file) = start(&signing).await;
    let admin = signing.token(&claims_of_role("admin"));
    apply_shop_by(&service, &admin).await;
    let mut connection = service.database.connect(SERVICE_ROLE).await;
    let terms = KeyTerms {
        name: "till".to_owned(),
        roles: vec![Role::Service],
        programs: ProgramSet::Only(BTreeSet::from([SHOP.try_into().unwrap()])),
        expires_at: Some(Clock::database().now() + jiff::SignedDuration::from_millis(50)),
    };
    let make = async |connection: &mut _| {
        let key = NewKey::make(|len| rand::random_range(0..len));
        create_key(connection, &key, &terms).await.unwrap()
    };
    assert_eq!(make(&mut connection).await, Kept::Yes);
    until("its end", async || (Some(Clock::database().now()) > terms.expires_at).then_some(())).await;
    assert_eq!(make(&mut connection).await, Kept::Yes);
    let noted: i64 = sqlx::query_scalar("SELECT count(*) FROM api_keys WHERE revoked_by = 'expiry'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(noted, 1);
    let kinds: Vec<Kind> =
        list(&service, &admin, SHOP).await.unwrap().iter().map(proto::PrivilegedAction::kind).collect();
    assert_eq!(kinds, [Kind::ApiKeyCreated, Kind::ApiKeyCreated, Kind::ProgramApplied]);
}

#[tokio::test]
async fn auditors_list_their_own_programs_and_customers_none() {
    let signing = SigningKey::ed25519("key");
    let (service, _file) = start(&signing).await;
    apply_shop_by(&service, &signing.token(&claims_of_role("admin"))).await;
    let auditor = signing.token(&claims_of_role("auditor"));
    assert_eq!(list(&service, &auditor, SHOP).await.unwrap().len(), 1);
    assert_denied(list(&service, &auditor, "other").await);
    for role in ["service", "support", "manager"] {
        assert_denied(list(&service, &signing.token(&claims_of_role(role)), SHOP).await);
    }
    assert_denied(list(&service, &signing.token(&claims_of_customer("anna")), SHOP).await);
}
