//! What every call about points has in common: repetitions, reused keys, bad fields, unknown names.

use goldbook::proto;
use goldbook::proto::Clawback;
use goldbook::proto::adjust_points_request::Change;
use goldbook::proto::hold_points_request::End;
use tonic::{Code, Status};

use super::calls::{adjust_points, free, hold_points, redeem_points, refund, reverse_entry, start};
use super::model::Expire;
use super::steps::Call;
use super::write_expiry;
use crate::harness::{SHOP, Service, assert_refused, sorted_bad_fields};

fn capture(hold_id: &str, points: i64, key: &str) -> proto::CapturePointsRequest {
    proto::CapturePointsRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        hold_id: hold_id.to_owned(),
        points,
        idempotency_key: key.to_owned(),
    }
}

fn release(hold_id: &str, key: &str) -> proto::ReleasePointsRequest {
    proto::ReleasePointsRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        hold_id: hold_id.to_owned(),
        idempotency_key: key.to_owned(),
    }
}

/// Anna with 1,000 points; the grant, and two holds of ten.
async fn start_with_holds() -> (Service, String, [String; 2]) {
    let service = start(&free()).await;
    let granted = service.give(1_000, "granted").await;
    let first = service.hold(10, "hold-1").await.unwrap().hold.unwrap().hold_id;
    let second = service.hold(10, "hold-2").await.unwrap().hold.unwrap().hold_id;
    (service, granted, [first, second])
}

/// One call of each kind.
fn calls(service: &Service, granted: &str, holds: &[String; 2]) -> Vec<Call> {
    vec![
        Call::Redeem(redeem_points("anna", 5, "k-redeem")),
        Call::Hold(hold_points(5, Some(End::EndsAfter("PT1H".to_owned())), "k-hold")),
        Call::Capture(capture(&holds[0], 4, "k-capture")),
        Call::Release(release(&holds[1], "k-release")),
        Call::Reverse(reverse_entry(granted, 30, Clawback::WithinBalance, "k-reverse")),
        Call::Adjust(adjust_points(Change::PointsUp(5), "k-up")),
        Call::Adjust(adjust_points(Change::PointsDown(5), "k-down")),
        Call::Record(refund("order-1", "5.00", service, "k-refund").into()),
    ]
}

#[tokio::test]
async fn a_repeated_call_gets_the_first_answer_and_writes_nothing_also_after_a_restart() {
    let (service, granted, holds) = start_with_holds().await;
    service.purchase("anna", "order-1", "50.00").await.unwrap();
    let calls = calls(&service, &granted, &holds);
    let mut first = Vec::new();
    for call in &calls {
        let answer = call.send(&service).await.unwrap();
        assert!(!answer.replayed);
        first.push(answer.text);
    }
    let entries = service.count_entries().await;
    let service = service.restart().await;
    // Ten years later, when holds have ended and none of it would be possible any more.
    service.set_clock("2036-01-15T12:00:00Z");
    for (call, first) in calls.iter().zip(first) {
        let again = call.send(&service).await.unwrap();
        assert_eq!((again.replayed, again.text), (true, first));
    }
    assert_eq!(service.count_entries().await, entries);
}

#[tokio::test]
async fn a_key_used_with_another_request_is_refused() {
    let (service, granted, holds) = start_with_holds().await;
    service.redeem(5, "used").await.unwrap();
    let entries = service.count_entries().await;
    let up = proto::AdjustPointsRequest { author: "clerk-8".to_owned(), ..adjust_points(Change::PointsUp(5), "used") };
    let noted = proto::RedeemPointsRequest { note: "other".to_owned(), ..redeem_points("anna", 5, "used") };
    for call in [
        Call::Redeem(redeem_points("anna", 6, "used")),
        Call::Redeem(noted),
        Call::Hold(hold_points(5, None, "used")),
        Call::Capture(capture(&holds[0], 5, "used")),
        Call::Release(release(&holds[0], "used")),
        Call::Reverse(reverse_entry(&granted, 5, Clawback::Unspecified, "used")),
        Call::Adjust(up),
        Call::Grant(crate::harness::grant_reward("anna", 5, "used")),
    ] {
        assert_eq!(call.send(&service).await.unwrap_err(), "IDEMPOTENCY_KEY_REUSED", "{call:?}");
    }
    assert_eq!(service.count_entries().await, entries);
}

#[tokio::test]
async fn a_refused_call_leaves_its_key_unused() {
    let service = start(&free()).await;
    assert_refused(service.redeem(5, "k").await, Code::FailedPrecondition, "INSUFFICIENT_POINTS");
    service.give(5, "a").await;
    assert!(!service.redeem(5, "k").await.unwrap().replayed);
}

#[tokio::test]
async fn calls_about_points_list_every_bad_field() {
    let service = start(&free()).await;
    let rewards = || service.rewards();
    let subject = ["customer_id", "idempotency_key", "program_id"];
    let with = |more: &[&str]| {
        let mut fields: Vec<String> = subject.iter().chain(more).map(|field| (*field).to_owned()).collect();
        fields.sort();
        fields
    };
    let long = "x".repeat(501);
    let redeem = proto::RedeemPointsRequest { note: long.clone(), ..Default::default() };
    assert_eq!(sorted_bad_fields(rewards().redeem_points(redeem).await), with(&["note", "points"]));
    let end = Some(End::EndsAfter("1 hour".to_owned()));
    let hold = proto::HoldPointsRequest { note: long.clone(), end, ..Default::default() };
    assert_eq!(sorted_bad_fields(rewards().hold_points(hold).await), with(&["ends_after", "note", "points"]));
    let end = Some(End::EndsAt(prost_types::Timestamp { seconds: 0, nanos: -1 }));
    let hold = proto::HoldPointsRequest { end, ..hold_points(1, None, "k") };
    assert_eq!(sorted_bad_fields(rewards().hold_points(hold).await), ["ends_at"]);
    let capture = proto::CapturePointsRequest { points: -1, ..Default::default() };
    assert_eq!(sorted_bad_fields(rewards().capture_points(capture).await), with(&["hold_id", "points"]));
    let released = rewards().release_points(proto::ReleasePointsRequest::default()).await;
    assert_eq!(sorted_bad_fields(released), with(&["hold_id"]));
    let reverse = proto::ReverseEntryRequest {
        points: -1,
        clawback: 99,
        expires_at: Some(prost_types::Timestamp { seconds: 0, nanos: -1 }),
        note: long.clone(),
        ..Default::default()
    };
    let fields = ["clawback", "entry_id", "expires_at", "note", "points", "reason"];
    assert_eq!(sorted_bad_fields(rewards().reverse_entry(reverse).await), with(&fields));
    let adjust = proto::AdjustPointsRequest { reason: 99, note: long, ..Default::default() };
    let fields = ["author", "change", "note", "reason"];
    assert_eq!(sorted_bad_fields(rewards().adjust_points(adjust).await), with(&fields));
    let vested = rewards().vest_reward(proto::VestRewardRequest::default()).await;
    assert_eq!(sorted_bad_fields(vested), ["customer_id", "program_id", "reward_id"]);
    let listed = rewards().list_lots(proto::ListLotsRequest { page_size: -1, ..Default::default() }).await;
    assert_eq!(sorted_bad_fields(listed), ["customer_id", "page_size", "program_id"]);
    let uses = proto::ListLotUsesRequest { page_size: -1, ..Default::default() };
    let fields = ["customer_id", "lot_id", "page_size", "program_id"];
    assert_eq!(sorted_bad_fields(rewards().list_lot_uses(uses).await), fields);
    let mut bad = refund("", "0.00", &service, "r");
    if let Some(proto::record_activity_request::Activity::Refund(refund)) = &mut bad.activity {
        refund.clawback = 99;
    }
    let fields = ["refund.amount", "refund.clawback", "refund.purchase_activity_id"];
    assert_eq!(sorted_bad_fields(service.activities().record_activity(bad).await), fields);
}

#[tokio::test]
async fn sliding_is_the_programs_alone_and_points_taken_have_no_expiry() {
    let service = start(&free()).await;
    let sliding = Some(write_expiry(Expire::Sliding("P1M")));
    let grant = proto::GrantRewardRequest { expiry: sliding.clone(), ..crate::harness::grant_reward("anna", 1, "k") };
    assert_eq!(sorted_bad_fields(service.rewards().grant_reward(grant.clone()).await), ["expiry"]);
    let empty = proto::GrantRewardRequest { expiry: Some(proto::ExpiryRule { rule: None }), ..grant };
    let refused = service.rewards().grant_reward(empty).await;
    assert!(refused.unwrap_err().message().ends_with("expiry must be one of never, at and after"));
    for (change, expiry) in [(Change::PointsUp(1), sliding), (Change::PointsDown(1), Some(write_expiry(Expire::Never)))]
    {
        let adjust = proto::AdjustPointsRequest { expiry, ..adjust_points(change, "k") };
        assert_eq!(sorted_bad_fields(service.rewards().adjust_points(adjust).await), ["expiry"]);
    }
}

#[tokio::test]
async fn calls_about_points_refuse_an_unknown_program_or_customer() {
    let (service, granted, holds) = start_with_holds().await;
    for (program_id, customer_id, reason) in
        [("nowhere", "anna", "PROGRAM_NOT_FOUND"), (SHOP, "nobody", "CUSTOMER_NOT_FOUND")]
    {
        for call in calls(&service, &granted, &holds) {
            let whose = |program: &mut String, customer: &mut String| {
                (*program, *customer) = (program_id.to_owned(), customer_id.to_owned());
            };
            let call = match call {
                Call::Redeem(mut call) => {
                    whose(&mut call.program_id, &mut call.customer_id);
                    Call::Redeem(call)
                }
                Call::Hold(mut call) => {
                    whose(&mut call.program_id, &mut call.customer_id);
                    Call::Hold(call)
                }
                Call::Capture(mut call) => {
                    whose(&mut call.program_id, &mut call.customer_id);
                    Call::Capture(call)
                }
                Call::Release(mut call) => {
                    whose(&mut call.program_id, &mut call.customer_id);
                    Call::Release(call)
                }
                Call::Reverse(mut call) => {
                    whose(&mut call.program_id, &mut call.customer_id);
                    Call::Reverse(call)
                }
                Call::Adjust(mut call) => {
                    whose(&mut call.program_id, &mut call.customer_id);
                    Call::Adjust(call)
                }
                other => other,
            };
            if !matches!(call, Call::Record(_)) {
                assert_eq!(call.send(&service).await.unwrap_err(), reason, "{call:?}");
            }
        }
        let (program_id, customer_id) = (program_id.to_owned(), customer_id.to_owned());
        let vest = proto::VestRewardRequest {
            program_id: program_id.clone(),
            customer_id: customer_id.clone(),
            reward_id: granted.clone(),
        };
        assert_refused(service.rewards().vest_reward(vest).await, Code::NotFound, reason);
        let lots = proto::ListLotsRequest {
            program_id: program_id.clone(),
            customer_id: customer_id.clone(),
            ..Default::default()
        };
        assert_refused(service.rewards().list_lots(lots).await, Code::NotFound, reason);
        let uses = proto::ListLotUsesRequest { program_id, customer_id, lot_id: granted.clone(), ..Default::default() };
        assert_refused(service.rewards().list_lot_uses(uses).await, Code::NotFound, reason);
    }
}

#[tokio::test]
async fn lists_of_lots_refuse_bad_pages_and_lots_of_others() {
    let (service, granted, _) = start_with_holds().await;
    service.give(5, "b").await;
    let lots = async |customer: &str, page_size, page_token| -> Result<proto::ListLotsResponse, Status> {
        let request = proto::ListLotsRequest {
            program_id: SHOP.to_owned(),
            customer_id: customer.to_owned(),
            page_size,
            page_token,
            open_only: false,
        };
        Ok(service.rewards().list_lots(request).await?.into_inner())
    };
    service.enrol("ben").await;
    for key in ["a", "b"] {
        service.grant("ben", 5, key).await.unwrap();
    }
    let foreign = lots("ben", 1, String::new()).await.unwrap().next_page_token;
    crate::harness::assert_refuses_bad_pages(&foreign, |page_size, token| lots("anna", page_size, token)).await;
    let uses = async |customer: &str, page_size, page_token| -> Result<proto::ListLotUsesResponse, Status> {
        let request = proto::ListLotUsesRequest {
            program_id: SHOP.to_owned(),
            customer_id: customer.to_owned(),
            lot_id: granted.clone(),
            page_size,
            page_token,
        };
        Ok(service.rewards().list_lot_uses(request).await?.into_inner())
    };
    assert_refused(uses("ben", 1, String::new()).await, Code::NotFound, "REWARD_NOT_FOUND");
    crate::harness::assert_refuses_bad_pages(&foreign, |page_size, token| uses("anna", page_size, token)).await;
}
