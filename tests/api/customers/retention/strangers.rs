//! Principals of customers who do not exist.

use goldbook::embedded_postgres::SUPERUSER;
use sqlx::AssertSqlSafe;

use super::{OFTEN, count};
use crate::harness::Service;
use crate::wait::until;

/// Adds a principal who was seen at an instant.
async fn see(service: &Service, subject: &str, customer_id: &str, programs: &str, first_seen: &str) {
    let mut connection = service.database.connect(SUPERUSER).await;
    let insert = format!(
        "INSERT INTO principals (principal_id, kind, issuer, subject, customer_id, program_ids, first_seen)
         VALUES (gen_random_uuid(), 'token', 'https://login', '{subject}', {customer_id}, {programs}, '{first_seen}')"
    );
    sqlx::raw_sql(AssertSqlSafe(insert)).execute(&mut connection).await.unwrap();
}

async fn subjects(service: &Service) -> Vec<String> {
    let mut connection = service.database.connect(SUPERUSER).await;
    let select = "SELECT subject FROM principals WHERE kind = 'token' ORDER BY subject";
    sqlx::query_scalar(select).fetch_all(&mut connection).await.unwrap()
}

/// Waits until everybody was looked at by the present clock.
async fn wait_for_round(service: &Service) {
    until("a round through the principals", async || {
        let now = service.clock.now();
        let rounds = format!("principal_rounds WHERE is_over AND begun_at = '{now}'");
        (count(service, &rounds).await == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn principals_of_customers_who_do_not_exist_are_removed_after_a_day() {
    const EARLY: &str = "2026-01-15T11:00:00Z";
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    see(&service, "anna", "'anna'", "'{outlet,shop}'", EARLY).await;
    see(&service, "anna-anywhere", "'anna'", "NULL", EARLY).await;
    see(&service, "anna-elsewhere", "'anna'", "'{outlet}'", EARLY).await;
    see(&service, "gone", "'gone'", "'{shop}'", EARLY).await;
    see(&service, "gone-anywhere", "'gone'", "NULL", EARLY).await;
    see(&service, "new", "'new'", "'{shop}'", "2026-01-16T06:00:00Z").await;
    see(&service, "shop", "'shop'", "'{shop}'", EARLY).await;
    see(&service, "support", "NULL", "NULL", EARLY).await;
    for i in 0..1_100 {
        see(&service, &format!("gone-{i}"), &format!("'gone-{i}'"), "'{shop}'", EARLY).await;
    }
    service.set_clock("2026-01-16T12:00:00Z");
    let workers = [
        Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await,
        Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await,
    ];
    wait_for_round(&service).await;
    assert_eq!(subjects(&service).await, ["anna", "anna-anywhere", "new", "support"]);
    // The next round comes a day later.
    service.set_clock("2026-01-17T11:59:59Z");
    see(&service, "gone", "'gone'", "'{shop}'", EARLY).await;
    crate::wait::stays("nobody is looked at", async || subjects(&service).await.len() == 5).await;
    service.set_clock("2026-01-17T12:00:00Z");
    wait_for_round(&service).await;
    assert_eq!(subjects(&service).await, ["anna", "anna-anywhere", "support"]);
    for worker in workers {
        worker.stop().await;
    }
}
