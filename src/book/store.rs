//! The book's SQL: names, locks, entries and heads, each for a whole batch in one statement.

pub(super) mod accounts;
pub mod balances;
pub(super) mod dues;
pub(super) mod instants;
pub mod projections;
pub mod rows;
pub mod scan;

use std::collections::{BTreeMap, BTreeSet};

use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use super::command::MAX_ENTRIES_PER_ACCOUNT;
use super::entry::{Entry, HASH_VERSION};
use super::name::Name;
use super::table::{Table, TableRights, TableRole};
use crate::database::{JsonText, StoreError, Traced as _, WritePart, sent_as, write_part};
use crate::error::Defect;
use crate::ids::{AccountId, EntryId};

pub use self::rows::{EntryRow, into_entries};
pub(crate) use self::rows::{entry_row, select_entries};

/// The tables of the book itself.
pub(super) const TABLES: &[Table] = &[
    Table::new("accounts", TableRole::Head, TableRights::AppendAndChange),
    Table::projection("balances", "format('balance after entry %s', account_seq)"),
    Table::new("ledger_entries", TableRole::Ledger, TableRights::Append),
    // A name that was just claimed is given back where its command is refused.
    Table::source("names", TableRights::AppendAndRemove).with_scanned_strays(&[
        "SELECT n.account_id, format('a name in space %s of program %s belongs to no account', n.space, n.program_id)
         FROM names n LEFT JOIN accounts a ON a.account_id = n.account_id WHERE a.account_id IS NULL",
    ]),
    Table::report("due_rounds", TableRights::AppendAndChange),
    Table::report("stuck_dues", TableRights::AppendChangeAndRemove).with_strays(&[
        "SELECT s.account_id, format('what is due at %s could not be written %s times since %s: %s', s.due_at,
             s.failures, s.since, s.failure)
         FROM stuck_dues s JOIN accounts a ON a.account_id = s.account_id AND a.next_due_at = s.due_at",
    ]),
];

/// Names as parallel columns, for a statement over all of them.
fn columns<'a>(names: impl Iterator<Item = &'a Name>) -> (Vec<String>, Vec<String>, Vec<String>) {
    let mut columns = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        columns.0.push(name.program_id.as_str().to_owned());
        columns.1.push(name.space.as_str().to_owned());
        columns.2.push(name.name.clone());
    }
    columns
}

/// Claims free names for accounts, and tells which were won. Sorted, so that two batches wait for each other in one
/// order only.
pub(super) async fn claim_names(
    connection: &mut PgConnection,
    claims: &BTreeMap<Name, AccountId>,
) -> Result<Vec<(String, String, String)>, sqlx::Error> {
    let (programs, spaces, texts) = columns(claims.keys());
    let accounts: Vec<Uuid> = claims.values().map(|account| account.0).collect();
    let rows = sqlx::query!(
        "INSERT INTO names (program_id, space, name, account_id)
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[]) AS u (program_id, space, name, account_id)
         ORDER BY program_id, space, name
         ON CONFLICT DO NOTHING RETURNING program_id, space, name",
        &programs,
        &spaces,
        &texts,
        &accounts,
    )
    .fetch_all(connection)
    .traced("INSERT names")
    .await?;
    Ok(rows.into_iter().map(|row| (row.program_id, row.space, row.name)).collect())
}

/// Gives names back that no accepted command of the batch used.
pub(super) async fn free_names(connection: &mut PgConnection, names: &[Name]) -> Result<(), sqlx::Error> {
    let (programs, spaces, texts) = columns(names.iter());
    sqlx::query!(
        "DELETE FROM names n USING unnest($1::text[], $2::text[], $3::text[]) AS u (program_id, space, name)
         WHERE n.program_id = u.program_id AND n.space = u.space AND n.name = u.name",
        &programs,
        &spaces,
        &texts,
    )
    .execute(connection)
    .traced("DELETE names")
    .await?;
    Ok(())
}

/// Finds the entries of commands whose idempotency keys were used before, each command's together.
///
/// # Errors
/// If the database cannot be read.
pub async fn find_keys(
    connection: &mut PgConnection,
    keys: &[(AccountId, [u8; 32])],
) -> Result<Vec<Entry>, StoreError> {
    let accounts: Vec<Uuid> = keys.iter().map(|(account, _)| account.0).collect();
    let hashes: Vec<Vec<u8>> = keys.iter().map(|(_, hash)| hash.to_vec()).collect();
    let rows = select_entries!(
        "FROM unnest($1::uuid[], $2::bytea[]) AS k (account_id, key_hash)
           JOIN ledger_entries f ON f.account_id = k.account_id AND f.key_hash = k.key_hash
           JOIN ledger_entries e ON e.account_id = f.account_id AND e.command_id = f.command_id
            AND e.account_seq >= f.account_seq AND e.account_seq < f.account_seq + $3
           ORDER BY e.account_id, e.account_seq",
        &accounts,
        &hashes,
        i64::try_from(MAX_ENTRIES_PER_ACCOUNT).unwrap_or(i64::MAX),
    )
    .fetch_all(connection)
    .traced("SELECT ledger_entries")
    .await?;
    into_entries(rows)
}

/// An entry as it is sent.
#[derive(sqlx::Encode)]
struct SentEntry {
    account_id: Uuid,
    account_seq: i64,
    program_id: String,
    kind: &'static str,
    from_pocket: Option<&'static str>,
    to_pocket: Option<&'static str>,
    points: Option<i64>,
    detail: JsonText,
    command_id: Uuid,
    key_hash: Option<[u8; 32]>,
    fingerprint: Option<[u8; 32]>,
    principal_id: Uuid,
    actor: &'static str,
    reason: &'static str,
    policy_version: i32,
    causes: Vec<String>,
    trace_id: [u8; 16],
    effective_at: jiff_sqlx::Timestamp,
    recorded_at: jiff_sqlx::Timestamp,
    hash_version: i16,
    content_hash: [u8; 32],
}

sent_as!(SentEntry, "sent_entry");

impl TryFrom<&Entry> for SentEntry {
    type Error = Defect;

    fn try_from(entry: &Entry) -> Result<Self, Defect> {
        let detail = entry.detail.to_json();
        let detail = detail.map_err(|error| Defect::new(format!("entry {}: {error}", entry.id)))?;
        Ok(Self {
            account_id: entry.id.account_id.0,
            account_seq: entry.id.account_seq,
            program_id: entry.program_id.as_str().to_owned(),
            kind: entry.detail.kind(),
            from_pocket: entry.movement.map(|movement| movement.from.as_str()),
            to_pocket: entry.movement.map(|movement| movement.to.as_str()),
            points: entry.movement.map(|movement| movement.points),
            command_id: entry.command_id,
            key_hash: entry.key.map(|key| key.hash),
            fingerprint: entry.key.map(|key| key.fingerprint),
            principal_id: entry.principal_id.0,
            actor: entry.actor.as_str(),
            reason: entry.reason.as_str(),
            policy_version: entry.policy_version,
            causes: entry.causes.iter().map(ToString::to_string).collect(),
            trace_id: entry.trace_id,
            effective_at: entry.effective_at.to_sqlx(),
            recorded_at: entry.recorded_at.to_sqlx(),
            hash_version: HASH_VERSION,
            content_hash: entry.hash_with(&detail),
            detail: JsonText(detail),
        })
    }
}

/// Adds entries to the ledger.
pub(super) fn insert_entries(entries: &[Entry]) -> Result<WritePart, Defect> {
    let mut rows = entries.iter().map(SentEntry::try_from).collect::<Result<Vec<SentEntry>, Defect>>()?;
    // Neighbours in the indexes follow each other.
    rows.sort_unstable_by_key(|row| (row.account_id, row.account_seq));
    Ok(write_part!(
        always,
        "INSERT INTO ledger_entries (account_id, account_seq, program_id, kind, from_pocket, to_pocket, points, detail,
             command_id, key_hash, fingerprint, principal_id, actor, reason, policy_version, causes, trace_id,
             effective_at, recorded_at, hash_version, content_hash)
         SELECT * FROM unnest($1::sent_entry[])",
        rows,
    ))
}

/// Entries of an account that follow each other, in order.
///
/// # Errors
/// If the database cannot be read.
pub async fn read_entries_between(
    connection: &mut PgConnection,
    account_id: AccountId,
    first: i64,
    last: i64,
) -> Result<Vec<Entry>, StoreError> {
    let rows = select_entries!(
        "FROM ledger_entries e WHERE account_id = $1 AND account_seq >= $2 AND account_seq <= $3 ORDER BY account_seq",
        account_id.0,
        first,
        last,
    )
    .fetch_all(connection)
    .traced("SELECT ledger_entries")
    .await?;
    into_entries(rows)
}

/// One entry, of which a row tells that it is there.
///
/// # Errors
/// If the database cannot be read, or the entry is missing.
pub async fn read_entry(connection: &mut PgConnection, id: EntryId) -> Result<Entry, StoreError> {
    let entries = read_entries_between(connection, id.account_id, id.account_seq, id.account_seq).await?;
    Ok(entries.into_iter().next().ok_or_else(|| Defect::new(format!("entry {id} is missing")))?)
}

/// Entries by account and number.
///
/// # Errors
/// If the database cannot be read.
pub async fn read_entries(
    connection: &mut PgConnection,
    entries: &BTreeSet<(AccountId, i64)>,
) -> Result<Vec<Entry>, StoreError> {
    let (accounts, seqs): (Vec<Uuid>, Vec<i64>) = entries.iter().map(|(account_id, seq)| (account_id.0, *seq)).unzip();
    let rows = select_entries!(
        "FROM unnest($1::uuid[], $2::bigint[]) AS u (account_id, account_seq)
         JOIN ledger_entries e ON e.account_id = u.account_id AND e.account_seq = u.account_seq",
        &accounts,
        &seqs,
    )
    .fetch_all(connection)
    .traced("SELECT ledger_entries")
    .await?;
    into_entries(rows)
}
