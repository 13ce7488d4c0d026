//! A schema that changes under a running service, and one that is newer than the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use goldbook::database::SchemaError;
use goldbook::database::migrations::{connect_alone, migrations, run_migrations};
use goldbook::embedded_postgres::{OWNER_ROLE, SERVICE_ROLE, SUPERUSER};
use sqlx::migrate::{Migration, MigrationType};
use sqlx::{AssertSqlSafe, Connection as _, SqlSafeStr as _};
use tokio::time::Instant;

use super::start;
use crate::binary::{Serving, run, url};
use crate::harness::{Clients, Database, SHOP, Service, grant_reward, purchase, tables};
use crate::wait::{BOUND, pause, until, within};

/// A migration that comes after all that there are.
fn newer(number: i64, sql: &str, no_tx: bool) -> Migration {
    let sql = AssertSqlSafe(sql.to_owned()).into_sql_str();
    Migration::new(9_000 + number, "newer".into(), MigrationType::Simple, sql, no_tx)
}

/// Runs a migration after all that there are, as its owner would.
async fn migrate(database: &Database, newer: Migration, patience: Duration) -> Result<(), SchemaError> {
    let mut connection = connect_alone(&database.options(OWNER_ROLE)).await?;
    let migrations = migrations().into_iter().chain([newer]).collect();
    run_migrations(&mut connection, migrations, patience).await
}

async fn has_column(database: &Database, table: &str, column: &str) -> bool {
    let mut connection = database.connect(SUPERUSER).await;
    let select = "SELECT EXISTS (SELECT FROM information_schema.columns WHERE table_name = $1 AND column_name = $2)";
    sqlx::query_scalar(select).bind(table).bind(column).fetch_one(&mut connection).await.unwrap()
}

/// Waits until a migration that adds a column has waited for a lock, and has not, as often as `steps` say.
async fn until_it_waits(database: &Database, steps: &[bool]) {
    let mut looking = database.connect(SUPERUSER).await;
    for waits in steps {
        until("the migration's next step", async || {
            let select = "SELECT count(*) > 0 FROM pg_stat_activity
                          WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%ADD COLUMN%'";
            let is_waiting: bool = sqlx::query_scalar(select).fetch_one(&mut looking).await.unwrap();
            (is_waiting == *waits).then_some(())
        })
        .await;
    }
}

#[expect(clippy::disallowed_methods, reason = "how long a call took, which nothing stores")]
fn now() -> Instant {
    Instant::now()
}

/// Calls of many kinds, one after the other, until told to stop, and counts those that were answered; the longest that one
/// took.
async fn call_until(
    clients: Clients,
    customer_id: String,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
) -> Duration {
    let (mut calls, mut longest) = (0, Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        let begun = now();
        let key = format!("{customer_id} {calls}");
        match calls % 4 {
            0 => drop(clients.rewards().grant_reward(grant_reward(&customer_id, 1, &key)).await.unwrap()),
            1 => {
                let bought = purchase(&customer_id, &key, "5.00", "2026-01-15T11:00:00Z".parse().unwrap());
                drop(clients.activities().record_activity(bought).await.unwrap());
            }
            2 => {
                let (program_id, customer_id) = (SHOP.to_owned(), customer_id.clone());
                let request = goldbook::proto::GetBalanceRequest { program_id, customer_id, as_of: None };
                drop(clients.rewards().get_balance(request).await.unwrap());
            }
            _ => {
                let (program_id, customer_id) = (SHOP.to_owned(), customer_id.clone());
                let request = goldbook::proto::ListEntriesRequest { program_id, customer_id, ..Default::default() };
                drop(clients.ledger().list_entries(request).await.unwrap());
            }
        }
        longest = longest.max(begun.elapsed());
        calls += 1;
        answered.store(calls, Ordering::Relaxed);
    }
    longest
}

/// Waits until each caller was answered as often as a whole round of calls more.
async fn until_all_went_round(callers: &[Arc<AtomicU64>]) {
    let before: Vec<u64> = callers.iter().map(|answered| answered.load(Ordering::Relaxed)).collect();
    until("a round of calls of each caller", async || {
        let mut all = callers.iter().zip(&before);
        all.all(|(answered, before)| answered.load(Ordering::Relaxed) >= before + 4).then_some(())
    })
    .await;
}

/// Has eight customers call while something is done. None of their calls fails; the longest that one took.
async fn under_load<T>(service: &Service, work: impl Future<Output = T>) -> (T, Duration) {
    let stop = Arc::new(AtomicBool::new(false));
    let (mut calling, mut callers) = (Vec::new(), Vec::new());
    for number in 0..8 {
        let customer_id = format!("c-{number}");
        service.enrol(&customer_id).await;
        let clients = Clients::connect(service.address).await;
        let answered = Arc::new(AtomicU64::new(0));
        callers.push(Arc::clone(&answered));
        calling.push(tokio::spawn(call_until(clients, customer_id, stop.clone(), answered)));
    }
    // Every statement was prepared before the schema changes, and is used after it.
    until_all_went_round(&callers).await;
    let done = work.await;
    until_all_went_round(&callers).await;
    stop.store(true, Ordering::Relaxed);
    let called = join_all(calling).await.into_iter().map(Result::unwrap);
    (done, called.max().unwrap())
}

#[tokio::test]
async fn a_column_that_is_added_to_any_table_under_load_fails_no_call() {
    let service = start().await;
    let add = async {
        for (number, table) in (0..).zip(tables()) {
            let sql = format!("ALTER TABLE {} ADD COLUMN newer text NOT NULL DEFAULT 'of a newer version'", table.name);
            migrate(&service.database, newer(number, &sql, false), BOUND).await.unwrap();
            pause(Duration::from_millis(20)).await;
        }
    };
    under_load(&service, add).await;
    for table in tables() {
        assert!(has_column(&service.database, table.name, "newer").await, "{}", table.name);
    }
}

#[tokio::test]
async fn a_migration_that_waits_for_a_lock_holds_up_no_call_for_long() {
    let service = start().await;
    let database = service.database.clone();
    let mut long = database.connect(SUPERUSER).await;
    let mut export = long.begin().await.unwrap();
    sqlx::raw_sql("SELECT count(*) FROM accounts").execute(&mut *export).await.unwrap();
    let alter = "ALTER TABLE accounts ADD COLUMN newer text; ALTER TABLE ledger_entries ADD COLUMN newer text";
    let work = async {
        let migrating = tokio::spawn({
            let database = database.clone();
            async move { migrate(&database, newer(1, alter, false), BOUND).await }
        });
        // It waits for the lock, gives up, and waits again.
        until_it_waits(&database, &[true, false, true]).await;
        assert!(!has_column(&database, "accounts", "newer").await);
        export.rollback().await.unwrap();
        within("the migration", migrating).await.unwrap().unwrap();
    };
    let ((), longest) = under_load(&service, work).await;
    assert!(longest < Duration::from_secs(8), "{longest:?}");
    assert!(has_column(&database, "ledger_entries", "newer").await);
}

#[tokio::test]
async fn a_migration_that_gets_no_lock_says_so_and_leaves_nothing_behind() {
    let database = Database::create().await;
    let mut long = database.connect(SUPERUSER).await;
    let mut export = long.begin().await.unwrap();
    sqlx::raw_sql("SELECT count(*) FROM accounts").execute(&mut *export).await.unwrap();
    let alter = "ALTER TABLE names ADD COLUMN newer text; ALTER TABLE accounts ADD COLUMN newer text";
    let held_up = migrate(&database, newer(1, alter, false), Duration::ZERO).await.unwrap_err();
    assert!(held_up.to_string().starts_with("migration 9001 was held up for 1 s by transactions"), "{held_up}");
    export.rollback().await.unwrap();
    assert!(!has_column(&database, "names", "newer").await);
    migrate(&database, newer(1, alter, false), Duration::ZERO).await.unwrap();
    assert!(has_column(&database, "names", "newer").await);
}

#[tokio::test]
async fn a_migration_that_meets_a_reader_crosswise_is_tried_again_and_the_reader_goes_on() {
    let database = Database::create().await;
    let mut long = database.connect(SUPERUSER).await;
    // Whoever looks first is turned away: on a busy machine, it might be the reader.
    sqlx::raw_sql("SET deadlock_timeout = '10s'").execute(&mut long).await.unwrap();
    let mut export = long.begin().await.unwrap();
    sqlx::raw_sql("SELECT count(*) FROM accounts").execute(&mut *export).await.unwrap();
    let migrating = tokio::spawn({
        let database = database.clone();
        let alter = "ALTER TABLE names ADD COLUMN newer text; ALTER TABLE accounts ADD COLUMN newer text";
        async move { migrate(&database, newer(1, alter, false), BOUND).await }
    });
    until_it_waits(&database, &[true]).await;
    // Each wants now what the other one has.
    sqlx::raw_sql("SELECT count(*) FROM names").execute(&mut *export).await.unwrap();
    export.rollback().await.unwrap();
    within("the migration", migrating).await.unwrap().unwrap();
    assert!(has_column(&database, "names", "newer").await);
}

#[tokio::test]
async fn an_index_is_made_while_others_write_and_others_wait_to_migrate() {
    let service = start().await;
    let index = || newer(1, "CREATE INDEX CONCURRENTLY newer_index ON ledger_entries (recorded_at)", true);
    let replicas = join_all((0..3).map(|_| migrate(&service.database, index(), BOUND)));
    let (outcomes, _) = under_load(&service, within("every migration", replicas)).await;
    outcomes.into_iter().for_each(Result::unwrap);
    let mut connection = service.database.connect(SUPERUSER).await;
    let is_valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'newer_index'::regclass";
    assert!(sqlx::query_scalar::<_, bool>(is_valid).fetch_one(&mut connection).await.unwrap());
}

#[tokio::test]
async fn an_older_program_migrates_and_serves_on_a_newer_schema() {
    let database = Database::create().await;
    let newer = newer(1, "CREATE TABLE households (household_id uuid PRIMARY KEY)", false);
    migrate(&database, newer, BOUND).await.unwrap();
    let (owner, service) = (database.options(OWNER_ROLE), database.options(SERVICE_ROLE));
    let migrated = run(&["migrate", "--database-url", &url(&owner)]).await;
    assert!(migrated.status.success(), "{}", migrated.stderr);
    let owner_url = url(&owner);
    let serving = Serving::start(&service, &[("GOLDBOOK_OWNER_DATABASE_URL", &owner_url)]).await;
    let client = Service::at(serving.address, database).await;
    client.apply_shop().await;
    client.enrol("anna").await;
    assert!(!client.grant("anna", 7, "gift").await.unwrap().replayed);
    serving.kill().await;
}
