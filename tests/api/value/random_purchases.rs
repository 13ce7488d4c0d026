//! Random purchases and refunds with jumps of the clock, against a naive recomputation from all entries.

use std::collections::{BTreeMap, BTreeSet};

use goldbook::proto;
use goldbook::proto::google::Date as WireDate;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde_json::Value;

use super::{classes, get, retention};
use crate::audit::assert_clean;
use crate::harness::{START, Service, instant, purchase};
use crate::points::calls::refund;
use crate::random::{Random, cases};

const CUSTOMERS: [&str; 5] = ["anna", "ben", "carla", "dan", "emil"];

/// A purchase, with what was left of it as the clock went on.
#[derive(Clone, Debug)]
struct Told {
    customer: &'static str,
    day: Date,
    effective_at: Timestamp,
    spend: i64,
    /// When and how much was given back.
    refunds: Vec<(Timestamp, i64)>,
}

impl Told {
    /// What is left of it, by what was recorded by an instant; none if nothing is.
    fn left(&self, as_of: Timestamp) -> Option<i64> {
        let back: i64 = self.refunds.iter().filter(|(then, _)| *then <= as_of).map(|(_, amount)| amount).sum();
        (self.effective_at <= as_of && (self.spend == 0 || back < self.spend)).then_some(self.spend - back)
    }
}

async fn act(service: &Service, random: &mut Random, step: u64, bought: &mut Vec<(&str, String)>) {
    let (customer, name, now) = (*random.one_of(&CUSTOMERS), format!("a-{step}"), service.clock.now());
    if random.below(4) == 0 && !bought.is_empty() {
        let (of, purchase) = random.one_of(bought).clone();
        let amount = *random.one_of(&["10.00", "3.00"]);
        let request =
            proto::RecordActivityRequest { customer_id: of.to_owned(), ..refund(&purchase, amount, service, &name) };
        let _ = service.activities().record_activity(request).await;
        return;
    }
    let happened_at = now - SignedDuration::from_hours(random.below(60) as i64 * 24);
    let amount = *random.one_of(&["10.00", "3.00", "0.00", "25.00"]);
    service.activities().record_activity(purchase(customer, &name, amount, happened_at)).await.unwrap();
    bought.push((customer, name));
}

/// What entries say, read one by one.
async fn read_entries(service: &Service) -> Vec<Told> {
    let mut told = Vec::new();
    for customer in CUSTOMERS {
        let mut own: BTreeMap<i64, Told> = BTreeMap::new();
        let mut entries = service.entries(customer).await;
        entries.sort_by_key(|entry| entry.account_seq);
        for entry in entries {
            let detail: Value = serde_json::from_str(&entry.detail_json).unwrap();
            let effective_at = entry.effective_at.unwrap();
            let effective_at = Timestamp::new(effective_at.seconds, effective_at.nanos).unwrap();
            let spend = detail["spend"].as_i64();
            match detail["kind"].as_str().unwrap() {
                "activity_accepted" => {
                    let happened_at: Timestamp = detail["happened_at"].as_str().unwrap().parse().unwrap();
                    let zone = goldbook_api::zones::find("America/New_York").unwrap();
                    let day = happened_at.to_zoned(zone).date();
                    let spend = spend.unwrap();
                    own.insert(entry.account_seq, Told { customer, day, effective_at, spend, refunds: Vec::new() });
                }
                "refund_accepted" => {
                    let of = own.get_mut(&detail["purchase"].as_i64().unwrap()).unwrap();
                    of.refunds.push((effective_at, spend.unwrap()));
                }
                _ => {}
            }
        }
        told.extend(own.into_values());
    }
    told
}

/// What each customer spent on each day of purchases, by what was recorded by an instant.
fn days_of(told: &[Told], as_of: Timestamp) -> BTreeMap<&'static str, BTreeMap<Date, i64>> {
    let mut days: BTreeMap<&'static str, BTreeMap<Date, i64>> = BTreeMap::new();
    for it in told {
        if let Some(left) = it.left(as_of) {
            *days.entry(it.customer).or_default().entry(it.day).or_default() += left;
        }
    }
    days
}

fn read_day(day: Option<WireDate>) -> Date {
    let day = day.unwrap();
    Date::new(day.year as i16, day.month as i8, day.day as i8).unwrap()
}

fn cents(amount: Option<&proto::google::Money>) -> i64 {
    let amount = amount.unwrap();
    amount.units * 100 + i64::from(amount.nanos / 10_000_000)
}

fn check_retention(found: &proto::GetRetentionResponse, days: &BTreeMap<&str, BTreeMap<Date, i64>>) {
    let buyers = |from: Date, until: Date| -> BTreeMap<&str, i64> {
        let own = days.iter().map(|(customer, days)| (*customer, days.range(from..until).collect::<Vec<_>>()));
        own.filter(|(_, days)| !days.is_empty())
            .map(|(it, days)| (it, days.iter().map(|(_, paid)| **paid).sum()))
            .collect()
    };
    let first = |customer: &str| *days[customer].keys().next().unwrap();
    for (place, period) in found.periods.iter().enumerate() {
        let (from, until) = (read_day(period.from), read_day(period.until));
        let (own, before) = (buyers(from, until), buyers(from - 1.month(), from));
        let kept: BTreeSet<&str> = own.keys().filter(|it| before.contains_key(*it)).copied().collect();
        let gained = own.keys().filter(|it| first(it) >= from).count();
        let lost = before.len() - kept.len();
        let won_back = own.len() - kept.len() - gained;
        let told = (period.buyers, period.retained, period.gained, period.won_back, period.lost);
        let expected = (own.len(), kept.len(), gained, won_back, lost);
        assert_eq!(
            told,
            (own.len() as i64, kept.len() as i64, gained as i64, won_back as i64, lost as i64),
            "{expected:?}"
        );
        assert_eq!(period.net, period.gained + period.won_back - period.lost);
        assert_eq!(cents(period.spend.as_ref()), own.values().sum::<i64>());
        let repeaters = own.keys().filter(|it| days[**it].range(..until).count() > 1).count();
        assert_eq!(period.repeat_rate, (!own.is_empty()).then(|| repeaters as f64 / own.len() as f64));
        let spent: i64 = before.values().sum();
        let net: i64 = kept.iter().map(|it| own[it]).sum();
        let gross: i64 = kept.iter().map(|it| own[it].min(before[it])).sum();
        assert_eq!(period.net_revenue_retention, (spent > 0).then(|| net as f64 / spent as f64));
        assert_eq!(period.gross_revenue_retention, (spent > 0).then(|| gross as f64 / spent as f64));
        let cohort: Vec<&str> = own.keys().filter(|it| first(it) >= from).copied().collect();
        let later = found.periods[place..].iter().map(|it| buyers(read_day(it.from), read_day(it.until)));
        let later = later.map(|buyers| cohort.iter().filter(|it| buyers.contains_key(*it)).count() as i64);
        let told: Vec<i64> = found.cohorts[place].periods.iter().map(|it| it.buyers).collect();
        assert_eq!(told, later.collect::<Vec<i64>>());
    }
}

fn check_classes(found: &proto::GetScoreClassesResponse, days: &BTreeMap<&str, BTreeMap<Date, i64>>) {
    let (until, after_until) = (read_day(found.until), read_day(found.after_until));
    // Of each customer: the last day, how many, how much, and what came then.
    let known: Vec<(Date, i64, i64, i64, i64)> = days
        .values()
        .filter_map(|days| {
            let before: Vec<_> = days.range(..until).collect();
            let after: Vec<_> = days.range(until..after_until).collect();
            let spent_after = after.iter().map(|(_, paid)| **paid).sum();
            Some((
                *before.last()?.0,
                before.len() as i64,
                before.iter().map(|(_, paid)| **paid).sum(),
                after.len() as i64,
                spent_after,
            ))
        })
        .collect();
    let score = |worse: usize| 1 + 5 * worse as i64 / known.len() as i64;
    // By scores: how many, how many bought then, what they spent, and what then.
    let mut expected: BTreeMap<[i64; 3], [i64; 4]> = BTreeMap::new();
    for it in &known {
        let scores = [
            score(known.iter().filter(|other| other.0 < it.0).count()),
            score(known.iter().filter(|other| other.1 < it.1).count()),
            score(known.iter().filter(|other| other.2 < it.2).count()),
        ];
        let class = expected.entry(scores).or_default();
        *class = [class[0] + 1, class[1] + i64::from(it.3 > 0), class[2] + it.2, class[3] + it.4];
    }
    let told = found.classes.iter().map(|it| {
        let (spend, then) = (cents(it.spend.as_ref()), cents(it.spend_afterwards.as_ref()));
        let scores = [it.recency, it.frequency, it.monetary].map(i64::from);
        (scores, [it.customers, it.bought_afterwards, spend, then])
    });
    assert_eq!(told.collect::<BTreeMap<_, _>>(), expected);
    assert_eq!(found.customers, known.len() as i64);
}

#[tokio::test]
async fn random_purchases_come_to_what_all_entries_say_at_every_instant() {
    for case in cases(4) {
        let mut random = Random::of_seed(case.seed);
        let service = Service::start().await;
        service.apply_shop().await;
        for customer in CUSTOMERS {
            service.enrol(customer).await;
        }
        let mut now: Timestamp = START.parse().unwrap();
        let mut bought = Vec::new();
        let mut answered = BTreeMap::new();
        let ask = async |as_of: Timestamp| {
            let at = Some(instant(as_of));
            let months = proto::GetRetentionRequest { as_of: at, ..Default::default() };
            let scores = proto::GetScoreClassesRequest { as_of: at, after_days: 20, ..Default::default() };
            let mut values = Vec::new();
            for customer in CUSTOMERS {
                values.push(get(&service, customer, at).await.unwrap());
            }
            (retention(&service, months).await.unwrap(), classes(&service, scores).await.unwrap(), values)
        };
        // So many that accounts have more than the 64 entries after which the past of a day is kept.
        for step in 0..240 {
            act(&service, &mut random, step, &mut bought).await;
            if random.below(16) == 0 {
                answered.insert(now, ask(now).await);
                now += SignedDuration::from_hours(1 + random.below(500) as i64);
                service.set_clock(&now.to_string());
            }
        }
        answered.insert(now, ask(now).await);
        let told = read_entries(&service).await;
        for (as_of, answer) in answered {
            assert_eq!(ask(as_of).await, answer, "as of {as_of}");
            let (retention, classes, values) = answer;
            let days = days_of(&told, as_of);
            check_retention(&retention, &days);
            check_classes(&classes, &days);
            for (customer, value) in CUSTOMERS.into_iter().zip(values) {
                let own = days.get(customer).cloned().unwrap_or_default();
                assert_eq!(value.purchase_days, own.len() as i64, "{customer} as of {as_of}");
                let purchases = told.iter().filter(|it| it.customer == customer && it.left(as_of).is_some()).count();
                assert_eq!(value.purchases, purchases as i64, "{customer} as of {as_of}");
                assert_eq!(cents(value.spend.as_ref()), own.values().sum::<i64>(), "{customer} as of {as_of}");
                let (first, last) = (value.first_purchase_on, value.last_purchase_on);
                assert_eq!(first.map(|day| read_day(Some(day))), own.keys().next().copied());
                assert_eq!(last.map(|day| read_day(Some(day))), own.keys().next_back().copied());
            }
        }
        assert_clean(&service.database).await;
    }
}
