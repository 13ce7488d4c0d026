//! How satisfied all customers of a program are: published numbers, periods, and instants.

use futures_util::StreamExt as _;
use goldbook::embedded_postgres::{SERVICE_ROLE, SUPERUSER};
use goldbook::proto;
use goldbook::proto::google::Date;
use tonic::{Code, Status};

use super::{asking_shop, factor, said, satisfied, send, start};
use crate::harness::{Database, SHOP, START, Service, assert_refused, at, shop, sorted_bad_fields, usd};

fn day(year: i32, month: i32, day: i32) -> Option<Date> {
    Some(Date { year, month, day })
}

pub(super) async fn ask(
    service: &Service,
    request: proto::GetSatisfactionIndexRequest,
) -> Result<proto::GetSatisfactionIndexResponse, Status> {
    let request = proto::GetSatisfactionIndexRequest { program_id: SHOP.to_owned(), ..request };
    Ok(service.satisfaction().get_satisfaction_index(request).await?.into_inner())
}

/// The index of the last year.
pub(super) async fn whole(service: &Service) -> proto::GetSatisfactionIndexResponse {
    ask(service, proto::GetSatisfactionIndexRequest::default()).await.unwrap()
}

/// Feedback of many customers, one each.
async fn tell(service: &Service, all: impl IntoIterator<Item = proto::Feedback>) {
    let items: Vec<_> = (0_u32..)
        .zip(all)
        .map(|(i, feedback)| proto::BatchRecordActivitiesRequest {
            item_id: i.to_string(),
            activity: Some(said(&format!("c-{i}"), "f-1", feedback, START)),
        })
        .collect();
    let answers = service.activities().batch_record_activities(tokio_stream::iter(items)).await.unwrap().into_inner();
    let mut answers = Box::pin(answers);
    while let Some(answer) = answers.next().await {
        let outcome = answer.unwrap().outcome.unwrap();
        assert!(matches!(outcome, proto::batch_record_activities_response::Outcome::Recorded(_)), "{outcome:?}");
    }
}

fn is_about(value: Option<f64>, expected: f64) -> bool {
    value.is_some_and(|value| (value - expected).abs() < 0.00005)
}

#[tokio::test]
async fn get_satisfaction_index_comes_to_the_published_numbers() {
    let service = Service::start().await;
    service.apply(asking_shop(0)).await.unwrap();
    // 60 promoters, 25 passives, 15 detractors; satisfied by 1 to 5; the three questions by 8, 7 and 6 on average.
    let feedback = (0..100).map(|i| proto::Feedback {
        recommendation: Some(if i < 60 {
            9 + i % 2
        } else if i < 85 {
            7 + i % 2
        } else {
            i % 7
        }),
        satisfaction: Some(1 + i % 5),
        acsi: Some(proto::AcsiAnswers { satisfaction: 7 + i % 3, expectation: 7, ideal: 5 + i % 3 }),
        ..Default::default()
    });
    tell(&service, feedback).await;
    let told = whole(&service).await;
    assert_eq!(told.minimum_answers, 30);
    let [index] = &told.indexes[..] else { panic!("{told:?}") };
    assert_eq!((index.from, index.until, index.answers), (day(2025, 1, 16), day(2026, 1, 16), 100));
    let nps = index.recommendation.as_ref().unwrap();
    assert_eq!((nps.answers, nps.promoters, nps.passives, nps.detractors), (100, 60, 25, 15));
    assert!(is_about(nps.score, 0.45) && is_about(nps.adjusted, 0.4369) && is_about(nps.margin, 0.1435), "{nps:?}");
    assert_eq!(nps.scores.iter().map(|share| share.score).collect::<Vec<_>>(), (0..=10).collect::<Vec<_>>());
    assert_eq!(nps.scores.iter().map(|share| share.answers).sum::<i64>(), 100);
    let satisfaction = index.satisfaction.as_ref().unwrap();
    assert!(is_about(satisfaction.mean, 3.0) && is_about(satisfaction.top_two, 0.4), "{satisfaction:?}");
    for share in &satisfaction.scores {
        assert_eq!((share.answers, share.share), (20, 0.2));
    }
    let acsi = index.acsi.as_ref().unwrap();
    let means = [acsi.satisfaction, acsi.expectation, acsi.ideal];
    // Of 34 answers each 7 and 5, and 33 each of the next two.
    let expected = [(34.0 * 7.0 + 33.0 * 17.0) / 100.0, 7.0, (34.0 * 5.0 + 33.0 * 13.0) / 100.0];
    assert!(means.into_iter().zip(expected).all(|(mean, expected)| is_about(mean, expected)), "{acsi:?}");
    let index: f64 = expected.iter().map(|mean| (mean - 1.0) / 9.0).sum();
    assert!(is_about(acsi.index, 100.0 * index / 3.0), "{acsi:?}");
}

#[tokio::test]
async fn get_satisfaction_index_puts_the_factor_to_mend_first() {
    let service = start().await;
    let value = |received, money| proto::DeliveredValue {
        received: Some(usd(received)),
        money: Some(usd(money)),
        ..Default::default()
    };
    let feedback = [(5, 2, Some("10.00")), (4, 3, Some("20.01")), (3, 1, Some("20.00")), (4, 2, None)];
    let full = feedback.map(|(quality, delivery, received)| proto::Feedback {
        factors: vec![factor("quality", quality, Some(5)), factor("delivery", delivery, Some(4))],
        value: received.map(|received| value(received, "30.00")),
        ..satisfied(3)
    });
    // Few say anything of the price.
    let few = [1, 1].map(|price| proto::Feedback { factors: vec![factor("price", price, Some(5))], ..satisfied(3) });
    tell(&service, full.into_iter().chain(few)).await;
    let told = whole(&service).await;
    let index = &told.indexes[0];
    let factors: Vec<_> = index.factors.iter().map(|it| (it.factor_id.as_str(), it.answers, it.priority)).collect();
    assert_eq!(factors, [("delivery", 4, Some(12.0)), ("quality", 4, Some(5.0)), ("price", 2, None)]);
    let delivery = &index.factors[0];
    assert_eq!(
        (delivery.display_name.as_str(), delivery.score, delivery.importance),
        ("DELIVERY", Some(2.0), Some(4.0))
    );
    let mean = index.value.as_ref().unwrap();
    assert_eq!(mean.answers, 3);
    let mean = mean.mean.as_ref().unwrap();
    assert_eq!((mean.received.clone(), mean.time.clone()), (Some(usd("16.67")), Some(usd("0.00"))));
    assert_eq!(mean.delivered.as_ref().map(|it| (it.units, it.nanos)), Some((-13, -330_000_000)));
}

#[tokio::test]
async fn get_satisfaction_index_tells_no_index_of_too_few_answers() {
    let service = start().await;
    let few = proto::Feedback {
        recommendation: Some(9),
        acsi: Some(proto::AcsiAnswers { satisfaction: 9, expectation: 9, ideal: 9 }),
        factors: vec![factor("price", 2, Some(5))],
        value: Some(proto::DeliveredValue { received: Some(usd("1.00")), ..Default::default() }),
        ..satisfied(5)
    };
    tell(&service, [few.clone(), few.clone()]).await;
    let index = whole(&service).await.indexes.remove(0);
    let price = proto::FactorIndex {
        factor_id: "price".to_owned(),
        display_name: "PRICE".to_owned(),
        answers: 2,
        importance_answers: 2,
        ..Default::default()
    };
    assert_eq!(index.answers, 2);
    assert_eq!(index.satisfaction, Some(proto::SatisfactionScores { answers: 2, ..Default::default() }));
    assert_eq!(index.recommendation, Some(proto::NetPromoterScore { answers: 2, ..Default::default() }));
    assert_eq!(index.acsi, Some(proto::AcsiIndex { answers: 2, ..Default::default() }));
    assert_eq!(index.value, Some(proto::DeliveredValueIndex { answers: 2, mean: None }));
    assert_eq!(index.factors[1], price);
    send(&service, said("c-9", "f-1", few, START)).await.unwrap();
    let index = whole(&service).await.indexes.remove(0);
    assert_eq!(index.satisfaction.unwrap().mean, Some(5.0));
    assert_eq!(index.factors[0].priority, Some(15.0));
}

#[tokio::test]
async fn get_satisfaction_index_weighs_the_questions_as_the_program_says() {
    let service = Service::start().await;
    let weights = |satisfaction: &str, expectation: &str, ideal: &str| {
        let [satisfaction, expectation, ideal] = [satisfaction, expectation, ideal].map(str::to_owned);
        let mut program = asking_shop(1);
        let weights = Some(proto::AcsiWeights { satisfaction, expectation, ideal });
        program.satisfaction.as_mut().unwrap().acsi_weights = weights;
        program
    };
    service.apply(weights("0.5", "0.3", "0.2")).await.unwrap();
    let acsi = Some(proto::AcsiAnswers { satisfaction: 8, expectation: 7, ideal: 6 });
    tell(&service, [proto::Feedback { acsi, ..Default::default() }]).await;
    let asked = async || whole(&service).await.indexes[0].acsi.as_ref().unwrap().index;
    assert!(is_about(asked().await, 100.0 * (3.5 + 1.8 + 1.0) / 9.0));
    service.set_clock("2026-01-15T13:00:00Z");
    service.apply(weights("", "", "7")).await.unwrap();
    assert!(is_about(asked().await, 100.0 * 5.0 / 9.0));
    // As it was weighed then.
    let then = proto::GetSatisfactionIndexRequest { as_of: Some(at(START)), ..Default::default() };
    let then = ask(&service, then).await.unwrap().indexes[0].acsi.as_ref().unwrap().index;
    assert!(is_about(then, 70.0), "{then:?}");
    let bad = service.apply(weights("0", "", "0")).await;
    assert_eq!(sorted_bad_fields(bad), ["program.satisfaction.acsi_weights"]);
}

#[tokio::test]
async fn get_satisfaction_index_counts_by_local_days_and_parts_of_the_calendar() {
    let service = start().await;
    service.set_clock("2026-03-10T12:00:00Z");
    for (i, happened_at) in [
        // The last instant of January in New York, and the first of February.
        "2026-02-01T04:59:59.999999Z",
        "2026-02-01T05:00:00Z",
        "2026-02-15T12:00:00Z",
        "2026-03-10T03:59:59Z",
        "2026-03-10T12:00:00Z",
    ]
    .into_iter()
    .enumerate()
    {
        send(&service, said("anna", &format!("f-{i}"), satisfied(4), happened_at)).await.unwrap();
    }
    let months = |from, until| proto::GetSatisfactionIndexRequest {
        from,
        until,
        each: proto::CalendarPeriod::Month.into(),
        ..Default::default()
    };
    let counts = async |request| {
        let parts = ask(&service, request).await.unwrap().indexes.into_iter();
        parts.map(|it| (it.from.unwrap(), it.until.unwrap(), it.answers)).collect::<Vec<_>>()
    };
    let days = |all: [(i32, i32); 4], answers: [i64; 3]| -> Vec<(Date, Date, i64)> {
        let day = |(month, day)| Date { year: 2026, month, day };
        (0..3).map(|i| (day(all[i]), day(all[i + 1]), answers[i])).collect()
    };
    let told = counts(months(day(2026, 1, 31), None)).await;
    assert_eq!(told, days([(1, 31), (2, 1), (3, 1), (3, 11)], [1, 2, 2]));
    let told = counts(months(day(2026, 1, 1), day(2026, 3, 10))).await;
    assert_eq!(told, days([(1, 1), (2, 1), (3, 1), (3, 10)], [1, 2, 1]));
    assert_eq!(whole(&service).await.indexes[0].answers, 5);
}

#[tokio::test]
async fn get_satisfaction_index_of_an_instant_never_changes() {
    let service = start().await;
    tell(&service, [satisfied(5), satisfied(4), satisfied(4)]).await;
    let then = whole(&service).await;
    service.set_clock("2026-01-15T13:00:00Z");
    // Told later, of the same day.
    for i in 0..3 {
        send(&service, said("late", &format!("f-{i}"), satisfied(1), START)).await.unwrap();
    }
    let asked =
        ask(&service, proto::GetSatisfactionIndexRequest { as_of: Some(at(START)), ..Default::default() }).await;
    assert_eq!(asked.unwrap(), then);
    assert_eq!(whole(&service).await.indexes[0].answers, 6);
    let ahead = proto::GetSatisfactionIndexRequest { as_of: Some(at("2026-01-15T13:00:01Z")), ..Default::default() };
    assert_refused(ask(&service, ahead).await, Code::OutOfRange, "INSTANT_IN_FUTURE");
}

#[tokio::test]
async fn get_satisfaction_index_tells_what_is_wrong_with_a_period() {
    let service = start().await;
    let asked = |from, until, each: i32| proto::GetSatisfactionIndexRequest { from, until, each, ..Default::default() };
    let month = proto::CalendarPeriod::Month.into();
    for (request, field) in [
        (asked(day(2026, 1, 2), day(2026, 1, 2), 0), "until"),
        (asked(day(2026, 1, 17), None, 0), "until"),
        (asked(day(2026, 2, 30), None, 0), "from"),
        (asked(None, day(0, 1, 1), 0), "until"),
        (asked(day(2021, 1, 31), day(2026, 1, 31), month), "each"),
        (asked(None, None, 99), "each"),
    ] {
        let refused = ask(&service, request.clone()).await;
        assert_eq!(sorted_bad_fields(refused), [field], "{request:?}");
    }
    let request = proto::GetSatisfactionIndexRequest { program_id: "other".to_owned(), ..Default::default() };
    let other = service.satisfaction().get_satisfaction_index(request).await;
    assert_refused(other, Code::NotFound, "PROGRAM_NOT_FOUND");
    // A program that never said what it asks has an index all the same.
    service.apply(proto::Program { program_id: "plain".to_owned(), ..shop() }).await.unwrap();
    let request = proto::GetSatisfactionIndexRequest { program_id: "plain".to_owned(), ..Default::default() };
    let plain = service.satisfaction().get_satisfaction_index(request).await.unwrap().into_inner();
    assert_eq!((plain.minimum_answers, plain.indexes[0].factors.len()), (30, 0));
}

/// Whoever asks often waits for nobody, and nobody else waits for them: one is counted for each caller at a time.
#[tokio::test]
async fn get_satisfaction_index_counts_a_few_at_a_time() {
    let service = start().await;
    let database: Database = service.database.clone();
    // As if there were very much to read: a lock holds the first one up.
    let mut holder = database.connect(SUPERUSER).await;
    sqlx::raw_sql("BEGIN; LOCK TABLE feedback IN ACCESS EXCLUSIVE MODE").execute(&mut holder).await.unwrap();
    let waits = async {
        let mut watcher = database.connect(SUPERUSER).await;
        crate::wait::until("a count to wait", async || {
            let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = $1";
            let count: i64 = sqlx::query_scalar(waiting).bind(SERVICE_ROLE).fetch_one(&mut watcher).await.unwrap();
            (count == 1).then_some(())
        })
        .await;
        let second = ask(&service, proto::GetSatisfactionIndexRequest::default()).await.unwrap_err();
        assert_eq!(second.code(), Code::ResourceExhausted, "{second:?}");
        sqlx::raw_sql("COMMIT").execute(&mut holder).await.unwrap();
    };
    let (first, ()) = tokio::join!(whole(&service), waits);
    assert_eq!(first.indexes[0].answers, 0);
    // Its place is free again.
    assert_eq!(whole(&service).await.indexes[0].answers, 0);
}
