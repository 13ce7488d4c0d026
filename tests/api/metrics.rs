//! What operators see: metrics on the admin listener and over OTLP, and the probes beside them.

mod ages;
mod otlp;
pub(crate) mod page;
mod seldom;
mod waiting;
mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use goldbook::embedded_postgres::{SERVICE_ROLE, SUPERUSER};
use goldbook::proto;
use goldbook::telemetry::metrics::MAX_PROGRAMS;
use goldbook::telemetry::metrics::registry::{Kind, REGISTRY};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::TcpStream;

use crate::binary::{Serving, goldbook, url};
use crate::collector;
use crate::harness::{Database, SHOP, Service, grant_reward, shop};
use crate::points::calls::redeem_points;
use crate::proxy::Proxy;
use crate::wait::{until, within};
use page::{Page, get, request};

/// Everything that is counted happens at least once.
async fn drive(service: &Service) {
    service.apply_shop().await;
    let code = service.share_code("rita", "friends").await;
    service.refer("ben", &code).await;
    assert!(service.purchase("ben", "first", "250.00").await.unwrap().referral_converted);
    service.enrol("anna").await;
    service.grant("anna", 40, "gift").await.unwrap();
    service.rewards().redeem_points(redeem_points("anna", 15, "spend")).await.unwrap();
    service.rewards().redeem_points(redeem_points("anna", 1_000, "too much")).await.unwrap_err();
    assert_eq!(service.available("anna").await, 25);
    service.tier("ben").await;
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let database = Database::create().await;
    let serving = Serving::start(&database.options(SERVICE_ROLE), &[]).await;
    let admin = serving.admin;
    let service = Service::at(serving.address, database).await;
    drive(&service).await;
    let page = get(admin, "/metrics", "").await;
    assert_eq!((page.status, page.kind()), (200, "text/plain; version=0.0.4; charset=utf-8"));
    let page = Page::read(&page.body);

    let of_shop = |name: &str| page.value(name, &[("goldbook_program_id", SHOP)]);
    assert_eq!(of_shop("goldbook_points_granted_total"), 500.0 + 250.0 + 250.0 + 40.0);
    assert_eq!(of_shop("goldbook_points_redeemed_total"), 15.0);
    assert_eq!(of_shop("goldbook_referrals_converted_total"), 1.0);
    // Three customers joined, and Ben reached silver.
    assert_eq!(of_shop("goldbook_tiers_changed_total"), 4.0);
    let entries: i64 = service.count_entries().await;
    assert_eq!(of_shop("goldbook_entries_written_total"), entries as f64);

    let calls = |method: &str, status: &str| {
        let labels = [("rpc_method", method), ("rpc_response_status_code", status)];
        page.value("rpc_server_call_duration_seconds_count", &labels)
    };
    assert_eq!(calls("goldbook.v1.RewardService/GrantReward", "OK"), 1.0);
    assert_eq!(calls("goldbook.v1.RewardService/RedeemPoints", "OK"), 1.0);
    assert_eq!(calls("goldbook.v1.RewardService/RedeemPoints", "FAILED_PRECONDITION"), 1.0);
    assert_eq!(page.value("goldbook_refusals_total", &[("goldbook_reason", "INSUFFICIENT_POINTS")]), 1.0);

    // Whatever was carried out was in a batch, had waited, and was written in one statement for each batch.
    let count = |name: &str, labels: &[(&str, &str)]| page.value(name, labels);
    let batches = count("goldbook_batch_size_count", &[]);
    assert_eq!(count("goldbook_batch_duration_seconds_count", &[("goldbook_outcome", "committed")]), batches);
    assert_eq!(count("goldbook_batch_phase_duration_seconds_count", &[("goldbook_batch_phase", "commit")]), batches);
    let waited = count("goldbook_lane_wait_duration_seconds_count", &[("goldbook_origin", "call")]);
    assert_eq!(waited, count("goldbook_batch_size_sum", &[]));
    assert_eq!(count("goldbook_lane_waiting", &[("goldbook_origin", "call")]), 0.0);
    let inserts = [("db_operation_name", "INSERT"), ("db_collection_name", "ledger_entries")];
    assert!(count("db_client_operation_duration_seconds_count", &inserts) >= 6.0);
    assert!(count("goldbook_read_batch_size_count", &[("goldbook_read", "balances")]) >= 1.0);
    assert_eq!(count("goldbook_database_reachable", &[]), 1.0);
    assert_eq!(count("goldbook_build_info", &[("goldbook_version", env!("CARGO_PKG_VERSION"))]), 1.0);
    assert_eq!(count("goldbook_connections_open", &[]), 1.0);
    assert_eq!(count("goldbook_rpc_active", &[]), 0.0);
    assert_eq!(count("goldbook_batch_splits_total", &[]), 0.0);
    assert!(count("process_memory_usage_bytes", &[]) > 1e6);
    let left = until("the gauges of the whole", async || {
        let page = Page::read(&get(admin, "/metrics", "").await.body);
        page.find("goldbook_worker_lag_seconds", &[("goldbook_worker", "dues")])
    });
    assert_eq!(left.await, 0.0);
    // Nothing was summed up yet of the program, and it is as old as that.
    let age = until("the age of the program's liability", async || {
        let page = Page::read(&get(admin, "/metrics", "").await.body);
        page.find("goldbook_liability_age_seconds", &[("goldbook_program_id", SHOP)])
    });
    assert!(age.await > 0.0);
}

#[tokio::test]
async fn a_service_that_waits_for_its_database_tells_so_before_it_serves() {
    let flags = ["--listen", "127.0.0.1:0", "--wait-for-database", "60", "--admin-listen", "127.0.0.1:0"];
    let mut command = goldbook();
    command.arg("serve").args(flags).args(["--database-url", "postgres://goldbook_service@127.0.0.1:1/goldbook"]);
    let mut child = command.spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = within("the admin listener", async {
        loop {
            let line = log.next_line().await.unwrap().expect("the service ended");
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            if line["fields"]["message"] == "metrics and probes" {
                return line["fields"]["address"].as_str().unwrap().parse().unwrap();
            }
        }
    });
    let admin = address.await;
    let reachable = until("the database that is away", async || {
        Page::read(&get(admin, "/metrics", "").await.body).find("goldbook_database_reachable", &[])
    });
    assert_eq!(reachable.await, 0.0);
    assert_eq!((get(admin, "/livez", "").await.status, get(admin, "/readyz", "").await.status), (200, 503));
    kill(Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(within("the end", child.wait()).await.unwrap().success());
}

#[tokio::test]
async fn every_series_is_of_the_registry() {
    let database = Database::create().await;
    let serving = Serving::start_at(&database.options(SERVICE_ROLE), &["--listen", "127.0.0.1:0", "--api-keys"]).await;
    let admin = serving.admin;
    let nobody = crate::harness::Clients::connect(serving.address).await;
    nobody.rewards().grant_reward(grant_reward("anna", 1, "gift")).await.unwrap_err();
    let known: BTreeMap<String, BTreeSet<String>> =
        REGISTRY.iter().map(|metric| (family(metric), labels(metric))).collect();
    let page = until("all gauges", async || {
        let page = Page::read(&get(admin, "/metrics", "").await.body);
        page.find("goldbook_schema_version", &[]).map(|_| page)
    });
    let page = page.await;
    for (family, found) in page.families() {
        if family == "target_info" {
            continue;
        }
        let allowed = known.get(family).unwrap_or_else(|| panic!("{family} is not in the registry"));
        assert!(found.is_subset(allowed), "{family}: {found:?} beyond {allowed:?}");
    }
    assert_eq!(page.value("goldbook_authentication_failures_total", &[("goldbook_credential", "none")]), 1.0);
    drop(serving);
}

/// The family of a metric on the page, with the end that samples of counters have.
fn family(metric: &goldbook::telemetry::metrics::registry::Metric) -> String {
    let unit = match metric.unit {
        "s" => "_seconds",
        "By" => "_bytes",
        _ => "",
    };
    let end = if metric.kind == Kind::Counter { "_total" } else { "" };
    format!("{}{unit}{end}", metric.name.replace('.', "_"))
}

fn labels(metric: &goldbook::telemetry::metrics::registry::Metric) -> BTreeSet<String> {
    let mut labels: BTreeSet<String> = metric.attributes.iter().map(|name| name.replace('.', "_")).collect();
    if matches!(metric.kind, Kind::Histogram(_)) {
        labels.insert("le".to_owned());
    }
    labels
}

#[tokio::test]
async fn programs_beyond_the_first_hundred_share_a_series() {
    let database = Database::create().await;
    let serving = Serving::start(&database.options(SERVICE_ROLE), &[]).await;
    let service = Service::at(serving.address, database).await;
    for number in 0..MAX_PROGRAMS + 5 {
        service.apply(proto::Program { program_id: format!("p{number}"), ..shop() }).await.unwrap();
    }
    let page = Page::read(&get(serving.admin, "/metrics", "").await.body);
    let series = page.series("goldbook_entries_written_total");
    assert_eq!(series.len(), MAX_PROGRAMS + 1);
    assert_eq!(page.value("goldbook_entries_written_total", &[("goldbook_program_id", "other")]), 5.0);
    let ages = until("the ages of liability", async || {
        let page = Page::read(&get(serving.admin, "/metrics", "").await.body);
        let ages = page.series("goldbook_liability_age_seconds").len();
        (ages > MAX_PROGRAMS).then(|| page.value("goldbook_liability_age_seconds", &[("goldbook_program_id", "other")]))
    });
    assert!(ages.await > 0.0);
}

#[tokio::test]
async fn openmetrics_have_units_and_lead_to_the_trace_of_a_call() {
    let endpoint = collector::endpoint().to_owned();
    let database = Database::create().await;
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_METRICS_EXPORTER", "none")];
    let serving = Serving::start(&database.options(SERVICE_ROLE), &environment).await;
    let service = Service::at(serving.address, database).await;
    service.apply_shop().await;
    service.enrol("anna").await;
    service.grant("anna", 40, "gift").await.unwrap();
    let trace_id = service.entries("anna").await.pop().unwrap().trace_id;

    let answer = get(serving.admin, "/metrics", "application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1").await;
    assert_eq!(answer.kind(), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(answer.body.ends_with("# EOF\n"));
    assert!(answer.body.contains("# UNIT rpc_server_call_duration_seconds seconds\n"));
    assert!(answer.body.contains("# TYPE goldbook_points_granted counter\n"));
    let sample =
        |line: &&str| line.starts_with("rpc_server_call_duration_seconds_bucket") && line.contains("GrantReward");
    let led: Vec<&str> = answer.body.lines().filter(sample).filter(|line| line.contains(&trace_id)).collect();
    assert_eq!(led.len(), 1, "one bucket of {trace_id}");
    assert!(led[0].contains(&format!(" # {{trace_id=\"{trace_id}\",span_id=\"")), "{}", led[0]);
}

#[tokio::test]
async fn probes_tell_whether_the_service_lives_and_is_ready() {
    let database = Database::create().await;
    let proxy = Proxy::before(&database);
    let serving = Serving::start(&proxy.options(), &[]).await;
    let admin = serving.admin;
    let is = async |path: &str, status: u16| (get(admin, path, "").await.status == status).then_some(());
    until("ready", async || is("/readyz", 200).await).await;
    proxy.go_away();
    until("not ready", async || is("/readyz", 503).await).await;
    // Nobody may restart it for that.
    assert_eq!(get(admin, "/livez", "").await.status, 200);
    let page = Page::read(&get(admin, "/metrics", "").await.body);
    assert_eq!(page.value("goldbook_database_reachable", &[]), 0.0);
    proxy.come_back();
    until("ready again", async || is("/readyz", 200).await).await;

    let version: serde_json::Value = serde_json::from_str(&get(admin, "/version", "").await.body).unwrap();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    let mut connection = database.connect(SUPERUSER).await;
    let newest: i64 =
        sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations").fetch_one(&mut connection).await.unwrap();
    assert_eq!(version["schema"], newest);
    let unknown = get(admin, "/admin", "").await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.body.contains("/readyz"), "{}", unknown.body);
    assert_eq!(
        request(admin, "POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            .await
            .status,
        405
    );
}

#[tokio::test]
async fn silent_connections_keep_nobody_from_the_admin_listener_for_long() {
    let database = Database::create().await;
    let serving = Serving::start(&database.options(SERVICE_ROLE), &[]).await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(serving.admin).await.unwrap());
    }
    // Each gives its place back once it was silent for too long, sixty-four at a time.
    let answer = tokio::time::timeout(Duration::from_secs(90), get(serving.admin, "/livez", ""));
    assert_eq!(answer.await.unwrap().status, 200);
    let mut rest = Vec::new();
    within("the end of the first", silent[0].read_to_end(&mut rest)).await.unwrap();
}

#[tokio::test]
async fn the_admin_listener_can_be_off_and_tells_where_it_cannot_listen() {
    let database = Database::create().await;
    let database_url = url(&database.options(SERVICE_ROLE));
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let args = ["serve", "--listen", "127.0.0.1:0", "--database-url", &database_url, "--admin-listen", &address];
    let refused = crate::binary::run(&args).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains(&address) && refused.stderr.contains("--admin-listen"), "{}", refused.stderr);
    let wrong = crate::binary::run(&["serve", "--admin-listen", "nowhere"]).await;
    assert_eq!(wrong.status.code(), Some(2));
    assert!(wrong.stderr.contains("nor off"), "{}", wrong.stderr);
}
