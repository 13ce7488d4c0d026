//! How much memory a process has, as Linux counts it in `/proc`.

use std::fs;

const BYTES_OF_A_KIB: u64 = 1_024;

/// What a process has in memory, in bytes. None where there is no `/proc`.
pub(super) fn read(process: Option<u32>) -> Option<u64> {
    parse(&fs::read_to_string(format!("/proc/{}/status", process?)).ok()?)
}

fn parse(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(BYTES_OF_A_KIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_memory_is_read_in_bytes() {
        assert_eq!(parse("Name:\tgoldbook\nVmHWM:\t  2000 kB\nVmRSS:\t   1500 kB\n"), Some(1_536_000));
        for status in ["", "VmHWM:\t2000 kB", "VmRSS:\t1500", "VmRSS:\tmuch kB"] {
            assert_eq!(parse(status), None, "{status}");
        }
        assert_eq!(read(None), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory() {
        assert!(read(Some(std::process::id())) > Some(0));
    }
}
