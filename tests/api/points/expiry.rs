//! When points expire: by date, by period, all together; and how they come back.

use goldbook::proto;
use goldbook::proto::{CalendarPeriod, EntryKind};
use tonic::Code;

use super::calls::{free, redeem_points, reverse_entry, start};
use super::model::{Expire, Rules, Vest};
use super::pockets::Pockets;
use super::write_expiry;
use crate::book_rules::check_rules;
use crate::harness::{SHOP, Service, assert_refused, assert_tells, at, grant_reward};
use crate::rewards::batches::grant_all;

const DAY: CalendarPeriod = CalendarPeriod::Unspecified;

/// When points expire that are granted at an instant.
async fn expiry_of(expire: Expire, granted_at: &str) -> String {
    let service = start(&free()).await;
    service.set_clock(granted_at);
    service.grant_on(1, Vest::Now, expire, "a").await;
    super::read_instant(service.lots().await[0].expires_at.as_ref()).unwrap().to_string()
}

#[tokio::test]
async fn a_month_from_the_last_of_january_ends_with_february() {
    // The end of 28 or 29 February in New York.
    for (granted_at, ends) in [
        ("2026-01-31T17:00:00Z", "2026-03-01T05:00:00Z"),
        ("2028-01-31T17:00:00Z", "2028-03-01T05:00:00Z"),
        ("2028-01-29T17:00:00Z", "2028-03-01T05:00:00Z"),
        ("2028-01-28T17:00:00Z", "2028-02-29T05:00:00Z"),
        // Still the 31st in New York.
        ("2026-02-01T04:59:59Z", "2026-03-01T05:00:00Z"),
        ("2026-02-01T05:00:00Z", "2026-03-02T05:00:00Z"),
    ] {
        assert_eq!(expiry_of(Expire::After("P1M", DAY), granted_at).await, ends, "{granted_at}");
    }
    assert_eq!(expiry_of(Expire::After("P1Y", DAY), "2028-02-29T12:00:00Z").await, "2029-03-01T05:00:00Z");
}

#[tokio::test]
async fn an_expiry_is_rounded_to_the_end_of_a_calendar_period() {
    for (period, round_to, ends) in [
        ("P1M", CalendarPeriod::Month, "2026-03-01T05:00:00Z"),
        ("P1M", CalendarPeriod::Quarter, "2026-04-01T04:00:00Z"),
        ("P1Y", CalendarPeriod::Year, "2028-01-01T05:00:00Z"),
        ("P1D", CalendarPeriod::Week, "2026-01-19T05:00:00Z"),
        ("PT1H", CalendarPeriod::Day, "2026-01-16T05:00:00Z"),
        ("PT1H", DAY, "2026-01-15T13:00:00Z"),
        // Over the change of clocks, a day is a day of the calendar and 24 hours are 24 hours.
        ("P60D", DAY, "2026-03-17T04:00:00Z"),
        ("PT1440H", DAY, "2026-03-16T12:00:00Z"),
    ] {
        assert_eq!(expiry_of(Expire::After(period, round_to), "2026-01-15T12:00:00Z").await, ends, "{period}");
    }
}

#[tokio::test]
async fn points_can_be_spent_until_the_instant_of_their_expiry_and_not_at_it() {
    let service = start(&free()).await;
    let end = "2026-02-01T00:00:00Z";
    service.grant_on(100, Vest::Now, Expire::At(end.parse().unwrap()), "a").await;
    service.set_clock("2026-01-31T23:59:59.999999Z");
    service.spend(40, "early").await;
    service.set_clock(end);
    assert_eq!(service.pockets().await, Pockets { redeemed: 40, expired: 60, ..Pockets::NONE });
    assert_refused(service.redeem(1, "late").await, Code::FailedPrecondition, "INSUFFICIENT_POINTS");
    service.set_clock("2026-04-01T00:00:00Z");
    service.give(1, "b").await;
    let entries = service.entries("anna").await;
    let expired = entries.iter().find(|entry| entry.kind() == EntryKind::PointsExpired).unwrap();
    assert_eq!(expired.effective_at, Some(at(end)));
}

#[tokio::test]
async fn sliding_points_last_from_the_last_activity_and_a_late_report_revives_nothing() {
    let service = start(&Rules { expire: Expire::Sliding("P1M"), ..free() }).await;
    service.purchase("anna", "order-1", "50.00").await.unwrap();
    service.set_clock("2026-02-10T12:00:00Z");
    service.purchase("anna", "order-2", "7.00").await.unwrap();
    let due = |points, instant| Some(proto::PointsDue { points, due_at: Some(at(instant)), is_at_least: false });
    assert_eq!(service.balance("anna").await.next_expiry, due(57, "2026-03-11T04:00:00Z"));
    // A grant by hand is no activity of the customer.
    service.set_clock("2026-03-01T12:00:00Z");
    service.give(3, "a").await;
    assert_eq!(service.balance("anna").await.next_expiry, due(60, "2026-03-11T04:00:00Z"));
    service.set_clock("2026-03-12T12:00:00Z");
    // It happened in time, and is told too late.
    let late = crate::harness::purchase("anna", "order-3", "20.00", "2026-03-10T12:00:00Z".parse().unwrap());
    service.activities().record_activity(late).await.unwrap();
    assert_eq!(service.pockets().await, Pockets { available: 20, expired: 60, ..Pockets::NONE });
    assert_eq!(service.balance("anna").await.next_expiry, due(20, "2026-04-13T04:00:00Z"));
    let expired: Vec<_> = service.lots().await.iter().map(|lot| lot.expires_at).collect();
    let (first, second) = (Some(at("2026-03-11T04:00:00Z")), Some(at("2026-04-13T04:00:00Z")));
    assert_eq!(expired, [first, first, first, second]);
}

#[tokio::test]
async fn sliding_points_that_come_at_the_instant_of_the_end_outlive_it() {
    let service = start(&Rules { expire: Expire::Sliding("P1M"), ..free() }).await;
    service.give(10, "a").await;
    service.set_clock("2026-02-16T05:00:00Z");
    service.give(20, "b").await;
    assert_eq!(service.pockets().await, Pockets { available: 20, expired: 10, ..Pockets::NONE });
    service.purchase("anna", "order-1", "5.00").await.unwrap();
    let hold = service.hold(25, "hold").await.unwrap().hold.unwrap().hold_id;
    assert_eq!(service.release(&hold, "release").await.unwrap().points_released, 25);
    assert_eq!(service.pockets().await, Pockets { available: 25, expired: 10, ..Pockets::NONE });
    service.set_clock("2026-03-17T04:00:00Z");
    assert_eq!(service.pockets().await, Pockets { expired: 35, ..Pockets::NONE });
}

#[tokio::test]
async fn history_of_before_sliding_points_expired_is_taken_after_it() {
    let service = start(&Rules { expire: Expire::Sliding("P1M"), ..free() }).await;
    service.give(10, "a").await;
    service.set_clock("2026-02-20T12:00:00Z");
    // Points that do not slide, granted twice: by the second time those that slid have expired, which nobody looks up.
    for key in ["b", "c"] {
        service.grant_on(5, Vest::Now, Expire::Never, key).await;
    }
    let told = crate::harness::purchase("anna", "order-1", "20.00", "2026-02-10T12:00:00Z".parse().unwrap());
    let told = proto::RecordActivityRequest { as_history: true, ..told };
    service.activities().record_activity(told).await.unwrap();
    assert_eq!(service.pockets().await, Pockets { available: 30, expired: 10, ..Pockets::NONE });
}

#[tokio::test]
async fn expired_points_come_back_to_their_lot_while_the_window_is_open() {
    let rules = Rules { expire: Expire::After("PT24H", DAY), reinstate: Some(("P10D", "P1M")), ..free() };
    let service = start(&rules).await;
    let lot = service.give(100, "a").await;
    service.spend(30, "spend").await;
    service.set_clock("2026-01-16T12:00:00Z");
    service.give(1, "b").await;
    let entries = service.entries("anna").await;
    let expired = entries.iter().find(|entry| entry.kind() == EntryKind::PointsExpired).unwrap().entry_id.clone();
    service.set_clock("2026-01-26T11:59:59.999999Z");
    let back = service.reverse_part(&expired, 50, proto::Clawback::Unspecified, "back").await.unwrap();
    assert_eq!((back.points_reversed, back.points_returned), (50, 50));
    let lots = service.lots().await;
    assert_eq!((lots[0].lot_id.clone(), lots[0].available, lots[0].expired), (lot, 50, 20));
    assert_eq!(lots[0].expires_at, Some(at("2026-02-27T05:00:00Z")));
    service.set_clock("2026-01-26T12:00:00Z");
    let late = service.reverse(&expired, "late").await;
    let closed_at = "2026-01-26T12:00:00Z";
    assert_tells(late.clone(), &format!("ended at {closed_at}"), &[("closed_at", closed_at), ("entry_id", &expired)]);
    assert_refused(late, Code::FailedPrecondition, "REINSTATEMENT_CLOSED");
    service.set_clock("2026-02-27T05:00:00Z");
    assert_eq!(service.pockets().await, Pockets { redeemed: 30, expired: 71, ..Pockets::NONE });
}

#[tokio::test]
async fn a_reinstatement_takes_the_expiry_that_it_is_given_if_that_lies_ahead() {
    let rules = Rules { expire: Expire::After("PT24H", DAY), reinstate: Some(("P10D", "P1M")), ..free() };
    let service = start(&rules).await;
    service.give(100, "a").await;
    service.set_clock("2026-01-17T12:00:00Z");
    service.give(1, "b").await;
    let expired = service.entries("anna").await[3].entry_id.clone();
    let until = |instant: &str| proto::ReverseEntryRequest {
        expires_at: Some(at(instant)),
        ..reverse_entry(&expired, 0, proto::Clawback::Unspecified, "back")
    };
    let refused = service.rewards().reverse_entry(until("2026-01-17T12:00:00Z")).await;
    assert_refused(refused, Code::OutOfRange, "INSTANT_NOT_AHEAD");
    service.rewards().reverse_entry(until("2026-01-17T12:00:01Z")).await.unwrap();
    assert_eq!(service.pockets().await, Pockets { available: 101, ..Pockets::NONE });
    service.set_clock("2026-01-17T12:00:01Z");
    assert_eq!(service.pockets().await, Pockets { available: 1, expired: 100, ..Pockets::NONE });
    // Without a window, nothing comes back.
    let service = start(&Rules { reinstate: None, ..rules }).await;
    service.give(100, "a").await;
    service.set_clock("2026-01-17T12:00:00Z");
    service.give(1, "b").await;
    let expired = service.entries("anna").await[3].entry_id.clone();
    let refused = service.reverse(&expired, "back").await;
    assert_tells(refused.clone(), "the program does not reinstate", &[]);
    assert_refused(refused, Code::FailedPrecondition, "REINSTATEMENT_CLOSED");
}

/// An account with 3,000 lots of ten points, and one of a thousand that outlives them.
async fn start_with_3000_lots(rules: &Rules, expiry: Option<Expire>) -> Service {
    let service = start(rules).await;
    let grant = |place: i64| proto::GrantRewardRequest {
        expiry: expiry.map(write_expiry),
        ..grant_reward("anna", 10, &format!("lot-{place}"))
    };
    grant_all(&service, (0..3_000).map(grant).collect()).await;
    service.grant_on(1_000, Vest::Now, Expire::Never, "stays").await;
    service
}

#[tokio::test]
async fn thousands_of_lots_that_are_due_expire_before_one_redemption() {
    for (rules, expiry) in
        [(free(), Some(Expire::After("P1M", DAY))), (Rules { expire: Expire::Sliding("P1M"), ..free() }, None)]
    {
        let service = start_with_3000_lots(&rules, expiry).await;
        service.set_clock("2026-06-01T12:00:00Z");
        // A read sees it before anything is written.
        assert_eq!(service.pockets().await, Pockets { available: 1_000, expired: 30_000, ..Pockets::NONE });
        assert_eq!(service.entries("anna").await.len(), 3_003);
        service.spend(1_000, "spend").await;
        assert_eq!(service.pockets().await, Pockets { redeemed: 1_000, expired: 30_000, ..Pockets::NONE });
        let kinds = service.kinds("anna").await;
        assert_eq!(kinds.iter().filter(|kind| **kind == EntryKind::PointsExpired).count(), 3_000);
        let refused = service.rewards().redeem_points(redeem_points("anna", 1, "more")).await;
        assert_refused(refused, Code::FailedPrecondition, "INSUFFICIENT_POINTS");
        check_tail(&service).await;
    }
}

/// Every entry is there once, in the order of what was due.
async fn check_tail(service: &Service) {
    let entries = service.entries("anna").await;
    assert!(entries.iter().zip(1..).all(|(entry, seq)| entry.account_seq == seq));
    let expired = entries.iter().filter(|entry| entry.kind() == EntryKind::PointsExpired);
    let lots: Vec<&str> = expired.map(|entry| entry.lots[0].lot_id.as_str()).collect();
    let granted: Vec<&str> = entries[2..3_002].iter().map(|entry| entry.entry_id.as_str()).collect();
    assert_eq!(lots, granted);
}

#[tokio::test]
async fn list_lots_tells_open_lots_page_by_page_also_where_time_has_closed_some() {
    let service = start(&free()).await;
    for place in 0..30 {
        let expire = if place % 3 == 0 { Expire::Never } else { Expire::After("P1M", DAY) };
        service.grant_on(place + 1, Vest::Now, expire, &format!("lot-{place}")).await;
    }
    service.set_clock("2026-03-01T12:00:00Z");
    let read = |page_token| async {
        let request = proto::ListLotsRequest {
            program_id: SHOP.to_owned(),
            customer_id: "anna".to_owned(),
            page_size: 3,
            page_token,
            open_only: true,
        };
        let page = service.rewards().list_lots(request).await.unwrap().into_inner();
        (page.lots, page.next_page_token)
    };
    let lots = crate::harness::read_pages(3, read).await;
    let points: Vec<i64> = lots.iter().map(|lot| lot.points).collect();
    assert_eq!(points, [28, 25, 22, 19, 16, 13, 10, 7, 4, 1]);
    assert_eq!(service.lots().await.len(), 30);
    // Once it is written, it is told the same.
    service.spend(1, "touch").await;
    assert_eq!(crate::harness::read_pages(3, read).await.len(), 9);
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn points_that_came_back_keep_the_later_date_and_all_that_is_left_comes_back() {
    let rules = Rules { expire: Expire::After("PT24H", DAY), reinstate: Some(("P10D", "P1M")), ..free() };
    let service = start(&rules).await;
    let lot = service.give(100, "a").await;
    service.set_clock("2026-01-17T12:00:00Z");
    service.give(1, "b").await;
    let expired = service.entries("anna").await[3].entry_id.clone();
    service.reverse_part(&expired, 50, proto::Clawback::Unspecified, "half").await.unwrap();
    let soon = proto::ReverseEntryRequest {
        expires_at: Some(at("2026-01-17T12:00:01Z")),
        ..reverse_entry(&expired, 10, proto::Clawback::Unspecified, "soon")
    };
    service.rewards().reverse_entry(soon).await.unwrap();
    service.set_clock("2026-01-17T12:00:01Z");
    assert_eq!(service.pockets().await, Pockets { available: 61, expired: 40, ..Pockets::NONE });
    // The grant is taken back, and with it some of what is still expired; the rest can come back.
    service.reverse_part(&lot, 75, proto::Clawback::Unspecified, "taken").await.unwrap();
    assert_eq!(service.pockets().await, Pockets { available: 1, expired: 25, cancelled: 75, ..Pockets::NONE });
    let too_many = service.reverse_part(&expired, 26, proto::Clawback::Unspecified, "too-many").await;
    assert_refused(too_many, Code::FailedPrecondition, "REVERSAL_EXCEEDS_ORIGINAL");
    let rest = service.reverse(&expired, "rest").await.unwrap();
    assert_eq!((rest.points_reversed, rest.points_returned), (25, 25));
    assert_eq!(service.pockets().await, Pockets { available: 26, cancelled: 75, ..Pockets::NONE });
    assert_refused(service.reverse(&expired, "none").await, Code::FailedPrecondition, "ENTRY_ALREADY_REVERSED");
}

/// An expiry of two lots, of which the grant of one was taken back: what comes back of the other comes back once.
#[tokio::test]
async fn an_expiry_of_several_lots_cannot_be_reinstated_twice_on_one_of_them() {
    let rules = Rules { reinstate: Some(("P30D", "P1M")), ..free() };
    let service = start(&rules).await;
    let soon = Expire::At("2026-01-17T12:00:00Z".parse().unwrap());
    service.grant_on(20, Vest::Now, soon, "first").await;
    let second = service.grant_on(10, Vest::Now, soon, "second").await;
    let of_first = service.hold_until(10, "2026-03-01T00:00:00Z", "hold-1").await;
    let of_both = service.hold_until(15, "2026-03-01T00:00:00Z", "hold-2").await;
    service.set_clock("2026-01-18T12:00:00Z");
    service.release(&of_first, "release-1").await.unwrap();
    service.release(&of_both, "release-2").await.unwrap();
    let entries = service.entries("anna").await;
    let expired = entries.iter().find(|entry| entry.lots.len() == 2 && entry.kind() == EntryKind::PointsExpired);
    let expired = expired.unwrap().entry_id.clone();
    // The second lot is cancelled whole. The first comes back as far as this entry goes, and no further.
    service.reverse(&second, "undone").await.unwrap();
    let back = service.reverse(&expired, "back").await.unwrap();
    assert_eq!((back.points_reversed, back.points_returned), (10, 10));
    assert_refused(service.reverse(&expired, "again").await, Code::FailedPrecondition, "ENTRY_ALREADY_REVERSED");
    assert_eq!(service.pockets().await, Pockets { available: 10, expired: 10, cancelled: 10, ..Pockets::NONE });
    check_rules(&service.database).await.unwrap();
}
