//! Lookups that come together, answered by one statement.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sqlx::postgres::PgPool;
use tokio::sync::{mpsc, oneshot};
use tracing::{Instrument as _, Span};

use super::error::{FailureKind, StoreError};
use crate::error::Error;
use crate::telemetry::{self, metrics};

/// How long a statement that answers lookups may take before the database counts as away.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// The most lookups that one statement answers.
const MAX_LOOKUPS: usize = 256;
/// How many connections the lookups share.
pub(super) const LOOKUP_CONNECTIONS: u32 = 4;
/// How many lookups may wait.
const QUEUE_LENGTH: usize = 8_192;

/// Answers many lookups at once: finds each key's value, in the order of the keys.
pub type Fetch<K, V> =
    Arc<dyn Fn(PgPool, Arc<[K]>) -> BoxFuture<'static, Result<Vec<Option<V>>, StoreError>> + Send + Sync>;

struct Lookup<K, V> {
    key: K,
    /// The caller's span and its identity, to link to the statement's batch and back.
    span: Span,
    caller: telemetry::SpanContext,
    reply: oneshot::Sender<Result<Option<V>, Error>>,
}

/// Lookups that come together in one statement. A lookup is answered by a statement that began after it was asked, so
/// whoever reads after a write sees it.
#[derive(Clone)]
pub struct BatchReader<K, V> {
    queue: mpsc::Sender<Lookup<K, V>>,
}

impl<K: Clone + Send + Sync + 'static, V: Send + 'static> BatchReader<K, V> {
    /// Starts a task that takes whatever waits: `what` is how metrics name such lookups. One statement runs at a time, so that many lookups share it: twice as
    /// many would each carry half.
    #[must_use]
    pub fn open(what: &'static str, pool: &PgPool, fetch: &Fetch<K, V>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_LENGTH);
        tokio::spawn(answer_lookups(what, pool.clone(), waiting, fetch.clone()));
        Self { queue }
    }

    /// Finds the value of a key.
    ///
    /// # Errors
    /// If too many wait, or the database fails.
    pub async fn find(&self, key: K) -> Result<Option<V>, Error> {
        let (reply, answer) = oneshot::channel();
        let span = Span::current();
        let caller = telemetry::span_context(&span);
        let lookup = Lookup { key, span, caller, reply };
        self.queue.try_send(lookup).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                metrics::count_limit("waiting reads");
                Error::Overloaded
            }
            mpsc::error::TrySendError::Closed(_) => Error::Unavailable,
        })?;
        answer.await.unwrap_or(Err(Error::Unavailable))
    }
}

async fn answer_lookups<K: Clone + Send + Sync + 'static, V: Send + 'static>(
    what: &'static str,
    pool: PgPool,
    mut waiting: mpsc::Receiver<Lookup<K, V>>,
    fetch: Fetch<K, V>,
) {
    loop {
        let mut lookups = Vec::new();
        if waiting.recv_many(&mut lookups, MAX_LOOKUPS).await == 0 {
            return;
        }
        metrics::record_lookups(what, lookups.len());
        let span =
            tracing::info_span!(parent: None, "read.batch", goldbook.read.batch.size = telemetry::count(lookups.len()));
        let mut keys = Vec::with_capacity(lookups.len());
        let mut replies = Vec::with_capacity(lookups.len());
        let batch = telemetry::span_context(&span);
        let is_recorded = telemetry::records(&span, &batch);
        for Lookup { key, span: asking, caller, reply } in lookups {
            if is_recorded {
                telemetry::link(&span, &caller);
            }
            if telemetry::records(&asking, &caller) {
                telemetry::link(&asking, &batch);
            }
            keys.push(key);
            replies.push(reply);
        }
        answer_in_parts(&pool, &fetch, keys, replies).instrument(span).await;
    }
}

/// Answers lookups, in halves where a row cannot be understood: so it fails the lookups of that row alone.
async fn answer_in_parts<K: Clone, V>(
    pool: &PgPool,
    fetch: &Fetch<K, V>,
    keys: Vec<K>,
    replies: Vec<oneshot::Sender<Result<Option<V>, Error>>>,
) {
    let mut parts = vec![(keys, replies)];
    while let Some((mut keys, mut replies)) = parts.pop() {
        match fetch_surely(pool, fetch, &keys.as_slice().into()).await {
            Ok(values) => {
                for (reply, value) in replies.into_iter().zip(values) {
                    let _ = reply.send(Ok(value));
                }
            }
            Err(failure) if failure.is_of_a_row && keys.len() > 1 => {
                let middle = keys.len() / 2;
                parts.push((keys.split_off(middle), replies.split_off(middle)));
                parts.push((keys, replies));
            }
            Err(failure) => {
                telemetry::fail_span(&Span::current(), "read_failed");
                for reply in replies {
                    let _ = reply.send(Err(failure.error.clone()));
                }
            }
        }
    }
}

/// Why lookups are not answered.
struct Unanswered {
    error: Error,
    /// Whether a row could not be understood. Then lookups of other rows may still be answered.
    is_of_a_row: bool,
}

impl From<Error> for Unanswered {
    fn from(error: Error) -> Self {
        Self { error, is_of_a_row: false }
    }
}

/// Asks as often as there may be dead connections in the pool. A statement that hangs or panics ends like one that
/// failed, so that the worker goes on.
async fn fetch_surely<K, V>(pool: &PgPool, fetch: &Fetch<K, V>, keys: &Arc<[K]>) -> Result<Vec<Option<V>>, Unanswered> {
    let mut dead_connections = 0;
    loop {
        let work = AssertUnwindSafe(fetch(pool.clone(), keys.clone())).catch_unwind();
        match tokio::time::timeout(FETCH_TIMEOUT, work).await {
            Ok(Ok(Err(StoreError::Database(error)))) if was_dead(&error) && dead_connections < LOOKUP_CONNECTIONS => {
                dead_connections += 1
            }
            Ok(Ok(outcome)) => {
                return outcome.map_err(|error| {
                    let is_of_a_row = error.is_of_a_row();
                    Unanswered { error: error.into(), is_of_a_row }
                });
            }
            Ok(Err(panic)) => {
                let what = telemetry::message_of(&*panic);
                return Err(Error::Internal(format!("a read panicked: {what}")).into());
            }
            Err(_) => {
                tracing::warn!(keys = keys.len(), "a read did not end within {FETCH_TIMEOUT:?}");
                return Err(Error::Unavailable.into());
            }
        }
    }
}

/// Whether a connection turned out to be dead, and not the whole database.
fn was_dead(error: &sqlx::Error) -> bool {
    FailureKind::of(error) == FailureKind::Away && !matches!(error, sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed)
}

#[cfg(test)]
mod tests {
    use sqlx::postgres::PgConnectOptions;

    use super::*;
    use crate::telemetry::metrics::{Receivers, measure};

    #[tokio::test]
    async fn lookups_for_which_there_is_no_room_are_turned_away_and_counted() {
        let measured = measure("0", None, Receivers { collector: false, scraped: true }).unwrap().unwrap();
        let pool = PgPool::connect_lazy_with(PgConnectOptions::new_without_pgpass());
        let fetch: Fetch<usize, usize> = Arc::new(|_, _| Box::pin(std::future::pending()));
        let reader = BatchReader::open("numbers", &pool, &fetch);
        let mut waiting = Vec::new();
        // Nothing is taken meanwhile, since whoever takes is on this thread.
        for key in 0..QUEUE_LENGTH + 3 {
            let mut lookup = Box::pin(reader.find(key));
            match (&mut lookup).now_or_never() {
                None => waiting.push(lookup),
                Some(outcome) => assert!(matches!(outcome, Err(Error::Overloaded)), "{outcome:?}"),
            }
        }
        assert_eq!(waiting.len(), QUEUE_LENGTH);
        let text = measured.text(false);
        let counted = text
            .lines()
            .find_map(|line| line.strip_prefix("goldbook_limits_hit_total{goldbook_limit=\"waiting reads\"} "));
        assert_eq!(counted, Some("3"), "{text}");
    }
}
