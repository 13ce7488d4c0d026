//! `UseBenefit` and `ReverseBenefitUse`: quotas, their periods, and what a change of tier makes of them.

use std::time::Duration;

use futures_util::future::join_all;
use goldbook::proto;
use goldbook::proto::benefit_quota::Per;
use tonic::{Code, Status};

use super::request;
use crate::book_rules::check_rules;
use crate::harness::{
    Background, Clock, Database, SHOP, Service, assert_refused, assert_tells, at, shop, sorted_bad_fields,
};

/// The shop whose silver tier has so many lounge passes in a period, and gold so many.
pub(crate) fn lounges(silver: i64, gold: i64, per: Per) -> proto::Program {
    let mut program = shop();
    let plain = program.tiers[0].benefits[0].clone();
    for (rank, limit) in [(1, silver), (2, gold)] {
        program.tiers[rank].benefits.retain(|benefit| benefit.benefit_id != "lounge");
        program.tiers[rank].benefits.push(proto::Benefit {
            benefit_id: "lounge".to_owned(),
            kind: Some(proto::benefit::Kind::Pass(proto::PassKind::Lounge.into())),
            quota: Some(proto::BenefitQuota { limit, per: Some(per), counts_companions: true }),
            ..plain.clone()
        });
    }
    program
}

/// A policy of calendar years, in which tiers are kept until the end of the next.
fn calendar_years(program: proto::Program) -> proto::Program {
    let policy = proto::TierPolicy {
        window: Some(proto::TierWindow {
            window: Some(proto::tier_window::Window::Calendar(proto::CalendarPeriod::Year.into())),
        }),
        kept: Some(proto::TierRetention { rule: Some(proto::tier_retention::Rule::UntilEndOfNextPeriod(())) }),
        ..Default::default()
    };
    proto::Program { tier_policy: Some(policy), ..program }
}

/// A service on which anna holds silver.
pub(crate) async fn start_silver(program: proto::Program) -> Service {
    let service = Service::start().await;
    service.apply(program).await.unwrap();
    service.enrol("anna").await;
    service.purchase("anna", "silver", "200.00").await.unwrap();
    service
}

pub(crate) fn use_of(benefit_id: &str, quantity: i64, key: &str) -> proto::UseBenefitRequest {
    proto::UseBenefitRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        benefit_id: benefit_id.to_owned(),
        quantity,
        companions: 0,
        place: String::new(),
        entitlement_id: String::new(),
        idempotency_key: key.to_owned(),
    }
}

async fn send(service: &Service, request: proto::UseBenefitRequest) -> Result<proto::UseBenefitResponse, Status> {
    Ok(service.benefits().use_benefit(request).await?.into_inner())
}

pub(crate) async fn use_lounge(service: &Service, quantity: i64, key: &str) -> Result<proto::BenefitUse, Status> {
    Ok(send(service, use_of("lounge", quantity, key)).await?.r#use.unwrap())
}

pub(crate) fn undo(use_id: &str, key: &str) -> proto::ReverseBenefitUseRequest {
    proto::ReverseBenefitUseRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        use_id: use_id.to_owned(),
        reason: proto::CorrectionReason::Correction.into(),
        note: String::new(),
        idempotency_key: key.to_owned(),
    }
}

async fn reverse(service: &Service, use_id: &str, key: &str) -> Result<proto::ReverseBenefitUseResponse, Status> {
    Ok(service.benefits().reverse_benefit_use(undo(use_id, key)).await?.into_inner())
}

/// What is told of the lounge: how much was used, how much is left, and when it is whole again.
async fn lounge(service: &Service, as_of: Option<&str>) -> Option<(i64, i64, Option<prost_types::Timestamp>)> {
    let request = proto::ListCustomerBenefitsRequest { as_of: as_of.map(at), ..request("anna") };
    let page = service.benefits().list_customer_benefits(request).await.unwrap().into_inner();
    let found = page.entitlements.into_iter().find(|it| it.benefit.as_ref().unwrap().benefit_id == "lounge")?;
    Some((found.used, found.left.unwrap(), found.resets_at))
}

#[tokio::test]
async fn use_benefit_takes_from_the_quota_and_tells_what_is_left_and_when_it_resets() {
    let service = start_silver(lounges(5, 9, Per::Calendar(proto::CalendarPeriod::Month.into()))).await;
    let reset = Some(at("2026-02-01T00:00:00-05:00"));
    let request =
        proto::UseBenefitRequest { companions: 1, place: "Gate 4".to_owned(), ..use_of("lounge", 2, "first") };
    let used = send(&service, request).await.unwrap();
    assert!(!used.replayed);
    let used = used.r#use.unwrap();
    assert_eq!((used.tier_id.as_str(), used.quantity, used.companions, used.counted), ("silver", 2, 1, 3));
    assert_eq!((used.left, used.resets_at), (Some(2), reset));
    assert_eq!(lounge(&service, None).await, Some((3, 2, reset)));
    let entry = service.entries("anna").await.pop().unwrap();
    assert_eq!((entry.entry_id.clone(), entry.kind()), (used.use_id.clone(), proto::EntryKind::BenefitUsed));
    assert_eq!(entry.reason(), proto::EntryReason::BenefitUse);
    assert!(!entry.detail_json.contains("Gate 4"), "{}", entry.detail_json);

    let refused = use_lounge(&service, 3, "second").await;
    let facts = [("left", "2"), ("limit", "5"), ("used", "3"), ("counted", "3"), ("resets_at", "2026-02-01T05:00:00Z")];
    assert_tells(refused.clone(), "2 of 5 uses are left", &facts);
    assert_refused(refused, Code::FailedPrecondition, "BENEFIT_QUOTA_EXHAUSTED");
    assert_eq!(use_lounge(&service, 2, "second").await.unwrap().left, Some(0));
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn use_benefit_without_a_quota_may_be_used_at_will() {
    let service = start_silver(shop()).await;
    let used = send(&service, use_of("free-shipping", 0, "a")).await.unwrap().r#use.unwrap();
    assert_eq!((used.quantity, used.counted, used.left, used.resets_at), (1, 1, None, None));
    send(&service, use_of("free-shipping", 1_000_000, "b")).await.unwrap();
}

#[tokio::test]
async fn use_benefit_refuses_what_the_tier_does_not_give_and_says_who_does() {
    let mut program = lounges(1, 1, Per::Lifetime(()));
    let plain = program.tiers[0].benefits[0].clone();
    program.tiers[1].benefits.push(proto::Benefit {
        benefit_id: "faster".to_owned(),
        kind: Some(proto::benefit::Kind::EarnRateMultiplier("2".to_owned())),
        ..plain
    });
    let service = Service::start().await;
    service.apply(program).await.unwrap();
    service.enrol("anna").await;
    let refused = use_lounge(&service, 1, "k").await;
    assert_tells(refused.clone(), "comes with silver, gold", &[("tier_id", "member"), ("given_by", "silver, gold")]);
    assert_refused(refused, Code::FailedPrecondition, "BENEFIT_NOT_ENTITLED");
    assert_refused(send(&service, use_of("cake", 1, "k")).await, Code::NotFound, "BENEFIT_NOT_FOUND");
    service.purchase("anna", "silver", "200.00").await.unwrap();
    assert_refused(send(&service, use_of("faster", 1, "k")).await, Code::FailedPrecondition, "BENEFIT_NOT_USABLE");
    let of_nobody = proto::UseBenefitRequest { customer_id: "nobody".to_owned(), ..use_of("lounge", 1, "k") };
    assert_refused(send(&service, of_nobody).await, Code::NotFound, "CUSTOMER_NOT_FOUND");
    let bad =
        proto::UseBenefitRequest { quantity: -1, companions: 1_000_001, place: "x".repeat(501), ..use_of("", 1, "") };
    let expected = ["benefit_id", "companions", "idempotency_key", "place", "quantity"];
    assert_eq!(sorted_bad_fields(send(&service, bad).await), expected);
}

#[tokio::test]
async fn use_benefit_repeated_gets_the_first_answer_and_another_request_a_conflict() {
    let service = start_silver(lounges(3, 3, Per::Lifetime(()))).await;
    let first = send(&service, use_of("lounge", 2, "k")).await.unwrap();
    use_lounge(&service, 1, "other").await.unwrap();
    // Nothing is left, and the tier has changed; the answer is that of its time.
    service.purchase("anna", "gold", "300.00").await.unwrap();
    let again = send(&service, use_of("lounge", 2, "k")).await.unwrap();
    assert_eq!(again, proto::UseBenefitResponse { replayed: true, ..first });
    for other in [
        use_of("lounge", 1, "k"),
        use_of("newsletter", 2, "k"),
        proto::UseBenefitRequest { companions: 1, ..use_of("lounge", 2, "k") },
        proto::UseBenefitRequest { place: "elsewhere".to_owned(), ..use_of("lounge", 2, "k") },
    ] {
        assert_refused(send(&service, other).await, Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    }
    // A refusal leaves the key unused.
    assert_refused(use_lounge(&service, 4, "later").await, Code::FailedPrecondition, "BENEFIT_QUOTA_EXHAUSTED");
    send(&service, use_of("newsletter", 1, "later")).await.unwrap();
}

#[tokio::test]
async fn of_many_uses_of_the_last_pass_at_once_one_wins_on_two_services() {
    let service = start_silver(lounges(8, 8, Per::TierPeriod(()))).await;
    let other = Service::start_on(service.database.clone(), service.clock.clone()).await;
    use_lounge(&service, 7, "before").await.unwrap();
    let calls = (0..60).map(|i| {
        let service = if i % 2 == 0 { &service } else { &other };
        async move { use_lounge(service, 1, &format!("k-{i}")).await }
    });
    let outcomes = join_all(calls).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for refused in outcomes.into_iter().filter(Result::is_err) {
        assert_refused(refused, Code::FailedPrecondition, "BENEFIT_QUOTA_EXHAUSTED");
    }
    assert_eq!(lounge(&other, None).await, Some((8, 0, None)));
    let used = service.kinds("anna").await.into_iter().filter(|kind| *kind == proto::EntryKind::BenefitUsed).count();
    assert_eq!(used, 2);
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn one_key_on_two_services_at_once_is_one_use() {
    let service = start_silver(lounges(8, 8, Per::TierPeriod(()))).await;
    let other = Service::start_on(service.database.clone(), service.clock.clone()).await;
    let calls = (0..40).map(|i| send(if i % 2 == 0 { &service } else { &other }, use_of("lounge", 1, "k")));
    let answers: Vec<_> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert!(answers.iter().all(|answer| answer.r#use == answers[0].r#use));
}

#[tokio::test]
async fn a_change_of_tier_leaves_the_new_quota_less_what_was_used_never_below_none() {
    let service = start_silver(lounges(2, 5, Per::TierPeriod(()))).await;
    use_lounge(&service, 2, "a").await.unwrap();
    service.purchase("anna", "gold", "300.00").await.unwrap();
    assert_eq!(lounge(&service, None).await, Some((2, 3, None)));
    use_lounge(&service, 2, "b").await.unwrap();
    // The refund takes gold away; silver gives fewer than were used.
    let refund = proto::Refund {
        purchase_activity_id: "gold".to_owned(),
        amount: Some(crate::harness::usd("300.00")),
        clawback: 0,
    };
    let refund = proto::RecordActivityRequest {
        activity: Some(proto::record_activity_request::Activity::Refund(refund)),
        ..crate::harness::purchase("anna", "refund", "1.00", service.clock.now())
    };
    service.activities().record_activity(refund).await.unwrap();
    assert_eq!(lounge(&service, None).await, Some((4, 0, None)));
    assert_refused(use_lounge(&service, 1, "c").await, Code::FailedPrecondition, "BENEFIT_QUOTA_EXHAUSTED");
    // Buying again begins no new period.
    service.purchase("anna", "gold-again", "300.00").await.unwrap();
    assert_eq!(lounge(&service, None).await, Some((4, 1, None)));
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn a_tier_period_begins_anew_when_the_tier_is_renewed_or_lost_at_its_end() {
    let service = start_silver(calendar_years(lounges(2, 5, Per::TierPeriod(())))).await;
    let end = Some(at("2028-01-01T00:00:00-05:00"));
    use_lounge(&service, 2, "a").await.unwrap();
    assert_eq!(lounge(&service, None).await, Some((2, 0, end)));
    service.set_clock("2027-05-01T12:00:00Z");
    service.purchase("anna", "again", "250.00").await.unwrap();
    assert_eq!(lounge(&service, None).await.unwrap().1, 0);
    // The renewal is not written yet, and shows.
    service.set_clock("2028-01-01T05:00:00Z");
    assert_eq!(lounge(&service, None).await, Some((0, 2, Some(at("2029-01-01T00:00:00-05:00")))));
    assert_eq!(lounge(&service, Some("2028-01-01T04:59:59Z")).await.unwrap().1, 0);
    use_lounge(&service, 1, "b").await.unwrap();
    assert_eq!(lounge(&service, None).await.unwrap().1, 1);
    // The tier is lost, and what hung on it with it.
    service.set_clock("2029-01-01T04:59:59Z");
    assert!(lounge(&service, None).await.is_some());
    service.set_clock("2029-01-01T05:00:00Z");
    assert_eq!(lounge(&service, None).await, None);
    assert_refused(use_lounge(&service, 1, "c").await, Code::FailedPrecondition, "BENEFIT_NOT_ENTITLED");
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn a_quota_of_a_tier_period_resets_when_time_decides_and_not_when_the_tier_ends() {
    let mut program = calendar_years(lounges(2, 5, Per::TierPeriod(())));
    program.tier_policy.as_mut().unwrap().grace = "P30D".to_owned();
    let service = start_silver(program).await;
    // The grace begins with 2028, and time decides after it.
    let decided = Some(at("2028-01-31T05:00:00Z"));
    assert_eq!(use_lounge(&service, 2, "a").await.unwrap().resets_at, decided);
    service.set_clock("2028-01-02T12:00:00Z");
    assert_eq!(lounge(&service, None).await, Some((2, 0, decided)));

    let mut program = calendar_years(lounges(2, 5, Per::TierPeriod(())));
    program.tier_policy.as_mut().unwrap().upgrade = proto::TierUpgrade::AtPeriodEnd.into();
    let service = start_silver(program).await;
    // Silver comes with 2027, and gold is earned within that year for the next.
    service.set_clock("2027-03-01T12:00:00Z");
    service.purchase("anna", "gold", "500.00").await.unwrap();
    let rise = Some(at("2028-01-01T05:00:00Z"));
    assert_eq!(use_lounge(&service, 2, "a").await.unwrap().resets_at, rise);
    service.set_clock("2028-01-01T05:00:00Z");
    assert_eq!(lounge(&service, None).await.map(|(used, left, _)| (used, left)), Some((0, 5)));
}

#[tokio::test]
async fn a_quota_of_a_month_resets_at_local_midnight_on_leap_days_and_clock_changes() {
    let per_month = Per::Calendar(proto::CalendarPeriod::Month.into());
    let service =
        Service::start_on(Database::create().await, Clock::fixed("2028-02-01T12:00:00Z".parse().unwrap())).await;
    service.apply(lounges(1, 1, per_month)).await.unwrap();
    service.enrol("anna").await;
    service.purchase("anna", "silver", "200.00").await.unwrap();
    // 29 February is of February, up to its last local microsecond.
    service.set_clock("2028-03-01T04:59:59.999999Z");
    let used = use_lounge(&service, 1, "leap").await.unwrap();
    assert_eq!(used.resets_at, Some(at("2028-03-01T05:00:00Z")));
    assert_refused(use_lounge(&service, 1, "march").await, Code::FailedPrecondition, "BENEFIT_QUOTA_EXHAUSTED");
    service.set_clock("2028-03-01T05:00:00Z");
    // The clocks go forward in March, so its end is an hour earlier.
    assert_eq!(lounge(&service, None).await, Some((0, 1, Some(at("2028-04-01T04:00:00Z")))));
    use_lounge(&service, 1, "march").await.unwrap();
    service.set_clock("2028-04-01T03:59:59Z");
    assert_eq!(lounge(&service, None).await.unwrap().1, 0);
    service.set_clock("2028-04-01T04:00:00Z");
    use_lounge(&service, 1, "april").await.unwrap();
}

#[tokio::test]
async fn list_customer_benefits_tells_for_any_instant_what_was_used_by_then() {
    let service = start_silver(lounges(3, 3, Per::Calendar(proto::CalendarPeriod::Year.into()))).await;
    let next_year = Some(at("2027-01-01T05:00:00Z"));
    for (day, key) in [("16", "a"), ("17", "b"), ("18", "c")] {
        service.set_clock(&format!("2026-01-{day}T12:00:00Z"));
        use_lounge(&service, 1, key).await.unwrap();
    }
    service.set_clock("2027-02-01T12:00:00Z");
    let told = async |as_of| lounge(&service, Some(as_of)).await.unwrap();
    assert_eq!(told("2026-01-15T12:00:00Z").await, (0, 3, next_year));
    assert_eq!(told("2026-01-16T12:00:00Z").await, (1, 2, next_year));
    assert_eq!(told("2026-01-18T11:59:59Z").await, (2, 1, next_year));
    assert_eq!(told("2026-12-31T12:00:00Z").await, (3, 0, next_year));
    assert_eq!(lounge(&service, None).await.unwrap().1, 3);
    // What is answered for an instant stays the answer.
    use_lounge(&service, 3, "d").await.unwrap();
    assert_eq!(told("2026-01-16T12:00:00Z").await, (1, 2, next_year));
}

#[tokio::test]
async fn reverse_benefit_use_gives_back_once_where_the_use_still_counts() {
    let service = start_silver(lounges(3, 3, Per::Calendar(proto::CalendarPeriod::Month.into()))).await;
    let january = use_lounge(&service, 2, "a").await.unwrap();
    let first = reverse(&service, &january.use_id, "undo").await.unwrap();
    assert_eq!((first.counted, first.replayed), (2, false));
    assert_eq!(lounge(&service, None).await.unwrap().1, 3);
    let again = reverse(&service, &january.use_id, "undo").await.unwrap();
    assert_eq!(again, proto::ReverseBenefitUseResponse { replayed: true, ..first.clone() });
    let other = proto::ReverseBenefitUseRequest { note: "why".to_owned(), ..undo(&january.use_id, "undo") };
    let outcome = service.benefits().reverse_benefit_use(other).await;
    assert_refused(outcome, Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    let twice = reverse(&service, &january.use_id, "undo again").await;
    assert_refused(twice, Code::FailedPrecondition, "ENTRY_ALREADY_REVERSED");
    // Neither a reversal nor anything else is a use.
    let no_use = reverse(&service, &first.entry_id, "k").await;
    assert_refused(no_use, Code::NotFound, "BENEFIT_USE_NOT_FOUND");
    let entry = service.entries("anna").await[0].entry_id.clone();
    assert_refused(reverse(&service, &entry, "k").await, Code::NotFound, "BENEFIT_USE_NOT_FOUND");

    let january = use_lounge(&service, 3, "b").await.unwrap();
    service.set_clock("2026-02-01T12:00:00Z");
    use_lounge(&service, 1, "c").await.unwrap();
    reverse(&service, &january.use_id, "late").await.unwrap();
    assert_eq!(lounge(&service, None).await.unwrap().1, 2);
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn a_use_is_undone_once_however_many_try_on_two_services() {
    let service = start_silver(lounges(3, 3, Per::Lifetime(()))).await;
    let other = Service::start_on(service.database.clone(), service.clock.clone()).await;
    let used = use_lounge(&service, 2, "a").await.unwrap();
    let calls = (0..30).map(|i| {
        let (service, use_id) = (if i % 2 == 0 { &service } else { &other }, &used.use_id);
        async move { reverse(service, use_id, &format!("undo-{i}")).await }
    });
    let outcomes = join_all(calls).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(lounge(&service, None).await.unwrap().1, 3);
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn tier_periods_are_the_same_with_a_worker_that_is_quick_and_on_two_services() {
    let often = Background {
        apply_dues_every: Some(Duration::from_millis(20)),
        sum_up_every: None,
        erase_of_inactive_every: None,
        export_limit: None,
    };
    let (database, clock) = (Database::create().await, Clock::fixed("2026-01-15T12:00:00Z".parse().unwrap()));
    let service = Service::start_busy(database.clone(), clock.clone(), often).await;
    let other = Service::start_busy(database, clock, often).await;
    service.apply(calendar_years(lounges(2, 5, Per::TierPeriod(())))).await.unwrap();
    service.enrol("anna").await;
    service.purchase("anna", "silver", "200.00").await.unwrap();
    use_lounge(&service, 2, "a").await.unwrap();
    service.set_clock("2027-05-01T12:00:00Z");
    other.purchase("anna", "again", "250.00").await.unwrap();
    service.set_clock("2028-06-01T12:00:00Z");
    assert_eq!(use_lounge(&other, 2, "b").await.unwrap().left, Some(0));
    assert_refused(use_lounge(&service, 1, "c").await, Code::FailedPrecondition, "BENEFIT_QUOTA_EXHAUSTED");
    check_rules(&service.database).await.unwrap();
}
