//! Makes the load: each client sends its next call when the last one is answered.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Endpoint;

use super::super::client::{Calls, Client, Credential};
use super::super::error::CliError;
use super::super::error::with_causes;
use super::super::refusal::Refusal;
use super::caller::{Caller, REST_AFTER_ERROR};
use super::grounds::Grounds;
use super::log::Log;
use super::sample::Sample;
use super::stream::stream_until;
use super::walk::walk;
use super::workload::Workload;

/// How long after a measurement an open call may take before it counts as an error.
const LONGEST_ANSWER: Duration = Duration::from_secs(10);
/// How many conversions a second are prepared for, as long as none were measured.
const FIRST_CONVERSIONS: f64 = 4_000.0;
/// How many are prepared for each that was converted in the last measurement.
const SPARE_CONVERSIONS: f64 = 1.5;

/// How long a measurement takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// How long the load runs before anything is counted.
    pub(super) warmup: Duration,
    /// How long answers are counted after that.
    pub(super) measured: Duration,
}

/// The connections, and what the calls are about.
pub(super) struct Load {
    channels: Vec<Calls>,
    grounds: Grounds,
}

impl Load {
    pub(super) async fn connect(
        endpoint: &Endpoint,
        credential: &Credential,
        connections: NonZeroU32,
        grounds: Grounds,
    ) -> Result<Self, CliError> {
        let mut channels = Vec::new();
        for _ in 0..connections.get() {
            channels.push(connect(endpoint, credential).await?);
        }
        Ok(Self { channels, grounds })
    }

    pub(super) fn grounds(&self) -> Grounds {
        self.grounds.clone()
    }

    /// Makes ready what a measurement uses up. `last` is what was measured of it before, per second.
    pub(super) async fn refill(&self, workload: Workload, window: Window, last: Option<f64>) -> Result<(), CliError> {
        match (workload, self.channels.first()) {
            (Workload::Conversion, Some(channel)) => {
                let rate = last.map_or(FIRST_CONVERSIONS, |last| last.max(1.0) * SPARE_CONVERSIONS);
                let count = (rate * (window.warmup + window.measured).as_secs_f64()).ceil();
                self.grounds.referees.prepare(&Client::new(channel.clone()), count as u32).await
            }
            _ => Ok(()),
        }
    }

    /// Goes through all customers once.
    pub(super) async fn walk<T>(
        &self,
        workload: Workload,
        memory: impl Fn() -> Option<u64>,
        meter: impl Fn() -> T,
    ) -> Result<(Sample, [T; 2]), CliError> {
        let channel = self.channels.first().ok_or_else(|| CliError::failed("there is no connection"))?;
        Ok(walk(workload, &Client::new(channel.clone()), &self.grounds.of(workload), memory, meter).await)
    }

    /// Lets this many clients, or streams, call for as long as the window says. `meter` is read when the counting
    /// begins and when it ends.
    pub(super) async fn run<T>(
        &self,
        workload: Workload,
        clients: u32,
        window: Window,
        meter: impl Fn() -> T,
    ) -> Result<(Sample, [T; 2]), CliError> {
        let begin = Instant::now() + window.warmup;
        let end = begin + window.measured;
        let mut running = JoinSet::new();
        for channel in self.channels.iter().cycle().take(clients.try_into().unwrap_or(usize::MAX)) {
            if matches!(workload, Workload::Stream | Workload::StreamEmpty | Workload::StreamLarge) {
                running.spawn(stream_until(channel.clone(), self.grounds.of(workload), begin, end));
            } else {
                running.spawn(call_until(Caller::new(workload, channel.clone(), &self.grounds), begin, end));
            }
        }
        let reading = async {
            tokio::time::sleep_until(begin.into()).await;
            let before = meter();
            tokio::time::sleep_until(end.into()).await;
            [before, meter()]
        };
        let (logs, readings) = tokio::join!(collect(&mut running, end + LONGEST_ANSWER), reading);
        let logs = logs?;
        let unanswered = running.len();
        running.shutdown().await;
        let ran_out = logs.iter().filter_map(|log| log.ran_out).max();
        let measured = ran_out.map_or(window.measured, |ended| ended.saturating_duration_since(begin));
        if measured.is_zero() {
            return Err(CliError::failed(format_args!("nothing was left to measure of {workload} after the warm-up")));
        }
        let mut sample = summarize(workload, clients, measured, logs);
        if unanswered > 0 {
            let unanswered = unanswered.try_into().unwrap_or(u64::MAX);
            sample.errors.insert("no answer in time, with all that the client saw before".to_owned(), unanswered);
        }
        Ok((sample, readings))
    }
}

/// One connection, for calls with this credential.
pub(super) async fn connect(endpoint: &Endpoint, credential: &Credential) -> Result<Calls, CliError> {
    let channel = endpoint.connect().await;
    let channel = channel.map_err(|error| CliError::failed(format_args!("cannot connect: {}", with_causes(&error))))?;
    Ok(InterceptedService::new(channel, credential.clone()))
}

/// What all clients saw, without those who have no answer by then.
async fn collect(running: &mut JoinSet<Log>, give_up: Instant) -> Result<Vec<Log>, CliError> {
    let mut logs = Vec::new();
    let give_up = tokio::time::sleep_until(give_up.into());
    tokio::pin!(give_up);
    loop {
        tokio::select! {
            finished = running.join_next() => match finished {
                Some(Ok(log)) => logs.push(log),
                Some(Err(error)) => return Err(CliError::failed(format_args!("a client failed: {error}"))),
                None => return Ok(logs),
            },
            () = &mut give_up => return Ok(logs),
        }
    }
}

/// Runs one client until `end`, and counts what is answered from `begin` on.
async fn call_until(mut caller: Caller, begin: Instant, end: Instant) -> Log {
    let mut log = Log::default();
    let mut sent = Instant::now();
    while sent < end {
        let Some(answer) = caller.call().await else {
            log.ran_out = Some(Instant::now());
            return log;
        };
        let answered = Instant::now();
        if answered >= begin && answered < end {
            match &answer {
                Ok(()) => {
                    let micros = answered.duration_since(sent).as_micros();
                    log.completed += 1;
                    log.micros.push(u32::try_from(micros).unwrap_or(u32::MAX));
                }
                Err(status) => log.errors.push(Refusal::from_status(status).summary()),
            }
        }
        sent = answered;
        if answer.is_err() {
            tokio::time::sleep(REST_AFTER_ERROR).await;
            sent = Instant::now();
        }
    }
    log
}

fn summarize(workload: Workload, clients: u32, measured: Duration, logs: Vec<Log>) -> Sample {
    let completed = logs.iter().map(|log| log.completed).sum();
    let per_second = completed as f64 / measured.as_secs_f64();
    let mut sample = Sample::new(workload, clients, per_second, completed);
    for log in logs {
        log.micros.into_iter().for_each(|micros| sample.latencies.saturating_record(micros.into()));
        for error in log.errors {
            *sample.errors.entry(error).or_default() += 1;
        }
    }
    sample.mean_micros = sample.latencies.mean();
    sample
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_clients_saw_is_put_together() {
        let errors = vec!["UNAVAILABLE: away".to_owned()];
        let logs = vec![
            Log { completed: 2, micros: vec![100, 300], errors: errors.clone(), ran_out: None },
            Log { completed: 1, micros: vec![200], errors, ran_out: None },
        ];
        let sample = summarize(Workload::Grant, 2, Duration::from_secs(2), logs);
        assert_eq!((sample.completed, sample.per_second), (3, 1.5));
        assert_eq!((sample.latencies.value_at_quantile(0.5), sample.latencies.max()), (200, 300));
        assert_eq!(sample.errors.into_iter().collect::<Vec<_>>(), [("UNAVAILABLE: away".to_owned(), 2)]);
    }
}
