//! Versions of a program that say something else of lifecycles.

use goldbook::proto;
use goldbook::proto::LifecycleStage as Stage;

use super::{buy, get, stage, staged_shop};
use crate::audit::assert_clean;
use crate::complaints::{opening, send_opening};
use crate::harness::{START, Service, at, shop, sorted_bad_fields, usd};
use crate::satisfaction::{said, satisfied, send};

#[tokio::test]
async fn a_version_moves_nobody_by_itself_not_even_by_silence() {
    let service = super::start().await;
    buy(&service, "anna", "first", "10.00").await;
    let mut stricter = staged_shop();
    let lifecycle = stricter.lifecycle.as_mut().unwrap();
    lifecycle.at_risk.as_mut().unwrap().after_days = Some(10);
    lifecycle.repeat = Some(proto::StageCondition { purchases: Some(1), ..Default::default() });
    service.apply(stricter).await.unwrap();
    let entries = service.count_entries().await;
    assert_eq!(stage(&service, "anna").await, Stage::FirstTime);
    service.set_clock("2026-02-01T12:00:00Z");
    assert_eq!(stage(&service, "anna").await, Stage::FirstTime);
    assert_eq!(service.count_entries().await, entries);
    // What is known next decides by the version in force: also how long silence lasts.
    send(&service, said("anna", "said", satisfied(3), "2026-02-01T12:00:00Z")).await.unwrap();
    let found = get(&service, "anna", None).await.unwrap();
    assert_eq!((found.position.unwrap().stage(), found.policy_version), (Stage::AtRisk, 2));
    buy(&service, "anna", "second", "10.00").await;
    let found = get(&service, "anna", None).await.unwrap();
    assert_eq!(found.position.unwrap().stage(), Stage::Repeat);
    assert_eq!(found.forecast[0].at, Some(at("2026-02-11T12:00:00Z")));
    // Nothing is decided any more, and silence goes on as it was told.
    service.apply(shop()).await.unwrap();
    buy(&service, "anna", "third", "10.00").await;
    service.set_clock("2026-02-11T12:00:00Z");
    assert_eq!(stage(&service, "anna").await, Stage::AtRisk);
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn a_program_that_begins_later_knows_what_happened_before() {
    let service = Service::start().await;
    service.apply(shop()).await.unwrap();
    for (number, amount) in ["20.00", "40.00", "60.00"].into_iter().enumerate() {
        service.set_clock(&format!("2026-01-{}T12:00:00Z", 16 + number));
        buy(&service, "anna", &format!("p-{number}"), amount).await;
    }
    for (name, score, recommendation, happened_at) in
        [("late", 5, Some(10), START), ("early", 1, None, "2026-01-10T12:00:00Z")]
    {
        let feedback = proto::Feedback { recommendation, ..satisfied(score) };
        send(&service, said("anna", name, feedback, happened_at)).await.unwrap();
    }
    service.apply(staged_shop()).await.unwrap();
    let nothing = get(&service, "anna", None).await.unwrap();
    assert_eq!((nothing.position, nothing.facts), (None, None));
    service.set_clock("2026-01-20T12:00:00Z");
    send_opening(&service, opening("anna", "open")).await.unwrap();
    let found = get(&service, "anna", None).await.unwrap();
    let expected = proto::LifecycleFacts {
        purchases: 3,
        spend: Some(usd("120.00")),
        referrals: 0,
        // The day is all that is known.
        last_purchase_at: Some(at("2026-01-18T05:00:00Z")),
        satisfaction: Some(5),
        recommendation: Some(10),
        involvement: None,
        brands: None,
        open_complaints: 1,
    };
    assert_eq!(found.facts, Some(expected));
    assert_eq!(found.position.unwrap().stage(), Stage::AtRisk);
    assert_eq!(found.before, None);
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_field_by_field() {
    let service = Service::start().await;
    let mut bad = staged_shop();
    bad.lifecycle = Some(proto::LifecyclePolicy {
        repeat: Some(proto::StageCondition::default()),
        client: Some(proto::StageCondition { purchases: Some(0), spend: Some(usd("0.00")), ..Default::default() }),
        advocate: Some(proto::StageCondition {
            referrals: Some(1_000_001),
            satisfaction: Some(6),
            ..Default::default()
        }),
        at_risk: Some(proto::RiskCondition {
            after_days: Some(60),
            satisfaction_at_most: Some(0),
            open_complaints: Some(101),
        }),
        lapsed_after_days: Some(60),
        lost_after_days: Some(4_000),
        cuts: Some(proto::ClassCuts {
            satisfied_from: Some(0),
            recommends_from: Some(11),
            purchases: Some(0),
            rare_after_days: Some(0),
            involved_from: Some(6),
            few_brands: Some(0),
        }),
    });
    let fields = [
        "advocate.referrals",
        "advocate.satisfaction",
        "at_risk.open_complaints",
        "at_risk.satisfaction_at_most",
        "client.purchases",
        "client.spend",
        "cuts.few_brands",
        "cuts.involved_from",
        "cuts.purchases",
        "cuts.rare_after_days",
        "cuts.recommends_from",
        "cuts.satisfied_from",
        "lapsed_after_days",
        "lost_after_days",
        "repeat",
    ];
    assert_eq!(sorted_bad_fields(service.apply(bad).await), fields.map(|field| format!("program.lifecycle.{field}")));
}
