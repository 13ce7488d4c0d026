//! Many at one account at once: exactly what fits succeeds, and nothing falls below zero.

use futures_util::future::join_all;
use goldbook::proto;

use super::calls::{free, start};
use super::model::Rules;
use super::pockets::Pockets;
use crate::book_rules::check_rules;
use crate::harness::{Service, reason};

/// Two services on one database, with anna.
async fn start_two() -> [Service; 2] {
    let first = start(&free()).await;
    let second = Service::start_on(first.database.clone(), first.clock.clone()).await;
    [first, second]
}

#[tokio::test]
async fn holds_and_redemptions_at_once_take_exactly_what_there_is() {
    let services = start_two().await;
    for (key, points) in [("a", 400), ("b", 300), ("c", 305)] {
        services[0].give(points, key).await;
    }
    let calls = (0..60).map(|i| {
        let service = &services[i % 2];
        let key = format!("call-{i}");
        async move {
            if i % 3 == 0 {
                service.hold(50, &key).await.map(|_| ())
            } else {
                service.redeem(50, &key).await.map(|_| ())
            }
        }
    });
    let answers = join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 20);
    assert!(
        answers.iter().filter_map(|answer| answer.as_ref().err()).all(|status| reason(status) == "INSUFFICIENT_POINTS")
    );
    let Pockets { pending, available, held, redeemed, expired, cancelled, owed } = services[0].pockets().await;
    assert_eq!((available, held + redeemed), (5, 1_000));
    assert_eq!((pending, expired, cancelled, owed), (0, 0, 0, 0));
    check_rules(&services[0].database).await.unwrap();
}

#[tokio::test]
async fn a_hold_that_many_end_at_once_ends_once() {
    let services = start_two().await;
    services[0].give(100, "a").await;
    let hold_id = services[0].hold(80, "hold").await.unwrap().hold.unwrap().hold_id;
    let calls = (0..24).map(|i| {
        let (service, hold_id, key) = (&services[i % 2], &hold_id, format!("end-{i}"));
        async move {
            if i % 2 == 0 {
                service.capture(hold_id, 30, &key).await.map(|_| ())
            } else {
                service.release(hold_id, &key).await.map(|_| ())
            }
        }
    });
    let answers = join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert!(answers.iter().filter_map(|answer| answer.as_ref().err()).all(|status| reason(status) == "HOLD_ENDED"));
    let pockets = services[1].pockets().await;
    assert!(
        pockets == Pockets { available: 70, redeemed: 30, ..Pockets::NONE }
            || pockets == Pockets { available: 100, ..Pockets::NONE },
        "{pockets:?}"
    );
}

#[tokio::test]
async fn reversals_of_one_entry_at_once_never_exceed_it() {
    let services = start_two().await;
    let granted = services[0].give(100, "a").await;
    let spent = services[0].spend(60, "spend").await;
    let calls = (0..40).map(|i| {
        let (service, key) = (&services[i % 2], format!("undo-{i}"));
        let entry = if i % 4 < 2 { &granted } else { &spent };
        async move { service.reverse_part(entry, 15, proto::Clawback::AllowDebt, &key).await }
    });
    let answers = join_all(calls).await;
    // 15 goes six times into 100 and four times into 60.
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 10);
    for status in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert!(["REVERSAL_EXCEEDS_ORIGINAL", "ENTRY_ALREADY_REVERSED"].contains(&reason(status).as_str()));
    }
    let Pockets { available, redeemed, cancelled, owed, .. } = services[0].pockets().await;
    assert_eq!((available, redeemed, cancelled - owed), (10, 0, 90));
    check_rules(&services[0].database).await.unwrap();
}

#[tokio::test]
async fn a_refund_that_races_redemptions_takes_the_points_or_leaves_a_debt() {
    for round in 0..6 {
        let services = start_two().await;
        services[0].purchase("anna", "order-1", "100.00").await.unwrap();
        let redeem = |i: usize| {
            let service = &services[i % 2];
            async move { service.redeem(30, &format!("spend-{i}")).await.is_ok() }
        };
        let refund = async { services[round % 2].refund("order-1", "100.00", "refund-1").await.unwrap() };
        let (spends, refunded) = futures_util::future::join(join_all((0..5).map(redeem)), refund).await;
        let spent = 30 * i64::try_from(spends.into_iter().filter(|is_spent| *is_spent).count()).unwrap();
        assert_eq!(refunded.points_taken_back + refunded.points_owed, 100);
        assert_eq!(refunded.points_owed, spent);
        assert_eq!(
            services[0].pockets().await,
            Pockets { redeemed: spent, cancelled: 100, owed: spent, ..Pockets::NONE }
        );
    }
}

#[tokio::test]
async fn two_services_that_apply_the_same_dues_at_once_write_each_once() {
    let rules = Rules { hold_for: "P1D", ..free() };
    let first = start(&rules).await;
    let second = Service::start_on(first.database.clone(), first.clock.clone()).await;
    for i in 0..40 {
        let key = format!("lot-{i}");
        first
            .grant_on(
                10,
                super::model::Vest::After("P1D"),
                super::model::Expire::After("P1M", proto::CalendarPeriod::Unspecified),
                &key,
            )
            .await;
    }
    first.set_clock("2026-05-01T12:00:00Z");
    let services = [first, second];
    let calls = (0..20).map(|i| {
        let service = &services[i % 2];
        async move { service.grant("anna", 1, &format!("later-{i}")).await.unwrap() }
    });
    join_all(calls).await;
    assert_eq!(services[0].pockets().await, Pockets { available: 20, expired: 400, ..Pockets::NONE });
    let kinds = services[0].kinds("anna").await;
    for kind in [proto::EntryKind::PointsVested, proto::EntryKind::PointsExpired] {
        assert_eq!(kinds.iter().filter(|other| **other == kind).count(), 40);
    }
    check_rules(&services[0].database).await.unwrap();
}
