//! What converts a referral, and what both sides get.

use goldbook::proto;
use goldbook::proto::EntryKind::{PointsGranted, ReferralConverted};
use goldbook::proto::ReferralState::{Converted, Pending};
use tonic::Code;

use super::{change_friends, remove_friends, start_with_code};
use crate::harness::{Service, assert_refused, at, purchase, shop, usd};

/// The minimum of the campaign `friends` in [`shop`].
const MINIMUM: &str = "10.00";

#[tokio::test]
async fn record_activity_converts_at_the_first_purchase_of_the_minimum_and_only_then() {
    let (service, code) = start_with_code().await;
    service.refer("ben", &code).await;
    for (activity_id, amount) in [("a", "0.00"), ("b", "9.99")] {
        assert!(!service.purchase("ben", activity_id, amount).await.unwrap().referral_converted);
        assert_eq!(service.referral("ben").await.state(), Pending);
    }
    service.set_clock("2026-01-20T12:00:00Z");
    let converting = service.purchase("ben", "c", MINIMUM).await.unwrap();
    assert!(converting.referral_converted);
    assert_eq!(converting.points_earned, 10);
    assert!(!service.purchase("ben", "d", "50.00").await.unwrap().referral_converted);
    assert_eq!(service.available("ben").await, 9 + 10 + 250 + 50);
    assert_eq!(service.available("rita").await, 500);

    let (ben, rita) = (service.entries("ben").await, service.entries("rita").await);
    let converted = ben.iter().find(|entry| entry.kind() == ReferralConverted).unwrap();
    let rewarded = ben.iter().find(|entry| entry.account_seq == converted.account_seq + 1).unwrap();
    let paid = rita.iter().rfind(|entry| entry.kind() == PointsGranted).unwrap();
    let accepted = converting.activity.unwrap().entry_id;
    let referral = service.referral("ben").await;
    assert_eq!((referral.state(), referral.convert_time), (Converted, Some(at("2026-01-20T12:00:00Z"))));
    assert_eq!(referral.qualifying_entry_id, accepted);
    assert_eq!(referral.referee_reward_entry_id, rewarded.entry_id);
    assert_eq!(referral.referrer_reward_entry_id, paid.entry_id);
    assert_eq!(converted.cause_entry_ids, [referral.entry_id, accepted]);
    for reward in [rewarded, paid] {
        assert_eq!(reward.kind(), PointsGranted);
        assert_eq!(reward.cause_entry_ids, std::slice::from_ref(&converted.entry_id));
        assert_eq!(reward.command_id, converted.command_id);
        assert_eq!(reward.recorded_at, converted.recorded_at);
    }
    // The customer's own entries of the command; the referrer's are not among them.
    assert_eq!(converting.entry_ids.len(), 4);
    assert!(!converting.entry_ids.contains(&paid.entry_id));
}

#[tokio::test]
async fn record_activity_pays_only_the_side_that_the_campaign_rewards() {
    let (service, code) = start_with_code().await;
    change_friends(&service, |campaign| campaign.referrer_points = 0).await;
    service.refer("ben", &code).await;
    assert!(service.purchase("ben", "a", MINIMUM).await.unwrap().referral_converted);
    assert_eq!((service.available("ben").await, service.available("rita").await), (260, 0));
    let referral = service.referral("ben").await;
    assert_eq!((referral.referrer_reward_entry_id.as_str(), referral.policy_version), ("", 2));
    change_friends(&service, |campaign| campaign.referee_points = 0).await;
    service.refer("cleo", &code).await;
    assert!(service.purchase("cleo", "a", MINIMUM).await.unwrap().referral_converted);
    assert_eq!((service.available("cleo").await, service.available("rita").await), (10, 500));
    assert_eq!(service.referral("cleo").await.referee_reward_entry_id, "");
}

#[tokio::test]
async fn record_activity_pays_what_the_campaign_says_at_conversion_also_after_it_ended() {
    let (service, code) = start_with_code().await;
    service.refer("ben", &code).await;
    service.set_clock("2026-01-20T12:00:00Z");
    change_friends(&service, |campaign| {
        campaign.ends_at = Some(at("2026-01-16T00:00:00Z"));
        campaign.referee_points = 300;
    })
    .await;
    assert!(service.purchase("ben", "a", MINIMUM).await.unwrap().referral_converted);
    assert_eq!((service.available("ben").await, service.available("rita").await), (310, 500));
    assert_eq!(service.referral("ben").await.policy_version, 2);
}

#[tokio::test]
async fn record_activity_without_a_minimum_converts_at_any_amount_above_zero() {
    let (service, code) = start_with_code().await;
    change_friends(&service, |campaign| campaign.minimum_purchase = None).await;
    service.refer("ben", &code).await;
    assert!(!service.purchase("ben", "a", "0.00").await.unwrap().referral_converted);
    assert!(service.purchase("ben", "b", "0.01").await.unwrap().referral_converted);
}

#[tokio::test]
async fn record_activity_converts_nothing_of_a_campaign_taken_out_of_the_program() {
    let (service, code) = start_with_code().await;
    service.refer("ben", &code).await;
    remove_friends(&service).await;
    assert!(!service.purchase("ben", "a", MINIMUM).await.unwrap().referral_converted);
    assert_refused(service.convert("ben").await, Code::FailedPrecondition, "CAMPAIGN_NOT_ACTIVE");
    assert_eq!(service.referral("ben").await.state(), Pending);
    // Put back, the purchase that was made meanwhile counts.
    service.apply_shop().await;
    assert!(!service.convert("ben").await.unwrap().already_converted);
    assert_eq!((service.available("ben").await, service.available("rita").await), (260, 500));
}

#[tokio::test]
async fn convert_referral_confirms_a_purchase_that_converted_and_writes_nothing() {
    let (service, code) = start_with_code().await;
    service.refer("ben", &code).await;
    service.purchase("ben", "a", MINIMUM).await.unwrap();
    let count = service.count_entries().await;
    let converted = service.convert("ben").await.unwrap();
    let expected =
        proto::ConvertReferralResponse { referral: Some(service.referral("ben").await), already_converted: true };
    assert_eq!(converted, expected);
    assert_eq!(service.count_entries().await, count);
}

#[tokio::test]
async fn convert_referral_needs_a_purchase_of_the_minimum_as_it_is_now() {
    let (service, code) = start_with_code().await;
    service.refer("ben", &code).await;
    assert_refused(service.convert("ben").await, Code::FailedPrecondition, "NOT_QUALIFIED");
    service.purchase("ben", "a", "3.00").await.unwrap();
    let qualifying = service.purchase("ben", "b", "6.00").await.unwrap();
    service.purchase("ben", "c", "7.00").await.unwrap();
    assert_refused(service.convert("ben").await, Code::FailedPrecondition, "NOT_QUALIFIED");
    change_friends(&service, |campaign| campaign.minimum_purchase = Some(usd("5.00"))).await;
    service.set_clock("2026-01-16T12:00:00Z");
    let converted = service.convert("ben").await.unwrap();
    let referral = converted.referral.unwrap();
    assert_eq!((converted.already_converted, referral.state(), referral.policy_version), (false, Converted, 2));
    assert_eq!(referral.qualifying_entry_id, qualifying.activity.unwrap().entry_id);
    assert_eq!(referral.convert_time, Some(at("2026-01-16T12:00:00Z")));
    assert_eq!((service.available("ben").await, service.available("rita").await), (3 + 6 + 7 + 250, 500));
    assert!(service.convert("ben").await.unwrap().already_converted);
    assert_eq!(service.available("rita").await, 500);
}

#[tokio::test]
async fn convert_referral_converts_by_hand_where_the_campaign_is_manual() {
    let service = Service::start().await;
    service.apply_shop().await;
    let code = service.share_code("rita", "partners").await;
    service.refer("ben", &code).await;
    assert!(!service.purchase("ben", "a", "100.00").await.unwrap().referral_converted);
    assert_eq!(service.referral("ben").await.state(), Pending);
    service.refer("cleo", &code).await;
    for (referee, points) in [("ben", 350), ("cleo", 250)] {
        let converted = service.convert(referee).await.unwrap();
        assert!(!converted.already_converted);
        let referral = converted.referral.unwrap();
        assert_eq!((referral.state(), referral.qualifying_entry_id.as_str()), (Converted, ""));
        assert_eq!(referral, service.referral(referee).await);
        assert_eq!(service.available(referee).await, points);
    }
    assert_eq!(service.available("rita").await, 1_000);
    let count = service.count_entries().await;
    let service = service.restart().await;
    assert!(service.convert("ben").await.unwrap().already_converted);
    assert_eq!(service.count_entries().await, count);
    let entries = service.entries("cleo").await;
    let converted = &entries[entries.len() - 2];
    assert_eq!((converted.kind(), converted.actor()), (ReferralConverted, proto::Actor::Caller));
}

#[tokio::test]
async fn convert_referral_goes_on_without_the_reward_of_a_side_whose_balance_cannot_grow() {
    let service = Service::start().await;
    service.apply_shop().await;
    let code = service.share_code("rita", "partners").await;
    service.refer("ben", &code).await;
    service.fill_up("ben", i64::MAX - 249).await;
    service.convert("ben").await.unwrap();
    assert_eq!((service.available("rita").await, service.available("ben").await), (500, 0));
    let entries = service.entries("ben").await;
    let converted = entries.iter().find(|entry| entry.kind() == ReferralConverted).unwrap();
    assert!(converted.detail_json.ends_with(r#""referee_reward":null,"referee_withheld":250}"#), "{converted:?}");
}

#[tokio::test]
async fn record_activity_that_happened_on_a_day_before_the_referral_does_not_convert() {
    let (service, code) = start_with_code().await;
    service.refer("ben", &code).await;
    // 15 January begins at 05:00 UTC in New York; the code may be entered just after paying.
    let bought = |activity_id: &str, instant: &str| purchase("ben", activity_id, "20.00", instant.parse().unwrap());
    for (activity_id, happened_at, converts) in
        [("a", "2026-01-15T04:59:59.999999Z", false), ("b", "2026-01-15T05:00:00Z", true)]
    {
        let recorded = service.activities().record_activity(bought(activity_id, happened_at)).await.unwrap();
        assert_eq!(recorded.into_inner().referral_converted, converts, "{happened_at}");
    }
}

#[tokio::test]
async fn a_manual_campaign_made_one_of_first_purchases_converts_by_the_next() {
    let service = Service::start().await;
    service.apply_shop().await;
    let code = service.share_code("rita", "partners").await;
    service.refer("ben", &code).await;
    let mut program = shop();
    program.campaigns[1].conversion = proto::Conversion::FirstPurchase.into();
    service.apply(program).await.unwrap();
    assert_refused(service.convert("ben").await, Code::FailedPrecondition, "NOT_QUALIFIED");
    assert!(service.purchase("ben", "a", MINIMUM).await.unwrap().referral_converted);
}
