//! What one client saw.

use std::time::Instant;

/// The answers to one client. Latencies are kept in a list and counted in a histogram afterwards: a histogram for each client
/// would need too much of the processor's cache, which the service needs too.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) completed: u64,
    /// Of each single call.
    pub(super) micros: Vec<u32>,
    pub(super) errors: Vec<String>,
    /// When there was nothing left to call about, if that was before the end.
    pub(super) ran_out: Option<Instant>,
}
