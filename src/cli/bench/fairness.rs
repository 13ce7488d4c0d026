//! One caller alone, and beside another one who floods the service.

use super::super::error::CliError;
use super::super::output::grouped;
use super::load::{Load, Window};
use super::sample::Sample;
use super::workload::Workload;

/// Lets one client call, beside so many clients or streams of the flooder if the workload has a flood. The sample has the
/// calls of the one client alone. It is told as one of this many clients also where nobody floods, as the baseline of
/// those.
pub(super) async fn run<T>(
    workload: Workload,
    clients: u32,
    window: Window,
    [caller, flooder]: [&Load; 2],
    meter: impl Fn() -> T,
) -> Result<(Sample, [T; 2]), CliError> {
    let calling = caller.run(workload, 1, window, meter);
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
