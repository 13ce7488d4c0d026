//! Erasing a customer while others write to the same account.

use futures_util::future::join_all;
use goldbook::proto;
use goldbook::proto::BalanceDisposal::Expire;
use tonic::{Code, Status};

use super::{count, erase, erasure, get, start};
use crate::audit::assert_clean;
use crate::harness::{Service, create_customer, create_referral, purchase, reason};

/// How a call may end beside an erasure.
fn is_expected(status: &Status) -> bool {
    let expected = [
        (Code::NotFound, "CUSTOMER_NOT_FOUND"),
        (Code::NotFound, "REFERRAL_CODE_NOT_FOUND"),
        (Code::FailedPrecondition, "CUSTOMER_ERASED"),
        (Code::FailedPrecondition, "NOT_A_NEW_CUSTOMER"),
    ];
    expected.contains(&(status.code(), reason(status).as_str()))
}

#[tokio::test]
async fn purchases_and_grants_beside_an_erasure_come_before_it_or_not_at_all() {
    let service = start().await;
    for round in 0..6 {
        let customer_id = format!("c-{round}");
        service.enrol(&customer_id).await;
        let buy = async |i: usize| {
            let request = purchase(&customer_id, &format!("order-{i}"), "20.00", service.clock.now());
            service.activities().record_activity(request).await.map(drop)
        };
        let grant = async |i: usize| service.grant(&customer_id, 5, &format!("k-{i}")).await.map(drop);
        let erase_now = async { erase(&service, erasure(&customer_id, Expire, "k")).await };
        let (bought, granted, erased) =
            tokio::join!(join_all((0..12).map(buy)), join_all((0..12).map(grant)), erase_now);
        let outcomes = [bought, granted].concat();
        assert!(outcomes.iter().flat_map(|outcome| outcome.as_ref().err()).all(is_expected), "{outcomes:?}");
        // What was accepted was there, and so went with the customer.
        let (erased, replayed) = erased.unwrap();
        assert!(!replayed);
        let bought = outcomes[..12].iter().filter(|outcome| outcome.is_ok()).count();
        let granted = outcomes[12..].iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(erased.expired_points, i64::try_from(bought * 20 + granted * 5).unwrap());
        assert_eq!(count(&service, &format!("names WHERE name = '{customer_id}'")).await, 0);
    }
    assert_eq!(count(&service, "activities").await, 0);
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn an_erasure_beside_referrals_leaves_each_of_them_whole() {
    let service = start().await;
    for round in 0..6 {
        let (referrer, referee) = (format!("r-{round}"), format!("e-{round}"));
        let code = service.share_code(&referrer, "friends").await;
        let refer = async |i: usize| {
            let request = create_referral(&format!("{referee}-{i}"), &code);
            service.referrals().create_referral(request).await.map(drop)
        };
        let erase_now = async { erase(&service, erasure(&referrer, Expire, "k")).await };
        let (referred, erased) = tokio::join!(join_all((0..12).map(refer)), erase_now);
        assert!(referred.iter().flat_map(|outcome| outcome.as_ref().err()).all(is_expected), "{referred:?}");
        erased.unwrap();
        // Those who came with the code in time were referred, and their purchases pay them alone.
        for (i, outcome) in referred.iter().enumerate() {
            let customer_id = format!("{referee}-{i}");
            if outcome.is_ok() {
                let bought = service.purchase(&customer_id, "order", "20.00").await.unwrap();
                assert!(bought.referral_converted);
                assert_eq!(service.available(&customer_id).await, 270);
            }
        }
    }
    assert_eq!(count(&service, "names WHERE space = 'referral_code'").await, 0);
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn a_customer_is_erased_once_by_many_on_two_services() {
    let first = Service::start().await;
    let second = Service::start_on(first.database.clone(), first.clock.clone()).await;
    let services = [first, second];
    services[0].apply_shop().await;
    for round in 0..4 {
        let customer_id = format!("c-{round}");
        services[0].enrol(&customer_id).await;
        services[0].grant(&customer_id, 50, "k").await.unwrap();
        let account_id = get(&services[0], &customer_id).await.unwrap().account_id;
        let attempts = (0..16).map(|i| erase(&services[i % 2], erasure(&customer_id, Expire, &format!("k-{}", i / 4))));
        let outcomes: Vec<(proto::Erasure, bool)> =
            join_all(attempts).await.into_iter().map(|outcome| outcome.unwrap()).collect();
        assert_eq!(outcomes.iter().filter(|(_, replayed)| !replayed).count(), 1);
        assert!(outcomes.iter().all(|(erased, _)| *erased == outcomes[0].0));
        assert_eq!((outcomes[0].0.account_id.as_str(), outcomes[0].0.expired_points), (account_id.as_str(), 50));
    }
    assert_clean(&services[0].database).await;
}

#[tokio::test]
async fn a_customer_comes_and_goes_in_one_batch() {
    let service = start().await;
    for round in 0..6 {
        let customer_id = format!("c-{round}");
        let buy = async {
            let request = purchase(&customer_id, "order", "20.00", service.clock.now());
            service.activities().record_activity(request).await.map(drop)
        };
        let share = async {
            let request = proto::CreateReferralCodeRequest {
                program_id: crate::harness::SHOP.to_owned(),
                customer_id: customer_id.clone(),
                campaign_id: "friends".to_owned(),
            };
            service.referrals().create_referral_code(request).await.map(drop)
        };
        let erase_now = async { erase(&service, erasure(&customer_id, Expire, "k")).await.map(drop) };
        let (bought, shared, erased) = tokio::join!(buy, share, erase_now);
        for outcome in [bought, shared, erased] {
            assert!(outcome.as_ref().err().is_none_or(is_expected), "{outcome:?}");
        }
        // Whichever came first: what is kept of them is whole, or nothing is.
        let named = count(&service, &format!("names WHERE name = '{customer_id}'")).await;
        assert_eq!(get(&service, &customer_id).await.is_ok(), named == 1);
    }
    assert_clean(&service.database).await;
}

/// What one batch writes of a dossier or an erasure counts for the referral behind it, too.
#[tokio::test]
async fn an_erased_person_is_known_however_close_the_calls_are() {
    let service = start().await;
    let code = service.share_code("ben", "friends").await;
    let dossier = |customer_id: &str| proto::CreateCustomerRequest {
        customer: Some(proto::Customer {
            customer_id: customer_id.to_owned(),
            email: "anna@example.com".to_owned(),
            ..Default::default()
        }),
        ..create_customer(customer_id, "enrol")
    };
    service.customers().create_customer(dossier("anna")).await.unwrap();
    erase(&service, erasure("anna", Expire, "k")).await.unwrap();
    for round in 0..20 {
        let customer_id = format!("again-{round}");
        let (mut customers, mut referrals) = (service.customers(), service.referrals());
        let request = proto::CreateReferralRequest { enrol: false, ..create_referral(&customer_id, &code) };
        let (enrolled, referred) =
            tokio::join!(customers.create_customer(dossier(&customer_id)), referrals.create_referral(request));
        enrolled.unwrap();
        let refused = referred.unwrap_err();
        assert!(is_expected(&refused), "{refused:?}");
    }
}

#[tokio::test]
async fn a_referral_that_is_repeated_beside_an_erasure_is_a_replay_or_refused() {
    let service = start().await;
    let code = service.share_code("ben", "friends").await;
    for round in 0..20 {
        let customer_id = format!("c-{round}");
        for enrol in [true, false] {
            let request = proto::CreateReferralRequest { enrol, ..create_referral(&customer_id, &code) };
            if enrol {
                service.referrals().create_referral(request.clone()).await.unwrap();
            }
            let again = async |request| service.referrals().create_referral(request).await.map(drop);
            let erase_now = async { erase(&service, erasure(&customer_id, Expire, "k")).await };
            let (erased, outcomes) = tokio::join!(erase_now, join_all((0..4).map(|_| again(request.clone()))));
            erased.unwrap();
            for outcome in outcomes {
                let is_reused = |status: &Status| reason(status) == "IDEMPOTENCY_KEY_REUSED";
                let is_told = outcome.as_ref().err().is_none_or(|status| is_expected(status) || is_reused(status));
                assert!(is_told, "{outcome:?}");
            }
        }
    }
    assert_clean(&service.database).await;
}
