//! Caps on what is earned in calendar periods count all of it, whichever version of the program granted it.

use goldbook::proto;
use goldbook::proto::CalendarPeriod::{self, Day, Month};
use goldbook::proto::adjust_points_request::Change;
use tonic::Code;

use super::calls::{free, start};
use super::model::Rules;
use super::program_of;
use crate::book_rules::check_rules;
use crate::harness::{Service, assert_refused, shop};

fn capped(per_period: &[(CalendarPeriod, i64)]) -> proto::Program {
    program_of(&Rules { per_period: per_period.to_vec(), ..free() })
}

async fn buy(service: &Service, id: &str, dollars: i64) -> i64 {
    service.purchase("anna", id, &format!("{dollars}.00")).await.unwrap().points_earned
}

/// What each of anna's grants says of the periods that it counts in.
async fn counted_in(service: &Service) -> Vec<serde_json::Value> {
    let entries = service.entries("anna").await;
    let granted = entries.iter().filter(|entry| entry.kind() == proto::EntryKind::PointsGranted);
    let detail = |entry: &proto::Entry| serde_json::from_str::<serde_json::Value>(&entry.detail_json).unwrap();
    granted.map(|entry| detail(entry)["counted_in"].take()).collect()
}

#[tokio::test]
async fn a_cap_counts_what_was_earned_before_there_was_one() {
    let service = start(&free()).await;
    assert_eq!(buy(&service, "a", 80).await, 80);
    service.apply(capped(&[(Month, 100)])).await.unwrap();
    assert_eq!(buy(&service, "b", 50).await, 20);
    assert_eq!(buy(&service, "c", 50).await, 0);
    assert_refused(service.grant("anna", 1, "more").await, Code::FailedPrecondition, "EARNING_CAP_EXCEEDED");
    service.set_clock("2026-02-01T12:00:00Z");
    assert_eq!(buy(&service, "d", 150).await, 100);
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn what_was_earned_before_is_looked_up_once() {
    let service = start(&free()).await;
    buy(&service, "a", 80).await;
    service.apply(capped(&[(Month, 1_000)])).await.unwrap();
    for id in ["b", "c"] {
        assert_eq!(buy(&service, id, 10).await, 10);
    }
    // In a later month there is nothing to look up.
    service.set_clock("2026-02-01T12:00:00Z");
    buy(&service, "d", 10).await;
    let counted = counted_in(&service).await;
    let expected = [
        serde_json::Value::Null,
        serde_json::json!([{"period": "month", "day": "2026-01-01", "earned": 80}]),
        serde_json::json!([{"period": "month", "day": "2026-01-01"}]),
        serde_json::json!([{"period": "month", "day": "2026-02-01"}]),
    ];
    assert_eq!(counted, expected);
}

#[tokio::test]
async fn a_cap_of_another_kind_counts_what_was_earned_before_it() {
    let service = start(&Rules { per_period: vec![(Day, 90)], ..free() }).await;
    assert_eq!(buy(&service, "a", 120).await, 90);
    service.set_clock("2026-01-16T12:00:00Z");
    assert_eq!(buy(&service, "b", 30).await, 30);
    service.apply(capped(&[(Day, 90), (Month, 150)])).await.unwrap();
    assert_eq!(buy(&service, "c", 100).await, 30);
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn a_cap_counts_what_was_earned_while_it_was_gone() {
    let service = start(&Rules { per_period: vec![(Month, 100)], ..free() }).await;
    assert_eq!(buy(&service, "a", 80).await, 80);
    service.apply(capped(&[])).await.unwrap();
    assert_eq!(buy(&service, "b", 50).await, 50);
    service.apply(capped(&[(Month, 200)])).await.unwrap();
    assert_eq!(buy(&service, "c", 100).await, 70);
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn a_cap_counts_purchases_and_grants_of_its_period_and_nothing_else() {
    let service = Service::start().await;
    service.apply(proto::Program { campaigns: shop().campaigns, ..capped(&[]) }).await.unwrap();
    let code = service.share_code("anna", "friends").await;
    service.refer("ben", &code).await;
    buy(&service, "december-is-over", 7).await;
    service.set_clock("2026-02-01T04:59:59.999999Z");
    buy(&service, "january", 40).await;
    service.set_clock("2026-02-01T05:00:00Z");
    buy(&service, "february", 20).await;
    service.grant("anna", 30, "gift").await.unwrap();
    // A reward for bringing ben, and an adjustment.
    service.purchase("ben", "first", "20.00").await.unwrap();
    service.adjust(Change::PointsUp(300), "up").await.unwrap();
    assert_eq!(service.available("anna").await, 7 + 40 + 20 + 30 + 500 + 300);
    service.apply(capped(&[(Month, 60), (Day, 1_000)])).await.unwrap();
    assert_eq!(buy(&service, "more", 100).await, 10);
    check_rules(&service.database).await.unwrap();
}

/// History is counted in its own period; beside it, others of the same customer wait for the next batch.
#[tokio::test]
async fn a_cap_counts_history_in_the_period_that_the_account_has_reached() {
    let service = start(&free()).await;
    let history = async |id: &str, at: &str| {
        let call = crate::harness::purchase("ben", id, "60.00", at.parse().unwrap());
        let call = proto::RecordActivityRequest { as_history: true, ..call };
        service.activities().record_activity(call).await.unwrap().into_inner().points_earned
    };
    assert_eq!(history("a", "2025-11-10T12:00:00Z").await, 60);
    service.apply(capped(&[(Month, 100)])).await.unwrap();
    assert_eq!(history("b", "2025-11-20T12:00:00Z").await, 40);
    assert_eq!(history("c", "2025-12-20T12:00:00Z").await, 60);
    // It is December already.
    assert_eq!(history("d", "2025-11-25T12:00:00Z").await, 40);
    assert_eq!(service.purchase("ben", "e", "60.00").await.unwrap().points_earned, 60);
    check_rules(&service.database).await.unwrap();
}
