//! A command in the queue of a lane, with everything that is known of it before it is carried out.

use std::any::TypeId;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::Span;
use uuid::Uuid;

use super::command::{Command, CommandKey, Written};
use super::name::NameUse;
use crate::error::Error;
use crate::telemetry::{self, TraceId};

/// A command in the queue of a lane.
pub(super) struct Job {
    pub(super) command: Box<dyn Command>,
    /// What the command says of itself, asked once.
    pub(super) names: Vec<NameUse>,
    pub(super) states: Vec<TypeId>,
    pub(super) key: CommandKey,
    /// Whether the key is the caller's, or the command's own.
    pub(super) has_key: bool,
    pub(super) command_id: Uuid,
    pub(super) trace_id: TraceId,
    /// The caller's span, to link the batch to.
    pub(super) caller: telemetry::SpanContext,
    /// Open from the call until a batch takes the command.
    pub(super) waiting: Option<Span>,
    pub(super) deadline: Option<Instant>,
    pub(super) postponements: u32,
    pub(super) reply: oneshot::Sender<Result<Written, Error>>,
}

impl Job {
    /// The command as operators see it: what it is, and which.
    pub(super) fn describe(&self) -> String {
        format!("{} {} of program {}", self.command.describe(), self.command_id, self.command.program_id())
    }

    /// Tells the caller the outcome.
    pub(super) fn answer(self, outcome: Result<Written, Error>) {
        // The caller may have gone. Then nobody needs the answer.
        let _ = self.reply.send(outcome);
    }
}
