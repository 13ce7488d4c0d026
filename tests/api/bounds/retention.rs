//! Looking for customers without activity costs no more for one who has done much.

use std::time::Duration;

use goldbook::embedded_postgres::SUPERUSER;
use goldbook::proto;
use sqlx::AssertSqlSafe;

use super::{SLACK, reads};
use crate::harness::{Background, Clock, Database, SHOP, START, Service, create_customer, grant_reward, shop};
use crate::wait::until;

/// How many entries of an account are looked through at most.
const WINDOW: i64 = 1_024;

/// What has been read of the tables that tell of customers, once nobody is connected any more.
async fn reads_of_customers(database: &Database) -> (i64, i64) {
    reads(database).await;
    let mut connection = database.connect(SUPERUSER).await;
    let sum = "SELECT coalesce(sum(idx_tup_fetch), 0)::bigint, coalesce(sum(seq_tup_read), 0)::bigint
               FROM pg_stat_user_tables
               WHERE relname IN ('accounts', 'customers', 'entry_notes', 'marketing_consents', 'ledger_entries')";
    sqlx::query_as(sum).fetch_one(&mut connection).await.unwrap()
}

/// Customers of whom notes are kept for ten days: anna, to whom a caller wrote long ago and time so many entries since, and
/// as many others with nothing to erase. Returns how many rows one round reads, and how many notes are left.
async fn measure(entries: i64, others: i64) -> (i64, i64) {
    let clock = Clock::fixed(START.parse().unwrap());
    let service = Service::start_on(Database::create().await, clock.clone()).await;
    let retention = Some(proto::Retention { notes_days: Some(10), dossier_days: Some(10) });
    service.apply(proto::Program { retention, ..shop() }).await.unwrap();
    let mut anna = create_customer("anna", "enrol");
    anna.customer.as_mut().unwrap().given_name = "Anna".to_owned();
    service.customers().create_customer(anna).await.unwrap();
    let grant = proto::GrantRewardRequest { note: "a gift".to_owned(), ..grant_reward("anna", 5, "first") };
    service.rewards().grant_reward(grant).await.unwrap();
    let database = service.database.clone();
    service.stop().await;
    let mut connection = database.connect(SUPERUSER).await;
    let load = "
        ALTER TABLE ledger_entries SET (autovacuum_enabled = off);
        ALTER TABLE customers SET (autovacuum_enabled = off);
        ALTER TABLE accounts SET (autovacuum_enabled = off);
        INSERT INTO ledger_entries
            SELECT account_id, seq, program_id, kind, from_pocket, to_pocket, 1, detail, gen_random_uuid(), NULL, NULL,
                   principal_id, 'time', reason, policy_version, causes, trace_id, effective_at + interval '20 days',
                   recorded_at, hash_version, content_hash
            FROM ledger_entries e, generate_series(4, $entries::bigint) seq
            WHERE e.account_seq = 3 AND e.kind = 'points_granted';
        UPDATE accounts SET head = $entries, effective_at = effective_at + interval '20 days' WHERE kind = 'customer';
        CREATE TEMPORARY TABLE others AS SELECT gen_random_uuid() AS id FROM generate_series(1, $others);
        INSERT INTO accounts SELECT o.id, a.program_id, a.kind, a.head, a.effective_at, a.next_due_at, a.erased_at, a.issued,
                   a.owed, a.pending, a.available, a.held, a.redeemed, a.expired, a.cancelled
            FROM accounts a, others o WHERE a.kind = 'customer';
        INSERT INTO customers SELECT o.id, c.program_id, o.id::text, '{}', 1, c.created_at, c.updated_at
            FROM customers c, others o;"
        .replace("$entries", &entries.to_string())
        .replace("$others", &others.to_string());
    sqlx::raw_sql(AssertSqlSafe(load)).execute(&mut connection).await.unwrap();
    drop(connection);
    clock.set("2026-02-10T12:00:00Z".parse().unwrap());
    let (before, before_scans) = reads_of_customers(&database).await;
    let often = Background { erase_of_inactive_every: Some(Duration::from_millis(20)), ..Background::default() };
    let worker = Service::start_busy(database.clone(), clock, often).await;
    let mut connection = database.connect(SUPERUSER).await;
    until("the round to be over", async || {
        let select = "SELECT count(*) FROM retention_rounds WHERE program_id = $1 AND is_over";
        let over: i64 = sqlx::query_scalar(select).bind(SHOP).fetch_one(&mut connection).await.unwrap();
        (over == 1).then_some(())
    })
    .await;
    drop(connection);
    worker.stop().await;
    let (after, after_scans) = reads_of_customers(&database).await;
    assert_eq!(after_scans, before_scans, "a whole table is gone through");
    let mut connection = database.connect(SUPERUSER).await;
    let notes = sqlx::query_scalar("SELECT count(*) FROM entry_notes").fetch_one(&mut connection).await.unwrap();
    (after - before, notes)
}

#[tokio::test]
async fn retention_reads_no_more_of_a_customer_who_has_done_much() {
    let (few, left) = measure(200, 0).await;
    assert_eq!(left, 0);
    let (many, left) = measure(30_000, 0).await;
    // Nobody knows whether a caller wrote anything lately, so everything is kept.
    assert_eq!(left, 1);
    assert!(many <= few + WINDOW + SLACK, "{few} of 200, {many} of 30,000");
}

#[tokio::test]
async fn retention_reads_each_customer_a_bounded_number_of_times() {
    let (few, _) = measure(4, 0).await;
    let (many, _) = measure(4, 3_000).await;
    // The page, the account and the dossier.
    assert!(many <= few + 3 * 3_000 + SLACK, "{few} of one, {many} of 3,001");
}
