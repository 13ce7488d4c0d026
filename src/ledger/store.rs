//! The SQL that reads the ledger.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

use crate::book::Entry;
use crate::book::store::EntryRow;
use crate::database::Traced as _;
use crate::ids::{AccountId, EntryId, ProgramId};

/// Which of an account's entries to list.
#[derive(Clone, Debug, Default)]
pub struct EntryFilter {
    /// Kinds as stored; empty for all.
    pub kinds: Vec<String>,
    /// From this instant on.
    pub from: Option<Timestamp>,
    /// Before this instant.
    pub until: Option<Timestamp>,
    /// The newest first instead of the oldest.
    pub newest_first: bool,
}

/// An entry with the hash that was stored with it.
pub type SealedEntry = (Entry, Vec<u8>);

/// A page of an account's entries.
///
/// # Errors
/// If the database cannot be read.
pub async fn list_entries(
    connection: &mut PgConnection,
    account_id: AccountId,
    filter: &EntryFilter,
    after: Option<i64>,
    limit: i64,
) -> Result<Vec<SealedEntry>, sqlx::Error> {
    let rows = if filter.newest_first {
        sqlx::query_as!(
            EntryRow,
            "SELECT account_id, account_seq, program_id, from_pocket, to_pocket, points, detail, command_id, key_hash,
                    fingerprint, actor, reason, policy_version, causes, trace_id, effective_at, recorded_at,
                    content_hash
             FROM ledger_entries
             WHERE account_id = $1 AND account_seq < $2 AND (cardinality($3::text[]) = 0 OR kind = ANY($3))
               AND ($4::timestamptz IS NULL OR effective_at >= $4) AND ($5::timestamptz IS NULL OR effective_at < $5)
             ORDER BY account_seq DESC LIMIT $6",
            account_id.0,
            after.unwrap_or(i64::MAX),
            &filter.kinds,
            filter.from.map(|instant| instant.to_sqlx()) as _,
            filter.until.map(|instant| instant.to_sqlx()) as _,
            limit,
        )
        .fetch_all(connection)
        .traced("SELECT ledger_entries")
        .await?
    } else {
        sqlx::query_as!(
            EntryRow,
            "SELECT account_id, account_seq, program_id, from_pocket, to_pocket, points, detail, command_id, key_hash,
                    fingerprint, actor, reason, policy_version, causes, trace_id, effective_at, recorded_at,
                    content_hash
             FROM ledger_entries
             WHERE account_id = $1 AND account_seq > $2 AND (cardinality($3::text[]) = 0 OR kind = ANY($3))
               AND ($4::timestamptz IS NULL OR effective_at >= $4) AND ($5::timestamptz IS NULL OR effective_at < $5)
             ORDER BY account_seq LIMIT $6",
            account_id.0,
            after.unwrap_or(0),
            &filter.kinds,
            filter.from.map(|instant| instant.to_sqlx()) as _,
            filter.until.map(|instant| instant.to_sqlx()) as _,
            limit,
        )
        .fetch_all(connection)
        .traced("SELECT ledger_entries")
        .await?
    };
    rows.into_iter().map(seal).collect()
}

/// One entry of a program.
///
/// # Errors
/// If the database cannot be read.
pub async fn read_entry(
    connection: &mut PgConnection,
    program_id: &ProgramId,
    entry_id: EntryId,
) -> Result<Option<SealedEntry>, sqlx::Error> {
    let row = sqlx::query_as!(
        EntryRow,
        "SELECT account_id, account_seq, program_id, from_pocket, to_pocket, points, detail, command_id, key_hash,
                fingerprint, actor, reason, policy_version, causes, trace_id, effective_at, recorded_at, content_hash
         FROM ledger_entries WHERE account_id = $1 AND account_seq = $2 AND program_id = $3",
        entry_id.account_id.0,
        entry_id.account_seq,
        program_id.as_str(),
    )
    .fetch_optional(connection)
    .traced("SELECT ledger_entries")
    .await?;
    row.map(seal).transpose()
}

fn seal(mut row: EntryRow) -> Result<SealedEntry, sqlx::Error> {
    let content_hash = std::mem::take(&mut row.content_hash);
    Ok((Entry::try_from(row)?, content_hash))
}
