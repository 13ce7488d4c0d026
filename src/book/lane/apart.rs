//! The commands of a lane that wait for an account or a name which somebody else holds: apart, so that all others go on.
//!
//! Nothing waits in the database for them. They are tried again with the lane's batches, ever more rarely, and in the
//! order in which they came wherever they share a name. It is pure: the caller says what time it is.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::book::job::{Job, Origin, Stay};
use crate::book::name::Name;

/// How long a command waits for what somebody else holds, before its caller is told to come again.
pub(super) const MAX_STAY: Duration = Duration::from_secs(5);
/// The most commands of single calls that wait apart in a lane, and the most of streams.
const MAX_APART: usize = 1_024;
/// The most of them in one batch.
const MAX_TRIED: usize = 64;
/// The pause before the second try. It doubles with each, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(128);

/// The commands that wait apart, in order.
#[derive(Default)]
pub(super) struct Apart(VecDeque<Job>);

/// What a command found that must wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// One of its accounts was held.
    Account,
    /// One of its names was.
    Name,
    /// It was not tried, since it may not overtake another.
    Other,
}

impl Apart {
    /// When there is something to do again.
    pub(super) fn next_at(&self) -> Option<Instant> {
        let mut before: HashSet<&Name> = HashSet::new();
        let mut next = None;
        for job in &self.0 {
            // One that follows another is not tried before it.
            let is_first = !job.own_names().any(|name| before.contains(name));
            before.extend(job.own_names());
            let tried = job.stay.filter(|_| is_first).map(|stay| stay.next_try);
            let ended = job.stay.map(|stay| stay.since + MAX_STAY);
            next = [next, tried, ended, job.deadline].into_iter().flatten().min();
        }
        next
    }

    /// Takes those that have waited long enough, or whose deadline has passed.
    pub(super) fn give_up(&mut self, now: Instant) -> Vec<Job> {
        let is_over = |job: &Job| job.is_too_late(now) || job.stay.is_some_and(|stay| stay.since + MAX_STAY <= now);
        if !self.0.iter().any(is_over) {
            return Vec::new();
        }
        let (over, left): (Vec<Job>, Vec<Job>) = self.0.drain(..).partition(is_over);
        self.0 = left.into();
        over
    }

    /// Takes those that are tried with the next batch: none before one that came earlier and shares a name.
    pub(super) fn take(&mut self, now: Instant) -> Vec<Job> {
        self.take_some(now, false, MAX_TRIED)
    }

    /// Takes one that is tried by itself.
    pub(super) fn take_alone(&mut self, now: Instant) -> Option<Job> {
        self.take_some(now, true, 1).pop()
    }

    fn take_some(&mut self, now: Instant, alone: bool, most: usize) -> Vec<Job> {
        let (mut taken, mut left) = (Vec::new(), VecDeque::with_capacity(self.0.len()));
        let mut waiting: HashSet<Name> = HashSet::new();
        for job in self.0.drain(..) {
            let is_ready = job.stay.is_some_and(|stay| stay.next_try <= now && stay.is_alone == alone);
            if taken.len() < most && is_ready && !job.own_names().any(|name| waiting.contains(name)) {
                taken.push(job);
            } else {
                waiting.extend(job.own_names().cloned());
                left.push_back(job);
            }
        }
        self.0 = left;
        taken
    }

    /// Keeps of new commands those that may not overtake one of these. Returns the others; and those for which there is
    /// no room.
    pub(super) fn keep_order(&mut self, jobs: Vec<Job>, now: Instant) -> (Vec<Job>, Vec<Job>) {
        let (mut free, mut crowded) = (Vec::with_capacity(jobs.len()), Vec::new());
        if self.0.is_empty() {
            return (jobs, crowded);
        }
        let mut waiting: HashSet<Name> = self.0.iter().flat_map(Job::own_names).cloned().collect();
        for job in jobs {
            if job.own_names().any(|name| waiting.contains(name)) {
                waiting.extend(job.own_names().cloned());
                crowded.extend(self.keep(job, Found::Other, now, 1.0));
            } else {
                free.push(job);
            }
        }
        (free, crowded)
    }

    /// Keeps a command that must wait: behind all others, or before them if it was apart already. Returns it if there is
    /// no room. `chance` between one half and one keeps those who wait for the same from meeting again and again.
    pub(super) fn keep(&mut self, mut job: Job, found: Found, now: Instant, chance: f64) -> Option<Job> {
        let is_new = job.stay.is_none();
        let mut stay = job.stay.unwrap_or(Stay { since: now, next_try: now, tries: 0, is_alone: false });
        if found != Found::Other {
            let pause = FIRST_PAUSE * 2_u32.saturating_pow(stay.tries.min(10));
            stay.tries = stay.tries.saturating_add(1);
            stay.next_try = now + pause.min(LONGEST_PAUSE).mul_f64(chance);
            stay.is_alone = found == Found::Name;
        }
        job.stay = Some(stay);
        if !is_new {
            self.0.push_front(job);
            return None;
        }
        let origin = job.origin;
        let is_full = || self.0.iter().filter(|own| own.origin == origin).count() >= MAX_APART;
        if origin == Origin::Background || self.0.len() >= MAX_APART && is_full() {
            return Some(job);
        }
        self.0.push_back(job);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::job::tests::job;

    fn numbers(jobs: &[Job]) -> Vec<u128> {
        jobs.iter().map(|job| job.command_id.as_u128()).collect()
    }

    #[expect(clippy::disallowed_methods, reason = "an instant to begin at")]
    fn start() -> Instant {
        Instant::now()
    }

    fn after(begin: Instant, millis: u64) -> Instant {
        begin + Duration::from_millis(millis)
    }

    /// Keeps new commands that were tried and found an account held.
    fn keep_all(apart: &mut Apart, jobs: Vec<Job>, now: Instant) {
        for job in jobs {
            assert!(apart.keep(job, Found::Account, now, 1.0).is_none());
        }
    }

    #[test]
    fn a_command_never_overtakes_one_that_waits_and_shares_a_name() {
        let (mut apart, now) = (Apart::default(), start());
        keep_all(&mut apart, vec![job(1, &["a"])], now);
        let fresh = vec![job(2, &["b"]), job(3, &["c", "a"]), job(4, &["c"]), job(5, &["d"])];
        let (free, crowded) = apart.keep_order(fresh, now);
        // The fourth follows the third, which follows the first.
        assert_eq!((numbers(&free), numbers(&crowded)), (vec![2, 5], vec![]));
        // Only once the first is tried may the others be, and in order.
        assert!(apart.take(now).is_empty());
        assert_eq!(numbers(&apart.take(after(now, 2))), [1, 3, 4]);
    }

    #[test]
    fn what_is_held_again_is_put_back_before_what_came_later() {
        let (mut apart, now) = (Apart::default(), start());
        keep_all(&mut apart, vec![job(1, &["a"]), job(2, &["a"])], now);
        let later = after(now, 10);
        let tried = apart.take(later);
        let (free, _) = apart.keep_order(vec![job(3, &["a"])], later);
        // Nobody waits apart any more, so the third is in the batch of the two.
        assert_eq!((numbers(&tried), numbers(&free)), (vec![1, 2], vec![3]));
        for job in tried.into_iter().rev() {
            apart.keep(job, Found::Account, later, 1.0);
        }
        keep_all(&mut apart, free, later);
        assert_eq!(numbers(&apart.take(after(now, 1_000))), [1, 2, 3]);
    }

    #[test]
    fn a_command_is_tried_ever_more_rarely_until_it_has_waited_long_enough() {
        let (mut apart, begin) = (Apart::default(), start());
        keep_all(&mut apart, vec![job(1, &["a"])], begin);
        let (mut now, mut pauses) = (begin, Vec::new());
        loop {
            let next = apart.next_at().unwrap();
            pauses.push(next.duration_since(now).as_millis());
            now = next;
            if let Some(job) = apart.give_up(now).pop() {
                assert_eq!((job.command_id.as_u128(), now.duration_since(begin)), (1, MAX_STAY));
                break;
            }
            let tried = apart.take(now).pop().unwrap();
            apart.keep(tried, Found::Account, now, 1.0);
        }
        assert_eq!(pauses[..8], [2, 4, 8, 16, 32, 64, 128, 128]);
        assert!(pauses.len() < 60, "{pauses:?}");
        assert_eq!(apart.next_at(), None);
    }

    #[test]
    fn what_waits_for_a_name_is_tried_by_itself() {
        let (mut apart, now) = (Apart::default(), start());
        apart.keep(job(1, &["a"]), Found::Name, now, 1.0);
        apart.keep(job(2, &["b"]), Found::Account, now, 1.0);
        let later = after(now, 10);
        assert_eq!(numbers(&apart.take(later)), [2]);
        assert_eq!(numbers(&Vec::from_iter(apart.take_alone(later))), [1]);
    }

    #[test]
    fn those_that_wait_apart_have_a_bound_and_follow_one_without_being_looked_at() {
        let (mut apart, now) = (Apart::default(), start());
        keep_all(&mut apart, vec![job(0, &["a"])], now);
        let fresh = (1..=2_000).map(|number| job(number, &["a"])).collect();
        let (free, crowded) = apart.keep_order(fresh, now);
        assert_eq!((free.len(), crowded.len()), (0, 2_000 - (MAX_APART - 1)));
        // The only thing to wake up for is the first of them.
        assert_eq!(apart.next_at(), Some(after(now, 2)));
        assert_eq!(apart.take(after(now, 2)).len(), MAX_TRIED);
    }

    #[test]
    fn a_command_whose_deadline_passes_is_given_up() {
        let (mut apart, now) = (Apart::default(), start());
        let hurried = Job { deadline: Some(after(now, 1)), ..job(1, &["a"]) };
        keep_all(&mut apart, vec![hurried, job(2, &["a"])], now);
        assert_eq!(apart.next_at(), Some(after(now, 1)));
        assert_eq!(numbers(&apart.give_up(after(now, 1))), [1]);
    }
}
