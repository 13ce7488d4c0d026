//! Health tells whether the database is there, service by service; when it is back, everything works without a restart.

use goldbook::embedded_postgres::{
    DATABASE, EmbeddedPostgres, GOLDBOOK, OWNER_ROLE, Options, SERVICE_ROLE, throwaway_dir,
};
use goldbook::proto;
use goldbook::server;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_types::StatusExt as _;

use crate::harness::{Clock, Database, SHOP, START, Service, postgres_bin};
use crate::wait::{until, within};

/// Every service of the interface, and the empty name, which stands for all.
fn services() -> impl Iterator<Item = &'static str> {
    std::iter::once("").chain(proto::SERVICES.iter().copied())
}

async fn check(service: &Service, name: &str) -> Result<ServingStatus, Status> {
    let request = HealthCheckRequest { service: name.to_owned() };
    Ok(service.health().check(request).await?.into_inner().status())
}

/// Waits until every service is said to be so.
async fn until_all_are(service: &Service, expected: ServingStatus) {
    for name in services() {
        until(&format!("{name} {expected:?}"), async || {
            (check(service, name).await.is_ok_and(|status| status == expected)).then_some(())
        })
        .await;
    }
}

fn assert_away<T: std::fmt::Debug>(outcome: Result<T, Status>) {
    let status = outcome.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let retry = status.get_details_retry_info().unwrap_or_else(|| panic!("no RetryInfo in {status:?}"));
    assert!(retry.retry_delay.is_some_and(|delay| !delay.is_zero()));
}

#[tokio::test]
async fn health_follows_postgres_away_and_back_and_so_does_everything_else() {
    let directory = throwaway_dir().unwrap();
    let data_dir = directory.path().join("data");
    let options = Options { application: GOLDBOOK, data_dir, bin_dir: postgres_bin(), throwaway: true };
    let postgres = EmbeddedPostgres::start(options.clone()).await.unwrap();
    server::migrate(&postgres.connect_options(OWNER_ROLE, DATABASE), SERVICE_ROLE).await.unwrap();
    let reach = postgres.connect_options(SERVICE_ROLE, DATABASE);
    let clock = Clock::fixed(START.parse().unwrap());
    let service = Service::start_with(Database::create().await, reach, clock).await;
    until_all_are(&service, ServingStatus::Serving).await;
    service.apply_shop().await;
    service.enrol("anna").await;
    service.grant("anna", 100, "before").await.unwrap();

    postgres.stop().await.unwrap();
    until_all_are(&service, ServingStatus::NotServing).await;
    let balance = proto::GetBalanceRequest { program_id: SHOP.to_owned(), customer_id: "anna".to_owned(), as_of: None };
    let customer = proto::GetCustomerRequest { program_id: SHOP.to_owned(), customer_id: "anna".to_owned() };
    assert_away(within("a write", service.grant("anna", 100, "meanwhile")).await);
    assert_away(within("a read", service.rewards().get_balance(balance)).await);
    assert_away(within("a read", service.customers().get_customer(customer)).await);

    let postgres = EmbeddedPostgres::start(options).await.unwrap();
    until_all_are(&service, ServingStatus::Serving).await;
    let granted = within("a write", service.grant("anna", 100, "meanwhile")).await.unwrap();
    assert!(!granted.replayed);
    assert_eq!(within("a read", service.available("anna")).await, 200);
    assert_eq!(service.tier("anna").await.tier_id, "member");
    assert!(service.grant("anna", 100, "before").await.unwrap().replayed);
    service.stop().await;
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn health_does_not_know_services_that_do_not_exist() {
    let service = Service::start().await;
    let status = check(&service, "goldbook.v1.NoService").await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
}
