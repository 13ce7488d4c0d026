//! Ages, and how late work in the background is: also while the database is away, and while a summary is made.

use std::net::SocketAddr;

use goldbook::embedded_postgres::{SERVICE_ROLE, SUPERUSER};
use sqlx::Executor as _;

use super::page::{Page, scrape};
use crate::binary::{Serving, run, url};
use crate::harness::{Clock, Database, SHOP, Service};
use crate::proxy::Proxy;
use crate::wait::until;

const LAG: &str = "goldbook_worker_lag_seconds";
const AGE_OF_LIABILITY: &str = "goldbook_liability_age_seconds";
const WORKERS: [&str; 3] = ["dues", "liability", "retention"];

fn lags(page: &Page) -> Option<Vec<f64>> {
    WORKERS.into_iter().map(|worker| page.find(LAG, &[("goldbook_worker", worker)])).collect()
}

/// The ages of the program's liability and of the last full audit.
fn ages(page: &Page) -> Option<[f64; 2]> {
    let liability = page.find(AGE_OF_LIABILITY, &[("goldbook_program_id", SHOP)])?;
    Some([liability, page.find("goldbook_audit_age_seconds", &[("goldbook_audit", "full")])?])
}

/// A database with the program, and nobody who serves it.
async fn create_shop() -> Database {
    let database = Database::create().await;
    let service = Service::start_on(database.clone(), Clock::database()).await;
    service.apply_shop().await;
    service.stop().await;
    database
}

#[tokio::test]
async fn ages_go_on_growing_while_the_database_is_away() {
    let database = create_shop().await;
    let audited = run(&["audit", "--database-url", &url(&database.options(SERVICE_ROLE))]).await;
    assert!(audited.status.success(), "{}", audited.stderr);
    let proxy = Proxy::before(&database);
    let flags = ["--listen", "127.0.0.1:0", "--liability-seconds", "3600"];
    let serving = Serving::start_at(&proxy.options(), &flags).await;
    let is_early = async || {
        let page = scrape(serving.admin).await;
        (lags(&page)? == [0.0; 3] && ages(&page)?.iter().all(|age| *age > 0.0)).then_some(())
    };
    until("a look at which nothing is late", is_early).await;
    proxy.go_away();
    let seen = until("a look that found nobody", async || {
        let page = scrape(serving.admin).await;
        let (lags, ages) = (lags(&page)?, ages(&page)?);
        lags.iter().all(|lag| *lag > 0.0).then(|| [lags, ages.to_vec()].concat())
    });
    let seen = seen.await;
    until("all of them to grow", async || {
        let page = scrape(serving.admin).await;
        assert_eq!(page.value("goldbook_database_reachable", &[]), 0.0);
        let now = [lags(&page)?, ages(&page)?.to_vec()].concat();
        // All by the same time.
        let grown: Vec<f64> = now.iter().zip(&seen).map(|(now, seen)| now - seen).collect();
        assert!(grown.iter().all(|more| (more - grown[0]).abs() < 0.5), "{grown:?}");
        grown.iter().all(|more| *more > 1.0).then_some(())
    })
    .await;
    proxy.come_back();
    until("a look that finds it again", is_early).await;
}

/// How often the gauges of the whole were looked at: nothing else reads the last audits.
async fn looks(admin: SocketAddr) -> f64 {
    let labels = [("db_operation_name", "SELECT"), ("db_collection_name", "audits")];
    scrape(admin).await.find("db_client_operation_duration_seconds_count", &labels).unwrap_or(0.0)
}

#[tokio::test]
async fn liability_is_late_without_a_summary_and_not_soon_after_one_that_took_long() {
    let database = create_shop().await;
    // Summaries can be read and made, but not written.
    let mut session = database.connect(SUPERUSER).await;
    session.execute("BEGIN; LOCK TABLE liability_summaries IN SHARE MODE").await.unwrap();
    let flags = ["--listen", "127.0.0.1:0", "--liability-seconds", "1"];
    let serving = Serving::start_at(&database.options(SERVICE_ROLE), &flags).await;
    let admin = serving.admin;
    let liability = [("goldbook_worker", "liability")];
    let late =
        until("liability to be late", async || scrape(admin).await.find(LAG, &liability).filter(|lag| *lag > 3.0));
    late.await;
    session.execute("COMMIT").await.unwrap();
    until("the summary", async || {
        let made = "SELECT EXISTS (SELECT FROM liability_summaries)";
        let made: bool = sqlx::query_scalar(made).fetch_one(&mut session).await.unwrap();
        made.then_some(())
    })
    .await;
    let before = looks(admin).await;
    for number in [1.0, 2.0] {
        until("another look", async || (looks(admin).await >= before + number).then_some(())).await;
    }
    // It is many times as old as summaries are made apart, and the service rests for twenty times as long as it took.
    let page = scrape(admin).await;
    let age = page.value(AGE_OF_LIABILITY, &[("goldbook_program_id", SHOP)]);
    assert!(age > 8.0, "{age}");
    assert_eq!(page.value(LAG, &liability), 0.0);
}
