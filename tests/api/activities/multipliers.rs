//! Points that a benefit of the customer's tier multiplies.

use goldbook::proto;
use goldbook::proto::benefit::Kind;

use super::batches::record_all;
use crate::book_rules::check_rules;
use crate::harness::{Service, purchase, shop};
use crate::points::calls::refund;

/// The shop in which silver earns 1.5 points for 1 USD, and gold 2.
fn program() -> proto::Program {
    let mut program = shop();
    for (rank, multiplier) in [(1, "1.5"), (2, "2")] {
        let kind = Some(Kind::EarnRateMultiplier(multiplier.to_owned()));
        let benefit = proto::Benefit { benefit_id: "faster".to_owned(), kind, ..program.tiers[0].benefits[0].clone() };
        program.tiers[rank].benefits.push(benefit);
    }
    program
}

async fn start(program: proto::Program) -> Service {
    let service = Service::start().await;
    service.apply(program).await.unwrap();
    service
}

fn bought(service: &Service, id: &str, amount: &str) -> proto::RecordActivityRequest {
    purchase("anna", id, amount, service.clock.now())
}

async fn take_back(service: &Service, id: &str, of: &str, amount: &str) -> i64 {
    let request = refund(of, amount, service, id);
    service.activities().record_activity(request).await.unwrap().into_inner().points_taken_back
}

/// What a purchase earned, and what its answer and its entry say of it.
async fn explained(service: &Service, recorded: &proto::RecordActivityResponse) -> (i64, String, serde_json::Value) {
    let accepted = recorded.activity.as_ref().unwrap().entry_id.clone();
    let entries = service.entries("anna").await;
    let entry = entries.into_iter().find(|entry| entry.entry_id == accepted).unwrap();
    let detail: serde_json::Value = serde_json::from_str(&entry.detail_json).unwrap();
    (recorded.points_earned, recorded.earn_rate_multiplier.clone(), detail["multiplied"].clone())
}

#[tokio::test]
async fn a_purchase_earns_by_the_tier_held_before_it_also_within_one_batch() {
    let service = start(program()).await;
    let amounts = ["200.00", "299.99", "0.01", "10.99", "0.33"];
    let purchases = amounts.iter().enumerate().map(|(i, amount)| bought(&service, &format!("p{i}"), amount));
    let recorded = record_all(&service, purchases.collect()).await;
    // The first enrols a member and lifts to silver, the third to gold.
    let earned: Vec<(i64, &str)> =
        recorded.values().map(|it| (it.points_earned, it.earn_rate_multiplier.as_str())).collect();
    assert_eq!(earned, [(200, ""), (449, "1.5"), (0, "1.5"), (21, "2"), (0, "2")]);
    assert_eq!(service.tier("anna").await.tier_id, "gold");
    assert_eq!(service.available("anna").await, 670);

    let expected = serde_json::json!({"tier_id": "silver", "by": "1.5", "from": 299});
    assert_eq!(explained(&service, &recorded[&1]).await, (449, "1.5".to_owned(), expected));
    assert_eq!(explained(&service, &recorded[&0]).await, (200, String::new(), serde_json::Value::Null));
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn a_repeated_purchase_is_answered_with_the_multiplier_of_its_time() {
    let service = start(program()).await;
    record_all(&service, vec![bought(&service, "p0", "200.00")]).await;
    let first = record_all(&service, vec![bought(&service, "p1", "400.00")]).await.remove(&0).unwrap();
    assert_eq!((first.points_earned, first.earn_rate_multiplier.as_str()), (600, "1.5"));
    let again = record_all(&service, vec![bought(&service, "p1", "400.00")]).await.remove(&0).unwrap();
    assert_eq!(again, proto::RecordActivityResponse { replayed: true, ..first });
}

#[tokio::test]
async fn caps_on_earning_apply_after_the_multiplier() {
    let cap = proto::PeriodCap { period: proto::CalendarPeriod::Month.into(), points: 250 };
    let earning = proto::EarningLimits { per_transaction: None, per_period: vec![cap] };
    let points = proto::PointsPolicy { earning: Some(earning), ..Default::default() };
    let service = start(proto::Program { points: Some(points), ..program() }).await;
    let purchases = vec![bought(&service, "p0", "200.00"), bought(&service, "p1", "40.00")];
    let recorded = record_all(&service, purchases).await;
    assert_eq!((recorded[&1].points_earned, recorded[&1].points_uncapped), (50, 60));
}

#[tokio::test]
async fn refunds_take_back_what_the_multiplier_had_added_whatever_the_tier_is_then() {
    let service = start(program()).await;
    let purchases = vec![bought(&service, "p0", "200.00"), bought(&service, "p1", "33.33")];
    let recorded = record_all(&service, purchases).await;
    assert_eq!(recorded[&1].points_earned, 49);
    // Without the first purchase the customer is a member again.
    assert_eq!(take_back(&service, "r0", "p0", "200.00").await, 200);
    assert_eq!(service.tier("anna").await.tier_id, "member");
    let taken = [take_back(&service, "r1", "p1", "11.11").await, take_back(&service, "r2", "p1", "22.22").await];
    assert_eq!((taken, service.available("anna").await), ([16, 33], 0));
    check_rules(&service.database).await.unwrap();
}
