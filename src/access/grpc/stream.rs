//! Bidirectional batches: items come in, outcomes go out as they are ready, and one bad item fails no other.

use futures_util::future::{BoxFuture, ready};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use goldbook_api::server::Received;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};
use tracing::Instrument as _;

use super::admission::{admit_item, caller_of};
use super::caller::{Caller, expired};
use super::methods::Tied;
use crate::book::Writer;
use crate::error::{Error, Fields};
use crate::ids::IdempotencyKey;
use crate::proto::google;
use crate::status::to_rpc_status;
use crate::telemetry;

/// How many items of one stream are under way at a time; beyond that the stream is read no faster than it is written.
const MAX_IN_FLIGHT: usize = 512;

/// A method that answers a stream of items, as a service carries it out for one item.
pub(crate) trait Batch<Item>: Clone + Send + Sync + 'static {
    /// What became of an item that was carried out.
    type Done: Send + 'static;
    /// What the caller is told about an item.
    type Answer: Send + 'static;

    /// The caller's name of an item.
    fn item_id(item: &Item) -> &str;

    /// Parses an item and queues it. Returns the future of what becomes of it, or why it cannot be queued. `fields`
    /// hold what is bad about the item's name.
    fn queue(
        &self,
        item: Item,
        fields: Fields,
        writer: Writer,
    ) -> impl Future<Output = Result<BoxFuture<'static, Result<Self::Done, Error>>, Error>> + Send;

    /// Writes what the caller is told about the item of this name.
    fn answer(item_id: String, outcome: Result<Self::Done, google::Status>) -> Self::Answer;
}

/// Answers every item of a request. Items are queued in the order of the stream. Each is admitted by itself: one that the
/// caller may not send, or that is no message, fails alone.
///
/// # Errors
/// If nobody asked who calls, or the caller cannot be remembered.
pub(crate) async fn answer_each<Service, Item>(
    service: &Service,
    mut request: Request<Streaming<Received<Item>>>,
) -> Result<ReceiverStream<Result<Service::Answer, Status>>, Status>
where
    Service: Batch<Item>,
    Item: Tied + Send + 'static,
{
    let caller = caller_of(&mut request)?;
    let writer = caller.writer().await?;
    let mut input = request.into_inner();
    let service = service.clone();
    let (outcomes, answers) = mpsc::channel(MAX_IN_FLIGHT);
    let work = async move {
        let mut under_way = FuturesUnordered::new();
        let (mut is_open, mut broken) = (true, None);
        let (mut items, mut failed) = (0, 0);
        while is_open || !under_way.is_empty() {
            tokio::select! {
                item = input.message(), if is_open && under_way.len() < MAX_IN_FLIGHT => match item {
                    Ok(Some(item)) => {
                        caller.wait_for_item().await;
                        if !caller.still_counts() {
                            is_open = false;
                            broken = Some(expired().into());
                            continue;
                        }
                        let outcome = begin(&service, item, &caller, writer).await;
                        under_way.push(outcome);
                    }
                    Ok(None) => is_open = false,
                    // Items that came before the stream broke are carried out. Then the caller is told.
                    Err(status) => {
                        is_open = false;
                        broken = Some(status);
                    }
                },
                Some((outcome, is_done)) = under_way.next() => {
                    items += 1;
                    failed += usize::from(!is_done);
                    // A caller that does not listen any more still gets its items written.
                    let _ = outcomes.send(Ok(outcome)).await;
                }
            }
        }
        telemetry::record_items(items, failed);
        if let Some(status) = broken {
            let _ = outcomes.send(Err(status)).await;
        }
    };
    tokio::spawn(work.in_current_span());
    Ok(ReceiverStream::new(answers))
}

/// Queues one item. What is bad about it becomes its own answer, with whether it was carried out.
async fn begin<Service, Item>(
    service: &Service,
    item: Received<Item>,
    caller: &Caller,
    writer: Writer,
) -> BoxFuture<'static, (Service::Answer, bool)>
where
    Service: Batch<Item>,
    Item: Tied,
{
    // What is no message has no name either.
    let item_id = item.peek().map(|item| Service::item_id(item).to_owned()).unwrap_or_default();
    let refuse = |item_id, error| ready((Service::answer(item_id, Err(to_rpc_status(error))), false)).boxed();
    let item = match admit_item(item, caller) {
        Ok((item, _)) => item,
        Err(error) => return refuse(item_id, error),
    };
    let mut fields = Fields::default();
    // The bounds are those of any name that a caller chooses.
    fields.check("item_id", IdempotencyKey::try_from(item_id.as_str()));
    match service.queue(item, fields, writer).await {
        Ok(outcome) => outcome
            .map(|outcome| {
                let is_done = outcome.is_ok();
                (Service::answer(item_id, outcome.map_err(to_rpc_status)), is_done)
            })
            .boxed(),
        Err(error) => refuse(item_id, error),
    }
}
