//! Starts and stops the processes that a measurement needs: this same program as the service, and as the echo.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use std::{env, fs};

use embedded_postgres::throwaway_dir;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Endpoint;

use super::super::client::{Credential, endpoint};
use super::super::error::CliError;
use super::super::error::with_causes;
use super::super::wait;
use crate::embedded_postgres::{DATABASE, OWNER_ROLE, SERVICE_ROLE};

/// How long a process may take until it answers.
const LONGEST_START: Duration = Duration::from_secs(60);
/// How long the service may take to end; Postgres ends with it.
const LONGEST_STOP: Duration = Duration::from_secs(90);
/// How much of a failed service's log is told.
const LAST_LINES: usize = 20;

/// Services of a measurement count what operators see, as any service does, at a port that is free.
const ADMIN_LISTEN: (&str, &str) = ("GOLDBOOK_ADMIN_LISTEN", "127.0.0.1:0");

/// A service with a database of its own, for one run.
pub(super) struct Service {
    process: Process,
    /// Removed with all that is in it when this is dropped.
    directory: TempDir,
}

impl Service {
    /// Starts the process, which is not [ready](Self::ready) yet.
    pub(super) fn start(postgres_bin: Option<&Path>) -> Result<Self, CliError> {
        let failed = |error: std::io::Error| CliError::failed(format_args!("cannot make a directory: {error}"));
        let directory = throwaway_dir().map_err(failed)?;
        let mut command = this_program()?;
        command.arg("serve").arg("--throwaway-database").arg("--data-dir").arg(directory.path().join("data"));
        command.env(ADMIN_LISTEN.0, env::var_os(ADMIN_LISTEN.0).unwrap_or_else(|| ADMIN_LISTEN.1.into()));
        if let Some(bin_dir) = postgres_bin {
            command.arg("--postgres-bin").arg(bin_dir);
        }
        let process = Process::spawn("the service", command, directory.path().join("serve.log"))?;
        Ok(Self { process, directory })
    }

    /// Starts another service on a database that one has already, by the socket in this folder. It does what it is asked
    /// and nothing by itself.
    pub(super) fn start_beside(socket_dir: &Path) -> Result<Self, CliError> {
        Self::spawn_beside("the second service", socket_dir, &[])
    }

    /// As [`start_beside`](Self::start_beside), but it measures nothing for operators.
    pub(super) fn start_unmeasured_beside(socket_dir: &Path) -> Result<Self, CliError> {
        Self::spawn_beside("the service without metrics", socket_dir, &["--admin-listen=off"])
    }

    /// As [`start_beside`](Self::start_beside), but it asks callers for an API key.
    pub(super) fn start_keyed_beside(socket_dir: &Path) -> Result<Self, CliError> {
        Self::spawn_beside("the service with API keys", socket_dir, &["--api-keys"])
    }

    fn spawn_beside(name: &'static str, socket_dir: &Path, flags: &[&str]) -> Result<Self, CliError> {
        let failed = |error: std::io::Error| CliError::failed(format_args!("cannot make a directory: {error}"));
        let directory = throwaway_dir().map_err(failed)?;
        let mut command = this_program()?;
        command
            .args(["serve", "--no-migrate", "--dues-ms=0", "--liability-seconds=0", "--retention-minutes=0"])
            .args(flags);
        command.env(ADMIN_LISTEN.0, env::var_os(ADMIN_LISTEN.0).unwrap_or_else(|| ADMIN_LISTEN.1.into()));
        command.arg("--database-url").arg(service_url(socket_dir));
        let process = Process::spawn(name, command, directory.path().join("serve.log"))?;
        Ok(Self { process, directory })
    }

    /// Makes an API key of this name, which may do in all programs what services may.
    pub(super) async fn create_key(&self, name: &str) -> Result<Credential, CliError> {
        let mut command = this_program()?;
        command.args(["key", "create", name, "--role=service", "--database-url"]).arg(service_url(&self.socket_dir()?));
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
        let output = output.map_err(|error| CliError::failed(format_args!("cannot make an API key: {error}")))?;
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr);
            return Err(CliError::failed(format_args!("no API key was made, {}:\n{}", output.status, told.trim())));
        }
        Credential::bearer(&String::from_utf8_lossy(&output.stdout))
    }

    /// Waits until the service is ready.
    pub(super) async fn ready(&mut self) -> Result<(), CliError> {
        let endpoint = endpoint(&self.process.address)?;
        self.process.wait_until(|| async { wait::check_ready(&endpoint).await }).await
    }

    pub(super) fn address(&self) -> String {
        self.process.address.clone()
    }

    /// The process, as long as it has not ended.
    pub(super) fn pid(&self) -> Option<u32> {
        self.process.child.id()
    }

    /// The folder of the socket of its own Postgres.
    pub(super) fn socket_dir(&self) -> Result<PathBuf, CliError> {
        // The folder may be a link, where the way to the data directory is too long for a socket.
        let socket_dir = self.directory.path().join("data").join("socket").canonicalize();
        socket_dir.map_err(|error| CliError::failed(format_args!("cannot find the database's socket: {error}")))
    }

    /// The connection string for `libpq`, as the owner of all tables.
    pub(super) fn owner_connection(&self) -> Result<String, CliError> {
        let socket_dir = self.socket_dir()?;
        let host = socket_dir.to_string_lossy().replace('\\', "\\\\").replace('\'', "\\'");
        Ok(format!("host='{host}' port=5432 user={OWNER_ROLE} dbname={DATABASE}"))
    }

    /// Stops the service and its database, and removes what they wrote.
    pub(super) async fn stop(self) -> Result<(), CliError> {
        let status = self.process.stop().await;
        let removed = self.directory.close();
        removed.map_err(|error| CliError::failed(format_args!("cannot remove the throw-away database: {error}")))?;
        match status {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(CliError::failed(format_args!("the service ended with {status}"))),
            None => Err(CliError::failed("the service did not stop in time and was killed")),
        }
    }
}

/// The bare tonic server in its own process, as the service is in its own.
pub(super) struct EchoServer {
    process: Process,
    _directory: TempDir,
}

impl EchoServer {
    /// Starts the process, which is not [ready](Self::ready) yet.
    pub(super) fn start() -> Result<Self, CliError> {
        let directory = tempfile::tempdir();
        let directory =
            directory.map_err(|error| CliError::failed(format_args!("cannot make a directory: {error}")))?;
        let mut command = this_program()?;
        command.arg("bench-echo");
        let process = Process::spawn("the echo", command, directory.path().join("echo.log"))?;
        Ok(Self { process, _directory: directory })
    }

    /// Waits until it listens.
    pub(super) async fn ready(&mut self) -> Result<(), CliError> {
        let endpoint = self.endpoint()?;
        let connect = || async { endpoint.connect().await.map(drop).map_err(|error| with_causes(&error)) };
        self.process.wait_until(connect).await
    }

    pub(super) fn endpoint(&self) -> Result<Endpoint, CliError> {
        endpoint(&self.process.address)
    }

    /// The process, as long as it has not ended.
    pub(super) fn pid(&self) -> Option<u32> {
        self.process.child.id()
    }

    /// Stops the server.
    pub(super) async fn stop(self) {
        self.process.stop().await;
    }
}

/// The database whose socket is in this folder, in the service's role.
fn service_url(socket_dir: &Path) -> String {
    let host = socket_dir.to_string_lossy().replace('%', "%25").replace('/', "%2F");
    format!("postgres://{SERVICE_ROLE}@{host}:5432/{DATABASE}?sslmode=disable")
}

/// This program, without the variables that name a database: a measurement must not write to one that the shell's
/// environment happens to name. Nor may the environment say who is asked for an API key.
fn this_program() -> Result<Command, CliError> {
    let program = env::current_exe();
    let program =
        program.map_err(|error| CliError::failed(format_args!("cannot tell where this program is: {error}")))?;
    let mut command = Command::new(program);
    command
        .env_remove("GOLDBOOK_DATABASE_URL")
        .env_remove("GOLDBOOK_OWNER_DATABASE_URL")
        .env_remove("GOLDBOOK_API_KEYS");
    Ok(command)
}

/// A child that listens on a port of its own and writes its log to a file.
struct Process {
    name: &'static str,
    child: Child,
    address: String,
    log: PathBuf,
}

impl Process {
    /// Starts a command with `--listen` added.
    fn spawn(name: &'static str, mut command: Command, log: PathBuf) -> Result<Self, CliError> {
        let failed = |error: std::io::Error| CliError::failed(format_args!("cannot start {name}: {error}"));
        // The port is free now. If another process takes it before the child does, the child says so and ends.
        let listen = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_err(failed)?;
        let output = File::create(&log).map_err(failed)?;
        command.arg("--listen").arg(listen.to_string());
        command.stdin(Stdio::null()).stdout(output.try_clone().map_err(failed)?).stderr(output);
        // In a group of its own the child gets no Ctrl-C: this process stops it in order. If this process panics, the
        // child is killed.
        command.process_group(0).kill_on_drop(true);
        let child = command.spawn().map_err(failed)?;
        Ok(Self { name, child, address: format!("http://{listen}"), log })
    }

    /// Waits until `look` succeeds. Fails if the process has ended, or after a while.
    async fn wait_until<F: Future<Output = Result<(), String>>>(
        &mut self,
        look: impl Fn() -> F,
    ) -> Result<(), CliError> {
        let give_up = Instant::now() + LONGEST_START;
        while let Err(problem) = look().await {
            if let Ok(Some(status)) = self.child.try_wait() {
                let log = self.last_words();
                return Err(CliError::failed(format_args!("{} ended with {status}:\n{log}", self.name)));
            }
            if Instant::now() > give_up {
                let log = self.last_words();
                return Err(CliError::failed(format_args!("{} does not answer: {problem}\n{log}", self.name)));
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Asks the process to end and waits for that. Returns its status, or none if it had to be killed.
    async fn stop(mut self) -> Option<ExitStatus> {
        // No other process can have this id, since nobody has waited for the child yet.
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // This fails if the child has ended by itself, which is fine.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        match timeout(LONGEST_STOP, self.child.wait()).await {
            Ok(status) => status.ok(),
            Err(_) => {
                let _ = self.child.kill().await;
                None
            }
        }
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(LAST_LINES);
        lines.into_iter().skip(from).collect::<Vec<_>>().join("\n")
    }
}
