//! Summaries beside what cannot be read, of what was written since, and by whoever has the lease.

use goldbook::embedded_postgres::SUPERUSER;
use goldbook::proto;
use sqlx::AssertSqlSafe;

use super::{expiring, liability, request, start, sum_of_balances, summed_up_at, sums_of};
use crate::harness::{Clock, Database, SHOP, Service, shop};
use crate::wait::{stays, until};

/// Does to a database what no service would do; the triggers of the ledger are asleep from then on.
async fn damage(service: &Service, statement: &str) {
    let mut connection = service.database.connect(SUPERUSER).await;
    let statements = format!("ALTER TABLE ledger_entries DISABLE TRIGGER ALL; {statement}");
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await.unwrap();
}

const ANNA: &str = "account_id = (SELECT account_id FROM customers WHERE customer_id = 'anna')";

async fn start_with_two() -> Service {
    let service = start().await;
    for customer in ["anna", "ben"] {
        service.enrol(customer).await;
        service.rewards().grant_reward(expiring(100, "a", customer, "P10D")).await.unwrap();
    }
    service
}

#[tokio::test]
async fn a_summary_undoes_what_was_written_after_its_instant() {
    let service = start_with_two().await;
    let early = summed_up_at(&service, "2026-01-15T12:30:00Z").await;
    // What is written later, and an expiry that the later writing settled.
    service.set_clock("2026-02-15T13:00:00Z");
    service.rewards().grant_reward(expiring(7, "b", "anna", "P20D")).await.unwrap();
    let mut redeem = service.rewards();
    let spend = proto::RedeemPointsRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        points: 3,
        note: String::new(),
        idempotency_key: "spend".to_owned(),
    };
    redeem.redeem_points(spend).await.unwrap();
    // A summary of before, made now: anna is ahead of it, ben is not.
    for (now, expired) in [("2026-01-16T12:00:00Z", 0), ("2026-01-30T12:00:00Z", 200)] {
        let summary = summed_up_at(&service, now).await;
        assert_eq!((summary.issued, summary.expired, summary.redeemed), (200, expired, 0), "{now}");
        assert_eq!(sums_of(&summary), sum_of_balances(&service, &["anna", "ben"], summary.as_of.unwrap()).await);
        let soon: Vec<i64> = summary.expiring.iter().map(|expiring| expiring.points).collect();
        assert_eq!(soon, [200 - expired; 3], "{now}");
        assert_eq!(summary.accounts_left_out, 0);
    }
    assert_eq!((early.issued, early.expired), (200, 0));
}

#[tokio::test]
async fn an_account_that_cannot_be_read_is_counted_and_holds_up_no_other() {
    // One is due and contradicts itself; one was written to since, by a version that is newer.
    for statement in [
        format!("UPDATE accounts SET available = 0, redeemed = 100 WHERE {ANNA}"),
        format!("UPDATE ledger_entries SET detail = '{{\"kind\": \"made_up\"}}' WHERE {ANNA} AND account_seq = 2"),
    ] {
        let service = start_with_two().await;
        if statement.contains("made_up") {
            service.set_clock("2026-03-01T12:00:00Z");
            service.grant("anna", 1, "later").await.unwrap();
        }
        damage(&service, &statement).await;
        let summary = summed_up_at(&service, "2026-02-15T13:00:00Z").await;
        assert_eq!((summary.issued, summary.expired, summary.accounts_left_out), (100, 100, 1), "{statement}");
    }
}

#[tokio::test]
async fn a_program_that_cannot_be_read_holds_up_no_other() {
    let service = start_with_two().await;
    service.apply(proto::Program { program_id: "other".to_owned(), ..shop() }).await.unwrap();
    let mut connection = service.database.connect(SUPERUSER).await;
    let nonsense = "UPDATE program_versions SET document = '{\"of\": \"a newer version\"}' WHERE program_id = 'other'";
    sqlx::raw_sql(nonsense).execute(&mut connection).await.unwrap();
    let summary = summed_up_at(&service, "2026-01-20T13:00:00Z").await;
    assert_eq!((summary.issued, summary.accounts_left_out), (200, 0));
    let others = "SELECT count(*) FROM liability_summaries WHERE program_id = 'other' AND taken_at > '2026-01-20'";
    assert_eq!(sqlx::query_scalar::<_, i64>(others).fetch_one(&mut connection).await.unwrap(), 0);
}

#[tokio::test]
async fn a_summary_is_made_by_one_service_at_a_time_and_a_crash_ends_by_the_lease() {
    let database = Database::create().await;
    let mut connection = database.connect(SUPERUSER).await;
    let another = "INSERT INTO liability_lease (holder, ends_at)
                   VALUES (gen_random_uuid(), clock_timestamp() + interval '1 hour')";
    sqlx::raw_sql(another).execute(&mut connection).await.unwrap();
    // The machines' clocks and the tests' have no say in when it ends.
    let clock = Clock::fixed("2036-01-15T12:00:00Z".parse().unwrap());
    let service = Service::start_busy(database, clock, super::OFTEN).await;
    service.apply_shop().await;
    let made = "SELECT count(*) FROM liability_summaries";
    stays("no summary while another service makes one", async || {
        sqlx::query_scalar::<_, i64>(made).fetch_one(&mut connection).await.unwrap() == 0
    })
    .await;
    sqlx::raw_sql("UPDATE liability_lease SET ends_at = clock_timestamp()").execute(&mut connection).await.unwrap();
    until("a summary", async || liability(&service, request()).await.ok()).await;
}
