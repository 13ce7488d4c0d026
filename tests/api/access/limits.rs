//! How often callers may call, and what they hear beyond.

use std::time::Duration;

use goldbook::access::grpc::Identities;
use goldbook::access::limits::Limits;
use goldbook::access::role::Role;
use goldbook::proto;
use tokio_stream::StreamExt as _;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::issuer::{ISSUER, KeyFile, SigningKey, claims_of_customer, claims_of_role, trusted};
use super::{apply_shop_by, ask_balance, by, enrol_by, key_of};
use crate::harness::{Database, Service, grant_reward};
use crate::wait::within;

/// A service with these limits, and with Anna.
async fn start(key: &SigningKey, limits: &str) -> (Service, KeyFile) {
    let file = KeyFile::of(&[key]);
    let service = start_on(Database::create().await, &file, limits).await;
    let admin = key.token(&claims_of_role("admin"));
    apply_shop_by(&service, &admin).await;
    enrol_by(&service, &admin, "anna").await;
    (service, file)
}

async fn start_on(database: Database, file: &KeyFile, limits: &str) -> Service {
    let limits: Limits = toml::from_str(limits).unwrap();
    let issuers = vec![trusted(ISSUER, file.source())];
    Service::start_configured(database, |settings| {
        settings.identities = Identities { api_keys: true, issuers, ..Identities::default() };
        settings.limits = limits;
    })
    .await
}

#[track_caller]
fn assert_limited<T: std::fmt::Debug>(outcome: Result<T, Status>, what: &str) {
    let refused = outcome.unwrap_err();
    let message = format!("the caller has reached its limit of {what}; try again later");
    assert_eq!((refused.code(), refused.message()), (Code::ResourceExhausted, message.as_str()));
    let delay = refused.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(delay > Duration::ZERO && delay <= Duration::from_secs(3_600), "{delay:?}");
}

const SELDOM: &str = "[customer]\nreads = { per_second = 1, burst = 4 }\nwrites = { per_second = 1, burst = 2 }\n";

#[tokio::test]
async fn a_caller_that_calls_too_often_is_told_when_to_come_again() {
    let key = SigningKey::p256("key");
    let (service, _file) = start(&key, SELDOM).await;
    let anna = key.token(&claims_of_customer("anna"));
    for _ in 0..4 {
        ask_balance(&service, &anna, "anna").await.unwrap();
    }
    // Another token of the same subject is the same caller.
    let again = key.token(&claims_of_customer("anna"));
    let mut outcome = ask_balance(&service, &again, "anna").await;
    while outcome.is_ok() {
        outcome = ask_balance(&service, &again, "anna").await;
    }
    assert_limited(outcome, "reads");
    // Reads and writes are counted apart, and nobody else is concerned.
    let share = proto::CreateReferralCodeRequest {
        program_id: crate::harness::SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        campaign_id: "friends".to_owned(),
    };
    service.referrals().create_referral_code(by(&anna, share)).await.unwrap();
    let admin = key.token(&claims_of_role("admin"));
    enrol_by(&service, &admin, "ben").await;
    ask_balance(&service, &key.token(&claims_of_customer("ben")), "ben").await.unwrap();
    for _ in 0..50 {
        ask_balance(&service, &admin, "anna").await.unwrap();
    }
}

/// Each service counts by itself: two principals who race on two services have what each of both allows, and no more.
#[tokio::test]
async fn two_principals_racing_on_two_services_have_their_own_limits_on_each() {
    let key = SigningKey::p256("key");
    // So slow that nothing comes back while the test runs.
    let limits = "[service]\nreads = { per_second = 1, burst = 20 }\n";
    let (service, file) = start(&key, limits).await;
    let other = start_on(service.database.clone(), &file, limits).await;
    let keys = [
        key_of(&service.database, "one", Role::Service, None).await,
        key_of(&service.database, "two", Role::Service, None).await,
    ];
    let begun = tokio::time::Instant::now();
    let calls = [&service, &other].into_iter().flat_map(|service| {
        keys.iter().map(move |key| async move {
            let calls = (0..60).map(|_| ask_balance(service, key, "anna"));
            let outcomes = futures_util::future::join_all(calls).await;
            outcomes.iter().filter(|outcome| outcome.is_ok()).count()
        })
    });
    let admitted = futures_util::future::join_all(calls).await;
    let refilled = usize::try_from(begun.elapsed().as_secs() + 1).unwrap();
    for count in &admitted {
        assert!((20..=20 + refilled).contains(count), "{admitted:?}");
    }
}

#[tokio::test]
async fn streams_and_calls_under_way_are_bounded() {
    let key = SigningKey::p256("key");
    let (service, _file) = start(&key, "[service]\ncalls = 2\n").await;
    let till = key_of(&service.database, "till", Role::Service, None).await;
    let open = async || {
        let (send, requests) = tokio::sync::mpsc::channel::<proto::BatchGrantRewardsRequest>(1);
        let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
        let answers = service.rewards().batch_grant_rewards(by(&till, requests)).await;
        answers.map(|answers| (send, answers.into_inner()))
    };
    let (first, second) = (open().await.unwrap(), open().await.unwrap());
    assert_limited(ask_balance(&service, &till, "anna").await, "calls under way");
    assert_limited(open().await.map(drop), "calls under way");
    drop(first.0);
    let mut answers = first.1;
    assert!(within("the end of the stream", answers.message()).await.unwrap().is_none());
    crate::wait::until("its place", async || ask_balance(&service, &till, "anna").await.ok()).await;
    drop(second);
}

#[tokio::test]
async fn a_stream_is_read_no_faster_than_its_items_may_come() {
    let key = SigningKey::p256("key");
    let (service, _file) = start(&key, "[service]\nitems = { per_second = 10, burst = 5 }\n").await;
    let till = key_of(&service.database, "till", Role::Service, None).await;
    let items = (0..20).map(|number| proto::BatchGrantRewardsRequest {
        item_id: number.to_string(),
        grant: Some(grant_reward("anna", 1, &format!("k-{number}"))),
    });
    let begun = tokio::time::Instant::now();
    let answers = service.rewards().batch_grant_rewards(by(&till, tokio_stream::iter(items.collect::<Vec<_>>()))).await;
    let answers: Vec<_> = answers.unwrap().into_inner().collect().await;
    assert!(answers.len() == 20 && answers.iter().all(Result::is_ok));
    // Fifteen of them had to wait for a tenth of a second each.
    assert!(begun.elapsed() >= Duration::from_millis(1_400), "{:?}", begun.elapsed());
    assert_eq!(ask_balance(&service, &till, "anna").await.unwrap(), 20);
}

/// An export holds its place until its last message was read, and any call until it was answered.
#[tokio::test]
async fn exports_hold_their_places_until_they_end() {
    let key = SigningKey::p256("key");
    let (service, _file) = start(&key, "[auditor]\ncalls = 1\n").await;
    let auditor = key_of(&service.database, "auditor", Role::Auditor, None).await;
    // More than is sent before it is read: so the export does not end by itself.
    crate::ledger::export::add_rows(&service, 4_000, 0).await;
    let endpoint = tonic::transport::Channel::from_shared(format!("http://{}", service.address)).unwrap();
    let channel = endpoint.initial_stream_window_size(64).connect().await.unwrap();
    let ledger = proto::ledger_service_client::LedgerServiceClient::new(channel);
    let export = async || {
        let request = proto::ExportEntriesRequest { program_id: crate::harness::SHOP.to_owned(), ..Default::default() };
        ledger.clone().export_entries(by(&auditor, request)).await.map(tonic::Response::into_inner)
    };
    let mut first = crate::wait::until("the export", async || export().await.ok()).await;
    assert_limited(export().await.map(drop), "calls under way");
    assert_limited(ask_balance(&service, &auditor, "anna").await, "calls under way");
    while within("a message", first.message()).await.unwrap().is_some() {}
    crate::wait::until("its place", async || ask_balance(&service, &auditor, "anna").await.ok()).await;
}

/// The roles of a call say what is allowed, whatever its subject could do before.
#[tokio::test]
async fn limits_follow_the_roles_of_the_token_at_hand() {
    let key = SigningKey::p256("key");
    let (service, _file) = start(&key, "[customer]\nreads = { per_second = 1, burst = 3 }\n").await;
    let mut both = claims_of_customer("anna");
    both["roles"] = serde_json::json!(["support"]);
    let (both, one) = (key.token(&both), key.token(&claims_of_customer("anna")));
    for _ in 0..20 {
        ask_balance(&service, &both, "anna").await.unwrap();
    }
    let calls = (0..20).map(|_| ask_balance(&service, &one, "anna"));
    let outcomes = futures_util::future::join_all(calls).await;
    assert!(outcomes.iter().any(Result::is_err));
}
