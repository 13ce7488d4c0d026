//! The server's process, and the cluster that it needs.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;

use super::account::{command, give};
use super::error::StartError;
use super::interrupt::Interrupt;
use super::place::Place;
use super::reaper::Reaper;
use super::{Application, Options, PORT, SUPERUSER, binaries, leftover, memory};

/// How much of the end of a log an error message carries, in bytes.
const LAST_WORDS: u64 = 2_000;

/// Makes everything ready for [`Server::spawn`]: the place, no other server in it, and a cluster. The second part of
/// what it returns is the folder of the programs.
pub(super) fn prepare(options: &Options, interrupt: &Interrupt) -> Result<(Place, PathBuf), StartError> {
    let place = Place::prepare(options)?;
    let major = cluster_major(&place.cluster)?;
    let installation = binaries::choose(options.bin_dir.as_deref(), place.account.as_ref(), &place.cluster, major)?;
    // Only now: a server that an earlier run left behind goes on where this one could not take its place.
    leftover::stop_and_clear(&place.cluster, &place.socket_dir)?;
    if major.is_none() {
        create_cluster(&place, installation.bin_dir(), options, interrupt)?;
    }
    Ok((place, installation.bin_dir().to_path_buf()))
}

/// The major version that made the cluster; `None` when there is no cluster yet.
fn cluster_major(cluster: &Path) -> Result<Option<u32>, StartError> {
    let path = cluster.join("PG_VERSION");
    match fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse() {
            Ok(major) => Ok(Some(major)),
            Err(_) => Err(StartError::NotACluster(cluster.to_path_buf())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let is_empty = fs::read_dir(cluster).map_or(true, |mut entries| entries.next().is_none());
            if is_empty { Ok(None) } else { Err(StartError::NotACluster(cluster.to_path_buf())) }
        }
        Err(error) => Err(StartError::file("read", &path)(error)),
    }
}

/// Runs `initdb` beside the cluster's place and moves the result there, so that a kill leaves nothing half done under
/// the cluster's name.
fn create_cluster(place: &Place, bin_dir: &Path, options: &Options, interrupt: &Interrupt) -> Result<(), StartError> {
    let home = place.cluster.parent().unwrap_or(&place.data_dir);
    remove_unfinished(home);
    let unfinished = home.join(format!("postgres.initdb-{}", process::id()));
    DirBuilder::new().mode(0o700).create(&unfinished).map_err(StartError::file("create", &unfinished))?;
    give(&unfinished, place.account.as_ref())?;

    let program = bin_dir.join("initdb");
    let mut initdb = command(&program, place.account.as_ref());
    initdb.arg("-D").arg(&unfinished).args(["-U", SUPERUSER, "--encoding=UTF8", "--locale=C", "--data-checksums"]);
    // The socket's directory decides who comes in; nobody comes in over a network.
    initdb.args(["--auth-local=trust", "--auth-host=reject", "--no-instructions"]);
    if options.throwaway {
        initdb.arg("--no-sync");
    }
    let (status, told) = interrupt.run(&mut initdb).map_err(|source| StartError::Run { program, source })?;
    if interrupt.is_told() {
        remove_unfinished(home);
        return Err(StartError::ToldToStop);
    }
    if !status.success() {
        remove_unfinished(home);
        return Err(StartError::Initdb(String::from_utf8_lossy(&told).trim().to_owned()));
    }
    let share = memory::shared_buffers();
    let own = share.iter().map(|share| ("shared_buffers", share.as_str()));
    add_settings(place, bin_dir, &unfinished, own.chain(options.application.settings.iter().copied()))?;
    fs::rename(&unfinished, &place.cluster).map_err(StartError::file("create", &place.cluster))?;
    // The name must last as surely as what initdb wrote.
    File::open(home).and_then(|home| home.sync_all()).map_err(StartError::file("write", home))
}

/// Adds settings to a new cluster's `postgresql.conf`, each if these programs can start with it on this machine.
/// `--check` is how `initdb` finds that out: it takes the shared memory, too.
fn add_settings<'a>(
    place: &Place,
    bin_dir: &Path,
    cluster: &Path,
    settings: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<(), StartError> {
    let program = bin_dir.join("postgres");
    let path = cluster.join("postgresql.conf");
    let mut file = File::options().append(true).open(&path).map_err(StartError::file("open", &path))?;
    for (name, value) in settings {
        let mut ask = command(&program, place.account.as_ref());
        ask.arg("--check").arg("-D").arg(cluster).args(["-c", &format!("{name}={value}")]);
        let answer = ask.output().map_err(|source| StartError::Run { program: program.clone(), source })?;
        if answer.status.success() {
            writeln!(file, "{name} = '{value}'").map_err(StartError::file("write", &path))?;
        }
    }
    file.sync_all().map_err(StartError::file("write", &path))
}

/// Removes what earlier attempts left. What cannot be removed is in nobody's way, since each attempt has its own name.
fn remove_unfinished(home: &Path) {
    for entry in fs::read_dir(home).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("postgres.initdb-") {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The postmaster, a child of this process.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) child: Child,
    reaper: Option<Reaper>,
    /// Where this server's part of the log begins.
    log_start: u64,
}

impl Server {
    /// Starts the postmaster, which does not take connections yet.
    pub(super) fn spawn(
        application: &Application,
        place: &Place,
        bin_dir: &Path,
        throwaway: bool,
    ) -> Result<Self, StartError> {
        let log = place.open_log()?;
        let log_start = log.metadata().map_err(StartError::file("look at", &place.log))?.len();
        let program = bin_dir.join("postgres");
        let mut postgres = command(&program, place.account.as_ref());
        postgres.arg("-D").arg(&place.cluster);
        // On the command line, because there they win over whatever the cluster's files say.
        for setting in [
            "listen_addresses=".to_owned(),
            format!("port={PORT}"),
            format!("unix_socket_directories={}", quote_directory(&place.socket_dir)),
            "unix_socket_permissions=0700".to_owned(),
            "log_destination=stderr".to_owned(),
            "logging_collector=off".to_owned(),
            // An error in the log is recognized by its words.
            "lc_messages=C".to_owned(),
            // Rows and values stay out of the log, which outlives them: the detail of a violated constraint is the row,
            // and details and contexts of statements are the values of their parameters.
            "log_error_verbosity=terse".to_owned(),
            format!("cluster_name={}", application.name),
        ] {
            postgres.arg("-c").arg(setting);
        }
        let other_log = log.try_clone().map_err(StartError::file("open", &place.log))?;
        postgres.stdout(log).stderr(other_log);
        // A Ctrl-C in the terminal reaches the whole foreground group. This process alone takes it, and stops Postgres
        // last.
        postgres.process_group(0);
        let child = tokio::process::Command::from(postgres).spawn();
        let child = child.map_err(|source| StartError::Run { program, source })?;
        let mut server = Self { child, reaper: None, log_start };
        if let Some(pid) = server.child.id().filter(|_| throwaway) {
            server.reaper = Some(Reaper::spawn(pid, place).inspect_err(|_| server.signal(Signal::SIGINT))?);
        }
        Ok(server)
    }

    /// Signals the postmaster, unless it has ended.
    pub(super) fn signal(&self, signal: Signal) {
        // While the child has an id it was not collected, so the number cannot have been given to another process.
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // It can only fail because the process ended in this moment, which is what a signal would ask for.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Tells the reaper that nothing is left to do.
    pub(super) fn dismiss_reaper(&mut self) {
        if let Some(reaper) = self.reaper.take() {
            reaper.dismiss();
        }
    }

    /// The end of what this server wrote to the log, for an error message.
    pub(super) fn last_words(&self, log: &Path) -> String {
        let read = || -> io::Result<String> {
            let mut file = File::open(log)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(self.log_start.max(length.saturating_sub(LAST_WORDS))))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
        };
        read().unwrap_or_else(|error| format!("its log cannot be read: {error}"))
    }
}

/// One entry of `unix_socket_directories`, a list in which a quoted name is taken as it is.
fn quote_directory(directory: &Path) -> String {
    format!("\"{}\"", directory.to_string_lossy().replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_a_quote_stays_one_directory() {
        assert_eq!(quote_directory(Path::new("/a \"b\"")), "\"/a \"\"b\"\"\"");
    }

    #[test]
    fn a_directory_with_other_files_is_no_cluster_and_an_empty_one_is_none_yet() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(cluster_major(directory.path()).unwrap(), None);
        assert_eq!(cluster_major(&directory.path().join("missing")).unwrap(), None);
        fs::write(directory.path().join("photo.jpg"), "").unwrap();
        assert!(matches!(cluster_major(directory.path()), Err(StartError::NotACluster(_))));
        fs::write(directory.path().join("PG_VERSION"), "15\n").unwrap();
        assert_eq!(cluster_major(directory.path()).unwrap(), Some(15));
    }
}
