//! Counters of what seldom happens. They begin at zero, so only a rise tells that anybody counts.

use goldbook::access::role::Role;
use goldbook::embedded_postgres::SERVICE_ROLE;
use goldbook::proto;
use goldbook::proto::reward_service_client::RewardServiceClient;
use rcgen::SanType;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};

use super::page::scrape;
use super::waiting::{QUIET, hold, start_quiet};
use crate::access::tls::Root;
use crate::access::{apply_shop_by, ask_balance, by, enrol_by, key_of};
use crate::binary::Serving;
use crate::collector;
use crate::complaints::opening;
use crate::faults::held::refuse_many;
use crate::faults::replicas::fail_inserts;
use crate::faults::sabotage;
use crate::harness::{Clients, Database, SHOP, Service, grant_reward};
use crate::rewards::batches::grant_all;
use crate::wait::{until, within};

/// What these series of a counter say, in this order.
async fn counts<const N: usize>(serving: &Serving, name: &str, label: &str, values: [&str; N]) -> [f64; N] {
    let page = scrape(serving.admin).await;
    values.map(|value| page.value(name, &[(label, value)]))
}

#[tokio::test]
async fn batches_that_are_tried_again_as_they_were_or_in_parts_are_counted() {
    let database = Database::create().await;
    let (serving, service) = start_quiet(&database).await;
    for number in 0..40 {
        service.enrol(&format!("c-{number}")).await;
    }
    let retries =
        async || counts(&serving, "goldbook_batch_retries_total", "goldbook_cause", ["conflict", "connection"]).await;
    assert_eq!(retries().await, [0.0, 0.0]);
    fail_inserts(&service, "40P01", 3).await;
    service.grant("c-0", 1, "collides").await.unwrap();
    assert_eq!(retries().await, [3.0, 0.0]);
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND usename = 'goldbook_service'";
    sabotage(&database, cut).await;
    service.grant("c-0", 1, "is cut off").await.unwrap();
    assert_eq!(retries().await, [3.0, 1.0]);

    let splits = async || scrape(serving.admin).await.value("goldbook_batch_splits_total", &[]);
    assert_eq!(splits().await, 0.0);
    refuse_many(&database, "53200").await;
    let grants = (0..40).map(|number| grant_reward(&format!("c-{number}"), 1, "gift")).collect();
    grant_all(&service, grants).await;
    assert!(splits().await >= 1.0);
}

#[tokio::test]
async fn callers_who_prove_nothing_are_counted_by_what_they_showed() {
    let root = Root::new();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (certificate, key) = root.issue(vec![SanType::DnsName("goldbook.test".try_into().unwrap())]);
    let files = [file("tls.crt", &certificate), file("tls.key", &key), file("ca.crt", &root.pem())];
    let [certificate, key, authority] = files.each_ref().map(String::as_str);
    let tls = ["--tls-certificate", certificate, "--tls-key", key, "--tls-client-ca", authority];
    let database = Database::create().await;
    let flags = [&["--listen", "127.0.0.1:0", "--api-keys"][..], &tls].concat();
    let serving = Serving::start_at(&database.options(SERVICE_ROLE), &flags).await;
    let client = async |own: Option<&(String, String)>| {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(root.pem())).domain_name("goldbook.test");
        let tls = match own {
            Some((certificate, key)) => tls.identity(Identity::from_pem(certificate, key)),
            None => tls,
        };
        let endpoint = Endpoint::from_shared(format!("https://{}", serving.address)).unwrap();
        RewardServiceClient::new(endpoint.tls_config(tls).unwrap().connect().await.unwrap())
    };
    let refused = async |client: &RewardServiceClient<Channel>, request: Request<proto::GrantRewardRequest>| {
        let refusal = client.clone().grant_reward(request).await.unwrap_err();
        assert_eq!(refusal.code(), Code::Unauthenticated, "{refusal:?}");
    };
    let grant = || grant_reward("anna", 1, "gift");
    let names = ["none", "api_key", "token", "certificate"];
    let told = async || counts(&serving, "goldbook_authentication_failures_total", "goldbook_credential", names).await;
    let stranger = client(Some(&root.issue(vec![SanType::URI("spiffe://shop/nobody".try_into().unwrap())]))).await;
    let nobody = client(None).await;
    assert_eq!(told().await, [0.0; 4]);
    refused(&nobody, Request::new(grant())).await;
    assert_eq!(told().await, [1.0, 0.0, 0.0, 0.0]);
    let elsewhere = key_of(&Database::create().await, "till", Role::Service, None).await;
    refused(&nobody, by(&elsewhere, grant())).await;
    assert_eq!(told().await, [1.0, 1.0, 0.0, 0.0]);
    refused(&nobody, by("no.such.token", grant())).await;
    assert_eq!(told().await, [1.0, 1.0, 1.0, 0.0]);
    refused(&stranger, Request::new(grant())).await;
    assert_eq!(told().await, [1.0, 1.0, 1.0, 1.0]);
}

const SELDOM: &str = "[limits.support]
reads = { per_second = 1, burst = 1 }
writes = { per_second = 1, burst = 1 }
[limits.auditor]
exports = { per_second = 1, burst = 1 }
[limits.service]
calls = 1
";

#[tokio::test]
async fn calls_that_are_turned_away_are_counted_by_the_limit() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), SELDOM).unwrap();
    let database = Database::create().await;
    let flags = [&QUIET[..], &["--api-keys", "--config", file.path().to_str().unwrap()]].concat();
    let serving = Serving::start_at(&database.options(SERVICE_ROLE), &flags).await;
    let service = Service::at(serving.address, database.clone()).await;
    let key = async |role, name| key_of(&database, name, role, None).await;
    let admin = key(Role::Admin, "admin").await;
    apply_shop_by(&service, &admin).await;
    enrol_by(&service, &admin, "anna").await;
    let names = ["reads", "writes", "exports", "calls under way", "exports under way"];
    let told = async || counts(&serving, "goldbook_limits_hit_total", "goldbook_limit", names).await;
    let is_limited =
        |outcome: Result<(), Status>| outcome.err().filter(|it| it.code() == Code::ResourceExhausted).map(drop);
    let open = async |credential: &str, number: u32| {
        let request = by(credential, opening("nobody", &format!("k-{number}")));
        service.complaints().open_complaint(request).await.map(drop)
    };

    let support = key(Role::Support, "support").await;
    until("the limit of reads", async || is_limited(ask_balance(&service, &support, "anna").await.map(drop))).await;
    assert_eq!(told().await, [1.0, 0.0, 0.0, 0.0, 0.0]);
    let mut number = 0;
    until("the limit of writes", async || {
        number += 1;
        is_limited(open(&support, number).await)
    })
    .await;
    assert_eq!(told().await, [1.0, 1.0, 0.0, 0.0, 0.0]);

    // More than is sent before it is read: so an export does not end by itself.
    crate::ledger::export::add_rows(&service, 4_000, 0).await;
    let endpoint = Channel::from_shared(format!("http://{}", service.address)).unwrap();
    let channel = endpoint.initial_stream_window_size(64).connect().await.unwrap();
    let ledger = proto::ledger_service_client::LedgerServiceClient::new(channel);
    let export = async |credential: &str| {
        let request = proto::ExportEntriesRequest { program_id: SHOP.to_owned(), ..Default::default() };
        ledger.clone().export_entries(by(credential, request)).await.map(tonic::Response::into_inner)
    };
    let auditor = key(Role::Auditor, "auditor").await;
    until("the limit of exports", async || is_limited(export(&auditor).await.map(drop))).await;
    assert_eq!(told().await, [1.0, 1.0, 1.0, 0.0, 0.0]);
    // Two may be under way. Those of before have ended, or will.
    let mut begun = Vec::new();
    until("two exports", async || {
        begun.extend(export(&admin).await);
        (begun.len() == 2).then_some(())
    })
    .await;
    let before = told().await;
    assert!(is_limited(export(&admin).await.map(drop)).is_some());
    assert_eq!(told().await, [1.0, 1.0, 1.0, 0.0, before[4] + 1.0]);
    drop(begun);

    let till = key(Role::Service, "till").await;
    // It says nothing, and so does not end.
    let silent = service.rewards().batch_grant_rewards(by(&till, tokio_stream::pending())).await.unwrap();
    until("the limit", async || is_limited(ask_balance(&service, &till, "anna").await.map(drop))).await;
    assert_eq!(told().await[..4], [1.0; 4]);
    drop(silent);
}

/// One principal may have 2,048 calls waiting in a lane.
#[tokio::test]
async fn calls_for_which_there_is_no_room_in_a_lane_are_counted() {
    let database = Database::create().await;
    let (serving, _) = start_quiet(&database).await;
    let session = hold(&database, "SELECT FROM accounts FOR UPDATE").await;
    let mut calls = Vec::new();
    // A connection takes 256 of them.
    for connection in 0..16 {
        let rewards = Clients::connect(serving.address).await.rewards();
        for number in 0..256 {
            let (mut rewards, request) = (rewards.clone(), grant_reward("anna", 1, &format!("{connection}-{number}")));
            calls.push(tokio::spawn(async move { rewards.grant_reward(request).await.map(drop) }));
        }
    }
    let told = async || counts(&serving, "goldbook_limits_hit_total", "goldbook_limit", ["waiting commands"]).await[0];
    until("a call that is turned away", async || (told().await > 0.0).then_some(())).await;
    drop(session);
    let mut turned_away = 0.0;
    for call in calls {
        match within("an answer", call).await.unwrap() {
            Ok(()) => {}
            Err(refused) => {
                assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
                turned_away += 1.0;
            }
        }
    }
    assert_eq!(told().await, turned_away);
}

#[tokio::test]
async fn spans_are_counted_by_what_became_of_them() {
    let database = Database::create().await;
    let exported = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector::endpoint())];
    // Nobody listens there.
    let dropped = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")];
    for (environment, outcome) in [(exported, 0), (dropped, 1)] {
        let quick = [("OTEL_METRICS_EXPORTER", "none"), ("OTEL_BSP_SCHEDULE_DELAY", "100")];
        let environment = [&environment[..], &quick].concat();
        let serving = Serving::start(&database.options(SERVICE_ROLE), &environment).await;
        let names = ["exported", "dropped", "given_up"];
        let told = until("spans", async || {
            let told = counts(&serving, "goldbook_telemetry_spans_total", "goldbook_outcome", names).await;
            (told[outcome] > 0.0).then_some(told)
        });
        let [exported, _, given_up] = told.await;
        assert_eq!((exported > 0.0, given_up), (outcome == 0, 0.0));
    }
}
