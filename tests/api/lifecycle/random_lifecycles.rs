//! Random histories with jumps of the clock, against a naive reading of all entries.

use goldbook::proto;
use goldbook::proto::{LifecycleStage as Stage, SatisfactionClass};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{get, start};
use crate::audit::assert_clean;
use crate::complaints::{OFTEN, opening, reopen, resolve, send_opening};
use crate::harness::{START, Service, purchase};
use crate::points::calls::refund;
use crate::random::{Random, cases};
use crate::satisfaction::{said, satisfied, send};

pub(crate) const CUSTOMERS: [&str; 3] = ["anna", "ben", "carla"];

/// What one of the customers does.
pub(crate) async fn act(
    service: &Service,
    random: &mut Random,
    step: u64,
    bought: &mut Vec<(&str, String)>,
    complaints: &mut Vec<proto::Complaint>,
) {
    let (customer, name, now) = (*random.one_of(&CUSTOMERS), format!("a-{step}"), service.clock.now());
    match random.below(8) {
        0..=2 => {
            // Some purchases are reported late.
            let late = SignedDuration::from_hours(random.below(3) as i64 * 200);
            let amount = *random.one_of(&["10.00", "30.00", "0.00"]);
            let request = purchase(customer, &name, amount, now - late);
            service.activities().record_activity(request).await.unwrap();
            bought.push((customer, name));
        }
        3 if !bought.is_empty() => {
            let (of, purchase) = random.one_of(bought).clone();
            let amount = *random.one_of(&["10.00", "30.00"]);
            let request = proto::RecordActivityRequest {
                customer_id: of.to_owned(),
                ..refund(&purchase, amount, service, &name)
            };
            let _ = service.activities().record_activity(request).await;
        }
        4 | 5 => {
            let feedback = satisfied(1 + random.below(5) as i32);
            send(service, said(customer, &name, feedback, &now.to_string())).await.unwrap();
        }
        6 => complaints.push(send_opening(service, opening(customer, &name)).await.unwrap()),
        _ if !complaints.is_empty() => {
            let of = random.one_of(complaints).clone();
            let _ = resolve(service, &of, &name).await;
            if random.below(3) == 0 {
                let _ = reopen(service, &of, &format!("re-{name}")).await;
            }
        }
        _ => {}
    }
}

/// What is known of a customer at one time.
#[derive(Default)]
struct Known {
    purchases: i64,
    cents: i64,
    last: Option<Timestamp>,
    score: Option<(Timestamp, i64)>,
    complaints: i64,
    stage: Option<Stage>,
}

impl Known {
    fn days_silent(&self, at: Timestamp) -> i64 {
        self.last.map_or(-1, |last| (at.as_second() - last.as_second()).div_euclid(86_400))
    }

    fn decide(&mut self, at: Timestamp, has_bought: bool) {
        let (silent, before) = (self.days_silent(at), self.stage);
        let is_unhappy = self.score.is_some_and(|(_, score)| score <= 2);
        self.stage = Some(if self.purchases == 0 {
            Stage::Prospect
        } else if silent >= 90 {
            Stage::Lost
        } else if silent >= 60 {
            Stage::Lapsed
        } else if silent >= 30 || is_unhappy || self.complaints > 0 {
            Stage::AtRisk
        } else if (matches!(before, Some(Stage::Lost | Stage::Lapsed)) && has_bought)
            || (before == Some(Stage::WonBack) && !has_bought)
        {
            Stage::WonBack
        } else if self.purchases >= 3 && self.cents >= 10_000 {
            Stage::Client
        } else if self.purchases >= 2 {
            Stage::Repeat
        } else {
            Stage::FirstTime
        });
    }

    fn class(&self, at: Timestamp) -> SatisfactionClass {
        let buys = self.purchases >= 2 && self.days_silent(at) < 45;
        match self.score {
            None => SatisfactionClass::Unspecified,
            Some((_, score)) if score >= 4 && buys => SatisfactionClass::Apostle,
            Some((_, score)) if score >= 4 => SatisfactionClass::Mercenary,
            Some(_) if buys => SatisfactionClass::Hostage,
            Some(_) => SatisfactionClass::Defector,
        }
    }

    /// Takes in an entry that is of something that happened. Says whether it was, and whether it was a purchase.
    fn take(&mut self, detail: &Value) -> Option<bool> {
        let happened_at = || detail["happened_at"].as_str().unwrap().parse::<Timestamp>().unwrap();
        let before = self.last;
        match detail["kind"].as_str().unwrap() {
            "activity_accepted" => {
                self.cents += detail["spend"].as_i64().unwrap();
                if detail["spend"] != 0 {
                    self.purchases += 1;
                    self.last = self.last.max(Some(happened_at()));
                }
            }
            "refund_accepted" => {
                self.cents -= detail["spend"].as_i64().unwrap();
                self.purchases -= i64::from(detail["counts"]["whole"] == true);
            }
            "feedback_accepted" => {
                let said = (happened_at(), detail["satisfaction"].as_i64().unwrap());
                if self.score.is_none_or(|(at, _)| at <= said.0) {
                    self.score = Some(said);
                }
            }
            "complaint_opened" | "complaint_reopened" => self.complaints += 1,
            "complaint_resolved" => self.complaints -= 1,
            _ => return None,
        }
        Some(self.last > before)
    }
}

/// Where a customer stands by an instant: from what happened, hour by hour.
fn naive(entries: &[(Timestamp, Value)], as_of: Timestamp) -> Known {
    let mut known = Known::default();
    let mut hour: Timestamp = START.parse().unwrap();
    let mut rest = entries.iter().filter(|(at, _)| *at <= as_of).peekable();
    loop {
        // What happened until this hour; and then what silence did.
        while let Some((at, detail)) = rest.next_if(|(at, _)| *at <= hour) {
            if let Some(has_bought) = known.take(detail) {
                known.decide(*at, has_bought);
            }
        }
        if hour > as_of {
            return known;
        }
        if let Some(stage) = known.stage.filter(|_| known.purchases > 0) {
            let silent = known.days_silent(hour);
            known.stage = Some(match silent {
                90.. => Stage::Lost,
                60.. => Stage::Lapsed,
                30.. => Stage::AtRisk,
                _ => stage,
            });
        }
        hour += SignedDuration::from_hours(1);
    }
}

async fn entries_of(service: &Service, customer: &str) -> Vec<(Timestamp, Value)> {
    let entries = service.entries(customer).await.into_iter().map(|entry| {
        let at = entry.effective_at.unwrap();
        (Timestamp::new(at.seconds, at.nanos).unwrap(), serde_json::from_str(&entry.detail_json).unwrap())
    });
    entries.collect()
}

#[tokio::test]
async fn random_histories_stand_where_their_entries_say_at_every_instant() {
    for case in cases(4) {
        let mut random = Random::of_seed(case.seed);
        let service = start().await;
        for customer in CUSTOMERS {
            service.enrol(customer).await;
        }
        let (mut bought, mut complaints, mut told) = (Vec::new(), Vec::new(), Vec::new());
        let mut now: Timestamp = START.parse().unwrap();
        let worker = Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await;
        for step in 0..60 {
            act(&service, &mut random, step, &mut bought, &mut complaints).await;
            if random.below(2) == 0 {
                let customer = *random.one_of(&CUSTOMERS);
                let found = get(&service, customer, None).await.unwrap();
                told.push((customer, now, found));
                // Hours, or weeks.
                now += SignedDuration::from_hours(1 + random.below(*random.clone().one_of(&[20, 400, 1_500])) as i64);
                service.set_clock(&now.to_string());
            }
        }
        worker.stop().await;
        for (customer, at, answer) in told {
            let entries = entries_of(&service, customer).await;
            let expected = naive(&entries, at);
            let position = answer.position.unwrap_or_default();
            let stage = expected.stage.unwrap_or(Stage::Unspecified);
            assert_eq!(position.stage(), stage, "{customer} at {at}");
            assert_eq!(position.satisfaction_class(), expected.class(at), "{customer} at {at}");
            // As it was told then.
            let then = get(&service, customer, Some(&at.to_string())).await.unwrap();
            assert_eq!((then.position, then.since), (answer.position, answer.since), "{customer} at {at}");
        }
        assert_clean(&service.database).await;
    }
}
