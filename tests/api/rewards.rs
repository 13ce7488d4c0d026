//! Rewards: grants, balances, and the list of both. Batches have a file of their own.

pub(crate) mod batches;

use futures_util::future::join_all;
use goldbook::proto;
use goldbook::proto::GrantReason;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::{
    SHOP, START, Service, assert_refused, assert_refuses_bad_pages, at, grant_reward, read_pages, sorted_bad_fields,
};

/// A service with the customer anna.
async fn start_with_anna() -> Service {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    service
}

async fn send(service: &Service, request: proto::GrantRewardRequest) -> Result<proto::GrantRewardResponse, Status> {
    Ok(service.rewards().grant_reward(request).await?.into_inner())
}

async fn list(service: &Service, page_size: i32, page_token: String) -> Result<(Vec<proto::Reward>, String), Status> {
    let request = proto::ListRewardsRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        page_size,
        page_token,
    };
    let page = service.rewards().list_rewards(request).await?.into_inner();
    Ok((page.rewards, page.next_page_token))
}

async fn balance_at(service: &Service, customer_id: &str, as_of: &str) -> Result<proto::Balance, Status> {
    let request = proto::GetBalanceRequest {
        program_id: SHOP.to_owned(),
        customer_id: customer_id.to_owned(),
        as_of: Some(at(as_of)),
    };
    Ok(service.rewards().get_balance(request).await?.into_inner().balance.unwrap())
}

/// The points granted to a customer, in the order of the account.
async fn granted_points(service: &Service, customer_id: &str) -> Vec<i64> {
    service.entries(customer_id).await.into_iter().filter_map(|entry| Some(entry.r#move?.points)).collect()
}

fn balance_of(points: i64, as_of: &str) -> proto::Balance {
    proto::Balance {
        customer_id: "anna".to_owned(),
        available: points,
        issued: points,
        as_of: Some(at(as_of)),
        ..Default::default()
    }
}

#[tokio::test]
async fn grant_reward_makes_points_available_at_once() {
    let service = start_with_anna().await;
    let request = proto::GrantRewardRequest { note: "Sorry!\nTruly.".to_owned(), ..grant_reward("anna", 120, "k-1") };
    let granted = send(&service, request).await.unwrap();
    let entry = service.entries("anna").await.pop().unwrap();
    let reward = proto::Reward {
        reward_id: entry.entry_id.clone(),
        customer_id: "anna".to_owned(),
        content: Some(proto::reward::Content::Points(120)),
        reason: GrantReason::Goodwill.into(),
        note: "Sorry!\nTruly.".to_owned(),
        granted_at: Some(at(START)),
        cause_entry_ids: Vec::new(),
        trace_id: entry.trace_id.clone(),
        ..Default::default()
    };
    assert_eq!(granted, proto::GrantRewardResponse { reward: Some(reward.clone()), replayed: false });
    let moved =
        proto::PocketMove { from: proto::Pocket::Issued.into(), to: proto::Pocket::Available.into(), points: 120 };
    assert_eq!(entry.r#move, Some(moved));
    assert_eq!(service.balance("anna").await, balance_of(120, START));
    assert_eq!(list(&service, 0, String::new()).await.unwrap(), (vec![reward], String::new()));
}

#[tokio::test]
async fn grant_reward_takes_the_reasons_that_are_a_callers_to_give() {
    let service = start_with_anna().await;
    let reasons = [GrantReason::Goodwill, GrantReason::Promotion, GrantReason::Correction, GrantReason::Other];
    for (key, reason) in ["k-1", "k-2", "k-3", "k-4"].into_iter().zip(reasons) {
        let request = proto::GrantRewardRequest { reason: reason.into(), ..grant_reward("anna", 1, key) };
        assert_eq!(send(&service, request).await.unwrap().reward.unwrap().reason(), reason);
    }
    for reason in
        [GrantReason::Unspecified, GrantReason::Purchase, GrantReason::ReferralReferrer, GrantReason::ReferralReferee]
    {
        let request = proto::GrantRewardRequest { reason: reason.into(), ..grant_reward("anna", 1, "k-5") };
        assert_eq!(sorted_bad_fields(send(&service, request).await), ["reason"]);
    }
    let unknown = proto::GrantRewardRequest { reason: 99, ..grant_reward("anna", 1, "k-5") };
    assert_eq!(sorted_bad_fields(send(&service, unknown).await), ["reason"]);
    let listed = list(&service, 0, String::new()).await.unwrap().0;
    let listed: Vec<GrantReason> = listed.iter().map(proto::Reward::reason).collect();
    assert_eq!(listed, reasons.into_iter().rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn grant_reward_replayed_gives_the_first_answer_also_after_a_restart() {
    let service = start_with_anna().await;
    let request = proto::GrantRewardRequest { note: "thanks".to_owned(), ..grant_reward("anna", 50, "k-1") };
    let first = send(&service, request.clone()).await.unwrap();
    service.set_clock("2026-02-01T00:00:00Z");
    service.grant("anna", 7, "k-2").await.unwrap();
    let replay = proto::GrantRewardResponse { replayed: true, ..first };
    assert_eq!(send(&service, request.clone()).await.unwrap(), replay);
    let service = service.restart().await;
    assert_eq!(send(&service, request.clone()).await.unwrap(), replay);
    // Ten years later, too.
    service.set_clock("2036-02-01T00:00:00Z");
    assert_eq!(send(&service, request).await.unwrap(), replay);
    assert_eq!(granted_points(&service, "anna").await, [50, 7]);
}

#[tokio::test]
async fn grant_reward_refuses_a_key_used_with_another_request_also_after_a_restart() {
    let service = start_with_anna().await;
    service.enrol("ben").await;
    service.grant("anna", 50, "k-1").await.unwrap();
    let service = service.restart().await;
    let first = || grant_reward("anna", 50, "k-1");
    let others = [
        grant_reward("anna", 51, "k-1"),
        proto::GrantRewardRequest { note: "another".to_owned(), ..first() },
        proto::GrantRewardRequest { reason: GrantReason::Other.into(), ..first() },
        grant_reward("anna", 50, "enrol-anna"),
    ];
    for other in others {
        assert_refused(send(&service, other).await, Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    }
    // The scope of a key is the customer.
    assert!(!service.grant("ben", 51, "k-1").await.unwrap().replayed);
    assert_eq!(granted_points(&service, "anna").await, [50]);
}

#[tokio::test]
async fn grant_reward_50_times_at_once_with_one_key_grants_once() {
    let service = start_with_anna().await;
    let answers = join_all((0..50).map(|_| service.grant("anna", 50, "k-1"))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert!(answers.iter().all(|answer| answer.reward == answers[0].reward));
    assert_eq!(granted_points(&service, "anna").await, [50]);
    assert_eq!(service.available("anna").await, 50);
}

#[tokio::test]
async fn grant_reward_on_two_services_at_once_grants_each_key_once() {
    let service = start_with_anna().await;
    let other = Service::start_on(service.database.clone(), service.clock.clone()).await;
    let calls = (0..39_i64).flat_map(|i| [(i, &service), (i, &other)]);
    let granted = join_all(calls.map(|(i, service)| async move {
        let answer = service.grant("anna", 1 << i, &format!("k-{i}")).await.unwrap();
        (i, answer)
    }));
    let granted = granted.await;
    for pair in granted.chunks(2) {
        assert_eq!(pair[0].1.reward, pair[1].1.reward);
        assert_ne!(pair[0].1.replayed, pair[1].1.replayed);
    }
    // Every bit once.
    assert_eq!(service.available("anna").await, (1 << 39) - 1);
    let entries = service.entries("anna").await;
    assert_eq!(entries.len(), 41);
    assert!(entries.iter().zip(1..).all(|(entry, seq)| entry.account_seq == seq));
}

#[tokio::test]
async fn grant_reward_beyond_what_can_be_counted_is_refused_and_leaves_the_key_unused() {
    let service = start_with_anna().await;
    service.fill_up("anna", i64::MAX - 10).await;
    let entries = service.entries("anna").await;
    assert_refused(service.grant("anna", 11, "k-2").await, Code::FailedPrecondition, "AMOUNT_OVERFLOW");
    assert_eq!(service.entries("anna").await, entries);
    assert!(!service.grant("anna", 10, "k-2").await.unwrap().replayed);
    assert_eq!(service.available("anna").await, 10);
    assert_refused(service.grant("anna", 1, "k-3").await, Code::FailedPrecondition, "AMOUNT_OVERFLOW");
}

#[tokio::test]
async fn rewards_methods_refuse_an_unknown_program_or_customer() {
    let service = start_with_anna().await;
    for (program_id, customer_id, reason) in
        [("nowhere", "anna", "PROGRAM_NOT_FOUND"), (SHOP, "nobody", "CUSTOMER_NOT_FOUND")]
    {
        let (program_id, customer_id) = (program_id.to_owned(), customer_id.to_owned());
        let granted =
            proto::GrantRewardRequest { program_id: program_id.clone(), ..grant_reward(&customer_id, 1, "k") };
        assert_refused(send(&service, granted).await, Code::NotFound, reason);
        for as_of in [None, Some(at(START))] {
            let (program_id, customer_id) = (program_id.clone(), customer_id.clone());
            let read = proto::GetBalanceRequest { program_id, customer_id, as_of };
            assert_refused(service.rewards().get_balance(read).await, Code::NotFound, reason);
        }
        let listed = proto::ListRewardsRequest { program_id, customer_id, page_size: 0, page_token: String::new() };
        assert_refused(service.rewards().list_rewards(listed).await, Code::NotFound, reason);
    }
}

#[tokio::test]
async fn rewards_methods_list_every_bad_field() {
    let service = start_with_anna().await;
    let bad = proto::GrantRewardRequest { note: "x".repeat(501), ..grant_reward("", 0, &"k".repeat(129)) };
    let bad = proto::GrantRewardRequest { program_id: "A".to_owned(), reason: 0, ..bad };
    assert_eq!(
        sorted_bad_fields(send(&service, bad.clone()).await),
        ["customer_id", "idempotency_key", "note", "points", "program_id", "reason"]
    );
    for content in [None, Some(proto::grant_reward_request::Content::Points(-5))] {
        let request = proto::GrantRewardRequest { content, ..grant_reward("anna", 1, "k") };
        assert_eq!(sorted_bad_fields(send(&service, request).await), ["points"]);
    }
    let as_of = Some(prost_types::Timestamp { seconds: 0, nanos: 1_000_000_000 });
    let read = proto::GetBalanceRequest { program_id: String::new(), customer_id: "\u{1}".to_owned(), as_of };
    assert_eq!(sorted_bad_fields(service.rewards().get_balance(read).await), ["as_of", "customer_id", "program_id"]);
    let listed = proto::ListRewardsRequest { page_size: -1, ..Default::default() };
    assert_eq!(
        sorted_bad_fields(service.rewards().list_rewards(listed).await),
        ["customer_id", "page_size", "program_id"]
    );
    let status = send(&service, bad).await.unwrap_err();
    assert!(status.get_details_error_info().is_none());
}

#[tokio::test]
async fn get_balance_answers_for_any_instant_since_enrolment() {
    let service = start_with_anna().await;
    service.set_clock("2026-01-16T12:00:00Z");
    service.grant("anna", 10, "k-1").await.unwrap();
    service.set_clock("2026-01-17T12:00:00Z");
    service.grant("anna", 5, "k-2").await.unwrap();
    service.set_clock("2026-01-18T12:00:00Z");
    for (as_of, points) in [
        (START, 0),
        ("2026-01-16T11:59:59.999999Z", 0),
        ("2026-01-16T12:00:00Z", 10),
        ("2026-01-17T11:59:59.999999Z", 10),
        ("2026-01-17T12:00:00Z", 15),
        ("2026-01-18T12:00:00Z", 15),
    ] {
        assert_eq!(balance_at(&service, "anna", as_of).await.unwrap(), balance_of(points, as_of), "{as_of}");
    }
    let before = balance_at(&service, "anna", "2026-01-15T11:59:59.999999Z").await;
    assert_refused(before, Code::NotFound, "CUSTOMER_NOT_FOUND");
    let ahead = balance_at(&service, "anna", "2026-01-18T12:00:00.000001Z").await;
    assert_refused(ahead, Code::OutOfRange, "INSTANT_IN_FUTURE");
    assert_eq!(service.balance("anna").await, balance_of(15, "2026-01-18T12:00:00Z"));
}

#[tokio::test]
async fn list_rewards_tells_purchases_and_referrals_with_their_causes() {
    let service = start_with_anna().await;
    let code = service.share_code("rita", "friends").await;
    service.refer("ben", &code).await;
    let recorded = service.purchase("ben", "order-1", "12.00").await.unwrap();
    let referral = service.referral("ben").await;
    let rewards = async |customer_id: &str| {
        let request = proto::ListRewardsRequest {
            program_id: SHOP.to_owned(),
            customer_id: customer_id.to_owned(),
            ..Default::default()
        };
        let listed = service.rewards().list_rewards(request).await.unwrap().into_inner().rewards;
        let told = |reward: proto::Reward| {
            let Some(proto::reward::Content::Points(points)) = reward.content else { panic!("{reward:?}") };
            (reward.reason(), points, reward.reward_id, reward.cause_entry_ids)
        };
        listed.into_iter().map(told).collect::<Vec<_>>()
    };
    let entries = service.entries("ben").await;
    let find = |kind| entries.iter().find(|entry| entry.kind() == kind).unwrap();
    let converted = vec![find(proto::EntryKind::ReferralConverted).entry_id.clone()];
    let earned = find(proto::EntryKind::PointsGranted).entry_id.clone();
    let accepted = vec![recorded.activity.unwrap().entry_id];
    assert_eq!(
        rewards("ben").await,
        [
            (GrantReason::ReferralReferee, 250, referral.referee_reward_entry_id, converted.clone()),
            (GrantReason::Purchase, 12, earned, accepted),
        ]
    );
    assert_eq!(
        rewards("rita").await,
        [(GrantReason::ReferralReferrer, 500, referral.referrer_reward_entry_id, converted)]
    );
}

#[tokio::test]
async fn list_rewards_returns_each_once_the_last_granted_first() {
    let service = start_with_anna().await;
    let grants = (1..=1_002).map(|points| grant_reward("anna", points, &format!("k-{points}"))).collect();
    batches::grant_all(&service, grants).await;
    let points = |rewards: &[proto::Reward]| -> Vec<i64> {
        let points = |reward: &proto::Reward| match reward.content {
            Some(proto::reward::Content::Points(points)) => points,
            None => 0,
        };
        rewards.iter().map(points).collect()
    };
    let all: Vec<i64> = (1..=1_002).rev().collect();
    let read = |token| async { list(&service, 300, token).await.unwrap() };
    assert_eq!(points(&read_pages(300, read).await), all);
    assert_eq!(points(&list(&service, 0, String::new()).await.unwrap().0), all[..50]);
    assert_eq!(points(&list(&service, i32::MAX, String::new()).await.unwrap().0), all[..1_000]);
}

#[tokio::test]
async fn list_rewards_refuses_bad_pages() {
    let service = start_with_anna().await;
    service.enrol("ben").await;
    for key in ["k-1", "k-2"] {
        service.grant("ben", 5, key).await.unwrap();
    }
    let request = proto::ListRewardsRequest {
        program_id: SHOP.to_owned(),
        customer_id: "ben".to_owned(),
        page_size: 1,
        page_token: String::new(),
    };
    let foreign = service.rewards().list_rewards(request).await.unwrap().into_inner().next_page_token;
    assert_refuses_bad_pages(&foreign, |page_size, token| list(&service, page_size, token)).await;
}
