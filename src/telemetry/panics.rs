//! Panics: each is logged with its message, its place and the trace that it happened in.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;

/// Logs every panic of this process from now on, in place of Rust's own lines on standard error. The log line has the
/// trace of the request or batch in whose span the panic happened. `RUST_BACKTRACE=1` adds a backtrace.
pub fn log_panics() {
    std::panic::set_hook(Box::new(log_panic));
}

pub(super) fn log_panic(panic: &PanicHookInfo<'_>) {
    let panicked = message_of(panic.payload());
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or_default();
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!(panicked, location, thread, %backtrace, "a panic, which is a defect");
    } else {
        tracing::error!(panicked, location, thread, "a panic, which is a defect");
    }
}

/// The message of a panic that was caught; empty if it had none that is text.
#[must_use]
pub fn message_of(payload: &(dyn Any + Send)) -> &str {
    match payload.downcast_ref::<&'static str>() {
        Some(text) => text,
        None => payload.downcast_ref::<String>().map_or("", String::as_str),
    }
}
