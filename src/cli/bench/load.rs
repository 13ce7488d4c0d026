//! Makes the load: each client sends its next call when the last one is answered.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};

use super::super::error::CliError;
use super::super::error::with_causes;
use super::super::refusal::Refusal;
use super::report::Sample;
use super::workload::{Caller, Ground, REST_AFTER_ERROR, Workload};

/// How long after a measurement an open call may take before it counts as an error.
const LONGEST_ANSWER: Duration = Duration::from_secs(10);

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
    service: Vec<Channel>,
    echo: Vec<Channel>,
    ground: Ground,
}

/// What one client saw. Latencies are kept in a list and counted in a histogram afterwards: a histogram for each client
/// would need too much of the processor's cache, which the service needs too.
#[derive(Debug, Default)]
struct Log {
    micros: Vec<u32>,
    errors: Vec<String>,
}

impl Load {
    /// Connects to the service.
    pub(super) async fn connect(
        endpoint: &Endpoint,
        connections: NonZeroU32,
        ground: Ground,
    ) -> Result<Self, CliError> {
        Ok(Self { service: connect(endpoint, connections).await?, echo: Vec::new(), ground })
    }

    /// Connects to the echo.
    pub(super) async fn connect_echo(&mut self, endpoint: &Endpoint, connections: NonZeroU32) -> Result<(), CliError> {
        self.echo = connect(endpoint, connections).await?;
        Ok(())
    }

    /// Lets this many clients call for as long as the window says.
    pub(super) async fn run(&self, workload: Workload, clients: u32, window: Window) -> Result<Sample, CliError> {
        let channels = if workload == Workload::Echo { &self.echo } else { &self.service };
        let begin = Instant::now() + window.warmup;
        let end = begin + window.measured;
        let mut running = JoinSet::new();
        for channel in channels.iter().cycle().take(clients.try_into().unwrap_or(usize::MAX)) {
            let caller = Caller::new(workload, channel.clone(), self.ground.clone());
            running.spawn(call_until(caller, begin, end));
        }

        let mut logs = Vec::new();
        let give_up = tokio::time::sleep_until((end + LONGEST_ANSWER).into());
        tokio::pin!(give_up);
        loop {
            tokio::select! {
                finished = running.join_next() => match finished {
                    Some(Ok(log)) => logs.push(log),
                    Some(Err(error)) => return Err(CliError::failed(format_args!("a client failed: {error}"))),
                    None => break,
                },
                () = &mut give_up => break,
            }
        }
        let unanswered = running.len();
        running.shutdown().await;
        let mut sample = summarize(workload, clients, window.measured, logs);
        if unanswered > 0 {
            let unanswered = unanswered.try_into().unwrap_or(u64::MAX);
            sample.errors.insert("no answer in time, with all that the client saw before".to_owned(), unanswered);
        }
        Ok(sample)
    }
}

async fn connect(endpoint: &Endpoint, connections: NonZeroU32) -> Result<Vec<Channel>, CliError> {
    let mut channels = Vec::new();
    for _ in 0..connections.get() {
        let channel = endpoint.connect().await;
        channels
            .push(channel.map_err(|error| CliError::failed(format_args!("cannot connect: {}", with_causes(&error))))?);
    }
    Ok(channels)
}

/// Runs one client until `end`, and counts what is answered from `begin` on.
async fn call_until(mut caller: Caller, begin: Instant, end: Instant) -> Log {
    let mut log = Log::default();
    let mut sent = Instant::now();
    while sent < end {
        let answer = caller.call().await;
        let answered = Instant::now();
        if answered >= begin && answered < end {
            match &answer {
                Ok(()) => {
                    let micros = answered.duration_since(sent).as_micros();
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
    let completed: usize = logs.iter().map(|log| log.micros.len()).sum();
    let per_second = completed as f64 / measured.as_secs_f64();
    let mut sample = Sample::new(workload, clients, per_second, completed.try_into().unwrap_or(u64::MAX));
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
        let logs = vec![
            Log { micros: vec![100, 300], errors: vec!["UNAVAILABLE: away".to_owned()] },
            Log { micros: vec![200], errors: vec!["UNAVAILABLE: away".to_owned()] },
        ];
        let sample = summarize(Workload::Grant, 2, Duration::from_secs(2), logs);
        assert_eq!((sample.completed, sample.per_second), (3, 1.5));
        assert_eq!((sample.latencies.value_at_quantile(0.5), sample.latencies.max()), (200, 300));
        assert_eq!(sample.errors.into_iter().collect::<Vec<_>>(), [("UNAVAILABLE: away".to_owned(), 2)]);
    }
}
