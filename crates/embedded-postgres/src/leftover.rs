//! What an earlier run left behind when it was killed: a Postgres that still runs, and files that name processes.
//!
//! All of this runs with the data directory's lock held, so that no other process is at work here.

use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{fs, io};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::error::StartError;

/// How long a fast shutdown may take: it writes a checkpoint.
pub(super) const FAST_SHUTDOWN: Duration = Duration::from_secs(60);

/// How long an immediate shutdown may take: it writes nothing, and the next start recovers.
pub(super) const IMMEDIATE_SHUTDOWN: Duration = Duration::from_secs(10);

/// Stops a Postgres of this cluster that outlived the process that started it, and removes what would keep a new one from starting.
///
/// A dead server's `postmaster.pid` stays, because Postgres itself finds by it whether a process of that server still
/// uses its shared memory. The file goes when it names a living process that is not a server of this cluster (the
/// number was given out again), or nothing at all: Postgres would refuse to start for both.
pub(super) fn stop_and_clear(cluster: &Path, socket_dir: &Path) -> Result<(), StartError> {
    let pid_file = cluster.join("postmaster.pid");
    let content = match fs::read_to_string(&pid_file) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return remove_sockets(socket_dir),
        Err(error) => return Err(StartError::file("read", &pid_file)(error)),
    };
    let named = content.lines().next().and_then(|line| line.trim().parse::<i32>().ok()).map(i32::saturating_abs);
    match named.filter(|pid| *pid > 0) {
        Some(pid) if is_server_of(pid, cluster) => {
            tracing::info!(pid, cluster = %cluster.display(), "stopping the Postgres that an earlier run left behind");
            stop(pid, cluster)?;
        }
        Some(pid) if !is_alive(pid) => {}
        _ => {
            if let Some(pid) = servers_of(cluster).first() {
                return Err(StartError::LeftRunning(*pid));
            }
            tracing::info!(file = %pid_file.display(), "removing a stale postmaster.pid");
            fs::remove_file(&pid_file).map_err(StartError::file("remove", &pid_file))?;
        }
    }
    remove_sockets(socket_dir)
}

/// A socket's lock file names a process as well, and the same reuse of its number would keep Postgres from starting.
fn remove_sockets(socket_dir: &Path) -> Result<(), StartError> {
    let entries = match fs::read_dir(socket_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(StartError::file("list", socket_dir)(error)),
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(".s.PGSQL.") {
            let path = entry.path();
            fs::remove_file(&path).map_err(StartError::file("remove", &path))?;
        }
    }
    Ok(())
}

fn stop(pid: i32, cluster: &Path) -> Result<(), StartError> {
    for (signal, limit) in [(Signal::SIGINT, FAST_SHUTDOWN), (Signal::SIGQUIT, IMMEDIATE_SHUTDOWN)] {
        match kill(Pid::from_raw(pid), signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(_) => return Err(StartError::LeftRunning(pid)),
        }
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if !is_server_of(pid, cluster) {
                return Ok(());
            }
            sleep(Duration::from_millis(20));
        }
    }
    Err(StartError::LeftRunning(pid))
}

/// Whether any process has this id; one that we may not signal is alive too.
fn is_alive(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None) != Err(Errno::ESRCH)
}

/// Whether the process is a Postgres that works in this cluster. A zombie, which has neither a directory nor a command
/// line any more, is not: in a container nobody may ever collect it.
fn is_server_of(pid: i32, cluster: &Path) -> bool {
    if has_proc() {
        let process = Path::new("/proc").join(pid.to_string());
        let works_here = fs::read_link(process.join("cwd")).is_ok_and(|directory| directory == cluster);
        let command = fs::read(process.join("cmdline")).unwrap_or_default();
        let program = command.split(|byte| *byte == 0).next().unwrap_or_default();
        works_here && is_postgres(&String::from_utf8_lossy(program))
    } else {
        ps(&["-ww", "-o", "command=", "-p", &pid.to_string()]).lines().any(|line| names_server_of(line, cluster))
    }
}

/// All processes that are a Postgres of this cluster.
fn servers_of(cluster: &Path) -> Vec<i32> {
    if has_proc() {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok());
        return pids.filter(|pid| is_server_of(*pid, cluster)).collect();
    }
    let lines = ps(&["-ww", "-axo", "pid=,command="]);
    let processes = lines.lines().filter_map(|line| line.trim_start().split_once(' '));
    let servers = processes.filter(|(_, command)| names_server_of(command.trim_start(), cluster));
    servers.filter_map(|(pid, _)| pid.parse().ok()).collect()
}

fn has_proc() -> bool {
    Path::new("/proc/self/cwd").exists()
}

fn ps(arguments: &[&str]) -> String {
    let output = Command::new("ps").args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

/// Whether a command line is that of a postmaster as we start it: `…/postgres -D <cluster> …`.
fn names_server_of(command: &str, cluster: &Path) -> bool {
    let data_argument = format!(" -D {} ", cluster.display());
    command.split_once(&data_argument).is_some_and(|(program, _)| is_postgres(program))
}

/// Whether this is the server's program, or the title that one of its processes gives itself (`postgres: walwriter`).
fn is_postgres(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or_default();
    matches!(name, "postgres" | "postmaster") || program.starts_with("postgres:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_names_the_server_of_its_own_cluster_only() {
        let cluster = Path::new("/home/an owner/.data/postgres");
        let command = "/usr/lib/postgresql/15/bin/postgres -D /home/an owner/.data/postgres -c port=5432";
        assert!(names_server_of(command, cluster));
        assert!(!names_server_of(command, Path::new("/home/an owner/.data")));
        assert!(!names_server_of(&command.replace("bin/postgres", "bin/pg_dump"), cluster));
        assert!(!names_server_of("tail -f /var/log/postgres", cluster));
    }

    #[test]
    fn this_test_is_alive_but_no_server() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(is_alive(pid));
        assert!(!is_server_of(pid, &std::env::current_dir().unwrap()));
    }
}
