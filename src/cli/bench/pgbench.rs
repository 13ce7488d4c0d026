//! The baselines for writes: how many rows `pgbench` commits on the same Postgres, one at a time or 200.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use embedded_postgres::find_bin_dir;
use tempfile::TempDir;
use tokio::process::Command;

use super::super::error::CliError;
use super::load::Window;
use super::sample::Sample;
use super::workload::Workload;

/// What each transaction of `pgbench` is.
const ONE_ROW: &str = include_str!("bench_rows.sql");
const MANY_ROWS: &str = include_str!("bench_entries.sql");
/// How many rows the second of these inserts.
const ROWS: u32 = 200;
const CREATE: &str = include_str!("create.sql");
const DROP: &str = include_str!("drop.sql");
const ANALYZE: &str = include_str!("analyze.sql");

/// The most connections. By default Postgres allows 100 and keeps back 3 of them. Two services are connected beside
/// `pgbench`, and each may have 16.
const MOST_CONNECTIONS: u32 = 64;

/// `pgbench` and the database it works on.
pub(super) struct Pgbench {
    program: PathBuf,
    connection: String,
    /// The folder of the scripts: `pgbench` only reads scripts from files.
    scripts: TempDir,
}

/// What `pgbench` measured.
#[derive(Debug, PartialEq)]
struct Finding {
    per_second: f64,
    mean_micros: f64,
    completed: u64,
    failed: u64,
}

impl Pgbench {
    /// Finds the program in the folder of Postgres's programs, or on the path.
    pub(super) fn find(postgres_bin: Option<&Path>, connection: String) -> Result<Self, CliError> {
        let beside = find_bin_dir(postgres_bin).ok().map(|bin_dir| bin_dir.join("pgbench"));
        let program = beside.filter(|program| program.is_file()).unwrap_or_else(|| PathBuf::from("pgbench"));
        let failed = |error: std::io::Error| CliError::failed(format_args!("cannot write pgbench's scripts: {error}"));
        let scripts = tempfile::tempdir().map_err(failed)?;
        let all = [("one", ONE_ROW), ("many", MANY_ROWS), ("create", CREATE), ("drop", DROP), ("analyze", ANALYZE)];
        for (name, script) in all {
            std::fs::write(scripts.path().join(name), script).map_err(failed)?;
        }
        Ok(Self { program, connection, scripts })
    }

    /// Makes the tables into which rows are inserted.
    pub(super) async fn create_tables(&self) -> Result<(), CliError> {
        self.call("create", &["--transactions=1"]).await.map(drop)
    }

    /// Brings the planner's statistics up to date. Postgres does so by itself within a minute or so, but a measurement
    /// must not depend on whether it just did.
    pub(super) async fn analyze(&self) -> Result<(), CliError> {
        self.call("analyze", &["--transactions=1"]).await.map(drop)
    }

    /// Removes the tables.
    pub(super) async fn drop_tables(&self) -> Result<(), CliError> {
        self.call("drop", &["--transactions=1"]).await.map(drop)
    }

    /// Inserts rows over this many connections. The sample is told as one of this many clients, and counts rows.
    pub(super) async fn run<T>(
        &self,
        workload: Workload,
        clients: u32,
        window: Window,
        meter: impl Fn() -> T,
    ) -> Result<(Sample, [T; 2]), CliError> {
        let (script, rows) = if workload == Workload::Raw { ("many", ROWS) } else { ("one", 1) };
        let connections = format!("--client={}", clients.min(MOST_CONNECTIONS));
        let run = async |time: Duration| {
            // It knows whole seconds only.
            let seconds = format!("--time={}", time.as_secs().max(1));
            self.call(script, &["--protocol=prepared", "--jobs=2", &connections, &seconds]).await
        };
        if !window.warmup.is_zero() {
            run(window.warmup).await?;
        }
        let before = meter();
        let output = run(window.measured).await?;
        let readings = [before, meter()];
        let finding = parse(&output)
            .ok_or_else(|| CliError::failed(format_args!("pgbench says something unexpected:\n{output}")))?;
        let (per_second, completed) = (finding.per_second * f64::from(rows), finding.completed * u64::from(rows));
        let mut sample = Sample::new(workload, clients, per_second, completed);
        sample.mean_micros = finding.mean_micros;
        if finding.failed > 0 {
            sample.errors.insert("a transaction failed".to_owned(), finding.failed);
        }
        Ok((sample, readings))
    }

    async fn call(&self, script: &str, options: &[&str]) -> Result<String, CliError> {
        let mut command = Command::new(&self.program);
        command.arg("--no-vacuum").arg("--file").arg(self.scripts.path().join(script)).args(options);
        // The connection string says where the database is. The environment may name another.
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("PG") && name != "PGPASSWORD" && name != "PGPASSFILE" {
                command.env_remove(name);
            }
        }
        let output = command.arg(&self.connection).stdin(Stdio::null()).kill_on_drop(true).output().await;
        let output =
            output.map_err(|error| CliError::failed(format_args!("cannot run {}: {error}", self.program.display())))?;
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr);
            return Err(CliError::failed(format_args!("pgbench ended with {}:\n{}", output.status, told.trim())));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Reads what `pgbench` prints at the end.
fn parse(output: &str) -> Option<Finding> {
    let find = |beginning: &str| {
        let rest = output.lines().find_map(|line| line.strip_prefix(beginning))?;
        rest.split([' ', '/']).find(|word| !word.is_empty())
    };
    Some(Finding {
        per_second: find("tps = ")?.parse().ok()?,
        mean_micros: find("latency average = ")?.parse::<f64>().ok()? * 1_000.0,
        completed: find("number of transactions actually processed: ")?.parse().ok()?,
        failed: find("number of failed transactions: ").map_or(Some(0), |count| count.parse().ok())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pgbench_prints_is_read() {
        let output = "pgbench (15.18 (Debian 15.18-0+deb12u1))
transaction type: insert
scaling factor: 1
query mode: prepared
number of clients: 64
number of threads: 2
maximum number of tries: 1
duration: 10 s
number of transactions actually processed: 223451
number of failed transactions: 0 (0.000%)
latency average = 2.863 ms
initial connection time = 57.931 ms
tps = 22353.104167 (without initial connection time)
";
        let finding = Finding { per_second: 22_353.104_167, mean_micros: 2_863.0, completed: 223_451, failed: 0 };
        assert_eq!(parse(output), Some(finding));
        assert_eq!(parse("pgbench: error: no such database"), None);
    }
}
