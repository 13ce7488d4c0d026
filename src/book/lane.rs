//! A lane: one task that owns one connection, takes whatever is waiting, and carries it out as one batch.

mod answers;
mod apart;
mod failure;
mod order;
pub(super) mod places;
mod share;
mod turns;
mod waiting;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

use self::answers::{answer_all, come_again, fail_by, refuse_rows, turn_away};
use self::apart::{Apart, Found};
use self::failure::{BatchFailure, Remedy};
use self::order::{Left, Why, hold_back, take_apart};
use self::share::Lately;
use self::waiting::{MAX_BATCH, Waiting};
use super::batch;
use super::capability::Capabilities;
use super::job::{Job, Origin};
use super::outcome::CommandOutcome;
use crate::clock::Clock;
use crate::database::{FailureKind, StoreError};
use crate::error::{Error, with_causes};
use crate::ids::PrincipalId;
use crate::telemetry::{self, metrics};

/// How often a batch is tried again after a deadlock or a serialization failure.
const MAX_CONFLICTS: u32 = 8;
/// How often a batch is tried on a new connection before its callers are told that the database is away.
const MAX_RECONNECTS: u32 = 3;
/// How long a batch may take before its connection is given up.
const BATCH_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a new connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Where a lane's commands come in.
pub(super) struct Queues {
    pub(super) calls: mpsc::Receiver<Job>,
    pub(super) streamed: mpsc::Receiver<Job>,
    /// What may wait until nobody else does.
    pub(super) background: mpsc::Receiver<Job>,
}

/// One lane's own things.
pub(super) struct Lane {
    queues: Queues,
    /// What was received and is carried out next.
    waiting: Waiting<Job>,
    /// What waits for somebody else.
    apart: Apart,
    /// Who has called lately.
    lately: Lately,
    database: PgConnectOptions,
    capabilities: Capabilities,
    clock: Clock,
    connection: Option<PgConnection>,
    /// Turns true when the book is closed.
    closing: watch::Receiver<bool>,
    /// Whether that was seen.
    is_closing: bool,
}

impl Lane {
    /// A lane that has done nothing yet.
    pub(super) fn new(
        queues: Queues,
        database: PgConnectOptions,
        capabilities: Capabilities,
        clock: Clock,
        closing: watch::Receiver<bool>,
    ) -> Self {
        let (waiting, apart, lately) = (Waiting::new(), Apart::default(), Lately::default());
        Self {
            queues,
            waiting,
            apart,
            lately,
            database,
            capabilities,
            clock,
            connection: None,
            closing,
            is_closing: false,
        }
    }

    /// Works until the queues are closed and empty.
    pub(super) async fn run(mut self) {
        while self.wait_for_work().await {
            self.receive_what_waits();
            let now = present();
            self.give_up_apart(now);
            let mut jobs = self.apart.take(now);
            let has_light_caller = self.waiting.has_light_caller(self.lately.principals(now));
            let fresh = self.waiting.next_batch(MAX_BATCH - jobs.len(), has_light_caller);
            let count = fresh.len();
            let (fresh, crowded) = self.apart.keep_order(fresh, now);
            metrics::count_postponements("order", count - fresh.len() - crowded.len());
            crowded.into_iter().for_each(turn_away);
            jobs.extend(fresh);
            self.lately.note(&jobs, now);
            let flooder = if has_light_caller { share::flooder(&jobs) } else { None };
            self.carry_out(jobs).await;
            let ended = present();
            let took = ended.duration_since(now);
            // It may hold up a batch for a moment, so it has one of its own.
            if let Some(job) = self.apart.take_alone(now) {
                self.carry_out(vec![job]).await;
            }
            if let Some(flooder) = flooder {
                let until = ended + share::rest_after(took);
                // What waits apart is tried when its time has come.
                self.rest(flooder, self.apart.next_at().map_or(until, |next_at| next_at.min(until))).await;
            }
        }
        if let Some(connection) = self.connection.take() {
            // Nothing is written any more: an error while closing changes nothing.
            let _ = connection.close().await;
        }
    }

    /// Returns when there is something to do, however long that takes: false once there will never be.
    #[expect(clippy::disallowed_methods, reason = "the pause before what waits apart is tried again")]
    async fn wait_for_work(&mut self) -> bool {
        if !self.waiting.is_empty() {
            return true;
        }
        let next_at = self.apart.next_at();
        let pause = async {
            match next_at {
                Some(next_at) => tokio::time::sleep_until(next_at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(job) = self.queues.calls.recv() => self.waiting.push(Origin::Call, job.principal_id, job),
            Some(job) = self.queues.streamed.recv() => self.waiting.push(Origin::Stream, job.principal_id, job),
            // Nothing more is taken in; what waits is still carried out.
            () = told_to_close(&mut self.closing), if !self.is_closing => {
                self.is_closing = true;
                self.queues.calls.close();
                self.queues.streamed.close();
            }
            () = pause, if next_at.is_some() => {}
            Some(job) = self.queues.background.recv(), if !self.is_closing => {
                self.waiting.push(Origin::Background, job.principal_id, job);
            }
            else => return false,
        }
        true
    }

    /// Lets the lane rest until then, or until somebody else than the flooder calls.
    #[expect(clippy::disallowed_methods, reason = "the rest of who floods")]
    async fn rest(&mut self, flooder: PrincipalId, until: Instant) {
        let mut end = std::pin::pin!(tokio::time::sleep_until(until));
        while !self.waiting.has_of_others(flooder) {
            tokio::select! {
                biased;
                () = told_to_close(&mut self.closing) => return,
                () = &mut end => return,
                Some(job) = self.queues.calls.recv() => self.waiting.push(Origin::Call, job.principal_id, job),
                Some(job) = self.queues.streamed.recv() => self.waiting.push(Origin::Stream, job.principal_id, job),
            }
        }
    }

    /// Takes the commands that wait already, as many as have places.
    fn receive_what_waits(&mut self) {
        let Queues { calls, streamed, background } = &mut self.queues;
        for (origin, queue) in [(Origin::Call, calls), (Origin::Stream, streamed), (Origin::Background, background)] {
            for _ in 0..self.waiting.room(origin) {
                let Ok(job) = queue.try_recv() else { break };
                self.waiting.push(origin, job.principal_id, job);
            }
        }
    }

    /// Answers those who have waited long enough for somebody else.
    fn give_up_apart(&mut self, now: Instant) {
        for job in self.apart.give_up(now) {
            if job.is_too_late(now) {
                job.answer(Err(Error::DeadlineExceeded));
            } else {
                come_again(job, "somebody else holds its account or its name");
            }
        }
    }

    /// Carries out a batch, in parts where it fails for a reason that names no command. What must wait is kept.
    async fn carry_out(&mut self, jobs: Vec<Job>) {
        let (mut left, mut time_outs) = (Left::new(), 0);
        // The part to carry out next stands last.
        let mut parts = vec![timely(jobs)];
        while let Some(part) = parts.pop() {
            let mut jobs = hold_back(part, &mut left);
            if jobs.is_empty() {
                continue;
            }
            let span = batch_span(&mut jobs);
            let failure = match self.attempt(&jobs).instrument(span.clone()).await {
                Ok(outcomes) => {
                    time_outs = 0;
                    left.extend(answer_all(jobs, outcomes));
                    continue;
                }
                Err(failure) => failure,
            };
            time_outs = if matches!(failure, BatchFailure::BatchTimedOut { .. }) { time_outs + 1 } else { 0 };
            let remedy = failure.remedy(jobs.len(), time_outs);
            failure.error_type().into_iter().for_each(|error_type| telemetry::fail_span(&span, error_type));
            span.in_scope(|| failure.log(remedy, jobs.len()));
            match remedy {
                Remedy::TellAway => jobs.into_iter().for_each(|job| job.answer(Err(Error::Unavailable))),
                Remedy::FailOne(place) => {
                    let (failed, others, followers) = take_apart(jobs, place);
                    failed.into_iter().for_each(|job| fail_by(job, &failure));
                    // The followers may well fail the same way, so they are tried by themselves.
                    parts.push(followers);
                    parts.push(others);
                }
                Remedy::Split => {
                    metrics::count_split();
                    let second = jobs.split_off(jobs.len() / 2);
                    parts.push(second);
                    parts.push(jobs);
                }
                Remedy::KeepApart => left.extend(jobs.into_iter().map(|job| (job, Why::Apart(Found::Name)))),
                Remedy::ComeAgain => jobs.into_iter().for_each(|job| come_again(job, &with_causes(&failure))),
                Remedy::Refuse(most) => jobs.into_iter().for_each(|job| job.answer(Err(refuse_rows(most)))),
                Remedy::Fail => jobs.into_iter().for_each(|job| fail_by(job, &failure)),
            }
        }
        self.keep(left);
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
                    metrics::count_retry("conflict");
                    pause(Duration::from_millis(1) * 2_u32.pow(conflicts)).await;
                }
                FailureKind::Away if reconnects < MAX_RECONNECTS => {
                    let told = with_causes(&failure);
                    tracing::warn!(failure = told, size = jobs.len(), "a batch is tried again on a new connection");
                    reconnects += 1;
                    metrics::count_retry("connection");
                    pause(Duration::from_millis(20) * 4_u32.pow(reconnects)).await;
                }
                FailureKind::Conflict
                | FailureKind::Away
                | FailureKind::Locked
                | FailureKind::TooMuch
                | FailureKind::Other => return Err(failure),
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
                if failure.kind() != FailureKind::Away {
                    self.connection = Some(connection);
                }
                Err(failure)
            }
            Err(thrown) => Err(BatchFailure::of_panic(thrown.as_ref())),
        }
    }

    /// Keeps what must wait.
    fn keep(&mut self, left: Left) {
        let now = present();
        let (again, fresh): (Left, Left) = left.into_iter().partition(|(job, _)| job.stay.is_some());
        // What waits apart already is counted once, however often it is tried.
        for (_, why) in &fresh {
            metrics::count_postponements(why.cause(), 1);
        }
        for (job, why) in again.into_iter().rev() {
            let found = match why {
                Why::Apart(found) => found,
                Why::NextBatch => Found::Other,
            };
            self.apart.keep(job, found, now, spread()).into_iter().for_each(turn_away);
        }
        let mut next = Vec::new();
        for (job, why) in fresh {
            match why {
                Why::Apart(found) => self.apart.keep(job, found, now, spread()).into_iter().for_each(turn_away),
                Why::NextBatch => next.push(job),
            }
        }
        next.into_iter().rev().for_each(|job| self.waiting.put_back(job.origin, job.principal_id, job));
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

/// What the clock on the wall says, for deadlines and pauses.
#[expect(clippy::disallowed_methods, reason = "deadlines of callers and pauses, which no entry knows")]
fn present() -> Instant {
    Instant::now()
}

/// A part of a pause, so that those who collided do not collide again.
fn spread() -> f64 {
    rand::random_range(0.5..1.0)
}

/// Keeps those whose deadline has not passed.
fn timely(jobs: Vec<Job>) -> Vec<Job> {
    let now = present();
    let mut kept = Vec::with_capacity(jobs.len());
    for job in jobs {
        if job.is_too_late(now) {
            job.answer(Err(Error::DeadlineExceeded));
        } else {
            kept.push(job);
        }
    }
    kept
}

/// Waits up to twice `around`, so that those who collided do not collide again.
#[expect(clippy::disallowed_methods, reason = "the pause before a batch is tried again")]
async fn pause(around: Duration) {
    tokio::time::sleep(around.mul_f64(rand::random_range(0.5..2.0))).await;
}

/// The span of a batch: a root of its own, linked to the callers it serves, whose waiting ends here.
fn batch_span(jobs: &mut [Job]) -> Span {
    let span = tracing::info_span!(parent: None, "book.batch", goldbook.batch.size = telemetry::count(jobs.len()));
    let context = telemetry::span_context(&span);
    let is_recorded = telemetry::records(&span, &context);
    for job in jobs {
        if is_recorded {
            telemetry::link(&span, &job.caller);
        }
        if let Some(counted) = job.counted.take() {
            counted.taken();
        }
        if let Some(waiting) = job.waiting.take() {
            telemetry::link(&waiting, &context);
        }
    }
    span
}
