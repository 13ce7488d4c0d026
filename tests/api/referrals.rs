//! Referrals: codes, and who is brought by them. What converts a referral, when it expires and what happens at the same
//! time have files of their own.

mod codes;
mod conversion;
mod expiry;
mod races;

use goldbook::proto;
use goldbook::proto::EntryKind::{CustomerEnrolled, ReferralCreated, TierChanged};
use goldbook::proto::ReferralState::{Converted, Pending};
use tonic::{Code, Status};

use crate::harness::{
    SHOP, START, Service, assert_refused, assert_refuses_bad_pages, at, create_referral, read_pages, shop,
    sorted_bad_fields,
};

/// A service with [`SHOP`], the customer rita and her code in the campaign `friends`.
async fn start_with_code() -> (Service, String) {
    let service = Service::start().await;
    service.apply_shop().await;
    let code = service.share_code("rita", "friends").await;
    (service, code)
}

/// Changes the campaign `friends`.
async fn change_friends(service: &Service, change: impl Fn(&mut proto::Campaign)) {
    let mut program = shop();
    change(&mut program.campaigns[0]);
    assert!(service.apply(program).await.unwrap().changed);
}

/// Takes the campaign `friends` out of the program.
async fn remove_friends(service: &Service) {
    let mut program = shop();
    program.campaigns.remove(0);
    assert!(service.apply(program).await.unwrap().changed);
}

async fn send(
    service: &Service,
    request: proto::CreateReferralRequest,
) -> Result<proto::CreateReferralResponse, Status> {
    Ok(service.referrals().create_referral(request).await?.into_inner())
}

async fn list(
    service: &Service,
    referrer: &str,
    page_size: i32,
    page_token: String,
) -> Result<(Vec<proto::Referral>, String), Status> {
    let request = proto::ListReferralsRequest {
        program_id: SHOP.to_owned(),
        referrer_customer_id: referrer.to_owned(),
        page_size,
        page_token,
    };
    let page = service.referrals().list_referrals(request).await?.into_inner();
    Ok((page.referrals, page.next_page_token))
}

#[tokio::test]
async fn create_referral_attaches_a_new_customer() {
    let (service, code) = start_with_code().await;
    service.set_clock("2026-01-16T12:00:00Z");
    let created = send(&service, create_referral("ben", &code)).await.unwrap();
    let entries = service.entries("ben").await;
    assert_eq!(service.kinds("ben").await, [CustomerEnrolled, TierChanged, ReferralCreated]);
    let expected = proto::Referral {
        program_id: SHOP.to_owned(),
        referee_customer_id: "ben".to_owned(),
        referrer_customer_id: "rita".to_owned(),
        campaign_id: "friends".to_owned(),
        code: code.clone(),
        state: Pending.into(),
        create_time: Some(at("2026-01-16T12:00:00Z")),
        // The end of 15 February in New York.
        expire_time: Some(at("2026-02-16T05:00:00Z")),
        convert_time: None,
        qualifying_entry_id: String::new(),
        referrer_reward_entry_id: String::new(),
        referee_reward_entry_id: String::new(),
        policy_version: 1,
        entry_id: entries[2].entry_id.clone(),
    };
    assert_eq!(created, proto::CreateReferralResponse { referral: Some(expected.clone()), replayed: false });
    assert_eq!(service.referral("ben").await, expected);
    assert_eq!(list(&service, "rita", 0, String::new()).await.unwrap(), (vec![expected], String::new()));
    assert_eq!((service.available("ben").await, service.available("rita").await), (0, 0));
}

#[tokio::test]
async fn create_referral_attaches_a_customer_who_has_not_purchased_yet() {
    let (service, code) = start_with_code().await;
    service.enrol("ben").await;
    let request = proto::CreateReferralRequest { enrol: false, ..create_referral("ben", &code) };
    assert_eq!(send(&service, request).await.unwrap().referral.unwrap().state(), Pending);
    assert_eq!(service.kinds("ben").await, [CustomerEnrolled, TierChanged, ReferralCreated]);
}

#[tokio::test]
async fn create_referral_takes_a_code_in_any_case_and_with_spaces_around() {
    let (service, code) = start_with_code().await;
    let typed = format!(" \t{} ", code.to_lowercase());
    let created = send(&service, create_referral("ben", &typed)).await.unwrap();
    assert_eq!(created.referral.as_ref().unwrap().code, code);
    // The same code in another spelling is the same request.
    let replayed = send(&service, create_referral("ben", &code)).await.unwrap();
    assert_eq!(replayed, proto::CreateReferralResponse { replayed: true, ..created });
}

#[tokio::test]
async fn create_referral_replayed_answers_as_it_was_created_also_after_conversion() {
    let (service, code) = start_with_code().await;
    let first = send(&service, create_referral("ben", &code)).await.unwrap();
    service.set_clock("2026-01-20T12:00:00Z");
    service.purchase("ben", "order-1", "20.00").await.unwrap();
    change_friends(&service, |campaign| campaign.ends_at = Some(at("2026-01-20T12:00:00Z"))).await;
    let count = service.count_entries().await;
    let replay = proto::CreateReferralResponse { replayed: true, ..first };
    assert_eq!(send(&service, create_referral("ben", &code)).await.unwrap(), replay);
    let service = service.restart().await;
    assert_eq!(send(&service, create_referral("ben", &code)).await.unwrap(), replay);
    assert_eq!(service.count_entries().await, count);
    assert_eq!(service.referral("ben").await.state(), Converted);
}

#[tokio::test]
async fn create_referral_refuses_a_key_used_with_another_request() {
    let (service, code) = start_with_code().await;
    let other = service.share_code("olga", "friends").await;
    send(&service, create_referral("ben", &code)).await.unwrap();
    let refused = send(&service, create_referral("ben", &other)).await;
    assert_refused(refused, Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    service.enrol("cleo").await;
    let request =
        proto::CreateReferralRequest { idempotency_key: "enrol-cleo".to_owned(), ..create_referral("cleo", &code) };
    assert_refused(send(&service, request).await, Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(service.referral("ben").await.referrer_customer_id, "rita");
}

#[tokio::test]
async fn create_referral_refused_leaves_the_key_and_the_name_unused() {
    let (service, code) = start_with_code().await;
    let count = service.count_entries().await;
    let refused = send(&service, create_referral("ben", "NOSUCHCODE")).await;
    assert_refused(refused, Code::NotFound, "REFERRAL_CODE_NOT_FOUND");
    let stranger = proto::CreateReferralRequest { enrol: false, ..create_referral("ben", &code) };
    assert_refused(send(&service, stranger).await, Code::NotFound, "CUSTOMER_NOT_FOUND");
    assert_eq!(service.count_entries().await, count);
    assert!(!send(&service, create_referral("ben", &code)).await.unwrap().replayed);
}

#[tokio::test]
async fn create_referral_refuses_the_own_code() {
    let (service, code) = start_with_code().await;
    let refused = send(&service, create_referral("rita", &code)).await;
    assert_refused(refused, Code::FailedPrecondition, "OWN_REFERRAL_CODE");
    assert_eq!(service.entries("rita").await.len(), 3);
}

#[tokio::test]
async fn create_referral_refuses_who_was_referred_before_in_whatever_state() {
    let (service, code) = start_with_code().await;
    let partners = service.share_code("olga", "partners").await;
    for referee in ["pending", "converted", "expired"] {
        send(&service, create_referral(referee, &code)).await.unwrap();
    }
    service.purchase("converted", "order-1", "20.00").await.unwrap();
    for (instant, referees) in [(START, ["pending", "converted"]), ("2026-06-01T00:00:00Z", ["expired", "converted"])] {
        service.set_clock(instant);
        for referee in referees {
            let request = proto::CreateReferralRequest {
                idempotency_key: format!("again-{instant}"),
                ..create_referral(referee, &partners)
            };
            assert_refused(send(&service, request).await, Code::AlreadyExists, "ALREADY_REFERRED");
        }
    }
}

#[tokio::test]
async fn create_referral_refuses_who_has_purchased_before() {
    let (service, code) = start_with_code().await;
    service.purchase("ben", "order-1", "0.01").await.unwrap();
    let refused = send(&service, create_referral("ben", &code)).await;
    assert_refused(refused, Code::FailedPrecondition, "NOT_A_NEW_CUSTOMER");
}

#[tokio::test]
async fn create_referral_refuses_a_campaign_that_is_not_active() {
    let (service, code) = start_with_code().await;
    let refer = || send(&service, create_referral("ben", &code));
    let noon = "2026-01-15T12:00:00.000001Z";
    change_friends(&service, |campaign| campaign.starts_at = Some(at(noon))).await;
    assert_refused(refer().await, Code::FailedPrecondition, "CAMPAIGN_NOT_ACTIVE");
    remove_friends(&service).await;
    assert_refused(refer().await, Code::FailedPrecondition, "CAMPAIGN_NOT_ACTIVE");
    change_friends(&service, |campaign| campaign.ends_at = Some(at(START))).await;
    assert_refused(refer().await, Code::FailedPrecondition, "REFERRAL_CODE_EXPIRED");
    // Both bounds are of the window that is closed at its begin and open at its end.
    change_friends(&service, |campaign| {
        campaign.starts_at = Some(at(START));
        campaign.ends_at = Some(at(noon));
    })
    .await;
    assert_eq!(refer().await.unwrap().referral.unwrap().policy_version, 5);
}

#[tokio::test]
async fn referrals_methods_refuse_an_unknown_program_or_customer() {
    let (service, code) = start_with_code().await;
    for (program_id, customer_id, reason) in
        [("nowhere", "rita", "PROGRAM_NOT_FOUND"), (SHOP, "nobody", "CUSTOMER_NOT_FOUND")]
    {
        let (program_id, referee) = (|| program_id.to_owned(), || customer_id.to_owned());
        let mut client = service.referrals();
        let request = proto::CreateReferralCodeRequest {
            program_id: program_id(),
            customer_id: referee(),
            campaign_id: "friends".to_owned(),
        };
        assert_refused(client.create_referral_code(request).await, Code::NotFound, reason);
        let request = create_referral(customer_id, &code);
        let request = proto::CreateReferralRequest { program_id: program_id(), enrol: false, ..request };
        let expected = if program_id() == SHOP { "CUSTOMER_NOT_FOUND" } else { "PROGRAM_NOT_FOUND" };
        assert_refused(client.create_referral(request).await, Code::NotFound, expected);
        let request = proto::GetReferralRequest { program_id: program_id(), referee_customer_id: referee() };
        assert_refused(client.get_referral(request).await, Code::NotFound, reason);
        let request = proto::ConvertReferralRequest { program_id: program_id(), referee_customer_id: referee() };
        assert_refused(client.convert_referral(request).await, Code::NotFound, reason);
        let request = proto::ListReferralsRequest {
            program_id: program_id(),
            referrer_customer_id: referee(),
            ..Default::default()
        };
        assert_refused(client.list_referrals(request).await, Code::NotFound, reason);
    }
    let request = proto::GetReferralRequest { program_id: SHOP.to_owned(), referee_customer_id: "rita".to_owned() };
    assert_refused(service.referrals().get_referral(request).await, Code::NotFound, "REFERRAL_NOT_FOUND");
    assert_refused(service.convert("rita").await, Code::NotFound, "REFERRAL_NOT_FOUND");
}

#[tokio::test]
async fn referrals_methods_list_every_bad_field() {
    let (service, _) = start_with_code().await;
    let mut client = service.referrals();
    let refused = client.create_referral_code(proto::CreateReferralCodeRequest::default()).await;
    assert_eq!(sorted_bad_fields(refused), ["campaign_id", "customer_id", "program_id"]);
    let request = proto::GetReferralCodeRequest { program_id: "S".to_owned(), code: "x".repeat(129) };
    assert_eq!(sorted_bad_fields(client.get_referral_code(request).await), ["code", "program_id"]);
    let refused = client.create_referral(proto::CreateReferralRequest::default()).await;
    assert_eq!(sorted_bad_fields(refused), ["code", "idempotency_key", "program_id", "referee_customer_id"]);
    let refused = client.get_referral(proto::GetReferralRequest::default()).await;
    assert_eq!(sorted_bad_fields(refused), ["program_id", "referee_customer_id"]);
    let refused = client.convert_referral(proto::ConvertReferralRequest::default()).await;
    assert_eq!(sorted_bad_fields(refused), ["program_id", "referee_customer_id"]);
    let request = proto::ListReferralsRequest { page_size: -1, ..Default::default() };
    let refused = client.list_referrals(request).await;
    assert_eq!(sorted_bad_fields(refused), ["page_size", "program_id", "referrer_customer_id"]);
}

#[tokio::test]
async fn list_referrals_returns_each_once_the_last_created_first() {
    let (service, code) = start_with_code().await;
    let request = proto::CreateReferralCodeRequest {
        program_id: SHOP.to_owned(),
        customer_id: "rita".to_owned(),
        campaign_id: "partners".to_owned(),
    };
    let partners = service.referrals().create_referral_code(request).await.unwrap().into_inner();
    let partners = partners.referral_code.unwrap().code;
    // Several in the same microsecond, in two campaigns.
    for i in 0..54 {
        service.set_clock(&format!("2026-01-15T12:{:02}:00Z", i / 3));
        service.refer(&format!("c-{i}"), if i % 2 == 0 { &code } else { &partners }).await;
    }
    let read = |token| async { list(&service, "rita", 4, token).await.unwrap() };
    let read = read_pages(4, read).await;
    let times: Vec<_> = read.iter().map(|referral| referral.create_time.unwrap().seconds).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older));
    for referral in &read {
        let number: usize = referral.referee_customer_id[2..].parse().unwrap();
        let expected = if number.is_multiple_of(2) { ("friends", &code) } else { ("partners", &partners) };
        assert_eq!((referral.campaign_id.as_str(), &referral.code), expected);
        assert_eq!(*referral, service.referral(&referral.referee_customer_id).await);
    }
    let mut referees: Vec<_> = read.iter().map(|referral| referral.referee_customer_id.clone()).collect();
    referees.sort();
    referees.dedup();
    assert_eq!(referees.len(), 54);
    assert_eq!(list(&service, "rita", 0, String::new()).await.unwrap().0, read[..50]);
    assert_eq!(list(&service, "rita", 1_001, String::new()).await.unwrap(), (read, String::new()));
    assert_eq!(list(&service, "c-1", 0, String::new()).await.unwrap(), (Vec::new(), String::new()));
}

#[tokio::test]
async fn list_referrals_refuses_bad_pages() {
    let (service, code) = start_with_code().await;
    for referee in ["ben", "cleo"] {
        service.refer(referee, &code).await;
    }
    let foreign = list(&service, "rita", 1, String::new()).await.unwrap().1;
    assert_refuses_bad_pages(&foreign, |page_size, token| list(&service, "ben", page_size, token)).await;
}
