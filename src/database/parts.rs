//! One statement that writes several tables: a round trip, and much of what a statement costs before its first row, once
//! for all of them.

use sqlx::error::BoxDynError;
use sqlx::postgres::PgArguments;
use sqlx::{Arguments as _, AssertSqlSafe, Encode, PgConnection, Postgres, Type};

use super::traced::Traced as _;

/// Adds a part's rows as the next parameter.
type AddRows = dyn FnOnce(&mut PgArguments) -> Result<(), BoxDynError> + Send;

/// What a batch does to one table in a statement that writes several: its rows are `$1` in the text. Parts of one
/// statement see what was there before it, and must not write the same rows.
pub struct Part {
    sql: &'static str,
    has_rows: bool,
    /// Whether it is in the statement though there are no rows for it.
    stays: bool,
    add: Box<AddRows>,
}

impl Part {
    /// A part that is always there: so that statements differ little, and each is planned once.
    pub(crate) fn new<R>(sql: &'static str, rows: Vec<R>) -> Self
    where
        R: Send + 'static,
        Vec<R>: for<'q> Encode<'q, Postgres> + Type<Postgres>,
    {
        Self { sql, has_rows: !rows.is_empty(), stays: true, add: Box::new(|arguments| arguments.add(rows)) }
    }

    /// A part that is there only if it has rows, as it seldom does. With each of these there are twice as many statements.
    pub(crate) fn seldom<R>(sql: &'static str, rows: Vec<R>) -> Self
    where
        R: Send + 'static,
        Vec<R>: for<'q> Encode<'q, Postgres> + Type<Postgres>,
    {
        Self { stays: false, ..Self::new(sql, rows) }
    }
}

/// Writes all parts in one statement, which the trace shows by its summary, if any has rows.
///
/// # Errors
/// If the statement fails: then nothing of it is written.
pub(crate) async fn write_parts(
    connection: &mut PgConnection,
    summary: &'static str,
    parts: Vec<Part>,
) -> Result<(), sqlx::Error> {
    if !parts.iter().any(|part| part.has_rows) {
        return Ok(());
    }
    let (mut arguments, mut named) = (PgArguments::default(), Vec::new());
    for part in parts.into_iter().filter(|part| part.has_rows || part.stays) {
        (part.add)(&mut arguments).map_err(sqlx::Error::Encode)?;
        let number = arguments.len();
        named.push(format!("part_{number} AS ({})", part.sql.replace("$1", &format!("${number}"))));
    }
    // All that differs is which of our own texts are there. They run whether anything reads them or not.
    let sql = format!("WITH {} SELECT", named.join(", "));
    sqlx::query_with(AssertSqlSafe(sql), arguments).execute(connection).traced(summary).await?;
    Ok(())
}
