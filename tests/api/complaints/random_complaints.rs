//! Random steps of many complaints with jumps of the clock, against a naive reading of all entries.

use goldbook::proto;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{OFTEN, acknowledge, get, metrics, offer, opening, reopen, resolve, send_opening, start, step, update};
use crate::audit::assert_clean;
use crate::harness::{START, Service, instant};
use crate::random::{Random, cases};
use crate::wait::until;

const CUSTOMERS: [&str; 3] = ["anna", "ben", "carla"];

/// Takes some step, which may not fit.
async fn take_step(service: &Service, random: &mut Random, of: &proto::Complaint, key: &str) {
    let plain = step!(UpdateComplaintRequest, of, key);
    let priority = *random.one_of(&[1, 2, 3]);
    let remedy = Some(proto::Remedy { kind: proto::RemedyKind::Points.into(), ..Default::default() });
    let outcome = match random.below(12) {
        0 => acknowledge(service, of, key).await,
        1 => resolve(service, of, key).await,
        2 => reopen(service, of, key).await,
        3 => offer(service, step!(OfferRemedyRequest, of, key, remedy: remedy)).await,
        4 | 5 => update(service, proto::UpdateComplaintRequest { waiting: Some(true), ..plain }).await,
        6 | 7 => update(service, proto::UpdateComplaintRequest { waiting: Some(false), ..plain }).await,
        8 => update(service, proto::UpdateComplaintRequest { answered: true, ..plain }).await,
        9 => update(service, proto::UpdateComplaintRequest { priority, ..plain }).await,
        10 => update(service, proto::UpdateComplaintRequest { extended: true, ..plain }).await,
        _ => update(service, proto::UpdateComplaintRequest { handling_score: Some(priority), ..plain }).await,
    };
    if let Err(status) = outcome {
        assert_eq!(status.code(), tonic::Code::FailedPrecondition, "{status:?}");
    }
}

async fn details(service: &Service) -> Vec<(Timestamp, Value)> {
    let mut all = Vec::new();
    for customer in CUSTOMERS {
        for entry in service.entries(customer).await {
            let detail: Value = serde_json::from_str(&entry.detail_json).unwrap();
            let at = entry.effective_at.unwrap();
            all.push((Timestamp::new(at.seconds, at.nanos).unwrap(), detail));
        }
    }
    all
}

/// Counts as a child would, from all entries.
fn check_metrics(told: &proto::ComplaintMetrics, all: &[(Timestamp, Value)], as_of: Timestamp) {
    let count = |is: &dyn Fn(&Value) -> bool| all.iter().filter(|(at, it)| *at <= as_of && is(it)).count() as i64;
    let kind = |kind: &'static str| count(&|it| it["kind"] == kind);
    let handled = |it: &Option<proto::HandlingTime>| it.map_or(0, |it| it.complaints);
    assert_eq!(told.opened, kind("complaint_opened"));
    assert_eq!(told.reopened, kind("complaint_reopened"));
    assert_eq!(handled(&told.acknowledged), kind("complaint_acknowledged"));
    assert_eq!(handled(&told.resolved), kind("complaint_resolved"));
    let is_answer = |it: &Value| it["kind"] == "complaint_updated" || it["kind"] == "remedy_offered";
    assert_eq!(handled(&told.answered), count(&|it| is_answer(it) && it["took"].is_i64()));
    for (told, missed) in [
        (told.missed_acknowledgements, "acknowledgement"),
        (told.missed_answers, "answer"),
        (told.missed_resolutions, "resolution"),
    ] {
        assert_eq!(told, count(&|it| it["missed"] == missed), "{missed}");
    }
    assert_eq!(told.scored, count(&|it| it["handling_score"].is_i64()));
}

#[tokio::test]
async fn random_steps_of_complaints_are_counted_as_their_entries_say_at_every_instant() {
    for case in cases(5) {
        let mut random = Random::of_seed(case.seed);
        let service = start().await;
        for customer in &CUSTOMERS[1..] {
            service.enrol(customer).await;
        }
        let mut now: Timestamp = START.parse().unwrap();
        let mut all: Vec<proto::Complaint> = Vec::new();
        let mut told: Vec<(Timestamp, proto::Complaint)> = Vec::new();
        for i in 0..60 {
            let key = format!("k-{i}");
            if all.is_empty() || random.below(6) == 0 {
                let priority = *random.one_of(&[0, 3]);
                let customer = *random.one_of(&CUSTOMERS);
                let request = proto::OpenComplaintRequest { priority, ..opening(customer, &key) };
                all.push(send_opening(&service, request).await.unwrap());
            } else {
                let of = random.one_of(&all).clone();
                take_step(&service, &mut random, &of, &key).await;
            }
            if random.below(3) == 0 {
                let of = random.one_of(&all).clone();
                told.push((now, get(&service, &of, None).await.unwrap()));
                // Minutes, or weeks.
                let minutes = 1 + random.below(*random.clone().one_of(&[100, 3_000, 20_000]));
                now += SignedDuration::from_mins(minutes as i64);
                service.set_clock(&now.to_string());
            }
        }
        // What nobody touched is written by the worker.
        let worker = Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await;
        let due = super::due::which(proto::DueComplaints::Late);
        until("all that is late to be written", async || {
            let late = super::due::list(&service, due.clone()).await;
            let mut entries = 0;
            for of in &late {
                let found = get(&service, of, None).await.unwrap();
                entries += found.steps.iter().filter(|step| step.entry_id.is_empty()).count();
            }
            (entries == 0).then_some(())
        })
        .await;
        worker.stop().await;
        for (as_of, answer) in told {
            let mut asked = get(&service, &answer, Some(&as_of.to_string())).await.unwrap();
            for (step, then) in asked.steps.iter_mut().zip(&answer.steps).filter(|(_, then)| then.entry_id.is_empty()) {
                step.entry_id.clone_from(&then.entry_id);
            }
            assert_eq!(asked, answer, "as of {as_of}");
        }
        let entries = details(&service).await;
        let request = proto::GetComplaintMetricsRequest { as_of: Some(instant(now)), ..Default::default() };
        let counted = metrics::ask(&service, request).await.unwrap();
        check_metrics(&counted.metrics[0], &entries, now);
        assert_clean(&service.database).await;
    }
}
