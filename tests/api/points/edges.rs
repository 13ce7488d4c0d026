//! Amounts at the edges: nothing, one, the most that can be counted, and sums beyond it.

use goldbook::proto;
use goldbook::proto::Clawback;
use goldbook::proto::adjust_points_request::Change;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::calls::{adjust_points, free, hold_points, redeem_points, reverse_entry, start};
use super::model::{Rules, Vest};
use super::pockets::Pockets;
use super::program_of;
use crate::book_rules::check_rules;
use crate::harness::{assert_refused, grant_reward, reason, sorted_bad_fields, usd};

/// The most that one entry moves.
const MOST: i64 = 1_000_000_000_000;

#[tokio::test]
async fn nothing_and_less_and_too_much_for_one_entry_are_refused_everywhere() {
    let service = start(&free()).await;
    let granted = service.give(10, "a").await;
    let hold = service.hold(5, "h").await.unwrap().hold.unwrap().hold_id;
    for points in [0, -1, i64::MIN, MOST + 1, i64::MAX] {
        let grant = grant_reward("anna", points, "k");
        assert_eq!(sorted_bad_fields(service.rewards().grant_reward(grant).await), ["points"]);
        let rewards = || service.rewards();
        assert_eq!(sorted_bad_fields(rewards().redeem_points(redeem_points("anna", points, "k")).await), ["points"]);
        assert_eq!(sorted_bad_fields(rewards().hold_points(hold_points(points, None, "k")).await), ["points"]);
        let up = adjust_points(Change::PointsUp(points), "k");
        assert_eq!(sorted_bad_fields(rewards().adjust_points(up).await), ["points_up"]);
        let down = adjust_points(Change::PointsDown(points), "k");
        assert_eq!(sorted_bad_fields(rewards().adjust_points(down).await), ["points_down"]);
    }
    for points in [-1, i64::MIN, MOST + 1, i64::MAX] {
        let reversal = reverse_entry(&granted, points, Clawback::Unspecified, "k");
        assert_eq!(sorted_bad_fields(service.rewards().reverse_entry(reversal).await), ["points"]);
        assert_eq!(sorted_bad_fields(service.capture(&hold, points, "k").await), ["points"]);
    }
    assert_eq!(service.pockets().await, Pockets { available: 5, held: 5, ..Pockets::NONE });
}

#[tokio::test]
async fn one_point_goes_every_way() {
    let service = start(&free()).await;
    let granted = service.give(1, "a").await;
    let spent = service.spend(1, "spend").await;
    assert_eq!(service.reverse(&spent, "back").await.unwrap().points_returned, 1);
    let hold = service.hold(1, "hold").await.unwrap().hold.unwrap().hold_id;
    assert_eq!(service.release(&hold, "release").await.unwrap().points_released, 1);
    let hold = service.hold(1, "hold-2").await.unwrap().hold.unwrap().hold_id;
    assert_eq!(service.capture(&hold, 1, "capture").await.unwrap().points_released, 0);
    assert_eq!(service.reverse(&granted, "undo").await.unwrap().points_owed, 1);
    assert_eq!(service.adjust(Change::PointsUp(1), "up").await.unwrap().points_repaid, 1);
    assert_eq!(service.pockets().await, Pockets { redeemed: 1, cancelled: 1, ..Pockets::NONE });
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn the_most_that_one_entry_moves_goes_every_way() {
    let service = start(&free()).await;
    let granted = service.give(MOST, "a").await;
    let spent = service.spend(MOST, "spend").await;
    assert_eq!(service.pockets().await, Pockets { redeemed: MOST, ..Pockets::NONE });
    assert_eq!(service.reverse_part(&spent, MOST, Clawback::Unspecified, "back").await.unwrap().points_returned, MOST);
    let hold = service.hold(MOST, "hold").await.unwrap().hold.unwrap().hold_id;
    let captured = service.capture(&hold, 1, "capture").await.unwrap();
    assert_eq!((captured.points_released, captured.points_expired), (MOST - 1, 0));
    let down = service.adjust(Change::PointsDown(MOST - 1), "down").await.unwrap();
    assert_eq!(down.points, MOST - 1);
    assert_eq!(service.reverse(&down.entry_id, "up").await.unwrap().points_returned, MOST - 1);
    let undone = service.reverse_part(&granted, MOST - 1, Clawback::AllowDebt, "undo").await.unwrap();
    assert_eq!((undone.points_reversed, undone.points_owed), (MOST - 1, 0));
    assert_eq!(service.pockets().await, Pockets { redeemed: 1, cancelled: MOST - 1, ..Pockets::NONE });
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn points_beyond_what_can_be_counted_are_refused_by_every_call_that_gives() {
    let service = start(&free()).await;
    service.fill_up("anna", i64::MAX - 5).await;
    for points in [6, MOST] {
        assert_refused(service.grant("anna", points, "b").await, Code::FailedPrecondition, "AMOUNT_OVERFLOW");
        let up = service.adjust(Change::PointsUp(points), "b").await;
        assert_refused(up, Code::FailedPrecondition, "AMOUNT_OVERFLOW");
    }
    assert_refused(service.purchase("anna", "order-1", "6.00").await, Code::FailedPrecondition, "AMOUNT_OVERFLOW");
    service.give(5, "b").await;
    assert_eq!(service.pockets().await, Pockets { available: 5, redeemed: i64::MAX - 5, ..Pockets::NONE });
}

#[tokio::test]
async fn a_debt_beyond_what_can_be_counted_is_refused_and_writes_nothing() {
    let service = start(&free()).await;
    let granted = service.give(30, "a").await;
    service.spend(30, "spend").await;
    service.fill_up("anna", i64::MAX - 40).await;
    let entries = service.count_entries().await;
    let refused = service.reverse(&granted, "undo").await;
    assert_refused(refused, Code::FailedPrecondition, "AMOUNT_OVERFLOW");
    assert_eq!(service.count_entries().await, entries);
    // Up to the edge it may go.
    let undone = service.reverse_part(&granted, 10, Clawback::AllowDebt, "undo").await.unwrap();
    assert_eq!(undone.points_owed, 10);
    let expected = Pockets { redeemed: i64::MAX - 10, cancelled: 10, owed: 10, ..Pockets::NONE };
    assert_eq!(service.pockets().await, expected);
    assert_refused(service.grant("anna", 1, "b").await, Code::FailedPrecondition, "AMOUNT_OVERFLOW");
}

#[tokio::test]
async fn a_spend_beyond_what_there_is_tells_both_numbers() {
    let service = start(&free()).await;
    service.give(7, "a").await;
    for points in [8, MOST] {
        for status in [service.redeem(points, "k").await.unwrap_err(), service.hold(points, "k").await.unwrap_err()] {
            assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "INSUFFICIENT_POINTS"));
            let told = status.get_details_error_info().unwrap().metadata;
            assert_eq!(told["requested"], points.to_string());
            assert_eq!(told["available"], "7");
        }
    }
    let down = service.adjust(Change::PointsDown(MOST), "k").await;
    assert_refused(down, Code::FailedPrecondition, "INSUFFICIENT_POINTS");
    let hold = service.hold(7, "hold").await.unwrap().hold.unwrap().hold_id;
    let status = service.capture(&hold, MOST, "k").await.unwrap_err();
    assert_eq!(reason(&status), "INSUFFICIENT_POINTS");
    assert_eq!(status.get_details_error_info().unwrap().metadata["available"], "7");
}

#[tokio::test]
async fn caps_of_the_most_cut_nothing_and_caps_of_one_leave_one() {
    let day = proto::CalendarPeriod::Day;
    let service = start(&Rules { per_transaction: Some(MOST), per_period: vec![(day, MOST)], ..free() }).await;
    service.give(MOST - 1, "a").await;
    // The period has room for one point more, and so has the balance.
    let cut = service.grant("anna", MOST, "b").await.unwrap().reward.unwrap();
    assert_eq!((cut.content, cut.points_uncapped), (Some(proto::reward::Content::Points(1)), MOST));
    assert_refused(service.grant("anna", 1, "c").await, Code::FailedPrecondition, "EARNING_CAP_EXCEEDED");
    let service = start(&Rules { per_transaction: Some(1), per_period: vec![(day, 1)], ..free() }).await;
    assert_refused(service.grant("anna", 2, "a").await, Code::FailedPrecondition, "EARNING_CAP_EXCEEDED");
    service.give(1, "a").await;
    assert_refused(service.grant("anna", 1, "b").await, Code::FailedPrecondition, "EARNING_CAP_EXCEEDED");
}

#[tokio::test]
async fn refunds_of_the_largest_purchase_sum_to_the_whole() {
    let service = start(&free()).await;
    service.apply(proto::Program { points_per_unit: "100".to_owned(), ..program_of(&free()) }).await.unwrap();
    let most = "10000000000.00";
    assert_eq!(service.purchase("anna", "order-1", most).await.unwrap().points_earned, MOST);
    let first = service.refund("order-1", "0.01", "refund-1").await.unwrap();
    assert_eq!(first.points_taken_back, 1);
    let excessive = service.refund("order-1", most, "refund-2").await;
    assert_refused(excessive, Code::FailedPrecondition, "REFUND_EXCEEDS_PURCHASE");
    let rest = service.refund("order-1", "9999999999.99", "refund-2").await.unwrap();
    assert_eq!(rest.points_taken_back, MOST - 1);
    assert_eq!(service.pockets().await, Pockets { cancelled: MOST, ..Pockets::NONE });
    assert_eq!(service.tier("anna").await.qualifying_spend, Some(usd("0.00")));
}

#[tokio::test]
async fn the_most_that_can_be_counted_vests_and_expires() {
    let service = start(&free()).await;
    let lot = service
        .grant_on(
            MOST,
            Vest::Event("P1D"),
            super::model::Expire::After("PT1H", proto::CalendarPeriod::Unspecified),
            "a",
        )
        .await;
    assert_eq!(service.pockets().await, Pockets { pending: MOST, ..Pockets::NONE });
    service.vest(&lot).await.unwrap();
    service.set_clock("2026-01-15T13:00:00Z");
    assert_eq!(service.pockets().await, Pockets { expired: MOST, ..Pockets::NONE });
    assert_eq!(service.reverse(&lot, "undo").await.unwrap().points_reversed, MOST);
    assert_eq!(service.pockets().await, Pockets { cancelled: MOST, ..Pockets::NONE });
}
