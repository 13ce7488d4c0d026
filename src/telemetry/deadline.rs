//! How long a caller is willing to wait, read from `grpc-timeout`.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::HeaderMap;
use tokio::time::{Instant, Sleep};

use crate::wire::{GRPC_TIMEOUT, parse_timeout};

/// When the caller of the current request stops waiting, in the request's extensions if the caller set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(pub Instant);

/// Waits for a deadline. The timer proper is made on the first wait, which quick answers never come to.
#[derive(Debug)]
pub(super) struct Timer {
    at: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    pub(super) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        // One that cannot be understood is refused behind this layer.
        let timeout = parse_timeout(headers.get(GRPC_TIMEOUT)?.as_bytes())?;
        // Beyond what the clock can count is as good as never.
        let at = Instant::now().checked_add(timeout)?;
        Some(Self { at, sleep: None })
    }

    pub(super) fn deadline(&self) -> Deadline {
        Deadline(self.at)
    }

    /// Ready once the deadline has passed; without a timer, never.
    pub(super) fn poll(timer: &mut Option<Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(Self { at, sleep }) = timer else { return Poll::Pending };
        if Instant::now() >= *at {
            return Poll::Ready(());
        }
        sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(*at))).as_mut().poll(cx)
    }
}
