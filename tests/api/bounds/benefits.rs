//! Uses of a benefit cost no more for a customer who has used it often.

use goldbook::embedded_postgres::{SERVICE_ROLE, SUPERUSER};
use goldbook::proto;
use goldbook::proto::benefit_quota::Per;
use jiff::SignedDuration;
use sqlx::AssertSqlSafe;

use super::{SLACK, lot_id, reads};
use crate::benefits::grants::{grant_of, send_grant};
use crate::benefits::request;
use crate::benefits::uses::{lounges, start_silver, undo, use_lounge};
use crate::harness::{START, Service, instant};

/// What using, undoing and listing read together for a customer who has so many uses already.
async fn measure(uses: i64) -> i64 {
    let service = start_silver(lounges(1_000_000, 1_000_000, Per::Lifetime(()))).await;
    let first = use_lounge(&service, 1, "first").await.unwrap();
    let (account, seq) = first.use_id.split_once('.').unwrap();
    let (account, seq) = (account.to_owned(), seq.parse::<i64>().unwrap());
    let (database, clock) = (service.database.clone(), service.clock.clone());
    service.stop().await;
    let mut connection = database.connect(SUPERUSER).await;
    // Autovacuum would learn about the tables.
    let load = "
        ALTER TABLE benefit_uses SET (autovacuum_enabled = off);
        ALTER TABLE ledger_entries SET (autovacuum_enabled = off);
        INSERT INTO benefit_uses
            SELECT account_id, account_seq + n, benefit_id, used_at + (n || ' s')::interval, 0, 1, NULL, day,
                   0,
                   1 + n, 1 + n, 1 + n, 1 + n, 1 + n, 1 + n
            FROM benefit_uses, generate_series(1, $uses::bigint) n;
        INSERT INTO ledger_entries
            SELECT account_id, account_seq + n, program_id, kind, from_pocket, to_pocket, points, detail,
                   gen_random_uuid(), NULL, NULL, principal_id, actor, reason, policy_version, causes, trace_id,
                   effective_at + (n || ' s')::interval, recorded_at, hash_version, content_hash
            FROM ledger_entries, generate_series(1, $uses::bigint) n WHERE kind = 'benefit_used';
        INSERT INTO balances
            SELECT account_id, n, issued, owed, pending, available, held, redeemed, expired, cancelled
            FROM accounts, generate_series(64, head + $uses, 64) n WHERE kind = 'customer';
        UPDATE accounts SET head = head + $uses, effective_at = effective_at + ('$uses s')::interval
            WHERE kind = 'customer';"
        .replace("$uses", &uses.to_string());
    sqlx::raw_sql(AssertSqlSafe(load)).execute(&mut connection).await.unwrap();
    drop(connection);
    clock.set("2026-03-01T12:00:00Z".parse().unwrap());

    let before = reads(&database).await;
    let service = Service::start_with(database.clone(), database.options(SERVICE_ROLE), clock).await;
    let left = 1_000_000 - uses - 2;
    assert_eq!(use_lounge(&service, 1, "next").await.unwrap().left, Some(left));
    let middle = uses / 2;
    let undone = undo(&lot_id(&account, seq + middle), "undo");
    assert_eq!(service.benefits().reverse_benefit_use(undone).await.unwrap().into_inner().counted, 1);
    let then = START.parse::<jiff::Timestamp>().unwrap() + SignedDuration::from_secs(middle);
    for (as_of, used) in [(None, uses + 1), (Some(instant(then)), middle + 1)] {
        let request = proto::ListCustomerBenefitsRequest { as_of, ..request("anna") };
        let page = service.benefits().list_customer_benefits(request).await.unwrap().into_inner();
        let found = page.entitlements.iter().find(|it| it.benefit.as_ref().unwrap().benefit_id == "lounge");
        assert_eq!(found.unwrap().used, used);
    }
    service.stop().await;
    let after = reads(&database).await;
    assert_eq!(after.by_scan, before.by_scan, "a whole table is gone through");
    after.by_index - before.by_index
}

#[tokio::test]
async fn uses_of_a_benefit_read_no_more_after_many_of_them() {
    let (short, long) = (measure(10).await, measure(20_000).await);
    assert!(long <= short + SLACK, "{short} rows after 10 uses, {long} after 20,000");
}

/// What granting, using and listing read together for a customer who had so many grants already.
async fn measure_grants(grants: i64) -> i64 {
    let service = start_silver(lounges(10, 10, Per::Lifetime(()))).await;
    let until = Some("2026-02-01T00:00:00Z");
    send_grant(&service, grant_of("lounge", 1, until, "first")).await.unwrap();
    let (database, clock) = (service.database.clone(), service.clock.clone());
    service.stop().await;
    let mut connection = database.connect(SUPERUSER).await;
    // Half of them ended, and half were revoked.
    let load = "
        ALTER TABLE benefit_grants SET (autovacuum_enabled = off);
        INSERT INTO benefit_grants
            SELECT account_id, granted_seq + n, benefit_id, tier_id, policy_version, granted_at + '1 s', use_limit,
                   counts_companions, CASE WHEN n % 2 = 0 THEN ends_at END, CASE WHEN n % 2 = 1 THEN ends_at END
            FROM benefit_grants, generate_series(1, $grants::bigint) n;
        INSERT INTO ledger_entries
            SELECT account_id, account_seq + n, program_id, kind, from_pocket, to_pocket, points, detail,
                   gen_random_uuid(), NULL, NULL, principal_id, actor, reason, policy_version, causes, trace_id,
                   effective_at + '1 s', recorded_at, hash_version, content_hash
            FROM ledger_entries, generate_series(1, $grants::bigint) n WHERE kind = 'entitlement_granted';
        INSERT INTO balances
            SELECT account_id, n, issued, owed, pending, available, held, redeemed, expired, cancelled
            FROM accounts, generate_series(64, head + $grants, 64) n WHERE kind = 'customer';
        UPDATE accounts SET head = head + $grants, effective_at = effective_at + '1 s' WHERE kind = 'customer';"
        .replace("$grants", &grants.to_string());
    sqlx::raw_sql(AssertSqlSafe(load)).execute(&mut connection).await.unwrap();
    drop(connection);
    clock.set("2026-03-01T12:00:00Z".parse().unwrap());

    let before = reads(&database).await;
    let service = Service::start_with(database.clone(), database.options(SERVICE_ROLE), clock).await;
    let granted = send_grant(&service, grant_of("lounge", 1, Some("2026-03-02T00:00:00Z"), "next")).await.unwrap();
    assert_eq!(use_lounge(&service, 1, "use").await.unwrap().entitlement_id, granted.entitlement_id);
    let page = service.benefits().list_customer_benefits(request("anna")).await.unwrap().into_inner();
    assert_eq!(page.entitlements.iter().filter(|it| it.entry_id == granted.entitlement_id).count(), 1);
    assert_eq!(page.entitlements.iter().filter(|it| it.right() == proto::EntitlementRight::Grant).count(), 1);
    // Then, there was the first one, and all others came and went later.
    let then = START.parse::<jiff::Timestamp>().unwrap();
    let request = proto::ListCustomerBenefitsRequest { as_of: Some(instant(then)), ..request("anna") };
    let page = service.benefits().list_customer_benefits(request).await.unwrap().into_inner();
    assert_eq!(page.entitlements.iter().filter(|it| it.right() == proto::EntitlementRight::Grant).count(), 1);
    service.stop().await;
    let after = reads(&database).await;
    assert_eq!(after.by_scan, before.by_scan, "a whole table is gone through");
    after.by_index - before.by_index
}

#[tokio::test]
async fn grants_read_no_more_after_many_that_are_over() {
    let (few, many) = (measure_grants(10).await, measure_grants(5_000).await);
    assert!(many <= few + SLACK, "{few} rows after 10 grants, {many} after 5,000");
}
