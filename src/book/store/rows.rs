//! Ledger rows as Postgres returns them, and entries from them.

use uuid::Uuid;

use crate::book::detail::Detail;
use crate::book::entry::{Actor, Entry, EntryReason, Pocket, PocketMove};
use crate::book::key::Key;
use crate::book::stored_entry::StoredEntry;
use crate::database::StoreError;
use crate::error::Defect;
use crate::ids::{AccountId, EntryId, PrincipalId, ProgramId};

/// A ledger row as Postgres returns it.
#[derive(Debug)]
#[expect(missing_docs, reason = "the columns are described in the migration")]
pub struct EntryRow {
    pub account_id: Uuid,
    pub account_seq: i64,
    pub program_id: String,
    pub kind: String,
    pub from_pocket: Option<String>,
    pub to_pocket: Option<String>,
    pub points: Option<i64>,
    /// As text: it is parsed once, and one that cannot be is known to be one.
    pub detail: String,
    pub command_id: Uuid,
    pub key_hash: Option<Vec<u8>>,
    pub fingerprint: Option<Vec<u8>>,
    pub principal_id: Uuid,
    pub actor: String,
    pub reason: String,
    pub policy_version: i32,
    pub causes: Vec<String>,
    pub trace_id: Vec<u8>,
    pub effective_at: jiff_sqlx::Timestamp,
    pub recorded_at: jiff_sqlx::Timestamp,
    pub hash_version: i16,
    pub content_hash: Vec<u8>,
}

/// A checked statement that reads whole rows of `ledger_entries e` as [`EntryRow`]s: all that follows the columns,
/// then the arguments. After `with` come further columns first; its rows are records, which [`entry_row`] takes apart.
macro_rules! select_entries {
    (with $rest:literal $($arguments:tt)*) => {
        $crate::book::store::rows::select_entries!(@ query () ", " $rest $($arguments)*)
    };
    ($rest:literal $($arguments:tt)*) => {
        $crate::book::store::rows::select_entries!(@ query_as ($crate::book::store::rows::EntryRow,) " " $rest $($arguments)*)
    };
    (@ $query:ident ($($row:tt)*) $joint:literal $rest:literal $($arguments:tt)*) => {
        sqlx::$query!(
            $($row)*
            r#"SELECT e.account_id, e.account_seq, e.program_id, e.kind, e.from_pocket, e.to_pocket, e.points,
                      e.detail::text AS "detail!", e.command_id, e.key_hash, e.fingerprint, e.principal_id, e.actor,
                      e.reason, e.policy_version, e.causes, e.trace_id, e.effective_at, e.recorded_at, e.hash_version,
                      e.content_hash"# + $joint + $rest
            $($arguments)*
        )
    };
}

/// The [`EntryRow`] in a record that has more columns.
macro_rules! entry_row {
    ($record:ident) => {
        $crate::book::store::rows::entry_row!($record:
            account_id, account_seq, program_id, kind, from_pocket, to_pocket, points, detail, command_id, key_hash,
            fingerprint, principal_id, actor, reason, policy_version, causes, trace_id, effective_at, recorded_at, hash_version,
            content_hash)
    };
    ($record:ident: $($column:ident),*) => {
        $crate::book::store::rows::EntryRow { $($column: $record.$column,)* }
    };
}

pub(crate) use {entry_row, select_entries};

impl TryFrom<&EntryRow> for Entry {
    type Error = Defect;

    fn try_from(row: &EntryRow) -> Result<Self, Defect> {
        let id = row.id();
        let damaged = |what: &str| Defect::new(format!("entry {id}: {what}"));
        let unknown = |what: &str| Defect::unknown(format!("entry {id}: {what}"));
        Ok(Self {
            id,
            program_id: ProgramId::try_from(row.program_id.as_str()).map_err(damaged)?,
            detail: Detail::from_json(&row.detail)
                .map_err(|error| Defect::unread(format_args!("entry {id}"), &error))?,
            movement: movement_of(row, unknown)?,
            command_id: row.command_id,
            key: key_of(row, damaged)?,
            principal_id: PrincipalId(row.principal_id),
            actor: Actor::from_stored(&row.actor).ok_or_else(|| unknown("unknown actor"))?,
            reason: EntryReason::from_stored(&row.reason).ok_or_else(|| unknown("unknown reason"))?,
            policy_version: row.policy_version,
            causes: row.causes()?,
            trace_id: row.trace_id.as_slice().try_into().map_err(|_| damaged("trace id length"))?,
            effective_at: row.effective_at.to_jiff(),
            recorded_at: row.recorded_at.to_jiff(),
        })
    }
}

impl EntryRow {
    fn id(&self) -> EntryId {
        EntryId { account_id: AccountId(self.account_id), account_seq: self.account_seq }
    }

    fn causes(&self) -> Result<Vec<EntryId>, Defect> {
        let causes: Result<Vec<EntryId>, &str> = self.causes.iter().map(|cause| cause.parse()).collect();
        causes.map_err(|error| Defect::new(format!("entry {}: {error}", self.id())))
    }
}

impl From<EntryRow> for StoredEntry {
    fn from(row: EntryRow) -> Self {
        Self {
            id: row.id(),
            entry: Entry::try_from(&row),
            // An entry whose causes are no ids is unreadable, and its hash is another one.
            causes: row.causes().unwrap_or_default(),
            movement: row.from_pocket.zip(row.to_pocket).zip(row.points).map(|((from, to), points)| (from, to, points)),
            key: row.key_hash.zip(row.fingerprint),
            program_id: row.program_id,
            kind: row.kind,
            detail: row.detail,
            command_id: row.command_id,
            principal_id: PrincipalId(row.principal_id),
            actor: row.actor,
            reason: row.reason,
            policy_version: row.policy_version,
            trace_id: row.trace_id,
            effective_at: row.effective_at.to_jiff(),
            recorded_at: row.recorded_at.to_jiff(),
            hash_version: row.hash_version,
            content_hash: row.content_hash,
        }
    }
}

fn movement_of(row: &EntryRow, unknown: impl Fn(&str) -> Defect) -> Result<Option<PocketMove>, Defect> {
    let (Some(from), Some(to), Some(points)) = (&row.from_pocket, &row.to_pocket, row.points) else { return Ok(None) };
    let pocket = |word: &str| Pocket::from_stored(word).ok_or_else(|| unknown("unknown pocket"));
    Ok(Some(PocketMove { from: pocket(from)?, to: pocket(to)?, points }))
}

fn key_of(row: &EntryRow, damaged: impl Fn(&str) -> Defect) -> Result<Option<Key>, Defect> {
    let (Some(hash), Some(fingerprint)) = (&row.key_hash, &row.fingerprint) else { return Ok(None) };
    Ok(Some(Key {
        hash: hash.as_slice().try_into().map_err(|_| damaged("key length"))?,
        fingerprint: fingerprint.as_slice().try_into().map_err(|_| damaged("fingerprint length"))?,
    }))
}

/// Entries from their rows.
///
/// # Errors
/// If a row is damaged.
pub fn into_entries(rows: Vec<EntryRow>) -> Result<Vec<Entry>, StoreError> {
    let entries: Result<Vec<Entry>, Defect> = rows.iter().map(Entry::try_from).collect();
    Ok(entries?)
}
