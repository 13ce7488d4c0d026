//! What sending has in common, whatever is sent: no request ever waits for it, and nothing is lost uncounted.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use tokio::runtime::Runtime;

use super::error::ExportFault;

/// How long a collector has at the end to take metrics, spans or log records: one that hangs must not hold up the end of the
/// process.
pub(super) const FLUSH_LIMIT: Duration = Duration::from_secs(2);
/// How often at most the log says that something is being dropped.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// What became of the spans or log records that there were.
#[derive(Debug, Default)]
pub(super) struct Counters {
    queued: AtomicU64,
    exported: AtomicU64,
    dropped: AtomicU64,
    pub(super) given_up: Arc<AtomicU64>,
}

impl Counters {
    /// Not sampled, and not waited for any longer to learn whether they are kept.
    pub(super) fn given_up(&self) -> u64 {
        self.given_up.load(Relaxed)
    }

    /// Counts one that is to wait for the collector, if there is room for it; otherwise it is dropped. It counts until the
    /// exporter is done with it, so a batch processor's own queue of the same size, which does not tell what it drops, is
    /// never full.
    pub(super) fn takes(&self, limit: u64) -> bool {
        let has_room = self.queued.fetch_add(1, Relaxed) < limit;
        if !has_room {
            self.queued.fetch_sub(1, Relaxed);
            self.dropped.fetch_add(1, Relaxed);
        }
        has_room
    }

    /// Waiting for the collector, or on the way to it.
    pub(super) fn queued(&self) -> u64 {
        self.queued.load(Relaxed)
    }

    /// Taken by the collector.
    pub(super) fn exported(&self) -> u64 {
        self.exported.load(Relaxed)
    }

    /// Lost: no room in the queue, or sending failed.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

/// An OTLP exporter with a thread of its own for its connection: encoding and sending take nothing from the threads that
/// answer requests, and do not end with the runtime that happened to start it.
#[derive(Debug)]
pub(super) struct OnOwnThread<E> {
    exporter: E,
    /// Taken only when dropped.
    runtime: Option<Runtime>,
}

impl<E> OnOwnThread<E> {
    /// `build` makes the exporter, whose channel connects on first use.
    pub(super) fn connect(build: impl FnOnce() -> Result<E, ExporterBuildError>) -> Result<Self, ExportFault> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("telemetry-export")
            // What sending has to tell of itself is not sent, or sending logs would never end.
            .on_thread_start(|| std::mem::forget(Context::enter_telemetry_suppressed_scope()))
            .enable_io()
            .enable_time()
            .build()?;
        // The channel lives on the runtime that it is built in.
        let built = {
            let _inside = runtime.enter();
            build()
        };
        match built {
            Ok(exporter) => Ok(Self { exporter, runtime: Some(runtime) }),
            Err(error) => {
                // It has done nothing yet, and must not be waited for where this is called.
                runtime.shutdown_background();
                Err(error.into())
            }
        }
    }
}

impl<E> Deref for OnOwnThread<E> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.exporter
    }
}

impl<E> DerefMut for OnOwnThread<E> {
    fn deref_mut(&mut self) -> &mut E {
        &mut self.exporter
    }
}

impl<E> Drop for OnOwnThread<E> {
    fn drop(&mut self) {
        // An ordinary drop waits for the runtime's tasks, and panics if it happens inside another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// An exporter that counts what becomes of what it sends.
#[derive(Debug)]
pub(super) struct CountingExporter<E> {
    pub(super) next: OnOwnThread<E>,
    counters: Arc<Counters>,
    /// What is sent, as the log calls it.
    what: &'static str,
    warned: Mutex<Warned>,
}

/// What the log knows about drops already.
#[derive(Debug, Default)]
struct Warned {
    at: Option<Instant>,
    dropped: u64,
}

impl<E> CountingExporter<E> {
    /// `build` makes the exporter, whose channel connects on first use.
    pub(super) fn connect(
        what: &'static str,
        counters: Arc<Counters>,
        build: impl FnOnce() -> Result<E, ExporterBuildError>,
    ) -> Result<Self, ExportFault> {
        Ok(Self { next: OnOwnThread::connect(build)?, counters, what, warned: Mutex::default() })
    }

    /// Counts what became of so many that the exporter tried to send. The failure is counted and logged; the batch
    /// processor would log it again, every time.
    pub(super) fn count(&self, number: usize, sent: &OTelSdkResult) {
        let number = number as u64;
        let outcome = if sent.is_ok() { &self.counters.exported } else { &self.counters.dropped };
        outcome.fetch_add(number, Relaxed);
        self.counters.queued.fetch_sub(number, Relaxed);
        self.warn_of_drops(sent.as_ref().err());
    }

    /// Logs that something was dropped since the last time, at most once a minute. Called after every attempt to send,
    /// which the exporter's own timeout brings about however the collector hangs.
    fn warn_of_drops(&self, failure: Option<&OTelSdkError>) {
        let dropped = self.counters.dropped();
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if dropped == warned.dropped || warned.at.is_some_and(|at| at.elapsed() < WARNING_INTERVAL) {
            return;
        }
        *warned = Warned { at: Some(Instant::now()), dropped };
        let cause =
            failure.map_or_else(|| format!("the collector is slower than {} come", self.what), ToString::to_string);
        tracing::warn!(dropped, cause, "{} are being dropped", self.what);
    }
}

/// Whether the last of something is sent in time. A thread of its own waits for it, which nobody waits for: what sends may
/// take longer than it was told.
pub(super) async fn within(limit: Duration, send: impl FnOnce() -> OTelSdkResult + Send + 'static) -> bool {
    let (tell, told) = tokio::sync::oneshot::channel();
    let begun = std::thread::Builder::new().name("telemetry-end".to_owned()).spawn(move || tell.send(send().is_ok()));
    begun.is_ok() && matches!(tokio::time::timeout(limit, told).await, Ok(Ok(true)))
}
