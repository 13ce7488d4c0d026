//! Bidirectional batches: items come in, outcomes go out as they are ready, and one bad item fails no other.

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::Instrument as _;

use crate::error::Fields;
use crate::ids::IdempotencyKey;

/// How many items of one stream are under way at a time; beyond that the stream is read no faster than it is written.
const MAX_IN_FLIGHT: usize = 512;

/// Answers every item of `input`. `begin` queues an item, in stream order, and returns the future of its outcome.
pub fn answer_each<Item, Outcome>(
    mut input: Streaming<Item>,
    begin: impl Fn(Item) -> BoxFuture<'static, BoxFuture<'static, Outcome>> + Send + 'static,
) -> ReceiverStream<Result<Outcome, Status>>
where
    Item: Send + 'static,
    Outcome: Send + 'static,
{
    let (outcomes, answers) = mpsc::channel(MAX_IN_FLIGHT);
    let work = async move {
        let mut under_way = FuturesUnordered::new();
        let (mut is_open, mut broken) = (true, None);
        while is_open || !under_way.is_empty() {
            tokio::select! {
                item = input.message(), if is_open && under_way.len() < MAX_IN_FLIGHT => match item {
                    Ok(Some(item)) => {
                        let outcome = begin(item).await;
                        under_way.push(outcome);
                    }
                    Ok(None) => is_open = false,
                    // What was taken from the stream before it broke is carried out; then the caller is told.
                    Err(status) => {
                        is_open = false;
                        broken = Some(status);
                    }
                },
                Some(outcome) = under_way.next() => {
                    // A caller that does not listen any more still gets its items written.
                    let _ = outcomes.send(Ok(outcome)).await;
                }
            }
        }
        if let Some(status) = broken {
            let _ = outcomes.send(Err(status)).await;
        }
    };
    tokio::spawn(work.in_current_span());
    ReceiverStream::new(answers)
}

/// Parses the caller's name of an item, by which it knows the outcome again.
pub fn check_item_id(fields: &mut Fields, item_id: &str) {
    // The bounds are those of any name that a caller chooses.
    fields.take("item_id", IdempotencyKey::try_from(item_id));
}
