//! What a database holds, as a backup would: its tables as SQL, and its files as they are.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;

use goldbook::embedded_postgres::{SUPERUSER, find_bin_dir};
use sqlx::AssertSqlSafe;

use crate::harness::{Database, postgres_bin};
use crate::wait::within;

/// Dumps a database as SQL, as `pg_dump` does with these options.
pub(super) async fn dump(database: &Database, options: &[String]) -> Vec<u8> {
    let reach = database.options(SUPERUSER);
    let mut command = tokio::process::Command::new(find_bin_dir(postgres_bin().as_deref()).unwrap().join("pg_dump"));
    command.arg("--host").arg(reach.get_socket().unwrap()).args(["--port", &reach.get_port().to_string()]);
    command.args(["--username", SUPERUSER, "--no-password", "--dbname", database.name()]).args(options);
    let output = within("the dump", command.stdin(Stdio::null()).kill_on_drop(true).output()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Dumps a database without the rows of these tables.
pub(super) async fn dump_without(database: &Database, tables: &[String]) -> Vec<u8> {
    let options: Vec<String> = tables.iter().map(|table| format!("--exclude-table-data=public.{table}")).collect();
    dump(database, &options).await
}

/// Dumps these tables, each by itself.
pub(super) async fn dump_each(database: &Database, tables: &[String]) -> BTreeMap<String, Vec<u8>> {
    let mut dumps = BTreeMap::new();
    for table in tables {
        dumps.insert(table.clone(), dump(database, &[format!("--table=public.{table}")]).await);
    }
    dumps
}

/// Every file of a database, as it is on disk once everything is written there.
pub(super) async fn read_files(database: &Database) -> Vec<(PathBuf, Vec<u8>)> {
    execute(database, "CHECKPOINT").await;
    let mut connection = database.connect(SUPERUSER).await;
    let select = "SELECT current_setting('data_directory') || '/base/' || oid FROM pg_database
                  WHERE datname = current_database()";
    let folder: String = sqlx::query_scalar(select).fetch_one(&mut connection).await.unwrap();
    let mut files = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        // A file may go while the folder is read.
        if let Ok(content) = std::fs::read(&path) {
            files.push((path, content));
        }
    }
    files
}

const PAGE: &str = include_str!("../../../docs/privacy.md");

/// The tables that `docs/privacy.md` says hold what is personal.
pub(super) fn personal_tables() -> Vec<String> {
    let section = PAGE.split("\n## ").find_map(|section| section.strip_prefix("Where it is\n"));
    let rows = section.unwrap_or_default().lines().filter_map(|line| line.strip_prefix("| `"));
    let tables: Vec<String> = rows.filter_map(|row| row.split('`').next()).map(str::to_owned).collect();
    assert!(!tables.is_empty(), "docs/privacy.md lists no tables");
    tables
}

/// The statements that `docs/privacy.md` says rid the files of what was erased.
pub(super) fn statements_after_erasures() -> Vec<String> {
    let block = PAGE.split("```").find_map(|block| block.strip_prefix("sql\n"));
    block.expect("docs/privacy.md shows no statements").lines().map(str::to_owned).collect()
}

pub(super) async fn execute(database: &Database, statements: &str) {
    let mut connection = database.connect(SUPERUSER).await;
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await.unwrap();
}
