//! What a purchase's amount may be, and the points it earns.

use goldbook::proto;
use goldbook::proto::EntryKind::{ActivityAccepted, CustomerEnrolled, PointsGranted, ReferralConverted, TierChanged};
use goldbook::proto::google::Money;
use goldbook::proto::record_activity_request::Activity;
use tonic::Code;

use super::{bought, send, start};
use crate::harness::{Service, assert_refused, create_referral, money, shop, sorted_bad_fields, usd};

/// The largest amount in US dollars: i64::MAX cents.
const MOST: &str = "92233720368547758.07";

fn paid(activity_id: &str, amount: Money) -> proto::RecordActivityRequest {
    let purchase = proto::Purchase { amount: Some(amount), margin: None };
    proto::RecordActivityRequest { activity: Some(Activity::Purchase(purchase)), ..bought("anna", activity_id, "1.00") }
}

/// A service with [`shop`] at another rate.
async fn start_at_rate(points_per_unit: &str) -> Service {
    let service = Service::start().await;
    service.apply(proto::Program { points_per_unit: points_per_unit.to_owned(), ..shop() }).await.unwrap();
    service
}

#[tokio::test]
async fn record_activity_of_nothing_counts_as_no_purchase() {
    let service = start().await;
    let code = service.share_code("rita", "friends").await;
    let recorded = send(&service, bought("anna", "a", "0.00")).await.unwrap();
    assert_eq!((recorded.points_earned, recorded.tier_change, recorded.referral_converted), (0, None, false));
    assert_eq!(service.kinds("anna").await, [CustomerEnrolled, TierChanged, ActivityAccepted]);
    // Still a new customer, whom a referral may bring.
    service.refer("anna", &code).await;
    let recorded = send(&service, bought("anna", "b", "0.00")).await.unwrap();
    assert!(!recorded.referral_converted);
    assert_eq!(service.referral("anna").await.state(), proto::ReferralState::Pending);
    assert_eq!((service.available("anna").await, service.available("rita").await), (0, 0));
    assert_eq!(service.tier("anna").await.qualifying_spend, Some(usd("0.00")));
    // A purchase of the least above zero makes a customer who is not new.
    send(&service, bought("ben", "c", "0.01")).await.unwrap();
    let refused = service.referrals().create_referral(create_referral("ben", &code)).await;
    assert_refused(refused, Code::FailedPrecondition, "NOT_A_NEW_CUSTOMER");
}

#[tokio::test]
async fn record_activity_rounds_points_down_and_grants_none_below_one() {
    for (rate, amounts) in [
        ("1.5", [("0.66", 0), ("0.67", 1), ("1.33", 1), ("1.34", 2), ("2.00", 3)]),
        ("0.1", [("0.01", 0), ("9.99", 0), ("10.00", 1), ("19.99", 1), ("20.00", 2)]),
        ("0.333333333", [("3.00", 0), ("3.01", 1), ("6.00", 1), ("6.01", 2), ("100.00", 33)]),
        ("0", [("0.01", 0), ("1.00", 0), ("99.99", 0), ("100.00", 0), ("199.00", 0)]),
    ] {
        let service = start_at_rate(rate).await;
        let mut sum = 0;
        for (amount, points) in amounts {
            let recorded = send(&service, bought("anna", amount, amount)).await.unwrap();
            assert_eq!(recorded.points_earned, points, "{amount} at {rate}");
            sum += points;
        }
        assert_eq!(service.available("anna").await, sum, "{rate}");
        let granted = service.kinds("anna").await.into_iter().filter(|kind| *kind == PointsGranted).count();
        assert_eq!(granted, amounts.iter().filter(|(_, points)| *points > 0).count(), "{rate}");
    }
}

#[tokio::test]
async fn record_activity_refuses_another_currency() {
    let service = start().await;
    for amount in [money("EUR", "12.00"), money("JPY", "12"), money("KWD", "1.001")] {
        let refused = send(&service, paid("a", amount)).await;
        assert_refused(refused, Code::FailedPrecondition, "CURRENCY_MISMATCH");
    }
    assert_eq!(service.count_entries().await, 1);
}

#[tokio::test]
async fn record_activity_refuses_an_amount_that_is_no_whole_number_of_minor_units() {
    let service = start().await;
    let exact = |units, nanos| Money { currency_code: "USD".to_owned(), units, nanos };
    for amount in [
        exact(1, 1),
        exact(1, 5_000_000),
        exact(-1, 0),
        exact(0, -10_000_000),
        exact(0, 1_000_000_000),
        exact(i64::MAX, 0),
        usd("92233720368547758.08"),
        money("JPY", "12.5"),
    ] {
        let refused = send(&service, paid("a", amount.clone())).await;
        assert_eq!(sorted_bad_fields(refused), ["purchase.amount"], "{amount:?}");
    }
    for code in ["usd", "XXX", ""] {
        let refused = send(&service, paid("a", money(code, "1.00"))).await;
        assert_eq!(sorted_bad_fields(refused), ["purchase.amount.currency_code"], "{code}");
    }
    let purchase = proto::Purchase { amount: None, margin: None };
    let absent =
        proto::RecordActivityRequest { activity: Some(Activity::Purchase(purchase)), ..bought("anna", "a", "1.00") };
    assert_eq!(sorted_bad_fields(send(&service, absent).await), ["purchase.amount"]);
    assert_eq!(service.count_entries().await, 1);
}

#[tokio::test]
async fn record_activity_counts_currencies_with_no_or_three_decimals() {
    for (code, threshold, amount, points) in [("JPY", "30000", "29999", 29_999), ("KWD", "1.500", "1.499", 1)] {
        let service = Service::start().await;
        let mut program = proto::Program { currency_code: code.to_owned(), campaigns: Vec::new(), ..shop() };
        program.tiers.truncate(2);
        program.tiers[0].threshold = Some(money(code, "0"));
        program.tiers[1].threshold = Some(money(code, threshold));
        service.apply(program).await.unwrap();
        let recorded = send(&service, paid("a", money(code, amount))).await.unwrap();
        assert_eq!(recorded.points_earned, points);
        let next = service.tier("anna").await.next.unwrap();
        let missing = if code == "JPY" { money(code, "1") } else { money(code, "0.001") };
        assert_eq!(next.missing, Some(missing));
    }
}

#[tokio::test]
async fn record_activity_takes_the_largest_amount_and_refuses_spend_beyond_it() {
    let service = start_at_rate("0.00001").await;
    let recorded = send(&service, bought("anna", "a", MOST)).await.unwrap();
    assert_eq!(recorded.points_earned, 922_337_203_685);
    assert_eq!(service.tier("anna").await.qualifying_spend, Some(usd(MOST)));
    let count = service.count_entries().await;
    let refused = send(&service, bought("anna", "b", "0.01")).await;
    assert_refused(refused, Code::FailedPrecondition, "AMOUNT_OVERFLOW");
    assert_eq!(service.count_entries().await, count);
    send(&service, bought("anna", "b", "0.00")).await.unwrap();
    assert_eq!(service.tier("anna").await.qualifying_spend, Some(usd(MOST)));
}

#[tokio::test]
async fn record_activity_refuses_points_beyond_what_one_entry_moves_and_enrols_no_one() {
    let service = start_at_rate("100").await;
    let recorded = send(&service, bought("ben", "a", "10000000000.00")).await.unwrap();
    assert_eq!(recorded.points_earned, 1_000_000_000_000);
    let count = service.count_entries().await;
    for amount in ["10000000000.01", MOST] {
        let refused = send(&service, bought("anna", "a", amount)).await;
        assert_refused(refused, Code::FailedPrecondition, "AMOUNT_OVERFLOW");
    }
    assert_eq!(service.count_entries().await, count);
    service.enrol("anna").await;
}

#[tokio::test]
async fn record_activity_refuses_a_balance_beyond_what_can_be_counted_and_writes_nothing() {
    let service = start().await;
    service.enrol("anna").await;
    service.fill_up("anna", i64::MAX - 5).await;
    let (count, balance) = (service.count_entries().await, service.balance("anna").await);
    let refused = send(&service, bought("anna", "a", "250.00")).await;
    assert_refused(refused, Code::FailedPrecondition, "AMOUNT_OVERFLOW");
    assert_eq!(service.count_entries().await, count);
    assert_eq!(service.balance("anna").await, balance);
    assert_eq!(service.tier("anna").await.tier_id, "member");
    assert_eq!(super::activity_ids(&service, "anna").await, [] as [&str; 0]);
    let recorded = send(&service, bought("anna", "a", "5.99")).await.unwrap();
    assert_eq!((recorded.points_earned, recorded.replayed), (5, false));
    assert_eq!(service.available("anna").await, 5);
}

#[tokio::test]
async fn record_activity_goes_on_where_the_referrers_balance_cannot_grow() {
    let service = start().await;
    let code = service.share_code("rita", "friends").await;
    service.fill_up("rita", i64::MAX - 499).await;
    service.refer("anna", &code).await;
    let recorded = send(&service, bought("anna", "a", "250.00")).await.unwrap();
    assert!(recorded.referral_converted);
    // The referee gets all of theirs, and the entry says what the referrer did not get.
    assert_eq!((service.available("anna").await, service.available("rita").await), (500, 0));
    assert_eq!(service.referral("anna").await.state(), proto::ReferralState::Converted);
    let entries = service.entries("anna").await;
    let converted = entries.iter().find(|entry| entry.kind() == ReferralConverted).unwrap();
    let detail: serde_json::Value = serde_json::from_str(&converted.detail_json).unwrap();
    assert_eq!((&detail["referrer_reward"], &detail["referrer_withheld"]), (&serde_json::Value::Null, &500.into()));
    assert!(!service.kinds("rita").await.contains(&PointsGranted));
}
