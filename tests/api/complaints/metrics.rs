//! What became of complaints: how many, how fast, and how.

use goldbook::proto;
use tonic::{Code, Status};

use super::{acknowledge, offer, opening, reopen, resolve, send_opening, start, step, update};
use crate::harness::{SHOP, Service, assert_refused, at, sorted_bad_fields};

pub(super) async fn ask(
    service: &Service,
    request: proto::GetComplaintMetricsRequest,
) -> Result<proto::GetComplaintMetricsResponse, Status> {
    let request = proto::GetComplaintMetricsRequest { program_id: SHOP.to_owned(), ..request };
    Ok(service.complaints().get_complaint_metrics(request).await?.into_inner())
}

fn handled(complaints: i64, mean_minutes: f64, in_time: i64) -> Option<proto::HandlingTime> {
    Some(proto::HandlingTime { complaints, mean_minutes: (complaints > 0).then_some(mean_minutes), in_time })
}

#[tokio::test]
async fn get_complaint_metrics_counts_steps_times_and_outcomes_exactly_as_of_an_instant() {
    let service = start().await;
    service.enrol("ben").await;
    // Thursday, 10 in New York: an hour to acknowledge, two to answer by an offer, three to resolve.
    service.set_clock("2026-01-15T15:00:00Z");
    let quick = proto::OpenComplaintRequest { category_id: "delivery".to_owned(), ..opening("anna", "a") };
    let quick = send_opening(&service, quick).await.unwrap();
    let slow = send_opening(&service, opening("ben", "b")).await.unwrap();
    service.set_clock("2026-01-15T16:00:00Z");
    acknowledge(&service, &quick, "ack").await.unwrap();
    service.set_clock("2026-01-15T17:00:00Z");
    let remedy = Some(proto::Remedy { kind: proto::RemedyKind::Apology.into(), ..Default::default() });
    offer(&service, step!(OfferRemedyRequest, quick, "offer", remedy: remedy)).await.unwrap();
    service.set_clock("2026-01-15T18:00:00Z");
    resolve(&service, &quick, "resolve").await.unwrap();
    let then = ask(&service, proto::GetComplaintMetricsRequest::default()).await.unwrap();
    let expected = proto::ComplaintMetrics {
        from: then.metrics[0].from,
        until: then.metrics[0].until,
        opened: 2,
        acknowledged: handled(1, 60.0, 1),
        answered: handled(1, 120.0, 1),
        resolved: handled(1, 180.0, 1),
        upheld: 1,
        ..Default::default()
    };
    assert_eq!(then.metrics, [expected]);
    // The other one is acknowledged too late, escalated by hand, and rejected at last: Monday is a holiday.
    service.set_clock("2026-01-20T15:00:00Z");
    acknowledge(&service, &slow, "ack").await.unwrap();
    update(&service, step!(UpdateComplaintRequest, slow, "up", escalated: true)).await.unwrap();
    let rejected = proto::ComplaintOutcome::Rejected.into();
    let end = step!(ResolveComplaintRequest, slow, "end", outcome: rejected, handling_score: Some(2));
    service.complaints().resolve_complaint(end).await.unwrap();
    update(&service, step!(UpdateComplaintRequest, quick, "score", handling_score: Some(5))).await.unwrap();
    service.set_clock("2026-02-02T15:00:00Z");
    reopen(&service, &slow, "again").await.unwrap();
    let months = proto::GetComplaintMetricsRequest {
        from: Some(proto::google::Date { year: 2026, month: 1, day: 1 }),
        each: proto::CalendarPeriod::Month.into(),
        ..Default::default()
    };
    let told = ask(&service, months.clone()).await.unwrap();
    let [january, february] = &told.metrics[..] else { panic!("{told:?}") };
    // 7 hours of Thursday, 8 of Friday, one of Tuesday.
    let expected = proto::ComplaintMetrics {
        from: january.from,
        until: january.until,
        opened: 2,
        acknowledged: handled(2, f64::from(60 + 16 * 60) / 2.0, 1),
        answered: handled(1, 120.0, 1),
        resolved: handled(2, f64::from(180 + 16 * 60) / 2.0, 2),
        upheld: 1,
        rejected: 1,
        missed_acknowledgements: 1,
        escalated_by_hand: 1,
        scored: 2,
        mean_score: Some(3.5),
        ..Default::default()
    };
    assert_eq!(*january, expected);
    assert_eq!((february.opened, february.reopened), (0, 1));
    let delivery = proto::GetComplaintMetricsRequest { category_id: "delivery".to_owned(), ..months };
    let delivery = ask(&service, delivery).await.unwrap().metrics.remove(0);
    assert_eq!((delivery.opened, delivery.rejected, delivery.mean_score), (1, 0, Some(5.0)));
    // What was answered then is the answer for ever.
    let as_of = Some(at("2026-01-15T18:00:00Z"));
    let again = ask(&service, proto::GetComplaintMetricsRequest { as_of, ..Default::default() }).await.unwrap();
    assert_eq!(again, then);
}

#[tokio::test]
async fn get_complaint_metrics_tells_what_is_wrong_with_a_period() {
    let service = start().await;
    let day = |day| Some(proto::google::Date { year: 2026, month: 1, day });
    for (request, field) in [
        (proto::GetComplaintMetricsRequest { from: day(2), until: day(2), ..Default::default() }, "until"),
        (proto::GetComplaintMetricsRequest { from: day(32), ..Default::default() }, "from"),
        (proto::GetComplaintMetricsRequest { each: 1, ..Default::default() }, "each"),
        (proto::GetComplaintMetricsRequest { category_id: "?".to_owned(), ..Default::default() }, "category_id"),
    ] {
        let refused = ask(&service, request.clone()).await;
        assert_eq!(sorted_bad_fields(refused), [field], "{request:?}");
    }
    let request = proto::GetComplaintMetricsRequest { program_id: "other".to_owned(), ..Default::default() };
    let other = service.complaints().get_complaint_metrics(request).await;
    assert_refused(other, Code::NotFound, "PROGRAM_NOT_FOUND");
    let ahead = proto::GetComplaintMetricsRequest { as_of: Some(at("2027-01-01T00:00:00Z")), ..Default::default() };
    assert_refused(ask(&service, ahead).await, Code::OutOfRange, "INSTANT_IN_FUTURE");
}
