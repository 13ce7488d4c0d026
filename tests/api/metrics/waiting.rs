//! What waits: commands that are put off, and statements that nobody waits for.

use goldbook::embedded_postgres::{SERVICE_ROLE, SUPERUSER};
use goldbook::proto;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};
use tokio::task::JoinHandle;
use tonic::Status;

use super::page::scrape;
use crate::binary::Serving;
use crate::harness::{Clients, Database, SHOP, Service, create_customer, grant_reward, shop};
use crate::proxy::Proxy;
use crate::wait::{until, within};

/// Nothing is done but what is called for, in one lane.
pub(super) const QUIET: [&str; 10] = [
    "--listen",
    "127.0.0.1:0",
    "--lanes",
    "1",
    "--dues-ms",
    "0",
    "--liability-seconds",
    "0",
    "--retention-minutes",
    "0",
];

/// A service that does nothing but what is called for, with the program and Anna.
pub(super) async fn start_quiet(database: &Database) -> (Serving, Service) {
    let serving = Serving::start_at(&database.options(SERVICE_ROLE), &QUIET).await;
    let service = Service::at(serving.address, database.clone()).await;
    service.apply_shop().await;
    service.enrol("anna").await;
    (serving, service)
}

/// An administrator's session in which this was done, and not committed.
pub(super) async fn hold(database: &Database, statement: &str) -> PgConnection {
    let mut session = database.connect(SUPERUSER).await;
    session.execute("BEGIN").await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut session).await.unwrap();
    session
}

fn begin_grant(service: &Service, customer_id: &str, key: &str) -> JoinHandle<Result<(), Status>> {
    let mut rewards = service.rewards();
    let request = grant_reward(customer_id, 1, key);
    tokio::spawn(async move { rewards.grant_reward(request).await.map(drop) })
}

#[tokio::test]
async fn commands_that_are_put_off_are_counted_once_each_by_what_they_wait_for() {
    let database = Database::create().await;
    let proxy = Proxy::before(&database);
    let serving = Serving::start_at(&proxy.options(), &QUIET).await;
    let admin = serving.admin;
    let service = Service::at(serving.address, database.clone()).await;
    service.apply_shop().await;
    service.enrol("anna").await;
    let put_off = async || {
        let page = scrape(admin).await;
        let of = |cause| page.value("goldbook_command_postponements_total", &[("goldbook_cause", cause)]);
        ["batch", "account", "name", "order"].map(of)
    };
    let put_off_by = async |expected: [f64; 4]| {
        until(&format!("{expected:?}"), async || (put_off().await == expected).then_some(())).await;
    };
    put_off_by([0.0; 4]).await;

    // Somebody holds the account, and later commands may not overtake the first.
    let anna = "account_id = (SELECT account_id FROM names WHERE space = 'customer' AND name = 'anna')";
    let session = hold(&database, &format!("SELECT FROM accounts WHERE {anna} FOR UPDATE")).await;
    let mut grants = vec![begin_grant(&service, "anna", "first")];
    put_off_by([0.0, 1.0, 0.0, 0.0]).await;
    grants.extend(["second", "third"].map(|key| begin_grant(&service, "anna", key)));
    put_off_by([0.0, 1.0, 0.0, 2.0]).await;
    drop(session);
    for grant in grants {
        within("the grant", grant).await.unwrap().unwrap();
    }

    // Somebody claims the name.
    let claim = format!("INSERT INTO names VALUES ('{SHOP}', 'customer', 'ben', gen_random_uuid())");
    let session = hold(&database, &claim).await;
    let mut customers = service.customers();
    let enrolling = tokio::spawn(async move { customers.create_customer(create_customer("ben", "enrol")).await });
    put_off_by([0.0, 1.0, 1.0, 2.0]).await;
    drop(session);
    within("the enrolment", enrolling).await.unwrap().unwrap();

    // A grant meets a new version of its program in one batch, while the batch before it is held up.
    proxy.hold_commits();
    let held = begin_grant(&service, "anna", "held");
    proxy.holds(1).await;
    let waiting = async |count: f64| {
        until("a command that waits", async || {
            let page = scrape(admin).await;
            (page.value("goldbook_lane_waiting", &[("goldbook_origin", "call")]) == count).then_some(())
        })
        .await;
    };
    let clients = Clients::clone(&service);
    let points = Some(proto::PointsPolicy { point_value: "0.005".to_owned(), ..Default::default() });
    let applying = tokio::spawn(async move { clients.apply(proto::Program { points, ..shop() }).await });
    waiting(1.0).await;
    let behind = begin_grant(&service, "anna", "behind");
    waiting(2.0).await;
    proxy.release_commits();
    within("the grant", held).await.unwrap().unwrap();
    within("the new version", applying).await.unwrap();
    within("the grant behind it", behind).await.unwrap().unwrap();
    put_off_by([1.0, 1.0, 1.0, 2.0]).await;
}

#[tokio::test]
async fn a_statement_that_nobody_waits_for_any_more_is_told_as_cancelled() {
    let database = Database::create().await;
    let (serving, service) = start_quiet(&database).await;
    let session = hold(&database, "LOCK TABLE ledger_entries IN ACCESS EXCLUSIVE MODE").await;
    let mut ledger = service.ledger();
    let (program_id, customer_id) = (SHOP.to_owned(), "anna".to_owned());
    let request = proto::ListEntriesRequest { program_id, customer_id, ..Default::default() };
    let listing = tokio::spawn(async move { ledger.list_entries(request).await.map(drop) });
    let mut watching = database.connect(SUPERUSER).await;
    until("the statement to wait", async || {
        let waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'ledger_entries'::regclass AND NOT granted)";
        let waits: bool = sqlx::query_scalar(waits).fetch_one(&mut watching).await.unwrap();
        waits.then_some(())
    })
    .await;
    let cancelled = async || {
        let page = scrape(serving.admin).await;
        let of_table = [("db_operation_name", "SELECT"), ("db_collection_name", "ledger_entries")];
        let labels = [&of_table[..], &[("error_type", "cancelled")]].concat();
        page.find("db_client_operation_duration_seconds_count", &labels)
    };
    assert_eq!(cancelled().await, None);
    listing.abort();
    assert_eq!(until("its end", cancelled).await, 1.0);
    drop(session);
}
