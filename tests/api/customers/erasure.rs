//! Erasing a customer: nothing says any more who they were, and the books still balance.

mod keys;
mod races;

use goldbook::audit::model::DifferenceKind;
use goldbook::capabilities::ErasureKeys;
use goldbook::embedded_postgres::SUPERUSER;
use goldbook::proto;
use goldbook::proto::BalanceDisposal::{Expire, PayOut};
use goldbook::proto::EntryKind;
use goldbook::proto::hold_points_request::End;
use tonic::{Code, Status};

use crate::audit::{assert_clean, repair};
use crate::harness::{
    Database, SHOP, Service, assert_refused, assert_tells, create_customer, create_referral, grant_reward, purchase,
    sorted_bad_fields,
};

/// A request to erase a customer.
pub(crate) fn erasure(customer_id: &str, balance: proto::BalanceDisposal, key: &str) -> proto::EraseCustomerRequest {
    proto::EraseCustomerRequest {
        program_id: SHOP.to_owned(),
        customer_id: customer_id.to_owned(),
        reason: proto::ErasureReason::CustomerRequest.into(),
        balance: balance.into(),
        idempotency_key: key.to_owned(),
    }
}

pub(crate) async fn erase(
    service: &Service,
    request: proto::EraseCustomerRequest,
) -> Result<(proto::Erasure, bool), Status> {
    let answer = service.customers().erase_customer(request).await?.into_inner();
    Ok((answer.erasure.unwrap(), answer.replayed))
}

async fn get(service: &Service, customer_id: &str) -> Result<proto::GetCustomerResponse, Status> {
    let request = proto::GetCustomerRequest { program_id: SHOP.to_owned(), customer_id: customer_id.to_owned() };
    Ok(service.customers().get_customer(request).await?.into_inner())
}

/// What the book has of an account, whoever it is of.
async fn kinds_of(service: &Service, account_id: &str) -> Vec<String> {
    let mut connection = service.database.connect(SUPERUSER).await;
    let select = "SELECT kind FROM ledger_entries WHERE account_id::text = $1 ORDER BY account_seq";
    sqlx::query_scalar(select).bind(account_id).fetch_all(&mut connection).await.unwrap()
}

async fn count(service: &Service, from: &str) -> i64 {
    let mut connection = service.database.connect(SUPERUSER).await;
    let select = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {from}"));
    sqlx::query_scalar(select).fetch_one(&mut connection).await.unwrap()
}

async fn start() -> Service {
    let service = Service::start().await;
    service.apply_shop().await;
    service
}

#[tokio::test]
async fn erase_customer_leaves_the_account_and_nothing_of_the_person() {
    let service = start().await;
    let code = service.share_code("anna", "friends").await;
    service.refer("ben", &code).await;
    service.purchase("ben", "order-1", "300.00").await.unwrap();
    service.purchase("anna", "order-2", "20.00").await.unwrap();
    service.grant("anna", 30, "grant").await.unwrap();
    let account_id = get(&service, "anna").await.unwrap().account_id;
    let before = kinds_of(&service, &account_id).await;
    assert_eq!(service.balance("anna").await.available, 550);

    let (erased, replayed) = erase(&service, erasure("anna", Expire, "k")).await.unwrap();
    assert!(!replayed);
    assert_eq!(erased.account_id, account_id);
    assert_eq!((erased.expired_points, erased.paid_out_points, erased.cancelled_points), (550, 0, 0));
    let added = ["points_forfeited", "customer_erased"].map(str::to_owned);
    assert_eq!(kinds_of(&service, &account_id).await, [before, added.to_vec()].concat());

    assert_refused(get(&service, "anna").await, Code::NotFound, "CUSTOMER_NOT_FOUND");
    let request = proto::GetReferralCodeRequest { program_id: SHOP.to_owned(), code };
    assert_refused(service.referrals().get_referral_code(request).await, Code::NotFound, "REFERRAL_CODE_NOT_FOUND");
    let referral = service.referral("ben").await;
    assert_eq!((referral.referrer_customer_id.as_str(), referral.state()), ("", proto::ReferralState::Converted));
    for table in ["customers", "marketing_consents", "entry_notes", "activities", "names"] {
        let left = count(&service, &format!("{table} WHERE account_id::text = '{account_id}'")).await;
        assert_eq!(left, 0, "{table}");
    }
    let entry_id = format!("{}.1", account_id.replace('-', ""));
    let request = proto::GetEntryRequest { program_id: SHOP.to_owned(), entry_id };
    let entry = service.ledger().get_entry(request).await.unwrap().into_inner().entry.unwrap();
    assert_eq!((entry.kind(), entry.customer_id.as_str()), (EntryKind::CustomerEnrolled, ""));
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn erase_customer_settles_points_as_the_request_says() {
    let service = start().await;
    for customer_id in ["anna", "ben"] {
        service.enrol(customer_id).await;
        service.grant(customer_id, 70, "now").await.unwrap();
        let later = proto::VestingRule { rule: Some(proto::vesting_rule::Rule::After("P3D".to_owned())) };
        let pending = proto::GrantRewardRequest { vesting: Some(later), ..grant_reward(customer_id, 9, "later") };
        service.rewards().grant_reward(pending).await.unwrap();
    }
    let settled = async |customer_id, disposal| {
        let (erased, _) = erase(&service, erasure(customer_id, disposal, "k")).await.unwrap();
        (erased.expired_points, erased.paid_out_points, erased.cancelled_points)
    };
    assert_eq!(settled("anna", Expire).await, (70, 0, 9));
    assert_eq!(settled("ben", PayOut).await, (0, 70, 9));
    let heads = "accounts WHERE kind = 'customer' AND pending = 0 AND available = 0 AND held = 0 AND issued = 79 AND \
                 cancelled = 9 AND expired + redeemed = 70 AND erased_at IS NOT NULL";
    assert_eq!(count(&service, heads).await, 2);
    assert_eq!(count(&service, "lots WHERE pending > 0 OR available > 0").await, 0);
    // What time would have done to these points, it does no more.
    service.set_clock("2026-03-01T12:00:00Z");
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn erase_customer_settles_more_lots_than_one_spend_may_take() {
    let service = start().await;
    service.enrol("anna").await;
    let account_id = get(&service, "anna").await.unwrap().account_id;
    service.grant("anna", 1, "k").await.unwrap();
    // As many entries, each with its lot, as if they had been granted.
    let mut connection = service.database.connect(SUPERUSER).await;
    let fill = format!(
        "ALTER TABLE ledger_entries DISABLE TRIGGER ALL;
         INSERT INTO lots (account_id, lot_seq, points, pending, available, held, redeemed, expired, cancelled, repaid,
             policy_version, live_since, slides)
         SELECT '{account_id}', i, 1, 0, 1, 0, 0, 0, 0, 0, 1, now(), false FROM generate_series(10, 20009) i;
         UPDATE accounts SET issued = issued + 20000, available = available + 20000 WHERE account_id = '{account_id}'"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(fill)).execute(&mut connection).await.unwrap();
    let (erased, _) = erase(&service, erasure("anna", PayOut, "k")).await.unwrap();
    assert_eq!(erased.paid_out_points, 20_001);
    assert_eq!(count(&service, "lots WHERE redeemed = 1 AND available = 0").await, 20_001);
}

#[tokio::test]
async fn erase_customer_refuses_while_points_are_held() {
    let service = start().await;
    service.enrol("anna").await;
    service.grant("anna", 50, "k").await.unwrap();
    let hold = proto::HoldPointsRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        points: 20,
        end: Some(End::EndsAfter("PT30M".to_owned())),
        note: String::new(),
        idempotency_key: "hold".to_owned(),
    };
    service.rewards().hold_points(hold).await.unwrap();
    let refused = erase(&service, erasure("anna", Expire, "k")).await;
    assert_tells(refused.clone(), "20 points are held for spends that are under way", &[("held", "20")]);
    assert_refused(refused, Code::FailedPrecondition, "POINTS_HELD");
    // The hold ends by itself.
    service.set_clock("2026-01-15T12:31:00Z");
    let (erased, _) = erase(&service, erasure("anna", Expire, "k")).await.unwrap();
    assert_eq!(erased.expired_points, 50);
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn erase_customer_again_tells_the_same_erasure() {
    let service = start().await;
    service.enrol("anna").await;
    service.grant("anna", 50, "k").await.unwrap();
    let (first, _) = erase(&service, erasure("anna", Expire, "k")).await.unwrap();
    service.set_clock("2026-01-15T13:00:00Z");
    // With the same key, and with another one.
    assert_eq!(erase(&service, erasure("anna", Expire, "k")).await.unwrap(), (first.clone(), true));
    assert_eq!(erase(&service, erasure("anna", PayOut, "k-2")).await.unwrap(), (first.clone(), true));
    let reused = erase(&service, erasure("anna", PayOut, "k")).await;
    assert_eq!(reused.unwrap_err().code(), Code::AlreadyExists);
    assert_refused(erase(&service, erasure("zoe", Expire, "k")).await, Code::NotFound, "CUSTOMER_NOT_FOUND");
    assert_eq!(count(&service, "erasures").await, 1);
}

#[tokio::test]
async fn a_late_repetition_does_not_erase_a_customer_who_came_back() {
    let service = start().await;
    service.enrol("anna").await;
    let (first, _) = erase(&service, erasure("anna", Expire, "k")).await.unwrap();
    let back = proto::CreateCustomerRequest { returns: true, ..create_customer("anna", "back") };
    service.customers().create_customer(back).await.unwrap();
    let account_id = get(&service, "anna").await.unwrap().account_id;
    assert_ne!(account_id, first.account_id);
    assert_eq!(erase(&service, erasure("anna", Expire, "k")).await.unwrap(), (first, true));
    assert_eq!(get(&service, "anna").await.unwrap().account_id, account_id);
    let (second, replayed) = erase(&service, erasure("anna", Expire, "k-2")).await.unwrap();
    assert_eq!((second.account_id, replayed), (account_id, false));
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn nothing_that_comes_late_enrols_an_erased_customer_again() {
    let service = start().await;
    let code = service.share_code("ben", "friends").await;
    service.enrol("anna").await;
    service.purchase("anna", "order-1", "20.00").await.unwrap();
    erase(&service, erasure("anna", Expire, "k")).await.unwrap();

    // The very request that enrolled them, a purchase that is known and one that is not, and an import.
    let again = service.customers().create_customer(create_customer("anna", "enrol-anna")).await;
    assert_refused(again, Code::FailedPrecondition, "CUSTOMER_ERASED");
    for activity_id in ["order-1", "order-2"] {
        let late =
            service.activities().record_activity(purchase("anna", activity_id, "20.00", service.clock.now())).await;
        assert_refused(late, Code::FailedPrecondition, "CUSTOMER_ERASED");
    }
    let referred = service.referrals().create_referral(create_referral("anna", &code)).await;
    assert_refused(referred, Code::FailedPrecondition, "NOT_A_NEW_CUSTOMER");
    assert_eq!(count(&service, "names WHERE name = 'anna'").await, 0);
    // Another customer of that name elsewhere is another.
    service.enrol("Anna").await;
}

#[tokio::test]
async fn an_erased_person_is_known_by_email_and_phone_where_a_new_customer_is_asked_for() {
    let service = start().await;
    let code = service.share_code("ben", "friends").await;
    let dossier = |customer_id: &str, email: &str, phone: &str| proto::CreateCustomerRequest {
        customer: Some(proto::Customer {
            customer_id: customer_id.to_owned(),
            email: email.to_owned(),
            phone: phone.to_owned(),
            ..Default::default()
        }),
        ..create_customer(customer_id, "enrol")
    };
    let enrol = async |customer_id: &str, email: &str, phone: &str| {
        service.customers().create_customer(dossier(customer_id, email, phone)).await.unwrap();
    };
    enrol("anna", "Anna@Example.com", "+49 30 1234").await;
    erase(&service, erasure("anna", Expire, "k")).await.unwrap();
    enrol("by-email", "anna@example.COM", "").await;
    enrol("by-phone", "", "+49 (30) 12-34").await;
    enrol("other", "anna2@example.com", "+49 30 1235").await;
    for customer_id in ["by-email", "by-phone"] {
        let referred = service.referrals().create_referral(create_referral(customer_id, &code)).await;
        assert_refused(referred, Code::FailedPrecondition, "NOT_A_NEW_CUSTOMER");
    }
    service.refer("other", &code).await;
}

#[tokio::test]
async fn a_referral_pays_nobody_for_a_referrer_who_was_erased() {
    let service = start().await;
    let code = service.share_code("anna", "friends").await;
    service.refer("ben", &code).await;
    let (erased, _) = erase(&service, erasure("anna", Expire, "k")).await.unwrap();
    assert!(service.purchase("ben", "order-1", "20.00").await.unwrap().referral_converted);
    assert_eq!(service.balance("ben").await.available, 270);
    let last = kinds_of(&service, &erased.account_id).await.pop();
    assert_eq!(last.as_deref(), Some("customer_erased"));
    let converted = service.entries("ben").await.into_iter().find(|it| it.kind() == EntryKind::ReferralConverted);
    assert!(converted.unwrap().detail_json.contains("\"referrer_withheld\":500"));
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn erase_customer_lists_every_bad_field() {
    let service = start().await;
    let bad = service.customers().erase_customer(proto::EraseCustomerRequest::default()).await;
    assert_eq!(sorted_bad_fields(bad), ["balance", "customer_id", "idempotency_key", "program_id", "reason"]);
    let foreign = proto::EraseCustomerRequest { program_id: "other".to_owned(), ..erasure("anna", Expire, "k") };
    assert_refused(erase(&service, foreign).await, Code::NotFound, "PROGRAM_NOT_FOUND");
}

#[tokio::test]
async fn nobody_is_erased_without_a_key() {
    let service =
        Service::start_configured(Database::create().await, |settings| settings.erasure_keys = ErasureKeys::default())
            .await;
    service.apply_shop().await;
    service.enrol("anna").await;
    let refused = erase(&service, erasure("anna", Expire, "k")).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("--erasure-key-file"), "{refused:?}");
    get(&service, "anna").await.unwrap();
}

#[tokio::test]
async fn audit_tells_an_erasure_that_is_not_whole() {
    let service = start().await;
    for customer_id in ["anna", "ben"] {
        service.enrol(customer_id).await;
    }
    let (erased, _) = erase(&service, erasure("anna", Expire, "k")).await.unwrap();
    // A head that does not know it is a projection, and is mended.
    let mut connection = service.database.connect(SUPERUSER).await;
    let forget = format!("UPDATE accounts SET erased_at = NULL WHERE account_id = '{}'", erased.account_id);
    sqlx::raw_sql(sqlx::AssertSqlSafe(forget)).execute(&mut connection).await.unwrap();
    let told = repair(&service.database).await;
    assert!(told.differences.iter().any(|difference| difference.what.contains("erased_at is")), "{told:?}");
    assert_clean(&service.database).await;
    // Sources are told, and nobody can mend them.
    for (damage, told) in [
        ("DELETE FROM customers WHERE customer_id = 'ben'", "a customer who was not erased has no dossier"),
        ("DELETE FROM erasures", "an account was erased, and no erasure is kept"),
        ("DELETE FROM erasures", "a tombstone without an erasure"),
    ] {
        sqlx::raw_sql(damage).execute(&mut connection).await.unwrap();
        crate::audit::audit(&service.database).await.assert_tells(DifferenceKind::Source, told);
    }
}
