//! A command in the queue of a lane, with everything that is known of it before it is carried out.

use std::any::TypeId;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::Span;
use uuid::Uuid;

use super::command::{Command, CommandKey, Written};
use super::lane::places::Place;
use super::name::{Name, NameUse};
use crate::error::Error;
use crate::ids::PrincipalId;
use crate::telemetry::metrics::{CommandOrigin, WaitingCommand};
use crate::telemetry::{self, TraceId};

/// Where a command came from, which says who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A single call, whose caller waits.
    Call,
    /// One of a stream, whose caller has sent more already.
    Stream,
    /// Nobody waits for it.
    Background,
}

impl From<Origin> for CommandOrigin {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Call => Self::Call,
            Origin::Stream => Self::Stream,
            Origin::Background => Self::Background,
        }
    }
}

/// How long a command has waited for an account or a name that somebody else holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stay {
    pub(super) since: Instant,
    /// When it is tried again.
    pub(super) next_try: Instant,
    pub(super) tries: u32,
    /// Whether it waits for a name. Then it could hold up its neighbours, and is tried by itself.
    pub(super) is_alone: bool,
}

/// A command in the queue of a lane.
pub(super) struct Job {
    pub(super) origin: Origin,
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
    /// Counts it among those that wait, as long.
    pub(super) counted: Option<WaitingCommand>,
    /// Who called.
    pub(super) principal_id: PrincipalId,
    /// Its place among those that wait, until it is answered.
    pub(super) place: Place,
    pub(super) deadline: Option<Instant>,
    pub(super) postponements: u32,
    /// None until its accounts were held by somebody else.
    pub(super) stay: Option<Stay>,
    pub(super) reply: oneshot::Sender<Result<Written, Error>>,
}

impl Job {
    /// The command as operators see it: what it is, and which.
    pub(super) fn describe(&self) -> String {
        format!("{} {} of program {}", self.command.describe(), self.command_id, self.command.program_id())
    }

    /// Every name that the command says it uses.
    pub(super) fn own_names(&self) -> impl Iterator<Item = &Name> {
        self.names.iter().map(NameUse::name)
    }

    /// Whether its deadline has passed.
    pub(super) fn is_too_late(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Tells the caller the outcome.
    pub(super) fn answer(self, outcome: Result<Written, Error>) {
        // The caller may have gone. Then nobody needs the answer.
        let _ = self.reply.send(outcome);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::book::command::KeyKind;
    use crate::book::command::tests::Idle;
    use crate::book::key::Key;
    use crate::book::name::Name;
    use crate::ids::{CustomerId, ProgramId};

    /// A single call with these names, known by its number.
    pub(in crate::book) fn job(number: u128, names: &[&str]) -> Job {
        let program_id = ProgramId::try_from("shop").unwrap();
        let name = |id: &&str| NameUse::Find(Name::customer(&program_id, &CustomerId::try_from(*id).unwrap()));
        Job {
            origin: Origin::Call,
            names: names.iter().map(name).collect(),
            states: Vec::new(),
            has_key: false,
            key: CommandKey { key: Key::new("test", "", &[]), kind: KeyKind::Idempotency },
            command: Box::new(Idle(program_id.clone())),
            command_id: Uuid::from_u128(number),
            trace_id: TraceId::default(),
            caller: telemetry::SpanContext::NONE,
            waiting: None,
            counted: None,
            principal_id: PrincipalId::NOBODY,
            place: Place::Background,
            deadline: None,
            postponements: 0,
            stay: None,
            reply: oneshot::channel().0,
        }
    }
}
