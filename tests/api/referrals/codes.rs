//! Referral codes: one for each customer and campaign.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use goldbook::proto;
use goldbook::proto::EntryKind::ReferralCodeCreated;
use tonic::{Code, Status};

use super::{change_friends, remove_friends, start_with_code};
use crate::harness::{SHOP, START, Service, assert_refused, at, shop};

async fn create(
    service: &Service,
    customer_id: &str,
    campaign_id: &str,
) -> Result<proto::CreateReferralCodeResponse, Status> {
    let request = proto::CreateReferralCodeRequest {
        program_id: SHOP.to_owned(),
        customer_id: customer_id.to_owned(),
        campaign_id: campaign_id.to_owned(),
    };
    Ok(service.referrals().create_referral_code(request).await?.into_inner())
}

async fn get(service: &Service, program_id: &str, code: &str) -> Result<proto::ReferralCode, Status> {
    let request = proto::GetReferralCodeRequest { program_id: program_id.to_owned(), code: code.to_owned() };
    Ok(service.referrals().get_referral_code(request).await?.into_inner().referral_code.unwrap())
}

#[tokio::test]
async fn create_referral_code_makes_one_code_for_each_customer_and_campaign() {
    let (service, _) = start_with_code().await;
    service.enrol("anna").await;
    let created = create(&service, "anna", "friends").await.unwrap();
    assert!(created.created);
    let code = created.referral_code.unwrap();
    let entry = service.entries("anna").await.pop().unwrap();
    assert_eq!(entry.kind(), ReferralCodeCreated);
    let expected = proto::ReferralCode {
        code: code.code.clone(),
        program_id: SHOP.to_owned(),
        campaign_id: "friends".to_owned(),
        customer_id: "anna".to_owned(),
        create_time: Some(at(START)),
        expire_time: None,
        entry_id: entry.entry_id,
    };
    assert_eq!(code, expected);
    assert!(!code.code.is_empty() && code.code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()));

    service.set_clock("2026-01-16T12:00:00Z");
    let again = create(&service, "anna", "friends").await.unwrap();
    assert_eq!(again, proto::CreateReferralCodeResponse { referral_code: Some(code.clone()), created: false });
    let other = create(&service, "anna", "partners").await.unwrap();
    assert!(other.created);
    assert_ne!(other.referral_code.unwrap().code, code.code);
    assert_eq!(service.entries("anna").await.len(), 4);
}

#[tokio::test]
async fn create_referral_code_at_once_on_two_services_makes_one() {
    let (service, _) = start_with_code().await;
    let other = Service::start_on(service.database.clone(), service.clock.clone()).await;
    service.enrol("anna").await;
    let services = [&service, &other].into_iter().cycle().take(40);
    let answers = join_all(services.map(|service| create(service, "anna", "friends"))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| answer.created).count(), 1);
    let codes: BTreeSet<_> = answers.iter().map(|answer| answer.referral_code.as_ref().unwrap().code.clone()).collect();
    assert_eq!(codes.len(), 1);
    assert_eq!(service.entries("anna").await.len(), 3);
    // The codes that were not needed belong to no one.
    let mut connection = service.database.connect(goldbook::embedded_postgres::OWNER_ROLE).await;
    let names: i64 = sqlx::query_scalar("SELECT count(*) FROM names WHERE space = 'referral_code'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(names, 2);
}

#[tokio::test]
async fn create_referral_code_refuses_a_campaign_that_is_unknown_or_not_active() {
    let (service, code) = start_with_code().await;
    service.enrol("anna").await;
    let unknown = create(&service, "anna", "family").await;
    assert_refused(unknown, Code::NotFound, "CAMPAIGN_NOT_FOUND");
    change_friends(&service, |campaign| campaign.starts_at = Some(at("2026-01-15T12:00:00.000001Z"))).await;
    let early = create(&service, "anna", "friends").await;
    assert_refused(early, Code::FailedPrecondition, "CAMPAIGN_NOT_ACTIVE");
    change_friends(&service, |campaign| campaign.ends_at = Some(at(START))).await;
    let late = create(&service, "anna", "friends").await;
    assert_refused(late, Code::FailedPrecondition, "CAMPAIGN_NOT_ACTIVE");
    // A code that exists is still told.
    let existing = create(&service, "rita", "friends").await.unwrap();
    let existing = (existing.created, existing.referral_code.unwrap());
    assert_eq!((existing.0, &existing.1.code, existing.1.expire_time), (false, &code, Some(at(START))));
    remove_friends(&service).await;
    assert_refused(create(&service, "anna", "friends").await, Code::NotFound, "CAMPAIGN_NOT_FOUND");
    assert_eq!(service.entries("anna").await.len(), 2);
}

#[tokio::test]
async fn get_referral_code_finds_it_however_typed_and_after_the_campaign_ended() {
    let (service, code) = start_with_code().await;
    let created = create(&service, "rita", "friends").await.unwrap().referral_code.unwrap();
    for typed in [code.clone(), code.to_lowercase(), format!("  {code}\n"), format!("\t{} ", code.to_lowercase())] {
        assert_eq!(get(&service, SHOP, &typed).await.unwrap(), created, "{typed:?}");
    }
    change_friends(&service, |campaign| campaign.ends_at = Some(at(START))).await;
    let ended = proto::ReferralCode { expire_time: Some(at(START)), ..created.clone() };
    assert_eq!(get(&service, SHOP, &code).await.unwrap(), ended);
    remove_friends(&service).await;
    assert_eq!(get(&service, SHOP, &code).await.unwrap(), created);
}

#[tokio::test]
async fn get_referral_code_refuses_what_no_customer_of_the_program_has() {
    let (service, code) = start_with_code().await;
    service.apply(proto::Program { program_id: "outlet".to_owned(), ..shop() }).await.unwrap();
    assert_refused(get(&service, SHOP, "NOSUCHCODE").await, Code::NotFound, "REFERRAL_CODE_NOT_FOUND");
    assert_refused(get(&service, "outlet", &code).await, Code::NotFound, "REFERRAL_CODE_NOT_FOUND");
    assert_refused(get(&service, "nowhere", &code).await, Code::NotFound, "PROGRAM_NOT_FOUND");
}
