//! Gauges of the whole: accounts that are set aside, the disk, what expires, and what audits found.

use std::path::Path;
use std::time::Duration;

use goldbook::embedded_postgres::{SERVICE_ROLE, SUPERUSER, throwaway_dir};
use goldbook::proto;
use nix::sys::statvfs::statvfs;
use rcgen::{CertificateParams, KeyPair};
use sqlx::AssertSqlSafe;

use super::page::{Page, scrape};
use crate::access::issuer::from_now;
use crate::binary::{Serving, run, url};
use crate::harness::{Clock, Database, Service, grant_reward};
use crate::wait::until;

const LISTEN: [&str; 2] = ["--listen", "127.0.0.1:0"];
const DAY: i64 = 24 * 60 * 60;

async fn change(database: &Database, statements: &str) {
    let mut connection = database.connect(SUPERUSER).await;
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await.unwrap();
}

/// The page once all gauges were looked at.
async fn first_look(serving: &Serving) -> Page {
    until("the first look", async || {
        let page = scrape(serving.admin).await;
        page.find("goldbook_schema_version", &[]).map(|_| page)
    })
    .await
}

#[tokio::test]
async fn accounts_that_are_set_aside_are_counted_until_they_are_mended() {
    let database = Database::create().await;
    // In the past of every database, so that all is due at once.
    let before = Service::start_on(database.clone(), Clock::fixed("2020-01-15T12:00:00Z".parse().unwrap())).await;
    before.apply_shop().await;
    for customer_id in ["anna", "ben"] {
        before.enrol(customer_id).await;
        let after = proto::expiry_rule::After { period: "P1D".to_owned(), ..Default::default() };
        let expiry = Some(proto::ExpiryRule { rule: Some(proto::expiry_rule::Rule::After(after)) });
        let grant = proto::GrantRewardRequest { expiry, ..grant_reward(customer_id, 1, "gift") };
        before.rewards().grant_reward(grant).await.unwrap();
    }
    before.stop().await;
    // More of Anna's would expire than there is.
    let anna = "account_id = (SELECT account_id FROM names WHERE space = 'customer' AND name = 'anna')";
    let damage = |points: i64| {
        format!("UPDATE lots SET points = points + {points}, available = available + {points} WHERE {anna}")
    };
    change(&database, &damage(7)).await;

    let serving = Serving::start_at(&database.options(SERVICE_ROLE), &LISTEN).await;
    let service = Service::at(serving.address, database.clone()).await;
    let shows = async |stuck: f64| {
        until(&format!("{stuck} accounts"), async || {
            let page = scrape(serving.admin).await;
            // What is set aside is not waited for, and everything else is done.
            let lag = page.find("goldbook_worker_lag_seconds", &[("goldbook_worker", "dues")])?;
            (page.find("goldbook_accounts_stuck", &[])? == stuck && lag == 0.0).then_some(())
        })
        .await;
    };
    shows(1.0).await;
    change(&database, &damage(-7)).await;
    // What is due is written before anything else of the account.
    service.grant("anna", 1, "again").await.unwrap();
    shows(0.0).await;
}

#[tokio::test]
async fn the_disk_is_that_of_the_services_own_database() {
    let directory = throwaway_dir().unwrap();
    let serving = Serving::start_own(&directory.path().join("data"), &[]).await;
    let bytes = || {
        let file_system = statvfs(directory.path()).unwrap();
        let of = |blocks: u64| (file_system.fragment_size() * blocks) as f64;
        [of(file_system.blocks()), of(file_system.blocks_available())]
    };
    let [size, mut least] = bytes();
    let mut most = least;
    // Others write to the disk, too: what is shown was so at some time since this began, or nearly.
    const NEARLY: f64 = 1e6;
    until("what is free", async || {
        let page = scrape(serving.admin).await;
        let [size_now, free_now] = bytes();
        (least, most) = (least.min(free_now), most.max(free_now));
        assert_eq!((page.find("goldbook_disk_size_bytes", &[])?, size), (size_now, size_now));
        let free = page.find("goldbook_disk_free_bytes", &[])?;
        (free > least - NEARLY && free < most + NEARLY && free < size).then_some(())
    })
    .await;

    // Nobody here knows the disk of another database, nor how late work is that is not done.
    let elsewhere = Database::create().await;
    let idle = ["--dues-ms", "0", "--liability-seconds", "0", "--retention-minutes", "0"];
    let serving = Serving::start_at(&elsewhere.options(SERVICE_ROLE), &[&LISTEN[..], &idle].concat()).await;
    let page = first_look(&serving).await;
    assert!(page.value("goldbook_database_size_bytes", &[]) > 1e6);
    for absent in [
        "goldbook_disk_size_bytes",
        "goldbook_disk_free_bytes",
        "goldbook_certificate_expiry_seconds",
        "goldbook_worker_lag_seconds",
        "goldbook_audit_age_seconds",
        "goldbook_audit_newer",
    ] {
        assert_eq!(page.find(absent, &[]), None, "{absent}");
    }
}

/// Writes a certificate that ends so many seconds after 1970, and its key.
fn write_certificate(folder: &Path, end: i64) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["goldbook.test".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(end).unwrap());
    std::fs::write(folder.join("tls.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(folder.join("tls.key"), key.serialize_pem()).unwrap();
}

/// Waits until a metric shows the seconds that are left until then.
async fn shows_time_until(serving: &Serving, name: &str, end: i64) {
    until(&format!("{name} of {end}"), async || {
        let left = scrape(serving.admin).await.find(name, &[])?;
        ((left - (end - from_now(0)) as f64).abs() < 5.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_left_of_certificates_and_keys_is_shown_and_changes_with_them() {
    const OF_CERTIFICATE: &str = "goldbook_certificate_expiry_seconds";
    const OF_KEY: &str = "goldbook_api_key_expiry_seconds";
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (first, second, past) = (from_now(20 * DAY), from_now(90 * DAY), from_now(-3 * DAY));
    write_certificate(folder.path(), first);
    let database = Database::create().await;
    let options = database.options(SERVICE_ROLE);
    let url = url(&options);
    let create = async |name: &str, args: &[&str]| {
        let create = ["key", "create", name, "--role", "service", "--database-url", &url];
        let created = run(&[&create[..], args].concat()).await;
        assert!(created.status.success(), "{}", created.stderr);
        created.stdout
    };
    create("endless", &[]).await;
    let (certificate, key) = (path("tls.crt"), path("tls.key"));
    let flags = [&LISTEN[..], &["--tls-certificate", &certificate, "--tls-key", &key]].concat();
    let serving = Serving::start_at(&options, &flags).await;
    shows_time_until(&serving, OF_CERTIFICATE, first).await;
    // A key without an end has no time left.
    assert_eq!(first_look(&serving).await.find(OF_KEY, &[]), None);

    write_certificate(folder.path(), second);
    let (in_ten_days, in_thirty_days) = (from_now(10 * DAY), from_now(30 * DAY));
    let soon = create("soon", &["--expires-after", "10d"]).await;
    create("later", &["--expires-after", "30d"]).await;
    shows_time_until(&serving, OF_CERTIFICATE, second).await;
    shows_time_until(&serving, OF_KEY, in_ten_days).await;
    // One that has ended shows for how long, and a key that was revoked is no longer waited for.
    write_certificate(folder.path(), past);
    let revoked = run(&["key", "revoke", &soon[..17], "--database-url", &url]).await;
    assert!(revoked.status.success(), "{}", revoked.stderr);
    shows_time_until(&serving, OF_CERTIFICATE, past).await;
    shows_time_until(&serving, OF_KEY, in_thirty_days).await;
}

#[tokio::test]
async fn an_audit_that_met_what_a_newer_version_wrote_does_not_look_clean() {
    let database = Database::create().await;
    let before = Service::start_on(database.clone(), Clock::database()).await;
    before.apply_shop().await;
    before.enrol("anna").await;
    before.stop().await;
    let url = url(&database.options(SERVICE_ROLE));
    let audit = async |code: i32| {
        let audited = run(&["audit", "--database-url", &url]).await;
        assert_eq!(audited.status.code(), Some(code), "{}{}", audited.stdout, audited.stderr);
    };
    let make = |kind: &str| format!("UPDATE accounts SET kind = '{kind}' WHERE kind IN ('customer', 'household')");
    change(&database, &format!("ALTER TABLE accounts DROP CONSTRAINT accounts_kind_known; {}", make("household")))
        .await;
    audit(1).await;
    let serving = Serving::start_at(&database.options(SERVICE_ROLE), &LISTEN).await;
    let full = [("goldbook_audit", "full")];
    let page = first_look(&serving).await;
    let value = |page: &Page, name: &str| page.value(name, &full);
    assert_eq!((value(&page, "goldbook_audit_newer"), value(&page, "goldbook_audit_differences")), (1.0, 0.0));

    // As the newer version would see it, and then with a difference.
    change(&database, &make("customer")).await;
    audit(0).await;
    let shows = async |newer: f64, differences: f64| {
        until("the last audit", async || {
            let page = scrape(serving.admin).await;
            let shown = (value(&page, "goldbook_audit_newer"), value(&page, "goldbook_audit_differences"));
            (shown == (newer, differences)).then_some(())
        })
        .await;
    };
    shows(0.0, 0.0).await;
    change(&database, "UPDATE standings SET qualifying_spend = qualifying_spend + 7").await;
    audit(1).await;
    shows(0.0, 1.0).await;
}
