//! What customers are worth: of one, by a model, by classes, and whether they stay.

pub(crate) mod classes;
mod models;
mod random_purchases;
mod sample;

use goldbook::proto;
use goldbook::proto::google::Date;
use jiff::{SignedDuration, Timestamp};
use tonic::{Code, Status};

use crate::audit::assert_clean;
use crate::customers::erasure::{erase, erasure};
use crate::harness::{SHOP, START, Service, assert_refused, at, purchase, sorted_bad_fields, usd};
use crate::points::calls::refund;

fn day(year: i32, month: i32, day: i32) -> Option<Date> {
    Some(Date { year, month, day })
}

/// A purchase so many days before the present, of somebody who is enrolled if unknown.
async fn bought(service: &Service, customer_id: &str, id: &str, amount: &str, days_ago: i64) {
    let then = service.clock.now() - SignedDuration::from_hours(24 * days_ago);
    service.activities().record_activity(purchase(customer_id, id, amount, then)).await.unwrap();
}

async fn give_back(service: &Service, customer_id: &str, of: &str, amount: &str, id: &str) {
    let request =
        proto::RecordActivityRequest { customer_id: customer_id.to_owned(), ..refund(of, amount, service, id) };
    service.activities().record_activity(request).await.unwrap();
}

async fn get(
    service: &Service,
    customer_id: &str,
    as_of: Option<prost_types::Timestamp>,
) -> Result<proto::GetCustomerValueResponse, Status> {
    let (program_id, customer_id) = (SHOP.to_owned(), customer_id.to_owned());
    let request = proto::GetCustomerValueRequest { program_id, customer_id, as_of };
    Ok(service.value().get_customer_value(request).await?.into_inner())
}

async fn retention(
    service: &Service,
    request: proto::GetRetentionRequest,
) -> Result<proto::GetRetentionResponse, Status> {
    let request = proto::GetRetentionRequest { program_id: SHOP.to_owned(), ..request };
    Ok(service.value().get_retention(request).await?.into_inner())
}

async fn classes(
    service: &Service,
    request: proto::GetScoreClassesRequest,
) -> Result<proto::GetScoreClassesResponse, Status> {
    let request = proto::GetScoreClassesRequest { program_id: SHOP.to_owned(), ..request };
    Ok(service.value().get_score_classes(request).await?.into_inner())
}

#[tokio::test]
async fn get_customer_value_counts_days_and_leaves_out_what_was_refunded() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("ben").await;
    let nothing = get(&service, "ben", None).await.unwrap();
    assert_eq!((nothing.first_purchase_on, nothing.purchases, nothing.spend), (None, 0, Some(usd("0.00"))));
    bought(&service, "anna", "p-1", "10.00", 40).await;
    bought(&service, "anna", "p-2", "5.00", 40).await;
    // A gift is a purchase.
    bought(&service, "anna", "p-3", "0.00", 20).await;
    bought(&service, "anna", "p-4", "30.00", 10).await;
    let before = service.clock.now();
    service.set_clock("2026-01-16T12:00:00Z");
    give_back(&service, "anna", "p-1", "4.00", "r-1").await;
    give_back(&service, "anna", "p-4", "30.00", "r-2").await;
    let found = get(&service, "anna", None).await.unwrap();
    assert_eq!((found.first_purchase_on, found.last_purchase_on), (day(2025, 12, 6), day(2025, 12, 26)));
    assert_eq!((found.days_since_last_purchase, found.purchase_days, found.purchases), (21, 2, 3));
    assert_eq!((found.spend, found.forecast), (Some(usd("11.00")), None));

    // What was told is told again, and of a time at which they were unknown nothing.
    let as_of = Some(crate::harness::instant(before));
    let then = get(&service, "anna", as_of).await.unwrap();
    assert_eq!((then.last_purchase_on, then.purchase_days, then.spend), (day(2026, 1, 5), 3, Some(usd("45.00"))));
    assert_eq!(then.days_since_last_purchase, 10);
    let early = get(&service, "anna", Some(at("2026-01-01T00:00:00Z"))).await;
    assert_refused(early, Code::NotFound, "CUSTOMER_NOT_FOUND");
    assert_refused(get(&service, "nobody", None).await, Code::NotFound, "CUSTOMER_NOT_FOUND");
    assert_refused(
        get(&service, "anna", Some(at("2030-01-01T00:00:00Z"))).await,
        Code::OutOfRange,
        "INSTANT_IN_FUTURE",
    );
    let unnamed = service.value().get_customer_value(proto::GetCustomerValueRequest::default()).await;
    assert_eq!(sorted_bad_fields(unnamed), ["customer_id", "program_id"]);
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn get_retention_tells_who_came_who_left_and_who_came_back() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.set_clock("2026-04-10T12:00:00Z");
    let dates = [
        ("anna", "2025-12-24T12:00:00Z", "10.00"),
        ("anna", "2026-01-05T12:00:00Z", "40.00"),
        ("anna", "2026-01-06T12:00:00Z", "10.00"),
        ("anna", "2026-03-05T12:00:00Z", "5.00"),
        ("ben", "2025-12-24T12:00:00Z", "30.00"),
        ("ben", "2026-02-05T12:00:00Z", "10.00"),
        ("carla", "2026-01-20T12:00:00Z", "8.00"),
        ("carla", "2026-02-20T12:00:00Z", "6.00"),
        ("dan", "2026-02-20T12:00:00Z", "1.00"),
        ("dan", "2026-02-20T13:00:00Z", "1.00"),
    ];
    for (i, (customer, date, amount)) in dates.into_iter().enumerate() {
        let request = purchase(customer, &format!("p-{i}"), amount, date.parse().unwrap());
        service.activities().record_activity(request).await.unwrap();
    }
    let request = proto::GetRetentionRequest { from: day(2026, 1, 20), until: day(2026, 4, 1), ..Default::default() };
    let found = retention(&service, request.clone()).await.unwrap();
    let told: Vec<_> = found
        .periods
        .iter()
        .map(|it| (it.from, it.buyers, it.retained, it.gained, it.won_back, it.lost, it.net))
        .collect();
    // A period begins with its month, and the month before it is looked at, too.
    let expected = [
        (day(2026, 1, 1), 2, 1, 1, 0, 1, 0),
        (day(2026, 2, 1), 3, 1, 1, 1, 1, 1),
        (day(2026, 3, 1), 1, 0, 0, 1, 3, -2),
    ];
    assert_eq!(told, expected);
    let [january, february, march] = &found.periods[..] else { panic!("{found:?}") };
    assert_eq!(
        (january.repeat_rate, january.retention_rate, january.expected_lifetime),
        (Some(0.5), Some(0.5), Some(2.0))
    );
    // Anna spent 10.00 in December and 50.00 in January; Ben spent 30.00 and nothing.
    assert_eq!((january.net_revenue_retention, january.gross_revenue_retention), (Some(1.25), Some(0.25)));
    assert_eq!((january.spend.clone(), march.spend.clone()), (Some(usd("58.00")), Some(usd("5.00"))));
    // Dan bought twice on one day.
    assert_eq!(february.repeat_rate, Some(2.0 / 3.0));
    assert_eq!((march.retention_rate, march.expected_lifetime), (Some(0.0), Some(1.0)));
    let cohorts: Vec<(i64, Vec<i64>)> = found
        .cohorts
        .iter()
        .map(|it| (it.customers, it.periods.iter().map(|period| period.buyers).collect()))
        .collect();
    assert_eq!(cohorts, [(1, vec![1, 1, 0]), (1, vec![1, 0]), (0, vec![0])]);
    assert_eq!(found.cohorts[0].periods[1].share, 1.0);

    // By default, the months of the last year.
    let year = retention(&service, proto::GetRetentionRequest::default()).await.unwrap();
    assert_eq!((year.periods.len(), year.periods[0].from), (13, day(2025, 4, 1)));
    assert_eq!(year.periods[12].until, day(2026, 4, 11));
    let bad = proto::GetRetentionRequest { until: day(2026, 1, 1), each: 99, ..request.clone() };
    assert_eq!(sorted_bad_fields(retention(&service, bad).await), ["each"]);
    let none = proto::GetRetentionRequest { until: day(2026, 1, 20), ..request.clone() };
    assert_eq!(sorted_bad_fields(retention(&service, none).await), ["until"]);
    let days = proto::CalendarPeriod::Day.into();
    let many = proto::GetRetentionRequest { each: days, ..request };
    assert_eq!(sorted_bad_fields(retention(&service, many).await), ["each"]);
    let ahead = proto::GetRetentionRequest { until: day(2026, 4, 12), ..Default::default() };
    assert_eq!(sorted_bad_fields(retention(&service, ahead).await), ["until"]);
    let unknown = proto::GetRetentionRequest { program_id: "none".to_owned(), ..Default::default() };
    assert_refused(service.value().get_retention(unknown).await, Code::NotFound, "PROGRAM_NOT_FOUND");
}

#[tokio::test]
async fn get_score_classes_gives_equals_the_same_score_and_tells_what_became_of_them() {
    let service = Service::start().await;
    service.apply_shop().await;
    // Two bought long ago and much, three lately and once, and one of them again.
    for customer in ["anna", "ben"] {
        for (i, days_ago) in [300, 280, 260].into_iter().enumerate() {
            bought(&service, customer, &format!("{customer}-{i}"), "100.00", days_ago).await;
        }
    }
    for customer in ["carla", "dan", "emil"] {
        bought(&service, customer, &format!("{customer}-1"), "10.00", 60).await;
    }
    bought(&service, "carla", "carla-2", "20.00", 5).await;
    let request = proto::GetScoreClassesRequest { classes: 3, after_days: 30, ..Default::default() };
    let found = classes(&service, request.clone()).await.unwrap();
    assert_eq!((found.until, found.after_until, found.customers), (day(2025, 12, 17), day(2026, 1, 16), 5));
    let [recent, heavy] = &found.classes[..] else { panic!("{found:?}") };
    // Two of five do worse: more than a third. Three of five: not more than two thirds.
    assert_eq!((recent.recency, recent.frequency, recent.monetary, recent.customers), (2, 1, 1, 3));
    assert_eq!((heavy.recency, heavy.frequency, heavy.monetary, heavy.customers), (1, 2, 2, 2));
    assert_eq!((recent.bought_afterwards, recent.spend_afterwards.clone()), (1, Some(usd("20.00"))));
    assert_eq!((heavy.bought_afterwards, heavy.share_bought_afterwards), (0, 0.0));
    assert_eq!(
        (heavy.fewest_purchase_days, heavy.most_purchase_days, heavy.spend.clone()),
        (3, 3, Some(usd("600.00")))
    );
    assert_eq!((heavy.last_purchase_from, heavy.last_purchase_to), (day(2025, 4, 30), day(2025, 4, 30)));
    // Days that have not come are not counted, and cannot be asked for.
    let now = proto::GetScoreClassesRequest { until: day(2026, 1, 10), ..request.clone() };
    assert_eq!(classes(&service, now).await.unwrap().after_until, day(2026, 1, 16));
    let ahead = proto::GetScoreClassesRequest { until: day(2026, 1, 17), ..request.clone() };
    assert_eq!(sorted_bad_fields(classes(&service, ahead).await), ["until"]);
    let bad = proto::GetScoreClassesRequest { classes: 4, after_days: 4_000, ..request };
    assert_eq!(sorted_bad_fields(classes(&service, bad).await), ["after_days", "classes"]);
}

/// So that there are no more days of one customer than there are days since.
#[tokio::test]
async fn purchases_before_1900_are_not_looked_at() {
    let service = Service::start().await;
    service.apply_shop().await;
    for (id, date) in
        [("p-1", "0001-01-01T00:00:00Z"), ("p-2", "1899-12-31T12:00:00Z"), ("p-3", "1900-01-01T12:00:00Z")]
    {
        service.activities().record_activity(purchase("anna", id, "10.00", date.parse().unwrap())).await.unwrap();
    }
    let before = service.clock.now();
    service.set_clock("2026-01-16T12:00:00Z");
    bought(&service, "anna", "p-4", "1.00", 0).await;
    for (as_of, days) in [(None, 2), (Some(crate::harness::instant(before)), 1)] {
        let found = get(&service, "anna", as_of).await.unwrap();
        assert_eq!((found.first_purchase_on, found.purchase_days), (day(1900, 1, 1), days));
    }
    let found = classes(&service, proto::GetScoreClassesRequest { after_days: 1, ..Default::default() }).await.unwrap();
    assert_eq!(found.classes[0].spend, Some(usd("10.00")));
    let years = proto::CalendarPeriod::Year.into();
    let request = proto::GetRetentionRequest {
        from: day(1898, 1, 1),
        until: day(1902, 1, 1),
        each: years,
        as_of: None,
        ..Default::default()
    };
    let buyers: Vec<i64> = retention(&service, request).await.unwrap().periods.iter().map(|it| it.buyers).collect();
    assert_eq!(buyers, [0, 0, 1, 0]);
    let old = proto::FitValueModelRequest {
        program_id: SHOP.to_owned(),
        from: day(1, 1, 1),
        until: day(1899, 1, 1),
        idempotency_key: "m-1".to_owned(),
        ..Default::default()
    };
    assert_refused(service.value().fit_value_model(old).await, Code::FailedPrecondition, "VALUE_MODEL_NOT_FITTED");
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn what_an_erased_customer_bought_still_counts_and_nobody_is_told_of_them() {
    let service = Service::start().await;
    service.apply_shop().await;
    bought(&service, "anna", "p-1", "10.00", 1).await;
    let before = retention(&service, proto::GetRetentionRequest::default()).await.unwrap();
    erase(&service, erasure("anna", proto::BalanceDisposal::Expire, "e-1")).await.unwrap();
    assert_refused(get(&service, "anna", None).await, Code::NotFound, "CUSTOMER_NOT_FOUND");
    let after = retention(&service, proto::GetRetentionRequest::default()).await.unwrap();
    assert_eq!(after.periods, before.periods);
    assert_eq!(after.periods.iter().map(|it| it.buyers).sum::<i64>(), 1);
    assert_clean(&service.database).await;
}

/// The present of a service that starts at [`START`], so many days later.
fn later(days: i64) -> Timestamp {
    START.parse::<Timestamp>().unwrap() + SignedDuration::from_hours(24 * days)
}
