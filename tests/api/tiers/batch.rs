//! The tiers of many customers at once.

use goldbook::proto;
use prost::Message as _;
use tonic::{Code, Status};

use super::windows::{calendar_years, start};
use crate::harness::{SHOP, Service, assert_refused, purchase, shop, sorted_bad_fields};

async fn batch(service: &Service, customer_ids: &[String]) -> Result<proto::BatchGetCustomerTiersResponse, Status> {
    let request =
        proto::BatchGetCustomerTiersRequest { program_id: SHOP.to_owned(), customer_ids: customer_ids.to_vec() };
    Ok(service.tiers().batch_get_customer_tiers(request).await?.into_inner())
}

fn named(customer_ids: &[&str]) -> Vec<String> {
    customer_ids.iter().map(|id| (*id).to_owned()).collect()
}

/// What a batch tells of what is told of one.
fn brief(tier: proto::CustomerTier) -> proto::CustomerTier {
    let next = tier.next.map(|next| proto::NextTier { condition: None, progress: Vec::new(), ..next });
    proto::CustomerTier { benefits: Vec::new(), keeping: None, forecast: Vec::new(), next, ..tier }
}

#[tokio::test]
async fn a_batch_tells_what_each_one_is_told_also_where_time_did_something() {
    let service = start(calendar_years()).await;
    for (customer_id, amount) in [("ben", "200.00"), ("cleo", "500.00"), ("dora", "3.00")] {
        service.enrol(customer_id).await;
        let request = purchase(customer_id, customer_id, amount, service.clock.now());
        service.activities().record_activity(request).await.unwrap();
    }
    let forced = proto::SetTierOverrideRequest {
        program_id: SHOP.to_owned(),
        customer_id: "dora".to_owned(),
        tier_id: "gold".to_owned(),
        kind: proto::TierOverrideKind::Floor.into(),
        reason: proto::CorrectionReason::Other.into(),
        author: "clerk".to_owned(),
        idempotency_key: "set".to_owned(),
        ..Default::default()
    };
    service.tiers().set_tier_override(forced).await.unwrap();
    // In the second of these, ben and cleo have lost their tiers, and nothing of it is written.
    for now in ["2026-03-01T00:00:00Z", "2028-02-01T00:00:00Z"] {
        service.set_clock(now);
        let all = batch(&service, &named(&["dora", "nobody", "ben", "anna", "cleo", "no-one"])).await.unwrap();
        assert_eq!(all.unknown_customer_ids, ["nobody", "no-one"]);
        let mut expected = Vec::new();
        for customer_id in ["dora", "ben", "anna", "cleo"] {
            expected.push(brief(service.tier(customer_id).await));
        }
        assert_eq!(all.customer_tiers, expected);
    }
    let tiers = batch(&service, &named(&["ben", "cleo", "dora"])).await.unwrap().customer_tiers;
    let tiers: Vec<_> = tiers.iter().map(|tier| (tier.tier_id.as_str(), tier.hidden_tier_id.as_str())).collect();
    assert_eq!(tiers, [("member", ""), ("member", ""), ("gold", "member")]);
}

#[tokio::test]
async fn a_batch_is_refused_with_all_that_is_wrong() {
    let service = start(shop()).await;
    let fields = sorted_bad_fields(batch(&service, &[]).await);
    assert_eq!(fields, ["customer_ids"]);
    let many: Vec<String> = (0..1_001).map(|n| format!("c{n}")).collect();
    assert_eq!(sorted_bad_fields(batch(&service, &many).await), ["customer_ids"]);
    let bad = named(&["anna", "", "anna"]);
    assert_eq!(sorted_bad_fields(batch(&service, &bad).await), ["customer_ids[1]", "customer_ids[2]"]);
    let request = proto::BatchGetCustomerTiersRequest { program_id: "none".to_owned(), customer_ids: named(&["anna"]) };
    assert_refused(service.tiers().batch_get_customer_tiers(request).await, Code::NotFound, "PROGRAM_NOT_FOUND");
    let unknown = batch(&service, &many[..1_000]).await.unwrap();
    assert_eq!((unknown.customer_tiers.len(), unknown.unknown_customer_ids.len()), (0, 1_000));
}

#[tokio::test]
async fn a_batch_of_a_thousand_fits_into_one_message_whatever_the_program_says() {
    let mut program = shop();
    let name: String = "\u{10ffff}".repeat(200);
    for tier in &mut program.tiers {
        tier.display_name.clone_from(&name);
        let benefit = |n| proto::Benefit {
            benefit_id: format!("b{n}"),
            display_name: name.clone(),
            description: "d".repeat(2_000),
            ..Default::default()
        };
        tier.benefits = (0..100).map(benefit).collect();
    }
    let service = Service::start().await;
    service.apply(program).await.unwrap();
    service.enrol("anna").await;
    let tier = batch(&service, &named(&["anna"])).await.unwrap();
    // A customer's id has at most 128 characters.
    let most = 1_000 * (tier.encoded_len() + 4 * 128);
    assert!(most < 4 * 1024 * 1024, "{most}");
}
