//! Lifecycles: where customers stand by what is known of them, and by silence.

mod policies;
pub(crate) mod random_lifecycles;

use futures_util::future::join_all;
use goldbook::proto;
use goldbook::proto::LifecycleStage as Stage;
use goldbook::proto::{BrandClass, LoyaltyClass, SatisfactionClass};
use tonic::{Code, Status};

use crate::audit::assert_clean;
use crate::complaints::{opening, resolve, send_opening};
use crate::customers::erasure::{erase, erasure};
use crate::harness::{SHOP, START, Service, assert_refused, at, purchase, shop};
use crate::satisfaction::{said, satisfied, send};

/// [`SHOP`], where customers are clients with three purchases and 100 dollars, and advocates with a referral and a score of 4. They
/// are at risk after 30 days, with a score of 2, or with a complaint; lapsed after 60 days and lost after 90. Who has not bought for 45
/// days does not buy again and again.
pub(crate) fn staged_shop() -> proto::Program {
    let lifecycle = proto::LifecyclePolicy {
        repeat: None,
        client: Some(proto::StageCondition {
            purchases: Some(3),
            spend: Some(crate::harness::usd("100.00")),
            ..Default::default()
        }),
        advocate: Some(proto::StageCondition { referrals: Some(1), satisfaction: Some(4), ..Default::default() }),
        at_risk: Some(proto::RiskCondition {
            after_days: Some(30),
            satisfaction_at_most: Some(2),
            open_complaints: Some(1),
        }),
        lapsed_after_days: Some(60),
        lost_after_days: Some(90),
        cuts: Some(proto::ClassCuts { rare_after_days: Some(45), ..Default::default() }),
    };
    proto::Program { lifecycle: Some(lifecycle), ..shop() }
}

pub(crate) async fn start() -> Service {
    let service = Service::start().await;
    service.apply(staged_shop()).await.unwrap();
    service
}

pub(crate) async fn get(
    service: &Service,
    customer_id: &str,
    as_of: Option<&str>,
) -> Result<proto::GetLifecycleResponse, Status> {
    let request = proto::GetLifecycleRequest {
        program_id: SHOP.to_owned(),
        customer_id: customer_id.to_owned(),
        as_of: as_of.map(at),
    };
    Ok(service.lifecycles().get_lifecycle(request).await?.into_inner())
}

pub(crate) async fn stage(service: &Service, customer_id: &str) -> Stage {
    get(service, customer_id, None).await.unwrap().position.unwrap().stage()
}

async fn buy(service: &Service, customer_id: &str, activity_id: &str, amount: &str) {
    let request = purchase(customer_id, activity_id, amount, service.clock.now());
    service.activities().record_activity(request).await.unwrap();
}

#[tokio::test]
async fn a_customer_goes_through_the_stages_and_what_was_told_stays() {
    let service = start().await;
    service.enrol("anna").await;
    let nothing = get(&service, "anna", None).await.unwrap();
    assert_eq!(nothing, proto::GetLifecycleResponse { as_of: Some(at(START)), ..Default::default() });
    let mut told = Vec::new();
    // What happens at an instant, and the stage from then on.
    let steps = [
        ("2026-01-16T12:00:00Z", "say", Stage::Prospect),
        ("2026-01-17T12:00:00Z", "60.00", Stage::FirstTime),
        ("2026-01-18T12:00:00Z", "30.00", Stage::Repeat),
        ("2026-01-19T12:00:00Z", "9.99", Stage::Repeat),
        ("2026-01-20T12:00:00Z", "0.01", Stage::Client),
        ("2026-02-19T11:59:59.999999Z", "", Stage::Client),
        ("2026-02-19T12:00:00Z", "", Stage::AtRisk),
        ("2026-03-21T12:00:00Z", "", Stage::Lapsed),
        ("2026-03-22T12:00:00Z", "say", Stage::Lapsed),
        ("2026-04-20T12:00:00Z", "", Stage::Lost),
        ("2026-05-01T12:00:00Z", "5.00", Stage::WonBack),
        ("2026-05-02T12:00:00Z", "say", Stage::WonBack),
        ("2026-05-31T12:00:00Z", "", Stage::AtRisk),
        ("2026-06-01T12:00:00Z", "5.00", Stage::Client),
    ];
    for (instant, what, expected) in steps {
        service.set_clock(instant);
        match what {
            "" => {}
            "say" => drop(send(&service, said("anna", instant, satisfied(3), instant)).await.unwrap()),
            amount => buy(&service, "anna", instant, amount).await,
        }
        let found = get(&service, "anna", None).await.unwrap();
        assert_eq!(found.position.as_ref().unwrap().stage(), expected, "{instant}");
        told.push((instant, found));
    }
    for (instant, told) in told {
        let then = get(&service, "anna", Some(instant)).await.unwrap();
        // What time did is written meanwhile, and what it would do is told of the present alone.
        let entry_id = if told.entry_id.is_empty() { then.entry_id.clone() } else { told.entry_id.clone() };
        assert_eq!(then, proto::GetLifecycleResponse { entry_id, forecast: Vec::new(), ..told }, "{instant}");
    }
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn what_silence_will_do_is_foretold_and_done_with_its_causes() {
    let service = start().await;
    buy(&service, "anna", "first", "10.00").await;
    let recommends = proto::Feedback { recommendation: Some(9), ..satisfied(4) };
    send(&service, said("anna", "said", recommends, START)).await.unwrap();
    buy(&service, "anna", "second", "10.00").await;
    let now = get(&service, "anna", None).await.unwrap();
    let foretold: Vec<_> = now.forecast.iter().map(|it| (it.at.unwrap(), it.position.unwrap())).collect();
    let position = |stage: Stage, satisfaction: SatisfactionClass, loyalty: LoyaltyClass| proto::LifecyclePosition {
        stage: stage.into(),
        satisfaction_class: satisfaction.into(),
        loyalty_class: loyalty.into(),
        brand_class: 0,
    };
    let (apostle, mercenary) = (SatisfactionClass::Apostle, SatisfactionClass::Mercenary);
    let (truly, latent) = (LoyaltyClass::TrueLoyalty, LoyaltyClass::LatentLoyalty);
    assert_eq!(now.position, Some(position(Stage::Repeat, apostle, truly)));
    let expected = [
        (at("2026-02-14T12:00:00Z"), position(Stage::AtRisk, apostle, truly)),
        (at("2026-03-01T12:00:00Z"), position(Stage::AtRisk, mercenary, latent)),
        (at("2026-03-16T12:00:00Z"), position(Stage::Lapsed, mercenary, latent)),
        (at("2026-04-15T12:00:00Z"), position(Stage::Lost, mercenary, latent)),
    ];
    assert_eq!(foretold, expected);
    // Whoever looks late finds each move at its instant.
    service.set_clock("2026-07-01T12:00:00Z");
    service.grant("anna", 1, "touch").await.unwrap();
    let entries = service.entries("anna").await;
    let moves = entries.iter().filter(|entry| entry.kind() == proto::EntryKind::LifecycleDecided);
    let moves: Vec<&proto::Entry> = moves.collect();
    let instants: Vec<_> = moves.iter().rev().take(4).rev().map(|entry| entry.effective_at.unwrap()).collect();
    assert_eq!(instants, expected.map(|(at, _)| at));
    for pair in moves.windows(2).skip(moves.len() - 5) {
        assert_eq!(pair[1].cause_entry_ids.join(" "), pair[0].entry_id);
        assert_eq!(pair[1].reason(), proto::EntryReason::TimeReached);
    }
    // What is caused by something that happened says by what.
    let accepted = entries.iter().find(|entry| entry.kind() == proto::EntryKind::ActivityAccepted).unwrap();
    assert_eq!(moves[0].cause_entry_ids.join(" "), accepted.entry_id);
    assert_eq!(moves[0].reason(), proto::EntryReason::Lifecycle);
}

#[tokio::test]
async fn complaints_and_feedback_put_at_risk_and_a_referral_makes_an_advocate() {
    let service = start().await;
    service.enrol("anna").await;
    let code = service.share_code("anna", "friends").await;
    let complaint = send_opening(&service, opening("anna", "open")).await.unwrap();
    // Who has bought nothing is at no risk.
    assert_eq!(stage(&service, "anna").await, Stage::Prospect);
    buy(&service, "anna", "first", "10.00").await;
    assert_eq!(stage(&service, "anna").await, Stage::AtRisk);
    resolve(&service, &complaint, "resolve").await.unwrap();
    assert_eq!(stage(&service, "anna").await, Stage::FirstTime);
    let reopen = crate::complaints::step!(ReopenComplaintRequest, complaint, "reopen");
    service.complaints().reopen_complaint(reopen).await.unwrap();
    assert_eq!(stage(&service, "anna").await, Stage::AtRisk);
    resolve(&service, &complaint, "again").await.unwrap();
    send(&service, said("anna", "bad", satisfied(2), START)).await.unwrap();
    assert_eq!(stage(&service, "anna").await, Stage::AtRisk);
    // What was said before is of no matter once something later was.
    send(&service, said("anna", "good", satisfied(5), "2026-01-14T12:00:00Z")).await.unwrap();
    assert_eq!(stage(&service, "anna").await, Stage::AtRisk);
    service.set_clock("2026-01-16T12:00:00Z");
    send(&service, said("anna", "better", satisfied(4), "2026-01-16T12:00:00Z")).await.unwrap();
    assert_eq!(stage(&service, "anna").await, Stage::FirstTime);
    service.refer("zoe", &code).await;
    buy(&service, "zoe", "of zoe", "30.00").await;
    let anna = get(&service, "anna", None).await.unwrap();
    assert_eq!(anna.position.unwrap().stage(), Stage::Advocate);
    assert_eq!(anna.facts.unwrap().referrals, 1);
    assert_eq!(stage(&service, "zoe").await, Stage::FirstTime);
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn brands_and_involvement_make_a_diamond() {
    let service = start().await;
    for (involvement, brands, expected) in [
        (4, 1, BrandClass::Loyal),
        (3, 1, BrandClass::Habitual),
        (5, 2, BrandClass::ManyBrand),
        (1, 9, BrandClass::Switcher),
    ] {
        let customer = format!("c{involvement}");
        let cares = proto::Feedback { involvement: Some(involvement), ..satisfied(5) };
        send(&service, said(&customer, &format!("cares-{customer}"), cares, START)).await.unwrap();
        let half = get(&service, &customer, None).await.unwrap().position.unwrap();
        assert_eq!(half.brand_class(), BrandClass::Unspecified);
        let buys = proto::Feedback { brands: Some(brands), ..satisfied(5) };
        send(&service, said(&customer, &format!("buys-{customer}"), buys, START)).await.unwrap();
        let whole = get(&service, &customer, None).await.unwrap().position.unwrap();
        assert_eq!(whole.brand_class(), expected);
    }
}

#[tokio::test]
async fn many_purchases_at_once_by_two_services_are_all_known() {
    let service = start().await;
    let other = Service::start_on(service.database.clone(), service.clock.clone()).await;
    service.enrol("anna").await;
    let calls = (0..48).map(|call| {
        let service = if call % 2 == 0 { &service } else { &other };
        let request = purchase("anna", &format!("p-{call}"), "10.00", service.clock.now());
        async move { service.activities().record_activity(request).await.unwrap() }
    });
    join_all(calls).await;
    let found = get(&service, "anna", None).await.unwrap();
    assert_eq!(found.position.unwrap().stage(), Stage::Client);
    let moves = service.kinds("anna").await;
    // First, repeat, client: by what was spent, that is the tenth.
    assert_eq!(moves.iter().filter(|kind| **kind == proto::EntryKind::LifecycleDecided).count(), 3);
    assert_eq!(found.facts.unwrap().purchases, 10);
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn silence_does_nothing_to_whom_was_erased() {
    let service = start().await;
    buy(&service, "anna", "first", "10.00").await;
    service.set_clock("2026-01-20T12:00:00Z");
    erase(&service, erasure("anna", proto::BalanceDisposal::Expire, "erase")).await.unwrap();
    let before = service.count_entries().await;
    service.set_clock("2026-12-01T12:00:00Z");
    assert_refused(get(&service, "anna", None).await, Code::NotFound, "CUSTOMER_NOT_FOUND");
    assert_clean(&service.database).await;
    service.enrol("ben").await;
    // The two of whom joins.
    assert_eq!(service.count_entries().await, before + 2);
}
