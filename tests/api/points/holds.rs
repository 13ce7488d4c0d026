//! Holds: set aside, spent whole or in part, given back, ended by time.

use goldbook::proto;
use goldbook::proto::hold_points_request::End;
use goldbook::proto::{CalendarPeriod, EntryKind};
use tonic::Code;

use super::calls::{free, hold_points, start};
use super::model::{Expire, Rules, Vest};
use super::pockets::Pockets;
use crate::harness::{Service, assert_refused, assert_tells, at};

fn until(instant: &str) -> Expire {
    Expire::At(instant.parse().unwrap())
}

/// Anna with 100 points until 1 February and 50 for ever.
async fn start_with_two_lots() -> (Service, [String; 2]) {
    let service = start(&free()).await;
    let long = service.grant_on(50, Vest::Now, Expire::Never, "long").await;
    let short = service.grant_on(100, Vest::Now, until("2026-02-01T00:00:00Z"), "short").await;
    (service, [short, long])
}

fn parts(parts: &[(&String, i64)]) -> Vec<proto::LotPart> {
    parts.iter().map(|(lot_id, points)| proto::LotPart { lot_id: (*lot_id).clone(), points: *points }).collect()
}

#[tokio::test]
async fn a_spend_takes_what_expires_first_and_then_the_oldest() {
    let (service, [short, long]) = start_with_two_lots().await;
    let younger = service.grant_on(30, Vest::Now, Expire::Never, "younger").await;
    let spent = service.redeem(160, "spend").await.unwrap().redemption.unwrap();
    assert_eq!(spent.lots, parts(&[(&short, 100), (&long, 50), (&younger, 10)]));
    assert_eq!(service.entries("anna").await.pop().unwrap().lots, spent.lots);
}

#[tokio::test]
async fn capture_points_spends_what_expires_first_and_returns_the_rest() {
    let (service, [short, long]) = start_with_two_lots().await;
    let hold = service.hold(120, "hold").await.unwrap().hold.unwrap();
    assert_eq!(hold.lots, parts(&[(&short, 100), (&long, 20)]));
    assert_eq!(hold.ends_at, Some(at("2026-01-22T12:00:00Z")));
    assert_eq!(service.pockets().await, Pockets { available: 30, held: 120, ..Pockets::NONE });
    let captured = service.capture(&hold.hold_id, 110, "capture").await.unwrap();
    assert_eq!(captured.redemption.unwrap().lots, parts(&[(&short, 100), (&long, 10)]));
    assert_eq!((captured.points_released, captured.points_expired), (10, 0));
    assert_eq!(service.pockets().await, Pockets { available: 40, redeemed: 110, ..Pockets::NONE });
    for again in
        [service.capture(&hold.hold_id, 0, "again").await.err(), service.release(&hold.hold_id, "r").await.err()]
    {
        let again = Err::<(), _>(again.unwrap());
        let facts = [("hold_id", hold.hold_id.as_str()), ("ending", "captured"), ("ended_at", "2026-01-15T12:00:00Z")];
        assert_tells(again.clone(), "the hold was captured at 2026-01-15T12:00:00Z", &facts);
        assert_refused(again, Code::FailedPrecondition, "HOLD_ENDED");
    }
}

#[tokio::test]
async fn points_that_expire_while_they_are_held_can_be_captured() {
    let (service, _) = start_with_two_lots().await;
    let hold = service.hold_until(120, "2026-03-01T00:00:00Z", "hold").await;
    service.set_clock("2026-02-10T00:00:00Z");
    assert_eq!(service.pockets().await, Pockets { available: 30, held: 120, ..Pockets::NONE });
    let captured = service.capture(&hold, 70, "capture").await.unwrap();
    assert_eq!((captured.points_released, captured.points_expired), (20, 30));
    assert_eq!(service.pockets().await, Pockets { available: 50, redeemed: 70, expired: 30, ..Pockets::NONE });
}

#[tokio::test]
async fn points_that_expired_while_they_were_held_expire_on_release() {
    let (service, [short, _]) = start_with_two_lots().await;
    let hold = service.hold_until(120, "2026-03-01T00:00:00Z", "hold").await;
    service.set_clock("2026-02-01T00:00:00Z");
    let released = service.release(&hold, "release").await.unwrap();
    assert_eq!((released.points_released, released.points_expired), (20, 100));
    assert_eq!(service.pockets().await, Pockets { available: 50, expired: 100, ..Pockets::NONE });
    let told = "the hold was released at 2026-02-01T00:00:00Z";
    assert_tells(service.release(&hold, "again").await, told, &[("ending", "released")]);
    let expired = service.entries("anna").await.pop().unwrap();
    assert_eq!((expired.kind(), expired.lots), (EntryKind::PointsExpired, parts(&[(&short, 100)])));
}

#[tokio::test]
async fn sliding_points_held_when_all_expired_expire_on_release_also_later() {
    let service = start(&Rules { expire: Expire::Sliding("P1M"), ..free() }).await;
    service.give(100, "a").await;
    let hold = service.hold_until(60, "2026-06-01T00:00:00Z", "hold").await;
    service.set_clock("2026-03-01T12:00:00Z");
    assert_eq!(service.pockets().await, Pockets { held: 60, expired: 40, ..Pockets::NONE });
    service.purchase("anna", "order-1", "10.00").await.unwrap();
    let released = service.release(&hold, "release").await.unwrap();
    assert_eq!((released.points_released, released.points_expired), (0, 60));
    assert_eq!(service.pockets().await, Pockets { available: 10, expired: 100, ..Pockets::NONE });
}

#[tokio::test]
async fn a_hold_ends_by_itself_at_its_very_end() {
    let (service, _) = start_with_two_lots().await;
    let by_program = service.hold(20, "by-program").await.unwrap().hold.unwrap().hold_id;
    let hold = service.hold_until(100, "2026-01-20T00:00:00Z", "hold").await;
    service.set_clock("2026-01-19T23:59:59.999999Z");
    assert_eq!(service.pockets().await, Pockets { available: 30, held: 120, ..Pockets::NONE });
    service.set_clock("2026-01-20T00:00:00Z");
    assert_eq!(service.pockets().await, Pockets { available: 130, held: 20, ..Pockets::NONE });
    let late = service.capture(&hold, 0, "late").await;
    let facts = [("ending", "expired"), ("ended_at", "2026-01-20T00:00:00Z")];
    assert_tells(late.clone(), "the hold ended by itself at 2026-01-20T00:00:00Z", &facts);
    assert_refused(late, Code::FailedPrecondition, "HOLD_ENDED");
    service.set_clock("2026-01-22T12:00:00Z");
    assert_refused(service.release(&by_program, "late").await, Code::FailedPrecondition, "HOLD_ENDED");
    let released = service.entries("anna").await.pop().unwrap();
    assert_eq!((released.kind(), released.effective_at), (EntryKind::PointsReleased, Some(at("2026-01-22T12:00:00Z"))));
    assert_eq!(released.actor(), proto::Actor::Time);
}

#[tokio::test]
async fn a_hold_and_its_lot_that_end_at_one_instant_end_with_expired_points() {
    let service = start(&free()).await;
    let end = "2026-02-01T00:00:00Z";
    service.grant_on(100, Vest::Now, until(end), "a").await;
    service.hold_until(60, end, "hold").await;
    service.set_clock(end);
    assert_eq!(service.pockets().await, Pockets { expired: 100, ..Pockets::NONE });
}

#[tokio::test]
async fn a_hold_must_end_ahead_and_be_ones_own() {
    let (service, _) = start_with_two_lots().await;
    for instant in ["2026-01-15T12:00:00Z", "2026-01-15T11:00:00Z"] {
        let request = hold_points(1, Some(End::EndsAt(at(instant))), "k");
        let refused = service.rewards().hold_points(request).await;
        assert_refused(refused, Code::OutOfRange, "INSTANT_NOT_AHEAD");
    }
    let request = hold_points(1, Some(End::EndsAfter("PT30M".to_owned())), "k");
    let hold = service.rewards().hold_points(request).await.unwrap().into_inner().hold.unwrap();
    assert_eq!(hold.ends_at, Some(at("2026-01-15T12:30:00Z")));
    service.enrol("ben").await;
    let granted = service.grant("ben", 5, "a").await.unwrap().reward.unwrap().reward_id;
    let own = service.entries("anna").await[0].entry_id.clone();
    for id in [&granted, &own] {
        assert_refused(service.capture(id, 0, "c").await, Code::NotFound, "HOLD_NOT_FOUND");
        assert_refused(service.release(id, "r").await, Code::NotFound, "HOLD_NOT_FOUND");
    }
}

#[tokio::test]
async fn redemptions_and_holds_keep_to_the_limits_of_the_program_and_captures_do_not() {
    let service = start(&Rules { limits: Some((100, 50, 200)), ..free() }).await;
    service.give(1_000, "a").await;
    for points in [50, 99, 101, 125, 250, 1_000_000_000_000] {
        let refused = service.redeem(points, "k").await;
        assert_refused(refused, Code::FailedPrecondition, "REDEMPTION_OUTSIDE_LIMITS");
        assert_refused(service.hold(points, "k").await, Code::FailedPrecondition, "REDEMPTION_OUTSIDE_LIMITS");
    }
    for points in [100, 150, 200] {
        service.spend(points, &format!("spend-{points}")).await;
    }
    let hold = service.hold(200, "hold").await.unwrap().hold.unwrap().hold_id;
    service.capture(&hold, 1, "capture").await.unwrap();
    assert_eq!(service.pockets().await, Pockets { available: 549, redeemed: 451, ..Pockets::NONE });
}

#[tokio::test]
async fn points_that_return_pay_what_is_owed_first() {
    let service = start(&free()).await;
    let granted = service.grant_on(100, Vest::Now, Expire::After("P1Y", CalendarPeriod::Year), "a").await;
    let hold = service.hold(70, "hold").await.unwrap().hold.unwrap().hold_id;
    service.spend(30, "spend").await;
    assert_eq!(service.reverse(&granted, "undo").await.unwrap().points_owed, 100);
    let released = service.release(&hold, "release").await.unwrap();
    assert_eq!((released.points_released, released.points_expired), (70, 0));
    assert_eq!(service.pockets().await, Pockets { redeemed: 30, cancelled: 100, owed: 30, ..Pockets::NONE });
    assert_eq!(service.lots().await[0].repaid, 70);
}
