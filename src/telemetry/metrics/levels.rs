//! How many there are of something now.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// How many calls are under way.
pub(super) static ACTIVE_CALLS: AtomicI64 = AtomicI64::new(0);
/// How many connections of callers are open.
pub(super) static OPEN_CONNECTIONS: AtomicI64 = AtomicI64::new(0);
/// How many commands wait, by their origin.
static WAITING: [AtomicI64; 3] = [const { AtomicI64::new(0) }; 3];

/// One more of something, until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted(&'static AtomicI64);

impl Counted {
    fn new(counter: &'static AtomicI64) -> Self {
        counter.fetch_add(1, Relaxed);
        Self(counter)
    }

    /// A call.
    pub(super) fn call() -> Self {
        Self::new(&ACTIVE_CALLS)
    }

    /// A command that waits.
    pub(super) fn waiting(origin: CommandOrigin) -> Self {
        Self::new(origin.waiting())
    }

    /// A connection of a caller.
    pub(crate) fn connection() -> Self {
        Self::new(&OPEN_CONNECTIONS)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Where a command came from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CommandOrigin {
    /// A single call.
    Call,
    /// A stream.
    Stream,
    /// The service itself.
    Background,
}

impl CommandOrigin {
    pub(super) const ALL: [Self; 3] = [Self::Call, Self::Stream, Self::Background];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Stream => "stream",
            Self::Background => "background",
        }
    }

    pub(super) fn waiting(self) -> &'static AtomicI64 {
        let [call, stream, background] = &WAITING;
        match self {
            Self::Call => call,
            Self::Stream => stream,
            Self::Background => background,
        }
    }
}
