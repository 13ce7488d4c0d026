//! Which commands of a lane must wait for others, so that none overtakes one with which it shares a name. It is pure.

use std::collections::HashSet;

use super::apart::Found;
use crate::book::job::Job;
use crate::book::name::Name;

/// Why a command must wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The next batch decides it anew, or it must not overtake such a one.
    NextBatch,
    /// It waits apart.
    Apart(Found),
}

impl Why {
    /// What it is called in metrics.
    pub(super) const fn cause(self) -> &'static str {
        match self {
            Self::NextBatch => "batch",
            Self::Apart(Found::Account) => "account",
            Self::Apart(Found::Name) => "name",
            Self::Apart(Found::Other) => "order",
        }
    }
}

/// Commands that must wait, in order.
pub(super) type Left = Vec<(Job, Why)>;

/// Moves commands to `left` that would overtake one there. Returns the others.
pub(super) fn hold_back(jobs: Vec<Job>, left: &mut Left) -> Vec<Job> {
    if left.is_empty() {
        return jobs;
    }
    let names_waiting_for = |left: &Left, is_next: bool| -> HashSet<Name> {
        let jobs = left.iter().filter(|(_, why)| (*why == Why::NextBatch) == is_next);
        jobs.flat_map(|(job, _)| job.own_names()).cloned().collect()
    };
    let (mut next, mut apart) = (names_waiting_for(left, true), names_waiting_for(left, false));
    let mut free = Vec::with_capacity(jobs.len());
    for job in jobs {
        if job.own_names().any(|name| next.contains(name)) {
            next.extend(job.own_names().cloned());
            left.push((job, Why::NextBatch));
        } else if job.own_names().any(|name| apart.contains(name)) {
            apart.extend(job.own_names().cloned());
            left.push((job, Why::Apart(Found::Other)));
        } else {
            free.push(job);
        }
    }
    free
}

/// The command at a place; those that do not follow it; and those that do, as they share a name with it or with another
/// that does.
pub(super) fn take_apart(jobs: Vec<Job>, place: usize) -> (Option<Job>, Vec<Job>, Vec<Job>) {
    let (mut failed, mut others, mut followers) = (None, Vec::new(), Vec::new());
    let mut names: HashSet<Name> = HashSet::new();
    for (own_place, job) in jobs.into_iter().enumerate() {
        if own_place != place && !job.own_names().any(|name| names.contains(name)) {
            others.push(job);
            continue;
        }
        names.extend(job.own_names().cloned());
        if own_place == place { failed = Some(job) } else { followers.push(job) }
    }
    (failed, others, followers)
}
