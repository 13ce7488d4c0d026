//! Random histories with jumps of the clock: who is in which segment, against a naive reading of all entries, and asked again.

use std::collections::{BTreeMap, BTreeSet};

use goldbook::proto;
use goldbook::proto::{LifecycleStage as Stage, SegmentCount, SegmentEvent};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{clause, count, members, not, segment, segments_of, since, size, spend, stages, start, tiers};
use crate::audit::assert_clean;
use crate::harness::{START, Service};
use crate::lifecycle::random_lifecycles::{CUSTOMERS, act};
use crate::random::{Random, cases};

fn segments() -> Vec<proto::Segment> {
    let silent = stages(&[Stage::AtRisk, Stage::Lapsed, Stage::Lost]);
    vec![
        segment("better", vec![clause(tiers(&["silver", "gold"]))]),
        segment("not-silent", vec![not(silent)]),
        segment("spenders", vec![clause(spend(Some("30.00"), None, Some(45)))]),
        segment("modest", vec![clause(spend(Some("10.00"), Some("60.00"), None))]),
        segment("regular", vec![clause(count(SegmentCount::Purchases, (Some(2), None), None))]),
        segment("often", vec![clause(count(SegmentCount::ActiveDays, (Some(2), Some(9)), Some(60)))]),
        segment("quiet", vec![clause(since(SegmentEvent::LastPurchase, Some(20), Some(200)))]),
        segment("new", vec![clause(since(SegmentEvent::FirstPurchase, None, Some(30)))]),
        segment("joined", vec![clause(since(SegmentEvent::Joined, Some(1), Some(40)))]),
        segment("unhappy", vec![clause(count(SegmentCount::Satisfaction, (None, Some(2)), None))]),
        segment("complaining", vec![clause(count(SegmentCount::OpenComplaints, (Some(1), None), None))]),
        segment(
            "patient",
            vec![not(count(SegmentCount::OpenComplaints, (Some(1), None), None)), clause(tiers(&["member"]))],
        ),
    ]
}

fn day_of(at: Timestamp) -> Date {
    at.to_zoned(goldbook_api::zones::find("America/New_York").unwrap()).date()
}

/// What a purchase left, by the entry that accepted it.
struct Bought {
    day: Date,
    cents: i64,
    was_above_zero: bool,
    is_whole: bool,
}

/// What the entries of a customer say until an instant.
#[derive(Default)]
struct Read {
    joined: Option<Date>,
    bought: BTreeMap<i64, Bought>,
    complaints: i64,
    score: Option<(Timestamp, i64)>,
}

impl Read {
    async fn of(service: &Service, customer: &str, until: Timestamp) -> Self {
        let mut entries = service.entries(customer).await;
        entries.sort_by_key(|entry| entry.account_seq);
        let mut read = Self::default();
        for entry in entries {
            let effective_at = entry.effective_at.unwrap();
            let effective_at = Timestamp::new(effective_at.seconds, effective_at.nanos).unwrap();
            if effective_at <= until {
                read.joined = read.joined.or(Some(day_of(effective_at)));
                read.take(entry.account_seq, &serde_json::from_str(&entry.detail_json).unwrap());
            }
        }
        read
    }

    fn take(&mut self, seq: i64, detail: &Value) {
        let happened_at = || detail["happened_at"].as_str().unwrap().parse::<Timestamp>().unwrap();
        match detail["kind"].as_str().unwrap() {
            "activity_accepted" => {
                let cents = detail["spend"].as_i64().unwrap();
                let day = day_of(happened_at());
                self.bought.insert(seq, Bought { day, cents, was_above_zero: cents > 0, is_whole: false });
            }
            "refund_accepted" => {
                let bought = self.bought.get_mut(&detail["purchase"].as_i64().unwrap()).unwrap();
                bought.cents -= detail["spend"].as_i64().unwrap();
                bought.is_whole = bought.cents == 0;
            }
            "feedback_accepted" => {
                let said = (happened_at(), detail["satisfaction"].as_i64().unwrap());
                if self.score.is_none_or(|(at, _)| at <= said.0) {
                    self.score = Some(said);
                }
            }
            "complaint_opened" | "complaint_reopened" => self.complaints += 1,
            "complaint_resolved" => self.complaints -= 1,
            _ => {}
        }
    }

    fn kept(&self) -> impl Iterator<Item = &Bought> {
        self.bought.values().filter(|bought| !bought.is_whole)
    }
}

/// The segments that a customer is in by all that, and by their tier and stage as these are told.
async fn naive(service: &Service, customer: &str, until: Timestamp) -> BTreeSet<String> {
    let (read, today, instant) = (Read::of(service, customer, until).await, day_of(until), until.to_string());
    let tier = service.tier_at(customer, &instant).await.unwrap().tier_id;
    let stage = crate::lifecycle::get(service, customer, Some(&instant)).await.unwrap().position;
    let stage = stage.map_or(Stage::Unspecified, |position| position.stage());
    let ago = |day: Date| (today - day).get_days();
    let cents = |days: i32| read.bought.values().filter(|it| ago(it.day) < days).map(|it| it.cents).sum::<i64>();
    let counted = || read.kept().filter(|it| it.was_above_zero);
    let active: BTreeSet<Date> = counted().filter(|it| ago(it.day) < 60).map(|it| it.day).collect();
    let first = read.kept().map(|it| ago(it.day)).max();
    let last = read.kept().map(|it| ago(it.day)).min();
    let holds = [
        ("better", tier != "member"),
        ("not-silent", !matches!(stage, Stage::AtRisk | Stage::Lapsed | Stage::Lost)),
        ("spenders", cents(45) >= 3_000),
        ("modest", (1_000..=6_000).contains(&cents(i32::MAX))),
        ("regular", counted().count() >= 2),
        ("often", (2..=9).contains(&active.len())),
        ("quiet", last.is_some_and(|last| (20..=200).contains(&last))),
        ("new", first.is_some_and(|first| first <= 30)),
        ("joined", (1..=40).contains(&ago(read.joined.unwrap()))),
        ("unhappy", read.score.is_some_and(|(_, score)| score <= 2)),
        ("complaining", read.complaints > 0),
        ("patient", read.complaints == 0 && tier == "member"),
    ];
    holds.into_iter().filter(|(_, holds)| *holds).map(|(name, _)| name.to_owned()).collect()
}

/// Who is in each segment, as it is told.
async fn told(service: &Service, instant: &str) -> BTreeMap<String, Vec<String>> {
    let mut told = BTreeMap::new();
    for segment in segments() {
        let members = members(service, &segment.segment_id, Some(instant)).await;
        let counted = size(service, &segment.segment_id, Some(instant), None).await.unwrap();
        assert_eq!(counted.members, members.len() as i64, "{} at {instant}", segment.segment_id);
        told.insert(segment.segment_id, members);
    }
    told
}

#[tokio::test]
async fn random_segments_are_those_of_a_naive_reading() {
    for case in cases(3) {
        let mut random = Random::of_seed(case.seed);
        let service = start(segments()).await;
        for customer in CUSTOMERS {
            service.enrol(customer).await;
        }
        let (mut bought, mut complaints) = (Vec::new(), Vec::new());
        let (mut now, mut answers) = (START.parse::<Timestamp>().unwrap(), Vec::new());
        for step in 0..30 {
            now += SignedDuration::from_secs(1 + *random.one_of(&[0, 3_600, 86_400, 10 * 86_400, 40 * 86_400]));
            service.set_clock(&now.to_string());
            act(&service, &mut random, step, &mut bought, &mut complaints).await;
            if step % 5 != 0 {
                continue;
            }
            let mut expected: BTreeMap<String, Vec<String>> =
                segments().into_iter().map(|segment| (segment.segment_id, Vec::new())).collect();
            for customer in CUSTOMERS {
                let own = segments_of(&service, customer, None).await.unwrap();
                let naive = naive(&service, customer, now).await;
                let own: BTreeSet<String> = own.into_iter().collect();
                assert_eq!(own, naive, "{customer} at {now}");
                for segment_id in naive {
                    expected.get_mut(&segment_id).unwrap().push(customer.to_owned());
                }
            }
            let instant = now.to_string();
            assert_eq!(told(&service, &instant).await, expected, "{instant}");
            answers.push((instant, expected));
        }
        for (instant, expected) in answers {
            assert_eq!(told(&service, &instant).await, expected, "asked again as of {instant}");
        }
        assert_clean(&service.database).await;
    }
}
