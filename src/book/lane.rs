//! A lane: one task that owns one connection, takes whatever is waiting, and carries it out as one batch.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

use super::batch::{self, Failure, Verdict};
use super::capability::Capabilities;
use super::job::Job;
use crate::clock::Clock;
use crate::database::FailureKind;
use crate::error::{Defect, Error};
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
                let job = tokio::select! {
                    biased;
                    job = self.queue.recv() => job,
                    // Nothing more is taken in; what waits is still carried out.
                    () = told_to_close(&mut self.closing) => {
                        self.queue.close();
                        self.queue.recv().await
                    }
                    Some(job) = self.background.recv() => Some(job),
                };
                match job {
                    Some(job) => waiting.push_back(job),
                    None => break,
                }
            }
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
            let jobs = take_timely(&mut waiting);
            if !jobs.is_empty() {
                waiting = self.carry_out(jobs).await.into();
            }
        }
        if let Some(connection) = self.connection.take() {
            // Whether the goodbye arrives does not matter any more.
            let _ = connection.close().await;
        }
    }

    /// Carries out a batch, in halves where it fails for a reason that names no command; returns what must wait.
    async fn carry_out(&mut self, jobs: Vec<Job>) -> Vec<Job> {
        let mut postponed = Vec::new();
        let mut parts = vec![jobs];
        while let Some(mut jobs) = parts.pop() {
            let span = batch_span(&mut jobs);
            match self.attempt(&jobs).instrument(span.clone()).await {
                Ok(verdicts) => {
                    for (job, verdict) in jobs.into_iter().zip(verdicts) {
                        match verdict {
                            Verdict::Written(written) => job.answer(Ok(written)),
                            Verdict::Refused(error) => job.answer(Err(error)),
                            Verdict::Postponed => postponed.extend(postpone(job)),
                            Verdict::DuesRemain => postponed.push(job),
                        }
                    }
                }
                Err(Outcome::Away) => {
                    for job in jobs {
                        job.answer(Err(Error::Unavailable));
                    }
                }
                Err(Outcome::Failed(failure)) if jobs.len() > 1 => {
                    span.in_scope(|| tracing::warn!(%failure, size = jobs.len(), "a batch failed and is split"));
                    let second = jobs.split_off(jobs.len() / 2);
                    parts.push(second);
                    parts.push(jobs);
                }
                Err(Outcome::Failed(failure)) => {
                    for job in jobs {
                        job.answer(Err(failure.to_error()));
                    }
                }
            }
            if !postponed.is_empty() {
                // What waits must not be overtaken by what came after it.
                postponed.extend(parts.drain(..).rev().flatten());
            }
        }
        postponed
    }

    /// Tries a batch until it is committed, or fails for good. A commit whose acknowledgement was lost is found again
    /// by the commands' keys.
    async fn attempt(&mut self, jobs: &[Job]) -> Result<Vec<Verdict>, Outcome> {
        let (mut conflicts, mut reconnects) = (0, 0);
        loop {
            let failure = match tokio::time::timeout(BATCH_TIMEOUT, self.attempt_once(jobs)).await {
                Ok(Ok(verdicts)) => return Ok(verdicts),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::Database(sqlx::Error::PoolTimedOut),
            };
            match failure.kind() {
                FailureKind::Conflict if conflicts < MAX_CONFLICTS => {
                    conflicts += 1;
                    pause(Duration::from_millis(1) * 2_u32.pow(conflicts)).await;
                }
                FailureKind::Away => {
                    self.connection = None;
                    if reconnects == MAX_RECONNECTS {
                        tracing::warn!(%failure, "the database is away");
                        return Err(Outcome::Away);
                    }
                    reconnects += 1;
                    pause(Duration::from_millis(20) * 4_u32.pow(reconnects)).await;
                }
                FailureKind::Conflict | FailureKind::Busy | FailureKind::Other => return Err(Outcome::Failed(failure)),
            }
        }
    }

    async fn attempt_once(&mut self, jobs: &[Job]) -> Result<Vec<Verdict>, Failure> {
        // Taken out while it is used: a batch that is abandoned half way leaves no connection in an unknown state.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => tokio::time::timeout(CONNECT_TIMEOUT, self.database.connect())
                .await
                .map_err(|_| sqlx::Error::PoolTimedOut)??,
        };
        let work = batch::carry_out(&mut connection, jobs, &self.capabilities, &self.clock);
        // A rule that panics must not end the lane and everyone who hashes to it.
        match AssertUnwindSafe(work).catch_unwind().await {
            Ok(result) => {
                self.connection = Some(connection);
                result
            }
            Err(_) => Err(Defect::new("a command panicked").into()),
        }
    }
}

/// Done when the book is closed.
async fn told_to_close(closing: &mut watch::Receiver<bool>) {
    // Also where whoever could close it is gone.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// Why a batch was not committed.
enum Outcome {
    /// The database cannot be reached.
    Away,
    /// It failed, and trying it again as it is would not help.
    Failed(Failure),
}

impl Failure {
    fn kind(&self) -> FailureKind {
        match self {
            Self::Database(error) => FailureKind::of(error),
            Self::Defect(_) => FailureKind::Other,
        }
    }

    /// What the only command of a batch is told.
    fn to_error(&self) -> Error {
        match self.kind() {
            FailureKind::Away | FailureKind::Conflict | FailureKind::Busy => Error::Unavailable,
            FailureKind::Other => Error::Internal(self.to_string()),
        }
    }
}

/// Waits up to twice `around`, so that those who collided do not collide again.
async fn pause(around: Duration) {
    tokio::time::sleep(around.mul_f64(rand::random_range(0.5..2.0))).await;
}

/// Takes all that wait, but for those whose deadline has passed.
fn take_timely(waiting: &mut VecDeque<Job>) -> Vec<Job> {
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
    job.answer(Err(Error::Internal("a command touches more and more accounts".to_owned())));
    None
}

/// The span of a batch: a root of its own, linked to the callers it serves, whose waiting ends here.
fn batch_span(jobs: &mut [Job]) -> Span {
    let span = tracing::info_span!(parent: None, "book.batch", size = jobs.len());
    let context = telemetry::span_context(&span);
    for job in jobs {
        telemetry::link(&span, &job.caller);
        if let Some(waiting) = job.waiting.take() {
            telemetry::link(&waiting, &context);
        }
    }
    span
}
