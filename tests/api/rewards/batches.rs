//! `BatchGrantRewards`: many grants over one stream.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::{FutureExt as _, StreamExt as _};
use goldbook::proto;
use goldbook::proto::batch_grant_rewards_response::Outcome;
use tonic_types::StatusExt as _;

use super::{granted_points, send, start_with_anna};
use crate::harness::{Service, assert_same_error, create_customer, grant_reward};
use crate::wait::within;

/// Sends items over one stream; the outcomes by item id, each of which came exactly once.
async fn batch(
    service: &Service,
    items: Vec<(String, Option<proto::GrantRewardRequest>)>,
) -> BTreeMap<String, Outcome> {
    let count = items.len();
    let items = items.into_iter().map(|(item_id, grant)| proto::BatchGrantRewardsRequest { item_id, grant });
    let stream = service.rewards().batch_grant_rewards(tokio_stream::iter(items)).await;
    let mut stream = stream.unwrap().into_inner();
    let mut outcomes = BTreeMap::new();
    let mut received = 0;
    while let Some(response) = stream.message().await.unwrap() {
        received += 1;
        outcomes.insert(response.item_id, response.outcome.unwrap());
    }
    assert_eq!((received, outcomes.len()), (count, count));
    outcomes
}

/// Grants everything over one stream; none may fail.
pub(crate) async fn grant_all(service: &Service, grants: Vec<proto::GrantRewardRequest>) {
    let items = grants.into_iter().enumerate().map(|(i, grant)| (i.to_string(), Some(grant)));
    for (item_id, outcome) in batch(service, items.collect()).await {
        assert!(matches!(outcome, Outcome::Granted(_)), "{item_id}: {outcome:?}");
    }
}

#[tokio::test]
async fn batch_grant_rewards_grants_the_good_items_and_answers_the_bad_as_single_calls() {
    let service = start_with_anna().await;
    let unknown = grant_reward("nobody", 5, "k-2");
    let bad = proto::GrantRewardRequest { reason: 0, ..grant_reward("anna", -5, "") };
    let reused = grant_reward("anna", 6, "k-1");
    let overflow = grant_reward("ben", 1, "k-3");
    service.enrol("ben").await;
    service.fill_up("ben", i64::MAX).await;
    let refused = [("b", unknown), ("c", bad), ("d", reused), ("e", overflow)];
    let mut items = vec![("a".to_owned(), Some(grant_reward("anna", 5, "k-1")))];
    items.extend(refused.iter().map(|(item_id, grant)| ((*item_id).to_owned(), Some(grant.clone()))));
    items.push(("f".to_owned(), Some(grant_reward("anna", 7, "k-4"))));
    items.push(("g".to_owned(), Some(grant_reward("anna", 5, "k-1"))));
    let outcomes = batch(&service, items).await;

    for (item_id, points, replayed) in [("a", 5, false), ("f", 7, false), ("g", 5, true)] {
        let Outcome::Granted(granted) = &outcomes[item_id] else { panic!("{item_id}: {:?}", outcomes[item_id]) };
        assert_eq!(granted.replayed, replayed);
        let content = granted.reward.as_ref().unwrap().content;
        assert_eq!(content, Some(proto::reward::Content::Points(points)));
    }
    for (item_id, grant) in refused {
        let Outcome::Error(error) = &outcomes[item_id] else { panic!("{item_id}: {:?}", outcomes[item_id]) };
        let single = send(&service, grant).await.unwrap_err();
        assert_same_error(error, &single);
        let (info, bad_request) = (single.get_details_error_info(), single.get_details_bad_request());
        assert_eq!(info.is_some(), item_id != "c");
        assert_eq!(bad_request.is_some(), item_id == "c");
    }
    assert_eq!(granted_points(&service, "anna").await, [5, 7]);
}

#[tokio::test]
async fn batch_grant_rewards_names_bad_items_with_every_bad_field() {
    let service = start_with_anna().await;
    let request = proto::BatchGrantRewardsRequest { item_id: String::new(), grant: None };
    let stream = service.rewards().batch_grant_rewards(tokio_stream::iter([request])).await;
    let mut stream = stream.unwrap().into_inner();
    let response = stream.message().await.unwrap().unwrap();
    let Some(Outcome::Error(error)) = response.outcome else { panic!("{response:?}") };
    let any = error.details.first().unwrap();
    let bad_request: tonic_types::pb::BadRequest = prost::Message::decode(any.value.as_slice()).unwrap();
    let mut fields: Vec<_> = bad_request.field_violations.into_iter().map(|violation| violation.field).collect();
    fields.sort();
    assert_eq!(fields, ["customer_id", "idempotency_key", "item_id", "points", "program_id", "reason"]);
    assert_eq!(stream.message().await.unwrap(), None);
}

#[tokio::test]
async fn batch_grant_rewards_grants_thousands_in_the_order_of_each_customer() {
    let service = start_with_anna().await;
    let customers: Vec<String> = (0..40).map(|i| format!("c-{i}")).collect();
    for customer_id in &customers {
        service.customers().create_customer(create_customer(customer_id, "k")).await.unwrap();
    }
    let grant = |i: usize| {
        let points = i64::try_from(i + 1).unwrap();
        let grant = grant_reward(&customers[i % 40], points, &format!("k-{i}"));
        (format!("item {i}"), Some(grant))
    };
    let outcomes = batch(&service, (0..4_000).map(grant).collect()).await;
    assert!(outcomes.values().all(|outcome| matches!(outcome, Outcome::Granted(granted) if !granted.replayed)));
    for (place, customer_id) in (1_i64..).zip(&customers) {
        let expected: Vec<i64> = (0..100).map(|round| place + 40 * round).collect();
        assert_eq!(granted_points(&service, customer_id).await, expected);
        assert_eq!(service.available(customer_id).await, expected.iter().sum::<i64>());
    }
    // All of it again.
    let outcomes = batch(&service, (0..4_000).map(grant).collect()).await;
    assert!(outcomes.values().all(|outcome| matches!(outcome, Outcome::Granted(granted) if granted.replayed)));
    assert_eq!(granted_points(&service, "c-0").await.len(), 100);
}

#[tokio::test]
async fn batch_grant_rewards_of_nothing_ends_without_an_outcome() {
    let service = start_with_anna().await;
    assert_eq!(batch(&service, Vec::new()).await.len(), 0);
}

/// A library may send each item in a frame of its own. A caller that hears its outcomes late then has thousands of them unread.
#[tokio::test]
async fn thousands_of_small_items_that_lie_unread_wait_for_their_turn() {
    const ITEMS: usize = 10_000;
    let service = start_with_anna().await;
    let endpoint = tonic::transport::Channel::from_shared(format!("http://{}", service.address)).unwrap();
    // So few bytes of outcomes are on their way that the service soon waits for whoever reads them.
    let channel = endpoint.initial_stream_window_size(64).connect().await.unwrap();
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let items = tokio_stream::iter(0..ITEMS).then(move |item| {
        let nothing_asked = proto::BatchGrantRewardsRequest { item_id: item.to_string(), grant: None };
        count.fetch_add(1, Relaxed);
        // What is not there at once is not sent together with what is.
        tokio::task::yield_now().map(|()| nothing_asked)
    });
    let mut client = proto::reward_service_client::RewardServiceClient::new(channel);
    let mut outcomes = client.batch_grant_rewards(items).await.unwrap().into_inner();
    crate::wait::until("thousands to be sent", async || (sent.load(Relaxed) >= ITEMS / 2).then_some(())).await;
    let mut answered = HashSet::new();
    while let Some(outcome) = within("an outcome", outcomes.message()).await.unwrap() {
        answered.insert(outcome.item_id);
    }
    assert_eq!(answered.len(), ITEMS);
}
