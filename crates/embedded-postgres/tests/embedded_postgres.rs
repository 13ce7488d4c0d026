//! The promises of the crate, from outside: real programs, real kills. Every promise holds for root and for an ordinary
//! user. Where they differ, the test expects what fits who runs it.
#![allow(clippy::unwrap_used, reason = "a test's helper fails as the test does, by a panic")]
#![expect(clippy::disallowed_methods, reason = "it waits for processes, which announce nothing")]

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use embedded_postgres::{Application, EmbeddedPostgres, Options, SUPERUSER, StartError, find_bin_dir, throwaway_dir};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, chown};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

const OWNER_ROLE: &str = "shop_owner";
const SERVICE_ROLE: &str = "shop_service";
const DATABASE: &str = "shop";
const APPLICATION: Application = Application {
    name: "embedded-postgres-test",
    database: DATABASE,
    owner_role: OWNER_ROLE,
    other_roles: &[SERVICE_ROLE],
};

fn throwaway(data_dir: &Path) -> Options {
    Options { application: APPLICATION, data_dir: data_dir.to_path_buf(), bin_dir: None, throwaway: true }
}

/// Runs one statement as the owner; its single value as text.
async fn query(postgres: &EmbeddedPostgres, role: &str, sql: &'static str) -> Option<String> {
    let mut connection = PgConnection::connect_with(&postgres.connect_options(role, DATABASE)).await.unwrap();
    let value = sqlx::query_scalar::<_, Option<String>>(sql).fetch_optional(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    value.flatten()
}

/// Leaves something behind that a later start must find.
async fn write_row(postgres: &EmbeddedPostgres) {
    query(postgres, OWNER_ROLE, "CREATE TABLE kept (value text)").await;
    query(postgres, OWNER_ROLE, "INSERT INTO kept VALUES ('still here')").await;
}

async fn assert_row_is_kept(postgres: &EmbeddedPostgres) {
    assert_eq!(query(postgres, OWNER_ROLE, "SELECT value FROM kept").await.as_deref(), Some("still here"));
}

fn pid_of(postgres: &EmbeddedPostgres) -> Pid {
    Pid::from_raw(postgres.process_id().unwrap().try_into().unwrap())
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

/// A directory that only its owner can enter.
fn closed_dir() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).unwrap();
    directory
}

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
async fn first_start_makes_a_durable_cluster_with_two_plain_roles_and_a_database() {
    let directory = throwaway_dir().unwrap();
    let data_dir = directory.path().join("not/there yet");
    let postgres = EmbeddedPostgres::start(throwaway(&data_dir)).await.unwrap();

    for (setting, value) in [
        ("SELECT current_setting('fsync')", "on"),
        ("SELECT current_setting('full_page_writes')", "on"),
        ("SELECT current_setting('synchronous_commit')", "on"),
        ("SELECT current_setting('data_checksums')", "on"),
        ("SELECT current_setting('server_encoding')", "UTF8"),
        ("SELECT current_setting('listen_addresses')", ""),
        ("SELECT datcollate::text FROM pg_database WHERE datname = current_database()", "C"),
        ("SELECT datdba::regrole::text FROM pg_database WHERE datname = current_database()", OWNER_ROLE),
        (
            "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolcanlogin AND NOT rolsuper
                AND NOT rolcreaterole AND NOT rolcreatedb AND NOT rolreplication AND NOT rolbypassrls",
            "shop_owner shop_service",
        ),
        ("SELECT current_user::text", SERVICE_ROLE),
    ] {
        assert_eq!(query(&postgres, SERVICE_ROLE, setting).await.as_deref(), Some(value), "{setting}");
    }
    assert_eq!(mode_of(&data_dir.join("postgres")), 0o700);
    assert_eq!(mode_of(postgres.socket_dir()), 0o700);
    assert_eq!(postgres.data_dir(), data_dir.canonicalize().unwrap());
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn second_start_is_quick_and_keeps_the_data() {
    let directory = throwaway_dir().unwrap();
    let postgres = EmbeddedPostgres::start(throwaway(directory.path())).await.unwrap();
    write_row(&postgres).await;
    postgres.stop().await.unwrap();

    let begun = Instant::now();
    let postgres = EmbeddedPostgres::start(throwaway(directory.path())).await.unwrap();
    // A tenth of this on an idle machine; a start that made the cluster anew or waited for a limit takes longer.
    assert!(begun.elapsed() < Duration::from_secs(5), "took {:?}", begun.elapsed());
    assert_row_is_kept(&postgres).await;
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn start_without_throwaway_is_the_same_with_waiting_for_the_disk() {
    let directory = throwaway_dir().unwrap();
    let options = || Options { throwaway: false, ..throwaway(directory.path()) };
    let postgres = EmbeddedPostgres::start(options()).await.unwrap();
    write_row(&postgres).await;
    postgres.stop().await.unwrap();
    let postgres = EmbeddedPostgres::start(options()).await.unwrap();
    assert_row_is_kept(&postgres).await;
    postgres.stop().await.unwrap();
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
        .args(["--exact", "server_that_outlived_its_killed_service_is_stopped_first", "--nocapture"])
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
async fn path_too_long_for_a_socket_puts_the_socket_in_a_private_directory_elsewhere() {
    let directory = throwaway_dir().unwrap();
    let data_dir = directory.path().join("d".repeat(120));
    for _ in 0..2 {
        let postgres = EmbeddedPostgres::start(throwaway(&data_dir)).await.unwrap();
        let socket_dir = postgres.socket_dir().to_path_buf();
        assert!(!socket_dir.starts_with(&data_dir));
        assert_eq!(mode_of(&socket_dir), 0o700);
        assert_eq!(data_dir.join("socket").canonicalize().unwrap(), socket_dir.canonicalize().unwrap());
        query(&postgres, SERVICE_ROLE, "SELECT 'reached'").await.unwrap();
        postgres.stop().await.unwrap();
        assert!(!socket_dir.exists());
    }
}

#[tokio::test]
async fn closed_directory_is_used_by_its_owner_and_replaced_for_root() {
    let closed = closed_dir();
    let data_dir = closed.path().join("data");
    let options = || Options { throwaway: false, ..throwaway(&data_dir) };
    let postgres = EmbeddedPostgres::start(options()).await.unwrap();
    write_row(&postgres).await;
    postgres.stop().await.unwrap();
    let postgres = EmbeddedPostgres::start(options()).await.unwrap();
    assert_row_is_kept(&postgres).await;
    let link = data_dir.join("postgres");
    if !Uid::effective().is_root() {
        assert!(!link.is_symlink());
        return postgres.stop().await.unwrap();
    }

    let cluster = fs::read_link(&link).unwrap();
    let home = cluster.parent().unwrap().to_path_buf();
    assert!(home.starts_with("/var/lib/embedded-postgres-test"), "{}", home.display());
    assert_ne!(fs::metadata(&cluster).unwrap().uid(), 0);
    assert_eq!(mode_of(&cluster), 0o700);
    assert!(data_dir.join("postgres.log").is_file());
    assert_eq!(fs::read_link(data_dir.join("socket")).unwrap(), postgres.socket_dir());
    postgres.stop().await.unwrap();

    // Who removes the data directory wants to begin anew; what was there is kept aside.
    fs::remove_dir_all(&data_dir).unwrap();
    let postgres = EmbeddedPostgres::start(options()).await.unwrap();
    let tables = "SELECT count(*)::text FROM pg_tables WHERE tablename = 'kept'";
    assert_eq!(query(&postgres, OWNER_ROLE, tables).await.as_deref(), Some("0"));
    postgres.stop().await.unwrap();
    let names = fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.starts_with("postgres.set-aside-")).count(), 1);
    fs::remove_dir_all(&home).unwrap();
}

#[tokio::test]
async fn throwaway_in_a_directory_closed_to_the_servers_user_is_refused() {
    let closed = closed_dir();
    match EmbeddedPostgres::start(throwaway(&closed.path().join("data"))).await {
        Ok(postgres) => {
            assert!(!Uid::effective().is_root());
            postgres.stop().await.unwrap();
        }
        Err(refusal) => {
            assert!(Uid::effective().is_root(), "{refusal}");
            assert!(matches!(refusal, StartError::Unreachable { .. }), "{refusal}");
        }
    }
}

#[tokio::test]
async fn throwaway_that_is_never_stopped_is_cleared_away() {
    let directory = throwaway_dir().unwrap().keep();
    let postgres = EmbeddedPostgres::start(throwaway(&directory)).await.unwrap();
    drop(postgres);
    wait_until("the directory is gone", || !directory.exists());
}

#[tokio::test]
async fn start_after_a_kill_in_the_middle_of_the_first_start_completes_it() {
    let directory = throwaway_dir().unwrap();
    fs::create_dir_all(directory.path().join("postgres.initdb-1/base")).unwrap();
    let postgres = EmbeddedPostgres::start(throwaway(directory.path())).await.unwrap();
    assert!(!directory.path().join("postgres.initdb-1").exists());
    let mut connection = PgConnection::connect_with(&postgres.connect_options(SUPERUSER, "postgres")).await.unwrap();
    for undo in ["DROP DATABASE shop", "DROP ROLE shop_service"] {
        sqlx::query(undo).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    postgres.stop().await.unwrap();

    let postgres = EmbeddedPostgres::start(throwaway(directory.path())).await.unwrap();
    write_row(&postgres).await;
    query(&postgres, SERVICE_ROLE, "SELECT 'reached'").await.unwrap();
    postgres.stop().await.unwrap();
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

#[tokio::test]
async fn url_serves_sqlx_and_psql_also_where_the_path_needs_encoding() {
    for name in ["a path, 100% \"odd\"", "a path 100% \"odd\""] {
        let directory = throwaway_dir().unwrap();
        let postgres = EmbeddedPostgres::start(throwaway(&directory.path().join(name))).await.unwrap();
        let url = postgres.url(OWNER_ROLE, DATABASE);
        PgConnection::connect(&url).await.unwrap().close().await.unwrap();
        let mut psql = Command::new(postgres.bin_dir().join("psql"));
        let psql = psql.arg(&url).args(["-XAtc", "SELECT current_user"]).output().unwrap();
        let errors = String::from_utf8_lossy(&psql.stderr);
        assert_eq!(String::from_utf8_lossy(&psql.stdout).trim(), OWNER_ROLE, "{errors}");
        postgres.stop().await.unwrap();
    }
}

#[tokio::test]
async fn setting_that_postgres_refuses_is_reported_with_its_words() {
    let directory = throwaway_dir().unwrap();
    EmbeddedPostgres::start(throwaway(directory.path())).await.unwrap().stop().await.unwrap();
    let settings = directory.path().join("postgres/postgresql.auto.conf");
    fs::write(&settings, "shared_buffers = 'plenty'\n").unwrap();
    let refusal = EmbeddedPostgres::start(throwaway(directory.path())).await.unwrap_err();
    assert!(matches!(refusal, StartError::Ended { .. }), "{refusal}");
    assert!(refusal.to_string().contains("shared_buffers"), "{refusal}");
}

#[tokio::test]
async fn cluster_of_a_version_that_is_not_installed_is_refused_by_its_number() {
    let directory = throwaway_dir().unwrap();
    EmbeddedPostgres::start(throwaway(directory.path())).await.unwrap().stop().await.unwrap();
    fs::write(directory.path().join("postgres/PG_VERSION"), "99\n").unwrap();
    let refusal = EmbeddedPostgres::start(throwaway(directory.path())).await.unwrap_err();
    assert!(matches!(refusal, StartError::OtherVersion { major: 99, .. }), "{refusal}");
}

#[test]
fn find_bin_dir_finds_programs_and_refuses_a_folder_without_them_by_name() {
    let found: PathBuf = find_bin_dir(None).unwrap();
    assert!(found.join("postgres").is_file() && found.join("initdb").is_file());
    assert_eq!(find_bin_dir(Some(&found)).unwrap(), found);
    let empty = tempfile::tempdir().unwrap();
    let refusal = find_bin_dir(Some(empty.path())).unwrap_err();
    assert!(refusal.to_string().contains(&empty.path().display().to_string()), "{refusal}");
    assert!(refusal.to_string().contains("postgres"), "{refusal}");
}
