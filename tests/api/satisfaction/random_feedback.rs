//! Random feedback of many customers, against a naive recomputation from all entries.

use std::collections::BTreeMap;

use goldbook::proto;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::index::ask;
use super::{asking_shop, factor, said, send};
use crate::audit::assert_clean;
use crate::harness::{START, Service, instant, usd};
use crate::random::{Random, cases};

const CUSTOMERS: [&str; 4] = ["anna", "ben", "carla", "dan"];

fn day_of(at: Timestamp) -> Date {
    at.to_zoned(goldbook_api::zones::find("America/New_York").unwrap()).date()
}

fn random_feedback(random: &mut Random) -> proto::Feedback {
    let mut score = |least: i32, most: i32| {
        let chosen = least + random.below(u64::try_from(most - least + 1).unwrap()) as i32;
        Some(chosen).filter(|_| random.below(3) > 0)
    };
    let acsi = score(1, 10).zip(score(1, 10)).zip(score(1, 10));
    let acsi = acsi.map(|((satisfaction, expectation), ideal)| proto::AcsiAnswers { satisfaction, expectation, ideal });
    let factors =
        ["quality", "price", "delivery"].into_iter().filter_map(|id| Some(factor(id, score(1, 5)?, score(1, 5))));
    let factors = factors.collect();
    let value = score(0, 900).map(|cents| proto::DeliveredValue {
        received: Some(usd(&format!("{}.{:02}", cents / 100, cents % 100))),
        money: Some(usd("3.00")),
        ..Default::default()
    });
    // Something is always said.
    let satisfaction = score(1, 5).or(Some(3));
    proto::Feedback { satisfaction, recommendation: score(0, 10), acsi, factors, value, ..Default::default() }
}

/// Feedback as its entry tells it.
#[derive(Clone, Debug)]
struct Told {
    customer: &'static str,
    effective_at: Timestamp,
    happened_at: Timestamp,
    detail: Value,
}

async fn read_entries(service: &Service) -> Vec<Told> {
    let mut told = Vec::new();
    for customer in CUSTOMERS {
        for entry in service.entries(customer).await {
            let detail: Value = serde_json::from_str(&entry.detail_json).unwrap();
            if detail["kind"] != "feedback_accepted" {
                continue;
            }
            let effective_at = entry.effective_at.unwrap();
            let effective_at = Timestamp::new(effective_at.seconds, effective_at.nanos).unwrap();
            let happened_at = detail["happened_at"].as_str().unwrap().parse().unwrap();
            told.push(Told { customer, effective_at, happened_at, detail });
        }
    }
    told
}

/// Sums as a child would make them: how many, and of what.
fn mean(numbers: &[i64]) -> Option<f64> {
    (!numbers.is_empty()).then(|| numbers.iter().sum::<i64>() as f64 / numbers.len() as f64)
}

fn same(told: Option<f64>, expected: Option<f64>) -> bool {
    match (told, expected) {
        (Some(told), Some(expected)) => (told - expected).abs() < 1e-9,
        (told, expected) => told == expected,
    }
}

fn check_index(index: &proto::SatisfactionIndex, told: &[&Told]) {
    let all = |path: &[&str]| -> Vec<i64> {
        let of = |it: &&Told| path.iter().try_fold(&it.detail, |value, key| value.get(key)).and_then(Value::as_i64);
        told.iter().filter_map(of).collect()
    };
    assert_eq!(index.answers, told.len() as i64);
    let (scores, satisfaction) = (all(&["satisfaction"]), index.satisfaction.as_ref().unwrap());
    assert!(same(satisfaction.mean, mean(&scores)), "{index:?}");
    for share in &satisfaction.scores {
        assert_eq!(share.answers, scores.iter().filter(|score| **score == i64::from(share.score)).count() as i64);
    }
    let (chances, nps) = (all(&["recommendation"]), index.recommendation.as_ref().unwrap());
    let count = |is: &dyn Fn(i64) -> bool| chances.iter().filter(|chance| is(**chance)).count() as i64;
    let (promoters, detractors) = (count(&|it| it >= 9), count(&|it| it <= 6));
    assert_eq!((nps.answers, nps.promoters, nps.detractors), (chances.len() as i64, promoters, detractors));
    let score = (promoters - detractors) as f64 / chances.len() as f64;
    assert!(same(nps.score, (!chances.is_empty()).then_some(score)), "{index:?}");
    let acsi = index.acsi.as_ref().unwrap();
    for (told, question) in
        [(acsi.satisfaction, "satisfaction"), (acsi.expectation, "expectation"), (acsi.ideal, "ideal")]
    {
        assert!(same(told, mean(&all(&["acsi", question]))), "{question} {index:?}");
    }
    let value = index.value.as_ref().unwrap();
    let received = all(&["value", "received"]);
    assert_eq!(value.answers, received.len() as i64);
    if let Some(mean_told) = &value.mean {
        let cents = mean_told.received.as_ref().map(|it| it.units * 100 + i64::from(it.nanos / 10_000_000)).unwrap();
        assert_eq!(cents, mean(&received).unwrap().round() as i64);
    }
    for factor in &index.factors {
        let of = |key: &str| -> Vec<i64> {
            let lists = told.iter().filter_map(|it| it.detail["factors"].as_array());
            let own = lists.flatten().filter(|it| it["factor_id"] == factor.factor_id.as_str());
            own.filter_map(|it| it[key].as_i64()).collect()
        };
        assert!(
            same(factor.score, mean(&of("score"))) && same(factor.importance, mean(&of("importance"))),
            "{factor:?}"
        );
    }
}

#[tokio::test]
async fn random_feedback_comes_to_what_all_entries_say_at_every_instant() {
    for case in cases(6) {
        let mut random = Random::of_seed(case.seed);
        let service = Service::start().await;
        service.apply(asking_shop(1)).await.unwrap();
        for customer in CUSTOMERS {
            service.enrol(customer).await;
        }
        let mut now: Timestamp = START.parse().unwrap();
        let mut answered: BTreeMap<Timestamp, proto::GetSatisfactionIndexResponse> = BTreeMap::new();
        let request = |as_of: Timestamp| proto::GetSatisfactionIndexRequest {
            as_of: Some(instant(as_of)),
            each: proto::CalendarPeriod::Week.into(),
            from: Some(proto::google::Date { year: 2025, month: 12, day: 1 }),
            ..Default::default()
        };
        for i in 0..40 {
            let customer = *random.one_of(&CUSTOMERS);
            let happened_at = now - SignedDuration::from_hours(random.below(800) as i64);
            let feedback = random_feedback(&mut random);
            let id = format!("f-{i}");
            send(&service, said(customer, &id, feedback, &happened_at.to_string())).await.unwrap();
            if random.below(4) == 0 {
                answered.insert(now, ask(&service, request(now)).await.unwrap());
                now += SignedDuration::from_hours(1 + random.below(72) as i64);
                service.set_clock(&now.to_string());
            }
        }
        let told = read_entries(&service).await;
        assert_eq!(told.len(), 40);
        answered.insert(now, ask(&service, request(now)).await.unwrap());
        for (as_of, answer) in answered {
            assert_eq!(ask(&service, request(as_of)).await.unwrap(), answer, "as of {as_of}");
            let mut counted = 0;
            for index in &answer.indexes {
                let day = |it: &Option<proto::google::Date>| {
                    let it = it.unwrap();
                    Date::new(it.year as i16, it.month as i8, it.day as i8).unwrap()
                };
                let (from, until) = (day(&index.from), day(&index.until));
                let is_in = |it: &&Told| {
                    let day = day_of(it.happened_at);
                    it.effective_at <= as_of && from <= day && day < until
                };
                let in_part: Vec<&Told> = told.iter().filter(is_in).collect();
                counted += in_part.len();
                check_index(index, &in_part);
            }
            assert_eq!(counted, told.iter().filter(|it| it.effective_at <= as_of).count());
        }
        for customer in CUSTOMERS {
            check_customer(&service, customer, &told).await;
        }
        assert_clean(&service.database).await;
    }
}

async fn check_customer(service: &Service, customer: &str, told: &[Told]) {
    // Later entries of one instant are the later ones.
    let mut own: Vec<&Told> = told.iter().filter(|it| it.customer == customer).collect();
    own.sort_by_key(|it| it.happened_at);
    let found = super::get(service, customer, None).await.unwrap();
    assert_eq!(found.answers, own.len() as i32);
    for (question, trend) in [("satisfaction", &found.satisfaction), ("recommendation", &found.recommendation)] {
        let scores: Vec<i64> = own.iter().rev().filter_map(|it| it.detail[question].as_i64()).collect();
        assert_eq!(trend.as_ref().map(|it| i64::from(it.latest)), scores.first().copied(), "{question} of {customer}");
        let before = scores.get(1..).unwrap_or_default();
        let before = &before[..before.len().min(3)];
        assert!(same(trend.as_ref().and_then(|it| it.mean_before), mean(before)), "{question} of {customer}");
    }
}
