//! Refunds in parts: all together they take what the refunded share earned.

use goldbook::proto;
use jiff::SignedDuration;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::calls::{free, hold_points, redeem_points, refund, start};
use super::model::{Expire, Rules, Vest};
use super::pockets::Pockets;
use super::program_of;
use super::settling::proto_clawbacks;
use crate::book_rules::check_rules;
use crate::harness::{Service, grant_reward, purchase};
use crate::random::assert_always;

#[tokio::test]
async fn a_later_refund_makes_up_for_what_an_earlier_one_found_too_little_for() {
    let service = start(&Rules { clawback: proto::Clawback::WithinBalance, ..free() }).await;
    service.purchase("anna", "order", "100.00").await.unwrap();
    service.spend(100, "spent").await;
    assert_eq!(service.refund("order", "50.00", "refund-1").await.unwrap().points_taken_back, 0);
    service.give(100, "more").await;
    assert_eq!(service.refund("order", "50.00", "refund-2").await.unwrap().points_taken_back, 100);
    assert_eq!(service.pockets().await, Pockets { redeemed: 100, cancelled: 100, ..Pockets::NONE });
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn a_reversal_by_hand_is_no_part_of_what_refunds_take() {
    let service = start(&free()).await;
    service.purchase("anna", "order", "100.00").await.unwrap();
    let earned = service.lots().await[0].lot_id.clone();
    service.reverse_part(&earned, 30, proto::Clawback::Unspecified, "by-hand").await.unwrap();
    assert_eq!(service.refund("order", "50.00", "refund-1").await.unwrap().points_taken_back, 50);
    // No more than is left of the grant.
    assert_eq!(service.refund("order", "50.00", "refund-2").await.unwrap().points_taken_back, 20);
    assert_eq!(service.pockets().await, Pockets { cancelled: 100, ..Pockets::NONE });
}

/// What two customers do alike before their refunds.
#[derive(Clone, Debug)]
enum Before {
    Buy(u16),
    Give(u16),
    Spend(u8),
    Hold(u8),
    Hours(u16),
}

fn before() -> impl Strategy<Value = Before> {
    prop_oneof![
        4 => (1..500_u16).prop_map(Before::Buy),
        2 => (1..300_u16).prop_map(Before::Give),
        2 => any::<u8>().prop_map(Before::Spend),
        2 => Just(Before::Spend(u8::MAX)),
        1 => any::<u8>().prop_map(Before::Hold),
        1 => (1..400_u16).prop_map(Before::Hours),
    ]
}

#[derive(Clone, Debug)]
struct Case {
    expire: Expire,
    vest: Vest,
    clawback: proto::Clawback,
    before: Vec<Before>,
    /// How much of each purchase is refunded, of 255.
    shares: Vec<u8>,
    /// Parts of the refunds: of which purchase, how much of what is left, of 256, and which points come before it.
    parts: Vec<(u8, u8, u16)>,
}

fn case() -> impl Strategy<Value = Case> {
    let expire = prop_oneof![
        Just(Expire::Never),
        Just(Expire::After("P20D", proto::CalendarPeriod::Unspecified)),
        Just(Expire::Sliding("P20D"))
    ];
    let vest = prop_oneof![Just(Vest::Now), Just(Vest::After("P5D"))];
    let before = (prop::collection::vec(before(), 3..14), prop::collection::vec(any::<u8>(), 14));
    let points = prop_oneof![Just(0), 0..600_u16];
    let parts = prop::collection::vec((any::<u8>(), any::<u8>(), points), 1..9);
    // Most often the one that may find too little: then it matters what came between.
    let clawback = prop_oneof![2 => Just(proto::Clawback::WithinBalance), 1 => proto_clawbacks()];
    (expire, vest, clawback, before, parts).prop_map(|(expire, vest, clawback, (mut before, shares), parts)| {
        before.push(Before::Spend(u8::MAX));
        Case { expire, vest, clawback, before, shares, parts }
    })
}

const CUSTOMERS: [&str; 2] = ["anna", "ben"];

/// Lets a customer do a step; tells the cents of a purchase, which is the one of this number.
async fn step(service: &Service, customer: &str, place: usize, step: &Before, order: usize) -> Option<i64> {
    let key = format!("before-{place}");
    let available = service.balance(customer).await.available;
    let share = |part: u8| (available * i64::from(part) / 255).max(1);
    match step {
        Before::Buy(amount) => {
            let call = purchase(customer, &format!("order-{order}"), &format!("{amount}.37"), service.clock.now());
            service.activities().record_activity(call).await.unwrap();
            return Some(i64::from(*amount) * 100 + 37);
        }
        Before::Give(points) => {
            service.rewards().grant_reward(grant_reward(customer, i64::from(*points), &key)).await.unwrap();
        }
        // If there is nothing, it is refused to both.
        Before::Spend(part) => {
            let _ = service.rewards().redeem_points(redeem_points(customer, share(*part), &key)).await;
        }
        Before::Hold(part) => {
            let call = hold_points(share(*part), None, &key);
            let call = proto::HoldPointsRequest { customer_id: customer.to_owned(), ..call };
            let _ = service.rewards().hold_points(call).await;
        }
        Before::Hours(_) => {}
    }
    None
}

/// Points that come, or a part of a purchase, in cents, that is refunded.
enum Deed {
    Give(u16),
    Refund(usize, i64),
}

impl Case {
    /// Each purchase is refunded once, after all that comes. Or it is refunded in parts, between what comes; the last part
    /// of each comes after all else.
    fn deeds(&self, cents: &[i64], is_in_parts: bool) -> Vec<Deed> {
        let mut left: Vec<i64> =
            cents.iter().zip(&self.shares).map(|(cents, share)| cents * i64::from(*share) / 255).collect();
        let mut deeds = Vec::new();
        for (purchase, part, points) in &self.parts {
            deeds.push(Deed::Give(*points));
            let order = usize::from(*purchase) % left.len().max(1);
            let part = left.get(order).map_or(0, |left| left * i64::from(*part) / 256);
            if is_in_parts && part > 0 {
                left[order] -= part;
                deeds.push(Deed::Refund(order, part));
            }
        }
        let rest = left.into_iter().enumerate().filter(|(_, cents)| *cents > 0);
        let rest: Vec<Deed> = rest.map(|(order, cents)| Deed::Refund(order, cents)).collect();
        if is_in_parts {
            deeds.extend(rest.into_iter().rev())
        } else {
            deeds.extend(rest)
        }
        deeds
    }
}

async fn play(case: &Case) -> Result<(), TestCaseError> {
    let rules = Rules { expire: case.expire, vest: case.vest, clawback: case.clawback, ..free() };
    let service = Service::start().await;
    service.apply(program_of(&rules)).await.unwrap();
    for customer in CUSTOMERS {
        service.enrol(customer).await;
    }
    let mut cents = Vec::new();
    for (place, before) in case.before.iter().enumerate() {
        if let Before::Hours(hours) = before {
            service.clock.set(service.clock.now() + SignedDuration::from_hours(i64::from(*hours)));
        }
        // Both do each step at the same instant.
        let mut bought = None;
        for customer in CUSTOMERS {
            bought = step(&service, customer, place, before, cents.len()).await;
        }
        cents.extend(bought);
    }
    for (customer, is_in_parts) in CUSTOMERS.into_iter().zip([false, true]) {
        for (place, deed) in case.deeds(&cents, is_in_parts).into_iter().enumerate() {
            let key = format!("deed-{place}");
            match deed {
                Deed::Give(0) => {}
                Deed::Give(points) => {
                    let call = grant_reward(customer, i64::from(points), &key);
                    service.rewards().grant_reward(call).await.unwrap();
                }
                Deed::Refund(order, part) => {
                    let amount = format!("{}.{:02}", part / 100, part % 100);
                    let call = refund(&format!("order-{order}"), &amount, &service, &key);
                    let call = proto::RecordActivityRequest { customer_id: customer.to_owned(), ..call };
                    service.activities().record_activity(call).await.unwrap();
                }
            }
        }
    }
    // At once, and after all that time does to it.
    for days in [0, 5, 100] {
        service.clock.set(service.clock.now() + SignedDuration::from_hours(24 * days));
        let mut seen = Vec::new();
        for customer in CUSTOMERS {
            let pockets = Pockets::of(&service.balance(customer).await);
            seen.push((pockets, service.tier(customer).await.qualifying_spend));
        }
        prop_assert_eq!(&seen[0], &seen[1], "{} days later", days);
    }
    check_rules(&service.database).await
}

#[test]
fn random_refunds_in_any_parts_and_order_come_to_what_one_refund_comes_to() {
    assert_always(12, 60, &case(), async |case| play(&case).await);
}
