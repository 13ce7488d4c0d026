//! What the process takes of its machine, as far as the system tells.

use std::fs;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

/// The memory in use, in bytes; on Linux alone.
pub(super) fn memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// How many file descriptors are open; on Linux alone.
pub(super) fn file_descriptors() -> Option<u64> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them reads the folder.
    u64::try_from(open).ok()?.checked_sub(1)
}

/// The time of processors that was taken, in seconds.
pub(super) fn cpu_times() -> Vec<(&'static str, f64)> {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Vec::new() };
    let seconds = |time: nix::sys::time::TimeVal| {
        #[expect(clippy::cast_precision_loss, reason = "a time of processors is far below 2^53 microseconds")]
        let microseconds = time.num_microseconds() as f64;
        microseconds / 1e6
    };
    vec![("user", seconds(usage.user_time())), ("system", seconds(usage.system_time()))]
}
