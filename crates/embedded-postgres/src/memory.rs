//! How much of the machine's memory a cluster takes for its pages.

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

const MIB: u64 = 1024 * 1024;

/// The share of the machine's memory, as PostgreSQL's manual advises; the rest is the system's own cache of files, and
/// everybody else's.
const SHARE: u64 = 4;

/// No more than this, in MiB: it holds the busy part of a large database, and the machine is not this cluster's alone.
const MOST: u64 = 4_096;

/// What `initdb` chooses wherever the machine lets it, in MiB.
const INITDB: u64 = 128;

/// The value of `shared_buffers` for a cluster on this machine, or in this container; `None` where `initdb` chooses well.
pub(super) fn shared_buffers() -> Option<String> {
    let system =
        System::new_with_specifics(RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram()));
    let machine = system.total_memory();
    if machine == 0 {
        // Nothing tells, and the limit of a container must not be asked for then.
        return None;
    }
    share_of(system.cgroup_limits().map_or(machine, |limits| limits.total_memory))
}

/// The share of so many bytes.
fn share_of(memory: u64) -> Option<String> {
    let share = (memory / MIB / SHARE).min(MOST);
    (share > INITDB).then(|| format!("{share}MB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_takes_a_quarter_of_the_memory_within_bounds() {
        for (mib, expected) in [
            (0, None),
            (512, None),
            (515, None),
            (516, Some("129MB")),
            (2_047, Some("511MB")),
            (16_384, Some("4096MB")),
            (1_048_576, Some("4096MB")),
        ] {
            assert_eq!(share_of(mib * MIB).as_deref(), expected, "{mib} MiB");
        }
        assert_eq!(share_of(u64::MAX).as_deref(), Some("4096MB"));
    }
}
