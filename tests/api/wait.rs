//! Waiting for what must happen, but not for ever.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// How long anything that a test waits for may take.
pub(crate) const BOUND: Duration = Duration::from_secs(30);

/// Waits for a future.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(BOUND, future).await.unwrap_or_else(|_| panic!("{what}: not within {BOUND:?}"))
}

/// Takes its time, for whoever must be slow.
pub(crate) async fn pause(time: Duration) {
    sleep(time).await;
}

/// Looks again and again until there is something to see.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + BOUND;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < give_up, "{what}: not within {BOUND:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Looks for a while whether something stays so. A service that does what it must never fails this, however slow it is;
/// one that does not is found if it is not slower than that.
pub(crate) async fn stays(what: &str, mut look: impl AsyncFnMut() -> bool) {
    for _ in 0..20 {
        assert!(look().await, "{what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Awaits the service's answer to a call with a deadline. tonic's client has a timer of its own for the same deadline,
/// and would not wait for the answer: while `deadline` passes, the call is left alone until the timer and the answer
/// both wait for it, and the answer comes first then.
pub(crate) async fn answer_at<T>(deadline: Duration, call: impl Future<Output = T>) -> T {
    let mut call = pin!(call);
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let mut context = Context::from_waker(&waker);
    let begun = Instant::now();
    let give_up = begun + deadline + BOUND;
    let mut seen = None;
    while begun.elapsed() < deadline / 2 {
        let count = wakes.0.load(SeqCst);
        if seen.replace(count) != Some(count)
            && let Poll::Ready(answer) = call.as_mut().poll(&mut context)
        {
            return answer;
        }
        sleep(Duration::from_millis(1)).await;
    }
    let seen = wakes.0.load(SeqCst);
    while wakes.0.load(SeqCst) < seen + 2 {
        assert!(Instant::now() < give_up, "no answer at the deadline");
        sleep(Duration::from_millis(1)).await;
    }
    match call.as_mut().poll(&mut context) {
        Poll::Ready(answer) => answer,
        Poll::Pending => within("the answer at the deadline", call).await,
    }
}

/// Counts how often a task is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}
