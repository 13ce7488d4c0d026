//! How much of the processors the client, the service and its Postgres use, as Linux counts it in `/proc`.

use std::fs;
use std::process;
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

/// How many levels of processes are looked through for Postgres, and for the servers that it starts.
const DEEPEST: usize = 4;
/// What a process of Postgres is called, whatever it calls itself in its arguments.
const POSTGRES: &str = "postgres";

/// Whose use is counted, beside this process's own.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watched {
    /// The service, or the echo, if it was started here.
    pub(super) service: Option<u32>,
    /// Whose Postgres is counted: a service that started its own.
    pub(super) postgres_of: Option<u32>,
}

/// What was used so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Usage {
    /// Of this process and of those that it waited for, such as `pgbench`.
    pub(super) client: Duration,
    pub(super) service: Option<Duration>,
    /// Of all processes of that Postgres, those that have ended included.
    pub(super) postgres: Option<Duration>,
}

impl Usage {
    /// What was used since an earlier reading. Nothing, where more was used earlier: a process that ended in between was
    /// not counted in the moment of its end.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let both = |now: Option<Duration>, then: Option<Duration>| Some(now?.saturating_sub(then?));
        Self {
            client: self.client.saturating_sub(earlier.client),
            service: both(self.service, earlier.service),
            postgres: both(self.postgres, earlier.postgres),
        }
    }

    pub(super) fn plus(&self, other: &Self) -> Self {
        let both = |one: Option<Duration>, other: Option<Duration>| Some(one? + other?);
        Self {
            client: self.client + other.client,
            service: both(self.service, other.service),
            postgres: both(self.postgres, other.postgres),
        }
    }
}

/// Reads what was used so far. None where there is no `/proc`.
pub(super) fn read(watched: Watched) -> Option<Usage> {
    let ticks = u64::try_from(sysconf(SysconfVar::CLK_TCK).ok()??).ok().filter(|ticks| *ticks > 0)?;
    let processes = list();
    count(&processes, process::id(), watched, |count| Duration::from_micros(count.saturating_mul(1_000_000) / ticks))
}

/// A line of `/proc/<pid>/stat`. Times are in ticks, of the user and of the system together.
#[derive(Clone, Debug, PartialEq)]
struct Process {
    pid: u32,
    name: String,
    parent: u32,
    own: u64,
    /// Of the children that have ended and were waited for, and of theirs.
    children: u64,
}

fn list() -> Vec<Process> {
    let folders = fs::read_dir("/proc").into_iter().flatten().flatten();
    let of_processes =
        folders.filter(|folder| folder.file_name().to_string_lossy().starts_with(|c: char| c.is_ascii_digit()));
    // A process may end between the two.
    of_processes.filter_map(|folder| parse(&fs::read_to_string(folder.path().join("stat")).ok()?)).collect()
}

/// Reads one line. The name is whatever the process calls itself, parentheses and blanks included.
fn parse(stat: &str) -> Option<Process> {
    let (begin, rest) = stat.split_once('(')?;
    let (name, rest) = rest.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // proc(5) counts from 1, and the third field is the first behind the name.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Process {
        pid: begin.trim().parse().ok()?,
        name: name.to_owned(),
        parent: field(4)?.try_into().ok()?,
        own: field(14)? + field(15)?,
        children: field(16)? + field(17)?,
    })
}

fn count(processes: &[Process], client: u32, watched: Watched, time: impl Fn(u64) -> Duration) -> Option<Usage> {
    let find = |pid: u32| processes.iter().find(|process| process.pid == pid);
    let client = find(client)?;
    let postgres = watched.postgres_of.map(|service| {
        let servers = postgres_below(processes, service);
        // The first server waits for the others, so it counts those that have ended.
        servers.iter().map(|server| server.own + server.children).sum()
    });
    Some(Usage {
        client: time(client.own + client.children),
        service: watched.service.and_then(find).map(|service| time(service.own)),
        postgres: postgres.map(time),
    })
}

fn postgres_below(processes: &[Process], ancestor: u32) -> Vec<&Process> {
    let is_below = |process: &&Process| {
        let parents = std::iter::successors(Some(process.parent), |parent| {
            processes.iter().find(|process| process.pid == *parent).map(|process| process.parent)
        });
        parents.take(DEEPEST).any(|parent| parent == ancestor)
    };
    processes.iter().filter(|process| process.name == POSTGRES).filter(is_below).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, name: &str, parent: u32, own: u64, children: u64) -> Process {
        Process { pid, name: name.to_owned(), parent, own, children }
    }

    #[test]
    fn a_line_of_proc_is_read_whatever_the_process_is_called() {
        let line = "42 (a (b) c) S 7 42 42 0 -1 4194560 100 200 0 0 31 11 5 3 20 0 4 0 12345 1000 200 1844674407";
        assert_eq!(parse(line), Some(process(42, "a (b) c", 7, 42, 8)));
        for line in ["", "42", "42 (a", "42 (a) S 7 42", "x (a) S 7 42 42 0 -1 4194560 100 200 0 0 31 11 5 3 20 0 4 0"]
        {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn the_client_the_service_and_all_of_its_postgres_are_counted_apart() {
        let processes = [
            process(1, "init", 0, 1_000, 1_000),
            process(10, "goldbook", 1, 5, 2),
            process(20, "goldbook", 10, 30, 9_000),
            process(21, POSTGRES, 20, 7, 100),
            process(22, POSTGRES, 21, 11, 0),
            process(23, POSTGRES, 21, 13, 0),
            // Another's Postgres, and something else of the service's.
            process(30, POSTGRES, 1, 500, 500),
            process(24, "sh", 20, 50, 50),
        ];
        let watched = Watched { service: Some(20), postgres_of: Some(20) };
        let used = count(&processes, 10, watched, Duration::from_millis).unwrap();
        let millis = Duration::from_millis;
        assert_eq!(used, Usage { client: millis(7), service: Some(millis(30)), postgres: Some(millis(131)) });
        let used = count(&processes, 10, Watched::default(), Duration::from_millis).unwrap();
        assert_eq!((used.service, used.postgres), (None, None));
        assert_eq!(count(&processes, 99, watched, Duration::from_millis), None);
    }

    #[test]
    fn what_was_used_in_between_is_the_difference() {
        let usage = |client, service: Option<u64>| Usage {
            client: Duration::from_millis(client),
            service: service.map(Duration::from_millis),
            postgres: None,
        };
        assert_eq!(usage(50, Some(9)).since(&usage(20, Some(4))), usage(30, Some(5)));
        assert_eq!(usage(10, None).since(&usage(20, Some(4))), usage(0, None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_found() {
        let used = read(Watched { service: Some(process::id()), postgres_of: Some(process::id()) }).unwrap();
        assert!(used.service.is_some() && used.postgres == Some(Duration::ZERO), "{used:?}");
    }
}
