//! What waits in a lane, while the batch before it does not end.

use std::collections::BTreeSet;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::poll;
use goldbook::book::{Book, Capabilities, Writer};
use goldbook::clock::Clock;
use goldbook::ids::PrincipalId;
use goldbook::proto;
use goldbook::proto::batch_grant_rewards_response::Outcome;
use tokio::task::JoinHandle;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use super::panics::Empty;
use super::{count, sabotage, start_behind_proxy};
use crate::collector::{attribute, find_server_span, find_spans, links_to, traced};
use crate::harness::{Database, SHOP, START, Service, create_customer, grant_reward, reason};
use crate::proxy::Proxy;
use crate::wait::{answer_at, until, within};

type Granting = JoinHandle<Result<proto::GrantRewardResponse, Status>>;

/// Calls `GrantReward` beside the test.
fn begin_grant(service: &Service, customer_id: &str, key: &str) -> Granting {
    let mut rewards = service.rewards();
    let request = grant_reward(customer_id, 1, key);
    tokio::spawn(async move { Ok(rewards.grant_reward(request).await?.into_inner()) })
}

async fn assert_granted(granting: Granting) {
    let granted = within("the grant", granting).await.unwrap().unwrap();
    assert!(!granted.replayed);
}

#[tokio::test]
async fn grant_reward_whose_deadline_passed_before_its_batch_began_is_not_carried_out() {
    let (service, proxy) = start_behind_proxy().await;
    service.enrol("anna").await;
    proxy.hold_commits();
    let before = begin_grant(&service, "anna", "before");
    proxy.holds(1).await;

    let deadline = Duration::from_millis(600);
    let mut request = Request::new(grant_reward("anna", 1, "hurried"));
    request.set_timeout(deadline);
    let mut rewards = service.rewards();
    let status = answer_at(deadline, rewards.grant_reward(request)).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");

    let after = begin_grant(&service, "anna", "after");
    proxy.release_commits();
    assert_granted(before).await;
    // What was queued behind the hurried call is done, so the hurried call would be too.
    assert_granted(after).await;
    assert_eq!(service.available("anna").await, 2);
    let key_is_unused = service.grant("anna", 5, "hurried").await.unwrap();
    assert!(!key_is_unused.replayed);
}

#[tokio::test]
async fn grant_reward_is_carried_out_even_if_its_caller_goes_away() {
    let (service, proxy) = start_behind_proxy().await;
    service.enrol("anna").await;
    proxy.hold_commits();
    // One is in the batch that is being written, the other waits for the next.
    let mut rewards = service.rewards();
    let (in_batch, request) = traced(grant_reward("anna", 1, "in-batch"));
    let first = tokio::spawn(async move { rewards.grant_reward(request).await });
    proxy.holds(1).await;
    let mut rewards = service.rewards();
    let (waiting, request) = traced(grant_reward("anna", 1, "waiting"));
    let second = tokio::spawn(async move { rewards.grant_reward(request).await });
    // A third tells when the second is in the queue: it comes on the same connection.
    assert_eq!(service.available("anna").await, 0);
    first.abort();
    second.abort();
    for trace in [in_batch, waiting] {
        let span = find_server_span(trace).await;
        assert_eq!(attribute(&span, "rpc.response.status_code").as_deref(), Some("CANCELLED"));
    }
    proxy.release_commits();
    until("both grants", async || (service.available("anna").await == 2).then_some(())).await;
    for key in ["in-batch", "waiting"] {
        assert!(service.grant("anna", 1, key).await.unwrap().replayed, "{key}");
    }
}

#[tokio::test]
async fn a_full_lane_refuses_calls_and_slows_streams_and_neither_fills_the_others_place() {
    // As many as one principal may have waiting, the one under way included.
    const CALLS: usize = 2_047;
    const STREAMED: usize = 2_000;
    let database = Database::create().await;
    let proxy = Proxy::before(&database);
    let clock = Clock::fixed(START.parse().unwrap());
    let (book, lanes) = Book::open(&proxy.options(), 1, &Capabilities::new(Vec::new()), &clock);
    // The lane is held by a batch of one, so that nothing else leaves its queues.
    proxy.hold_commits();
    let first = tokio::spawn({
        let book = book.clone();
        async move { book.submit(Empty::new(false), Writer::NOBODY).await }
    });
    proxy.holds(1).await;
    let streamed: Vec<_> = (0..STREAMED)
        .map(|_| {
            let book = book.clone();
            tokio::spawn(async move {
                book.enqueue(Empty::new(false), Writer::NOBODY, |written| written).await.unwrap().await
            })
        })
        .collect();
    tokio::task::yield_now().await;
    let mut waiting = Vec::new();
    for number in 0..CALLS + 100 {
        let mut call = Box::pin(book.submit(Empty::new(false), Writer::NOBODY));
        match poll!(&mut call) {
            Poll::Pending => waiting.push(call),
            Poll::Ready(outcome) => {
                assert!(number >= CALLS, "call {number} is refused");
                let status = Status::from(outcome.unwrap_err());
                assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
                let retry = status.get_details_retry_info().expect("RetryInfo").retry_delay.expect("a delay");
                assert!(retry > Duration::ZERO);
            }
        }
    }
    assert_eq!(waiting.len(), CALLS);
    // Another principal still has places, of calls and of streams.
    let other = Writer { principal_id: PrincipalId(uuid::Uuid::from_u128(7)), deadline: None };
    let mut call = Box::pin(book.submit(Empty::new(false), other));
    assert!(poll!(&mut call).is_pending());
    waiting.push(call);
    let item = within("a place", book.enqueue(Empty::new(false), other, |written| written)).await.unwrap();
    assert!(!streamed.iter().any(JoinHandle::is_finished));
    proxy.release_commits();
    within("the first call", first).await.unwrap().unwrap();
    for outcome in within("the calls", join_all(waiting)).await {
        outcome.unwrap();
    }
    for item in streamed {
        within("an item", item).await.unwrap().unwrap();
    }
    within("the other's item", item).await.unwrap();
    drop(book);
    lanes.close().await;
}

#[tokio::test]
async fn a_single_call_comes_before_all_that_streams_have_sent() {
    const ITEMS: usize = 512;
    const STREAMS: usize = 24;
    let (service, proxy) = start_behind_proxy().await;
    service.enrol("anna").await;
    proxy.hold_commits();
    let first = begin_grant(&service, "anna", "first");
    proxy.holds(1).await;
    let mut streams = Vec::new();
    for stream in 0..STREAMS {
        let items: Vec<_> = (0..ITEMS)
            .map(|number| proto::BatchGrantRewardsRequest {
                item_id: number.to_string(),
                grant: Some(grant_reward("anna", 1, &format!("gift-{stream}-{number}"))),
            })
            .collect();
        let outcomes = service.rewards().batch_grant_rewards(tokio_stream::iter(items)).await.unwrap();
        streams.push(outcomes.into_inner());
    }
    let mut calls: Vec<_> = (0..20).map(|number| begin_grant(&service, "anna", &format!("call-{number}"))).collect();
    // Reads do not wait in lanes. This one comes on the same connection after all of that.
    assert_eq!(service.available("anna").await, 0);
    proxy.release_commits();
    assert_granted(first).await;
    for call in calls.drain(..) {
        assert_granted(call).await;
    }
    for mut outcomes in streams {
        let mut granted = BTreeSet::new();
        while let Some(item) = within("an outcome", outcomes.message()).await.unwrap() {
            assert!(matches!(item.outcome, Some(Outcome::Granted(_))), "{item:?}");
            granted.insert(item.item_id);
        }
        assert_eq!(granted.len(), ITEMS);
    }
    assert_eq!(service.available("anna").await, i64::try_from(1 + 20 + STREAMS * ITEMS).unwrap());
    // Few commands of streams came before the calls: none in their batch.
    let entries = service.entries("anna").await;
    let mut places = Vec::new();
    for number in 0..20 {
        let replay = service.grant("anna", 1, &format!("call-{number}")).await.unwrap();
        assert!(replay.replayed);
        let reward_id = replay.reward.unwrap().reward_id;
        places.push(entries.iter().position(|entry| entry.entry_id == reward_id).unwrap());
    }
    assert!(places.iter().all(|place| *place < 256), "{places:?} of {}", entries.len());
}

#[tokio::test]
async fn a_statement_that_fails_for_one_customer_fails_no_neighbour_in_the_batch() {
    let (service, proxy) = start_behind_proxy().await;
    let neighbours: Vec<String> = (0..20).map(|number| format!("neighbour-{number}")).collect();
    for neighbour in &neighbours {
        service.enrol(neighbour).await;
    }
    service.enrol("cursed").await;
    let request = proto::GetCustomerRequest { program_id: SHOP.to_owned(), customer_id: "cursed".to_owned() };
    let cursed = service.customers().get_customer(request).await.unwrap().into_inner().account_id;
    sabotage(
        &service.database,
        &format!("ALTER TABLE accounts ADD CONSTRAINT curse CHECK (account_id <> '{cursed}' OR available = 0)"),
    )
    .await;

    // Both lanes are held, so that those who wait meet in the next batch of theirs. Whether all wait by then, nobody can
    // tell from outside: so it is tried until some did.
    for round in 1.. {
        assert!(round <= 20, "the failing command never had a neighbour");
        proxy.hold_commits();
        let key = |kind: &str| format!("{kind}-{round}");
        let mut granting: Vec<_> =
            neighbours.iter().map(|neighbour| begin_grant(&service, neighbour, &key("held"))).collect();
        proxy.holds(2).await;
        let mut calls = Vec::new();
        let mut traces = Vec::new();
        for (place, neighbour) in neighbours.iter().enumerate() {
            if place == neighbours.len() / 2 {
                let (trace, request) = traced(grant_reward("cursed", 1, "gift"));
                let mut rewards = service.rewards();
                calls.push((trace, tokio::spawn(async move { rewards.grant_reward(request).await })));
            }
            let (trace, request) = traced(grant_reward(neighbour, 1, &key("gift")));
            let mut rewards = service.rewards();
            traces.push(trace);
            granting.push(tokio::spawn(async move { Ok(rewards.grant_reward(request).await?.into_inner()) }));
        }
        // A read on the same connection comes after them.
        assert_eq!(service.available("cursed").await, 0);
        proxy.release_commits();

        for grant in granting {
            assert_granted(grant).await;
        }
        for neighbour in &neighbours {
            assert_eq!(service.available(neighbour).await, 2 * round);
        }
        let (trace, call) = calls.pop().unwrap();
        let status = within("the refusal", call).await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(status.message(), format!("internal error, trace {trace}"));
        assert!(status.details().is_empty());
        assert_eq!(service.available("cursed").await, 0);

        // All of them have ended, and so have their spans and those of their batches.
        let server = |trace: goldbook::telemetry::TraceId| find_server_span(trace);
        let cursed = server(trace).await;
        let mut others = Vec::new();
        for trace in traces {
            others.push(server(trace).await);
        }
        let were_neighbours = find_spans("the batches", |spans| {
            let batches = || spans.iter().filter(|span| span.name == "book.batch");
            batches().find(|batch| links_to(batch, &cursed))?;
            Some(
                batches()
                    .any(|batch| links_to(batch, &cursed) && others.iter().any(|neighbour| links_to(batch, neighbour))),
            )
        })
        .await;
        if were_neighbours {
            break;
        }
    }

    // The key of the failed call is as unused as its customer.
    sabotage(&service.database, "ALTER TABLE accounts DROP CONSTRAINT curse").await;
    assert!(!service.grant("cursed", 1, "gift").await.unwrap().replayed);
}

#[tokio::test]
async fn a_refused_command_fails_no_neighbour_in_the_batch() {
    let (service, proxy) = start_behind_proxy().await;
    service.enrol("anna").await;
    proxy.hold_commits();
    let held = begin_grant(&service, "anna", "held");
    proxy.holds(1).await;
    let first = begin_grant(&service, "anna", "first");
    let stranger = begin_grant(&service, "nobody", "gift");
    let mut customers = service.customers();
    let again = tokio::spawn(async move { customers.create_customer(create_customer("anna", "other")).await });
    let second = begin_grant(&service, "anna", "second");
    assert_eq!(service.available("anna").await, 0);
    proxy.release_commits();
    assert_granted(held).await;
    assert_granted(first).await;
    assert_granted(second).await;
    let refused = within("the refusal", stranger).await.unwrap().unwrap_err();
    assert_eq!(reason(&refused), "CUSTOMER_NOT_FOUND");
    let refused = within("the refusal", again).await.unwrap().unwrap_err();
    assert_eq!(reason(&refused), "CUSTOMER_ALREADY_EXISTS");
    assert_eq!(service.available("anna").await, 3);
    assert_eq!(count(&service.database, "names WHERE name = 'nobody'").await, 0);
}
