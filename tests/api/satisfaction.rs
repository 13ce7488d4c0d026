//! What customers say: feedback, how satisfied one is, and how satisfied all are.

mod index;
mod random_feedback;

use futures_util::future::join_all;
use goldbook::embedded_postgres::SUPERUSER;
use goldbook::proto;
use goldbook::proto::EntryKind::{CustomerEnrolled, FeedbackAccepted};
use goldbook::proto::record_activity_request::Activity;
use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::audit::assert_clean;
use crate::customers::erasure::{erase, erasure};
use crate::harness::{SHOP, START, Service, assert_refused, at, money, reason, shop, sorted_bad_fields, usd};

/// [`SHOP`] with three factors, and an index from so few answers on.
pub(crate) fn asking_shop(minimum_answers: i32) -> proto::Program {
    let factor = |id: &str| proto::Factor { factor_id: id.to_owned(), display_name: id.to_uppercase() };
    let factors = ["quality", "price", "delivery"].map(factor).to_vec();
    let policy = proto::SatisfactionPolicy { factors, minimum_answers, acsi_weights: None };
    proto::Program { satisfaction: Some(policy), ..shop() }
}

pub(crate) async fn start() -> Service {
    let service = Service::start().await;
    service.apply(asking_shop(3)).await.unwrap();
    service
}

/// Feedback of nothing but a score of satisfaction.
pub(crate) fn satisfied(score: i32) -> proto::Feedback {
    proto::Feedback { satisfaction: Some(score), ..Default::default() }
}

/// Feedback that was given at an instant, by a customer who is enrolled if unknown.
pub(crate) fn said(
    customer_id: &str,
    activity_id: &str,
    feedback: proto::Feedback,
    happened_at: &str,
) -> proto::RecordActivityRequest {
    proto::RecordActivityRequest {
        program_id: SHOP.to_owned(),
        customer_id: customer_id.to_owned(),
        activity_id: activity_id.to_owned(),
        happened_at: Some(at(happened_at)),
        enrol: true,
        activity: Some(Activity::Feedback(feedback)),
        ..Default::default()
    }
}

pub(crate) async fn send(
    service: &Service,
    request: proto::RecordActivityRequest,
) -> Result<proto::RecordActivityResponse, Status> {
    Ok(service.activities().record_activity(request).await?.into_inner())
}

async fn get(
    service: &Service,
    customer_id: &str,
    as_of: Option<&str>,
) -> Result<proto::GetSatisfactionResponse, Status> {
    let request = proto::GetSatisfactionRequest {
        program_id: SHOP.to_owned(),
        customer_id: customer_id.to_owned(),
        as_of: as_of.map(at),
    };
    Ok(service.satisfaction().get_satisfaction(request).await?.into_inner())
}

fn factor(factor_id: &str, score: i32, importance: Option<i32>) -> proto::FactorAnswer {
    proto::FactorAnswer { factor_id: factor_id.to_owned(), score, importance }
}

/// Feedback with everything in it.
fn everything() -> proto::Feedback {
    proto::Feedback {
        satisfaction: Some(4),
        recommendation: Some(0),
        acsi: Some(proto::AcsiAnswers { satisfaction: 8, expectation: 1, ideal: 10 }),
        factors: vec![factor("delivery", 2, Some(5)), factor("price", 5, None)],
        value: Some(proto::DeliveredValue {
            received: Some(usd("100.00")),
            money: Some(usd("80.50")),
            time: None,
            effort: Some(usd("10.00")),
            nerves: Some(usd("20.00")),
            delivered: None,
        }),
        channel: proto::FeedbackChannel::InPerson.into(),
        survey_id: "spring".to_owned(),
        text: "The parcel was late.\nAgain, Łukasz!".to_owned(),
        involvement: Some(5),
        brands: Some(3),
    }
}

#[tokio::test]
async fn record_activity_keeps_feedback_whole_and_its_words_out_of_the_ledger() {
    let service = start().await;
    service.set_clock("2026-01-16T12:00:00Z");
    let recorded = send(&service, said("anna", "f-1", everything(), START)).await.unwrap();
    let entries = service.entries("anna").await;
    let kinds: Vec<_> = entries.iter().map(proto::Entry::kind).collect();
    assert_eq!((kinds[0], kinds[2]), (CustomerEnrolled, FeedbackAccepted));
    let accepted = &entries[2];
    assert_eq!(accepted.reason(), proto::EntryReason::Feedback);
    for word in ["parcel", "spring", "f-1"] {
        assert!(!accepted.detail_json.contains(word), "{word} in {}", accepted.detail_json);
    }
    let told = proto::DeliveredValue {
        time: Some(usd("0.00")),
        delivered: Some(proto::google::Money { units: -10, nanos: -500_000_000, ..usd("0.00") }),
        ..everything().value.unwrap()
    };
    let activity = proto::Activity {
        activity_id: "f-1".to_owned(),
        customer_id: "anna".to_owned(),
        activity: Some(proto::activity::Activity::Feedback(proto::Feedback { value: Some(told), ..everything() })),
        happened_at: Some(at(START)),
        recorded_at: Some(at("2026-01-16T12:00:00Z")),
        entry_id: accepted.entry_id.clone(),
    };
    let expected = proto::RecordActivityResponse {
        activity: Some(activity.clone()),
        entry_ids: entries.iter().map(|entry| entry.entry_id.clone()).collect(),
        ..Default::default()
    };
    assert_eq!(recorded, expected);
    // Among purchases it is listed in its place.
    send(&service, said("anna", "f-2", satisfied(1), START)).await.unwrap();
    service.purchase("anna", "order-1", "12.00").await.unwrap();
    let request = proto::ListActivitiesRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        ..Default::default()
    };
    let listed = service.activities().list_activities(request).await.unwrap().into_inner().activities;
    let ids: Vec<&str> = listed.iter().map(|activity| activity.activity_id.as_str()).collect();
    assert_eq!(ids, ["order-1", "f-2", "f-1"]);
    assert_eq!(listed[2], activity);
    let second = Some(proto::activity::Activity::Feedback(satisfied(1)));
    assert_eq!(listed[1].activity, second);
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn record_activity_takes_one_answer_to_a_survey_from_each_customer() {
    let service = start().await;
    let answer = |customer, id, score, survey: &str| {
        let feedback = proto::Feedback { survey_id: survey.to_owned(), ..satisfied(score) };
        said(customer, id, feedback, START)
    };
    let first = send(&service, answer("anna", "f-1", 5, "spring")).await.unwrap();
    let again = send(&service, answer("anna", "f-2", 1, "spring")).await.unwrap_err();
    assert_eq!((again.code(), reason(&again).as_str()), (Code::AlreadyExists, "SURVEY_ANSWERED"));
    let facts = again.get_details_error_info().unwrap().metadata;
    assert_eq!(facts["entry_id"], first.activity.as_ref().unwrap().entry_id);
    // The same answer again is a repetition, another by the same id a mistake.
    let replayed = send(&service, answer("anna", "f-1", 5, "spring")).await.unwrap();
    assert_eq!(replayed, proto::RecordActivityResponse { replayed: true, ..first });
    let other = send(&service, answer("anna", "f-1", 4, "spring")).await;
    assert_refused(other, Code::AlreadyExists, "ACTIVITY_ID_REUSED");
    // Other surveys, other customers and no survey at all are free.
    for (customer, id, survey) in
        [("anna", "f-3", "autumn"), ("ben", "f-1", "spring"), ("anna", "f-4", ""), ("anna", "f-5", "")]
    {
        send(&service, answer(customer, id, 3, survey)).await.unwrap();
    }
    assert_eq!(get(&service, "anna", None).await.unwrap().answers, 4);
}

#[tokio::test]
async fn record_activity_by_64_clients_on_two_services_takes_one_answer_to_a_survey() {
    let service = start().await;
    service.enrol("anna").await;
    let other = Service::start_on(service.database.clone(), service.clock.clone()).await;
    let answers = join_all((0..64).map(|i| {
        let feedback = proto::Feedback { survey_id: "spring".to_owned(), ..satisfied(1 + i % 5) };
        send(if i % 2 == 0 { &service } else { &other }, said("anna", &format!("f-{i}"), feedback, START))
    }))
    .await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for answer in answers.into_iter().filter(Result::is_err) {
        assert_refused(answer, Code::AlreadyExists, "SURVEY_ANSWERED");
    }
    assert_eq!(get(&service, "anna", None).await.unwrap().answers, 1);
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn record_activity_refuses_feedback_that_is_bad_and_tells_all_of_it() {
    let service = start().await;
    let bad = proto::Feedback {
        satisfaction: Some(0),
        recommendation: Some(11),
        acsi: Some(proto::AcsiAnswers { satisfaction: 1, expectation: 0, ideal: 11 }),
        factors: vec![factor("price", 6, Some(0)), factor("price", 1, None), factor("No!", 1, None)],
        value: Some(proto::DeliveredValue {
            received: Some(usd("1.00")),
            time: Some(money("EUR", "1.00")),
            nerves: Some(usd("0.001")),
            ..Default::default()
        }),
        channel: 99,
        survey_id: "\u{7}".to_owned(),
        text: "x".repeat(4_001),
        involvement: Some(6),
        brands: Some(0),
    };
    let fields = [
        "acsi.expectation",
        "acsi.ideal",
        "brands",
        "channel",
        "factors[0].importance",
        "factors[0].score",
        "factors[1].factor_id",
        "factors[2].factor_id",
        "involvement",
        "recommendation",
        "satisfaction",
        "survey_id",
        "text",
        "value.nerves",
        "value.time.currency_code",
    ];
    let expected = fields.map(|field| format!("feedback.{field}"));
    assert_eq!(sorted_bad_fields(send(&service, said("anna", "f-1", bad, START)).await), expected);
    let nothing = proto::Feedback { text: "hm".to_owned(), ..Default::default() };
    assert_eq!(sorted_bad_fields(send(&service, said("anna", "f-1", nothing, START)).await), ["feedback"]);
    let many = (0..31).map(|i| factor(&format!("f{i}"), 1, None)).collect();
    let many = proto::Feedback { factors: many, ..satisfied(1) };
    assert_eq!(sorted_bad_fields(send(&service, said("anna", "f-1", many, START)).await), ["feedback.factors"]);

    let unknown = vec![factor("price", 1, None), factor("smell", 1, None), factor("taste", 1, None)];
    let unknown =
        send(&service, said("anna", "f-1", proto::Feedback { factors: unknown, ..satisfied(1) }, START)).await;
    let status = unknown.clone().unwrap_err();
    assert!(status.message().ends_with("smell, taste"), "{status:?}");
    assert_refused(unknown, Code::NotFound, "FACTOR_NOT_FOUND");
    let euros = proto::DeliveredValue { received: Some(money("EUR", "1.00")), ..Default::default() };
    let euros = proto::Feedback { value: Some(euros), ..satisfied(1) };
    let foreign = send(&service, said("anna", "f-1", euros, START)).await;
    assert_refused(foreign, Code::FailedPrecondition, "CURRENCY_MISMATCH");
    let ahead = send(&service, said("anna", "f-1", satisfied(1), "2026-01-15T12:05:01Z")).await;
    assert_refused(ahead, Code::OutOfRange, "INSTANT_IN_FUTURE");
    let stranger = proto::RecordActivityRequest { enrol: false, ..said("zoe", "f-1", satisfied(1), START) };
    assert_refused(send(&service, stranger).await, Code::NotFound, "CUSTOMER_NOT_FOUND");
    // Nothing of all that is there.
    assert_refused(get(&service, "anna", None).await, Code::NotFound, "CUSTOMER_NOT_FOUND");
}

#[tokio::test]
async fn record_activity_of_feedback_keeps_sliding_points_and_changes_no_tier() {
    let service = Service::start().await;
    let rule = Some(proto::expiry_rule::Rule::Sliding("P30D".to_owned()));
    let points = proto::PointsPolicy { expiry: Some(proto::ExpiryRule { rule }), ..Default::default() };
    service.apply(proto::Program { points: Some(points), ..shop() }).await.unwrap();
    service.purchase("anna", "order-1", "20.00").await.unwrap();
    let tier = service.tier("anna").await;
    service.set_clock("2026-02-10T12:00:00Z");
    send(&service, said("anna", "f-1", satisfied(3), "2026-02-10T12:00:00Z")).await.unwrap();
    service.set_clock("2026-03-01T12:00:00Z");
    assert_eq!(service.available("anna").await, 20);
    assert_eq!(service.tier("anna").await.entry_id, tier.entry_id);
    service.set_clock("2026-03-14T12:00:00Z");
    assert_eq!(service.available("anna").await, 0);
    // It is no purchase that could be refunded.
    let refund =
        proto::Refund { purchase_activity_id: "f-1".to_owned(), amount: Some(usd("1.00")), ..Default::default() };
    let refund = proto::RecordActivityRequest {
        activity: Some(Activity::Refund(refund)),
        ..said("anna", "r-1", satisfied(1), START)
    };
    assert_refused(send(&service, refund).await, Code::FailedPrecondition, "PURCHASE_UNKNOWN");
}

#[tokio::test]
async fn get_satisfaction_tells_the_latest_answers_and_where_they_go() {
    let service = start().await;
    service.set_clock("2026-01-20T12:00:00Z");
    let with = |score, factors: Vec<proto::FactorAnswer>| proto::Feedback { factors, ..satisfied(score) };
    let told = [
        ("f-1", with(5, vec![factor("price", 4, Some(5))]), "2026-01-16T12:00:00Z"),
        ("f-2", proto::Feedback { recommendation: Some(7), ..satisfied(4) }, "2026-01-17T12:00:00Z"),
        // Told late: it is not the latest.
        ("f-3", everything(), "2026-01-15T12:00:00Z"),
        ("f-4", with(2, vec![factor("price", 4, None)]), "2026-01-18T12:00:00Z"),
    ];
    let mut entries = Vec::new();
    for (id, feedback, happened_at) in told {
        let recorded = send(&service, said("anna", id, feedback, happened_at)).await.unwrap();
        entries.push(recorded.activity.unwrap().entry_id);
    }
    let found = get(&service, "anna", None).await.unwrap();
    let trend = |latest, happened_at: &str, entry: usize, mean_before, trend: proto::Trend| proto::ScoreTrend {
        latest,
        happened_at: Some(at(happened_at)),
        entry_id: entries[entry].clone(),
        mean_before,
        trend: trend.into(),
    };
    let price = proto::FactorSatisfaction {
        factor_id: "price".to_owned(),
        display_name: "PRICE".to_owned(),
        score: Some(trend(4, "2026-01-18T12:00:00Z", 3, Some(4.5), proto::Trend::Falling)),
        importance: Some(5),
    };
    let delivery = proto::FactorSatisfaction {
        factor_id: "delivery".to_owned(),
        display_name: "DELIVERY".to_owned(),
        score: Some(trend(2, START, 2, None, proto::Trend::Unspecified)),
        importance: Some(5),
    };
    let value = found.value.clone();
    assert_eq!(value.as_ref().unwrap().delivered.as_ref().unwrap().units, -10);
    let expected = proto::GetSatisfactionResponse {
        as_of: Some(at("2026-01-20T12:00:00Z")),
        answers: 4,
        satisfaction: Some(trend(2, "2026-01-18T12:00:00Z", 3, Some(13.0 / 3.0), proto::Trend::Falling)),
        recommendation: Some(trend(7, "2026-01-17T12:00:00Z", 1, Some(0.0), proto::Trend::Rising)),
        factors: vec![price, delivery],
        acsi: everything().acsi,
        value,
        involvement: Some(5),
        brands: Some(3),
    };
    assert_eq!(found, expected);
}

#[tokio::test]
async fn get_satisfaction_answers_as_of_an_instant_what_was_answered_then() {
    let service = Service::start().await;
    service.apply(shop()).await.unwrap();
    service.set_clock("2026-01-16T12:00:00Z");
    send(&service, said("anna", "f-1", satisfied(5), START)).await.unwrap();
    let then = get(&service, "anna", None).await.unwrap();
    service.set_clock("2026-01-17T12:00:00Z");
    service.apply(asking_shop(3)).await.unwrap();
    let priced = proto::Feedback { factors: vec![factor("price", 1, None)], ..satisfied(1) };
    send(&service, said("anna", "f-2", priced, START)).await.unwrap();
    let now = get(&service, "anna", None).await.unwrap();
    assert_eq!((now.answers, now.factors.len()), (2, 1));
    assert_eq!(get(&service, "anna", Some("2026-01-16T12:00:00Z")).await.unwrap(), then);
    let later = get(&service, "anna", Some("2026-01-17T11:59:59Z")).await.unwrap();
    assert_eq!(proto::GetSatisfactionResponse { as_of: then.as_of, ..later }, then);
    let before = get(&service, "anna", Some("2026-01-16T11:59:59.999999Z")).await;
    assert_refused(before, Code::NotFound, "CUSTOMER_NOT_FOUND");
    let ahead = get(&service, "anna", Some("2026-01-17T12:00:01Z")).await;
    assert_refused(ahead, Code::OutOfRange, "INSTANT_IN_FUTURE");
    let request =
        proto::GetSatisfactionRequest { program_id: "other".to_owned(), customer_id: "anna".to_owned(), as_of: None };
    let other = service.satisfaction().get_satisfaction(request).await;
    assert_refused(other, Code::NotFound, "PROGRAM_NOT_FOUND");
    // Who said nothing has nothing.
    service.enrol("ben").await;
    let silent = get(&service, "ben", None).await.unwrap();
    assert_eq!(silent, proto::GetSatisfactionResponse { as_of: silent.as_of, ..Default::default() });
}

#[tokio::test]
async fn erase_customer_takes_every_word_and_leaves_numbers_that_name_nobody() {
    let service = Service::start().await;
    service.apply(asking_shop(1)).await.unwrap();
    send(&service, said("anna", "f-1", everything(), START)).await.unwrap();
    let account_id = service.entries("anna").await[0].account_id.clone();
    let before = index::whole(&service).await;
    erase(&service, erasure("anna", proto::BalanceDisposal::Expire, "k")).await.unwrap();
    let mut connection = service.database.connect(SUPERUSER).await;
    for (table, left) in [("activities", 0), ("entry_notes", 0), ("feedback", 1)] {
        let count = format!("SELECT count(*) FROM {table} WHERE account_id::text = $1");
        let count: i64 =
            sqlx::query_scalar(sqlx::AssertSqlSafe(count)).bind(&account_id).fetch_one(&mut connection).await.unwrap();
        assert_eq!(count, left, "{table}");
    }
    assert_eq!(index::whole(&service).await.indexes, before.indexes);
    // Who comes back has answered nothing yet.
    let again = proto::RecordActivityRequest { enrol: true, ..said("anna", "f-1", everything(), START) };
    assert_refused(send(&service, again).await, Code::FailedPrecondition, "CUSTOMER_ERASED");
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn pages_of_activities_end_where_they_are_full_and_lead_to_all_that_was_said() {
    let service = start().await;
    let long = proto::Feedback { text: "x".repeat(4_000), ..satisfied(3) };
    let ids: Vec<String> = (0..300).map(|i| format!("f-{i}")).collect();
    let sent = join_all(ids.iter().map(|id| send(&service, said("anna", id, long.clone(), START)))).await;
    sent.into_iter().for_each(|sent| drop(sent.unwrap()));
    let mut request = proto::ListActivitiesRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        page_size: 1_000,
        ..Default::default()
    };
    let mut counts = Vec::new();
    while counts.is_empty() || !request.page_token.is_empty() {
        let page = service.activities().list_activities(request.clone()).await.unwrap().into_inner();
        assert!(page.encoded_len() <= 2 * 1_024 * 1_024, "{}", page.encoded_len());
        counts.push(page.activities.len());
        request.page_token = page.next_page_token;
    }
    assert!(counts.len() > 1 && counts.iter().sum::<usize>() == 300, "{counts:?}");
}
