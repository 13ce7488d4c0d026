//! What can keep Postgres from starting or stopping. Every message says what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why [`start`](super::EmbeddedPostgres::start) did not start a Postgres.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No installation of PostgreSQL 15 or newer was found.
    #[error(
        "PostgreSQL 15 or newer was not found: install it (Debian, Ubuntu: apt-get install postgresql; \
         macOS: brew install postgresql), or name the folder of its programs"
    )]
    NotFound,
    /// The folder that was asked for cannot be used.
    #[error(
        "{} cannot be used: {reason}; name the folder that holds `postgres` and `initdb` of PostgreSQL 15 or newer",
        .bin_dir.display()
    )]
    UnusableBinaries {
        /// The folder that was asked for.
        bin_dir: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The cluster was made by a major version that is not here.
    #[error(
        "the database in {} was made by PostgreSQL {major}, which was not found{}: install PostgreSQL {major}, or name \
         the folder of its programs",
        .cluster.display(), .other.as_ref().map(ToString::to_string).unwrap_or_default()
    )]
    OtherVersion {
        /// The data directory of the cluster.
        cluster: PathBuf,
        /// The major version that made it.
        major: u32,
        /// What was found in its place.
        other: Option<OtherMajor>,
    },
    /// Another program works in this data directory.
    #[error("{} is in use by another program{holder}: stop that one, or choose another data directory", .directory.display())]
    InUse {
        /// The data directory that both want.
        directory: PathBuf,
        /// Its process id in brackets, as the message shows it; empty when unknown.
        holder: String,
    },
    /// Running as root, and there is no other user to run Postgres as.
    #[error(
        "Postgres refuses to run as root, and this machine has neither a user `postgres` nor `nobody`: \
         run this program as an ordinary user"
    )]
    NoAccount,
    /// The user who runs Postgres cannot enter the directory.
    #[error(
        "user `{account}`, who has to run Postgres because root may not, cannot enter {}: open the directories above \
         it to search (chmod o+x), or choose another data directory",
        .directory.display()
    )]
    Unreachable {
        /// The name of the user who runs Postgres.
        account: String,
        /// The directory that the user cannot enter.
        directory: PathBuf,
    },
    /// The cluster belongs to someone else.
    #[error(
        "the database in {} belongs to user `{owner}`, and Postgres runs for its owner only: run this program as that \
         user, give the directory to another with chown -R, or choose another data directory",
        .cluster.display()
    )]
    OtherOwner {
        /// The data directory of the cluster.
        cluster: PathBuf,
        /// The name of the user who owns it.
        owner: String,
    },
    /// Something else stands where the cluster belongs.
    #[error("{} holds files, but no Postgres database: move them away, or choose another data directory", .0.display())]
    NotACluster(PathBuf),
    /// A file operation failed.
    #[error("cannot {action} {}: {source}; check the directory's owner, permissions and free space", .path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or directory that it was tried on.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// A program could not be run.
    #[error("cannot run {}: {source}; check that PostgreSQL is installed completely", .program.display())]
    Run {
        /// The path of the program.
        program: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// `initdb` failed, with what it wrote last.
    #[error("initdb could not make a database: {0}")]
    Initdb(String),
    /// A Postgres that an earlier run left behind does not stop.
    #[error("a Postgres of this directory from an earlier run (process {0}) does not stop: stop it, then start again")]
    LeftRunning(i32),
    /// Postgres ended before it took connections.
    #[error("Postgres ended while starting ({status}): {last_words}; its log is {}", .log.display())]
    Ended {
        /// How the process ended, as the system words it.
        status: String,
        /// The end of its log.
        last_words: String,
        /// Where the log is.
        log: PathBuf,
    },
    /// Postgres took no connection in time.
    #[error("Postgres did not answer in time: {source}; its log is {}", .log.display())]
    NoAnswer {
        /// Why the last attempt to connect failed.
        source: ConnectError,
        /// Where the log is.
        log: PathBuf,
    },
    /// The application's roles or database could not be created.
    #[error("cannot create the roles and the database: {0}; see postgres.log in the data directory")]
    Setup(#[source] sqlx::Error),
    /// It was told to stop before it had started.
    #[error("Postgres was told to stop before it had started")]
    ToldToStop,
    /// The preparation was cut off, as when the runtime shuts down.
    #[error("the start of Postgres was interrupted: {0}; start again")]
    Interrupted(#[source] tokio::task::JoinError),
}

impl StartError {
    /// Whether it passes by itself: processes of a server that was killed a moment ago still hold its shared memory, or
    /// a server that a killed process had just begun to start has only now written its `postmaster.pid`.
    pub(super) fn is_passing(&self) -> bool {
        const PASSING: [&str; 2] = ["pre-existing shared memory block", "lock file \"postmaster.pid\" already exists"];
        matches!(self, Self::Ended { last_words, .. } if PASSING.iter().any(|words| last_words.contains(words)))
    }

    /// Names the file and what was tried, for `map_err`.
    pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { action, path, source }
    }
}

/// Programs of a major version that did not make a cluster, as a message tells of them.
#[derive(Debug, thiserror::Error)]
#[error(" (PostgreSQL {major} in {} cannot open it)", .bin_dir.display())]
pub struct OtherMajor {
    /// The major version.
    pub major: u32,
    /// The folder of the programs.
    pub bin_dir: PathBuf,
}

/// Why an attempt to connect failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Postgres refused, or could not be reached.
    #[error(transparent)]
    Refused(#[from] sqlx::Error),
    /// The attempt was not answered.
    #[error("the last attempt to connect was not answered within {bound:?}")]
    TimedOut {
        /// How long an attempt may take.
        bound: Duration,
    },
}

/// Why [`stop`](super::EmbeddedPostgres::stop) could not stop Postgres.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// Its process could not be waited for.
    #[error("cannot wait for Postgres to end: {0}; the next start stops it")]
    Wait(#[source] io::Error),
    /// It did not end, not even when told to end at once.
    #[error("Postgres did not end in time; the next start stops it")]
    StillRunning,
}
