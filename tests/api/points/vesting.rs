//! When points become available, and how many may be earned at all.

use goldbook::proto;
use goldbook::proto::{CalendarPeriod, EntryKind};
use tonic::Code;

use super::calls::{free, start};
use super::model::{Expire, Rules, Vest};
use super::pockets::Pockets;
use super::write_expiry;
use crate::harness::{assert_refused, assert_tells, at, grant_reward};

fn of_reward(reward: &proto::Reward) -> (Option<proto::reward::Content>, i64) {
    (reward.content, reward.points_uncapped)
}

#[tokio::test]
async fn points_vest_at_the_very_instant_and_not_before() {
    let service = start(&free()).await;
    let instant = "2026-02-01T00:00:00Z";
    service.grant_on(100, Vest::At(instant.parse().unwrap()), Expire::Never, "a").await;
    service.grant_on(10, Vest::After("P1M"), Expire::Never, "b").await;
    assert_eq!(service.pockets().await, Pockets { pending: 110, ..Pockets::NONE });
    let next = service.balance("anna").await.next_vesting;
    assert_eq!(next, Some(proto::PointsDue { points: 100, due_at: Some(at(instant)), is_at_least: false }));
    service.set_clock("2026-01-31T23:59:59.999999Z");
    assert_refused(service.redeem(1, "early").await, Code::FailedPrecondition, "INSUFFICIENT_POINTS");
    service.set_clock(instant);
    service.redeem(100, "spend").await.unwrap();
    let next = service.balance("anna").await.next_vesting;
    assert_eq!(
        next,
        Some(proto::PointsDue { points: 10, due_at: Some(at("2026-02-15T12:00:00Z")), is_at_least: false })
    );
    // An instant that has passed is now.
    service.grant_on(5, Vest::At(instant.parse().unwrap()), Expire::Never, "c").await;
    assert_eq!(service.pockets().await, Pockets { pending: 10, available: 5, redeemed: 100, ..Pockets::NONE });
}

#[tokio::test]
async fn vest_reward_makes_points_available_once_and_says_when() {
    let service = start(&free()).await;
    let expire = Expire::After("P1M", CalendarPeriod::Unspecified);
    let lot = service.grant_on(100, Vest::Event("P10D"), expire, "a").await;
    let lots = service.lots().await;
    assert_eq!((lots[0].vest_by, lots[0].expires_at), (Some(at("2026-01-25T12:00:00Z")), None));
    service.set_clock("2026-01-20T12:00:00Z");
    let vested = service.vest(&lot).await.unwrap();
    assert_eq!((vested.vested_at, vested.already_vested), (Some(at("2026-01-20T12:00:00Z")), false));
    service.set_clock("2026-01-30T12:00:00Z");
    let again = service.vest(&lot).await.unwrap();
    assert_eq!(again, proto::VestRewardResponse { already_vested: true, ..vested });
    // The period to their expiry ran from then.
    let lots = service.lots().await;
    assert_eq!((lots[0].available, lots[0].expires_at), (100, Some(at("2026-02-21T05:00:00Z"))));
    assert_eq!(service.kinds("anna").await.iter().filter(|kind| **kind == EntryKind::PointsVested).count(), 1);
}

#[tokio::test]
async fn vest_reward_says_when_it_was_also_after_the_points_expired_and_came_back() {
    let service = start(&Rules { reinstate: Some(("P30D", "P1M")), ..free() }).await;
    let expire = Expire::After("PT24H", CalendarPeriod::Unspecified);
    let lot = service.grant_on(100, Vest::Event("P10D"), expire, "a").await;
    let vested = service.vest(&lot).await.unwrap();
    service.set_clock("2026-01-17T12:00:00Z");
    service.give(1, "b").await;
    let entries = service.entries("anna").await;
    let expired = entries.iter().find(|entry| entry.kind() == EntryKind::PointsExpired).unwrap().entry_id.clone();
    service.reverse(&expired, "back").await.unwrap();
    let again = service.vest(&lot).await.unwrap();
    assert_eq!(again, proto::VestRewardResponse { already_vested: true, ..vested });
}

#[tokio::test]
async fn vest_reward_before_the_deadline_counts_and_at_the_deadline_is_too_late() {
    let service = start(&free()).await;
    let early = service.grant_on(10, Vest::Event("P10D"), Expire::Never, "a").await;
    let late = service.grant_on(7, Vest::Event("P10D"), Expire::Never, "b").await;
    service.set_clock("2026-01-25T11:59:59.999999Z");
    service.vest(&early).await.unwrap();
    service.set_clock("2026-01-25T12:00:00Z");
    let refused = service.vest(&late).await;
    let deadline = "2026-01-25T12:00:00Z";
    assert_tells(refused.clone(), &format!("before its deadline, {deadline}"), &[("vest_by", deadline)]);
    assert_refused(refused, Code::FailedPrecondition, "REWARD_NOT_PENDING");
    assert_eq!(service.pockets().await, Pockets { available: 10, cancelled: 7, ..Pockets::NONE });
    let missed = service.entries("anna").await.pop().unwrap();
    assert_eq!((missed.kind(), missed.effective_at), (EntryKind::VestingMissed, Some(at("2026-01-25T12:00:00Z"))));
    assert_eq!(missed.lots, [proto::LotPart { lot_id: late, points: 7 }]);
}

#[tokio::test]
async fn vest_reward_refuses_what_waits_for_no_event_or_is_not_there() {
    let service = start(&free()).await;
    let timed = service.grant_on(10, Vest::After("P1D"), Expire::Never, "a").await;
    let plain = service.give(10, "b").await;
    let reversed = service.grant_on(10, Vest::Event("P10D"), Expire::Never, "c").await;
    service.reverse(&reversed, "undo").await.unwrap();
    let never = "were not granted for an event";
    for (reward, why) in [(&timed, never), (&plain, never), (&reversed, "the reward was reversed before")] {
        let refused = service.vest(reward).await;
        assert_tells(refused.clone(), why, &[("reward_id", reward)]);
        assert_refused(refused, Code::FailedPrecondition, "REWARD_NOT_PENDING");
    }
    // Also once the deadline has passed.
    service.set_clock("2026-03-01T12:00:00Z");
    assert_tells(service.vest(&reversed).await, "the reward was reversed before", &[]);
    service.enrol("ben").await;
    let foreign = service.grant("ben", 5, "a").await.unwrap().reward.unwrap().reward_id;
    let enrolled = service.entries("anna").await[0].entry_id.clone();
    for reward in [&foreign, &enrolled] {
        assert_refused(service.vest(reward).await, Code::NotFound, "REWARD_NOT_FOUND");
    }
}

#[tokio::test]
async fn points_that_would_expire_before_they_vest_are_refused() {
    let service = start(&Rules { vest: Vest::After("P30D"), ..free() }).await;
    let expires = |instant: &str| Some(write_expiry(Expire::At(instant.parse().unwrap())));
    // By the program's vesting, and by the grant's own.
    let vests = "2026-02-14T12:00:00Z";
    let request = proto::GrantRewardRequest { expiry: expires(vests), ..grant_reward("anna", 5, "a") };
    let refused = service.rewards().grant_reward(request.clone()).await;
    assert_refused(refused, Code::OutOfRange, "INSTANT_NOT_AHEAD");
    for (vest, ends) in [
        (Vest::Now, "2026-01-15T12:00:00Z"),
        (Vest::After("P1D"), "2026-01-16T12:00:00Z"),
        (Vest::At(vests.parse().unwrap()), vests),
        (Vest::Event("P1D"), "2026-01-15T12:00:00Z"),
    ] {
        let vesting = Some(super::write_vesting(vest));
        let request = proto::GrantRewardRequest { vesting, expiry: expires(ends), ..grant_reward("anna", 5, "a") };
        let refused = service.rewards().grant_reward(request).await;
        assert_refused(refused, Code::OutOfRange, "INSTANT_NOT_AHEAD");
    }
    let request = proto::GrantRewardRequest { expiry: expires("2026-02-14T12:00:00.000001Z"), ..request };
    service.rewards().grant_reward(request).await.unwrap();
    assert_eq!(service.pockets().await, Pockets { pending: 5, ..Pockets::NONE });
}

#[tokio::test]
async fn a_cap_of_a_period_cuts_what_is_earned_and_says_so() {
    let per_period = vec![(CalendarPeriod::Day, 100), (CalendarPeriod::Month, 150)];
    let service = start(&Rules { per_period, ..free() }).await;
    let earned = |recorded: proto::RecordActivityResponse| (recorded.points_earned, recorded.points_uncapped);
    assert_eq!(earned(service.purchase("anna", "order-1", "70.00").await.unwrap()), (70, 0));
    assert_eq!(earned(service.purchase("anna", "order-2", "70.00").await.unwrap()), (30, 70));
    // A purchase of which nothing is left is a purchase all the same; a grant is refused.
    let nothing = service.purchase("anna", "order-3", "70.00").await.unwrap();
    assert_eq!(earned(nothing.clone()), (0, 70));
    let again = crate::harness::purchase("anna", "order-3", "70.00", service.clock.now());
    let again = service.activities().record_activity(again).await.unwrap().into_inner();
    assert_eq!(again, proto::RecordActivityResponse { replayed: true, ..nothing });
    let refused = service.grant("anna", 1, "a").await;
    let ends_at = "2026-01-16T05:00:00Z";
    let facts = [("period", "day"), ("maximum", "100"), ("ends_at", ends_at), ("points", "1")];
    assert_tells(
        refused.clone(),
        &format!("cap of 100 points a day is reached, and leaves nothing before {ends_at}"),
        &facts,
    );
    assert_refused(refused, Code::FailedPrecondition, "EARNING_CAP_EXCEEDED");
    // The next day begins at midnight in New York.
    service.set_clock("2026-01-16T04:59:59.999999Z");
    assert_refused(service.grant("anna", 1, "a").await, Code::FailedPrecondition, "EARNING_CAP_EXCEEDED");
    service.set_clock("2026-01-16T05:00:00Z");
    let reward = service.grant("anna", 80, "a").await.unwrap().reward.unwrap();
    assert_eq!(of_reward(&reward), (Some(proto::reward::Content::Points(50)), 80));
    assert_tells(
        service.grant("anna", 1, "b").await,
        "cap of 150 points a month",
        &[("ends_at", "2026-02-01T05:00:00Z")],
    );
    service.set_clock("2026-02-01T05:00:00Z");
    let reward = service.grant("anna", 80, "b").await.unwrap().reward.unwrap();
    assert_eq!(of_reward(&reward), (Some(proto::reward::Content::Points(80)), 0));
    assert_eq!(service.available("anna").await, 230);
}

#[tokio::test]
async fn a_cap_of_one_transaction_refuses_it_whole() {
    let service = start(&Rules { per_transaction: Some(100), ..free() }).await;
    assert_refused(service.grant("anna", 101, "a").await, Code::FailedPrecondition, "EARNING_CAP_EXCEEDED");
    let entries = service.count_entries().await;
    let refused = service.purchase("anna", "order-1", "101.00").await;
    assert_refused(refused, Code::FailedPrecondition, "EARNING_CAP_EXCEEDED");
    assert_eq!(service.count_entries().await, entries);
    service.purchase("anna", "order-1", "100.99").await.unwrap();
    service.give(100, "a").await;
    // What is put right by hand is not earned.
    service.adjust(proto::adjust_points_request::Change::PointsUp(500), "up").await.unwrap();
    assert_eq!(service.available("anna").await, 700);
}
