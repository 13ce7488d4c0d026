//! How Postgres keeps the large tables: that their storage parameters are there, and do what they are there for. The reasons
//! are in docs/sizing.md.

use goldbook::embedded_postgres::SUPERUSER;

use crate::activities::batches::record_all;
use crate::harness::{Database, Service, purchase};
use crate::wait::until;

/// As many rows as a large table has.
const LARGE: i64 = 100_000_000;

/// When autovacuum comes to a table, by the table's storage parameters or, where it has none, by the server's settings.
#[derive(Debug, sqlx::FromRow)]
struct Vacuum {
    /// After how many rows that are dead, or were added, if the table has [`LARGE`].
    dead: i64,
    added: i64,
    /// How many transactions old a row is that it freezes.
    freeze_age: i64,
}

impl Vacuum {
    async fn read(database: &Database, table: &str) -> Self {
        let select = "
            WITH options AS (
                SELECT option_name AS name, option_value AS value
                FROM pg_class, pg_options_to_table(reloptions) WHERE pg_class.oid = $1::regclass
            ), parameters AS (
                SELECT name, coalesce(options.value, setting)::float8 AS value
                FROM pg_settings LEFT JOIN options USING (name)
                UNION ALL
                -- The server's setting of this one has another name.
                SELECT 'freeze_age', coalesce((SELECT value FROM options WHERE name = 'autovacuum_freeze_min_age'),
                                              current_setting('vacuum_freeze_min_age'))::float8
            ), chosen AS (
                SELECT json_object_agg(name, value) AS of FROM parameters
                WHERE name LIKE 'autovacuum_vacuum%' OR name = 'freeze_age'
            )
            SELECT ((of->>'autovacuum_vacuum_threshold')::float8
                       + (of->>'autovacuum_vacuum_scale_factor')::float8 * $2)::bigint AS dead,
                   ((of->>'autovacuum_vacuum_insert_threshold')::float8
                       + (of->>'autovacuum_vacuum_insert_scale_factor')::float8 * $2)::bigint AS added,
                   (of->>'freeze_age')::float8::bigint AS freeze_age
            FROM chosen";
        let mut connection = database.connect(SUPERUSER).await;
        sqlx::query_as(select).bind(table).bind(LARGE).fetch_one(&mut connection).await.unwrap()
    }
}

#[tokio::test]
async fn rows_that_never_change_are_frozen_a_million_at_a_time_however_many_there_are() {
    let database = Database::create().await;
    for table in ["ledger_entries", "activities", "feedback", "purchases"] {
        let vacuum = Vacuum::read(&database, table).await;
        assert!(vacuum.added <= 1_000_000 && vacuum.freeze_age == 0, "{table}: {vacuum:?}");
    }
}

#[tokio::test]
async fn dead_rows_of_large_tables_are_removed_before_they_are_many() {
    let database = Database::create().await;
    for table in ["accounts", "standings", "lots"] {
        let vacuum = Vacuum::read(&database, table).await;
        assert!(vacuum.dead <= LARGE / 40, "{table}: {vacuum:?}");
    }
}

#[tokio::test]
async fn what_each_purchase_changes_finds_room_on_its_page() {
    let service = Service::start().await;
    service.apply_shop().await;
    // Pages that are as full as they get.
    let buy = |number: i32, order: &str| purchase(&format!("customer-{number}"), order, "1.00", service.clock.now());
    record_all(&service, (0..600).map(|number| buy(number, "first")).collect()).await;
    // Some on each page.
    record_all(&service, (0..600).step_by(10).map(|number| buy(number, "second")).collect()).await;
    let database = service.database.clone();
    service.stop().await;
    // A session tells what it changed when it ends.
    let mut connection = database.connect(SUPERUSER).await;
    let select = "SELECT relname::text, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables
                  WHERE relname IN ('accounts', 'standings') AND n_tup_upd >= 60 ORDER BY relname";
    let changed: Vec<(String, i64, i64)> = until("all changes are counted", async || {
        let changed: Vec<_> = sqlx::query_as(select).fetch_all(&mut connection).await.unwrap();
        (changed.len() == 2).then_some(changed)
    })
    .await;
    for (table, changes, in_place) in changed {
        assert!(in_place * 100 >= changes * 97, "{table}: {in_place} of {changes} changes were in place");
    }
}
