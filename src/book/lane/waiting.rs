//! What waits in a lane, and which of it the next batch takes. It is pure.
//!
//! Single calls come first. A batch with one of them takes few commands of streams beside it, and the batches after it
//! grow slowly. So however many streams there are, a single call waits for one short batch and is in the next.
//!
//! Principals take turns. Beside one who sends little, each has very few in a batch, and batches grow slowly after that. So
//! however much one principal sends, another one's call waits for one short batch and is in the next. Where much waits of
//! everyone, short batches would serve nobody, and they are long.

use std::collections::VecDeque;

use super::places::{MAX_CALLS, MAX_STREAMED};
use super::turns::Turns;
use crate::book::job::Origin;
use crate::ids::PrincipalId;

/// The most commands in one batch.
pub(super) const MAX_BATCH: usize = 256;
/// The most commands of the background in one batch: some with every batch, so that time goes on under any load.
pub(super) const MAX_BACKGROUND: usize = 16;
/// The most commands of streams in a batch that has a single call. Each batch without one takes so many more than the
/// batch before.
const STREAM_STEP: usize = 16;
/// Each batch with calls of one principal alone takes so many more than the batch before.
const CALL_STEP: usize = 32;
/// The most single calls of one principal in a batch, and the most commands of its streams, beside somebody of whom no more
/// wait: the others wait for all of them.
pub(super) const SHARE: usize = 2;

/// What waits in a lane, by where it came from.
pub(super) struct Waiting<T> {
    calls: Turns<T>,
    streamed: Turns<T>,
    background: VecDeque<T>,
    /// The most single calls of one principal in the last batch, as far as there was room.
    call_share: usize,
    /// The most commands of one principal's streams in the last batch, as far as there was room.
    stream_share: usize,
}

impl<T> Waiting<T> {
    pub(super) fn new() -> Self {
        let (calls, streamed, background) = (Turns::new(), Turns::new(), VecDeque::new());
        Self { calls, streamed, background, call_share: 0, stream_share: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.streamed.is_empty() && self.background.is_empty()
    }

    /// How many more of an origin can wait here. All calls and commands of streams can, since it takes all of them to know
    /// whose turn it is; they are bounded by their places.
    pub(super) fn room(&self, origin: Origin) -> usize {
        match origin {
            Origin::Call => MAX_CALLS.saturating_sub(self.calls.len()),
            Origin::Stream => MAX_STREAMED.saturating_sub(self.streamed.len()),
            Origin::Background => MAX_BACKGROUND.saturating_sub(self.background.len()),
        }
    }

    /// Adds what a principal sent last.
    pub(super) fn push(&mut self, origin: Origin, principal_id: PrincipalId, item: T) {
        match origin {
            Origin::Call => self.calls.push(principal_id, item),
            Origin::Stream => self.streamed.push(principal_id, item),
            Origin::Background => self.background.push_back(item),
        }
    }

    /// Puts back what is decided anew, before all others of its origin and principal.
    pub(super) fn put_back(&mut self, origin: Origin, principal_id: PrincipalId, item: T) {
        match origin {
            Origin::Call => self.calls.put_back(principal_id, item),
            Origin::Stream => self.streamed.put_back(principal_id, item),
            Origin::Background => self.background.push_front(item),
        }
    }

    /// Whether anything waits of somebody else than this principal.
    pub(super) fn has_of_others(&self, principal_id: PrincipalId) -> bool {
        self.calls.has_of_others(principal_id) || self.streamed.has_of_others(principal_id)
    }

    /// Whether somebody who sends little is among several: those who have called lately, and those of whom something waits.
    pub(super) fn has_light_caller(&self, lately: impl Iterator<Item = PrincipalId>) -> bool {
        let (mut first, mut are_several, mut is_light) = (None, false, false);
        for principal_id in lately.chain(self.calls.principals()).chain(self.streamed.principals()) {
            are_several |= *first.get_or_insert(principal_id) != principal_id;
            is_light |= self.calls.count_of(principal_id).max(self.streamed.count_of(principal_id)) <= SHARE;
            if are_several && is_light {
                return true;
            }
        }
        false
    }

    /// Takes the next batch, of at most `most`. It does not grow beside somebody who sends little.
    pub(super) fn next_batch(&mut self, most: usize, has_light_caller: bool) -> Vec<T> {
        let background = self.background.len().min(MAX_BACKGROUND);
        (self.call_share, self.stream_share) = match (has_light_caller, self.calls.len()) {
            (true, _) => (SHARE, SHARE),
            (false, 0) => (self.call_share + CALL_STEP, self.stream_share + STREAM_STEP),
            (false, _) => (self.call_share + CALL_STEP, STREAM_STEP),
        };
        self.call_share = self.call_share.min(MAX_BATCH);
        self.stream_share = self.stream_share.min(MAX_BATCH);
        let most_streamed = self.streamed.principals().len().saturating_mul(self.stream_share).min(MAX_BATCH);
        let streamed = self.streamed.len().min(most_streamed).min(most.saturating_sub(background));
        let mut batch = self.calls.take(most.saturating_sub(background + streamed), self.call_share);
        batch.extend(self.streamed.take(streamed, self.stream_share));
        batch.extend(self.background.drain(..background));
        batch
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const ONE: PrincipalId = PrincipalId(Uuid::from_u128(1));

    fn waiting(calls: usize, streamed: usize, background: usize) -> Waiting<Origin> {
        let mut waiting = Waiting::new();
        for (origin, count) in [(Origin::Call, calls), (Origin::Stream, streamed), (Origin::Background, background)] {
            (0..count).for_each(|_| waiting.push(origin, ONE, origin));
        }
        waiting
    }

    fn count(batch: &[Origin]) -> [usize; 3] {
        [Origin::Call, Origin::Stream, Origin::Background].map(|it| batch.iter().filter(|own| **own == it).count())
    }

    #[test]
    fn a_single_call_is_in_the_next_batch_however_many_commands_of_streams_wait() {
        let mut waiting = waiting(0, 100_000, 10_000);
        for _ in 0..100 {
            waiting.next_batch(MAX_BATCH, false);
        }
        waiting.push(Origin::Call, ONE, Origin::Call);
        let batch = waiting.next_batch(MAX_BATCH, false);
        assert_eq!(batch.first(), Some(&Origin::Call));
        assert_eq!(count(&batch), [1, STREAM_STEP, 16]);
    }

    #[test]
    fn batches_are_short_while_single_calls_come_and_grow_when_they_do_not() {
        let mut waiting = waiting(0, 100_000, 0);
        let mut sizes = Vec::new();
        for round in 0..40 {
            if round < 10 {
                waiting.push(Origin::Call, ONE, Origin::Call);
            }
            sizes.push(waiting.next_batch(MAX_BATCH, false).len());
        }
        assert!(sizes[..10].iter().all(|size| *size == 1 + STREAM_STEP), "{sizes:?}");
        // A call that comes every other batch never waits for a long one.
        assert_eq!(sizes[10], 2 * STREAM_STEP);
        assert!(sizes[10..].is_sorted(), "{sizes:?}");
        assert_eq!(sizes[39], MAX_BATCH);
    }

    #[test]
    fn streams_and_time_go_on_under_any_number_of_calls() {
        let mut waiting = waiting(10_000, 1_000, 1_000);
        for _ in 0..MAX_BATCH / CALL_STEP {
            waiting.next_batch(MAX_BATCH, false);
        }
        let batch = waiting.next_batch(MAX_BATCH, false);
        assert_eq!(batch.len(), MAX_BATCH);
        assert_eq!(count(&batch), [MAX_BATCH - STREAM_STEP - MAX_BACKGROUND, STREAM_STEP, MAX_BACKGROUND]);
    }

    #[test]
    fn what_is_put_back_comes_first_and_the_order_of_a_stream_is_kept() {
        let mut waiting = Waiting::new();
        (0..600).for_each(|number| waiting.push(Origin::Stream, ONE, number));
        let mut done = Vec::new();
        while !waiting.is_empty() {
            let mut batch = waiting.next_batch(MAX_BATCH, false);
            // The second half of each batch must wait.
            let left = batch.split_off(batch.len().div_ceil(2));
            done.extend(batch);
            left.into_iter().rev().for_each(|number| waiting.put_back(Origin::Stream, ONE, number));
        }
        assert_eq!(done, (0..600).collect::<Vec<_>>());
    }

    #[test]
    fn no_more_is_received_than_there_are_places() {
        let waiting = waiting(MAX_CALLS, 1, MAX_BACKGROUND + 1);
        assert_eq!(waiting.room(Origin::Call), 0);
        assert_eq!(waiting.room(Origin::Stream), MAX_STREAMED - 1);
        assert_eq!(waiting.room(Origin::Background), 0);
    }

    /// A principal who floods has long batches alone, and short ones as soon as somebody else calls.
    #[test]
    fn a_call_is_in_the_next_batch_however_many_another_principal_sends() {
        let other = PrincipalId(Uuid::from_u128(2));
        let mut waiting = waiting(100_000, 0, 0);
        let mut sizes = Vec::new();
        for round in 0..40 {
            if (10..20).contains(&round) {
                waiting.push(Origin::Call, other, Origin::Stream);
            }
            let has_light_caller = waiting.has_light_caller([ONE].into_iter());
            let batch = waiting.next_batch(MAX_BATCH, has_light_caller);
            assert_eq!(batch.contains(&Origin::Stream), (10..20).contains(&round));
            sizes.push(batch.len());
        }
        assert_eq!(sizes[9], MAX_BATCH);
        assert!(sizes[10..20].iter().all(|size| *size == SHARE + 1), "{sizes:?}");
        assert_eq!((sizes[20], sizes[39]), (SHARE + CALL_STEP, MAX_BATCH));
    }

    #[test]
    fn who_sends_little_is_light_beside_others_and_nobody_is_alone() {
        let mut waiting = Waiting::new();
        let [one, two, three] = [1, 2, 3].map(|number| PrincipalId(Uuid::from_u128(number)));
        assert!(!waiting.has_light_caller([one, one].into_iter()) && waiting.has_light_caller([one, two].into_iter()));
        for principal_id in [one, two] {
            (0..=SHARE).for_each(|_| waiting.push(Origin::Call, principal_id, 0));
        }
        assert!(!waiting.has_light_caller([one, two].into_iter()));
        assert!(waiting.has_light_caller([three].into_iter()));
        waiting.push(Origin::Stream, three, 0);
        assert!(waiting.has_light_caller([].into_iter()));
        (0..SHARE).for_each(|_| waiting.push(Origin::Stream, three, 0));
        assert!(!waiting.has_light_caller([one, two, three].into_iter()));
    }

    /// Beside somebody who sends little, streams of several principals have a few commands each. Without, they grow.
    #[test]
    fn streams_have_their_share_beside_a_light_caller() {
        let mut of_three = Waiting::new();
        for number in 1..=3 {
            (0..100).for_each(|_| of_three.push(Origin::Stream, PrincipalId(Uuid::from_u128(number)), number));
        }
        for (has_light_caller, each) in [(true, SHARE), (false, SHARE + STREAM_STEP)] {
            let batch = of_three.next_batch(MAX_BATCH, has_light_caller);
            assert_eq!([1, 2, 3].map(|it| batch.iter().filter(|own| **own == it).count()), [each; 3]);
        }
        let mut of_one = waiting(0, 1_000, 0);
        assert_eq!(
            [true, true, false].map(|has_light_caller| of_one.next_batch(MAX_BATCH, has_light_caller).len()),
            [SHARE, SHARE, SHARE + STREAM_STEP]
        );
    }
}
