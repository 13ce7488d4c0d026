//! What loyalty engines are complained about, one by one: it cannot happen here.

use futures_util::future::join_all;
use goldbook::proto;
use goldbook::proto::CalendarPeriod;
use tonic::Code;

use super::calls::{free, refund, start};
use super::model::{Expire, Rules, Vest};
use super::pockets::Pockets;
use super::program_of;
use crate::activities::batches::record_all;
use crate::harness::{assert_refused, assert_tells, reason, usd};

fn expiring() -> Rules {
    Rules { expire: Expire::After("P1M", CalendarPeriod::Unspecified), ..free() }
}

#[tokio::test]
async fn a_spend_counts_against_the_points_it_took_and_not_against_later_ones() {
    let service = start(&expiring()).await;
    service.give(100, "old").await;
    service.spend(60, "spent").await;
    service.set_clock("2026-02-10T12:00:00Z");
    service.give(50, "new").await;
    assert_eq!(service.pockets().await, Pockets { available: 90, redeemed: 60, ..Pockets::NONE });
    // The rest of the old lot expires; what was spent of it stays spent, once, and the new lot is whole.
    service.set_clock("2026-02-16T05:00:00Z");
    assert_eq!(service.pockets().await, Pockets { available: 50, redeemed: 60, expired: 40, ..Pockets::NONE });
    let refused = service.redeem(51, "too-many").await;
    assert_refused(refused, Code::FailedPrecondition, "INSUFFICIENT_POINTS");
    service.spend(50, "all").await;
    assert_eq!(service.pockets().await, Pockets { redeemed: 110, expired: 40, ..Pockets::NONE });
    let lots = service.lots().await;
    let told: Vec<_> = lots.iter().map(|lot| (lot.points, lot.redeemed, lot.expired)).collect();
    assert_eq!(told, [(100, 60, 40), (50, 50, 0)]);
}

#[tokio::test]
async fn a_refund_takes_back_the_points_of_its_purchase_once() {
    let service = start(&free()).await;
    service.purchase("anna", "order-1", "100.00").await.unwrap();
    service.purchase("anna", "order-2", "40.00").await.unwrap();
    let refunded = service.refund("order-1", "100.00", "refund-1").await.unwrap();
    assert_eq!((refunded.points_taken_back, refunded.points_owed, refunded.replayed), (100, 0, false));
    assert_eq!(service.pockets().await, Pockets { available: 40, cancelled: 100, ..Pockets::NONE });
    // Told twice, or under another name, it takes nothing more.
    assert!(service.refund("order-1", "100.00", "refund-1").await.unwrap().replayed);
    let again = service.refund("order-1", "100.00", "refund-2").await;
    assert_refused(again, Code::FailedPrecondition, "REFUND_EXCEEDS_PURCHASE");
    let earned = service.lots().await[0].lot_id.clone();
    let by_hand = service.reverse(&earned, "by-hand").await;
    assert_refused(by_hand, Code::FailedPrecondition, "ENTRY_ALREADY_REVERSED");
    assert_eq!(service.pockets().await, Pockets { available: 40, cancelled: 100, ..Pockets::NONE });
    assert_eq!(service.tier("anna").await.qualifying_spend, Some(usd("40.00")));
}

#[tokio::test]
async fn a_refund_takes_back_the_points_of_a_purchase_that_enrolled_its_customer() {
    let service = start(&free()).await;
    service.purchase("ben", "order-1", "100.00").await.unwrap();
    let refund_of = |id: &str, service: &crate::harness::Service| proto::RecordActivityRequest {
        customer_id: "ben".to_owned(),
        ..refund("order-1", "30.00", service, id)
    };
    let refunded = service.activities().record_activity(refund_of("refund-1", &service)).await.unwrap().into_inner();
    assert_eq!(refunded.points_taken_back, 30);
    assert_eq!(service.available("ben").await, 70);
    // Also in one stream with it.
    let carla = |activity| proto::RecordActivityRequest { customer_id: "carla".to_owned(), ..activity };
    let bought = carla(crate::harness::purchase("carla", "order-1", "100.00", service.clock.now()));
    let outcomes = record_all(&service, vec![bought, carla(refund_of("refund-1", &service))]).await;
    assert_eq!(outcomes[&1].points_taken_back, 30);
    assert_eq!(service.available("carla").await, 70);
}

#[tokio::test]
async fn a_refund_takes_points_that_are_spent_already_from_those_to_come() {
    let service = start(&free()).await;
    service.purchase("anna", "order-1", "100.00").await.unwrap();
    service.spend(80, "spent").await;
    let refunded = service.refund("order-1", "100.00", "refund-1").await.unwrap();
    assert_eq!((refunded.points_taken_back, refunded.points_owed), (20, 80));
    assert_eq!(service.pockets().await, Pockets { redeemed: 80, cancelled: 100, owed: 80, ..Pockets::NONE });
    service.purchase("anna", "order-2", "50.00").await.unwrap();
    assert_eq!(service.pockets().await, Pockets { redeemed: 80, cancelled: 100, owed: 30, ..Pockets::NONE });
    service.purchase("anna", "order-3", "50.00").await.unwrap();
    assert_eq!(service.pockets().await, Pockets { available: 20, redeemed: 80, cancelled: 100, ..Pockets::NONE });
}

#[tokio::test]
async fn a_refund_of_points_that_never_vested_takes_nothing_else() {
    let service = start(&Rules { vest: Vest::Event("P10D"), ..free() }).await;
    service.purchase("anna", "order-1", "100.00").await.unwrap();
    let own = service.grant_on(70, Vest::Now, Expire::Never, "own").await;
    service.set_clock("2026-03-01T12:00:00Z");
    assert_eq!(service.pockets().await, Pockets { available: 70, cancelled: 100, ..Pockets::NONE });
    let refunded = service.refund("order-1", "100.00", "refund-1").await.unwrap();
    assert_eq!((refunded.points_taken_back, refunded.points_owed), (0, 0));
    assert_eq!(service.pockets().await, Pockets { available: 70, cancelled: 100, ..Pockets::NONE });
    let missed = service.lots().await[0].lot_id.clone();
    assert_ne!(missed, own);
    let refused = service.reverse(&missed, "by-hand").await;
    assert_tells(refused.clone(), "points were all cancelled before they became available", &[("entry_id", &missed)]);
    assert_refused(refused, Code::FailedPrecondition, "NOTHING_TO_REVERSE");
}

#[tokio::test]
async fn a_refund_of_points_that_expired_takes_nothing_else() {
    let service = start(&expiring()).await;
    service.purchase("anna", "order-1", "100.00").await.unwrap();
    service.set_clock("2026-03-01T12:00:00Z");
    service.give(70, "own").await;
    let refunded = service.refund("order-1", "100.00", "refund-1").await.unwrap();
    assert_eq!((refunded.points_taken_back, refunded.points_owed), (100, 0));
    assert_eq!(service.pockets().await, Pockets { available: 70, cancelled: 100, ..Pockets::NONE });
}

#[tokio::test]
async fn twenty_redemptions_of_100_points_at_once_spend_no_more_than_there_are() {
    let service = start(&free()).await;
    let other = crate::harness::Service::start_on(service.database.clone(), service.clock.clone()).await;
    service.give(150, "a").await;
    service.give(200, "b").await;
    let calls = (0..20).map(|i| {
        let service = if i % 2 == 0 { &service } else { &other };
        async move { service.redeem(100, &format!("spend-{i}")).await }
    });
    let answers = join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3);
    for status in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(reason(status), "INSUFFICIENT_POINTS");
    }
    assert_eq!(service.pockets().await, Pockets { available: 50, redeemed: 300, ..Pockets::NONE });
}

#[tokio::test]
async fn a_refund_and_a_reversal_go_by_the_rates_of_then_and_not_of_today() {
    let service = start(&expiring()).await;
    service.purchase("anna", "order-1", "100.00").await.unwrap();
    service.purchase("anna", "order-2", "100.00").await.unwrap();
    let earned: Vec<String> = service.lots().await.into_iter().map(|lot| lot.lot_id).collect();
    let spent = service.spend(150, "spent").await;
    // Everything about points is different today.
    let today = Rules { expire: Expire::After("P1Y", CalendarPeriod::Year), vest: Vest::After("P3D"), ..free() };
    let today = proto::Program { points_per_unit: "7".to_owned(), ..program_of(&today) };
    service.apply(today).await.unwrap();
    let refunded = service.refund("order-1", "50.00", "refund-1").await.unwrap();
    assert_eq!((refunded.points_taken_back, refunded.points_owed), (50, 0));
    let reversed = service.reverse(&spent, "undo-spend").await.unwrap();
    assert_eq!((reversed.points_reversed, reversed.points_returned), (150, 150));
    let reversed = service.reverse(&earned[1], "undo-order-2").await.unwrap();
    assert_eq!(reversed.points_reversed, 100);
    assert_eq!(service.pockets().await, Pockets { available: 50, cancelled: 150, ..Pockets::NONE });
    // What came back has the expiry it always had.
    let lots = service.lots().await;
    assert_eq!(lots[0].expires_at, Some(crate::harness::at("2026-02-16T05:00:00Z")));
    assert_eq!((lots[0].available, lots[1].available), (50, 0));
}

#[tokio::test]
async fn what_is_owed_is_told_to_the_point_at_any_instant() {
    let service = start(&free()).await;
    let granted = service.give(100, "granted").await;
    service.spend(100, "spent").await;
    service.set_clock("2026-01-16T12:00:00Z");
    let reversed = service.reverse(&granted, "undo").await.unwrap();
    assert_eq!((reversed.points_reversed, reversed.points_owed), (100, 100));
    service.set_clock("2026-01-17T12:00:00Z");
    service.give(30, "more").await;
    let mut owed = Vec::new();
    for day in ["2026-01-15T12:00:00Z", "2026-01-16T11:59:59Z", "2026-01-16T12:00:00Z", "2026-01-17T12:00:00Z"] {
        let request = proto::GetBalanceRequest {
            program_id: crate::harness::SHOP.to_owned(),
            customer_id: "anna".to_owned(),
            as_of: Some(crate::harness::at(day)),
        };
        owed.push(service.rewards().get_balance(request).await.unwrap().into_inner().balance.unwrap().owed);
    }
    assert_eq!(owed, [0, 0, 100, 70]);
    // Each change of it is a row.
    let entries = service.entries("anna").await;
    let rows: Vec<_> = entries
        .iter()
        .filter_map(|entry| entry.r#move)
        .filter(|moved| moved.from() == proto::Pocket::Owed || moved.to() == proto::Pocket::Owed)
        .map(|moved| (moved.from(), moved.points))
        .collect();
    assert_eq!(rows, [(proto::Pocket::Owed, 100), (proto::Pocket::Available, 30)]);
}
