//! Packages after random histories, against a naive reading of the ledger.

use std::collections::BTreeSet;

use goldbook::proto;
use goldbook::proto::EntryKind;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tonic::Code;

use super::grants::list;
use super::packages::{OFTEN, packages};
use crate::book_rules::check_rules;
use crate::harness::{SHOP, Service, instant, purchase};
use crate::random::{Random, cases};

fn moment(entry: &proto::Entry) -> Timestamp {
    let at = entry.effective_at.unwrap();
    Timestamp::new(at.seconds, at.nanos).unwrap()
}

/// What anna is given by her entries, one after the other: the package, and the number of the entry by which she reached
/// the tier.
fn expected(entries: &[proto::Entry]) -> Vec<(String, i64)> {
    let rank = |tier: &Value| ["member", "silver", "gold"].iter().position(|it| Some(*it) == tier.as_str());
    let package = |rank: usize| ["hello", "silver-box", "gold-box"][rank].to_owned();
    let (mut given, mut had, mut period) = (Vec::new(), BTreeSet::new(), 0);
    for entry in entries {
        let detail: Value = serde_json::from_str(&entry.detail_json).unwrap();
        let begins = match (entry.kind(), detail["change"].as_str()) {
            (EntryKind::TierChanged, Some("renewed" | "downgraded")) => true,
            (EntryKind::TierChanged, None) if !detail["from"].is_null() => {
                let former = detail["former_ends_at"].as_str().map(|at| at.parse::<Timestamp>().unwrap());
                let has_ended = former.is_some_and(|former| former <= moment(entry));
                entry.actor() == proto::Actor::Time || has_ended
            }
            _ => false,
        };
        if begins {
            period = entry.account_seq;
        }
        let is_tier =
            matches!(entry.kind(), EntryKind::TierChanged | EntryKind::TierOverridden | EntryKind::TierReleased);
        let Some(to) = rank(&detail["to"]).filter(|_| is_tier) else { continue };
        let rises = rank(&detail["from"]).is_none_or(|from| from < to);
        if rises && had.insert((to, period)) {
            given.push((package(to), entry.account_seq));
        }
    }
    given
}

fn told(entries: &[proto::Entry]) -> Vec<(String, i64)> {
    let given = entries.iter().filter(|entry| entry.kind() == EntryKind::PackageGiven);
    let told = given.map(|entry| {
        let detail: Value = serde_json::from_str(&entry.detail_json).unwrap();
        let cause = entries.iter().find(|other| other.entry_id == entry.cause_entry_ids[0]).unwrap();
        assert_eq!(entry.effective_at, cause.effective_at);
        (detail["package_id"].as_str().unwrap().to_owned(), cause.account_seq)
    });
    told.collect()
}

fn policy(number: u64) -> Option<proto::TierPolicy> {
    use proto::tier_retention::Rule;
    use proto::tier_window::Window;

    let quarter = Window::Calendar(proto::CalendarPeriod::Quarter.into());
    let (window, kept, upgrade) = match number {
        0 => return None,
        1 => (Window::Rolling("P30D".to_owned()), Rule::WhileConditionHolds(()), proto::TierUpgrade::AtOnce),
        2 => (quarter, Rule::UntilEndOfPeriod(()), proto::TierUpgrade::AtOnce),
        _ => (quarter, Rule::UntilEndOfNextPeriod(()), proto::TierUpgrade::AtPeriodEnd),
    };
    Some(proto::TierPolicy {
        window: Some(proto::TierWindow { window: Some(window) }),
        kept: Some(proto::TierRetention { rule: Some(kept) }),
        upgrade: upgrade.into(),
        ..Default::default()
    })
}

/// Rules may refuse, which is as good.
fn refused_at_most(outcome: Result<(), tonic::Status>) {
    if let Err(status) = outcome {
        assert!([Code::FailedPrecondition, Code::NotFound, Code::OutOfRange].contains(&status.code()), "{status:?}");
    }
}

/// What anna was told of what she has, at the last moment of an instant.
type Told = Vec<(Timestamp, Vec<proto::Entitlement>)>;

async fn step(service: &Service, random: &mut Random, number: u64, told: &mut Told) {
    let subject = (SHOP.to_owned(), "anna".to_owned());
    match random.below(8) {
        0..3 => {
            let amount = random.one_of(&["50.00", "120.00", "200.00", "500.00"]);
            let request = purchase("anna", &format!("a{number}"), amount, service.clock.now());
            refused_at_most(service.activities().record_activity(request).await.map(drop));
        }
        3 => {
            let of = format!("a{}", random.below(number + 1));
            refused_at_most(service.refund(&of, "50.00", &format!("r{number}")).await.map(drop));
        }
        4 => {
            let kind = *random.one_of(&[proto::TierOverrideKind::Floor, proto::TierOverrideKind::Lock]);
            let days = SignedDuration::from_hours(24 * (1 + random.below(60) as i64));
            let request = proto::SetTierOverrideRequest {
                program_id: subject.0,
                customer_id: subject.1,
                tier_id: (*random.one_of(&["member", "silver", "gold"])).to_owned(),
                kind: kind.into(),
                ends_at: (random.below(2) == 0).then(|| instant(service.clock.now() + days)),
                reason: proto::CorrectionReason::Goodwill.into(),
                author: "clerk-7".to_owned(),
                note: String::new(),
                idempotency_key: format!("s{number}"),
            };
            refused_at_most(service.tiers().set_tier_override(request).await.map(drop));
        }
        5 => {
            let request = proto::ClearTierOverrideRequest {
                program_id: subject.0,
                customer_id: subject.1,
                reason: proto::CorrectionReason::Correction.into(),
                author: "clerk-8".to_owned(),
                note: String::new(),
                idempotency_key: format!("c{number}"),
            };
            refused_at_most(service.tiers().clear_tier_override(request).await.map(drop));
        }
        _ => {
            let hours = 1 + random.below(24 * 40) as i64;
            told.push((service.clock.now(), list(service, None).await));
            service.clock.set(service.clock.now() + SignedDuration::from_hours(hours));
        }
    }
}

#[tokio::test]
async fn random_histories_give_each_package_once_in_a_tier_period() {
    for case in cases(6) {
        let mut random = Random::of_seed(case.seed);
        let service = Service::start().await;
        let program = proto::Program { tier_policy: policy(case.seed % 4), ..packages() };
        service.apply(program).await.unwrap();
        service.enrol("anna").await;
        let busy = match random.below(2) {
            0 => Some(Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await),
            _ => None,
        };
        let mut answers = Told::new();
        for number in 0..40 {
            step(&service, &mut random, number, &mut answers).await;
        }
        service.grant("anna", 1, "touch").await.unwrap();
        service.grant("anna", 1, "again").await.unwrap();
        let entries = service.entries("anna").await;
        assert_eq!(told(&entries), expected(&entries), "seed {}", case.seed);
        for (as_of, answer) in answers {
            assert_eq!(list(&service, Some(&as_of.to_string())).await, answer, "seed {} at {as_of}", case.seed);
        }
        check_rules(&service.database).await.unwrap();
        if let Some(busy) = busy {
            busy.stop().await;
        }
    }
}
