//! Servers and services that are killed, outlive each other or meet in one directory.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use embedded_postgres::{EmbeddedPostgres, Options, StartError, find_bin_dir, throwaway_dir};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, chown};
use sqlx::{Connection, PgConnection};

use crate::{DATABASE, OWNER_ROLE, assert_row_is_kept, pid_of, throwaway, write_row};

/// Waits, bounded, until the condition holds.
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A living process that is no Postgres but runs as the same user, so that Postgres cannot tell by its number.
struct Stranger(Child);

impl Stranger {
    fn of_the_owner_of(cluster: &Path) -> Self {
        let mut command = Command::new("sleep");
        if Uid::effective().is_root() {
            command.uid(fs::metadata(cluster).unwrap().uid());
        }
        Self(command.arg("600").current_dir("/").spawn().unwrap())
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn start_recovers_what_was_committed_before_postgres_was_killed() {
    let directory = throwaway_dir().unwrap();
    let mut postgres = EmbeddedPostgres::start(throwaway(directory.path())).await.unwrap();
    write_row(&postgres).await;
    // A session that is busy notices the postmaster's death late, and keeps its shared memory until then.
    let options = postgres.connect_options(OWNER_ROLE, DATABASE);
    let busy = tokio::spawn(async move {
        let mut connection = PgConnection::connect_with(&options).await.unwrap();
        sqlx::query("SELECT count(*) FROM generate_series(1, 20000000)").execute(&mut connection).await
    });
    kill(pid_of(&postgres), Signal::SIGKILL).unwrap();
    assert!(postgres.wait().await.is_some_and(|status| !status.success()));
    assert_eq!(postgres.process_id(), None);
    postgres.stop().await.unwrap();

    let postgres = EmbeddedPostgres::start(throwaway(directory.path())).await.unwrap();
    assert_row_is_kept(&postgres).await;
    postgres.stop().await.unwrap();
    busy.abort();
}

#[tokio::test]
async fn postmaster_pid_of_a_stranger_prevents_no_start_and_harms_no_stranger() {
    let directory = throwaway_dir().unwrap();
    let cluster = directory.path().join("postgres");
    let pid_file = cluster.join("postmaster.pid");
    let postgres = EmbeddedPostgres::start(throwaway(directory.path())).await.unwrap();
    write_row(&postgres).await;
    let of_the_living = fs::read_to_string(&pid_file).unwrap();
    let (_, rest) = of_the_living.split_once('\n').unwrap();
    postgres.stop().await.unwrap();

    let mut stranger = Stranger::of_the_owner_of(&cluster);
    for content in [format!("{}\n{rest}", stranger.0.id()), String::new(), "no number\n".to_owned()] {
        let owner = fs::metadata(&cluster).unwrap();
        let socket_lock = directory.path().join("socket/.s.PGSQL.5432.lock");
        for file in [&pid_file, &socket_lock] {
            fs::write(file, &content).unwrap();
            fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
            chown(file, Some(owner.uid().into()), Some(owner.gid().into())).unwrap();
        }
        let postgres = EmbeddedPostgres::start(throwaway(directory.path())).await.unwrap();
        assert_row_is_kept(&postgres).await;
        postgres.stop().await.unwrap();
    }
    assert!(stranger.0.try_wait().unwrap().is_none(), "the stranger was ended");
}

/// Where the other process of the next test finds its data directory.
const DATA_DIR_OF_THE_KILLED: &str = "TEST_DATA_DIR_OF_THE_KILLED";

#[tokio::test]
async fn server_that_outlived_its_killed_service_is_stopped_first() {
    // This test runs itself as the service that is to be killed.
    if let Some(data_dir) = std::env::var_os(DATA_DIR_OF_THE_KILLED) {
        let options = Options { throwaway: false, ..throwaway(Path::new(&data_dir)) };
        let mut postgres = EmbeddedPostgres::start(options).await.unwrap();
        write_row(&postgres).await;
        println!("\npostmaster {}", postgres.process_id().unwrap());
        postgres.wait().await;
        return;
    }
    let directory = throwaway_dir().unwrap();
    let mut service = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::server_that_outlived_its_killed_service_is_stopped_first", "--nocapture"])
        .env(DATA_DIR_OF_THE_KILLED, directory.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(service.stdout.take().unwrap()).lines().map_while(Result::ok);
    let orphan = lines.find_map(|line| line.strip_prefix("postmaster ")?.parse().ok()).unwrap();
    let orphan = Pid::from_raw(orphan);
    service.kill().unwrap();
    service.wait().unwrap();
    assert_eq!(kill(orphan, None), Ok(()), "the postmaster was to outlive its service");

    // Where this start cannot take its place, it goes on.
    let version = directory.path().join("postgres/PG_VERSION");
    let made_by = fs::read(&version).unwrap();
    fs::write(&version, "99\n").unwrap();
    let refusal = EmbeddedPostgres::start(throwaway(directory.path())).await.unwrap_err();
    assert!(matches!(refusal, StartError::OtherVersion { major: 99, .. }), "{refusal}");
    assert!(
        directory.path().join("postgres/postmaster.pid").exists(),
        "the postmaster was stopped, and nothing serves"
    );
    fs::write(&version, made_by).unwrap();

    let postgres = EmbeddedPostgres::start(throwaway(directory.path())).await.unwrap();
    assert_ne!(pid_of(&postgres), orphan);
    assert_row_is_kept(&postgres).await;
    let log = fs::read_to_string(directory.path().join("postgres.log")).unwrap();
    assert!(log.contains("received fast shutdown request"), "stopped otherwise than in order: {log}");
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn second_service_in_the_same_directory_is_refused_and_told_by_whom() {
    let directory = throwaway_dir().unwrap();
    let postgres = EmbeddedPostgres::start(throwaway(directory.path())).await.unwrap();
    let refusal = EmbeddedPostgres::start(throwaway(directory.path())).await.unwrap_err();
    assert!(matches!(refusal, StartError::InUse { .. }), "{refusal}");
    assert!(refusal.to_string().contains(&format!("process {}", std::process::id())), "{refusal}");
    write_row(&postgres).await;
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn throwaway_that_is_never_stopped_is_cleared_away() {
    let directory = throwaway_dir().unwrap().keep();
    let postgres = EmbeddedPostgres::start(throwaway(&directory)).await.unwrap();
    drop(postgres);
    wait_until("the directory is gone", || !directory.exists());
}

#[tokio::test]
async fn server_is_in_a_process_group_of_its_own() {
    let directory = throwaway_dir().unwrap();
    let postgres = EmbeddedPostgres::start(throwaway(directory.path())).await.unwrap();
    let pid = pid_of(&postgres).to_string();
    let group = match fs::read_to_string(format!("/proc/{pid}/stat")) {
        // After the program's name in parentheses: state, parent, group.
        Ok(stat) => stat.rsplit_once(')').unwrap().1.split_whitespace().nth(2).map(str::to_owned),
        Err(_) => {
            let ps = Command::new("ps").args(["-o", "pgid=", "-p", &pid]).output().unwrap();
            Some(String::from_utf8(ps.stdout).unwrap().trim().to_owned())
        }
    };
    assert_eq!(group, Some(pid));
    postgres.stop().await.unwrap();
}

/// Programs of which `initdb` never ends by itself. It leaves its process id where it is to make a cluster.
fn make_hanging_programs(bin_dir: &Path) {
    let make = |path: &Path, text: &str| {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    };
    fs::create_dir(bin_dir).unwrap();
    fs::set_permissions(bin_dir, Permissions::from_mode(0o755)).unwrap();
    let postgres = find_bin_dir(None).unwrap().join("postgres");
    make(&bin_dir.join("postgres"), &format!("#!/bin/sh\nexec '{}' \"$@\"\n", postgres.display()));
    make(&bin_dir.join("initdb"), "#!/bin/sh\necho $$ >\"$2/begun\"\nsleep 600\n");
}

/// What is left in a data directory of clusters that were not completed.
fn unfinished(data_dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(data_dir).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.to_string_lossy().contains("postgres.initdb-")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_to_stop_ends_initdb_at_once_and_leaves_nothing_half_made() {
    let directory = throwaway_dir().unwrap();
    let (bin_dir, data_dir) = (directory.path().join("bin"), directory.path().join("data"));
    make_hanging_programs(&bin_dir);
    let options = Options { bin_dir: Some(bin_dir), ..throwaway(&data_dir) };
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let starting = tokio::spawn(EmbeddedPostgres::start_unless(options, async { stopped.await.unwrap() }));
    let mut initdb = None;
    wait_until("initdb has begun", || {
        let begun = unfinished(&data_dir).first().map(|path| path.join("begun"));
        initdb = begun.and_then(|begun| fs::read_to_string(begun).ok()?.trim().parse().ok());
        initdb.is_some()
    });
    stop.send(()).unwrap();
    assert!(matches!(starting.await.unwrap(), Err(StartError::ToldToStop)));
    assert_eq!(kill(Pid::from_raw(initdb.unwrap()), None), Err(Errno::ESRCH));
    assert_eq!(unfinished(&data_dir), Vec::<PathBuf>::new());

    // However early it is told.
    let stopped = EmbeddedPostgres::start_unless(throwaway(&data_dir), async {}).await;
    assert!(matches!(stopped, Err(StartError::ToldToStop)));
    let postgres = EmbeddedPostgres::start(throwaway(&data_dir)).await.unwrap();
    postgres.stop().await.unwrap();
}
