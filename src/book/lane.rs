//! A lane: one task that owns one connection, takes whatever is waiting, and carries it out as one batch.

mod failure;

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

use self::failure::BatchFailure;
use super::batch;
use super::capability::Capabilities;
use super::job::Job;
use super::outcome::CommandOutcome;
use crate::clock::Clock;
use crate::database::{FailureKind, StoreError};
use crate::error::{Error, with_causes};
use crate::telemetry;

/// The most commands in one batch.
const MAX_BATCH: usize = 256;
/// The most commands of the background in one batch.
const MAX_BACKGROUND: usize = 16;
/// How often a batch is tried again after a deadlock or a serialization failure.
const MAX_CONFLICTS: u32 = 8;
/// How often a batch is tried on a new connection before its callers are told that the database is away.
const MAX_RECONNECTS: u32 = 3;
/// How often a command may wait for a batch that locks more.
const MAX_POSTPONEMENTS: u32 = 16;
/// How long a batch may take before its connection counts as lost.
const BATCH_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a new connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// One lane's own things.
pub(super) struct Lane {
    pub(super) queue: mpsc::Receiver<Job>,
    /// What may wait until nobody else does.
    pub(super) background: mpsc::Receiver<Job>,
    pub(super) database: PgConnectOptions,
    pub(super) capabilities: Capabilities,
    pub(super) clock: Clock,
    pub(super) connection: Option<PgConnection>,
    /// Turns true when the book is closed.
    pub(super) closing: watch::Receiver<bool>,
}

impl Lane {
    /// Works until the queue is closed and empty.
    pub(super) async fn run(mut self) {
        let mut waiting: VecDeque<Job> = VecDeque::new();
        loop {
            if waiting.is_empty() {
                let Some(job) = self.next_job().await else { break };
                waiting.push_back(job);
            }
            self.receive_what_waits(&mut waiting);
            let jobs = drain_timely(&mut waiting);
            if !jobs.is_empty() {
                waiting = self.carry_out(jobs).await.into();
            }
        }
        if let Some(connection) = self.connection.take() {
            // Nothing is written any more: an error while closing changes nothing.
            let _ = connection.close().await;
        }
    }

    /// The next command, however long it takes. None once the queue is closed and empty.
    async fn next_job(&mut self) -> Option<Job> {
        tokio::select! {
            biased;
            job = self.queue.recv() => job,
            // Nothing more is taken in; what waits is still carried out.
            () = told_to_close(&mut self.closing) => {
                self.queue.close();
                self.queue.recv().await
            }
            Some(job) = self.background.recv() => Some(job),
        }
    }

    /// Takes the commands that wait already, as many as a batch may have.
    fn receive_what_waits(&mut self, waiting: &mut VecDeque<Job>) {
        while waiting.len() < MAX_BATCH
            && let Ok(job) = self.queue.try_recv()
        {
            waiting.push_back(job);
        }
        // Some with every batch, so that time goes on under any load.
        let most = (waiting.len() + MAX_BACKGROUND).min(MAX_BATCH);
        while waiting.len() < most
            && let Ok(job) = self.background.try_recv()
        {
            waiting.push_back(job);
        }
    }

    /// Carries out a batch, in halves where it fails for a reason that names no command; returns what must wait.
    async fn carry_out(&mut self, jobs: Vec<Job>) -> Vec<Job> {
        let mut waiting = Vec::new();
        // The part to carry out next stands last.
        let mut parts = vec![jobs];
        while let Some(mut jobs) = parts.pop() {
            let span = batch_span(&mut jobs);
            match self.attempt(&jobs).instrument(span.clone()).await {
                Ok(outcomes) => waiting.extend(answer_all(jobs, outcomes)),
                Err(failure) if failure.is_away() => {
                    span.in_scope(|| log_away(&failure));
                    for job in jobs {
                        job.answer(Err(Error::Unavailable));
                    }
                }
                Err(failure) if jobs.len() > 1 => {
                    span.in_scope(|| log_split(&failure, jobs.len()));
                    let second = jobs.split_off(jobs.len() / 2);
                    parts.push(second);
                    parts.push(jobs);
                }
                Err(failure) => {
                    for job in jobs {
                        give_up(job, &failure);
                    }
                }
            }
            if !waiting.is_empty() {
                // What waits must not be overtaken by what came after it.
                waiting.extend(parts.drain(..).rev().flatten());
            }
        }
        waiting
    }

    /// Tries a batch until it is committed, or fails for good. A commit whose acknowledgement was lost is found again
    /// by the commands' keys.
    async fn attempt(&mut self, jobs: &[Job]) -> Result<Vec<CommandOutcome>, BatchFailure> {
        let (mut conflicts, mut reconnects) = (0, 0);
        loop {
            let failure = match self.attempt_once(jobs).await {
                Ok(outcomes) => return Ok(outcomes),
                Err(failure) => failure,
            };
            match failure.kind() {
                FailureKind::Conflict if conflicts < MAX_CONFLICTS => {
                    conflicts += 1;
                    pause(Duration::from_millis(1) * 2_u32.pow(conflicts)).await;
                }
                FailureKind::Away if reconnects < MAX_RECONNECTS => {
                    let told = with_causes(&failure);
                    tracing::warn!(failure = told, size = jobs.len(), "a batch is tried again on a new connection");
                    reconnects += 1;
                    pause(Duration::from_millis(20) * 4_u32.pow(reconnects)).await;
                }
                FailureKind::Conflict | FailureKind::Away | FailureKind::Busy | FailureKind::Other => {
                    return Err(failure);
                }
            }
        }
    }

    async fn attempt_once(&mut self, jobs: &[Job]) -> Result<Vec<CommandOutcome>, BatchFailure> {
        match tokio::time::timeout(BATCH_TIMEOUT, self.attempt_unbounded(jobs)).await {
            Ok(result) => result,
            Err(_) => {
                let commands = jobs.iter().map(|job| job.command_id).collect();
                Err(BatchFailure::BatchTimedOut { bound: BATCH_TIMEOUT, commands })
            }
        }
    }

    async fn attempt_unbounded(&mut self, jobs: &[Job]) -> Result<Vec<CommandOutcome>, BatchFailure> {
        // Taken out while it is used: a batch that is abandoned half way leaves no connection in an unknown state.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let work = batch::carry_out(&mut connection, jobs, &self.capabilities, &self.clock);
        // A rule that panics must not end the lane and everyone who hashes to it.
        match AssertUnwindSafe(work).catch_unwind().await {
            Ok(Ok(outcomes)) => {
                self.connection = Some(connection);
                Ok(outcomes)
            }
            Ok(Err(error)) => {
                let failure = BatchFailure::from(error);
                if !failure.is_away() {
                    self.connection = Some(connection);
                }
                Err(failure)
            }
            Err(thrown) => Err(BatchFailure::of_panic(thrown.as_ref())),
        }
    }

    async fn connect(&self) -> Result<PgConnection, BatchFailure> {
        match tokio::time::timeout(CONNECT_TIMEOUT, self.database.connect()).await {
            Ok(connection) => Ok(connection.map_err(StoreError::from)?),
            Err(_) => Err(StoreError::ConnectTimedOut { bound: CONNECT_TIMEOUT }.into()),
        }
    }
}

/// Done when the book is closed.
async fn told_to_close(closing: &mut watch::Receiver<bool>) {
    // An error means that the sender was dropped, which closes the book too.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// Tells callers the outcomes of their commands; returns the commands that must wait for the next batch.
fn answer_all(jobs: Vec<Job>, outcomes: Vec<CommandOutcome>) -> Vec<Job> {
    let mut waiting = Vec::new();
    for (job, outcome) in jobs.into_iter().zip(outcomes) {
        match outcome {
            CommandOutcome::Written(written) => job.answer(Ok(written)),
            CommandOutcome::Refused(refusal) => job.answer(Err(Error::Refused(refusal))),
            CommandOutcome::Postponed => waiting.extend(postpone(job)),
            CommandOutcome::DuesRemain => waiting.push(job),
        }
    }
    waiting
}

/// Logs why the callers of a batch are told that the database is away.
fn log_away(failure: &BatchFailure) {
    let told = with_causes(failure);
    match failure {
        BatchFailure::BatchTimedOut { .. } => tracing::warn!(failure = told, "a batch timed out"),
        BatchFailure::Store(_) | BatchFailure::Panicked { .. } => {
            tracing::warn!(failure = told, "the database is away");
        }
    }
}

/// Logs that a batch failed and is split.
fn log_split(failure: &BatchFailure, size: usize) {
    match failure {
        // The command will panic again when it is retried. It is logged once it is alone in its batch, since only then
        // is it known which command panics.
        BatchFailure::Panicked { .. } => {}
        // Two halves may well succeed where the whole did not. Then nothing else tells of the failure.
        BatchFailure::Store(_) | BatchFailure::BatchTimedOut { .. } => {
            tracing::warn!(failure = with_causes(failure), size, "a batch failed and is split");
        }
    }
}

/// Answers a command that failed alone in its batch.
fn give_up(job: Job, failure: &BatchFailure) {
    match failure.kind() {
        FailureKind::Away | FailureKind::Conflict | FailureKind::Busy => {
            let (failure, command_id) = (with_causes(failure), job.command_id);
            tracing::warn!(failure, %command_id, trace_id = %job.trace_id, "a command is told to come again");
            job.answer(Err(Error::Unavailable));
        }
        FailureKind::Other => fail(job, &with_causes(failure)),
    }
}

/// Logs the failure of a command, and tells its caller no more than that there was one.
fn fail(job: Job, failure: &str) {
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
    let told = format!("{} failed", job.describe());
    job.answer(Err(Error::InternalLogged(told)));
}

/// Waits up to twice `around`, so that those who collided do not collide again.
#[expect(clippy::disallowed_methods, reason = "the pause before a batch is tried again")]
async fn pause(around: Duration) {
    tokio::time::sleep(around.mul_f64(rand::random_range(0.5..2.0))).await;
}

/// Takes all that wait, but for those whose deadline has passed.
#[expect(clippy::disallowed_methods, reason = "deadlines of callers, which no entry knows")]
fn drain_timely(waiting: &mut VecDeque<Job>) -> Vec<Job> {
    let now = Instant::now();
    let mut jobs = Vec::with_capacity(waiting.len());
    for job in waiting.drain(..) {
        if job.deadline.is_some_and(|deadline| deadline <= now) {
            job.answer(Err(Error::DeadlineExceeded));
        } else {
            jobs.push(job);
        }
    }
    jobs
}

/// Puts a command back in the queue, unless it has waited often enough.
fn postpone(mut job: Job) -> Option<Job> {
    job.postponements += 1;
    if job.postponements <= MAX_POSTPONEMENTS {
        return Some(job);
    }
    let why = "each time, it or one that it must not overtake needed more than its batch had locked, read or applied";
    let failure = format!("{} was put off {MAX_POSTPONEMENTS} times: {why}", job.describe());
    fail(job, &failure);
    None
}

/// The span of a batch: a root of its own, linked to the callers it serves, whose waiting ends here.
fn batch_span(jobs: &mut [Job]) -> Span {
    let span = tracing::info_span!(parent: None, "book.batch", size = jobs.len());
    let context = telemetry::span_context(&span);
    for job in jobs {
        if context.is_sampled() {
            telemetry::link(&span, &job.caller);
        }
        if let Some(waiting) = job.waiting.take() {
            telemetry::link(&waiting, &context);
        }
    }
    span
}
