//! Reads complaints: of one customer, and those of a program that press.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use super::rows::ComplaintRow;
use crate::book::Entry;
use crate::book::store::{EntryRow, entry_row, select_entries};
use crate::complaints::reading::Listed;
use crate::database::{StoreError, Traced as _};
use crate::error::Defect;
use crate::ids::{AccountId, EntryId, ProgramId};

/// More steps than a complaint can have: those that callers may take, and deadlines that are missed.
const MOST_STEPS: i64 = 1_000;

/// The entries of a complaint that took effect by an instant, in order, each with what was said.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::complaints) async fn read_steps(
    connection: &mut PgConnection,
    complaint_id: EntryId,
    by: Timestamp,
) -> Result<Vec<(Entry, String)>, StoreError> {
    let rows = select_entries!(
        with r#"n.note AS "note?"
           FROM complaint_steps s
           JOIN ledger_entries e ON e.account_id = s.account_id AND e.account_seq = s.account_seq
           LEFT JOIN entry_notes n ON n.account_id = s.account_id AND n.account_seq = s.account_seq
           WHERE s.account_id = $1 AND s.opened_seq = $2 AND e.effective_at <= $3 ORDER BY s.account_seq LIMIT $4"#,
        complaint_id.account_id.0,
        complaint_id.account_seq,
        by.to_sqlx() as _,
        MOST_STEPS,
    );
    let rows = rows.map(|row| {
        let note = row.note.unwrap_or_default();
        let entry: EntryRow = entry_row!(row);
        Ok::<_, Defect>((Entry::try_from(&entry)?, note))
    });
    let read = rows.fetch(connection).map(|row| Ok::<_, StoreError>(row??)).try_collect::<Vec<_>>();
    read.traced("SELECT complaint_steps").await
}

/// Who deals with a complaint; empty, if nobody was named.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::complaints) async fn read_owner(
    connection: &mut PgConnection,
    complaint_id: EntryId,
) -> Result<String, StoreError> {
    let owner = sqlx::query_scalar!(
        "SELECT owner FROM complaint_owners WHERE account_id = $1 AND opened_seq = $2",
        complaint_id.account_id.0,
        complaint_id.account_seq,
    )
    .fetch_optional(connection)
    .traced("SELECT complaint_owners")
    .await?;
    Ok(owner.unwrap_or_default())
}

/// Complaints of an account that were opened before one of its entries, the last first; at most `limit`.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::complaints) async fn list_complaints(
    connection: &mut PgConnection,
    account_id: AccountId,
    before: i64,
    limit: i64,
) -> Result<Vec<Listed>, StoreError> {
    let rows = sqlx::query_as!(
        ComplaintRow,
        "SELECT account_id, opened_seq, program_id, category_id, priority, channel, value_class_id, state, received_at, clock_started_at,
                policy_version, acknowledged_at, answered_at, paused_from, paused_until, acknowledge_by, answer_by, resolve_by,
                extended, late_since, missed, escalated, remedy, remedy_value, offered_at, resolved_at, outcome, handling_score,
                reopened, steps, ended_at
         FROM complaints WHERE account_id = $1 AND opened_seq < $2 ORDER BY opened_seq DESC LIMIT $3",
        account_id.0,
        before,
        limit,
    )
    .fetch_all(&mut *connection)
    .traced("SELECT complaints")
    .await?;
    with_words(connection, rows).await
}

/// Which complaints of a program press, by when they missed a deadline or will: after one instant, and by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::complaints) struct DueFilter {
    pub(in crate::complaints) after: Timestamp,
    pub(in crate::complaints) by: Timestamp,
}

/// The place of a complaint among those that press: when it missed a deadline or will, and which one it is.
pub(in crate::complaints) type DueRow = (Timestamp, EntryId);

/// Complaints of a program that press, behind a place, the most urgent first; at most `limit`.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::complaints) async fn list_due(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    filter: DueFilter,
    behind: Option<DueRow>,
    limit: i64,
) -> Result<Vec<Listed>, StoreError> {
    let first = EntryId { account_id: AccountId(Uuid::nil()), account_seq: 0 };
    let (at, complaint_id) = behind.unwrap_or((filter.after, first));
    let rows = sqlx::query_as!(
        ComplaintRow,
        "SELECT account_id, opened_seq, program_id, category_id, priority, channel, value_class_id, state, received_at, clock_started_at,
                policy_version, acknowledged_at, answered_at, paused_from, paused_until, acknowledge_by, answer_by, resolve_by,
                extended, late_since, missed, escalated, remedy, remedy_value, offered_at, resolved_at, outcome, handling_score,
                reopened, steps, ended_at
         FROM complaints
         WHERE program_id = $1 AND resolved_at IS NULL AND ended_at IS NULL
           AND coalesce(late_since, least(acknowledge_by, answer_by, resolve_by)) IS NOT NULL
           AND coalesce(late_since, least(acknowledge_by, answer_by, resolve_by)) > $2
           AND coalesce(late_since, least(acknowledge_by, answer_by, resolve_by)) <= $3
           AND (coalesce(late_since, least(acknowledge_by, answer_by, resolve_by)), account_id, opened_seq) > ($4, $5, $6)
         ORDER BY coalesce(late_since, least(acknowledge_by, answer_by, resolve_by)), account_id, opened_seq LIMIT $7",
        program_id.as_str(),
        filter.after.to_sqlx() as _,
        filter.by.to_sqlx() as _,
        at.to_sqlx() as _,
        complaint_id.account_id.0,
        complaint_id.account_seq,
        limit,
    )
    .fetch_all(&mut *connection)
    .traced("SELECT complaints")
    .await?;
    with_words(connection, rows).await
}

/// Complaints with who deals with them, and what they are about.
async fn with_words(connection: &mut PgConnection, rows: Vec<ComplaintRow>) -> Result<Vec<Listed>, StoreError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let accounts: Vec<Uuid> = rows.iter().map(|row| row.account_id).collect();
    let numbers: Vec<i64> = rows.iter().map(|row| row.opened_seq).collect();
    let words = sqlx::query!(
        r#"SELECT u.account_id AS "account_id!", u.opened_seq AS "opened_seq!", o.owner AS "owner?", n.note AS "note?"
           FROM unnest($1::uuid[], $2::bigint[]) AS u (account_id, opened_seq)
           LEFT JOIN complaint_owners o ON o.account_id = u.account_id AND o.opened_seq = u.opened_seq
           LEFT JOIN entry_notes n ON n.account_id = u.account_id AND n.account_seq = u.opened_seq"#,
        &accounts,
        &numbers,
    )
    .fetch_all(connection)
    .traced("SELECT complaint_owners")
    .await?;
    let words = words
        .into_iter()
        .map(|row| ((row.account_id, row.opened_seq), (row.owner.unwrap_or_default(), row.note.unwrap_or_default())));
    let mut words: BTreeMap<(Uuid, i64), (String, String)> = words.collect();
    let listed = rows.into_iter().map(|row| {
        let (owner, text) = words.remove(&(row.account_id, row.opened_seq)).unwrap_or_default();
        let complaint_id = EntryId { account_id: AccountId(row.account_id), account_seq: row.opened_seq };
        Ok(Listed { complaint_id, complaint: row.into_complaint()?, owner, text })
    });
    listed.collect()
}
