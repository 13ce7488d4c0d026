//! Random purchases, refunds and months, against a naive recomputation of every class from all entries.

use std::collections::BTreeMap;

use goldbook::proto;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde_json::Value;

use super::{class, classification, find, least, monthly, pass_end, start, top};
use crate::audit::assert_clean;
use crate::harness::{Service, instant, purchase};
use crate::points::calls::refund;
use crate::random::{Random, cases};

const CUSTOMERS: [&str; 7] = ["anna", "ben", "carla", "dan", "emil", "frida", "gina"];

fn zone() -> TimeZone {
    goldbook_api::zones::find("America/New_York").unwrap()
}

/// What an entry adds to what a customer spent.
struct Added {
    effective_at: Timestamp,
    day: Date,
    spend: i64,
    /// The purchase that it is, or that it takes back from.
    purchase: i64,
}

async fn act(service: &Service, random: &mut Random, step: u64, bought: &mut Vec<(&str, String)>) {
    let (customer, name) = (*random.one_of(&CUSTOMERS), format!("a-{step}"));
    if random.below(5) == 0 && !bought.is_empty() {
        let (of, purchase) = random.one_of(bought).clone();
        let amount = *random.one_of(&["10.00", "30.00"]);
        let request =
            proto::RecordActivityRequest { customer_id: of.to_owned(), ..refund(&purchase, amount, service, &name) };
        let _ = service.activities().record_activity(request).await;
        return;
    }
    let amount = *random.one_of(&["10.00", "30.00", "60.00", "0.00", "100.00"]);
    let happened_at = service.clock.now() - SignedDuration::from_hours(random.below(40) as i64 * 24);
    service.activities().record_activity(purchase(customer, &name, amount, happened_at)).await.unwrap();
    bought.push((customer, name));
}

/// What the entries of a customer add to what they spent, read one by one.
async fn added(service: &Service, customer: &str) -> Vec<Added> {
    let mut entries = service.entries(customer).await;
    entries.sort_by_key(|entry| entry.account_seq);
    let mut all: Vec<Added> = Vec::new();
    for entry in entries {
        let detail: Value = serde_json::from_str(&entry.detail_json).unwrap();
        let at = entry.effective_at.unwrap();
        let effective_at = Timestamp::new(at.seconds, at.nanos).unwrap();
        match detail["kind"].as_str().unwrap() {
            "activity_accepted" => {
                let happened_at: Timestamp = detail["happened_at"].as_str().unwrap().parse().unwrap();
                let (day, spend) = (happened_at.to_zoned(zone()).date(), detail["spend"].as_i64().unwrap());
                all.push(Added { effective_at, day, spend, purchase: entry.account_seq });
            }
            "refund_accepted" => {
                let purchase = detail["purchase"].as_i64().unwrap();
                let day = all.iter().find(|it| it.purchase == purchase).unwrap().day;
                all.push(Added { effective_at, day, spend: -detail["spend"].as_i64().unwrap(), purchase });
            }
            _ => {}
        }
    }
    all
}

/// What a customer spent in two months; none, if they bought nothing then that was not taken back.
fn worth(added: &[Added], (from, until): (Date, Date), ends_at: Timestamp) -> Option<i64> {
    let counted = added.iter().filter(|it| it.effective_at < ends_at && it.day >= from && it.day < until);
    let mut left: BTreeMap<i64, (i64, bool)> = BTreeMap::new();
    for it in counted {
        let purchase = left.entry(it.purchase).or_default();
        *purchase = (purchase.0 + it.spend, purchase.1 || it.spend < 0);
    }
    // A gift is a purchase; what was taken back as a whole is none.
    let bought = left.values().any(|(spend, was_refunded)| *spend > 0 || !was_refunded);
    bought.then(|| left.values().map(|(spend, _)| spend).sum())
}

/// From where on a class is reached or kept, by the worths of all in falling order.
fn bound(worths: &[i64], share: Option<i32>, amount: i64) -> i64 {
    let Some(percent) = share else { return amount };
    let last = (worths.len() * percent as usize).div_ceil(100);
    if worths.is_empty() { i64::MAX } else { worths[last - 1].max(1) }
}

fn cents(amount: Option<&proto::google::Money>) -> Option<i64> {
    amount.map(|amount| amount.units * 100 + i64::from(amount.nanos / 10_000_000))
}

/// The rules of a case, and what follows from them.
struct Rules {
    /// Of the two upper classes: from where on each is reached, and kept.
    bounds: [[(Option<i32>, i64); 2]; 2],
    falls_after: i32,
    /// The class of each customer, and the ends below it.
    held: BTreeMap<&'static str, (usize, i32)>,
}

impl Rules {
    /// Classes by amount or by share, and how they are told a program.
    fn choose(random: &mut Random) -> (Self, proto::ValueClassPolicy) {
        let is_share = random.below(2) == 0;
        let falls_after = 1 + random.below(3) as i32;
        let (classes, bounds) = if is_share {
            let classes = vec![top("key", 20, 40), top("good", 50, 70), class("other")];
            (classes, [[(Some(20), 0), (Some(40), 0)], [(Some(50), 0), (Some(70), 0)]])
        } else {
            let classes = vec![least("key", "100.00", "70.00"), least("good", "40.00", "20.00"), class("other")];
            (classes, [[(None, 10_000), (None, 7_000)], [(None, 4_000), (None, 2_000)]])
        };
        let policy = proto::ValueClassPolicy { periods: Some(2), falls_after: Some(falls_after), ..monthly(classes) };
        (Self { bounds, falls_after, held: BTreeMap::new() }, policy)
    }

    /// Passes an end: from where on each upper class is reached and kept, by what everybody is worth.
    fn pass(&mut self, measured: &BTreeMap<&'static str, Option<i64>>) -> [[i64; 2]; 2] {
        let mut worths: Vec<i64> = measured.values().copied().flatten().collect();
        worths.sort_by(|one, other| other.cmp(one));
        let at_least = self.bounds.map(|class| class.map(|(share, amount)| bound(&worths, share, amount)));
        for (customer, worth) in measured {
            let meets =
                |class: usize, keep: usize| class == 2 || worth.is_some_and(|worth| worth >= at_least[class][keep]);
            let highest = |first: usize, keep: usize| (first..3).find(|class| meets(*class, keep)).unwrap();
            let now = match self.held.get(customer) {
                None if worth.is_none() => continue,
                None => (highest(0, 0), 0),
                // Up at once.
                Some((before, _)) if highest(0, 0) < *before => (highest(0, 0), 0),
                Some((before, _)) if meets(*before, 0) || meets(*before, 1) => (*before, 0),
                Some((before, below)) if below + 1 < self.falls_after => (*before, below + 1),
                Some((before, _)) => (highest(before + 1, 1), 0),
            };
            self.held.insert(*customer, now);
        }
        at_least
    }
}

/// Half a dozen activities in the month before a day, and then its noon.
async fn live(service: &Service, random: &mut Random, ends_on: Date, bought: &mut Vec<(&str, String)>) {
    let set = |day: Date| {
        service.set_clock(&day.at(12, 0, 0, 0).to_zoned(TimeZone::UTC).unwrap().timestamp().to_string());
    };
    let last = ends_on - 1.day();
    for step in 0..6_i8 {
        set(last.with().day(3 + 4 * step).build().unwrap());
        act(service, random, ends_on.month() as u64 * 10 + step as u64, bought).await;
    }
    set(ends_on);
}

#[tokio::test]
async fn random_classes_are_what_naive_counting_of_entries_gives() {
    for mut random in cases(4).map(|case| Random::of_seed(case.seed)) {
        let (mut rules, policy) = Rules::choose(&mut random);
        let service = start("2026-01-02T12:00:00Z", policy).await;
        for customer in CUSTOMERS {
            service.enrol(customer).await;
        }
        let (mut bought, mut answers) = (Vec::new(), Vec::new());
        for ends_on in (2..=8).map(|month| date(2026, month, 1)) {
            live(&service, &mut random, ends_on, &mut bought).await;
            pass_end(&service, 1 + random.below(2) as usize, &ends_on.to_string()).await;
            let ends_at = ends_on.to_zoned(zone()).unwrap().timestamp();
            let mut measured = BTreeMap::new();
            for customer in CUSTOMERS {
                let added = added(&service, customer).await;
                measured.insert(customer, worth(&added, (ends_on - 2.months(), ends_on), ends_at));
            }
            let at_least = rules.pass(&measured);
            let told = classification(&service, None).await.unwrap().classification.unwrap();
            assert_eq!(told.ranked_customers, measured.values().flatten().count() as i64);
            for (class, bounds) in at_least.iter().enumerate() {
                let [from, keep] = bounds.map(|amount| Some(amount).filter(|it| *it < i64::MAX));
                let it = &told.classes[class];
                assert_eq!((cents(it.from.as_ref()), cents(it.keep.as_ref())), (from, keep));
            }
            for class in 0..3 {
                let expected = rules.held.values().filter(|(own, _)| *own == class).count();
                assert_eq!(told.classes[class].customers, expected as i64, "{ends_on}: {:?}", rules.held);
            }
            for customer in CUSTOMERS {
                let found = find(&service, customer, None).await.unwrap();
                let expected =
                    rules.held.get(customer).map(|(class, below)| (["key", "good", "other"][*class], *below));
                let expected = expected.unwrap_or(("", 0));
                assert_eq!((found.class_id.as_str(), found.ends_below), expected, "{customer} before {ends_on}");
                answers.push((customer, service.clock.now(), found));
            }
        }
        for (customer, then, told) in answers {
            let again = find(&service, customer, Some(instant(then))).await.unwrap();
            assert_eq!(again, told, "{customer} at {then}");
        }
        assert_clean(&service.database).await;
    }
}
