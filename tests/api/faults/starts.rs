//! How the program starts: on a database that is away or refuses, how much it asks, and what it tells when it cannot.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use goldbook::embedded_postgres::{OWNER_ROLE, SERVICE_ROLE, find_bin_dir, throwaway_dir};
use nix::sys::signal::Signal;
use tokio::net::{TcpListener, TcpStream};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::binary::{Running, Serving, run, run_in, url};
use crate::harness::{Clients, Database};
use crate::proxy::Proxy;
use crate::wait::until;

/// Nothing is done but what is called for.
const QUIET: [&str; 8] =
    ["--dues-ms", "0", "--liability-seconds", "0", "--retention-minutes", "0", "--admin-listen", "off"];

/// An address that nobody has.
async fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn a_database_that_is_away_at_the_start_is_waited_for_with_one_line() {
    let database = Database::create().await;
    let proxy = Proxy::before(&database);
    proxy.go_away();
    let (address, url) = (free_address().await, url(&proxy.options()));
    let mut waiting = Running::start(&["serve", "--listen", &address, "--database-url", &url]);
    let line = waiting.says("waiting for the database at ").await;
    assert!(line.contains(proxy.options().get_socket().unwrap().to_str().unwrap()), "{line}");
    // Whoever calls is told at once, and hangs on no connection.
    assert!(TcpStream::connect(&address).await.is_err());
    proxy.turned_away(3).await;
    proxy.come_back();
    waiting.says("\"listening\"").await;
    let clients = Clients::connect(address.parse().unwrap()).await;
    let health = clients.health().check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(health.status(), ServingStatus::Serving);
    waiting.signal(Signal::SIGTERM);
    let (status, lines) = waiting.end().await;
    assert!(status.success(), "{status}: {lines:?}");
    let count = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    assert_eq!((count("waiting for the database"), count(" is there\"")), (1, 1), "{lines:?}");
    // One of them that callers are not asked who they are.
    let warnings = lines.iter().filter(|line| line.contains("\"WARN\"") && line.contains("\"target\":\"goldbook::"));
    assert_eq!(warnings.count(), 2, "{lines:?}");
}

#[tokio::test]
async fn a_service_that_waits_for_its_database_ends_when_it_is_told_to() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let url = format!("postgres://goldbook_service@{}/goldbook", free_address().await);
        let mut waiting = Running::start(&["serve", "--listen", "127.0.0.1:0", "--database-url", &url]);
        waiting.says("waiting for the database at 127.0.0.1:").await;
        waiting.signal(signal);
        let (status, lines) = waiting.end().await;
        assert_eq!(status.code(), Some(0), "{lines:?}");
        assert!(lines.last().unwrap().contains("told to stop before it served"), "{lines:?}");
    }
}

/// Programs of which `initdb` never ends by itself, and says in its directory that it has begun.
fn make_hanging_programs(bin_dir: &Path) {
    let make = |path: &Path, text: &str| {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    };
    fs::create_dir(bin_dir).unwrap();
    fs::set_permissions(bin_dir, Permissions::from_mode(0o755)).unwrap();
    let postgres = find_bin_dir(None).unwrap().join("postgres");
    make(&bin_dir.join("postgres"), &format!("#!/bin/sh\nexec '{}' \"$@\"\n", postgres.display()));
    make(&bin_dir.join("initdb"), "#!/bin/sh\ntouch \"$2/begun\"\nsleep 600\n");
}

#[tokio::test]
async fn a_service_that_makes_its_database_ends_when_told_to_and_makes_it_next_time() {
    let directory = throwaway_dir().unwrap();
    let (bin_dir, data_dir) = (directory.path().join("bin"), directory.path().join("data"));
    make_hanging_programs(&bin_dir);
    let unfinished = || {
        let entries = fs::read_dir(&data_dir).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| path.to_string_lossy().contains("postgres.initdb-")).collect::<Vec<_>>()
    };
    let args = ["serve", "--listen", "127.0.0.1:0", "--data-dir", data_dir.to_str().unwrap()];
    let args = [&args[..], &["--postgres-bin", bin_dir.to_str().unwrap()], &QUIET].concat();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let starting = Running::start(&args);
        let is_begun = || unfinished().first().is_some_and(|path| path.join("begun").exists());
        until("the cluster to be made", async || is_begun().then_some(())).await;
        starting.signal(signal);
        let (status, lines) = starting.end().await;
        assert_eq!(status.code(), Some(0), "{lines:?}");
        assert!(lines.last().unwrap().contains("told to stop before it served"), "{lines:?}");
        assert!(unfinished().is_empty() && !data_dir.join("postgres").exists());
    }
    let serving = Serving::start_in(&data_dir).await;
    serving.signal(Signal::SIGTERM);
    assert!(serving.wait().await.0.success());
}

#[tokio::test]
async fn a_database_that_stays_away_is_told_with_its_place_and_cause() {
    let url = format!("postgres://goldbook_service@{}/goldbook", free_address().await);
    let listen = ["serve", "--listen", "127.0.0.1:0"];
    for (command, code) in [(&listen[..], 1), (&["migrate"], 1), (&["audit"], 2)] {
        let ended = run(&[command, &["--wait-for-database", "0", "--database-url", &url]].concat()).await;
        assert_eq!(ended.status.code(), Some(code), "{command:?}");
        assert!(ended.stderr.contains("the database at 127.0.0.1:"), "{}", ended.stderr);
        assert!(ended.stderr.contains("cannot be reached: ") && ended.stderr.contains("refused"), "{}", ended.stderr);
        assert!(!ended.stderr.contains("waiting"), "{}", ended.stderr);
    }
    // It is the last word after a wait, too.
    let ended = run(&["audit", "--wait-for-database", "1", "--database-url", &url]).await;
    assert!(ended.stderr.starts_with("waiting for the database at ") && ended.stderr.contains("cannot be reached"));
}

#[tokio::test]
async fn what_would_not_mend_is_not_waited_for() {
    let database = Database::create().await;
    let options = database.options(SERVICE_ROLE);
    let no_database = url(&options.clone().database("nobody_made_this"));
    let no_role = url(&options.username("nobody_made_this"));
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    for (command, code) in [(&serve[..], 1), (&["migrate"], 1), (&["audit"], 2)] {
        for url in [&no_database, &no_role] {
            let ended = run(&[command, &["--wait-for-database", "86400", "--database-url", url]].concat()).await;
            assert_eq!(ended.status.code(), Some(code), "{command:?}: {}", ended.stderr);
            assert!(ended.stderr.contains("\"nobody_made_this\" does not exist"), "{}", ended.stderr);
            assert!(!ended.stderr.contains("waiting"), "{}", ended.stderr);
        }
    }
}

#[tokio::test]
async fn migrate_and_audit_wait_as_serve_does() {
    let database = Database::create().await;
    let proxy = Proxy::before(&database);
    for (command, role) in [("migrate", OWNER_ROLE), ("audit", SERVICE_ROLE)] {
        proxy.go_away();
        let url = url(&proxy.options().username(role));
        let mut waiting = Running::start(&[command, "--database-url", &url]);
        waiting.says("waiting for the database at ").await;
        proxy.come_back();
        let (status, lines) = waiting.end().await;
        assert!(status.success(), "{command}: {lines:?}");
        assert!(lines[1].ends_with(" is there"), "{lines:?}");
    }
}

#[tokio::test]
async fn a_start_asks_the_database_one_question_on_each_of_two_connections() {
    let database = Database::create().await;
    let proxy = Proxy::before(&database);
    let options = proxy.options();
    let serving = Serving::start_at(&options, &[&["--listen", "127.0.0.1:0"][..], &QUIET].concat()).await;
    let clients = Clients::connect(serving.address).await;
    let health = clients.health().check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(health.status(), ServingStatus::Serving);
    let mut asked = until("the end of a connection", async || {
        let asked = proxy.asked();
        asked.iter().any(|message| message == "X").then_some(asked)
    })
    .await;
    // Whether the database still lives is asked a second later, and every second from then on.
    asked.retain(|message| message != "S");
    asked.sort();
    let [first, second, rest @ ..] = asked.as_slice() else { panic!("{asked:?}") };
    assert!(first.contains("_sqlx_migrations") && second.contains("pg_stat_activity"), "{asked:?}");
    // Both are connected to, and one of them is let go again.
    assert_eq!(rest, ["X", "start", "start"]);
    serving.signal(Signal::SIGTERM);
    let (status, log) = serving.wait().await;
    assert!(status.success());
    let served = log.iter().find(|line| line["fields"]["message"] == "serving").unwrap();
    assert!(served["fields"]["milliseconds"].as_u64().is_some(), "{served}");
}

#[tokio::test]
async fn all_that_keeps_a_service_from_starting_is_told_at_once_and_nothing_is_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(path("file"), "").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let wrong = [("GOLDBOOK_LOG", "goldbook=loud"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://not a host:4317")];
    let (data_dir, bin_dir) = (path("file/data"), path("bin"));
    let args = ["serve", "--listen", &listen, "--data-dir", &data_dir, "--postgres-bin", &bin_dir, "--tls-key", "/key"];
    let ended = run_in(&wrong, &args).await;
    assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
    for fault in [
        "TLS needs both",
        "it holds no `postgres`",
        "(--postgres-bin",
        "(--data-dir)",
        "log filter: ",
        "export of traces: ",
        "export of metrics: ",
        "export of logs: ",
        &format!("cannot listen on {listen}: "),
    ] {
        assert!(ended.stderr.contains(fault), "{fault}: {}", ended.stderr);
    }
    // Whoever only wants to know is told the same, but for the port.
    let checked = run_in(&wrong, &[&["config", "check"], &args[1..]].concat()).await;
    assert_eq!(checked.status.code(), Some(2), "{}", checked.stderr);
    let port = format!("\ncannot listen on {listen}: ");
    let (before, _) = ended.stderr.split_once(&port).unwrap();
    let sorted = |told: &str| told.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(sorted(checked.stderr.trim_end()), sorted(before));
    let sound = [("GOLDBOOK_LOG", "goldbook=debug"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")];
    let data_dir = path("data");
    let checked = run_in(&sound, &["config", "check", "--data-dir", &data_dir]).await;
    assert!(checked.status.success(), "{}", checked.stderr);
    // Each of these is found before a data directory is made.
    fs::create_dir(path("kept")).unwrap();
    fs::write(path("kept/erasure-keys"), "no key").unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir"];
    for (variables, args, told, code) in [
        (&wrong[..1], [&serve[..], &[&data_dir]].concat(), "log filter: ", 2),
        (&wrong[1..], [&serve[..], &[&data_dir]].concat(), "export of metrics: ", 2),
        (&[], vec!["serve", "--listen", &listen, "--data-dir", &data_dir], "cannot listen on ", 1),
        (&[], [&serve[..], &[&path("kept")]].concat(), "erasure-keys: ", 2),
    ] {
        let ended = run_in(variables, &args).await;
        assert_eq!(ended.status.code(), Some(code), "{told}: {}", ended.stderr);
        assert!(ended.stderr.contains(told), "{told}: {}", ended.stderr);
    }
    let names = |folder: &str| fs::read_dir(folder).unwrap().count();
    assert_eq!((names(folder.path().to_str().unwrap()), names(&path("kept"))), (2, 1));
}
