//! One statement that reads or writes several tables: a round trip, and much of what a statement costs before its first
//! row, once for all of them.

use std::borrow::Cow;
use std::marker::PhantomData;

use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments as _, AssertSqlSafe, Decode, Encode, PgConnection, Postgres, Row as _, Type};

use super::error::StoreError;
use super::traced::Traced as _;

/// Adds a part's parameters to those of the statement.
type AddArguments = dyn FnOnce(&mut PgArguments) -> Result<(), BoxDynError> + Send;

/// What a batch does to one table in a statement that writes several: its rows are `$1` in the text. Parts of one
/// statement see what was there before it, and must not write the same rows. Made by [`write_part`].
pub struct WritePart {
    sql: &'static str,
    has_rows: bool,
    /// Whether it is in the statement though there are no rows for it.
    stays: bool,
    add: Box<AddArguments>,
}

impl WritePart {
    /// A part of rows that are sent as an array of a composite type.
    pub(crate) fn new<R>(sql: &'static str, rows: Vec<R>, stays: bool) -> Self
    where
        R: Send + 'static,
        Vec<R>: for<'q> Encode<'q, Postgres> + Type<Postgres>,
    {
        Self { sql, has_rows: !rows.is_empty(), stays, add: Box::new(|arguments| arguments.add(rows)) }
    }
}

/// A [`WritePart`] whose text is checked when it is compiled. One that is `always` there, with rows or without, lets
/// statements differ little, so that each is planned once; with each that is there only if it has rows, there are twice
/// as many.
macro_rules! write_part {
    (always, $sql:literal, $rows:expr $(,)?) => {
        $crate::database::parts::write_part!(@true, $sql, $rows)
    };
    ($sql:literal, $rows:expr $(,)?) => {
        $crate::database::parts::write_part!(@false, $sql, $rows)
    };
    (@$stays:literal, $sql:literal, $rows:expr) => {{
        let rows = $rows;
        // Never called: it is there for the compiler, who knows the schema.
        let _ = || drop(sqlx::query!($sql, rows as _));
        $crate::database::parts::WritePart::new($sql, rows, $stays)
    }};
}
pub(crate) use write_part;

/// Writes all parts in one statement, which the trace shows by its summary, if any has rows.
///
/// # Errors
/// If the statement fails: then nothing of it is written.
pub(crate) async fn write_parts(
    connection: &mut PgConnection,
    summary: &'static str,
    parts: Vec<WritePart>,
) -> Result<(), sqlx::Error> {
    if !parts.iter().any(|part| part.has_rows) {
        return Ok(());
    }
    let (mut arguments, mut named) = (PgArguments::default(), Vec::new());
    for part in parts.into_iter().filter(|part| part.has_rows || part.stays) {
        let place = named.len();
        named.push(format!("part_{place} AS ({})", renumber(part.sql, arguments.len())));
        (part.add)(&mut arguments).map_err(sqlx::Error::Encode)?;
    }
    // All that differs is which of our own texts are there. They run whether anything reads them or not.
    let sql = format!("WITH {} SELECT", named.join(", "));
    sqlx::query_with(AssertSqlSafe(sql), arguments).execute(connection).traced(summary).await?;
    Ok(())
}

/// What is done with a part's rows: they are put into a target.
type Take<T> = dyn FnOnce(&mut T, &[&PgRow]) -> Result<(), StoreError> + Send;

/// What one table is asked for in a statement that reads several, and what takes the rows. Made of a [`Selection`].
pub struct ReadPart<T> {
    /// The table, as the trace tells it.
    table: &'static str,
    sql: &'static str,
    add: Box<AddArguments>,
    take: Box<Take<T>>,
}

/// Rows to be read, in a statement alone or together with others. They come as records: their columns are the fields of
/// `R`, in order. Made by [`selection`].
pub(crate) struct Selection<R> {
    table: &'static str,
    sql: &'static str,
    add: Box<AddArguments>,
    row: PhantomData<fn() -> R>,
}

impl<R: for<'r> Decode<'r, Postgres> + Send + 'static> Selection<R> {
    pub(crate) fn new(
        table: &'static str,
        sql: &'static str,
        add: impl FnOnce(&mut PgArguments) -> Result<(), BoxDynError> + Send + 'static,
    ) -> Self {
        Self { table, sql, add: Box::new(add), row: PhantomData }
    }

    /// A part of a statement; `take` puts what was found into the target.
    pub(crate) fn into_part<T>(
        self,
        take: impl FnOnce(&mut T, Vec<R>) -> Result<(), StoreError> + Send + 'static,
    ) -> ReadPart<T> {
        let take = |target: &mut T, rows: &[&PgRow]| {
            let decoded: Result<Vec<R>, sqlx::Error> =
                rows.iter().map(|row| row.try_get_unchecked::<R, _>(1)).collect();
            take(target, decoded?)
        };
        ReadPart { table: self.table, sql: self.sql, add: self.add, take: Box::new(take) }
    }

    /// Reads the rows in a statement of their own.
    ///
    /// # Errors
    /// If the statement fails, or a row cannot be understood.
    pub(crate) async fn fetch(self, connection: &mut PgConnection) -> Result<Vec<R>, StoreError> {
        let mut rows = Vec::new();
        let part = self.into_part(|rows: &mut Vec<R>, found| {
            *rows = found;
            Ok(())
        });
        read_parts(connection, vec![part], &mut rows).await?;
        Ok(rows)
    }
}

/// A [`Selection`] whose text is checked when it is compiled: the table, what a row is read as, the text, and its
/// parameters.
macro_rules! selection {
    ($table:literal, $row:ty, $first:literal $(+ $more:literal)*, [$($argument:ident),+ $(,)?] $(,)?) => {{
        // Never called: it is there for the compiler, who knows the schema.
        let _ = || drop(sqlx::query_as!($row, $first $(+ $more)*, $(&$argument as _),+));
        let add = move |arguments: &mut sqlx::postgres::PgArguments| {
            $(sqlx::Arguments::add(arguments, $argument)?;)+
            Ok(())
        };
        $crate::database::parts::Selection::<$row>::new($table, concat!($first $(, $more)*), add)
    }};
}
pub(crate) use selection;

/// Reads all parts in one statement, and puts what they find into the target, in their order.
///
/// # Errors
/// If the statement fails, or a row cannot be understood.
pub(crate) async fn read_parts<T>(
    connection: &mut PgConnection,
    parts: Vec<ReadPart<T>>,
    target: &mut T,
) -> Result<(), StoreError> {
    if parts.is_empty() {
        return Ok(());
    }
    let (mut arguments, mut texts, mut takes) = (PgArguments::default(), Vec::new(), Vec::new());
    let tables: Vec<&str> = parts.iter().map(|part| part.table).collect();
    let summary = format!("SELECT {}", tables.join(", "));
    for part in parts {
        let place = texts.len();
        texts.push(format!("SELECT {place}, ROW(r.*) FROM ({}) r", renumber(part.sql, arguments.len())));
        (part.add)(&mut arguments).map_err(sqlx::Error::Encode)?;
        takes.push(part.take);
    }
    // All that differs is which of our own texts are there.
    let sql = texts.join(" UNION ALL ");
    let rows = sqlx::query_with(AssertSqlSafe(sql), arguments).fetch_all(connection).traced(summary).await?;
    let mut of_parts: Vec<Vec<&PgRow>> = takes.iter().map(|_| Vec::new()).collect();
    for row in &rows {
        let place: i32 = row.try_get(0)?;
        if let Some(of_part) = usize::try_from(place).ok().and_then(|place| of_parts.get_mut(place)) {
            of_part.push(row);
        }
    }
    takes.into_iter().zip(of_parts).try_for_each(|(take, rows)| take(target, &rows))
}

/// A part's text whose parameters come behind so many others.
fn renumber(sql: &'static str, offset: usize) -> Cow<'static, str> {
    if offset == 0 {
        return sql.into();
    }
    let mut pieces = sql.split('$');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let digits = piece.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = piece.split_at(digits);
        let number: usize = number.parse().unwrap_or_default();
        text.push_str(&format!("${}{rest}", number + offset));
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_of_a_part_come_behind_those_of_others() {
        let sql = "SELECT $1::text[] WHERE a = $2 AND b = $12 OR c = $1";
        assert_eq!(renumber(sql, 0), sql);
        assert_eq!(renumber(sql, 9), "SELECT $10::text[] WHERE a = $11 AND b = $21 OR c = $10");
    }
}
