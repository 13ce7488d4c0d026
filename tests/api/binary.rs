//! The program itself, as a child process.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::task::JoinHandle;

use crate::harness::POSTGRES_BIN;
use crate::wait::within;

/// The usual port is one for the whole machine.
const ADMIN_LISTEN: (&str, &str) = ("GOLDBOOK_ADMIN_LISTEN", "127.0.0.1:0");

/// `goldbook serve`, on ports of its own.
pub(crate) struct Serving {
    pub address: SocketAddr,
    /// Where it tells its metrics; nowhere if that is off.
    pub admin: SocketAddr,
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

/// `goldbook serve`, whose log is being read.
pub(crate) struct Watched {
    pub address: SocketAddr,
    pid: Pid,
    reading: JoinHandle<(ExitStatus, Vec<String>)>,
}

impl Watched {
    /// Stops the service in order; what it logged since it began to listen.
    pub(crate) async fn stop(self) -> Vec<String> {
        kill(self.pid, Signal::SIGTERM).unwrap();
        let (status, lines) = within("the end of the service", self.reading).await.unwrap();
        assert!(status.success(), "{status}: {:?}", lines.last());
        lines
    }
}

/// The program while it is at work, whatever it does, with all that it tells on standard error.
pub(crate) struct Running {
    child: Child,
    reader: Lines<BufReader<ChildStderr>>,
    told: Vec<String>,
}

impl Running {
    pub(crate) fn start(args: &[&str]) -> Self {
        // Nobody reads what it prints.
        let mut child =
            goldbook().env(ADMIN_LISTEN.0, ADMIN_LISTEN.1).args(args).stdout(Stdio::null()).spawn().unwrap();
        let reader = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, reader, told: Vec::new() }
    }

    /// Waits for a line with this in it.
    pub(crate) async fn says(&mut self, what: &str) -> String {
        loop {
            let line = within(what, self.reader.next_line()).await.unwrap();
            let line = line.unwrap_or_else(|| panic!("it ended before it said {what}: {:?}", self.told));
            self.told.push(line.clone());
            if line.contains(what) {
                return line;
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()), signal).unwrap();
    }

    /// Waits until it has ended by itself; all that it told.
    pub(crate) async fn end(mut self) -> (ExitStatus, Vec<String>) {
        while let Some(line) = within("the end of the log", self.reader.next_line()).await.unwrap() {
            self.told.push(line);
        }
        (within("the end of the program", self.child.wait()).await.unwrap(), self.told)
    }
}

/// How a program that ended by itself did so.
pub(crate) struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// The program with nothing from this process's environment that would change what it does, but for the Postgres that is
/// tried.
pub(crate) fn goldbook() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_goldbook"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let changes = ["GOLDBOOK_", "OTEL_", "PG", "RUST_LOG"].iter().any(|prefix| name.starts_with(prefix));
        if changes && name != POSTGRES_BIN {
            command.env_remove(&*name);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs the program to its end.
pub(crate) async fn run(args: &[&str]) -> Ended {
    run_in(&[], args).await
}

/// Runs the program to its end with these variables.
pub(crate) async fn run_in(environment: &[(&str, &str)], args: &[&str]) -> Ended {
    let mut command = goldbook();
    if args.first() == Some(&"serve") {
        command.env(ADMIN_LISTEN.0, ADMIN_LISTEN.1);
    }
    command.args(args).envs(environment.iter().copied());
    let output = within("the program", command.output()).await.unwrap();
    Ended {
        status: output.status,
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A Postgres on a Unix socket as a URL.
pub(crate) fn url(options: &PgConnectOptions) -> String {
    let socket = options.get_socket().unwrap().to_str().unwrap().replace('/', "%2F");
    let (role, port, database) = (options.get_username(), options.get_port(), options.get_database().unwrap());
    format!("postgres://{role}@{socket}:{port}/{database}?sslmode=disable")
}

impl Serving {
    /// Starts a service on this database, and returns when it listens.
    pub(crate) async fn start(database: &PgConnectOptions, environment: &[(&str, &str)]) -> Self {
        let mut command = goldbook();
        command.args(["serve", "--listen", "127.0.0.1:0", "--database-url", &url(database)]);
        command.envs(environment.iter().copied());
        Self::launch(command).await
    }

    /// Starts a service on this database that listens where these flags say.
    pub(crate) async fn start_at(database: &PgConnectOptions, flags: &[&str]) -> Self {
        let mut command = goldbook();
        command.args(["serve", "--database-url", &url(database)]).args(flags);
        Self::launch(command).await
    }

    /// Starts a service with a database of its own in this data directory, and returns when it listens.
    pub(crate) async fn start_in(data_dir: &Path) -> Self {
        let mut command = goldbook();
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data_dir);
        Self::launch(command).await
    }

    /// Starts a service with a throw-away database of its own and these variables, and returns when it listens.
    pub(crate) async fn start_own(data_dir: &Path, environment: &[(&str, &str)]) -> Self {
        let mut command = goldbook();
        command.args(["serve", "--listen", "127.0.0.1:0", "--throwaway-database", "--data-dir"]).arg(data_dir);
        command.envs(environment.iter().copied());
        Self::launch(command).await
    }

    async fn launch(mut command: Command) -> Self {
        command.env(ADMIN_LISTEN.0, ADMIN_LISTEN.1);
        let mut child = command.spawn().unwrap();
        let mut admin = None;
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = async {
            loop {
                let line = log.next_line().await.unwrap().expect("the service ended before it listened");
                // An error at the end is told to people.
                let line: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
                let address = || line["fields"]["address"].as_str().unwrap().parse().unwrap();
                if line["fields"]["message"] == "metrics and probes" {
                    admin = Some(address());
                }
                if line["fields"]["message"] == "listening" {
                    return address();
                }
            }
        };
        let address = within("listening", listening).await;
        Self { address, admin: admin.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0))), child, log }
    }

    /// The process, which must not have been waited for.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Tells the service to stop.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// Waits until the service has ended; what it logged since it began to listen, its last words as text.
    pub(crate) async fn wait(mut self) -> (ExitStatus, Vec<serde_json::Value>) {
        let rest = async {
            let mut lines = Vec::new();
            while let Some(line) = self.log.next_line().await.unwrap() {
                // An error at the end is told to people.
                lines.push(serde_json::from_str(&line).unwrap_or(serde_json::Value::String(line)));
            }
            lines
        };
        let lines = within("the end of the log", rest).await;
        (within("the end of the service", self.child.wait()).await.unwrap(), lines)
    }

    /// Reads the log from now on, so that the service never waits for a reader however much it says.
    pub(crate) fn watch(self) -> Watched {
        let pid = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap());
        let (address, mut log, mut child) = (self.address, self.log, self.child);
        let reading = tokio::spawn(async move {
            let mut lines = Vec::new();
            while let Some(line) = log.next_line().await.unwrap() {
                lines.push(line);
            }
            (child.wait().await.unwrap(), lines)
        });
        Watched { address, pid, reading }
    }

    /// Ends the service without a warning.
    pub(crate) async fn kill(self) {
        self.signal(Signal::SIGKILL);
        let (status, _) = self.wait().await;
        assert!(!status.success());
    }
}
