//! Points that were held or spent when their grant was undone, and that come back expired: whichever call came first, the
//! customer has what they would have.

use goldbook::proto::Clawback;
use goldbook::proto::adjust_points_request::Change;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::calls::{free, start};
use super::model::{Expire, Rules, Vest};
use super::pockets::Pockets;
use crate::book_rules::check_rules;
use crate::harness::Service;
use crate::random::assert_always;

/// Points of this kind expire on 1 February.
const EXPIRES: &str = "2026-02-01T00:00:00Z";
const AFTER: &str = "2026-02-10T12:00:00Z";

async fn begin(clawback: Clawback) -> Service {
    start(&Rules { clawback, ..free() }).await
}

impl Service {
    async fn give_expiring(&self, points: i64, key: &str) -> String {
        self.grant_on(points, Vest::Now, Expire::At(EXPIRES.parse().unwrap()), key).await
    }

    async fn give_lasting(&self, points: i64, key: &str) -> String {
        self.grant_on(points, Vest::Now, Expire::Never, key).await
    }
}

#[tokio::test]
async fn a_debt_for_held_points_is_forgiven_when_their_hold_ends_after_their_expiry() {
    let service = begin(Clawback::AllowDebt).await;
    let lot = service.give_expiring(100, "a").await;
    service.hold_until(100, "2026-02-05T00:00:00Z", "hold").await;
    assert_eq!(service.reverse(&lot, "undo").await.unwrap().points_owed, 100);
    service.set_clock("2026-02-04T23:59:59Z");
    assert_eq!(service.pockets().await, Pockets { held: 100, cancelled: 100, owed: 100, ..Pockets::NONE });
    service.set_clock("2026-02-05T00:00:00Z");
    let settled = Pockets { cancelled: 100, ..Pockets::NONE };
    assert_eq!(service.pockets().await, settled);
    // Written, it is the same, and there is nothing left to undo.
    service.give_lasting(1, "b").await;
    assert_eq!(service.pockets().await, Pockets { available: 1, ..settled });
    assert!(service.reverse(&lot, "again").await.is_err());
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn a_debt_for_spent_points_is_forgiven_when_their_redemption_is_reversed_late() {
    let service = begin(Clawback::AllowDebt).await;
    let lot = service.give_expiring(100, "a").await;
    let spent = service.spend(100, "spend").await;
    service.reverse(&lot, "undo").await.unwrap();
    service.set_clock(AFTER);
    // In two parts, of which the first settles its part.
    service.reverse_part(&spent, 40, Clawback::Unspecified, "part").await.unwrap();
    assert_eq!(service.pockets().await, Pockets { redeemed: 60, cancelled: 100, owed: 60, ..Pockets::NONE });
    let rest = service.reverse(&spent, "rest").await.unwrap();
    assert_eq!((rest.points_reversed, rest.points_returned, rest.points_expired), (60, 0, 60));
    assert_eq!(service.pockets().await, Pockets { cancelled: 100, ..Pockets::NONE });
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn a_debt_is_forgiven_when_an_adjustment_is_reversed_late() {
    let service = begin(Clawback::AllowDebt).await;
    let lot = service.give_expiring(100, "a").await;
    let adjusted = service.adjust(Change::PointsDown(100), "down").await.unwrap().entry_id;
    service.reverse(&lot, "undo").await.unwrap();
    assert_eq!(service.balance("anna").await.owed, 100);
    service.set_clock(AFTER);
    service.reverse(&adjusted, "late").await.unwrap();
    assert_eq!(service.pockets().await, Pockets { cancelled: 100, ..Pockets::NONE });
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn other_lots_get_back_what_was_taken_from_them() {
    let service = begin(Clawback::WithinBalance).await;
    let lot = service.give_expiring(100, "a").await;
    let hold = service.hold_until(100, "2026-03-01T00:00:00Z", "hold").await;
    service.give_lasting(30, "b").await;
    service.give_lasting(50, "c").await;
    assert_eq!(service.reverse(&lot, "undo").await.unwrap().points_reversed, 80);
    assert_eq!(service.pockets().await, Pockets { held: 100, cancelled: 80, ..Pockets::NONE });
    service.set_clock(AFTER);
    let captured = service.capture(&hold, 40, "capture").await.unwrap();
    assert_eq!((captured.points_released, captured.points_expired), (0, 60));
    // Those taken last return first.
    let kept = Pockets { available: 60, redeemed: 40, cancelled: 80, ..Pockets::NONE };
    assert_eq!(service.pockets().await, kept);
    let lots = service.lots().await;
    assert_eq!(lots.iter().map(|lot| (lot.available, lot.cancelled)).collect::<Vec<_>>(), [(0, 60), (10, 20), (50, 0)]);
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn lots_that_paid_the_debt_get_back_what_they_paid() {
    let service = begin(Clawback::AllowDebt).await;
    let lot = service.give_expiring(100, "a").await;
    let hold = service.hold_until(100, "2026-03-01T00:00:00Z", "hold").await;
    service.reverse(&lot, "undo").await.unwrap();
    service.give_lasting(30, "b").await;
    service.give_lasting(50, "c").await;
    assert_eq!(service.pockets().await, Pockets { held: 100, cancelled: 100, owed: 20, ..Pockets::NONE });
    service.set_clock(AFTER);
    service.capture(&hold, 40, "capture").await.unwrap();
    // Of 100 points owed 60 are forgiven: 20 that are still owed, and 40 that the newest lot paid.
    assert_eq!(service.pockets().await, Pockets { available: 40, redeemed: 40, cancelled: 100, ..Pockets::NONE });
    let lots = service.lots().await;
    assert_eq!(lots.iter().map(|lot| (lot.available, lot.repaid)).collect::<Vec<_>>(), [(0, 0), (0, 30), (40, 10)]);
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn points_that_return_to_a_lot_that_was_undone_itself_settle_it_too() {
    let service = begin(Clawback::AllowDebt).await;
    let first = service.give_expiring(100, "a").await;
    let hold = service.hold_until(100, "2026-03-01T00:00:00Z", "hold").await;
    // Taken from the second lot, which has to be made up for when it is undone.
    let second = service.give_expiring(100, "b").await;
    service.reverse(&first, "undo-first").await.unwrap();
    service.reverse(&second, "undo-second").await.unwrap();
    assert_eq!(service.pockets().await, Pockets { held: 100, cancelled: 200, owed: 100, ..Pockets::NONE });
    service.set_clock(AFTER);
    service.release(&hold, "release").await.unwrap();
    assert_eq!(service.pockets().await, Pockets { cancelled: 200, ..Pockets::NONE });
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn points_that_come_back_before_they_expire_settle_nothing() {
    let service = begin(Clawback::WithinBalance).await;
    let lot = service.give_expiring(100, "a").await;
    let hold = service.hold_until(100, "2026-03-01T00:00:00Z", "hold").await;
    service.give_lasting(100, "b").await;
    service.reverse(&lot, "undo").await.unwrap();
    service.release(&hold, "release").await.unwrap();
    assert_eq!(service.pockets().await, Pockets { available: 100, cancelled: 100, ..Pockets::NONE });
    assert_eq!(service.lots().await.iter().map(|lot| lot.available).collect::<Vec<_>>(), [100, 0]);
}

/// How the points of a purchase leave, until they come back.
#[derive(Clone, Copy, Debug)]
enum Away {
    Held,
    Spent,
    Adjusted,
}

/// What a customer has, and owes. Whether points lie among the expired ones or the cancelled ones makes no difference.
fn means(pockets: Pockets) -> Pockets {
    Pockets { expired: 0, cancelled: 0, ..pockets }
}

/// A customer buys, the points leave and come back expired; the purchase is refunded before or after that.
async fn refunded(
    away: Away,
    clawback: Clawback,
    numbers: &[u16; 4],
    is_first: bool,
) -> Result<Pockets, TestCaseError> {
    let expire = Expire::At(EXPIRES.parse().unwrap());
    let service = start(&Rules { clawback, expire, ..free() }).await;
    let [earned, others, later, share] = numbers.map(i64::from);
    service.purchase("anna", "order", &format!("{earned}.00")).await.unwrap();
    let entry_id = match away {
        Away::Held => service.hold_until(earned, "2026-03-01T00:00:00Z", "away").await,
        Away::Spent => service.spend(earned, "away").await,
        Away::Adjusted => service.adjust(Change::PointsDown(earned), "away").await.unwrap().entry_id,
    };
    service.give_lasting(others, "others").await;
    let refund = async || service.refund("order", &format!("{}.00", (earned * share / 100).max(1)), "refund").await;
    if is_first {
        refund().await.unwrap();
    }
    service.give_lasting(later, "later").await;
    service.set_clock(AFTER);
    match away {
        Away::Held => service.release(&entry_id, "back").await.map(|_| ()),
        Away::Spent | Away::Adjusted => service.reverse(&entry_id, "back").await.map(|_| ()),
    }
    .unwrap();
    if !is_first {
        refund().await.unwrap();
    }
    check_rules(&service.database).await?;
    Ok(means(service.pockets().await))
}

#[test]
fn random_orders_of_a_refund_and_of_expired_points_that_come_back_come_to_the_same() {
    let away = prop_oneof![Just(Away::Held), Just(Away::Spent), Just(Away::Adjusted)];
    let clawback = proto_clawbacks();
    let values = (away, clawback, [1..300_u16, 1..300, 1..300, 1..101]);
    assert_always(6, 30, &values, async |(away, clawback, numbers)| {
        let first = refunded(away, clawback, &numbers, true).await?;
        prop_assert_eq!(first, refunded(away, clawback, &numbers, false).await?);
        Ok(())
    });
}

pub(super) fn proto_clawbacks() -> impl Strategy<Value = Clawback> {
    prop_oneof![Just(Clawback::UnspentOnly), Just(Clawback::WithinBalance), Just(Clawback::AllowDebt)]
}
