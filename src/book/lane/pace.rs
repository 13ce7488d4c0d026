//! When a lane may begin a batch while others are at work. A batch costs nearly as much as what is in it, so several
//! small ones at a time are more work than one that has grown.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// How many commands a lane gathers before it works beside another one.
pub(super) const GROWN: usize = 16;
/// How long it gathers at most: a batch of another lane that hangs holds nobody up.
pub(super) const LONGEST: Duration = Duration::from_millis(3);

/// How many lanes of a book are at work. Cheap to clone.
#[derive(Clone, Default)]
pub(in crate::book) struct Pace(Arc<Shared>);

#[derive(Default)]
struct Shared {
    at_work: AtomicUsize,
    ended: Notify,
}

impl Pace {
    /// Whether a lane is at work.
    pub(super) fn is_busy(&self) -> bool {
        self.0.at_work.load(Ordering::SeqCst) > 0
    }

    /// Done when a lane has ended its work, from now on.
    pub(super) fn ended(&self) -> Notified<'_> {
        self.0.ended.notified()
    }

    /// Counts a lane until the value is dropped.
    pub(super) fn begin(&self) -> AtWork {
        self.0.at_work.fetch_add(1, Ordering::SeqCst);
        AtWork(self.clone())
    }
}

/// A lane at work.
pub(super) struct AtWork(Pace);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.0.at_work.fetch_sub(1, Ordering::SeqCst);
        self.0.0.ended.notify_waiters();
    }
}
