//! Ledger rows are neither changed nor removed: not by the service, not by their owner, not by the superuser, and not in
//! a session that replicates.

use std::collections::BTreeMap;

use goldbook::book::TableRights;
use goldbook::embedded_postgres::{OWNER_ROLE, SERVICE_ROLE, SUPERUSER};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::harness::{Database, Service, projections, read_columns, tables};

/// Postgres's code for what a role may not do.
const INSUFFICIENT_PRIVILEGE: &str = "42501";
/// The code that the ledger's own triggers raise.
const RESTRICT_VIOLATION: &str = "23001";

/// Every way to change or remove rows.
const ATTACKS: [&str; 11] = [
    "UPDATE ledger_entries SET points = points + 1",
    "UPDATE ledger_entries SET detail = detail",
    "UPDATE ledger_entries SET account_seq = account_seq + 100",
    "UPDATE ledger_entries e SET points = 1 FROM accounts a WHERE a.account_id = e.account_id",
    "DELETE FROM ledger_entries",
    "DELETE FROM ledger_entries WHERE kind = 'points_granted'",
    "WITH gone AS (DELETE FROM ledger_entries RETURNING *) SELECT * FROM gone",
    "TRUNCATE ledger_entries",
    "TRUNCATE ledger_entries, accounts CASCADE",
    "INSERT INTO ledger_entries SELECT * FROM ledger_entries
     ON CONFLICT (account_id, account_seq) DO UPDATE SET points = 1000000",
    "MERGE INTO ledger_entries e USING accounts a ON a.account_id = e.account_id
     WHEN MATCHED THEN UPDATE SET reason = 'other'",
];

/// A database with some history, of which the service itself is gone.
async fn create_history() -> Database {
    let service = Service::start().await;
    service.apply_shop().await;
    let code = service.share_code("anna", "friends").await;
    service.refer("ben", &code).await;
    service.purchase("ben", "order-1", "250.00").await.unwrap();
    service.grant("anna", 100, "gift").await.unwrap();
    let database = service.database.clone();
    service.stop().await;
    database
}

/// The whole ledger as text.
async fn read_ledger(database: &Database) -> Vec<String> {
    let mut connection = database.connect(SUPERUSER).await;
    let select = "SELECT to_jsonb(e)::text FROM ledger_entries e ORDER BY account_id, account_seq";
    sqlx::query_scalar(select).fetch_all(&mut connection).await.unwrap()
}

async fn run(connection: &mut PgConnection, statement: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(connection).await.map(drop)
}

/// Postgres's code for why a statement is refused.
async fn refusal(connection: &mut PgConnection, statement: &str) -> String {
    match run(connection, statement).await {
        Ok(()) => panic!("{statement}: it went through"),
        Err(error) => error.as_database_error().unwrap().code().unwrap().into_owned(),
    }
}

async fn assert_attacks_are_refused(role: &str, before: Option<&str>, code: &str) {
    let database = create_history().await;
    let ledger = read_ledger(&database).await;
    assert!(ledger.len() > 10);
    let mut connection = database.connect(role).await;
    if let Some(before) = before {
        run(&mut connection, before).await.unwrap();
    }
    for attack in ATTACKS {
        assert_eq!(refusal(&mut connection, attack).await, code, "{role}: {attack}");
    }
    assert_eq!(read_ledger(&database).await, ledger);
}

#[tokio::test]
async fn the_services_role_has_no_privilege_to_change_or_remove_ledger_rows() {
    assert_attacks_are_refused(SERVICE_ROLE, None, INSUFFICIENT_PRIVILEGE).await;
}

#[tokio::test]
async fn the_owner_cannot_change_or_remove_ledger_rows() {
    assert_attacks_are_refused(OWNER_ROLE, None, RESTRICT_VIOLATION).await;
}

#[tokio::test]
async fn the_superuser_cannot_change_or_remove_ledger_rows() {
    assert_attacks_are_refused(SUPERUSER, None, RESTRICT_VIOLATION).await;
}

#[tokio::test]
async fn a_session_that_replicates_cannot_change_or_remove_ledger_rows() {
    assert_attacks_are_refused(SUPERUSER, Some("SET session_replication_role = replica"), RESTRICT_VIOLATION).await;
}

#[tokio::test]
async fn the_services_role_cannot_take_the_ledgers_protection_away() {
    let database = create_history().await;
    let ledger = read_ledger(&database).await;
    let mut connection = database.connect(SERVICE_ROLE).await;
    for attack in [
        "ALTER TABLE ledger_entries DISABLE TRIGGER ALL",
        "ALTER TABLE ledger_entries DISABLE TRIGGER ledger_entries_refuse_row_change",
        "ALTER TABLE ledger_entries ENABLE REPLICA TRIGGER ledger_entries_refuse_truncate",
        "DROP TRIGGER ledger_entries_refuse_row_change ON ledger_entries",
        "CREATE OR REPLACE FUNCTION refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "ALTER FUNCTION refuse_ledger_change() RENAME TO allow_ledger_change",
        "DROP FUNCTION refuse_ledger_change() CASCADE",
        "CREATE RULE nothing AS ON INSERT TO ledger_entries DO INSTEAD NOTHING",
        "ALTER TABLE ledger_entries RENAME TO old_entries",
        "ALTER TABLE ledger_entries DROP COLUMN content_hash",
        "ALTER TABLE ledger_entries OWNER TO goldbook_service",
        "DROP TABLE ledger_entries",
        "DROP SCHEMA public CASCADE",
        "CREATE TABLE ledger_entries_2 (id int)",
        "SET session_replication_role = replica",
        "SET ROLE goldbook_owner",
        "SET ROLE postgres",
        "LOCK TABLE ledger_entries IN ACCESS EXCLUSIVE MODE",
    ] {
        run(&mut connection, "BEGIN").await.unwrap();
        assert_eq!(refusal(&mut connection, attack).await, INSUFFICIENT_PRIVILEGE, "{attack}");
        run(&mut connection, "ROLLBACK").await.unwrap();
    }
    // Postgres answers this with no more than a warning.
    run(&mut connection, "GRANT UPDATE, DELETE, TRUNCATE ON ledger_entries TO goldbook_service").await.unwrap();
    for attack in ATTACKS {
        assert_eq!(refusal(&mut connection, attack).await, INSUFFICIENT_PRIVILEGE, "{attack}");
    }
    assert_eq!(read_ledger(&database).await, ledger);
}

#[tokio::test]
async fn every_table_of_the_schema_is_declared() {
    let columns = read_columns(&Database::create().await).await;
    let in_schema: Vec<&str> = columns.iter().map(|(table, _)| table.as_str()).collect();
    let mut declared: Vec<&str> = tables().iter().map(|table| table.name).collect();
    declared.sort_unstable();
    assert_eq!(in_schema, declared);
}

#[tokio::test]
async fn the_service_may_only_look_at_the_one_view_of_the_schema() {
    let database = Database::create().await;
    let select = "SELECT table_name::text, array_agg(DISTINCT privilege_type::text)
                  FROM information_schema.views JOIN information_schema.table_privileges USING (table_schema, table_name)
                  WHERE table_schema = 'public' AND grantee = $1 GROUP BY table_name";
    let mut connection = database.connect(SUPERUSER).await;
    let views: Vec<(String, Vec<String>)> =
        sqlx::query_as(select).bind(SERVICE_ROLE).fetch_all(&mut connection).await.unwrap();
    assert_eq!(views, [("related_accounts".to_owned(), vec!["SELECT".to_owned()])]);
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM information_schema.views WHERE table_schema = 'public'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(count, 1);
}

#[tokio::test]
async fn the_services_role_cannot_rewrite_sources_of_record_nor_migrations() {
    let database = create_history().await;
    let mut connection = database.connect(SERVICE_ROLE).await;
    let names = |rights: &[TableRights]| -> Vec<&'static str> {
        let mut names: Vec<&str> =
            tables().iter().filter(|table| rights.contains(&table.rights)).map(|table| table.name).collect();
        names.sort_unstable();
        names
    };
    // What the ledger and the sources of record are, whatever is declared.
    let appended = names(&[TableRights::Append]);
    for table in ["ledger_entries", "program_versions", "erasures", "tombstones"] {
        assert!(appended.contains(&table), "{table} is declared otherwise");
    }
    let columns: BTreeMap<String, Vec<String>> = read_columns(&database).await.into_iter().collect();
    let update = |table: &str| {
        let column = columns.get(table).map_or("version", |columns| columns[0].as_str());
        format!("UPDATE {table} SET {column} = {column}")
    };
    for table in appended.into_iter().chain(["_sqlx_migrations"]) {
        for attack in [update(table), format!("DELETE FROM {table}"), format!("TRUNCATE {table}")] {
            assert_eq!(refusal(&mut connection, &attack).await, INSUFFICIENT_PRIVILEGE, "{attack}");
        }
    }
    // Projections change, and nobody but an owner removes them. What is known of a person is removed with them; of that,
    // only dossiers change, and names are not passed on.
    let changed = names(&[TableRights::AppendAndChange]);
    for table in projections() {
        assert!(changed.contains(&table), "{table} is declared otherwise");
    }
    for table in changed {
        for attack in [format!("DELETE FROM {table}"), format!("TRUNCATE {table}")] {
            assert_eq!(refusal(&mut connection, &attack).await, INSUFFICIENT_PRIVILEGE, "{attack}");
        }
    }
    let removed = names(&[TableRights::AppendAndRemove]);
    for table in ["names", "entry_notes", "marketing_consents", "activities"] {
        assert!(removed.contains(&table), "{table} is declared otherwise");
    }
    for table in removed {
        for attack in [update(table), format!("TRUNCATE {table}")] {
            assert_eq!(refusal(&mut connection, &attack).await, INSUFFICIENT_PRIVILEGE, "{attack}");
        }
    }
}

#[tokio::test]
async fn the_ledger_refuses_rows_that_break_its_own_shape() {
    let database = create_history().await;
    let mut connection = database.connect(SERVICE_ROLE).await;
    let copy = |changes: &str| {
        format!(
            "INSERT INTO ledger_entries
             SELECT (jsonb_populate_record(e, jsonb_build_object('account_seq', e.account_seq + 1000) || {changes})).*
             FROM ledger_entries e WHERE kind = 'points_granted' LIMIT 1"
        )
    };
    // As it is, the copy would be taken: what follows fails for its own reason.
    run(&mut connection, "BEGIN").await.unwrap();
    run(&mut connection, &copy(r#"'{"key_hash": null, "fingerprint": null}'"#)).await.unwrap();
    run(&mut connection, "ROLLBACK").await.unwrap();
    for (changes, constraint) in [
        (r#"'{"points": -5}'"#, "ledger_entries_points_in_bounds"),
        (r#"'{"points": 0}'"#, "ledger_entries_points_in_bounds"),
        (r#"'{"points": null}'"#, "ledger_entries_move_whole"),
        (r#"'{"from_pocket": "available", "to_pocket": "available"}'"#, "ledger_entries_pockets_differ"),
        (r#"'{"account_seq": 0}'"#, "ledger_entries_seq_positive"),
        (r#"'{"content_hash": "\\x00"}'"#, "ledger_entries_hash_lengths"),
        ("jsonb_build_object('account_seq', e.account_seq)", "ledger_entries_pkey"),
    ] {
        let error = run(&mut connection, &copy(changes)).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().constraint(), Some(constraint), "{changes}");
    }
}
