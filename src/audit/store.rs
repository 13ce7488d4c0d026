//! The audit's SQL: rows that belong to entries or accounts, looked up for many at once.

pub(super) mod records;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use sqlx::{AssertSqlSafe, PgConnection};
use uuid::Uuid;

use super::mentions::StoredActivity;
pub(super) use crate::book::store::balances::read_balances;
pub(super) use crate::book::store::{projections, scan};
use crate::book::{Table, TableRights};
use crate::database::{StoreError, Traced as _};
use crate::ids::{AccountId, EntryId, ProgramId};

/// The tables of audits. Old reports are removed.
pub(crate) const TABLES: &[Table] = &[Table::report("audits", TableRights::AppendAndRemove)];

/// Why an audit did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The database is away, or refuses.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// Rows could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Whoever is connected may not repair.
    #[error("to repair needs the role that owns the tables")]
    NotOwner,
}

/// Begins the snapshot that all of an audit sees, on the connection that goes through the ledger. Returns the name by
/// which other connections join it.
///
/// # Errors
/// If the database cannot be reached.
pub(super) async fn begin_snapshot(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    // With memory to sort: often that is faster than to follow the index through the whole table.
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL work_mem = '64MB'";
    sqlx::raw_sql(begin).execute(&mut *connection).traced("BEGIN").await?;
    let export = sqlx::query_scalar!(r#"SELECT pg_export_snapshot() AS "snapshot!""#);
    export.fetch_one(connection).traced("SELECT").await
}

/// Makes a connection see the snapshot of this name.
///
/// # Errors
/// If the database cannot be reached, or the connection that began the snapshot is closed.
pub(super) async fn join_snapshot(connection: &mut PgConnection, snapshot: &str) -> Result<(), sqlx::Error> {
    // The name of a snapshot cannot be a parameter. It comes from Postgres, so it is safe in the statement.
    let name = snapshot.replace('\'', "''");
    let join = format!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '{name}'");
    sqlx::raw_sql(AssertSqlSafe(join)).execute(connection).traced("BEGIN").await.map(drop)
}

/// Leaves the snapshot for a new one of the present.
///
/// # Errors
/// If the database cannot be reached.
pub(super) async fn renew_snapshot(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let renew = "COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    sqlx::raw_sql(renew).execute(connection).traced("BEGIN").await.map(drop)
}

/// Leaves the snapshot.
///
/// # Errors
/// If the database cannot be reached.
pub(super) async fn end_snapshot(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql("COMMIT").execute(connection).traced("COMMIT").await.map(drop)
}

/// Lets the statements that follow go through whole tables, on a connection that was made for lookups by key.
///
/// # Errors
/// If the statement fails.
pub(super) async fn plan_for_whole_tables(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let set = "SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on;
               SET LOCAL plan_cache_mode = auto";
    sqlx::raw_sql(set).execute(connection).traced("SET").await.map(drop)
}

/// Lets the accounts with new entries be found by when entries were recorded, and never by a way through all entries.
///
/// # Errors
/// If the statement fails.
pub(super) async fn plan_for_new_entries(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let set = "SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off";
    sqlx::raw_sql(set).execute(connection).traced("SET").await.map(drop)
}

/// An activity as it is stored.
struct ActivityRow {
    account_id: Uuid,
    account_seq: i64,
    activity_id: String,
    purchase_seq: Option<i64>,
    amount: Option<i64>,
    happened_at: jiff_sqlx::Timestamp,
    recorded_at: jiff_sqlx::Timestamp,
}

impl From<ActivityRow> for StoredActivity {
    fn from(row: ActivityRow) -> Self {
        Self {
            id: EntryId { account_id: AccountId(row.account_id), account_seq: row.account_seq },
            activity_id: row.activity_id,
            purchase: row.purchase_seq,
            amount: row.amount,
            happened_at: row.happened_at.to_jiff(),
            recorded_at: row.recorded_at.to_jiff(),
        }
    }
}

/// Activities in the order of account and entry, after one entry and up to another.
pub(super) fn scan_activities(
    connection: &mut PgConnection,
    after: EntryId,
    up_to: EntryId,
) -> BoxStream<'_, Result<StoredActivity, sqlx::Error>> {
    let rows = sqlx::query_as!(
        ActivityRow,
        "SELECT account_id, account_seq, activity_id, purchase_seq, amount, happened_at, recorded_at FROM activities
         WHERE (account_id, account_seq) > ($1, $2) AND (account_id, account_seq) <= ($3, $4)
         ORDER BY account_id, account_seq",
        after.account_id.0,
        after.account_seq,
        up_to.account_id.0,
        up_to.account_seq,
    );
    rows.fetch(connection).map_ok(StoredActivity::from).boxed()
}

/// The same of some accounts alone.
pub(super) fn scan_activities_of<'c>(
    connection: &'c mut PgConnection,
    accounts: &[AccountId],
    after: EntryId,
    up_to: EntryId,
) -> BoxStream<'c, Result<StoredActivity, sqlx::Error>> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let rows = sqlx::query_as!(
        ActivityRow,
        "SELECT a.account_id, a.account_seq, a.activity_id, a.purchase_seq, a.amount, a.happened_at, a.recorded_at
         FROM unnest($1::uuid[]) AS u (account_id) JOIN activities a ON a.account_id = u.account_id
         WHERE (a.account_id, a.account_seq) > ($2, $3) AND (a.account_id, a.account_seq) <= ($4, $5)
         ORDER BY a.account_id, a.account_seq",
        &ids,
        after.account_id.0,
        after.account_seq,
        up_to.account_id.0,
        up_to.account_seq,
    );
    rows.fetch(connection).map_ok(StoredActivity::from).boxed()
}

/// Which of the accounts have a dossier.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn find_dossiers(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<Vec<AccountId>, sqlx::Error> {
    let ids: Vec<Uuid> = accounts.iter().map(|account| account.0).collect();
    let rows = sqlx::query_scalar!("SELECT account_id FROM customers WHERE account_id = ANY($1)", &ids);
    let rows = rows.fetch_all(connection).traced("SELECT customers").await?;
    Ok(rows.into_iter().map(AccountId).collect())
}

/// The positions in the list of entries that do not exist.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn find_missing_entries(
    connection: &mut PgConnection,
    entries: impl Iterator<Item = EntryId>,
) -> Result<Vec<usize>, sqlx::Error> {
    let (accounts, seqs): (Vec<Uuid>, Vec<i64>) = entries.map(|id| (id.account_id.0, id.account_seq)).unzip();
    let rows = sqlx::query_scalar!(
        r#"SELECT u.place AS "place!" FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS u (account_id, seq, place)
           WHERE NOT EXISTS (
               SELECT FROM ledger_entries e WHERE e.account_id = u.account_id AND e.account_seq = u.seq
           ) ORDER BY u.place"#,
        &accounts,
        &seqs,
    )
    .fetch_all(connection)
    .traced("SELECT ledger_entries")
    .await?;
    Ok(rows.into_iter().map(|place| usize::try_from(place - 1).unwrap_or(usize::MAX)).collect())
}

/// The positions in the list of program versions that have no document.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn find_missing_versions(
    connection: &mut PgConnection,
    versions: impl Iterator<Item = (&ProgramId, i32)>,
) -> Result<Vec<usize>, sqlx::Error> {
    let (programs, numbers): (Vec<&str>, Vec<i32>) =
        versions.map(|(program_id, version)| (program_id.as_str(), version)).unzip();
    let rows = sqlx::query_scalar!(
        r#"SELECT u.place AS "place!" FROM unnest($1::text[], $2::int[]) WITH ORDINALITY AS u (program_id, version, place)
           WHERE NOT EXISTS (
               SELECT FROM program_versions v WHERE v.program_id = u.program_id AND v.version = u.version
           ) ORDER BY u.place"#,
        &programs as _,
        &numbers,
    )
    .fetch_all(connection)
    .traced("SELECT program_versions")
    .await?;
    Ok(rows.into_iter().map(|place| usize::try_from(place - 1).unwrap_or(usize::MAX)).collect())
}

/// All versions of all programs, or of those with some accounts: the program's account, the version in words, and its
/// document.
pub(super) fn scan_documents<'c>(
    connection: &'c mut PgConnection,
    accounts: Option<&[AccountId]>,
) -> BoxStream<'c, Result<(AccountId, String, serde_json::Value), sqlx::Error>> {
    let ids = accounts.map(|accounts| accounts.iter().map(|account| account.0).collect::<Vec<Uuid>>());
    let rows = sqlx::query!(
        r#"SELECT p.account_id, format('version %s of program %s', v.version, v.program_id) AS "what!", v.document
           FROM programs p JOIN program_versions v ON v.program_id = p.program_id
           WHERE $1::uuid[] IS NULL OR p.account_id = ANY($1)"#,
        ids.as_deref() as _,
    );
    rows.map(|row| (AccountId(row.account_id), row.what, row.document)).fetch(connection).boxed()
}
