//! A client that streams grants, no faster than the service takes them.

use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::unfold;
use goldbook_api::v1::BatchGrantRewardsRequest;
use goldbook_api::v1::batch_grant_rewards_response::Outcome;
use goldbook_api::v1::reward_service_client::RewardServiceClient;
use tokio::sync::Semaphore;
use tokio_stream::StreamExt as _;
use tonic::Status;

use super::super::client::Calls;
use super::super::refusal::Refusal;
use super::ground::Ground;
use super::log::Log;

/// How many items of a stream wait for their outcomes at most. The service takes no more than it can hold either; this
/// bounds how long a stream goes on after its end.
const MOST_UNDER_WAY: usize = 2_000;

/// Streams until `end`, and counts the outcomes from `begin` on. What is under way at the end is answered, and not
/// counted.
pub(super) async fn stream_until(channel: Calls, ground: Ground, begin: Instant, end: Instant) -> Log {
    let mut log = Log::default();
    if let Err(status) = stream(&mut log, channel, ground, begin, end).await {
        log.errors.push(Refusal::from_status(&status).summary());
    }
    log
}

async fn stream(log: &mut Log, channel: Calls, ground: Ground, begin: Instant, end: Instant) -> Result<(), Status> {
    let room = Arc::new(Semaphore::new(MOST_UNDER_WAY));
    let items = unfold((room.clone(), ground), move |(room, ground): (Arc<Semaphore>, Ground)| async move {
        // It is given back with the outcome. It cannot fail, since nobody closes it.
        room.acquire().await.ok()?.forget();
        let item = BatchGrantRewardsRequest { item_id: "1".to_owned(), grant: Some(ground.grant()) };
        (Instant::now() < end).then_some((item, (room, ground)))
    });
    let mut client = RewardServiceClient::new(channel);
    let mut outcomes = client.batch_grant_rewards(items).await?.into_inner();
    while let Some(answer) = outcomes.next().await {
        let outcome = answer?.outcome;
        room.add_permits(1);
        let answered = Instant::now();
        if answered < begin || answered >= end {
            continue;
        }
        match outcome {
            Some(Outcome::Error(status)) => log.errors.push(Refusal::from_item(&status).summary()),
            Some(_) => log.completed += 1,
            None => {}
        }
    }
    Ok(())
}
