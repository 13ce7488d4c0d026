//! Conditions over several metrics: what counts for each, and what refunds take off.

use goldbook::proto;
use goldbook::proto::record_activity_request::Activity;
use goldbook::proto::tier_condition::Condition;

use super::windows::refund;
use crate::book_rules::check_rules;
use crate::harness::{SHOP, Service, create_referral, purchase, shop, usd};

fn condition(condition: Condition) -> proto::TierCondition {
    proto::TierCondition { condition: Some(condition) }
}

fn all_of(conditions: Vec<Condition>) -> Condition {
    Condition::AllOf(proto::TierConditions { conditions: conditions.into_iter().map(condition).collect() })
}

fn any_of(conditions: Vec<Condition>) -> Condition {
    Condition::AnyOf(proto::TierConditions { conditions: conditions.into_iter().map(condition).collect() })
}

/// Silver for a margin, or for three purchases on two days with a referral; gold for points.
async fn start() -> Service {
    let service = Service::start().await;
    let mut program = shop();
    let loyal = all_of(vec![Condition::Purchases(3), Condition::ActiveDays(2), Condition::Referrals(1)]);
    let silver = any_of(vec![Condition::Margin(usd("50.00")), loyal]);
    for (tier, takes) in program.tiers.iter_mut().skip(1).zip([silver, Condition::Points(1_000)]) {
        (tier.threshold, tier.condition) = (None, Some(condition(takes)));
    }
    service.apply(program).await.unwrap();
    service.enrol("anna").await;
    service
}

async fn sell(service: &Service, id: &str, amount: &str, margin: Option<&str>) {
    let mut request = purchase("anna", id, amount, service.clock.now());
    let bought = proto::Purchase { amount: Some(usd(amount)), margin: margin.map(usd) };
    request.activity = Some(Activity::Purchase(bought));
    service.activities().record_activity(request).await.unwrap();
}

/// What is still missing to the next tier, in the order of its criteria.
fn missing(tier: &proto::CustomerTier) -> Vec<Option<Condition>> {
    let progress = &tier.next.as_ref().unwrap().progress;
    progress.iter().map(|it| it.missing.as_ref().and_then(|missing| missing.condition.clone())).collect()
}

#[tokio::test]
async fn all_of_a_condition_is_met_by_the_last_of_its_metrics() {
    let service = start().await;
    let code = service.share_code("anna", "friends").await;
    sell(&service, "a", "10.00", None).await;
    sell(&service, "b", "10.00", None).await;
    service.set_clock("2026-01-16T12:00:00Z");
    sell(&service, "c", "10.00", None).await;
    let tier = service.tier("anna").await;
    let margin = || Some(Condition::Margin(usd("50.00")));
    assert_eq!(tier.tier_id, "member");
    assert_eq!(missing(&tier), [margin(), None, None, Some(Condition::Referrals(1))]);
    // A friend buys, and she rises by that.
    service.referrals().create_referral(create_referral("ben", &code)).await.unwrap();
    let bought = purchase("ben", "first", "10.00", service.clock.now());
    service.activities().record_activity(bought).await.unwrap();
    let tier = service.tier("anna").await;
    assert_eq!(tier.tier_id, "silver");
    let counted = tier.counted.clone().unwrap();
    assert_eq!((counted.purchases, counted.active_days, counted.referrals), (3, 2, 1));
    assert_eq!((counted.spend, counted.margin, counted.points), (Some(usd("30.00")), Some(usd("0.00")), 30));
    let entries = service.entries("anna").await;
    let rose = entries.iter().find(|entry| entry.entry_id == tier.entry_id).unwrap();
    let cause = entries.iter().find(|entry| entry.entry_id == rose.cause_entry_ids[0]).unwrap();
    assert_eq!(
        (rose.reason(), cause.kind()),
        (proto::EntryReason::ThresholdReached, proto::EntryKind::ReferralCounted)
    );
    // Two purchases of one day are one day: without the third there is one, and two purchases.
    let taken = refund(&service, "r", "c", "10.00").await.tier_change.unwrap();
    assert_eq!((taken.to_tier_id.as_str(), taken.change()), ("member", proto::TierChangeKind::Redecided));
    let tier = service.tier("anna").await;
    assert_eq!(missing(&tier), [margin(), Some(Condition::Purchases(1)), Some(Condition::ActiveDays(1)), None]);
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn any_of_a_condition_is_enough_and_a_refund_takes_its_share_of_margin_and_points() {
    let service = start().await;
    sell(&service, "a", "200.00", Some("49.99")).await;
    assert_eq!(service.tier("anna").await.tier_id, "member");
    sell(&service, "b", "0.10", Some("0.01")).await;
    let tier = service.tier("anna").await;
    let counted = tier.counted.unwrap();
    assert_eq!((tier.tier_id.as_str(), counted.margin, counted.points), ("silver", Some(usd("50.00")), 200));
    // A quarter of the purchase takes a quarter of its margin, in whole cents, and of its points.
    refund(&service, "r", "a", "50.00").await;
    let tier = service.tier("anna").await;
    let counted = tier.counted.clone().unwrap();
    assert_eq!(tier.tier_id, "member");
    assert_eq!((counted.spend, counted.points, counted.purchases), (Some(usd("150.10")), 150, 2));
    assert_eq!(counted.margin, Some(usd("37.51")));
    assert_eq!(missing(&tier)[0], Some(Condition::Margin(usd("12.49"))));
}

#[tokio::test]
async fn earned_points_reach_a_tier_and_given_ones_do_not() {
    let service = start().await;
    service.grant("anna", 5_000, "gift").await.unwrap();
    sell(&service, "a", "999.99", None).await;
    let tier = service.tier("anna").await;
    assert_eq!((tier.tier_id.as_str(), tier.counted.unwrap().points), ("member", 999));
    sell(&service, "b", "1.00", None).await;
    assert_eq!(service.tier("anna").await.tier_id, "gold");
    let request = proto::ListTierChangesRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        ..Default::default()
    };
    let changes = service.tiers().list_tier_changes(request).await.unwrap().into_inner().tier_changes;
    assert_eq!(changes[0].earned.as_ref().unwrap().points, 1_000);
}
