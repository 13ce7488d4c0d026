//! The warning that something stored is a newer version's. While two versions run side by side it may befall many calls,
//! so it is logged from time to time.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The least time between two warnings.
const INTERVAL: Duration = Duration::from_secs(60);

/// When the last warning was, and how many calls it befell since.
struct Warned {
    at: Option<Instant>,
    calls: u64,
}

static WARNED: Mutex<Warned> = Mutex::new(Warned { at: None, calls: 0 });

/// Logs that a call came upon something that this version does not know, and upon what; at most once a minute.
#[expect(clippy::disallowed_methods, reason = "the interval of a warning, which no entry knows")]
pub(crate) fn warn_of_newer(what: &str) {
    let mut warned = WARNED.lock().unwrap_or_else(PoisonError::into_inner);
    warned.calls += 1;
    if warned.at.is_some_and(|at| at.elapsed() < INTERVAL) {
        return;
    }
    let calls = warned.calls;
    *warned = Warned { at: Some(Instant::now()), calls: 0 };
    tracing::warn!(what, calls, "a newer version wrote what this one does not know, or it is damaged");
}
