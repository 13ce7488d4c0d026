//! Standing under a program that changes: what was decided stays, what is asked follows the version in force.

use goldbook::proto;

use super::{next, start_with_anna};
use crate::harness::{Service, at, shop, usd};

/// When the program changes in these tests.
const CHANGE: &str = "2026-02-01T00:00:00Z";

/// anna, who spent 150 USD, in a program that changed after that.
async fn start_and_change(change: impl Fn(&mut proto::Program)) -> Service {
    let service = start_with_anna().await;
    service.purchase("anna", "a", "150.00").await.unwrap();
    apply_change(&service, change).await;
    service
}

async fn apply_change(service: &Service, change: impl Fn(&mut proto::Program)) {
    service.set_clock(CHANGE);
    let mut program = shop();
    change(&mut program);
    assert!(service.apply(program).await.unwrap().changed);
}

#[tokio::test]
async fn get_customer_tier_keeps_the_tier_under_a_lowered_threshold_until_a_purchase() {
    let service = start_and_change(|program| program.tiers[1].threshold = Some(usd("100.00"))).await;
    let tier = service.tier("anna").await;
    assert_eq!((tier.tier_id.as_str(), tier.policy_version), ("member", 1));
    assert_eq!(tier.next, next("silver", "100.00", "0.00"));
    // Before the change, the next tier was as far as it was then.
    let before = service.tier_at("anna", "2026-01-31T23:59:59.999999Z").await.unwrap();
    assert_eq!(before.next, next("silver", "200.00", "50.00"));
    assert_eq!(service.tier_at("anna", CHANGE).await.unwrap().next, next("silver", "100.00", "0.00"));

    let change = service.purchase("anna", "b", "0.01").await.unwrap().tier_change.unwrap();
    assert_eq!((change.to_tier_id.as_str(), change.policy_version), ("silver", 2));
    let tier = service.tier("anna").await;
    assert_eq!((tier.tier_id.as_str(), tier.policy_version, tier.since), ("silver", 2, Some(at(CHANGE))));
}

#[tokio::test]
async fn get_customer_tier_after_a_threshold_was_raised_keeps_the_tier() {
    let service = start_with_anna().await;
    service.purchase("anna", "a", "200.00").await.unwrap();
    apply_change(&service, |program| program.tiers[1].threshold = Some(usd("300.00"))).await;
    assert_eq!(service.purchase("anna", "b", "20.00").await.unwrap().tier_change, None);
    let tier = service.tier("anna").await;
    assert_eq!((tier.tier_id.as_str(), tier.policy_version), ("silver", 1));
    assert_eq!(tier.next, next("gold", "500.00", "280.00"));
}

#[tokio::test]
async fn get_customer_tier_after_a_tier_was_added_between_tells_it_as_the_next() {
    let service = start_and_change(|program| {
        let mut bronze = program.tiers[1].clone();
        (bronze.tier_id, bronze.display_name) = ("bronze".to_owned(), "BRONZE".to_owned());
        bronze.threshold = Some(usd("170.00"));
        program.tiers.insert(1, bronze);
    })
    .await;
    assert_eq!(service.tier("anna").await.next, next("bronze", "170.00", "20.00"));
    let change = service.purchase("anna", "b", "20.00").await.unwrap().tier_change.unwrap();
    assert_eq!((change.from_tier_id.as_str(), change.to_tier_id.as_str()), ("member", "bronze"));
}

#[tokio::test]
async fn get_customer_tier_after_its_tier_was_removed_tells_its_name_and_no_benefits() {
    let service = start_with_anna().await;
    service.purchase("anna", "a", "200.00").await.unwrap();
    apply_change(&service, |program| {
        program.tiers.remove(1);
    })
    .await;
    let tier = service.tier("anna").await;
    assert_eq!((tier.tier_id.as_str(), tier.display_name.as_str()), ("silver", "SILVER"));
    // It gives nothing any more.
    assert_eq!(tier.benefits, []);
    assert_eq!(tier.next, next("gold", "500.00", "300.00"));
    let change = service.purchase("anna", "b", "300.00").await.unwrap().tier_change.unwrap();
    assert_eq!((change.from_tier_id.as_str(), change.to_tier_id.as_str()), ("silver", "gold"));
}

#[tokio::test]
async fn get_customer_tier_after_its_benefits_changed_tells_the_benefits_in_force() {
    let service = start_and_change(|program| {
        program.tiers[0].display_name = "Friend".to_owned();
        program.tiers[0].benefits[0].description = "Every Monday".to_owned();
        program.tiers[0].benefits.push(proto::Benefit {
            benefit_id: "cake".to_owned(),
            display_name: "Cake".to_owned(),
            description: String::new(),
            ..proto::Benefit::default()
        });
    })
    .await;
    let tier = service.tier("anna").await;
    assert_eq!((tier.tier_id.as_str(), tier.display_name.as_str(), tier.policy_version), ("member", "Friend", 1));
    let benefits: Vec<_> = tier.benefits.iter().map(|b| (b.benefit_id.as_str(), b.description.as_str())).collect();
    assert_eq!(benefits, [("newsletter", "Every Monday"), ("cake", "")]);
    let before = service.tier_at("anna", "2026-01-31T23:59:59.999999Z").await.unwrap();
    assert_eq!((before.display_name.as_str(), before.benefits), ("MEMBER", shop().tiers.remove(0).benefits));
}

#[tokio::test]
async fn record_activity_earns_at_the_rate_in_force_also_on_another_service() {
    let service = start_with_anna().await;
    let other = Service::start_on(service.database.clone(), service.clock.clone()).await;
    assert_eq!(other.purchase("anna", "a", "10.00").await.unwrap().points_earned, 10);
    apply_change(&service, |program| program.points_per_unit = "3".to_owned()).await;
    assert_eq!(other.purchase("anna", "b", "10.00").await.unwrap().points_earned, 30);
    let replayed = other.purchase("anna", "b", "10.00").await.unwrap();
    assert_eq!((replayed.points_earned, replayed.replayed), (30, true));
    assert_eq!(other.entries("anna").await.last().unwrap().policy_version, 2);
}
