//! `UseBenefit` where a customer has several rights to a benefit.

use futures_util::future::join_all;
use goldbook::proto;
use tonic::Code;

use super::grants::{grant, granted, list, month, revocation_of, revoke, told, use_named, used_by};
use super::uses::{lounges, start_silver, undo, use_lounge, use_of};
use crate::book_rules::check_rules;
use crate::harness::{Service, assert_refused, assert_tells, shop, sorted_bad_fields};

#[tokio::test]
async fn a_use_is_taken_from_what_is_lost_first_and_counts_there_alone() {
    let service = start_silver(lounges(2, 2, month())).await;
    let long = grant(&service, 1, None, "long").await;
    let late = grant(&service, 2, Some("2026-02-02T00:00:00Z"), "late").await;
    let soon = grant(&service, 1, Some("2026-01-20T00:00:00Z"), "soon").await;
    assert_eq!(used_by(&service, 1, "1").await, soon);
    // The tier's quota is whole again at the end of January.
    assert_eq!(used_by(&service, 2, "2").await, "");
    assert_eq!(used_by(&service, 2, "3").await, late);
    assert_eq!(used_by(&service, 1, "4").await, long);
    let refused = use_lounge(&service, 1, "5").await;
    assert_tells(refused.clone(), "0 of 2 uses are left", &[("left", "0"), ("limit", "2"), ("used", "2")]);
    assert_refused(refused, Code::FailedPrecondition, "BENEFIT_QUOTA_EXHAUSTED");
    let expected = told(&[("lounge", 1, Some(0)), ("lounge", 2, Some(0)), ("lounge", 1, Some(0))]);
    assert_eq!(granted(&service, None).await, expected);
    // The quota of the tier counts its own uses alone.
    service.set_clock("2026-02-01T05:00:00Z");
    assert_eq!(used_by(&service, 1, "6").await, "");
    let of_tier =
        list(&service, None).await.into_iter().find(|it| it.tier_id == "silver" && it.left.is_some()).unwrap();
    assert_eq!((of_tier.used, of_tier.left), (1, Some(1)));
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn a_tier_that_the_program_has_no_more_gives_nothing_but_what_was_granted_stays() {
    let service = start_silver(lounges(2, 2, month())).await;
    let kept = grant(&service, 1, None, "kept").await;
    let of_tier =
        |all: Vec<proto::Entitlement>| all.iter().filter(|it| it.right() == proto::EntitlementRight::Tier).count();
    assert_eq!(of_tier(list(&service, None).await), 3);
    let before = service.clock.now().to_string();
    service.set_clock("2026-01-16T12:00:00Z");
    let mut fewer = lounges(2, 2, month());
    fewer.tiers.remove(1);
    service.apply(fewer).await.unwrap();
    let tier = service.tier("anna").await;
    assert_eq!((tier.tier_id.as_str(), tier.benefits), ("silver", vec![]));
    assert_eq!(list(&service, None).await.into_iter().map(|it| it.entry_id).collect::<Vec<_>>(), [kept.as_str()]);
    assert_eq!(used_by(&service, 1, "1").await, kept);
    let refused = use_lounge(&service, 1, "2").await;
    assert_tells(refused.clone(), "0 of 1 uses are left", &[("entitlement_id", &kept)]);
    assert_eq!(of_tier(list(&service, Some(&before)).await), 3);
}

#[tokio::test]
async fn a_use_is_of_the_grant_that_is_named_and_whole() {
    let service = start_silver(lounges(9, 9, month())).await;
    let first = grant(&service, 2, None, "a").await;
    let second = grant(&service, 2, None, "b").await;
    let used = use_named(&service, &second, "1").await.unwrap();
    assert_eq!((&used.entitlement_id, used.left, used.tier_id.as_str()), (&second, Some(1), ""));
    let entry = service.entries("anna").await.pop().unwrap();
    assert_eq!(entry.cause_entry_ids, std::slice::from_ref(&second));
    // Companions count as the benefit says, and no use is cut in two.
    let many = proto::UseBenefitRequest { companions: 1, entitlement_id: second.clone(), ..use_of("lounge", 1, "2") };
    assert_refused(service.benefits().use_benefit(many).await, Code::FailedPrecondition, "BENEFIT_QUOTA_EXHAUSTED");
    let other = proto::UseBenefitRequest { entitlement_id: first.clone(), ..use_of("newsletter", 1, "2") };
    assert_refused(service.benefits().use_benefit(other).await, Code::NotFound, "ENTITLEMENT_NOT_FOUND");
    let no_grant = service.entries("anna").await[0].entry_id.clone();
    assert_refused(use_named(&service, &no_grant, "2").await, Code::NotFound, "ENTITLEMENT_NOT_FOUND");
    // Of the same key, another entitlement is another request.
    assert_refused(use_named(&service, &first, "1").await, Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    let bad = use_named(&service, "what", "2").await;
    assert_eq!(sorted_bad_fields(bad), ["entitlement_id"]);
}

#[tokio::test]
async fn a_use_of_a_grant_is_given_back_to_the_grant() {
    let service = start_silver(lounges(5, 5, month())).await;
    grant(&service, 1, Some("2026-01-20T00:00:00Z"), "k").await;
    let used = use_lounge(&service, 1, "1").await.unwrap();
    assert_eq!(granted(&service, None).await, told(&[("lounge", 1, Some(0))]));
    service.benefits().reverse_benefit_use(undo(&used.use_id, "undo")).await.unwrap();
    assert_eq!(granted(&service, None).await, told(&[("lounge", 0, Some(1))]));
    assert_eq!(used_by(&service, 1, "2").await, used.entitlement_id);
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn of_many_uses_of_the_last_pass_of_a_grant_one_wins_on_two_services() {
    let service = start_silver(shop()).await;
    let other = Service::start_on(service.database.clone(), service.clock.clone()).await;
    let passes = grant(&service, 3, None, "k").await;
    use_lounge(&service, 2, "before").await.unwrap();
    let calls = (0..60).map(|i| {
        let (service, passes) = (if i % 2 == 0 { &service } else { &other }, &passes);
        async move {
            match i % 3 {
                0 => use_named(service, passes, &format!("k-{i}")).await,
                _ => use_lounge(service, 1, &format!("k-{i}")).await,
            }
        }
    });
    let outcomes = join_all(calls).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for refused in outcomes.into_iter().filter(Result::is_err) {
        assert_refused(refused, Code::FailedPrecondition, "BENEFIT_QUOTA_EXHAUSTED");
    }
    assert_eq!(granted(&other, None).await, told(&[("lounge", 3, Some(0))]));
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn of_uses_and_a_revocation_at_once_none_is_carried_out_afterwards() {
    let service = start_silver(shop()).await;
    let other = Service::start_on(service.database.clone(), service.clock.clone()).await;
    let passes = grant(&service, 1_000, None, "k").await;
    let uses = (0..40).map(async |i| {
        let service = if i % 2 == 0 { &service } else { &other };
        use_lounge(service, 1, &format!("k-{i}")).await.is_ok()
    });
    let revocations = (0..4).map(async |i| revoke(&other, revocation_of(&passes, &format!("r-{i}"))).await.is_ok());
    let (used, revoked) = tokio::join!(join_all(uses), join_all(revocations));
    assert_eq!(revoked.into_iter().filter(|done| *done).count(), 1);
    let kinds = service.kinds("anna").await;
    let counted = kinds.iter().filter(|kind| **kind == proto::EntryKind::BenefitUsed).count();
    assert_eq!(counted, used.into_iter().filter(|done| *done).count());
    let after = kinds.into_iter().skip_while(|kind| *kind != proto::EntryKind::EntitlementRevoked).count();
    assert_eq!(after, 1);
    check_rules(&service.database).await.unwrap();
}
