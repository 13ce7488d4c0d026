//! The program on a database that others use and change, from its start to its end.

use futures_util::future::join_all;
use goldbook::embedded_postgres::{OWNER_ROLE, SERVICE_ROLE, SUPERUSER};
use goldbook::{database, server};
use nix::sys::signal::Signal;
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use tokio::net::TcpStream;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use uuid::Uuid;

use super::{count, sabotage};
use crate::binary::{Serving, run, url};
use crate::harness::{Database, Service, grant_reward};
use crate::proxy::Proxy;
use crate::wait::{until, within};

/// A database without anything in it, in its owner's role.
#[expect(clippy::disallowed_methods, reason = "names a database of its own")]
async fn create_empty_database() -> PgConnectOptions {
    let database = Database::create().await;
    let name = format!("empty_{}", Uuid::now_v7().simple());
    sabotage(&database, &format!("CREATE DATABASE {name} OWNER {OWNER_ROLE}")).await;
    database.options(OWNER_ROLE).database(&name)
}

/// Takes the newest migration back as far as the record of it goes.
async fn forget_newest_migration(owner: &PgConnectOptions) {
    let mut connection = owner.clone().username(SUPERUSER).connect().await.unwrap();
    let delete = "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)";
    sqlx::raw_sql(delete).execute(&mut connection).await.unwrap();
}

#[tokio::test]
async fn many_who_migrate_one_empty_database_at_once_do_not_collide() {
    let owner = create_empty_database().await;
    let migrations = join_all((0..8).map(|_| server::migrate(&owner, SERVICE_ROLE)));
    for outcome in within("every migration", migrations).await {
        outcome.unwrap();
    }
    database::check_schema(&owner).await.unwrap();
    database::check_schema(&owner.clone().username(SERVICE_ROLE)).await.unwrap();
}

#[tokio::test]
async fn services_that_start_at_once_on_one_empty_database_both_serve() {
    let owner = create_empty_database().await;
    let owner_url = url(&owner);
    let service = owner.username(SERVICE_ROLE);
    let environment = [("GOLDBOOK_OWNER_DATABASE_URL", owner_url.as_str())];
    let (first, second) = tokio::join!(Serving::start(&service, &environment), Serving::start(&service, &environment));
    let database = Database::create().await;
    let first_client = Service::at(first.address, database.clone()).await;
    first_client.apply_shop().await;
    first_client.enrol("anna").await;
    assert!(!first_client.grant("anna", 7, "gift").await.unwrap().replayed);
    let second_client = Service::at(second.address, database).await;
    assert_eq!(second_client.available("anna").await, 7);
    assert!(second_client.grant("anna", 7, "gift").await.unwrap().replayed);
    for serving in [first, second] {
        serving.signal(Signal::SIGINT);
        let (status, _) = serving.wait().await;
        assert!(status.success(), "{status}");
    }
}

#[tokio::test]
async fn serve_refuses_an_old_schema_and_serves_after_migrate() {
    let owner = create_empty_database().await;
    let service = owner.clone().username(SERVICE_ROLE);
    let serve = ["serve", "--no-migrate", "--listen", "127.0.0.1:0", "--database-url", &url(&service)];
    let refused = run(&serve).await;
    assert_eq!(refused.status.code(), Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("run `goldbook migrate`"), "{}", refused.stderr);

    let migrated = run(&["migrate", "--database-url", &url(&owner)]).await;
    assert!(migrated.status.success(), "{}", migrated.stderr);
    assert!(migrated.stdout.contains("up to date"), "{}", migrated.stdout);
    let again = run(&["migrate", "--database-url", &url(&owner)]).await;
    assert!(again.status.success(), "{}", again.stderr);

    let serving = Serving::start(&service, &[]).await;
    let client = Service::at(serving.address, Database::create().await).await;
    client.apply_shop().await;
    serving.kill().await;

    // The last step alone is missing.
    forget_newest_migration(&owner).await;
    let refused = run(&serve).await;
    assert_eq!(refused.status.code(), Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("run `goldbook migrate`"), "{}", refused.stderr);
    // With the owner at hand, --no-migrate still means it.
    let owner_url = url(&owner);
    let mut with_owner = serve.to_vec();
    with_owner.extend(["--owner-database-url", &owner_url]);
    let refused = run(&with_owner).await;
    assert_eq!(refused.status.code(), Some(1), "{}", refused.stderr);
}

#[tokio::test]
async fn serve_refuses_to_listen_beyond_the_machine_unless_told_so() {
    let database = Database::create().await;
    let url = url(&database.options(SERVICE_ROLE));
    for address in ["0.0.0.0:0", "[::]:0"] {
        let refused = run(&["serve", "--listen", address, "--database-url", &url]).await;
        assert_eq!(refused.status.code(), Some(2), "{}", refused.stderr);
        assert!(refused.stderr.contains("who they are"), "{}", refused.stderr);
        let refused = run(&["serve", "--api-keys", "--listen", address, "--database-url", &url]).await;
        assert_eq!(refused.status.code(), Some(2), "{}", refused.stderr);
        assert!(refused.stderr.contains("--insecure-listen"), "{}", refused.stderr);
    }
}

#[tokio::test]
async fn serve_answers_what_is_under_way_when_it_is_told_to_stop() {
    let database = Database::create().await;
    let proxy = Proxy::before(&database);
    // Only the calls commit: a summary made meanwhile would be taken for one.
    let quiet = [("GOLDBOOK_DUES_MS", "0"), ("GOLDBOOK_LIABILITY_SECONDS", "0"), ("GOLDBOOK_RETENTION_MINUTES", "0")];
    let serving = Serving::start(&proxy.options(), &quiet).await;
    let address = serving.address;
    let client = Service::at(address, database).await;
    client.apply_shop().await;
    client.enrol("anna").await;
    let mut health = client.health().watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let mut status = ServingStatus::Unknown;
    while status != ServingStatus::Serving {
        status = within("health", health.message()).await.unwrap().unwrap().status();
    }

    proxy.hold_commits();
    let mut rewards = client.rewards();
    let call = tokio::spawn(async move { rewards.grant_reward(grant_reward("anna", 100, "gift")).await });
    proxy.holds(1).await;
    serving.signal(Signal::SIGTERM);
    assert_eq!(within("health", health.message()).await.unwrap().unwrap().status(), ServingStatus::NotServing);
    drop(health);
    // Whoever connects now is refused, and does not wait for the end of calls under way.
    until("the end of the listener", async || TcpStream::connect(address).await.err()).await;
    assert!(!call.is_finished());
    proxy.release_commits();
    let granted = within("the grant", call).await.unwrap().unwrap().into_inner();
    assert!(!granted.replayed);
    let (status, _) = serving.wait().await;
    assert_eq!(status.code(), Some(0));
    assert_eq!(count(&client.database, "ledger_entries WHERE kind = 'points_granted'").await, 1);
}
