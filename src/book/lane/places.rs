//! How much one principal may have waiting in a lane, so that whoever sends much fills no more than its share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::ids::PrincipalId;

/// How many single calls may wait in one lane before callers are turned away.
pub(in crate::book) const MAX_CALLS: usize = 4_096;
/// How many of them may be one principal's.
const MAX_CALLS_OF_ONE: usize = MAX_CALLS / 2;
/// How many commands of streams may wait in one lane; the streams wait with the others.
pub(in crate::book) const MAX_STREAMED: usize = 512;
/// How many of them may be one principal's.
const MAX_STREAMED_OF_ONE: usize = MAX_STREAMED / 2;
/// How many principals with streams are told apart. Beyond that, one that has been idle is counted anew.
const STREAMING_PRINCIPALS: usize = 1_024;

/// The places of a lane.
#[derive(Clone)]
pub(in crate::book) struct Places {
    calls: Arc<Mutex<Calls>>,
    streamed: Arc<Cache<PrincipalId, Arc<Semaphore>>>,
}

#[derive(Default)]
pub(in crate::book) struct Calls {
    total: usize,
    by_principal: HashMap<PrincipalId, usize>,
}

/// A command's place, until it is dropped.
pub(in crate::book) enum Place {
    Call {
        calls: Arc<Mutex<Calls>>,
        principal_id: PrincipalId,
    },
    Streamed {
        _permit: OwnedSemaphorePermit,
    },
    /// Of those that nobody waits for.
    Background,
}

impl Places {
    pub(in crate::book) fn new() -> Self {
        Self { calls: Arc::default(), streamed: Arc::new(Cache::new(STREAMING_PRINCIPALS)) }
    }

    /// A place for a single call; none if too many wait, or too many of this principal.
    pub(in crate::book) fn take_for_call(&self, principal_id: PrincipalId) -> Option<Place> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.total >= MAX_CALLS {
            return None;
        }
        let own = calls.by_principal.entry(principal_id).or_insert(0);
        if *own >= MAX_CALLS_OF_ONE {
            return None;
        }
        *own += 1;
        calls.total += 1;
        Some(Place::Call { calls: Arc::clone(&self.calls), principal_id })
    }

    /// Waits for a place for a command of a stream.
    pub(in crate::book) async fn wait_for_streamed(&self, principal_id: PrincipalId) -> Option<Place> {
        let made = || Ok::<_, std::convert::Infallible>(Arc::new(Semaphore::new(MAX_STREAMED_OF_ONE)));
        let Ok(places) = self.streamed.get_or_insert_with(&principal_id, made);
        places.acquire_owned().await.ok().map(|permit| Place::Streamed { _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Self::Call { calls, principal_id } = self else { return };
        let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.total = calls.total.saturating_sub(1);
        if let Some(own) = calls.by_principal.get_mut(principal_id) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                calls.by_principal.remove(principal_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn one_principal_fills_half_of_the_places_and_two_fill_all() {
        let places = Places::new();
        let [one, two, three] = [1, 2, 3].map(|number| PrincipalId(Uuid::from_u128(number)));
        let take = |principal_id| -> Vec<Place> {
            std::iter::from_fn(|| places.take_for_call(principal_id)).take(MAX_CALLS + 1).collect()
        };
        let mut of_one = take(one);
        assert_eq!(of_one.len(), MAX_CALLS / 2);
        let of_two = take(two);
        assert_eq!((of_two.len(), take(three).len()), (MAX_CALLS / 2, 0));
        of_one.pop();
        assert_eq!(take(three).len(), 1);
        drop((of_one, of_two));
        let calls = places.calls.lock().unwrap();
        assert_eq!((calls.total, calls.by_principal.len()), (0, 0));
    }

    #[tokio::test]
    async fn streams_of_one_principal_wait_and_those_of_another_do_not() {
        let places = Places::new();
        let [one, two] = [1, 2].map(|number| PrincipalId(Uuid::from_u128(number)));
        let mut taken = Vec::new();
        for _ in 0..MAX_STREAMED_OF_ONE {
            taken.push(places.wait_for_streamed(one).await.unwrap());
        }
        let mut next = std::pin::pin!(places.wait_for_streamed(one));
        assert!(futures_util::poll!(&mut next).is_pending());
        assert!(places.wait_for_streamed(two).await.is_some());
        taken.pop();
        assert!(next.await.is_some());
    }
}
