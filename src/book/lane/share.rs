//! How much of a lane's time a principal has who floods it while others call. It is pure.
//!
//! Principals take turns within a batch. That alone would keep the lane, and with it the machine, busy with whoever sends
//! the most, and all others would wait for what is under way. So a principal who fills its share of a batch alone, beside
//! somebody who sends little, rests after it for three times as long as it took. Whoever is alone, or sends little, never
//! rests.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::waiting::SHARE;
use crate::book::job::{Job, Origin};
use crate::ids::PrincipalId;

/// For how many times as long as its batch took a flooder rests.
const REST: u32 = 3;
/// For how long a principal who called counts as one who calls.
const LATELY: Duration = Duration::from_millis(500);
/// How long a rest is at most.
const MAX_REST: Duration = Duration::from_millis(50);
/// From how many principals on those are forgotten who have not called lately.
const REMEMBERED: usize = 64;

/// Who has called lately.
#[derive(Debug, Default)]
pub(super) struct Lately(HashMap<PrincipalId, Instant>);

impl Lately {
    /// Notes who sent what a batch carries out.
    pub(super) fn note(&mut self, jobs: &[Job], now: Instant) {
        let jobs = jobs.iter().filter(|job| job.origin != Origin::Background);
        self.note_all(jobs.map(|job| job.principal_id), now);
    }

    fn note_all(&mut self, principals: impl Iterator<Item = PrincipalId>, now: Instant) {
        if self.0.len() >= REMEMBERED {
            self.0.retain(|_, called_at| now.duration_since(*called_at) <= LATELY);
        }
        self.0.extend(principals.map(|principal_id| (principal_id, now)));
    }

    /// Who has called lately, in no order.
    pub(super) fn principals(&self, now: Instant) -> impl Iterator<Item = PrincipalId> {
        let lately = self.0.iter().filter(move |(_, called_at)| now.duration_since(**called_at) <= LATELY);
        lately.map(|(principal_id, _)| *principal_id)
    }
}

/// The principal who fills a batch alone, if one does.
pub(super) fn flooder(jobs: &[Job]) -> Option<PrincipalId> {
    find_flooder(jobs.iter().filter(|job| job.origin != Origin::Background).map(|job| job.principal_id))
}

fn find_flooder(mut senders: impl Iterator<Item = PrincipalId>) -> Option<PrincipalId> {
    let first = senders.next()?;
    let mut count = 1;
    for sender in senders {
        if sender != first {
            return None;
        }
        count += 1;
    }
    (count >= SHARE).then_some(first)
}

/// How long a flooder rests after a batch that took so long.
pub(super) fn rest_after(took: Duration) -> Duration {
    took.saturating_mul(REST).min(MAX_REST)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::book::lane::present;

    fn principal(number: u128) -> PrincipalId {
        PrincipalId(Uuid::from_u128(number))
    }

    #[test]
    fn who_fills_a_batch_alone_floods_and_nobody_else_does() {
        let batch = |own: usize, others: usize| {
            let others = std::iter::repeat_n(principal(2), others);
            find_flooder(std::iter::repeat_n(principal(1), own).chain(others))
        };
        assert_eq!(batch(SHARE, 0), Some(principal(1)));
        assert_eq!([batch(SHARE - 1, 0), batch(200, 1), batch(0, 0)], [None; 3]);
    }

    #[test]
    fn somebody_else_counts_for_a_while_and_is_forgotten() {
        let (mut lately, begin) = (Lately::default(), present());
        let count = |lately: &Lately, now| lately.principals(now).count();
        assert_eq!(count(&lately, begin), 0);
        lately.note_all([principal(1)].into_iter(), begin);
        lately.note_all([principal(1), principal(2)].into_iter(), begin + LATELY);
        lately.note_all([principal(3)].into_iter(), begin);
        assert_eq!([begin + LATELY, begin + LATELY * 2].map(|now| count(&lately, now)), [3, 2]);
        assert_eq!(count(&lately, begin + LATELY * 3), 0);
        for number in 0..10_000 {
            let now = begin + LATELY * 2 * u32::try_from(number).unwrap();
            lately.note_all([principal(number)].into_iter(), now);
        }
        assert!(lately.0.len() <= REMEMBERED);
    }
}
