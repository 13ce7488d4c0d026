//! Maintenance and summaries at the same time: no writer waits for either.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use goldbook::embedded_postgres::SUPERUSER;

use super::OFTEN;
use crate::harness::{Clock, Database, Service, grant_reward};
use crate::wait::within;

/// What an administrator or autovacuum does, slowly: it holds its locks for some hundred milliseconds each, and for two
/// seconds at most, since there is ever more to do while others write.
const MAINTENANCE: [&str; 10] = [
    "SET statement_timeout = '2s'",
    "SET vacuum_cost_delay = 50",
    "SET vacuum_cost_limit = 1",
    "VACUUM accounts",
    "VACUUM ledger_entries",
    "ANALYZE accounts",
    "ANALYZE ledger_entries",
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS maintained ON accounts (program_id)",
    "VACUUM (ANALYZE) accounts",
    "DROP INDEX CONCURRENTLY IF EXISTS maintained",
];

/// The SQLSTATE of a statement that took as long as it may.
const OUT_OF_TIME: &str = "57014";

/// The batches that wait for a lock on a whole table, and have done so for over 100 milliseconds.
const WAITING: &str = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE a.datname = current_database() AND a.application_name = 'goldbook batch' AND NOT l.granted
      AND l.locktype = 'relation' AND clock_timestamp() - l.waitstart > interval '100 ms'";

#[tokio::test]
async fn no_writer_waits_for_vacuum_analyze_or_a_new_index_while_summaries_are_made() {
    let database = Database::create().await;
    let service = Service::start_busy(database.clone(), Clock::database(), OFTEN).await;
    service.apply_shop().await;
    let is_done = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for customer in ["anna", "ben", "cleo"] {
        service.enrol(customer).await;
        let (mut rewards, is_done) = (service.rewards(), is_done.clone());
        writers.push(tokio::spawn(async move {
            let mut written = 0;
            while !is_done.load(SeqCst) {
                rewards.grant_reward(grant_reward(customer, 1, &format!("grant-{written}"))).await.unwrap();
                written += 1;
            }
            written
        }));
    }
    let mut connection = database.connect(SUPERUSER).await;
    let maintaining = tokio::spawn(async move {
        for _ in 0..2 {
            for statement in MAINTENANCE {
                let failed = sqlx::raw_sql(statement).execute(&mut connection).await.err();
                let code = failed.as_ref().and_then(|error| error.as_database_error()?.code());
                assert!(failed.is_none() || code.as_deref() == Some(OUT_OF_TIME), "{statement}: {failed:?}");
            }
        }
    });
    let mut watching = database.connect(SUPERUSER).await;
    let mut most = 0;
    while !maintaining.is_finished() {
        let waiting: i64 = sqlx::query_scalar(WAITING).fetch_one(&mut watching).await.unwrap();
        most = most.max(waiting);
    }
    is_done.store(true, SeqCst);
    within("the maintenance", maintaining).await.unwrap();
    let mut written = 0;
    for writer in writers {
        written += within("a writer", writer).await.unwrap();
    }
    let made: i64 =
        sqlx::query_scalar("SELECT count(*) FROM liability_summaries").fetch_one(&mut watching).await.unwrap();
    assert!(written > 0 && made > 0, "{written} grants, {made} summaries");
    assert_eq!(most, 0, "batches waited for a lock on a table");
}
