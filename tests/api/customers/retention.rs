//! What a program keeps no longer of customers without activity goes, and nothing else.

mod shared;
mod strangers;

use std::time::Duration;

use goldbook::embedded_postgres::SUPERUSER;
use goldbook::proto;
use goldbook::proto::EntryKind::{DossierErased, NotesErased};
use prost_types::FieldMask;

use super::{create, dossier, get, get_all, send};
use crate::audit::assert_clean;
use crate::harness::{Background, Clock, Database, SHOP, START, Service, at, create_customer, grant_reward, shop};
use crate::wait::until;

const OFTEN: Background = Background {
    apply_dues_every: None,
    sum_up_every: None,
    erase_of_inactive_every: Some(Duration::from_millis(20)),
    export_limit: None,
};

/// [`shop`] that keeps things for so many days, or for ever.
fn keeping(notes_days: Option<i32>, dossier_days: Option<i32>) -> proto::Program {
    proto::Program { retention: Some(proto::Retention { notes_days, dossier_days }), ..shop() }
}

/// A service that looks for customers without activity again and again, with a program.
async fn start_with(program: proto::Program) -> Service {
    let service = Service::start_busy(Database::create().await, Clock::fixed(START.parse().unwrap()), OFTEN).await;
    service.apply(program).await.unwrap();
    service
}

/// A grant with a note beside it.
async fn note(service: &Service, customer_id: &str, key: &str) {
    let grant = proto::GrantRewardRequest { note: "a gift".to_owned(), ..grant_reward(customer_id, 5, key) };
    service.rewards().grant_reward(grant).await.unwrap();
}

/// Enrols a customer with a whole dossier, and writes a note.
async fn enrol_known(service: &Service, customer_id: &str) {
    send(service, create(dossier(customer_id, "a"), &format!("enrol-{customer_id}"))).await.unwrap();
    note(service, customer_id, "note").await;
}

/// Waits until a round that began by the present clock is over.
async fn wait_for_round(service: &Service, program_id: &str) {
    let mut connection = service.database.connect(SUPERUSER).await;
    let now = jiff_sqlx::ToSqlx::to_sqlx(service.clock.now());
    let select = "SELECT count(*) FROM retention_rounds r JOIN programs p ON p.program_id = r.program_id
                  WHERE r.program_id = $1 AND r.begun_at = $2 AND r.is_over AND r.version = ANY (p.versions)";
    until("a round of retention", async || {
        let select = sqlx::query_scalar::<_, i64>(select).bind(program_id).bind(now);
        (select.fetch_one(&mut connection).await.unwrap() == 1).then_some(())
    })
    .await;
}

/// Moves the clock, and waits until the worker has looked at everybody.
async fn pass_to(service: &Service, now: &str) {
    service.set_clock(now);
    wait_for_round(service, SHOP).await;
}

async fn count(service: &Service, from: &str) -> i64 {
    let mut connection = service.database.connect(SUPERUSER).await;
    let select = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {from}"));
    sqlx::query_scalar(select).fetch_one(&mut connection).await.unwrap()
}

/// Whether a customer's notes and dossier are there: each all or nothing.
async fn kept(service: &Service, customer_id: &str) -> (bool, bool) {
    let answer = get_all(service, customer_id).await.unwrap();
    let notes = count(service, &format!("entry_notes WHERE account_id = '{}'", answer.account_id)).await;
    let customer = answer.customer.unwrap();
    let bare = proto::Customer {
        customer_id: customer_id.to_owned(),
        create_time: customer.create_time,
        update_time: customer.update_time,
        etag: customer.etag.clone(),
        ..Default::default()
    };
    let has_dossier = customer != bare;
    let has_consents = !answer.marketing_consent_history.is_empty();
    assert_eq!(has_dossier, has_consents, "half of a dossier: {customer:?}");
    (notes > 0, has_dossier)
}

/// The entries by which something was erased.
async fn erased(service: &Service, customer_id: &str) -> Vec<proto::Entry> {
    let entries = service.entries(customer_id).await.into_iter();
    entries.filter(|entry| matches!(entry.kind(), NotesErased | DossierErased)).collect()
}

async fn erased_kinds(service: &Service, customer_id: &str) -> Vec<proto::EntryKind> {
    erased(service, customer_id).await.iter().map(proto::Entry::kind).collect()
}

#[tokio::test]
async fn what_a_newer_version_knows_of_a_person_goes_with_their_dossier() {
    let service = start_with(keeping(None, Some(20))).await;
    enrol_known(&service, "anna").await;
    let mut connection = service.database.connect(SUPERUSER).await;
    let newer = "UPDATE customers SET dossier = dossier || '{\"pets\": [\"Rex\"]}'";
    sqlx::query(newer).execute(&mut connection).await.unwrap();
    pass_to(&service, "2026-02-05T12:00:00Z").await;
    assert_eq!(count(&service, "customers WHERE dossier = '{}'").await, 1);
}

#[tokio::test]
async fn notes_and_dossiers_go_after_their_days_and_not_earlier() {
    let service = start_with(keeping(Some(10), Some(20))).await;
    enrol_known(&service, "anna").await;
    service.enrol("ben").await;
    let before = get(&service, "anna").await;
    for (now, expected) in [
        ("2026-01-25T11:59:59.999999Z", (true, true)),
        ("2026-01-26T12:00:00Z", (false, true)),
        ("2026-02-04T11:59:59.999999Z", (false, true)),
        ("2026-02-05T12:00:00Z", (false, false)),
        ("2026-12-05T12:00:00Z", (false, false)),
    ] {
        pass_to(&service, now).await;
        assert_eq!(kept(&service, "anna").await, expected, "{now}");
    }
    let told = erased(&service, "anna").await;
    for entry in &told {
        assert_eq!((entry.actor(), entry.reason()), (proto::Actor::Time, proto::EntryReason::Retention));
        assert_eq!((entry.policy_version, entry.r#move), (1, None));
        assert_eq!(entry.principal_id, "00000000-0000-0000-0000-000000000000");
    }
    let told: Vec<_> = told.iter().map(|entry| (entry.kind(), entry.effective_at.unwrap())).collect();
    let expected = [(NotesErased, at("2026-01-26T12:00:00Z")), (DossierErased, at("2026-02-05T12:00:00Z"))];
    assert_eq!(told, expected);
    let after = get(&service, "anna").await;
    assert_ne!(after.etag, before.etag);
    assert_eq!((after.create_time, after.update_time), (before.create_time, Some(at("2026-02-05T12:00:00Z"))));
    // Of ben there was nothing to erase.
    assert_eq!(service.entries("ben").await.len(), 2);
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn days_are_over_at_the_same_local_time_though_the_clocks_change() {
    let service = start_with(keeping(Some(1), None)).await;
    // Summer time begins in the night: the day has 23 hours.
    service.set_clock("2026-03-07T17:00:00Z");
    service.enrol("anna").await;
    note(&service, "anna", "note").await;
    wait_for_round(&service, SHOP).await;
    pass_to(&service, "2026-03-08T17:00:00Z").await;
    assert_eq!(erased_kinds(&service, "anna").await, [NotesErased]);
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn nothing_else_of_a_customer_changes() {
    let service = Service::start().await;
    service.apply(keeping(Some(30), Some(30))).await.unwrap();
    send(&service, create(dossier("anna", "a"), "enrol-anna")).await.unwrap();
    let request = proto::CreateReferralCodeRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        campaign_id: "friends".to_owned(),
    };
    let code = service.referrals().create_referral_code(request).await.unwrap().into_inner().referral_code.unwrap();
    service.refer("ben", &code.code).await;
    service.purchase("ben", "order-1", "300.00").await.unwrap();
    service.purchase("anna", "order-2", "220.00").await.unwrap();
    note(&service, "anna", "note").await;
    service.set_clock("2026-03-01T12:00:00Z");
    let picture = async || {
        let activities = proto::ListActivitiesRequest {
            program_id: SHOP.to_owned(),
            customer_id: "anna".to_owned(),
            ..Default::default()
        };
        let activities = service.activities().list_activities(activities).await.unwrap().into_inner().activities;
        let tier = proto::CustomerTier { as_of: None, ..service.tier("anna").await };
        let balance = proto::Balance { as_of: None, ..service.balance("anna").await };
        let request = proto::GetReferralCodeRequest { program_id: SHOP.to_owned(), code: code.code.clone() };
        let code = service.referrals().get_referral_code(request).await.unwrap().into_inner();
        let account_id = get_all(&service, "anna").await.unwrap().account_id;
        let mut entries = service.entries("anna").await;
        entries.retain(|entry| !matches!(entry.kind(), NotesErased | DossierErased));
        format!(
            "{activities:?} {tier:?} {balance:?} {:?} {code:?} {account_id} {entries:?}",
            service.referral("ben").await
        )
    };
    let before = picture().await;
    let worker = Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await;
    wait_for_round(&service, SHOP).await;
    worker.stop().await;
    assert_eq!(kept(&service, "anna").await, (false, false));
    assert_eq!(erased_kinds(&service, "anna").await, [NotesErased, DossierErased]);
    assert_eq!(picture().await, before);
    // What they do from then on is kept anew.
    note(&service, "anna", "later").await;
    send(&service, create_customer("cleo", "enrol-cleo")).await.unwrap();
    assert_eq!(kept(&service, "anna").await, (true, false));
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn what_a_caller_writes_begins_the_days_anew_and_what_time_writes_does_not() {
    let database = Database::create().await;
    let often = Background { apply_dues_every: OFTEN.erase_of_inactive_every, ..OFTEN };
    let service = Service::start_busy(database, Clock::fixed(START.parse().unwrap()), often).await;
    service.apply(keeping(Some(10), Some(10))).await.unwrap();
    for customer_id in ["buyer", "referrer", "waiter", "writer"] {
        enrol_known(&service, customer_id).await;
    }
    let request = proto::CreateReferralCodeRequest {
        program_id: SHOP.to_owned(),
        customer_id: "referrer".to_owned(),
        campaign_id: "friends".to_owned(),
    };
    let code = service.referrals().create_referral_code(request).await.unwrap().into_inner().referral_code.unwrap();
    service.refer("friend", &code.code).await;
    // Points vest after eight days, and expire a day later.
    let mut grant = grant_reward("waiter", 9, "later");
    grant.vesting = Some(proto::VestingRule { rule: Some(proto::vesting_rule::Rule::After("P8D".to_owned())) });
    let after = proto::expiry_rule::After { period: "PT24H".to_owned(), ..Default::default() };
    grant.expiry = Some(proto::ExpiryRule { rule: Some(proto::expiry_rule::Rule::After(after)) });
    service.rewards().grant_reward(grant).await.unwrap();

    pass_to(&service, "2026-01-23T12:00:00Z").await;
    service.purchase("buyer", "order", "3.00").await.unwrap();
    let paid = service.purchase("friend", "order", "30.00").await.unwrap();
    assert!(paid.referral_converted);
    let change = proto::UpdateCustomerRequest {
        program_id: SHOP.to_owned(),
        customer: Some(proto::Customer { given_name: "W".to_owned(), ..dossier("writer", "a") }),
        update_mask: Some(FieldMask { paths: vec!["given_name".to_owned()] }),
    };
    service.customers().update_customer(change).await.unwrap();

    pass_to(&service, "2026-01-26T12:00:00Z").await;
    assert_eq!(service.balance("waiter").await.expired, 9);
    assert_eq!(service.available("referrer").await, 505);
    let all = async || {
        let mut all = Vec::new();
        for customer_id in ["buyer", "referrer", "waiter", "writer"] {
            all.push(kept(&service, customer_id).await);
        }
        all
    };
    assert_eq!(all().await, [(true, true), (false, false), (false, false), (true, true)]);
    pass_to(&service, "2026-02-02T11:59:59Z").await;
    assert_eq!(all().await, [(true, true), (false, false), (false, false), (true, true)]);
    pass_to(&service, "2026-02-03T12:00:00Z").await;
    assert_eq!(all().await, [(false, false); 4]);
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn what_falls_due_is_written_first_and_nothing_waits_for_another_round() {
    // Nobody applies dues but the commands that erase.
    let service = start_with(keeping(Some(10), None)).await;
    service.enrol("anna").await;
    let after = proto::expiry_rule::After { period: "P1D".to_owned(), ..Default::default() };
    let expiry = Some(proto::ExpiryRule { rule: Some(proto::expiry_rule::Rule::After(after)) });
    let grant = proto::GrantRewardRequest { expiry, note: "soon".to_owned(), ..grant_reward("anna", 5, "k") };
    service.rewards().grant_reward(grant).await.unwrap();
    pass_to(&service, "2026-03-01T12:00:00Z").await;
    let kinds = service.kinds("anna").await;
    assert_eq!(kinds[kinds.len() - 2..], [proto::EntryKind::PointsExpired, NotesErased]);
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn a_program_without_retention_keeps_everything() {
    let service = start_with(shop()).await;
    enrol_known(&service, "anna").await;
    let outlet = || proto::Program { program_id: "outlet".to_owned(), ..keeping(Some(1), Some(1)) };
    service.apply(outlet()).await.unwrap();
    let of_outlet =
        proto::CreateCustomerRequest { program_id: "outlet".to_owned(), ..create(dossier("anna", "a"), "k") };
    send(&service, of_outlet).await.unwrap();
    service.set_clock("2036-01-15T12:00:00Z");
    wait_for_round(&service, "outlet").await;
    assert_eq!(kept(&service, "anna").await, (true, true));
    assert_eq!(count(&service, "ledger_entries WHERE reason = 'retention' AND program_id = 'outlet'").await, 1);
    assert_eq!(count(&service, "ledger_entries WHERE reason = 'retention'").await, 1);
    assert_eq!(count(&service, "retention_rounds WHERE program_id = 'shop'").await, 0);
}

#[tokio::test]
async fn a_new_version_holds_at_once_also_for_those_inactive_long_before() {
    let service = start_with(keeping(Some(1_000), Some(1_000))).await;
    enrol_known(&service, "anna").await;
    pass_to(&service, "2026-06-01T12:00:00Z").await;
    assert_eq!(kept(&service, "anna").await, (true, true));
    for (program, expected) in [
        (keeping(None, Some(200)), (true, true)),
        (keeping(None, Some(30)), (true, false)),
        (keeping(Some(30), Some(30)), (false, false)),
    ] {
        service.apply(program).await.unwrap();
        wait_for_round(&service, SHOP).await;
        assert_eq!(kept(&service, "anna").await, expected);
    }
    let told = erased(&service, "anna").await;
    assert_eq!(told.iter().map(|entry| entry.policy_version).collect::<Vec<_>>(), [3, 4]);
    // One that says nothing of it any more keeps what comes.
    note(&service, "anna", "more").await;
    service.apply(shop()).await.unwrap();
    service.set_clock("2027-06-01T12:00:00Z");
    let outlet = proto::Program { program_id: "outlet".to_owned(), ..keeping(Some(1), None) };
    service.apply(outlet).await.unwrap();
    wait_for_round(&service, "outlet").await;
    assert_eq!(kept(&service, "anna").await, (true, false));
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn a_customer_who_was_erased_is_passed_over() {
    let service = start_with(keeping(Some(1), Some(1))).await;
    enrol_known(&service, "anna").await;
    let request = proto::EraseCustomerRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        reason: proto::ErasureReason::CustomerRequest.into(),
        balance: proto::BalanceDisposal::Expire.into(),
        idempotency_key: "k".to_owned(),
    };
    service.customers().erase_customer(request).await.unwrap();
    pass_to(&service, "2026-06-01T12:00:00Z").await;
    assert_eq!(count(&service, "ledger_entries WHERE reason = 'retention'").await, 0);
    assert_clean(&service.database).await;
}
