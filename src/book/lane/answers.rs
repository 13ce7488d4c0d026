//! What callers are told of their commands, and what the log is told beside it.

use super::apart::Found;
use super::failure::BatchFailure;
use super::order::{Left, Why};
use crate::book::job::{Job, Origin};
use crate::book::outcome::CommandOutcome;
use crate::error::{Error, Reason, Refusal, with_causes};
use crate::telemetry::metrics;

/// How often a command may wait for a batch that locks more.
const MAX_POSTPONEMENTS: u32 = 16;
/// Tells callers the outcomes of their commands; returns the commands that must wait.
pub(super) fn answer_all(jobs: Vec<Job>, outcomes: Vec<CommandOutcome>) -> Left {
    let mut left = Left::new();
    for (job, outcome) in jobs.into_iter().zip(outcomes) {
        match outcome {
            CommandOutcome::Written(written) => job.answer(Ok(written)),
            CommandOutcome::Refused(refusal) => job.answer(Err(Error::Refused(refusal))),
            CommandOutcome::Failed(defect) if defect.is_unknown() => job.answer(Err(defect.into())),
            CommandOutcome::Failed(defect) => fail(job, &defect.to_string()),
            CommandOutcome::Postponed => left.extend(postpone(job).map(|job| (job, Why::NextBatch))),
            CommandOutcome::DuesRemain | CommandOutcome::Behind => left.push((job, Why::NextBatch)),
            CommandOutcome::Held => left.push((job, Why::Apart(Found::Account))),
            CommandOutcome::BehindHeld => left.push((job, Why::Apart(Found::Other))),
        }
    }
    left
}

/// Tells the caller of a command to come again.
pub(super) fn come_again(job: Job, failure: &str) {
    let command_id = job.command_id;
    tracing::warn!(failure, %command_id, trace_id = %job.trace_id, "a command is told to come again");
    job.answer(Err(Error::Unavailable));
}

/// Answers a command for which there is no room among those that wait apart; there is none for the background.
pub(super) fn turn_away(job: Job) {
    if job.origin != Origin::Background {
        metrics::count_limit("waiting commands");
    }
    job.answer(Err(Error::Overloaded));
}

/// The refusal of a command that needs more rows than one command may.
pub(super) fn refuse_rows(most: i64) -> Error {
    let message = format!("this would touch more than {most} lots at once; do it in smaller parts");
    Refusal::new(Reason::TooManyLots, message).with("maximum", most).into()
}

/// Fails a command for what befell its batch.
pub(super) fn fail_by(job: Job, failure: &BatchFailure) {
    match failure.unknown() {
        Some(defect) => job.answer(Err(defect.clone().into())),
        None => fail(job, &with_causes(failure)),
    }
}

/// Logs the failure of a command, and tells its caller no more than that there was one.
pub(super) fn fail(job: Job, failure: &str) {
    // Names come from callers and may tell of a person, so only account ids are logged.
    let accounts: Vec<String> = job.command.accounts().iter().map(|account_id| account_id.0.to_string()).collect();
    let accounts = (!accounts.is_empty()).then(|| accounts.join(", "));
    // Outside of any span, since the trace that counts is the caller's, which is told to the caller, too.
    tracing::error!(
        failure,
        command = job.command.describe(),
        command_id = %job.command_id,
        accounts = accounts.as_deref(),
        program_id = %job.command.program_id(),
        trace_id = %job.trace_id,
        "a command failed"
    );
    let told = format!("{}: {failure}", job.describe());
    job.answer(Err(Error::InternalLogged(told)));
}

/// A command that is decided anew, unless it was often enough.
fn postpone(mut job: Job) -> Option<Job> {
    job.postponements += 1;
    if job.postponements <= MAX_POSTPONEMENTS {
        return Some(job);
    }
    let why = "each time it needed more than its batch had locked or read";
    let failure = format!("{} was put off {MAX_POSTPONEMENTS} times: {why}", job.describe());
    fail(job, &failure);
    None
}
