//! An export of a customer is read no faster than its caller takes it, and ends with who leaves.

use std::time::Duration;

use goldbook::access::grpc::Identities;
use goldbook::access::role::Role;
use goldbook::embedded_postgres::{SERVICE_ROLE, SUPERUSER};
use goldbook::proto;
use tonic::{Code, Status, Streaming};

use super::History;
use crate::access::{by, key_of};
use crate::customers::export::{of, read_document};
use crate::harness::{Background, SHOP, Service};
use crate::wait::{until, within};

type Stream = Streaming<proto::ExportCustomerResponse>;

async fn begin(service: &Service) -> Result<Stream, Status> {
    Ok(service.customers().export_customer(of(SHOP, "anna")).await?.into_inner())
}

/// The same, by who has this key.
async fn begin_by(service: &Service, key: &str) -> Result<Stream, Status> {
    Ok(service.customers().export_customer(by(key, of(SHOP, "anna"))).await?.into_inner())
}

async fn start(history: &History, export_limit: Option<Duration>) -> Service {
    let background = Background { export_limit, ..Background::default() };
    Service::start_busy(history.database.clone(), history.clock.clone(), background).await
}

/// The sessions that have a snapshot open, and when each asked something last.
async fn snapshots(history: &History) -> Vec<(i32, String)> {
    let mut connection = history.database.connect(SUPERUSER).await;
    sqlx::query_as(
        "SELECT pid, state_change::text FROM pg_stat_activity WHERE datname = current_database()
           AND xact_start IS NOT NULL AND pid <> pg_backend_pid() ORDER BY pid",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap()
}

async fn until_open(history: &History, count: usize) {
    until("so many snapshots are open", async || (snapshots(history).await.len() == count).then_some(())).await;
}

#[tokio::test]
async fn export_customer_reads_no_further_than_its_caller_and_keeps_its_moment() {
    let history = History::load(30_000).await;
    let service = start(&history, None).await;
    let stream = begin(&service).await.unwrap();
    let (mut before, mut looks) = (Vec::new(), 0);
    until("the export waits for its caller", async || {
        let now = snapshots(&history).await;
        looks = if now.len() == 1 && now == before { looks + 1 } else { 0 };
        before = now;
        (looks == 20).then_some(())
    })
    .await;
    // What is written now comes too late, and does not wait.
    service.purchase("anna", "order-1", "250.00").await.unwrap();
    let document = within("the document", read_document(stream)).await.unwrap();
    let count = |name: &str| document[name].as_array().unwrap().len();
    assert_eq!((count("entries"), count("lots"), count("activities")), (30_001, 29_998, 0));
    let entries = document["entries"].as_array().unwrap();
    assert!((1_i64..).zip(entries).all(|(seq, entry)| entry["account_seq"] == seq));
    assert_eq!(entries.last().unwrap()["kind"], "customer_exported");
    until_open(&history, 0).await;
}

#[tokio::test]
async fn export_customer_lets_four_run_two_of_a_caller_and_frees_places() {
    let history = History::load(30_000).await;
    let mut keys = Vec::new();
    for name in ["desk", "audit", "board"] {
        keys.push(key_of(&history.database, name, Role::Auditor, None).await);
    }
    let identities = Identities { api_keys: true, ..Identities::default() };
    let service = Service::start_asking(history.database.clone(), identities).await;
    let mut running = Vec::new();
    for (key, crowded) in [(&keys[0], "2 exports of this caller run already"), (&keys[1], "4 exports run already")] {
        for _ in 0..2 {
            running.push(begin_by(&service, key).await.unwrap());
        }
        assert_crowded(&service, key, crowded).await;
    }
    until_open(&history, 4).await;
    drop(running.pop());
    until_open(&history, 3).await;
    assert_crowded(&service, &keys[0], "2 exports of this caller run already").await;
    let next = until("a free place", async || begin_by(&service, &keys[2]).await.ok()).await;
    drop(running);
    within("the document", read_document(next)).await.unwrap();
    until_open(&history, 0).await;
}

async fn assert_crowded(service: &Service, key: &str, begin: &str) {
    let written = service.count_entries().await;
    let refused = begin_by(service, key).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().starts_with(begin), "{refused:?}");
    assert!(tonic_types::StatusExt::get_details_retry_info(&refused).is_some());
    assert_eq!(service.count_entries().await, written);
}

/// A key that was stolen reads no further than to the moment at which it was revoked.
#[tokio::test]
async fn exports_end_when_their_key_is_revoked() {
    let history = History::load(30_000).await;
    let key = key_of(&history.database, "desk", Role::Auditor, None).await;
    let identities = Identities { api_keys: true, ..Identities::default() };
    let service = Service::start_asking(history.database.clone(), identities).await;
    let mut customer = begin_by(&service, &key).await.unwrap();
    let export = proto::ExportEntriesRequest { program_id: SHOP.to_owned(), ..Default::default() };
    let mut entries = service.ledger().export_entries(by(&key, export)).await.unwrap().into_inner();
    let mut connection = history.database.connect(SERVICE_ROLE).await;
    assert!(goldbook::access::revoke_key(&mut connection, &key[..17]).await.unwrap());
    until("the end of the key", async || begin_by(&service, &key).await.err().filter(is_unknown)).await;
    let rest_of_entries = async {
        while entries.message().await?.is_some() {}
        Ok::<(), Status>(())
    };
    let rest_of_customer = async {
        while customer.message().await?.is_some() {}
        Ok::<(), Status>(())
    };
    for ended in [within("the end", rest_of_entries).await, within("the end", rest_of_customer).await] {
        let ended = ended.unwrap_err();
        assert!(is_unknown(&ended), "{ended:?}");
        assert_eq!(ended.message(), "the credentials that the stream was opened with do not count any more");
    }
    until_open(&history, 0).await;
}

fn is_unknown(status: &Status) -> bool {
    status.code() == Code::Unauthenticated
}

#[tokio::test]
async fn export_customer_ends_after_its_time_and_not_as_if_complete() {
    let history = History::load(30_000).await;
    let service = start(&history, Some(Duration::from_secs(1))).await;
    let stream = begin(&service).await.unwrap();
    // Nothing is read until the service has let go of its snapshot.
    until_open(&history, 0).await;
    let mut stream = stream;
    let ended = loop {
        match stream.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it looks complete"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::ResourceExhausted, "{ended:?}");
    assert!(ended.message().contains("begin anew"), "{ended:?}");
}
