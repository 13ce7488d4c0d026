//! What a customer says, what is done about a complaint, and of which class they are cost no more after many answers, complaints
//! and decisions.

use goldbook::embedded_postgres::{SERVICE_ROLE, SUPERUSER};
use goldbook::proto;
use sqlx::AssertSqlSafe;

use super::{SLACK, reads};
use crate::complaints::{acknowledge, get, opening, reopen, resolve, send_opening};
use crate::harness::{SHOP, START, Service};
use crate::satisfaction::{said, satisfied, send};

/// Feedback, resolved complaints and their steps: copies of the first ones, with numbers and instants of their own. And decisions
/// about the customer's value class.
const LOAD: &str = "
    ALTER TABLE feedback SET (autovacuum_enabled = off);
    ALTER TABLE complaints SET (autovacuum_enabled = off);
    ALTER TABLE complaint_steps SET (autovacuum_enabled = off);
    ALTER TABLE ledger_entries SET (autovacuum_enabled = off);
    ALTER TABLE value_classes SET (autovacuum_enabled = off);
    INSERT INTO feedback
        SELECT account_id, account_seq + 3 * n, program_id, day, happened_at, effective_at + (n || ' s')::interval, channel,
               satisfaction, recommendation, acsi_satisfaction, acsi_expectation, acsi_ideal, factor_ids, factor_scores,
               importances, received, cost_money, cost_time, cost_effort, cost_nerves, involvement, brands
        FROM feedback, generate_series(1, $count::bigint) n;
    INSERT INTO complaints
        SELECT account_id, opened_seq + 3 * n, program_id, category_id, priority, channel, value_class_id, state, received_at,
               clock_started_at, policy_version, acknowledged_at, answered_at, paused_from, paused_until, acknowledge_by,
               answer_by, resolve_by, extended, late_since, missed, escalated, remedy, remedy_value, offered_at, resolved_at,
               outcome, handling_score, reopened, steps, ended_at
        FROM complaints, generate_series(1, $count::bigint) n;
    INSERT INTO complaint_steps
        SELECT account_id, account_seq + 3 * n, opened_seq + 3 * n, program_id, taken_at + (n || ' s')::interval, kind,
               category_id, acknowledged, answered, took, was_late, missed, outcome, handling_score
        FROM complaint_steps, generate_series(1, $count::bigint) n;
    INSERT INTO ledger_entries
        SELECT account_id, account_seq + 3 * n, program_id, kind, from_pocket, to_pocket, points, detail, gen_random_uuid(),
               NULL, NULL, principal_id, actor, reason, policy_version, causes, trace_id,
               effective_at + (n || ' s')::interval, recorded_at, hash_version, content_hash
        FROM ledger_entries, generate_series(1, $count::bigint) n
        WHERE kind IN ('feedback_accepted', 'complaint_opened', 'complaint_resolved');
    INSERT INTO value_classes
        SELECT account_id, n, program_id, 'key', NULL, '2026-01-01', effective_at, effective_at, 1, 500, 0
        FROM accounts, generate_series(1, head + 3 * $count::bigint) n WHERE kind = 'customer';
    INSERT INTO balances
        SELECT account_id, n, issued, owed, pending, available, held, redeemed, expired, cancelled
        FROM accounts, generate_series(64, head + 3 * $count::bigint, 64) n WHERE kind = 'customer';
    UPDATE accounts SET head = head + 3 * $count::bigint, effective_at = effective_at + ('$count s')::interval
        WHERE kind = 'customer';";

/// What saying something, complaining and asking read together, for a customer with so many answers and complaints already.
async fn measure(count: i64) -> i64 {
    let service = crate::complaints::start().await;
    send(&service, said("anna", "first", satisfied(4), START)).await.unwrap();
    let first = send_opening(&service, opening("anna", "first-complaint")).await.unwrap();
    resolve(&service, &first, "first-resolved").await.unwrap();
    let (database, clock) = (service.database.clone(), service.clock.clone());
    service.stop().await;
    let mut connection = database.connect(SUPERUSER).await;
    let load = LOAD.replace("$count", &count.to_string());
    sqlx::raw_sql(AssertSqlSafe(load)).execute(&mut connection).await.unwrap();
    drop(connection);
    clock.set("2026-03-01T12:00:00Z".parse().unwrap());

    let before = reads(&database).await;
    let service = Service::start_with(database.clone(), database.options(SERVICE_ROLE), clock).await;
    send(&service, said("anna", "next", satisfied(2), "2026-03-01T11:00:00Z")).await.unwrap();
    let complaint = send_opening(&service, opening("anna", "next-complaint")).await.unwrap();
    acknowledge(&service, &complaint, "acknowledged").await.unwrap();
    resolve(&service, &complaint, "resolved").await.unwrap();
    reopen(&service, &complaint, "again").await.unwrap();
    assert_eq!(get(&service, &complaint, None).await.unwrap().steps.len(), 4);
    let (program_id, customer_id) = (SHOP.to_owned(), "anna".to_owned());
    let request = proto::GetSatisfactionRequest { program_id, customer_id, as_of: None };
    let told = service.satisfaction().get_satisfaction(request.clone()).await.unwrap().into_inner();
    assert_eq!(told.satisfaction.unwrap().latest, 2);
    let request = proto::GetSatisfactionRequest { as_of: Some(crate::harness::at("2026-01-15T12:00:20Z")), ..request };
    service.satisfaction().get_satisfaction(request).await.unwrap();
    for as_of in [None, Some("2026-01-15T12:00:20Z")] {
        let (program_id, customer_id) = (SHOP.to_owned(), "anna".to_owned());
        let request = proto::GetValueClassRequest { program_id, customer_id, as_of: as_of.map(crate::harness::at) };
        assert_eq!(service.value().get_value_class(request).await.unwrap().into_inner().class_id, "key");
    }
    let request = proto::ListComplaintsRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        ..Default::default()
    };
    let listed = service.complaints().list_complaints(request).await.unwrap().into_inner().complaints;
    assert_eq!(
        (listed.len(), &listed[0].complaint_id),
        (50.min(usize::try_from(count).unwrap() + 2), &complaint.complaint_id)
    );
    let request = proto::ListDueComplaintsRequest { program_id: SHOP.to_owned(), ..Default::default() };
    let due = service.complaints().list_due_complaints(request).await.unwrap().into_inner().complaints;
    assert_eq!(due.len(), 1);
    service.stop().await;
    let after = reads(&database).await;
    assert_eq!(after.by_scan, before.by_scan, "a whole table is gone through");
    after.by_index - before.by_index
}

#[tokio::test]
async fn complaints_and_satisfaction_read_no_more_after_many_of_them() {
    let (few, many) = (measure(100).await, measure(10_000).await);
    assert!(many <= few + SLACK, "{few} rows after 100, {many} after 10,000");
}
