//! Tiers: who holds which, since when and why; at any instant, and under a program that changes.

mod batch;
mod metrics;
mod overrides;
mod policies;
mod random_windows;
mod reevaluation;
mod sample;
mod simulation;
mod statistics;
mod windows;

use goldbook::proto;
use tonic::{Code, Status};

use crate::harness::{
    SHOP, START, Service, assert_refused, assert_refuses_bad_pages, at, purchase, read_pages, shop, sorted_bad_fields,
    usd,
};

/// A service with [`SHOP`] and the customer anna.
async fn start_with_anna() -> Service {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    service
}

async fn list(
    service: &Service,
    customer_id: &str,
    page_size: i32,
    page_token: String,
) -> Result<(Vec<proto::TierChange>, String), Status> {
    let request = proto::ListTierChangesRequest {
        program_id: SHOP.to_owned(),
        customer_id: customer_id.to_owned(),
        page_size,
        page_token,
    };
    let page = service.tiers().list_tier_changes(request).await?.into_inner();
    Ok((page.tier_changes, page.next_page_token))
}

fn spend(amount: &str) -> proto::TierCondition {
    proto::TierCondition { condition: Some(proto::tier_condition::Condition::Spend(usd(amount))) }
}

fn next(tier_id: &str, threshold: &str, missing: &str) -> Option<proto::NextTier> {
    Some(proto::NextTier {
        tier_id: tier_id.to_owned(),
        display_name: tier_id.to_uppercase(),
        threshold: Some(usd(threshold)),
        missing: Some(usd(missing)),
        condition: Some(spend(threshold)),
        progress: vec![proto::TierProgress {
            criterion: Some(spend(threshold)),
            missing: Some(missing).filter(|missing| *missing != "0.00").map(spend),
        }],
    })
}

fn counts(spend: &str, points: i64, purchases: i64, active_days: i64) -> proto::TierCounts {
    let (spend, margin) = (Some(usd(spend)), Some(usd("0.00")));
    proto::TierCounts { spend, margin, points, purchases, active_days, ..Default::default() }
}

#[tokio::test]
async fn get_customer_tier_tells_the_first_tier_from_enrolment_on() {
    let service = start_with_anna().await;
    service.set_clock("2026-01-16T12:00:00Z");
    let entries = service.entries("anna").await;
    let expected = proto::CustomerTier {
        customer_id: "anna".to_owned(),
        tier_id: "member".to_owned(),
        display_name: "MEMBER".to_owned(),
        since: Some(at(START)),
        policy_version: 1,
        qualifying_spend: Some(usd("0.00")),
        next: next("silver", "200.00", "200.00"),
        benefits: shop().tiers.remove(0).benefits,
        cause_entry_ids: vec![entries[0].entry_id.clone()],
        entry_id: entries[1].entry_id.clone(),
        as_of: Some(at("2026-01-16T12:00:00Z")),
        counted: Some(proto::TierCounts { spend: Some(usd("0.00")), margin: Some(usd("0.00")), ..Default::default() }),
        ..Default::default()
    };
    assert_eq!(service.tier("anna").await, expected);
}

#[tokio::test]
async fn get_customer_tier_tells_what_lifted_the_customer() {
    let service = start_with_anna().await;
    service.set_clock("2026-01-16T12:00:00Z");
    service.purchase("anna", "a", "150.00").await.unwrap();
    service.set_clock("2026-01-17T12:00:00Z");
    let crossing = service.purchase("anna", "b", "83.50").await.unwrap();
    service.set_clock("2026-01-18T12:00:00Z");
    service.purchase("anna", "c", "0.49").await.unwrap();
    let expected = proto::CustomerTier {
        customer_id: "anna".to_owned(),
        tier_id: "silver".to_owned(),
        display_name: "SILVER".to_owned(),
        since: Some(at("2026-01-17T12:00:00Z")),
        policy_version: 1,
        qualifying_spend: Some(usd("233.99")),
        next: next("gold", "500.00", "266.01"),
        benefits: shop().tiers.remove(1).benefits,
        cause_entry_ids: vec![crossing.activity.unwrap().entry_id],
        entry_id: crossing.tier_change.unwrap().entry_id,
        as_of: Some(at("2026-01-18T12:00:00Z")),
        counted: Some(counts("233.99", 233, 3, 3)),
        earned: Some(counts("233.50", 233, 2, 2)),
        ..Default::default()
    };
    assert_eq!(service.tier("anna").await, expected);
    assert_eq!(service.tier_at("anna", "2026-01-18T12:00:00Z").await.unwrap(), expected);
}

#[tokio::test]
async fn record_activity_lifts_from_the_threshold_on_in_the_same_command() {
    let service = start_with_anna().await;
    service.purchase("anna", "a", "199.99").await.unwrap();
    let tier = service.tier("anna").await;
    assert_eq!((tier.tier_id.as_str(), tier.next), ("member", next("silver", "200.00", "0.01")));
    let recorded = service.purchase("anna", "b", "0.01").await.unwrap();
    let tier = service.tier("anna").await;
    assert_eq!((tier.tier_id.as_str(), tier.next), ("silver", next("gold", "500.00", "300.00")));
    let change = recorded.tier_change.unwrap();
    let entries = service.entries("anna").await;
    let lifted = entries.iter().find(|entry| entry.entry_id == change.entry_id).unwrap();
    let accepted = entries.iter().find(|entry| entry.entry_id == recorded.activity.as_ref().unwrap().entry_id).unwrap();
    assert_eq!(lifted.command_id, accepted.command_id);
    assert!(recorded.entry_ids.contains(&change.entry_id));
}

#[tokio::test]
async fn record_activity_lifts_over_two_tiers_in_one_change() {
    let service = start_with_anna().await;
    let change = service.purchase("anna", "a", "500.00").await.unwrap().tier_change.unwrap();
    assert_eq!((change.from_tier_id.as_str(), change.to_tier_id.as_str()), ("member", "gold"));
    let tier = service.tier("anna").await;
    assert_eq!((tier.tier_id.as_str(), tier.next), ("gold", None));
    assert_eq!(tier.benefits, shop().tiers.remove(2).benefits);
    assert_eq!(list(&service, "anna", 0, String::new()).await.unwrap().0.len(), 2);
    // There is nothing above it.
    assert_eq!(service.purchase("anna", "b", "5000.00").await.unwrap().tier_change, None);
}

#[tokio::test]
async fn get_customer_tier_answers_for_any_instant_since_enrolment() {
    let service = start_with_anna().await;
    service.set_clock("2026-01-16T12:00:00Z");
    service.purchase("anna", "a", "200.00").await.unwrap();
    service.set_clock("2026-01-17T12:00:00Z");
    service.purchase("anna", "b", "300.00").await.unwrap();
    service.set_clock("2026-01-18T12:00:00Z");
    for (as_of, tier_id, spend, since) in [
        (START, "member", "0.00", START),
        ("2026-01-16T11:59:59.999999Z", "member", "0.00", START),
        ("2026-01-16T12:00:00Z", "silver", "200.00", "2026-01-16T12:00:00Z"),
        ("2026-01-17T11:59:59.999999Z", "silver", "200.00", "2026-01-16T12:00:00Z"),
        ("2026-01-17T12:00:00Z", "gold", "500.00", "2026-01-17T12:00:00Z"),
        ("2026-01-18T12:00:00Z", "gold", "500.00", "2026-01-17T12:00:00Z"),
    ] {
        let tier = service.tier_at("anna", as_of).await.unwrap();
        assert_eq!((tier.tier_id.as_str(), tier.qualifying_spend), (tier_id, Some(usd(spend))), "{as_of}");
        assert_eq!((tier.since, tier.as_of), (Some(at(since)), Some(at(as_of))));
    }
    let before = service.tier_at("anna", "2026-01-15T11:59:59.999999Z").await;
    assert_refused(before, Code::NotFound, "CUSTOMER_NOT_FOUND");
    let ahead = service.tier_at("anna", "2026-01-18T12:00:00.000001Z").await;
    assert_refused(ahead, Code::OutOfRange, "INSTANT_IN_FUTURE");
}

#[tokio::test]
async fn get_customer_tier_answers_for_the_time_of_imported_history() {
    let service = Service::start().await;
    service.apply_shop().await;
    for (activity_id, amount, happened_at) in [
        ("a", "150.00", "1997-01-05T00:00:00Z"),
        ("b", "50.00", "1997-03-01T00:00:00Z"),
        ("c", "300.00", "1998-06-01T00:00:00Z"),
    ] {
        let request = proto::RecordActivityRequest {
            as_history: true,
            ..purchase("anna", activity_id, amount, happened_at.parse().unwrap())
        };
        service.activities().record_activity(request).await.unwrap();
    }
    let before = service.tier_at("anna", "1997-01-04T23:59:59.999999Z").await;
    assert_refused(before, Code::NotFound, "CUSTOMER_NOT_FOUND");
    for (as_of, tier_id, spend, since) in [
        ("1997-01-05T00:00:00Z", "member", "150.00", "1997-01-05T00:00:00Z"),
        ("1997-02-28T23:59:59.999999Z", "member", "150.00", "1997-01-05T00:00:00Z"),
        ("1997-03-01T00:00:00Z", "silver", "200.00", "1997-03-01T00:00:00Z"),
        ("1998-05-31T00:00:00Z", "silver", "200.00", "1997-03-01T00:00:00Z"),
        ("2026-01-15T12:00:00Z", "gold", "500.00", "1998-06-01T00:00:00Z"),
    ] {
        let tier = service.tier_at("anna", as_of).await.unwrap();
        assert_eq!((tier.tier_id.as_str(), tier.qualifying_spend), (tier_id, Some(usd(spend))), "{as_of}");
        assert_eq!((tier.since, tier.policy_version), (Some(at(since)), 1));
    }
}

#[tokio::test]
async fn tiers_methods_refuse_an_unknown_program_or_customer() {
    let service = start_with_anna().await;
    for (program_id, customer_id, reason) in
        [("nowhere", "anna", "PROGRAM_NOT_FOUND"), (SHOP, "nobody", "CUSTOMER_NOT_FOUND")]
    {
        let (program_id, customer_id) = (program_id.to_owned(), customer_id.to_owned());
        for as_of in [None, Some(at(START))] {
            let (program_id, customer_id) = (program_id.clone(), customer_id.clone());
            let request = proto::GetCustomerTierRequest { program_id, customer_id, as_of };
            assert_refused(service.tiers().get_customer_tier(request).await, Code::NotFound, reason);
        }
        let request = proto::ListTierChangesRequest { program_id, customer_id, ..Default::default() };
        assert_refused(service.tiers().list_tier_changes(request).await, Code::NotFound, reason);
    }
}

#[tokio::test]
async fn tiers_methods_list_every_bad_field() {
    let service = start_with_anna().await;
    let as_of = Some(prost_types::Timestamp { seconds: i64::MIN, nanos: 0 });
    let request = proto::GetCustomerTierRequest { program_id: "-".to_owned(), customer_id: String::new(), as_of };
    let refused = service.tiers().get_customer_tier(request).await;
    assert_eq!(sorted_bad_fields(refused), ["as_of", "customer_id", "program_id"]);
    let request = proto::ListTierChangesRequest { page_size: -1, ..Default::default() };
    let refused = service.tiers().list_tier_changes(request).await;
    assert_eq!(sorted_bad_fields(refused), ["customer_id", "page_size", "program_id"]);
}

#[tokio::test]
async fn list_tier_changes_tells_each_change_once_the_newest_first() {
    let service = start_with_anna().await;
    service.set_clock("2026-01-16T12:00:00Z");
    let silver = service.purchase("anna", "a", "200.00").await.unwrap().tier_change.unwrap();
    service.set_clock("2026-01-17T12:00:00Z");
    let gold = service.purchase("anna", "b", "300.00").await.unwrap().tier_change.unwrap();
    let entries = service.entries("anna").await;
    let first = proto::TierChange {
        from_tier_id: String::new(),
        to_tier_id: "member".to_owned(),
        policy_version: 1,
        effective_at: Some(at(START)),
        entry_id: entries[1].entry_id.clone(),
        cause_entry_ids: vec![entries[0].entry_id.clone()],
        change: proto::TierChangeKind::Joined.into(),
        ..Default::default()
    };
    let expected = [gold, silver, first];
    assert_eq!(list(&service, "anna", 0, String::new()).await.unwrap(), (expected.to_vec(), String::new()));
    assert_eq!(list(&service, "anna", 1_001, String::new()).await.unwrap(), (expected.to_vec(), String::new()));
    for page_size in [1, 2, 3] {
        let count = i32::try_from(page_size).unwrap();
        let read = |token| async { list(&service, "anna", count, token).await.unwrap() };
        assert_eq!(read_pages(page_size, read).await, expected);
    }
}

#[tokio::test]
async fn list_tier_changes_refuses_bad_pages() {
    let service = start_with_anna().await;
    service.purchase("ben", "a", "200.00").await.unwrap();
    let foreign = list(&service, "ben", 1, String::new()).await.unwrap().1;
    assert_refuses_bad_pages(&foreign, |page_size, token| list(&service, "anna", page_size, token)).await;
}
