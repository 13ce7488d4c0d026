//! The keys under which erased customers are known again.

use std::os::unix::fs::PermissionsExt as _;

use goldbook::capabilities::ErasureKeys;
use goldbook::proto::BalanceDisposal::Expire;
use nix::sys::signal::Signal;
use tonic::Code;

use super::{erase, erasure};
use crate::binary::{Serving, goldbook, run};
use crate::harness::{Clients, Database, ERASURE_KEY, Service, assert_refused, create_customer, shop};

const NEXT_KEY: &str = "next ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";

async fn start_with_keys(database: Database, keys: &str) -> Service {
    Service::start_configured(database, |settings| settings.erasure_keys = ErasureKeys::parse(keys).unwrap()).await
}

#[tokio::test]
async fn who_was_erased_is_known_while_the_key_stays_on_the_list() {
    let service = start_with_keys(Database::create().await, ERASURE_KEY).await;
    service.apply_shop().await;
    service.enrol("anna").await;
    let (erased, _) = erase(&service, erasure("anna", Expire, "k")).await.unwrap();
    let rotated = start_with_keys(service.database.clone(), &format!("{NEXT_KEY}\n{ERASURE_KEY}")).await;
    assert_eq!(erase(&rotated, erasure("anna", Expire, "k")).await.unwrap(), (erased, true));
    let again = async |service: &Service| service.customers().create_customer(create_customer("anna", "again")).await;
    assert_refused(again(&rotated).await, Code::FailedPrecondition, "CUSTOMER_ERASED");
    // Who is erased now is kept under the new key.
    rotated.enrol("ben").await;
    erase(&rotated, erasure("ben", Expire, "k")).await.unwrap();
    let without = start_with_keys(service.database.clone(), NEXT_KEY).await;
    let refused = without.customers().create_customer(create_customer("ben", "again")).await;
    assert_refused(refused, Code::FailedPrecondition, "CUSTOMER_ERASED");
    // Nobody can tell any more whom the old key was used for.
    again(&without).await.unwrap();
}

#[tokio::test]
async fn a_service_with_its_own_database_makes_a_key_and_keeps_it() {
    let directory = goldbook::embedded_postgres::throwaway_dir().unwrap();
    let data_dir = directory.path().join("data");
    let mut kept = Vec::new();
    for round in 0..2 {
        let serving = Serving::start_in(&data_dir).await;
        let clients = Clients::connect(serving.address).await;
        if round == 0 {
            clients.apply(shop()).await;
            clients.customers().create_customer(create_customer("anna", "k")).await.unwrap();
            clients.customers().erase_customer(erasure("anna", Expire, "k")).await.unwrap();
        }
        let again = clients.customers().create_customer(create_customer("anna", "k")).await;
        assert_refused(again, Code::FailedPrecondition, "CUSTOMER_ERASED");
        serving.signal(Signal::SIGTERM);
        serving.wait().await;
        let file = data_dir.join("erasure-keys");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        kept.push(std::fs::read_to_string(file).unwrap());
    }
    assert_eq!(kept[0], kept[1]);
}

#[tokio::test]
async fn what_is_no_list_of_keys_is_refused_at_the_start_and_not_repeated() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "first c2hvcnQtc2VjcmV0").unwrap();
    let ended = run(&["config", "check", "--erasure-key-file", file.path().to_str().unwrap()]).await;
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("line 1: the key must have at least 32 bytes"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("c2hvcnQtc2VjcmV0"));
    let missing = run(&["config", "check", "--erasure-key-file", "/nowhere/keys"]).await;
    assert!(missing.status.code() == Some(2) && missing.stderr.contains("/nowhere/keys"), "{}", missing.stderr);
    let ended = goldbook().args(["config", "check"]).env("GOLDBOOK_ERASURE_KEYS", "c2hvcnQtc2VjcmV0").output();
    let told = String::from_utf8(ended.await.unwrap().stderr).unwrap();
    assert!(told.contains("GOLDBOOK_ERASURE_KEYS: line 1:") && !told.contains("c2hvcnQtc2VjcmV0"), "{told}");
    // Neither help nor what is shown tells the variable's value.
    for args in [&["serve", "--help"][..], &["config", "show"]] {
        let shown = goldbook().args(args).env("GOLDBOOK_ERASURE_KEYS", ERASURE_KEY).output().await.unwrap();
        assert!(!String::from_utf8(shown.stdout).unwrap().contains("MDEyMzQ1"), "{args:?}");
    }
}
