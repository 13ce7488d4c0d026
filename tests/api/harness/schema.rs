//! What the schema consists of, as the code declares it and as it is.

use goldbook::book::{Table, TableRole};
use goldbook::embedded_postgres::SUPERUSER;

use super::cluster::Database;

/// Every table that the code declares.
pub(crate) fn tables() -> Vec<&'static Table> {
    goldbook::capabilities::tables()
}

/// The tables whose rows are what the entries alone say.
pub(crate) fn projections() -> Vec<&'static str> {
    let is_projection = |table: &&Table| matches!(table.role, TableRole::Head | TableRole::Projection { .. });
    tables().into_iter().filter(is_projection).map(|table| table.name).collect()
}

/// The columns of every table that the schema has, but for the one in which migrations are recorded.
pub(crate) async fn read_columns(database: &Database) -> Vec<(String, Vec<String>)> {
    let select = "SELECT table_name::text, array_agg(column_name::text ORDER BY ordinal_position)
                  FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
                  WHERE table_type = 'BASE TABLE' AND table_schema = 'public' AND table_name <> '_sqlx_migrations'
                  GROUP BY table_name ORDER BY table_name";
    let mut connection = database.connect(SUPERUSER).await;
    sqlx::query_as(select).fetch_all(&mut connection).await.unwrap()
}
