//! `GrantEntitlement` and `RevokeEntitlement`: benefits by hand, beside those of the tier.

use std::time::Duration;

use futures_util::future::join_all;
use goldbook::proto;
use goldbook::proto::benefit_quota::Per;
use serde_json::json;
use tonic::{Code, Status};

use super::request;
use super::uses::{lounges, start_silver, undo, use_lounge, use_of};
use crate::book_rules::check_rules;
use crate::customers::erasure::{erase, erasure};
use crate::customers::export::{of, read_document};
use crate::harness::{
    Background, Clock, Database, SHOP, START, Service, assert_refused, assert_tells, at, create_customer, shop,
    sorted_bad_fields, usd,
};

/// A month of the calendar.
pub(super) fn month() -> Per {
    Per::Calendar(proto::CalendarPeriod::Month.into())
}

/// [`lounges`] with a day pass that no tier gives.
fn with_extras(program: proto::Program) -> proto::Program {
    let plain = program.tiers[0].benefits[0].clone();
    let quota = proto::BenefitQuota { limit: 3, per: Some(Per::Lifetime(())), counts_companions: false };
    let pass = proto::Benefit { benefit_id: "day-pass".to_owned(), quota: Some(quota), ..plain.clone() };
    let cake = proto::Benefit { benefit_id: "cake".to_owned(), ..plain };
    proto::Program { extras: vec![pass, cake], ..program }
}

pub(crate) fn grant_of(
    benefit_id: &str,
    quantity: i64,
    until: Option<&str>,
    key: &str,
) -> proto::GrantEntitlementRequest {
    proto::GrantEntitlementRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        benefit_id: benefit_id.to_owned(),
        tier_id: String::new(),
        quantity,
        until: until.map(at),
        reason: proto::CorrectionReason::Goodwill.into(),
        author: "clerk-7".to_owned(),
        note: "her flight was late".to_owned(),
        idempotency_key: key.to_owned(),
    }
}

pub(super) fn revocation_of(entitlement_id: &str, key: &str) -> proto::RevokeEntitlementRequest {
    proto::RevokeEntitlementRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        entitlement_id: entitlement_id.to_owned(),
        reason: proto::CorrectionReason::Correction.into(),
        author: "clerk-8".to_owned(),
        note: String::new(),
        idempotency_key: key.to_owned(),
    }
}

pub(crate) async fn send_grant(
    service: &Service,
    request: proto::GrantEntitlementRequest,
) -> Result<proto::GrantEntitlementResponse, Status> {
    Ok(service.benefits().grant_entitlement(request).await?.into_inner())
}

pub(super) async fn grant(service: &Service, quantity: i64, until: Option<&str>, key: &str) -> String {
    send_grant(service, grant_of("lounge", quantity, until, key)).await.unwrap().entitlement_id
}

pub(super) async fn revoke(
    service: &Service,
    request: proto::RevokeEntitlementRequest,
) -> Result<proto::RevokeEntitlementResponse, Status> {
    Ok(service.benefits().revoke_entitlement(request).await?.into_inner())
}

pub(super) async fn list(service: &Service, as_of: Option<&str>) -> Vec<proto::Entitlement> {
    let request = proto::ListCustomerBenefitsRequest { as_of: as_of.map(at), ..request("anna") };
    service.benefits().list_customer_benefits(request).await.unwrap().into_inner().entitlements
}

/// What is told of grants: the benefit, how often it was used, and how often it still may be.
pub(super) async fn granted(service: &Service, as_of: Option<&str>) -> Vec<(String, i64, Option<i64>)> {
    let all = list(service, as_of).await.into_iter();
    let granted = all.filter(|it| it.right() == proto::EntitlementRight::Grant);
    granted.map(|it| (it.benefit.unwrap().benefit_id, it.used, it.left)).collect()
}

pub(super) fn told(expected: &[(&str, i64, Option<i64>)]) -> Vec<(String, i64, Option<i64>)> {
    expected.iter().map(|(benefit_id, used, left)| ((*benefit_id).to_owned(), *used, *left)).collect()
}

pub(super) async fn use_named(service: &Service, entitlement_id: &str, key: &str) -> Result<proto::BenefitUse, Status> {
    let named = proto::UseBenefitRequest { entitlement_id: entitlement_id.to_owned(), ..use_of("lounge", 1, key) };
    Ok(service.benefits().use_benefit(named).await?.into_inner().r#use.unwrap())
}

/// By which grant a benefit was used; empty if by the tier.
pub(super) async fn used_by(service: &Service, quantity: i64, key: &str) -> String {
    let used = use_lounge(service, quantity, key).await.unwrap();
    assert_ne!(used.tier_id.is_empty(), used.entitlement_id.is_empty());
    used.entitlement_id
}

#[tokio::test]
async fn grant_entitlement_is_a_row_and_is_listed_behind_what_the_tier_gives() {
    let service = start_silver(with_extras(lounges(1, 1, month()))).await;
    service.set_clock("2026-02-01T12:00:00Z");
    let end = "2026-03-01T00:00:00Z";
    let response = send_grant(&service, grant_of("lounge", 2, Some(end), "k")).await.unwrap();
    let quota = proto::BenefitQuota { limit: 2, per: Some(Per::Lifetime(())), counts_companions: true };
    let benefit = lounges(1, 1, month()).tiers[1].benefits.pop().unwrap();
    let entitlement = proto::Entitlement {
        benefit: Some(proto::Benefit { quota: Some(quota), ..benefit }),
        since: Some(at("2026-02-01T12:00:00Z")),
        entry_id: response.entitlement_id.clone(),
        right: proto::EntitlementRight::Grant.into(),
        until: Some(at(end)),
        used: 0,
        left: Some(2),
        ..Default::default()
    };
    let expected = proto::GrantEntitlementResponse {
        entitlement_id: response.entitlement_id.clone(),
        entitlement: Some(entitlement.clone()),
        replayed: false,
    };
    assert_eq!(response, expected);
    let listed = list(&service, None).await;
    assert_eq!(
        listed.iter().map(proto::Entitlement::right).filter(|it| *it == proto::EntitlementRight::Tier).count(),
        3
    );
    assert_eq!(listed.last(), Some(&entitlement));
    let entry = service.entries("anna").await.pop().unwrap();
    assert_eq!((&entry.entry_id, entry.kind()), (&response.entitlement_id, proto::EntryKind::EntitlementGranted));
    assert_eq!(entry.reason(), proto::EntryReason::Goodwill);
    for said in ["clerk-7", "late"] {
        assert!(!entry.detail_json.contains(said), "{}", entry.detail_json);
    }
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn grant_entitlement_takes_extras_first_and_a_tier_that_is_named() {
    let mut program = with_extras(lounges(4, 9, month()));
    let service = start_silver(program.clone()).await;
    send_grant(&service, grant_of("day-pass", 0, None, "pass")).await.unwrap();
    send_grant(&service, grant_of("cake", 0, None, "cake")).await.unwrap();
    // Without a number it is the limit of the quota, once: of the lowest tier, or of the one that is named.
    send_grant(&service, grant_of("lounge", 0, None, "low")).await.unwrap();
    let gold = proto::GrantEntitlementRequest { tier_id: "gold".to_owned(), ..grant_of("lounge", 0, None, "high") };
    send_grant(&service, gold.clone()).await.unwrap();
    let all = told(&[("day-pass", 0, Some(3)), ("cake", 0, None), ("lounge", 0, Some(4)), ("lounge", 0, Some(9))]);
    assert_eq!(granted(&service, None).await, all);
    // What was granted stays as it was described then, whatever the document says later.
    program.extras.clear();
    program.tiers[2].benefits.clear();
    service.apply(program).await.unwrap();
    assert_eq!(granted(&service, None).await, all);
    let gone = send_grant(&service, grant_of("cake", 0, None, "k")).await;
    assert_refused(gone, Code::NotFound, "BENEFIT_NOT_FOUND");
    let not_of_gold = proto::GrantEntitlementRequest { idempotency_key: "k".to_owned(), ..gold.clone() };
    assert_refused(send_grant(&service, not_of_gold).await, Code::NotFound, "BENEFIT_NOT_FOUND");
    service.benefits().use_benefit(use_of("cake", 5, "eat")).await.unwrap();
    assert_eq!(granted(&service, None).await[1], ("cake".to_owned(), 5, None));
}

#[tokio::test]
async fn grant_entitlement_is_refused_with_all_that_is_wrong() {
    let mut program = lounges(1, 1, month());
    let plain = program.tiers[0].benefits[0].clone();
    let kind = Some(proto::benefit::Kind::EarnRateMultiplier("2".to_owned()));
    program.tiers[1].benefits.push(proto::Benefit { benefit_id: "faster".to_owned(), kind, ..plain });
    let service = start_silver(program).await;
    let bad = proto::GrantEntitlementRequest {
        quantity: 1_000_001,
        tier_id: "Gold".to_owned(),
        note: "n".repeat(501),
        ..Default::default()
    };
    let fields = sorted_bad_fields(send_grant(&service, bad).await);
    let all = ["author", "benefit_id", "customer_id", "idempotency_key", "note", "program_id", "quantity", "reason"];
    assert_eq!(fields[..8], all);
    assert_eq!(fields[8..], ["tier_id"]);
    let fields = sorted_bad_fields(revoke(&service, proto::RevokeEntitlementRequest::default()).await);
    assert_eq!(fields, ["author", "customer_id", "entitlement_id", "idempotency_key", "program_id", "reason"]);
    let multiplier = send_grant(&service, grant_of("faster", 1, None, "k")).await;
    assert_refused(multiplier, Code::FailedPrecondition, "BENEFIT_NOT_USABLE");
    let past = send_grant(&service, grant_of("lounge", 1, Some(START), "k")).await;
    assert_refused(past, Code::OutOfRange, "INSTANT_NOT_AHEAD");
    let bronze = proto::GrantEntitlementRequest { tier_id: "bronze".to_owned(), ..grant_of("lounge", 1, None, "k") };
    assert_refused(send_grant(&service, bronze).await, Code::NotFound, "TIER_NOT_FOUND");
    let ben = proto::GrantEntitlementRequest { customer_id: "ben".to_owned(), ..grant_of("lounge", 1, None, "k") };
    assert_refused(send_grant(&service, ben).await, Code::NotFound, "CUSTOMER_NOT_FOUND");

    // What was refused left the key free.
    let first = send_grant(&service, grant_of("lounge", 1, None, "k")).await.unwrap();
    use_named(&service, &first.entitlement_id, "use").await.unwrap();
    let again = send_grant(&service, grant_of("lounge", 1, None, "k")).await.unwrap();
    assert_eq!(again, proto::GrantEntitlementResponse { replayed: true, ..first });
    for other in [grant_of("lounge", 2, None, "k"), grant_of("lounge", 1, Some("2027-01-01T00:00:00Z"), "k")] {
        assert_refused(send_grant(&service, other).await, Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    }
}

#[tokio::test]
async fn a_grant_outlives_the_tier_and_ends_at_its_own_end() {
    let service = start_silver(lounges(5, 5, month())).await;
    let end = "2026-06-01T00:00:00Z";
    let passes = grant(&service, 3, Some(end), "k").await;
    let refund = proto::Refund { purchase_activity_id: "silver".to_owned(), amount: Some(usd("200.00")), clawback: 0 };
    let refund = proto::RecordActivityRequest {
        activity: Some(proto::record_activity_request::Activity::Refund(refund)),
        ..crate::harness::purchase("anna", "refund", "1.00", service.clock.now())
    };
    service.activities().record_activity(refund).await.unwrap();
    assert_eq!(service.tier("anna").await.tier_id, "member");
    assert_eq!(used_by(&service, 1, "1").await, passes);
    service.set_clock("2026-05-31T23:59:59.999999Z");
    assert_eq!(used_by(&service, 1, "2").await, passes);
    let rows = service.entries("anna").await.len();
    service.set_clock(end);
    assert_eq!(granted(&service, None).await, []);
    assert_eq!(granted(&service, Some("2026-05-31T23:59:59.999999Z")).await, told(&[("lounge", 2, Some(1))]));
    assert_refused(use_lounge(&service, 1, "3").await, Code::FailedPrecondition, "BENEFIT_NOT_ENTITLED");
    let named = use_named(&service, &passes, "3").await;
    assert_tells(named.clone(), "ended at", &[("ended_at", end)]);
    assert_refused(named, Code::FailedPrecondition, "ENTITLEMENT_ENDED");
    let late = revoke(&service, revocation_of(&passes, "r")).await;
    assert_refused(late, Code::FailedPrecondition, "ENTITLEMENT_ENDED");
    // An end is no row.
    assert_eq!(service.entries("anna").await.len(), rows);
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn revoke_entitlement_ends_it_at_once_and_what_was_told_before_stays() {
    let service = start_silver(shop()).await;
    let passes = grant(&service, 3, Some("2026-06-01T00:00:00Z"), "k").await;
    let used = use_lounge(&service, 2, "1").await.unwrap();
    service.set_clock("2026-02-01T12:00:00Z");
    let first = revoke(&service, revocation_of(&passes, "r")).await.unwrap();
    assert_eq!((first.revoked_at, first.replayed), (Some(at("2026-02-01T12:00:00Z")), false));
    let entry = service.entries("anna").await.pop().unwrap();
    assert_eq!((&entry.entry_id, entry.kind()), (&first.entry_id, proto::EntryKind::EntitlementRevoked));
    assert_eq!(entry.cause_entry_ids, std::slice::from_ref(&passes));
    let again = revoke(&service, revocation_of(&passes, "r")).await.unwrap();
    assert_eq!(again, proto::RevokeEntitlementResponse { replayed: true, ..first });
    let twice = revoke(&service, revocation_of(&passes, "other")).await;
    assert_tells(twice.clone(), "ended at", &[("ended_at", "2026-02-01T12:00:00Z")]);
    assert_refused(twice, Code::FailedPrecondition, "ENTITLEMENT_ENDED");
    let unknown = revoke(&service, revocation_of(&used.use_id, "other")).await;
    assert_refused(unknown, Code::NotFound, "ENTITLEMENT_NOT_FOUND");
    assert_refused(use_lounge(&service, 1, "2").await, Code::FailedPrecondition, "BENEFIT_NOT_ENTITLED");
    assert_eq!(granted(&service, None).await, []);
    let before = Some("2026-02-01T11:59:59.999999Z");
    assert_eq!(granted(&service, before).await, told(&[("lounge", 2, Some(1))]));
    let listed = list(&service, before).await.pop().unwrap();
    assert_eq!(listed.until, Some(at("2026-06-01T00:00:00Z")));
    assert_eq!(granted(&service, Some(START)).await, told(&[("lounge", 2, Some(1))]));
    // A use is undone where it was taken, also when that has ended.
    service.benefits().reverse_benefit_use(undo(&used.use_id, "undo")).await.unwrap();
    assert_eq!(granted(&service, before).await, told(&[("lounge", 2, Some(1))]));
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn a_customer_has_so_many_grants_at_a_time_and_may_have_had_more() {
    let service = start_silver(shop()).await;
    let other = Service::start_on(service.database.clone(), service.clock.clone()).await;
    let calls = (0..270).map(|i| {
        let service = if i % 2 == 0 { &service } else { &other };
        async move {
            let until = Some("2026-02-01T00:00:00Z").filter(|_| i % 2 == 0);
            send_grant(service, grant_of("lounge", 1, until, &format!("k-{i}"))).await
        }
    });
    let outcomes = join_all(calls).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 256);
    let refused = outcomes.into_iter().find(Result::is_err).unwrap();
    assert_tells(refused.clone(), "256 grants", &[("maximum", "256")]);
    assert_refused(refused, Code::FailedPrecondition, "TOO_MANY_ENTITLEMENTS");
    let read = |page_token| {
        let request = proto::ListCustomerBenefitsRequest { page_size: 100, page_token, ..request("anna") };
        async { service.benefits().list_customer_benefits(request).await.unwrap().into_inner() }
    };
    let (mut ids, mut token) = (Vec::new(), String::new());
    loop {
        let page = read(token).await;
        ids.extend(page.entitlements.into_iter().map(|it| (it.right, it.entry_id)).filter(|(right, _)| *right == 2));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let mut once = ids.clone();
    once.sort();
    once.dedup();
    assert_eq!((ids.len(), once.len()), (256, 256));
    // Those that end make room.
    service.set_clock("2026-02-01T00:00:00Z");
    send_grant(&service, grant_of("lounge", 1, None, "later")).await.unwrap();
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn auditors_find_who_granted_and_who_revoked() {
    let service = start_silver(shop()).await;
    let passes = grant(&service, 1, None, "k").await;
    revoke(&service, revocation_of(&passes, "r")).await.unwrap();
    let (granted, revoked) =
        (proto::PrivilegedActionKind::EntitlementGranted, proto::PrivilegedActionKind::EntitlementRevoked);
    let request = proto::ListPrivilegedActionsRequest {
        program_id: SHOP.to_owned(),
        kinds: vec![granted.into(), revoked.into()],
        ..Default::default()
    };
    let actions = service.ledger().list_privileged_actions(request).await.unwrap().into_inner().actions;
    let kinds: Vec<_> = actions.iter().map(|action| (action.kind(), action.customer_id.as_str())).collect();
    assert_eq!(kinds, [(revoked, "anna"), (granted, "anna")]);
    assert_eq!(actions[1].entry_id, passes);
}

#[tokio::test]
async fn an_export_tells_what_was_granted_and_an_erased_customer_has_nothing() {
    let service = start_silver(shop()).await;
    let passes = grant(&service, 3, Some("2026-06-01T00:00:00Z"), "k").await;
    let free = send_grant(&service, grant_of("free-shipping", 0, None, "f")).await.unwrap().entitlement_id;
    use_lounge(&service, 2, "1").await.unwrap();
    revoke(&service, revocation_of(&free, "r")).await.unwrap();
    let stream = service.customers().export_customer(of(SHOP, "anna")).await.unwrap().into_inner();
    let document = read_document(stream).await.unwrap();
    let now = "2026-01-15T12:00:00Z";
    let expected = json!([
        {
            "entitlement_id": passes, "benefit_id": "lounge", "tier_id": "gold", "policy_version": 1, "since": now,
            "until": "2026-06-01T00:00:00Z", "limit": 3, "used": 2
        },
        {
            "entitlement_id": free, "benefit_id": "free-shipping", "tier_id": "silver", "policy_version": 1,
            "since": now, "revoked_at": now, "used": 0
        }
    ]);
    assert_eq!(document["entitlements"], expected);
    let notes = document["entries"].as_array().unwrap().iter().filter(|it| it["note"] == "her flight was late").count();
    assert_eq!(notes, 2);

    erase(&service, erasure("anna", proto::BalanceDisposal::Expire, "erase")).await.unwrap();
    let refused = send_grant(&service, grant_of("lounge", 1, None, "again")).await;
    assert_refused(refused, Code::NotFound, "CUSTOMER_NOT_FOUND");
    assert_refused(use_lounge(&service, 1, "2").await, Code::NotFound, "CUSTOMER_NOT_FOUND");
    // Who comes back begins anew.
    let create = proto::CreateCustomerRequest { returns: true, ..create_customer("anna", "back") };
    service.customers().create_customer(create).await.unwrap();
    assert_eq!(granted(&service, None).await, []);
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn grants_are_the_same_with_a_worker_that_is_quick_and_on_two_services() {
    let often = Background {
        apply_dues_every: Some(Duration::from_millis(20)),
        sum_up_every: None,
        erase_of_inactive_every: None,
        export_limit: None,
    };
    let (database, clock) = (Database::create().await, Clock::fixed("2026-01-15T12:00:00Z".parse().unwrap()));
    let service = Service::start_busy(database.clone(), clock.clone(), often).await;
    let other = Service::start_busy(database, clock, often).await;
    service.apply(lounges(1, 2, month())).await.unwrap();
    service.enrol("anna").await;
    let passes = grant(&service, 2, Some("2026-03-01T00:00:00Z"), "k").await;
    assert_eq!(used_by(&other, 1, "1").await, passes);
    service.set_clock("2026-03-01T00:00:00Z");
    assert_refused(use_lounge(&other, 1, "2").await, Code::FailedPrecondition, "BENEFIT_NOT_ENTITLED");
    let expected = [proto::EntryKind::EntitlementGranted, proto::EntryKind::BenefitUsed];
    assert_eq!(service.kinds("anna").await[2..], expected);
    check_rules(&service.database).await.unwrap();
}
