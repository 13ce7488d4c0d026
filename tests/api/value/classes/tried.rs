//! What classes would do, classes by expectation, and what complaints take from them.

use goldbook::proto;
use goldbook::proto::simulate_value_classes_request::Policy;
use goldbook::proto::time_allowance::Allowance;
use tonic::{Code, Status};

use super::{buy, by_amount, class, class_of, counts, find, least, monthly, pass_end, start, with_classes};
use crate::audit::assert_clean;
use crate::complaints::{opening, reopen, resolve, send_opening, step, update};
use crate::harness::{SHOP, Service, assert_refused, bad_fields, usd};
use crate::value::{bought, day};

async fn simulate(service: &Service, policy: Option<Policy>) -> Result<proto::SimulateValueClassesResponse, Status> {
    let request = proto::SimulateValueClassesRequest { program_id: SHOP.to_owned(), policy };
    Ok(service.value().simulate_value_classes(request).await?.into_inner())
}

fn moves(found: &proto::SimulateValueClassesResponse) -> Vec<(&str, &str, i64)> {
    let moves = found.moves.iter();
    moves.map(|it| (it.from_class_id.as_str(), it.to_class_id.as_str(), it.customers)).collect()
}

#[tokio::test]
async fn simulate_value_classes_tells_who_would_move_and_writes_nothing() {
    let service = start("2026-01-15T12:00:00Z", by_amount()).await;
    for (customer, amount) in [("anna", "100.00"), ("ben", "60.00"), ("cleo", "5.00")] {
        buy(&service, customer, "p-1", amount).await;
    }
    service.set_clock("2026-02-15T12:00:00Z");
    pass_end(&service, 1, "2026-02-01").await;
    buy(&service, "ben", "p-2", "100.00").await;
    buy(&service, "dan", "p-1", "10.00").await;
    let policy = monthly(vec![least("key", "100.00", "80.00"), least("new", "10.00", "9.00"), class("other")]);
    let policy = proto::ValueClassPolicy { periods: Some(2), falls_after: Some(2), ..policy };
    let found = simulate(&service, Some(Policy::Program(with_classes(Some(policy))))).await.unwrap();
    let classification = found.classification.clone().unwrap();
    // The present month, until today, and the one before.
    assert_eq!((classification.from, classification.until), (day(2026, 1, 1), day(2026, 2, 16)));
    assert_eq!(
        counts(&classification),
        [("key", Some(usd("100.00")), 2), ("new", Some(usd("10.00")), 1), ("other", None, 1)]
    );
    assert_eq!(moves(&found), [("", "new", 1), ("good", "key", 1)]);
    assert_eq!(found.customers_below, 0);
    let found = simulate(&service, Some(Policy::Version(1))).await.unwrap();
    assert_eq!(moves(&found), [("", "other", 1), ("good", "key", 1), ("key", "other", 1)]);
    assert_eq!(class_of(&service, "anna").await, "key");

    let none = simulate(&service, Some(Policy::Program(with_classes(None)))).await;
    assert_refused(none, Code::FailedPrecondition, "VALUE_CLASSES_NOT_SET");
    assert_refused(simulate(&service, Some(Policy::Version(9))).await, Code::NotFound, "PROGRAM_NOT_FOUND");
    let expected = proto::ValueClassPolicy { measure: proto::ValueMeasure::ExpectedValue.into(), ..by_amount() };
    let expected = simulate(&service, Some(Policy::Program(with_classes(Some(expected))))).await;
    assert_refused(expected, Code::NotFound, "VALUE_MODEL_NOT_FOUND");
    assert_eq!(bad_fields(&simulate(&service, None).await.unwrap_err()), ["program"]);
    let mut other = with_classes(Some(by_amount()));
    other.program_id = "other".to_owned();
    assert_eq!(
        bad_fields(&simulate(&service, Some(Policy::Program(other))).await.unwrap_err()),
        ["program.program_id"]
    );
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn what_is_told_on_the_last_day_of_a_period_is_what_its_end_decides() {
    let service = start("2026-01-15T12:00:00Z", by_amount()).await;
    for (customer, amount) in [("anna", "100.00"), ("ben", "60.00"), ("cleo", "5.00")] {
        buy(&service, customer, "p-1", amount).await;
    }
    service.set_clock("2026-02-01T04:59:59Z");
    let foretold = simulate(&service, Some(Policy::Version(1))).await.unwrap();
    assert_eq!(moves(&foretold), [("", "good", 1), ("", "key", 1), ("", "other", 1)]);
    service.set_clock("2026-02-01T05:00:00Z");
    pass_end(&service, 1, "2026-02-01").await;
    assert_eq!(super::classification(&service, None).await.unwrap().classification, foretold.classification);
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn classes_by_expectation_ask_a_model_and_class_nobody_without_one() {
    let policy = proto::ValueClassPolicy {
        measure: proto::ValueMeasure::ExpectedValue.into(),
        ..monthly(vec![super::top("key", 10, 20), class("other")])
    };
    let service = start("2026-01-15T12:00:00Z", policy).await;
    for customer in 0..60 {
        let customer_id = format!("c-{customer}");
        for visit in 0..1 + customer % 4 {
            let amount = ["10.00", "20.00", "40.00", "80.00"][(customer / 4 + visit) % 4];
            bought(&service, &customer_id, &format!("p-{visit}"), amount, 300 - 60 * visit as i64 - customer as i64)
                .await;
        }
    }
    service.set_clock("2026-02-15T12:00:00Z");
    pass_end(&service, 1, "2026-02-01").await;
    assert_eq!(class_of(&service, "c-3").await, "");
    let fit = proto::FitValueModelRequest {
        program_id: SHOP.to_owned(),
        holdout_days: Some(0),
        idempotency_key: "fit".to_owned(),
        ..Default::default()
    };
    service.value().fit_value_model(fit).await.unwrap();
    service.set_clock("2026-03-01T05:00:00Z");
    pass_end(&service, 1, "2026-03-01").await;
    let found = super::classification(&service, None).await.unwrap().classification.unwrap();
    assert_eq!((found.model_version, found.ranked_customers), (1, 60));
    assert_eq!(found.classes[0].customers, 6);
    // The same as is told of each of them on the last day of the period.
    let mut worths = Vec::new();
    for customer in 0..60 {
        let customer_id = format!("c-{customer}");
        let as_of = Some(crate::harness::at("2026-03-01T04:59:59.999999Z"));
        let value = crate::value::get(&service, &customer_id, as_of).await.unwrap().forecast.unwrap();
        let held = find(&service, &customer_id, None).await.unwrap();
        assert_eq!(held.measured, value.lifetime_value, "{customer_id}");
        let worth = value.lifetime_value.unwrap();
        worths.push((worth.units, worth.nanos, held.class_id));
    }
    worths.sort();
    assert!(worths.iter().rev().take(6).all(|(_, _, class)| class == "key"), "{worths:?}");
    assert!(worths.iter().rev().skip(6).all(|(_, _, class)| class == "other"), "{worths:?}");
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn a_complaint_has_the_deadlines_of_the_class_as_its_clock_started() {
    let service = start("2026-01-15T12:00:00Z", by_amount()).await;
    let within = |value_class_ids: &[&str], days| proto::ComplaintDeadlines {
        value_class_ids: value_class_ids.iter().map(|it| (*it).to_owned()).collect(),
        acknowledgement: Some(proto::TimeAllowance { allowance: Some(Allowance::Days(days)) }),
        ..Default::default()
    };
    let mut program = with_classes(Some(by_amount()));
    let deadlines = vec![within(&["key", "good"], 1), within(&[], 9)];
    program.complaints = Some(proto::ComplaintPolicy { deadlines, ..Default::default() });
    service.apply(program.clone()).await.unwrap();
    buy(&service, "anna", "p-1", "100.00").await;
    service.set_clock("2026-02-15T12:00:00Z");
    pass_end(&service, 1, "2026-02-01").await;
    let days = |complaint: &proto::Complaint| {
        let at = |instant: &Option<prost_types::Timestamp>| instant.as_ref().unwrap().seconds;
        (at(&complaint.acknowledge_by) - at(&complaint.clock_started_at)) / 86_400
    };
    let of_anna = send_opening(&service, opening("anna", "c-1")).await.unwrap();
    assert_eq!(days(&of_anna), 1);
    buy(&service, "ben", "p-1", "1.00").await;
    assert_eq!(days(&send_opening(&service, opening("ben", "c-1")).await.unwrap()), 9);

    // Another class changes nothing about it, until its clock starts anew.
    service.set_clock("2026-03-15T12:00:00Z");
    pass_end(&service, 1, "2026-03-01").await;
    assert_eq!(class_of(&service, "anna").await, "other");
    let found = update(&service, step!(UpdateComplaintRequest, of_anna, "u-1", owner: Some("kim".to_owned()))).await;
    assert_eq!(found.unwrap().missed, [i32::from(proto::ComplaintDeadline::Acknowledgement)]);
    resolve(&service, &of_anna, "r-1").await.unwrap();
    assert_eq!(days(&reopen(&service, &of_anna, "o-1").await.unwrap()), 9);
    program.complaints.as_mut().unwrap().deadlines[0].value_class_ids = vec!["vip".to_owned()];
    let unknown = service.apply(program).await.unwrap_err();
    assert_eq!(bad_fields(&unknown), ["program.complaints.deadlines[0].value_class_ids[0]"]);
    assert_clean(&service.database).await;
}
