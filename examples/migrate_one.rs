//! Runs one migration after all that this version has, in the way of `goldbook migrate`. So it can be tried before the
//! program has it:
//!
//! ```sh
//! cargo run --example migrate_one -- postgres://goldbook_owner@localhost/goldbook 9001_a_column.sql
//! ```

use std::error::Error;
use std::path::Path;
use std::{env, fs, io};

use goldbook::database::migrations::{PATIENCE, connect_alone, migrations, run_migrations};
use sqlx::migrate::{Migration, MigrationType};
use sqlx::{AssertSqlSafe, Connection as _, SqlSafeStr as _};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let mut arguments = env::args().skip(1);
    let (Some(database), Some(file), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: migrate_one DATABASE_URL NUMBER_NAME.sql".into());
    };
    let mut connection = connect_alone(&database.parse()?).await?;
    let migrations = migrations().into_iter().chain([read(Path::new(&file))?]).collect();
    run_migrations(&mut connection, migrations, PATIENCE).await?;
    connection.close().await?;
    Ok(())
}

/// Reads a migration, whose number its name begins with.
fn read(file: &Path) -> Result<Migration, Box<dyn Error>> {
    let name = file.file_stem().and_then(|name| name.to_str()).and_then(|name| name.split_once('_'));
    let (number, description) = name.ok_or("the file is not named as a migration")?;
    let sql = fs::read_to_string(file)?;
    let no_tx = sql.starts_with("-- no-transaction");
    let sql = AssertSqlSafe(sql).into_sql_str();
    Ok(Migration::new(number.parse()?, description.to_owned().into(), MigrationType::Simple, sql, no_tx))
}
