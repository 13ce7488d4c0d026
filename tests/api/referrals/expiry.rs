//! When a referral expires: at the end of its last local day, whether or not anything was written by then.

use goldbook::proto;
use goldbook::proto::EntryKind::{ActivityAccepted, PointsGranted, ReferralExpired};
use goldbook::proto::ReferralState::{Converted, Expired, Pending};
use tonic::Code;

use super::{change_friends, list, start_with_code};
use crate::harness::{Service, assert_refused, at, purchase};

/// Summer time begins in New York on 8 March 2026. A referral of 20 February expires at the end of 22 March.
const CREATED: &str = "2026-02-20T12:00:00Z";
const LAST: &str = "2026-03-23T03:59:59.999999Z";
const EXPIRY: &str = "2026-03-23T04:00:00Z";
const LATER: &str = "2026-03-25T12:00:00Z";

/// rita brought ben.
async fn start_with_referral() -> Service {
    let (service, code) = start_with_code().await;
    service.set_clock(CREATED);
    let referral = service.refer("ben", &code).await;
    assert_eq!(referral.expire_time, Some(at(EXPIRY)));
    service
}

#[tokio::test]
async fn create_referral_sets_the_expiry_to_the_end_of_the_last_local_day() {
    let (service, code) = start_with_code().await;
    for (created, expiry) in [
        ("2026-02-20T05:00:00Z", EXPIRY),
        ("2026-02-21T04:59:59.999999Z", EXPIRY),
        ("2026-02-21T05:00:00Z", "2026-03-24T04:00:00Z"),
        // Summer time ends on 1 November.
        ("2026-10-20T12:00:00Z", "2026-11-20T05:00:00Z"),
    ] {
        service.set_clock(created);
        assert_eq!(service.refer(created, &code).await.expire_time, Some(at(expiry)), "{created}");
    }
    change_friends(&service, |campaign| campaign.convert_within_days = 1).await;
    assert_eq!(service.refer("one", &code).await.expire_time, Some(at("2026-10-22T04:00:00Z")));
    change_friends(&service, |campaign| campaign.convert_within_days = 0).await;
    assert_eq!(service.refer("none", &code).await.expire_time, None);
    service.set_clock("2099-01-01T00:00:00Z");
    assert_eq!(service.referral("none").await.state(), Pending);
    assert!(service.purchase("none", "a", "20.00").await.unwrap().referral_converted);
}

#[tokio::test]
async fn get_and_list_referrals_say_expired_before_anything_was_written() {
    let service = start_with_referral().await;
    let count = service.count_entries().await;
    service.set_clock(LAST);
    assert_eq!(service.referral("ben").await.state(), Pending);
    service.set_clock(EXPIRY);
    let referral = service.referral("ben").await;
    assert_eq!((referral.state(), referral.convert_time), (Expired, None));
    assert_eq!(list(&service, "rita", 0, String::new()).await.unwrap().0, [referral]);
    assert_eq!(service.count_entries().await, count);
}

#[tokio::test]
async fn record_activity_converts_in_the_last_microsecond() {
    let service = start_with_referral().await;
    service.set_clock(LAST);
    assert!(service.purchase("ben", "a", "20.00").await.unwrap().referral_converted);
    // What converted does not expire.
    service.set_clock(LATER);
    assert_eq!(service.referral("ben").await.state(), Converted);
    service.purchase("ben", "b", "20.00").await.unwrap();
    assert!(!service.kinds("ben").await.contains(&ReferralExpired));
}

#[tokio::test]
async fn record_activity_after_the_expiry_writes_it_at_its_due_time_and_pays_no_one() {
    let service = start_with_referral().await;
    let created = service.referral("ben").await.entry_id;
    service.set_clock(LATER);
    let recorded = service.purchase("ben", "a", "20.00").await.unwrap();
    assert!(!recorded.referral_converted);
    let entries = service.entries("ben").await;
    let [expired, accepted, earned] = &entries[3..] else { panic!("{entries:?}") };
    assert_eq!([expired, accepted, earned].map(proto::Entry::kind), [ReferralExpired, ActivityAccepted, PointsGranted]);
    assert_eq!((expired.effective_at, expired.recorded_at), (Some(at(EXPIRY)), Some(at(LATER))));
    assert_eq!(accepted.effective_at, Some(at(LATER)));
    assert_eq!(expired.actor(), proto::Actor::Time);
    assert_eq!(expired.cause_entry_ids, [created]);
    assert_ne!(expired.command_id, accepted.command_id);
    assert_eq!(recorded.entry_ids, [accepted.entry_id.clone(), earned.entry_id.clone()]);
    assert_eq!((service.available("ben").await, service.available("rita").await), (20, 0));
    assert_eq!(service.referral("ben").await.state(), Expired);
    // Once only.
    service.purchase("ben", "b", "20.00").await.unwrap();
    assert_eq!(service.kinds("ben").await.iter().filter(|kind| **kind == ReferralExpired).count(), 1);
}

#[tokio::test]
async fn record_activity_of_before_the_expiry_reported_after_it_does_not_convert() {
    let service = start_with_referral().await;
    service.set_clock(EXPIRY);
    let request = purchase("ben", "a", "20.00", CREATED.parse().unwrap());
    let recorded = service.activities().record_activity(request).await.unwrap().into_inner();
    assert!(!recorded.referral_converted);
    assert_eq!(service.referral("ben").await.state(), Expired);
    assert_eq!(service.available("rita").await, 0);
}

#[tokio::test]
async fn any_write_on_the_account_after_the_expiry_writes_it() {
    let service = start_with_referral().await;
    service.set_clock(LATER);
    service.grant("ben", 5, "k").await.unwrap();
    let entries = service.entries("ben").await;
    let [expired, granted] = &entries[3..] else { panic!("{entries:?}") };
    assert_eq!([expired, granted].map(proto::Entry::kind), [ReferralExpired, PointsGranted]);
    assert_eq!((expired.effective_at, granted.effective_at), (Some(at(EXPIRY)), Some(at(LATER))));
    assert_eq!(service.available("ben").await, 5);
}

#[tokio::test]
async fn convert_referral_after_the_expiry_refuses_whatever_the_campaign() {
    let (service, friends) = start_with_code().await;
    let partners = service.share_code("olga", "partners").await;
    service.set_clock(CREATED);
    service.refer("ben", &friends).await;
    service.refer("cleo", &partners).await;
    service.set_clock(EXPIRY);
    for referee in ["ben", "cleo"] {
        for _ in 0..2 {
            assert_refused(service.convert(referee).await, Code::FailedPrecondition, "REFERRAL_EXPIRED");
        }
    }
    assert_eq!((service.available("rita").await, service.available("olga").await), (0, 0));
}

#[tokio::test]
async fn tier_and_balance_of_the_past_stay_the_same_after_the_expiry_was_written() {
    let service = start_with_referral().await;
    service.set_clock(LATER);
    let before = service.tier_at("ben", "2026-03-24T00:00:00Z").await.unwrap();
    service.purchase("ben", "a", "250.00").await.unwrap();
    assert_eq!(service.tier_at("ben", "2026-03-24T00:00:00Z").await.unwrap(), before);
}
