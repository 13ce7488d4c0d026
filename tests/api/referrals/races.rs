//! Referrals at the same time: one person is brought once, one conversion pays once.

use futures_util::future::join_all;
use goldbook::proto;
use goldbook::proto::EntryKind::{CustomerEnrolled, ReferralConverted, ReferralCreated, TierChanged};
use tonic::{Code, Status};

use super::{send, start_with_code};
use crate::harness::{Service, assert_refused, create_referral, purchase};

/// 64 referrers and their codes.
async fn share_64_codes(service: &Service) -> Vec<(String, String)> {
    let share = async |i: usize| {
        let referrer = format!("r-{i}");
        let code = service.share_code(&referrer, "friends").await;
        (referrer, code)
    };
    join_all((0..64).map(share)).await
}

/// One of the 64 attempts to bring zoe.
fn attempt(i: usize, code: &str) -> proto::CreateReferralRequest {
    proto::CreateReferralRequest { idempotency_key: format!("attempt-{i}"), ..create_referral("zoe", code) }
}

/// Asserts that exactly one attempt won, and that the ledger says the same.
async fn assert_one_won(
    service: &Service,
    referrers: &[(String, String)],
    outcomes: Vec<Result<proto::CreateReferralResponse, Status>>,
) {
    let winners: Vec<usize> = (0..64).filter(|i| outcomes[*i].is_ok()).collect();
    assert_eq!(winners.len(), 1);
    let winner = winners[0];
    let referral = service.referral("zoe").await;
    assert_eq!((&referral.referrer_customer_id, &referral.code), (&referrers[winner].0, &referrers[winner].1));
    for (i, outcome) in outcomes.into_iter().enumerate() {
        if i == winner {
            let won = outcome.unwrap();
            assert_eq!((won.referral.unwrap(), won.replayed), (referral.clone(), false));
        } else {
            assert_refused(outcome, Code::AlreadyExists, "ALREADY_REFERRED");
        }
    }
    assert_eq!(service.kinds("zoe").await, [CustomerEnrolled, TierChanged, ReferralCreated]);
    assert!(service.purchase("zoe", "order-1", "20.00").await.unwrap().referral_converted);
    let balances = join_all(referrers.iter().map(|(referrer, _)| service.available(referrer))).await;
    let paid: Vec<usize> = (0..64).filter(|i| balances[*i] > 0).collect();
    assert_eq!((paid, balances[winner]), (vec![winner], 500));
}

#[tokio::test]
async fn create_referral_64_times_at_once_for_one_person_attaches_once() {
    let service = Service::start().await;
    service.apply_shop().await;
    let referrers = share_64_codes(&service).await;
    let attempts = referrers.iter().enumerate().map(|(i, (_, code))| send(&service, attempt(i, code)));
    let outcomes = join_all(attempts).await;
    assert_one_won(&service, &referrers, outcomes).await;
}

#[tokio::test]
async fn create_referral_64_times_at_once_on_two_services_attaches_once() {
    let service = Service::start().await;
    service.apply_shop().await;
    let other = Service::start_on(service.database.clone(), service.clock.clone()).await;
    let referrers = share_64_codes(&service).await;
    let services = [&service, &other].into_iter().cycle();
    let attempts = referrers.iter().enumerate().zip(services);
    let attempts = attempts.map(|((i, (_, code)), service)| send(service, attempt(i, code)));
    let outcomes = join_all(attempts).await;
    assert_one_won(&other, &referrers, outcomes).await;
}

#[tokio::test]
async fn create_referral_50_times_at_once_with_one_key_attaches_once() {
    let (service, code) = start_with_code().await;
    let other = Service::start_on(service.database.clone(), service.clock.clone()).await;
    let services = [&service, &other].into_iter().cycle().take(50);
    let answers = join_all(services.map(|service| send(service, create_referral("ben", &code)))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert!(answers.iter().all(|answer| answer.referral == answers[0].referral));
    assert_eq!(service.kinds("ben").await, [CustomerEnrolled, TierChanged, ReferralCreated]);
}

#[tokio::test]
async fn create_referral_at_once_with_a_first_purchase_ends_in_one_order_or_the_other() {
    let (service, code) = start_with_code().await;
    let other = Service::start_on(service.database.clone(), service.clock.clone()).await;
    for i in 0..16 {
        let referee = format!("c-{i}");
        let bought = purchase(&referee, "order-1", "20.00", service.clock.now());
        let (mut activities, before) = (other.activities(), service.available("rita").await);
        let refer = send(&service, create_referral(&referee, &code));
        let (referred, bought) = tokio::join!(refer, activities.record_activity(bought));
        let converted = bought.unwrap().into_inner().referral_converted;
        assert_eq!(converted, referred.is_ok());
        if let Err(status) = referred {
            assert_refused::<()>(Err(status), Code::FailedPrecondition, "NOT_A_NEW_CUSTOMER");
        }
        assert_eq!(service.available("rita").await - before, if converted { 500 } else { 0 });
    }
}

#[tokio::test]
async fn convert_referral_and_purchases_at_once_convert_once() {
    let (service, code) = start_with_code().await;
    let other = Service::start_on(service.database.clone(), service.clock.clone()).await;
    for i in 0..8 {
        let referee = format!("c-{i}");
        service.refer(&referee, &code).await;
        let purchases = (0..10).map(|order| {
            let service = if order % 2 == 0 { &service } else { &other };
            let order = format!("order-{order}");
            let referee = &referee;
            async move { service.purchase(referee, &order, "20.00").await.unwrap().referral_converted }
        });
        let converts = join_all((0..10).map(|_| service.convert(&referee)));
        let (purchases, converts) = tokio::join!(join_all(purchases), converts);
        assert_eq!(purchases.into_iter().filter(|converted| *converted).count(), 1);
        for outcome in converts {
            match outcome {
                Ok(converted) => assert!(converted.already_converted),
                Err(status) => assert_refused::<()>(Err(status), Code::FailedPrecondition, "NOT_QUALIFIED"),
            }
        }
        let kinds = service.kinds(&referee).await;
        assert_eq!(kinds.iter().filter(|kind| **kind == ReferralConverted).count(), 1);
        assert_eq!(service.available(&referee).await, 10 * 20 + 250);
    }
    assert_eq!(service.available("rita").await, 8 * 500);
}

#[tokio::test]
async fn convert_referral_at_once_by_hand_converts_once() {
    let service = Service::start().await;
    service.apply_shop().await;
    let other = Service::start_on(service.database.clone(), service.clock.clone()).await;
    let code = service.share_code("rita", "partners").await;
    service.refer("ben", &code).await;
    let services = [&service, &other].into_iter().cycle().take(40);
    let answers = join_all(services.map(|service| service.convert("ben"))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| !answer.already_converted).count(), 1);
    assert!(answers.iter().all(|answer| answer.referral == answers[0].referral));
    assert_eq!((service.available("ben").await, service.available("rita").await), (250, 500));
}

#[tokio::test]
async fn create_referral_beside_a_refused_enrolment_still_refuses_the_unknown_referee() {
    let (service, code) = start_with_code().await;
    let count = service.count_entries().await;
    let referees: Vec<String> = (0..100).map(|i| format!("c-{i}")).collect();
    // Tomorrow's purchases enrol no one; in one batch with them, the names are taken for a moment.
    let tomorrow = "2026-01-16T12:00:00Z".parse().unwrap();
    let calls = referees.iter().map(async |referee| {
        let (mut activities, stranger) = (service.activities(), create_referral(referee, &code));
        let stranger = proto::CreateReferralRequest { enrol: false, ..stranger };
        let purchase = purchase(referee, "order-1", "20.00", tomorrow);
        tokio::join!(activities.record_activity(purchase), send(&service, stranger))
    });
    for (purchase, referral) in join_all(calls).await {
        assert_refused(purchase, Code::OutOfRange, "INSTANT_IN_FUTURE");
        assert_refused(referral, Code::NotFound, "CUSTOMER_NOT_FOUND");
    }
    assert_eq!(service.count_entries().await, count);
}
