//! What undoes what: grants, spends and adjustments, whole and in part, with and without a debt; and refunds.

use goldbook::proto;
use goldbook::proto::adjust_points_request::Change;
use goldbook::proto::{CalendarPeriod, Clawback, EntryKind, EntryReason};
use tonic::Code;
use tonic_types::StatusExt as _;

use super::calls::{free, start};
use super::model::{Expire, Rules, Vest};
use super::pockets::Pockets;
use crate::book_rules::check_rules;
use crate::harness::{SHOP, Service, assert_refused, assert_tells, reason, usd};

/// What a reversal says: undone, returned, returned as expired, owed.
const fn told(response: &proto::ReverseEntryResponse) -> [i64; 4] {
    [response.points_reversed, response.points_returned, response.points_expired, response.points_owed]
}

/// Anna with a grant of 100 of which 70 are spent, and 50 of another.
async fn start_partly_spent(clawback: Clawback) -> (Service, String) {
    let service = start(&Rules { clawback, ..free() }).await;
    let granted = service.give(100, "a").await;
    service.spend(70, "spend").await;
    service.give(50, "b").await;
    (service, granted)
}

#[tokio::test]
async fn a_grant_that_is_partly_spent_is_taken_back_as_the_program_or_the_request_says() {
    for (clawback, answer, pockets) in [
        (Clawback::UnspentOnly, [30, 0, 0, 0], Pockets { available: 50, redeemed: 70, cancelled: 30, ..Pockets::NONE }),
        (Clawback::WithinBalance, [80, 0, 0, 0], Pockets { redeemed: 70, cancelled: 80, ..Pockets::NONE }),
        (Clawback::AllowDebt, [100, 0, 0, 20], Pockets { redeemed: 70, cancelled: 100, owed: 20, ..Pockets::NONE }),
    ] {
        let (service, granted) = start_partly_spent(clawback).await;
        assert_eq!(told(&service.reverse(&granted, "undo").await.unwrap()), answer);
        assert_eq!(service.pockets().await, pockets);
        check_rules(&service.database).await.unwrap();
        let other = if clawback == Clawback::AllowDebt { Clawback::UnspentOnly } else { Clawback::AllowDebt };
        let (service, granted) = start_partly_spent(other).await;
        let response = service.reverse_part(&granted, 0, clawback, "undo").await.unwrap();
        assert_eq!(told(&response), answer);
        assert_eq!(service.pockets().await, pockets);
    }
}

#[tokio::test]
async fn a_grant_whose_points_are_all_spent_has_nothing_to_take_without_a_debt() {
    let service = start(&free()).await;
    let granted = service.give(100, "a").await;
    service.spend(100, "spend").await;
    for (clawback, why) in [(Clawback::UnspentOnly, "UNSPENT_ONLY"), (Clawback::WithinBalance, "no others available")] {
        let refused = service.reverse_part(&granted, 0, clawback, "undo").await;
        assert_tells(refused.clone(), why, &[]);
        assert_refused(refused, Code::FailedPrecondition, "NOTHING_TO_REVERSE");
    }
    // The key is still free.
    assert_eq!(told(&service.reverse(&granted, "undo").await.unwrap()), [100, 0, 0, 100]);
}

#[tokio::test]
async fn pending_points_are_taken_back_before_they_vest() {
    let service = start(&free()).await;
    let granted = service.grant_on(100, Vest::After("P1D"), Expire::Never, "a").await;
    let part = service.reverse_part(&granted, 40, Clawback::Unspecified, "undo").await.unwrap();
    assert_eq!(told(&part), [40, 0, 0, 0]);
    service.set_clock("2026-01-16T12:00:00Z");
    assert_eq!(service.pockets().await, Pockets { available: 60, cancelled: 40, ..Pockets::NONE });
}

#[tokio::test]
async fn reversals_in_parts_never_exceed_the_original_and_cannot_be_reversed() {
    let service = start(&free()).await;
    let granted = service.give(100, "a").await;
    let first = service.reverse_part(&granted, 60, Clawback::Unspecified, "undo-1").await.unwrap();
    let status = service.reverse_part(&granted, 41, Clawback::Unspecified, "undo-2").await.unwrap_err();
    assert_eq!(reason(&status), "REVERSAL_EXCEEDS_ORIGINAL");
    assert_eq!(status.get_details_error_info().unwrap().metadata["left"], "40");
    assert_eq!(told(&service.reverse(&granted, "undo-2").await.unwrap()), [40, 0, 0, 0]);
    let refused = service.reverse(&granted, "undo-3").await;
    assert_refused(refused, Code::FailedPrecondition, "ENTRY_ALREADY_REVERSED");
    for entry in &first.entry_ids {
        let refused = service.reverse(entry, "undo-3").await;
        assert_refused(refused, Code::FailedPrecondition, "ENTRY_NOT_REVERSIBLE");
    }
    let enrolled = service.entries("anna").await[0].entry_id.clone();
    assert_refused(service.reverse(&enrolled, "u").await, Code::FailedPrecondition, "ENTRY_NOT_REVERSIBLE");
    service.enrol("ben").await;
    let foreign = service.grant("ben", 5, "a").await.unwrap().reward.unwrap().reward_id;
    assert_refused(service.reverse(&foreign, "u").await, Code::NotFound, "ENTRY_NOT_FOUND");
    let missing = format!("{}.99", enrolled.split_once('.').unwrap().0);
    assert_refused(service.reverse(&missing, "u").await, Code::NotFound, "ENTRY_NOT_FOUND");
}

#[tokio::test]
async fn a_spend_goes_back_into_its_lots_those_taken_last_first() {
    let service = start(&free()).await;
    let february = Expire::At("2026-02-01T00:00:00Z".parse().unwrap());
    service.grant_on(50, Vest::Now, february, "short").await;
    service.grant_on(50, Vest::Now, Expire::Never, "long").await;
    let spent = service.spend(80, "spend").await;
    let back = service.reverse_part(&spent, 40, Clawback::Unspecified, "back-1").await.unwrap();
    assert_eq!(told(&back), [40, 40, 0, 0]);
    let counts = |lots: Vec<proto::Lot>| -> Vec<(i64, i64, i64)> {
        lots.iter().map(|lot| (lot.available, lot.redeemed, lot.expired)).collect()
    };
    assert_eq!(counts(service.lots().await), [(10, 40, 0), (50, 0, 0)]);
    // The short lot has expired meanwhile.
    service.set_clock("2026-02-01T00:00:00Z");
    assert_eq!(told(&service.reverse(&spent, "back-2").await.unwrap()), [40, 0, 40, 0]);
    assert_eq!(counts(service.lots().await), [(0, 0, 50), (50, 0, 0)]);
}

#[tokio::test]
async fn a_spend_of_expired_points_comes_back_anew_while_they_may_be_reinstated() {
    let expire = Expire::After("P10D", CalendarPeriod::Unspecified);
    let service = start(&Rules { expire, reinstate: Some(("P5D", "P1M")), ..free() }).await;
    service.give(50, "a").await;
    let spent = service.spend(50, "spend").await;
    // They would have expired on 26 January at midnight.
    service.set_clock("2026-01-31T04:59:59.999999Z");
    let back = service.reverse_part(&spent, 20, Clawback::Unspecified, "back-1").await.unwrap();
    assert_eq!(told(&back), [20, 20, 0, 0]);
    assert_eq!(service.lots().await[0].expires_at, Some(crate::harness::at("2026-03-01T05:00:00Z")));
    let service = start(&Rules { expire, reinstate: Some(("P5D", "P1M")), ..free() }).await;
    service.give(50, "a").await;
    let spent = service.spend(50, "spend").await;
    service.set_clock("2026-01-31T05:00:00Z");
    assert_eq!(told(&service.reverse(&spent, "back").await.unwrap()), [50, 0, 50, 0]);
}

#[tokio::test]
async fn adjustments_go_up_and_down_by_name_and_are_undone_like_grants_and_spends() {
    let service = start(&free()).await;
    let up = service.adjust(Change::PointsUp(100), "up").await.unwrap();
    assert_eq!((up.points, up.points_repaid), (100, 0));
    assert_eq!(up.lots, [proto::LotPart { lot_id: up.entry_id.clone(), points: 100 }]);
    let down = service.adjust(Change::PointsDown(30), "down").await.unwrap();
    assert_eq!(down.lots, [proto::LotPart { lot_id: up.entry_id.clone(), points: 30 }]);
    let entries = service.entries("anna").await;
    let kinds: Vec<_> = entries[2..].iter().map(|entry| (entry.kind(), entry.reason())).collect();
    assert_eq!(kinds, [(EntryKind::PointsAdjusted, EntryReason::Goodwill); 2]);
    assert_eq!(told(&service.reverse(&down.entry_id, "undo-down").await.unwrap()), [30, 30, 0, 0]);
    assert_eq!(told(&service.reverse(&up.entry_id, "undo-up").await.unwrap()), [100, 0, 0, 0]);
    assert_eq!(service.pockets().await, Pockets { cancelled: 100, ..Pockets::NONE });
    // An adjustment pays what is owed first, too.
    let granted = service.give(50, "a").await;
    service.spend(50, "spend").await;
    service.reverse(&granted, "undo").await.unwrap();
    assert_eq!(service.adjust(Change::PointsUp(70), "up-2").await.unwrap().points_repaid, 50);
    assert_eq!(service.pockets().await, Pockets { available: 20, redeemed: 50, cancelled: 150, ..Pockets::NONE });
}

#[tokio::test]
async fn refunds_in_parts_take_back_in_proportion_and_in_all_the_whole() {
    let service = start(&free()).await;
    assert_eq!(service.purchase("anna", "order-1", "10.00").await.unwrap().points_earned, 10);
    let mut taken = Vec::new();
    for (i, amount) in ["3.33", "3.33", "3.33", "0.01"].into_iter().enumerate() {
        let refunded = service.refund("order-1", amount, &format!("refund-{i}")).await.unwrap();
        taken.push(refunded.points_taken_back);
    }
    assert_eq!(taken, [3, 3, 3, 1]);
    assert_eq!(service.tier("anna").await.qualifying_spend, Some(usd("0.00")));
    let refused = service.refund("order-1", "0.01", "refund-9").await;
    assert_refused(refused, Code::FailedPrecondition, "REFUND_EXCEEDS_PURCHASE");
}

#[tokio::test]
async fn a_refund_before_its_purchase_is_refused_until_that_is_told() {
    let service = start(&free()).await;
    for _ in 0..2 {
        let early = service.refund("order-1", "10.00", "refund-1").await;
        assert_refused(early, Code::FailedPrecondition, "PURCHASE_UNKNOWN");
    }
    service.purchase("anna", "order-1", "10.00").await.unwrap();
    let refunded = service.refund("order-1", "10.00", "refund-1").await.unwrap();
    assert_eq!((refunded.points_taken_back, refunded.replayed), (10, false));
    // Neither a refund nor another's purchase is a purchase.
    let of_refund = service.refund("refund-1", "1.00", "refund-2").await;
    assert_refused(of_refund, Code::FailedPrecondition, "PURCHASE_UNKNOWN");
    service.purchase("ben", "order-2", "10.00").await.unwrap();
    let foreign = service.refund("order-2", "1.00", "refund-2").await;
    assert_refused(foreign, Code::FailedPrecondition, "PURCHASE_UNKNOWN");
}

#[tokio::test]
async fn every_point_can_be_followed_from_its_lot_and_back_to_it() {
    let service = start(&free()).await;
    let lot = service.grant_on(100, Vest::After("P1D"), Expire::After("P1M", CalendarPeriod::Unspecified), "a").await;
    service.grant_on(40, Vest::Now, Expire::Never, "b").await;
    service.set_clock("2026-01-17T12:00:00Z");
    let spent = service.spend(110, "spend").await;
    service.reverse_part(&spent, 30, Clawback::Unspecified, "back").await.unwrap();
    let hold = service.hold(15, "hold").await.unwrap().hold.unwrap().hold_id;
    service.release(&hold, "release").await.unwrap();
    service.set_clock("2026-04-01T12:00:00Z");
    service.give(1, "c").await;
    let request = |page_token| proto::ListLotUsesRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        lot_id: lot.clone(),
        page_size: 2,
        page_token,
    };
    let uses = crate::harness::read_pages(2, |token| async {
        let page = service.rewards().list_lot_uses(request(token)).await.unwrap().into_inner();
        (page.uses, page.next_page_token)
    });
    let uses = uses.await;
    let told: Vec<_> = uses.iter().map(|used| (used.kind(), used.r#move.unwrap().points)).collect();
    assert_eq!(
        told,
        [
            (EntryKind::PointsGranted, 100),
            (EntryKind::PointsVested, 100),
            (EntryKind::PointsRedeemed, 100),
            (EntryKind::EntryReversed, 20),
            (EntryKind::PointsHeld, 15),
            (EntryKind::PointsReleased, 15),
            (EntryKind::PointsExpired, 20),
        ]
    );
    // And the entries name the lots.
    for entry in service.entries("anna").await {
        let named = entry.lots.iter().find(|part| part.lot_id == lot).map(|part| part.points);
        let used = uses.iter().find(|used| used.entry_id == entry.entry_id && used.entry_id != lot);
        assert_eq!(named, used.map(|used| used.r#move.unwrap().points), "{entry:?}");
        let sum: i64 = entry.lots.iter().map(|part| part.points).sum();
        assert!(entry.lots.is_empty() || Some(sum) == entry.r#move.map(|moved| moved.points), "{entry:?}");
    }
}
