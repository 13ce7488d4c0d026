//! The promises of the crate, from outside: real programs, real kills. Every promise holds for root and for an ordinary
//! user. Where they differ, the test expects what fits who runs it.
#![allow(clippy::unwrap_used, reason = "a test's helper fails as the test does, by a panic")]
#![expect(clippy::disallowed_methods, reason = "it waits for processes, which announce nothing")]

#[path = "embedded_postgres/processes.rs"]
mod processes;
#[path = "embedded_postgres/versions.rs"]
mod versions;

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use embedded_postgres::{Application, EmbeddedPostgres, Options, SUPERUSER, StartError, find_bin_dir, throwaway_dir};
use nix::unistd::{Pid, Uid};
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
    settings: &[("max_wal_size", "3GB"), ("wal_compression", "no such method"), ("work_mem", "5MB")],
};

fn throwaway(data_dir: &Path) -> Options {
    Options { application: APPLICATION, data_dir: data_dir.to_path_buf(), bin_dir: asked_for(), throwaway: true }
}

/// The programs that whoever runs the tests asks for. Otherwise they are found.
fn asked_for() -> Option<PathBuf> {
    env::var_os("GOLDBOOK_POSTGRES_BIN").map(PathBuf::from)
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
        ("SELECT current_setting('max_wal_size')", "3GB"),
        ("SELECT current_setting('work_mem')", "5MB"),
        // More than the 128 MB of `initdb`, on every machine that builds this.
        ("SELECT (pg_size_bytes(current_setting('shared_buffers')) > 134217728)::text", "true"),
        ("SELECT (pg_size_bytes(current_setting('shared_buffers')) <= 4294967296)::text", "true"),
        // Left out, since no Postgres knows the method.
        ("SELECT current_setting('wal_compression')", "off"),
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

/// The detail of a violated constraint would be the row, and that of a statement the values of its parameters.
#[tokio::test]
async fn the_log_tells_of_failures_and_not_of_the_data_in_them() {
    let directory = throwaway_dir().unwrap();
    let postgres = EmbeddedPostgres::start(throwaway(directory.path())).await.unwrap();
    let mut connection = PgConnection::connect_with(&postgres.connect_options(SUPERUSER, DATABASE)).await.unwrap();
    for sql in [
        "CREATE TABLE people (name text CONSTRAINT short CHECK (length(name) < 5) UNIQUE)",
        // Whoever wants to know how long statements take is not told what they are about.
        "SET log_min_duration_statement = 0",
        "SET log_parameter_max_length_on_error = -1",
    ] {
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    }
    let insert = "INSERT INTO people VALUES ($1)";
    for (name, is_taken) in [("Wilhelmina", false), ("Zoë", true), ("Zoë", false)] {
        let outcome = sqlx::query(insert).bind(name).execute(&mut connection).await;
        assert_eq!(outcome.is_ok(), is_taken, "{name}: {outcome:?}");
    }
    let log = fs::read_to_string(directory.path().join("postgres.log")).unwrap();
    for told in
        ["duration: ", "violates check constraint \"short\"", "duplicate key value violates unique constraint", insert]
    {
        assert!(log.contains(told), "{told} is not in {log}");
    }
    for kept_back in ["Wilhelmina", "Zoë", "DETAIL", "CONTEXT"] {
        assert!(!log.contains(kept_back), "{kept_back} is in {log}");
    }
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
async fn setting_with_which_postgres_cannot_start_here_is_left_out() {
    let directory = throwaway_dir().unwrap();
    // Every build of Postgres knows it, and few machines have such pages.
    let application = Application { settings: &[("huge_pages", "on"), ("work_mem", "5MB")], ..APPLICATION };
    let postgres = EmbeddedPostgres::start(Options { application, ..throwaway(directory.path()) }).await.unwrap();
    assert_eq!(query(&postgres, OWNER_ROLE, "SELECT current_setting('work_mem')").await.as_deref(), Some("5MB"));
    postgres.stop().await.unwrap();
}

#[test]
fn find_bin_dir_finds_programs_and_refuses_a_folder_without_them_by_name() {
    let found: PathBuf = find_bin_dir(asked_for().as_deref()).unwrap();
    assert!(found.join("postgres").is_file() && found.join("initdb").is_file());
    assert_eq!(find_bin_dir(Some(&found)).unwrap(), found);
    let empty = tempfile::tempdir().unwrap();
    let refusal = find_bin_dir(Some(empty.path())).unwrap_err();
    assert!(refusal.to_string().contains(&empty.path().display().to_string()), "{refusal}");
    assert!(refusal.to_string().contains("postgres"), "{refusal}");
}
