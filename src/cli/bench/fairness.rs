//! One caller alone, and beside another one who floods the service.

use std::num::NonZeroU32;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinError;
use tonic::transport::Endpoint;

use super::super::client::Credential;
use super::super::error::CliError;
use super::super::output::grouped;
use super::grounds::Grounds;
use super::load::{Load, Window};
use super::sample::Sample;
use super::workload::Workload;

/// The caller who is measured. It has a thread of its own: among the tasks of the flooder it would wait for those, and not
/// for the service.
pub(super) struct OtherCaller {
    load: Arc<Load>,
    thread: Thread,
}

/// A runtime with one thread.
struct Thread(Option<Runtime>);

impl Thread {
    fn start() -> Result<Self, CliError> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let failed = |error| CliError::failed(format_args!("cannot start a thread for the other caller: {error}"));
        runtime.map(|runtime| Self(Some(runtime))).map_err(failed)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, CliError>> + Send + 'static,
    ) -> Result<T, CliError> {
        let failed = |error: JoinError| CliError::failed(format_args!("the other caller failed: {error}"));
        match &self.0 {
            Some(runtime) => runtime.spawn(work).await.map_err(failed)?,
            None => work.await,
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // To wait for its tasks is not allowed where others run, and nothing is left to wait for.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl OtherCaller {
    /// Connects it with a key of its own.
    pub(super) async fn connect(endpoint: Endpoint, key: Credential, grounds: Grounds) -> Result<Self, CliError> {
        let thread = Thread::start()?;
        let connecting = async move { Load::connect(&endpoint, &key, NonZeroU32::MIN, grounds).await };
        let load = Arc::new(thread.run(connecting).await?);
        Ok(Self { load, thread })
    }

    /// Lets its one client call, beside so many clients or streams of the flooder if the workload has a flood. The sample
    /// has the calls of the one client alone. It is told as one of this many clients also where nobody floods, as the
    /// baseline of those.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        workload: Workload,
        clients: u32,
        window: Window,
        flooder: &Load,
        meter: impl Fn() -> T + Send + Sync + 'static,
    ) -> Result<(Sample, [T; 2]), CliError> {
        let load = self.load.clone();
        let calling = self.thread.run(async move { load.run(workload, 1, window, meter).await });
        let (mut sample, readings) = match workload.flood() {
            None => calling.await?,
            Some(flood) => {
                let flooding = flooder.run(flood, clients, window, || ());
                let (called, flooded) = tokio::join!(calling, flooding);
                let ((mut sample, readings), (flood, _)) = (called?, flooded?);
                eprintln!("beside {} calls /s of another caller:", grouped(flood.per_second.round() as i64));
                // Who is refused does not flood.
                for (error, count) in flood.errors {
                    *sample.errors.entry(format!("of the other caller: {error}")).or_default() += count;
                }
                (sample, readings)
            }
        };
        sample.clients = clients;
        Ok((sample, readings))
    }
}
