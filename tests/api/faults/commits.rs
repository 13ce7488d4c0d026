//! A commit whose acknowledgement is lost is found again by the command's key, and one that never arrived is tried
//! again: the caller gets one ordinary answer, the ledger one row.

use futures_util::future::join_all;
use goldbook::proto;
use tonic::Code;

use super::{count, start_behind_proxy};
use crate::harness::{SHOP, Service, create_customer, create_referral, grant_reward, reason, shop};
use crate::proxy::{Fault, Proxy};

/// Every way in which a connection can end around a commit.
const FAULTS: [Fault; 3] = [Fault::LoseAnswer, Fault::LoseCommit, Fault::CutAtCommit];

async fn count_grants(service: &Service) -> i64 {
    count(&service.database, "ledger_entries WHERE kind = 'points_granted'").await
}

async fn assert_granted_once(service: &Service, proxy: &Proxy, faults: &[Fault]) {
    proxy.break_commits(faults.iter().copied());
    let granted = service.grant("anna", 100, "gift").await.unwrap();
    assert!(!granted.replayed, "a caller's first call is no replay, {faults:?}");
    proxy.struck(faults.len()).await;
    assert_eq!(count_grants(service).await, 1, "{faults:?}");
    assert_eq!(service.available("anna").await, 100, "{faults:?}");
    let again = service.grant("anna", 100, "gift").await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.reward, granted.reward);
    assert_eq!(count_grants(service).await, 1);
}

#[tokio::test]
async fn grant_reward_is_found_again_when_the_acknowledgement_of_its_commit_is_lost() {
    let (service, proxy) = start_behind_proxy().await;
    service.enrol("anna").await;
    assert_granted_once(&service, &proxy, &[Fault::LoseAnswer]).await;
}

#[tokio::test]
async fn grant_reward_is_tried_again_when_its_commit_did_not_arrive() {
    let (service, proxy) = start_behind_proxy().await;
    service.enrol("anna").await;
    assert_granted_once(&service, &proxy, &[Fault::LoseCommit]).await;
}

#[tokio::test]
async fn grant_reward_is_written_once_when_connection_after_connection_breaks() {
    let (service, proxy) = start_behind_proxy().await;
    service.enrol("anna").await;
    assert_granted_once(&service, &proxy, &[Fault::LoseCommit, Fault::LoseAnswer, Fault::LoseAnswer]).await;
}

#[tokio::test]
async fn grant_reward_is_written_once_when_the_retry_meets_its_own_commit_under_way() {
    let (service, proxy) = start_behind_proxy().await;
    service.enrol("anna").await;
    for round in 1..=20 {
        proxy.break_commits([Fault::CutAtCommit]);
        let granted = service.grant("anna", 1, &format!("gift-{round}")).await.unwrap();
        assert!(!granted.replayed);
        assert_eq!(count_grants(&service).await, round);
    }
    assert_eq!(service.available("anna").await, 20);
}

#[tokio::test]
async fn grant_reward_written_but_answered_unavailable_is_a_replay_when_repeated() {
    let (service, proxy) = start_behind_proxy().await;
    service.enrol("anna").await;
    // The commit lands; everything that would find it again does not.
    proxy.break_commits([Fault::LoseAnswer; 4]);
    let status = service.grant("anna", 100, "gift").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(count_grants(&service).await, 1);
    let again = service.grant("anna", 100, "gift").await.unwrap();
    assert!(again.replayed);
    assert_eq!(count_grants(&service).await, 1);
    let reused = service.grant("anna", 101, "gift").await.unwrap_err();
    assert_eq!(reason(&reused), "IDEMPOTENCY_KEY_REUSED");
}

#[tokio::test]
async fn record_activity_converts_and_pays_once_whatever_happens_to_its_commit() {
    for fault in FAULTS {
        let (service, proxy) = start_behind_proxy().await;
        let code = service.share_code("anna", "friends").await;
        service.refer("ben", &code).await;
        proxy.break_commits([fault]);
        let recorded = service.purchase("ben", "order-1", "250.00").await.unwrap();
        assert!(!recorded.replayed, "{fault:?}");
        assert!(recorded.referral_converted, "{fault:?}");
        assert_eq!(recorded.points_earned, 250, "{fault:?}");
        assert_eq!(recorded.tier_change.as_ref().unwrap().to_tier_id, "silver", "{fault:?}");
        proxy.struck(1).await;
        assert_eq!(count(&service.database, "activities").await, 1, "{fault:?}");
        assert_eq!(count_grants(&service).await, 3, "{fault:?}");
        assert_eq!((service.available("ben").await, service.available("anna").await), (500, 500), "{fault:?}");
        let again = service.purchase("ben", "order-1", "250.00").await.unwrap();
        assert_eq!(again, proto::RecordActivityResponse { replayed: true, ..recorded });
    }
}

#[tokio::test]
async fn create_referral_enrols_and_attaches_once_whatever_happens_to_its_commit() {
    for fault in FAULTS {
        let (service, proxy) = start_behind_proxy().await;
        let code = service.share_code("anna", "friends").await;
        proxy.break_commits([fault]);
        let mut referrals = service.referrals();
        let created = referrals.create_referral(create_referral("ben", &code)).await.unwrap().into_inner();
        assert!(!created.replayed, "{fault:?}");
        proxy.struck(1).await;
        assert_eq!(count(&service.database, "referrals").await, 1, "{fault:?}");
        assert_eq!(count(&service.database, "customers WHERE customer_id = 'ben'").await, 1, "{fault:?}");
        assert_eq!(count(&service.database, "names WHERE name = 'ben'").await, 1, "{fault:?}");
        let again = referrals.create_referral(create_referral("ben", &code)).await.unwrap().into_inner();
        assert_eq!(again, proto::CreateReferralResponse { replayed: true, ..created });
    }
}

#[tokio::test]
async fn create_customer_enrols_once_whatever_happens_to_its_commit() {
    for fault in FAULTS {
        let (service, proxy) = start_behind_proxy().await;
        proxy.break_commits([fault]);
        let mut customers = service.customers();
        let created = customers.create_customer(create_customer("anna", "enrol")).await.unwrap().into_inner();
        assert!(!created.replayed, "{fault:?}");
        proxy.struck(1).await;
        assert_eq!(count(&service.database, "customers").await, 1, "{fault:?}");
        assert_eq!(count(&service.database, "ledger_entries WHERE kind = 'customer_enrolled'").await, 1, "{fault:?}");
        let again = customers.create_customer(create_customer("anna", "enrol")).await.unwrap().into_inner();
        assert_eq!(again, proto::CreateCustomerResponse { replayed: true, ..created });
    }
}

#[tokio::test]
async fn update_customer_with_an_etag_is_written_once_whatever_happens_to_its_commit() {
    for fault in FAULTS {
        let (service, proxy) = start_behind_proxy().await;
        let mut customers = service.customers();
        let created = customers.create_customer(create_customer("anna", "enrol")).await.unwrap().into_inner();
        let customer = proto::Customer { given_name: "Anna".to_owned(), ..created.customer.unwrap() };
        let update = proto::UpdateCustomerRequest {
            program_id: SHOP.to_owned(),
            customer: Some(customer.clone()),
            update_mask: Some(prost_types::FieldMask { paths: vec!["given_name".to_owned()] }),
        };
        proxy.break_commits([fault]);
        let updated = customers.update_customer(update.clone()).await.unwrap().into_inner().customer.unwrap();
        proxy.struck(1).await;
        assert_eq!(updated.given_name, "Anna", "{fault:?}");
        assert_ne!(updated.etag, customer.etag, "{fault:?}");
        assert_eq!(count(&service.database, "customers WHERE revision = 2").await, 1, "{fault:?}");
        // To the service, the caller's own repetition with the old etag is another change.
        let again = customers.update_customer(update).await.unwrap_err();
        assert_eq!((again.code(), reason(&again).as_str()), (Code::Aborted, "ETAG_MISMATCH"));
    }
}

#[tokio::test]
async fn create_referral_code_says_created_whatever_happens_to_its_commit() {
    for fault in FAULTS {
        let (service, proxy) = start_behind_proxy().await;
        service.enrol("anna").await;
        let request = proto::CreateReferralCodeRequest {
            program_id: SHOP.to_owned(),
            customer_id: "anna".to_owned(),
            campaign_id: "partners".to_owned(),
        };
        proxy.break_commits([fault]);
        let mut referrals = service.referrals();
        let first = referrals.create_referral_code(request.clone()).await.unwrap().into_inner();
        proxy.struck(1).await;
        assert!(first.created, "{fault:?}");
        let again = referrals.create_referral_code(request).await.unwrap().into_inner();
        assert_eq!(again, proto::CreateReferralCodeResponse { created: false, ..first });
        assert_eq!(count(&service.database, "names WHERE space = 'referral_code'").await, 1, "{fault:?}");
    }
}

#[tokio::test]
async fn convert_referral_says_that_it_was_this_call_whatever_happens_to_its_commit() {
    for fault in FAULTS {
        let (service, proxy) = start_behind_proxy().await;
        let code = service.share_code("anna", "partners").await;
        service.refer("ben", &code).await;
        proxy.break_commits([fault]);
        let first = service.convert("ben").await.unwrap();
        proxy.struck(1).await;
        assert!(!first.already_converted, "{fault:?}");
        let again = service.convert("ben").await.unwrap();
        assert_eq!(again, proto::ConvertReferralResponse { already_converted: true, ..first });
        assert_eq!((service.available("anna").await, service.available("ben").await), (500, 250), "{fault:?}");
    }
}

#[tokio::test]
async fn apply_program_says_changed_whatever_happens_to_its_commit() {
    for fault in FAULTS {
        let (service, proxy) = start_behind_proxy().await;
        let program = proto::Program { display_name: "The shop".to_owned(), ..shop() };
        proxy.break_commits([fault]);
        let applied = service.apply(program.clone()).await.unwrap();
        proxy.struck(1).await;
        assert!(applied.changed, "{fault:?}");
        assert_eq!(applied.previous.unwrap().version, 1, "{fault:?}");
        assert!(!service.apply(program).await.unwrap().changed, "{fault:?}");
        assert_eq!(count(&service.database, "program_versions").await, 2, "{fault:?}");
    }
}

#[tokio::test]
async fn programs_applied_at_once_are_each_told_their_own_version() {
    for fault in FAULTS {
        let (service, proxy) = start_behind_proxy().await;
        // The first is a batch of its own, and the others wait for it: they are the second.
        proxy.break_commits([fault, fault]);
        let applied = (0..5).map(|number| {
            let program = proto::Program { display_name: format!("Shop {number}"), ..shop() };
            let applied = service.apply(program.clone());
            async move { (program.display_name, applied.await.unwrap()) }
        });
        let mut versions = Vec::new();
        for (name, answer) in join_all(applied).await {
            let version = answer.version.unwrap();
            assert_eq!((answer.changed, version.program.unwrap().display_name), (true, name), "{fault:?}");
            assert_eq!(answer.previous.unwrap().version, version.version - 1, "{fault:?}");
            versions.push(version.version);
        }
        proxy.struck(2).await;
        versions.sort_unstable();
        assert_eq!(versions, [2, 3, 4, 5, 6], "{fault:?}");
    }
}

#[tokio::test]
async fn every_item_of_a_stream_lands_once_while_connections_break() {
    let (service, proxy) = start_behind_proxy().await;
    service.enrol("anna").await;
    proxy.break_commits([Fault::LoseAnswer, Fault::CutAtCommit, Fault::LoseCommit]);
    let items = (0..300).map(|number| proto::BatchGrantRewardsRequest {
        item_id: number.to_string(),
        grant: Some(grant_reward("anna", 1, &format!("gift-{number}"))),
    });
    let items = tokio_stream::iter(items.collect::<Vec<_>>());
    let mut outcomes = service.rewards().batch_grant_rewards(items).await.unwrap().into_inner();
    let mut granted = 0;
    while let Some(item) = outcomes.message().await.unwrap() {
        match item.outcome.unwrap() {
            proto::batch_grant_rewards_response::Outcome::Granted(outcome) => assert!(!outcome.replayed),
            proto::batch_grant_rewards_response::Outcome::Error(status) => panic!("{}: {status:?}", item.item_id),
        }
        granted += 1;
    }
    proxy.struck(3).await;
    assert_eq!(granted, 300);
    assert_eq!(count_grants(&service).await, 300);
    assert_eq!(service.available("anna").await, 300);
}
