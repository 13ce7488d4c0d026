//! Tiers that are set by hand: as floors and as locks, until an instant or until they are cleared.

use goldbook::embedded_postgres::SUPERUSER;
use goldbook::proto;
use goldbook::proto::TierChangeKind::{Downgraded, Imported, Joined, Overridden, Released, Upgraded};
use goldbook::proto::TierOverrideKind::{Floor, Lock};
use serde_json::json;
use tonic::{Code, Status};

use super::windows::{OFTEN, buy, calendar_years, changes, refund, start};
use crate::book_rules::check_rules;
use crate::customers::erasure::{erase, erasure};
use crate::customers::export::{of, read_document};
use crate::harness::{Database, SHOP, START, Service, assert_refused, at, shop, sorted_bad_fields, usd};
use crate::imports::{import_one, tier as opening_tier};
use crate::wait::until;

/// The start of 2027 in New York.
const NEW_YEAR: &str = "2027-01-01T05:00:00Z";

fn set(
    tier_id: &str,
    kind: proto::TierOverrideKind,
    ends_at: Option<&str>,
    key: &str,
) -> proto::SetTierOverrideRequest {
    proto::SetTierOverrideRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        tier_id: tier_id.to_owned(),
        kind: kind.into(),
        ends_at: ends_at.map(at),
        reason: proto::CorrectionReason::Goodwill.into(),
        author: "clerk-7".to_owned(),
        note: "her parcel was lost twice".to_owned(),
        idempotency_key: key.to_owned(),
    }
}

fn clear(key: &str) -> proto::ClearTierOverrideRequest {
    proto::ClearTierOverrideRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        reason: proto::CorrectionReason::Correction.into(),
        author: "clerk-8".to_owned(),
        note: String::new(),
        idempotency_key: key.to_owned(),
    }
}

async fn send_set(
    service: &Service,
    request: proto::SetTierOverrideRequest,
) -> Result<proto::SetTierOverrideResponse, Status> {
    Ok(service.tiers().set_tier_override(request).await?.into_inner())
}

async fn send_clear(
    service: &Service,
    request: proto::ClearTierOverrideRequest,
) -> Result<proto::ClearTierOverrideResponse, Status> {
    Ok(service.tiers().clear_tier_override(request).await?.into_inner())
}

/// The tier that is held, and the one that is hidden.
async fn held(service: &Service) -> (String, String) {
    let tier = service.tier("anna").await;
    (tier.tier_id, tier.hidden_tier_id)
}

fn pair(held: &str, hidden: &str) -> (String, String) {
    (held.to_owned(), hidden.to_owned())
}

fn told(expected: &[(&str, proto::TierChangeKind)]) -> Vec<(String, proto::TierChangeKind)> {
    expected.iter().map(|(tier_id, kind)| ((*tier_id).to_owned(), *kind)).collect()
}

#[tokio::test]
async fn a_floor_lifts_at_once_lets_rise_and_shows_what_it_hides() {
    let service = start(shop()).await;
    service.set_clock("2026-02-01T12:00:00Z");
    let done = send_set(&service, set("silver", Floor, None, "set")).await.unwrap();
    let change = done.tier_change.unwrap();
    assert_eq!(
        (change.change(), change.from_tier_id.as_str(), change.to_tier_id.as_str()),
        (Overridden, "member", "silver")
    );
    assert_eq!((change.hidden_tier_id.as_str(), done.replayed), ("member", false));

    let tier = service.tier("anna").await;
    assert_eq!((tier.tier_id.as_str(), tier.hidden_tier_id.as_str()), ("silver", "member"));
    assert_eq!((tier.since, tier.valid_until), (Some(at("2026-02-01T12:00:00Z")), None));
    assert_eq!(
        (tier.entry_id.clone(), tier.cause_entry_ids.len(), tier.earned.is_some()),
        (change.entry_id.clone(), 0, false)
    );
    let forced = proto::TierOverride {
        kind: Floor.into(),
        tier_id: "silver".to_owned(),
        ends_at: None,
        set_at: Some(at("2026-02-01T12:00:00Z")),
        reason: proto::EntryReason::Goodwill.into(),
        author: "clerk-7".to_owned(),
        note: "her parcel was lost twice".to_owned(),
        entry_id: change.entry_id.clone(),
    };
    assert_eq!(tier.r#override, Some(forced));
    assert_eq!(tier.benefits, shop().tiers[1].benefits);
    let entry = service.entries("anna").await.pop().unwrap();
    assert_eq!((entry.kind(), entry.reason()), (proto::EntryKind::TierOverridden, proto::EntryReason::Goodwill));

    // Her own silver changes nothing that is held, and stays hidden behind the floor.
    buy(&service, "a", "200.00", "2026-02-01T12:00:00Z").await;
    assert_eq!(held(&service).await, pair("silver", "silver"));
    assert_eq!(service.tier("anna").await.since, Some(at("2026-02-01T12:00:00Z")));
    let gold = buy(&service, "b", "300.00", "2026-02-01T12:00:00Z").await.tier_change.unwrap();
    assert_eq!((gold.from_tier_id.as_str(), gold.to_tier_id.as_str()), ("silver", "gold"));
    assert_eq!((gold.change(), gold.hidden_tier_id.as_str()), (Upgraded, "gold"));
    assert_eq!(held(&service).await, pair("gold", "gold"));
    refund(&service, "c", "b", "300.00").await;
    refund(&service, "d", "a", "200.00").await;
    assert_eq!(held(&service).await, pair("silver", "member"));

    let released = send_clear(&service, clear("clear")).await.unwrap().tier_change.unwrap();
    assert_eq!(
        (released.change(), released.from_tier_id.as_str(), released.to_tier_id.as_str()),
        (Released, "silver", "member")
    );
    assert_eq!(released.cause_entry_ids, [change.entry_id]);
    assert_eq!(held(&service).await, pair("member", ""));
    assert_eq!(service.tier("anna").await.r#override, None);
    let at_first = service.tier_at("anna", "2026-02-01T11:59:59.999999Z").await.unwrap();
    assert_eq!((at_first.tier_id.as_str(), at_first.r#override), ("member", None));
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn a_lock_holds_against_purchases_and_gives_way_to_what_was_earned() {
    let service = start(shop()).await;
    send_set(&service, set("silver", Lock, None, "set")).await.unwrap();
    let hidden = buy(&service, "a", "600.00", START).await.tier_change.unwrap();
    assert_eq!((hidden.from_tier_id.as_str(), hidden.to_tier_id.as_str()), ("silver", "silver"));
    assert_eq!((hidden.change(), hidden.hidden_tier_id.as_str()), (Upgraded, "gold"));
    assert_eq!(held(&service).await, pair("silver", "gold"));
    // A second override takes the place of the first.
    send_set(&service, set("member", Lock, None, "lower")).await.unwrap();
    assert_eq!(held(&service).await, pair("member", "gold"));
    send_clear(&service, clear("clear")).await.unwrap();
    assert_eq!(held(&service).await, pair("gold", ""));
    let expected =
        [("member", Joined), ("silver", Overridden), ("silver", Upgraded), ("member", Overridden), ("gold", Released)];
    assert_eq!(changes(&service).await, told(&expected));
    check_rules(&service.database).await.unwrap();
}

/// anna, who earned silver for 2026 and 2027, and is held at gold until some instant.
async fn held_at_gold_until(service: &Service, ends_at: &str) {
    buy(service, "a", "200.00", START).await;
    send_set(service, set("gold", Floor, Some(ends_at), "set")).await.unwrap();
}

#[tokio::test]
async fn an_override_ends_by_itself_as_it_was_foretold() {
    let service = start(calendar_years()).await;
    held_at_gold_until(&service, "2026-07-01T00:00:00Z").await;
    let tier = service.tier("anna").await;
    assert_eq!((tier.tier_id.as_str(), tier.valid_until), ("gold", Some(at("2026-07-01T00:00:00Z"))));
    let foretold: Vec<_> = tier.forecast.iter().map(|it| (it.tier_id.as_str(), it.change(), it.at.unwrap())).collect();
    let (end, year_end) = (at("2026-07-01T00:00:00Z"), at("2028-01-01T05:00:00Z"));
    assert_eq!(foretold, [("silver", Released, end), ("member", Downgraded, year_end)]);
    // What keeps gold once the override ends.
    let keeping = tier.keeping.unwrap();
    assert_eq!((keeping.met, keeping.progress.len()), (false, 1));

    service.set_clock("2026-06-30T23:59:59.999999Z");
    assert_eq!(held(&service).await, pair("gold", "silver"));
    service.set_clock("2026-07-01T00:00:00Z");
    let now = service.tier("anna").await;
    assert_eq!((now.tier_id.as_str(), now.valid_until, now.since), ("silver", Some(year_end), Some(end)));
    assert_eq!(now.r#override, None);
    // What was answered before it is written is what is written then.
    service.set_clock("2026-08-01T00:00:00Z");
    buy(&service, "b", "1.00", "2026-08-01T00:00:00Z").await;
    assert_eq!(service.tier_at("anna", "2026-07-01T00:00:00Z").await.unwrap(), now);
    let expected = [("member", Joined), ("silver", Upgraded), ("gold", Overridden), ("silver", Released)];
    assert_eq!(changes(&service).await, told(&expected));
    assert_refused(send_clear(&service, clear("late")).await, Code::FailedPrecondition, "TIER_NOT_OVERRIDDEN");
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn an_override_and_the_tier_behind_it_that_end_together_come_to_one_fall() {
    let service = start(calendar_years()).await;
    held_at_gold_until(&service, "2028-01-01T05:00:00Z").await;
    service.set_clock("2028-01-01T05:00:00Z");
    assert_eq!(held(&service).await, pair("member", ""));
    let worker = Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await;
    until("the worker to write the fall", async || {
        let all = changes(&worker).await;
        (all.len() == 5).then_some(())
    })
    .await;
    let expected =
        [("member", Joined), ("silver", Upgraded), ("gold", Overridden), ("gold", Downgraded), ("member", Released)];
    assert_eq!(changes(&worker).await, told(&expected));
    check_rules(&worker.database).await.unwrap();
}

#[tokio::test]
async fn an_override_of_an_erased_customer_does_nothing_any_more() {
    let service = start(calendar_years()).await;
    held_at_gold_until(&service, NEW_YEAR).await;
    erase(&service, erasure("anna", proto::BalanceDisposal::Expire, "erase-anna")).await.unwrap();
    let other = Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await;
    other.set_clock("2027-02-01T00:00:00Z");
    let mut connection = service.database.connect(SUPERUSER).await;
    until("nothing to be due", async || {
        let due = "SELECT count(*) FROM accounts WHERE next_due_at IS NOT NULL";
        let due: i64 = sqlx::query_scalar(due).fetch_one(&mut connection).await.unwrap();
        (due == 0).then_some(())
    })
    .await;
    let last =
        "SELECT e.kind FROM ledger_entries e JOIN standings USING (account_id) ORDER BY account_seq DESC LIMIT 1";
    let last: String = sqlx::query_scalar(last).fetch_one(&mut connection).await.unwrap();
    assert_eq!(last, "customer_erased");
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn an_override_of_a_tier_that_the_program_loses_is_told_as_it_was_set() {
    let service = start(shop()).await;
    let mut more = shop();
    more.tiers.push(proto::Tier {
        tier_id: "vip".to_owned(),
        display_name: "VIP".to_owned(),
        threshold: Some(usd("900.00")),
        ..shop().tiers[2].clone()
    });
    service.apply(more).await.unwrap();
    send_set(&service, set("vip", Lock, None, "set")).await.unwrap();
    service.apply(shop()).await.unwrap();
    let tier = service.tier("anna").await;
    assert_eq!((tier.tier_id.as_str(), tier.display_name.as_str(), tier.policy_version), ("vip", "VIP", 2));
    // What is taken over next finds that the override holds nothing any more.
    import_one(&service, opening_tier("anna", "import", "member", None)).await;
    assert_eq!(held(&service).await, pair("member", "member"));
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn benefits_of_an_override_end_with_it_and_name_what_set_it() {
    let service = start(shop()).await;
    let end = "2026-07-01T00:00:00Z";
    let change = send_set(&service, set("gold", Floor, Some(end), "set")).await.unwrap().tier_change.unwrap();
    let request = proto::ListCustomerBenefitsRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        ..Default::default()
    };
    let listed = service.benefits().list_customer_benefits(request).await.unwrap().into_inner().entitlements;
    assert_eq!(listed.len(), shop().tiers[2].benefits.len());
    for entitlement in listed {
        assert_eq!((entitlement.tier_id.as_str(), entitlement.until), ("gold", Some(at(end))));
        assert_eq!(entitlement.entry_id, change.entry_id);
    }
}

#[tokio::test]
async fn an_export_of_a_customer_tells_the_override_and_the_tier_behind_it() {
    let service = start(shop()).await;
    let change = send_set(&service, set("gold", Floor, None, "set")).await.unwrap().tier_change.unwrap();
    let stream = service.customers().export_customer(of(SHOP, "anna")).await.unwrap().into_inner();
    let document = read_document(stream).await.unwrap();
    let (tier, told) = (&document["tier"], &document["tier_changes"][0]);
    assert_eq!((&tier["tier_id"], &tier["hidden_tier_id"]), (&json!("gold"), &json!("member")));
    assert_eq!((&tier["entry_id"], tier.get("cause_entry_ids")), (&json!(change.entry_id), None));
    assert_eq!((&told["to_tier_id"], &told["hidden_tier_id"]), (&json!("gold"), &json!("member")));
}

#[tokio::test]
async fn an_opening_tier_under_an_override_is_hidden_by_it() {
    let service = start(shop()).await;
    send_set(&service, set("gold", Lock, None, "set")).await.unwrap();
    import_one(&service, opening_tier("anna", "import", "silver", Some("210.00"))).await;
    assert_eq!(held(&service).await, pair("gold", "silver"));
    send_clear(&service, clear("clear")).await.unwrap();
    assert_eq!(held(&service).await, pair("silver", ""));
    let expected = [("member", Joined), ("gold", Overridden), ("gold", Imported), ("silver", Released)];
    assert_eq!(changes(&service).await, told(&expected));
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn an_override_is_refused_with_all_that_is_wrong() {
    let service = start(shop()).await;
    let empty = proto::SetTierOverrideRequest { note: "n".repeat(501), ..Default::default() };
    let fields = sorted_bad_fields(send_set(&service, empty).await);
    let expected = ["author", "customer_id", "idempotency_key", "kind", "note", "program_id", "reason", "tier_id"];
    assert_eq!(fields, expected);
    let fields = sorted_bad_fields(send_clear(&service, Default::default()).await);
    assert_eq!(fields, ["author", "customer_id", "idempotency_key", "program_id", "reason"]);
    assert_refused(send_set(&service, set("bronze", Floor, None, "k")).await, Code::NotFound, "TIER_NOT_FOUND");
    let past = send_set(&service, set("gold", Floor, Some(START), "k")).await;
    assert_refused(past, Code::OutOfRange, "INSTANT_NOT_AHEAD");
    assert_refused(send_clear(&service, clear("k")).await, Code::FailedPrecondition, "TIER_NOT_OVERRIDDEN");
    let other = proto::SetTierOverrideRequest { customer_id: "ben".to_owned(), ..set("gold", Floor, None, "k") };
    assert_refused(send_set(&service, other).await, Code::NotFound, "CUSTOMER_NOT_FOUND");

    // What was refused left the key free.
    let first = send_set(&service, set("gold", Floor, None, "k")).await.unwrap();
    let again = send_set(&service, set("gold", Floor, None, "k")).await.unwrap();
    assert_eq!((first.replayed, again.replayed, &first.tier_change), (false, true, &again.tier_change));
    let lock = send_set(&service, set("gold", Lock, None, "k")).await;
    assert_refused(lock, Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    let cleared = send_clear(&service, clear("c")).await.unwrap();
    let replayed = send_clear(&service, clear("c")).await.unwrap();
    assert_eq!((replayed.replayed, replayed.tier_change), (true, cleared.tier_change));
}

#[tokio::test]
async fn auditors_find_who_set_and_who_ended_an_override() {
    let service = start(shop()).await;
    send_set(&service, set("gold", Floor, None, "set")).await.unwrap();
    send_clear(&service, clear("clear")).await.unwrap();
    // One that time ends is nobody's action.
    send_set(&service, set("gold", Floor, Some("2026-02-01T00:00:00Z"), "again")).await.unwrap();
    service.set_clock("2026-02-02T00:00:00Z");
    buy(&service, "a", "1.00", "2026-02-02T00:00:00Z").await;
    let request = proto::ListPrivilegedActionsRequest {
        program_id: SHOP.to_owned(),
        kinds: vec![
            proto::PrivilegedActionKind::TierOverridden.into(),
            proto::PrivilegedActionKind::TierReleased.into(),
        ],
        ..Default::default()
    };
    let actions = service.ledger().list_privileged_actions(request).await.unwrap().into_inner().actions;
    let kinds: Vec<_> = actions.iter().map(|action| (action.kind(), action.customer_id.as_str())).collect();
    let (set, released) = (proto::PrivilegedActionKind::TierOverridden, proto::PrivilegedActionKind::TierReleased);
    assert_eq!(kinds, [(set, "anna"), (released, "anna"), (set, "anna")]);
    let entry = proto::GetEntryRequest { program_id: SHOP.to_owned(), entry_id: actions[1].entry_id.clone() };
    let entry = service.ledger().get_entry(entry).await.unwrap().into_inner().entry.unwrap();
    assert_eq!((entry.kind(), entry.reason()), (proto::EntryKind::TierReleased, proto::EntryReason::Correction));
}

#[tokio::test]
async fn overrides_of_two_services_and_purchases_at_once_keep_the_book_whole() {
    let service = start(shop()).await;
    let other = Service::start_on(Database::clone(&service.database), service.clock.clone()).await;
    let mut calls = Vec::new();
    for n in 0..40_u32 {
        let at = if n % 2 == 0 { &service } else { &other };
        calls.push(async move {
            match n % 4 {
                0 => drop(send_set(at, set("gold", Floor, None, &format!("f{n}"))).await.unwrap()),
                1 => drop(send_set(at, set("silver", Lock, None, &format!("l{n}"))).await.unwrap()),
                2 => drop(buy(at, &format!("a{n}"), "30.00", START).await),
                // There may be none just then.
                _ => match send_clear(at, clear(&format!("c{n}"))).await {
                    Ok(cleared) => assert!(!cleared.replayed),
                    refused => assert_refused(refused, Code::FailedPrecondition, "TIER_NOT_OVERRIDDEN"),
                },
            }
        });
    }
    futures_util::future::join_all(calls).await;
    // Ten purchases of 30 make silver of her own.
    let now = service.tier("anna").await;
    let own = if now.hidden_tier_id.is_empty() { &now.tier_id } else { &now.hidden_tier_id };
    assert_eq!((own.as_str(), other.tier("anna").await.tier_id), ("silver", now.tier_id.clone()));
    check_rules(&service.database).await.unwrap();
}
