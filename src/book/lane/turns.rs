//! What waits, by who sent it. Principals take turns, so none waits behind all that another one has sent. It is pure.

use std::collections::{HashMap, VecDeque};

use crate::ids::PrincipalId;

/// What waits, each with its principal. What one principal sent keeps its order.
pub(super) struct Turns<T> {
    queues: HashMap<PrincipalId, VecDeque<T>>,
    /// Principals of whom something waits; the first one's turn is next.
    order: VecDeque<PrincipalId>,
    length: usize,
}

impl<T> Turns<T> {
    pub(super) fn new() -> Self {
        Self { queues: HashMap::new(), order: VecDeque::new(), length: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.length
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The principals something waits of.
    pub(super) fn principals(&self) -> impl ExactSizeIterator<Item = PrincipalId> {
        self.order.iter().copied()
    }

    /// How many wait of a principal.
    pub(super) fn count_of(&self, principal_id: PrincipalId) -> usize {
        self.queues.get(&principal_id).map_or(0, VecDeque::len)
    }

    /// Whether something waits of somebody else than this principal.
    pub(super) fn has_of_others(&self, principal_id: PrincipalId) -> bool {
        // Each principal stands in the order once.
        self.order.iter().take(2).any(|other| *other != principal_id)
    }

    /// Adds what a principal sent last.
    pub(super) fn push(&mut self, principal_id: PrincipalId, item: T) {
        let queue = self.queues.entry(principal_id).or_default();
        if queue.is_empty() {
            self.order.push_back(principal_id);
        }
        queue.push_back(item);
        self.length += 1;
    }

    /// Puts back what a principal sent before all else that waits of it. Its turn is next.
    pub(super) fn put_back(&mut self, principal_id: PrincipalId, item: T) {
        let queue = self.queues.entry(principal_id).or_default();
        if queue.is_empty() {
            self.order.push_front(principal_id);
        }
        queue.push_front(item);
        self.length += 1;
    }

    /// Takes at most `most`, and at most `share` of each principal: one of each in turn.
    pub(super) fn take(&mut self, most: usize, share: usize) -> Vec<T> {
        let mut taken = Vec::with_capacity(most.min(self.length));
        for _ in 0..share {
            // Everyone who has something is asked once a round.
            for _ in 0..self.order.len() {
                if taken.len() >= most {
                    return taken;
                }
                let Some(principal_id) = self.order.pop_front() else { return taken };
                let Some(queue) = self.queues.get_mut(&principal_id) else { continue };
                if let Some(item) = queue.pop_front() {
                    taken.push(item);
                    self.length -= 1;
                }
                if queue.is_empty() {
                    self.queues.remove(&principal_id);
                } else {
                    self.order.push_back(principal_id);
                }
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn principal(number: u128) -> PrincipalId {
        PrincipalId(Uuid::from_u128(number))
    }

    #[test]
    fn principals_take_turns_and_each_keeps_its_order() {
        let mut turns = Turns::new();
        (0..100).for_each(|number| turns.push(principal(1), (1, number)));
        (0..2).for_each(|number| turns.push(principal(2), (2, number)));
        turns.push(principal(3), (3, 0));
        assert_eq!((turns.len(), turns.principals().len()), (103, 3));
        assert_eq!([1, 2, 3, 4].map(|number| turns.count_of(principal(number))), [100, 2, 1, 0]);
        assert_eq!(turns.take(6, 100), [(1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (1, 2)]);
        assert_eq!(turns.principals().collect::<Vec<_>>(), [principal(1)]);
        // Who comes now is next but one.
        turns.push(principal(4), (4, 0));
        assert_eq!(turns.take(3, 100), [(1, 3), (4, 0), (1, 4)]);
    }

    #[test]
    fn a_share_bounds_each_principal_and_what_is_put_back_comes_first() {
        let mut turns = Turns::new();
        for number in 0..10 {
            turns.push(principal(1), (1, number));
            turns.push(principal(2), (2, number));
        }
        assert_eq!(turns.take(100, 2), [(1, 0), (2, 0), (1, 1), (2, 1)]);
        turns.put_back(principal(2), (2, 1));
        turns.put_back(principal(3), (3, 0));
        assert_eq!(turns.take(4, 2), [(3, 0), (1, 2), (2, 1), (1, 3)]);
        assert_eq!(turns.take(100, 100).len(), 14);
        assert!(turns.is_empty() && turns.take(1, 1).is_empty());
    }
}
