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

use self::accounts::{AccountColumns, write_accounts};
use super::account::Account;
use super::command::MAX_ENTRIES_PER_ACCOUNT;
use super::entry::{Entry, HASH_VERSION};
use super::name::Name;
use super::table::{Table, TableRights, TableRole};
use crate::database::{StoreError, Traced as _};
use crate::error::Defect;
use crate::ids::AccountId;

pub use self::rows::{EntryRow, into_entries};
pub(crate) use self::rows::{entry_row, select_entries};

/// The tables of the book itself.
pub(super) const TABLES: &[Table] = &[
    Table { name: "accounts", role: TableRole::Head, rights: TableRights::AppendAndChange, strays: &[] },
    Table::projection("balances", "format('balance after entry %s', account_seq)"),
    Table { name: "ledger_entries", role: TableRole::Ledger, rights: TableRights::Append, strays: &[] },
    // A name that was just claimed is given back where its command is refused.
    Table::source("names", TableRights::AppendAndRemove).with_strays(&[
        "SELECT n.account_id, format('a name in space %s of program %s belongs to no account', n.space, n.program_id)
         FROM names n LEFT JOIN accounts a ON a.account_id = n.account_id WHERE a.account_id IS NULL",
    ]),
    Table { name: "due_rounds", role: TableRole::Report, rights: TableRights::AppendAndChange, strays: &[] },
    Table {
        name: "stuck_dues",
        role: TableRole::Report,
        rights: TableRights::AppendChangeAndRemove,
        strays: &[
            "SELECT s.account_id, format('what is due at %s could not be written %s times since %s: %s', s.due_at,
                 s.failures, s.since, s.failure)
             FROM stuck_dues s JOIN accounts a ON a.account_id = s.account_id AND a.next_due_at = s.due_at",
        ],
    },
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

/// The columns of a multi-row insert into the ledger.
#[derive(Default)]
struct EntryColumns {
    account_id: Vec<Uuid>,
    account_seq: Vec<i64>,
    program_id: Vec<String>,
    kind: Vec<&'static str>,
    from_pocket: Vec<Option<&'static str>>,
    to_pocket: Vec<Option<&'static str>>,
    points: Vec<Option<i64>>,
    detail: Vec<String>,
    command_id: Vec<Uuid>,
    key_hash: Vec<Option<Vec<u8>>>,
    fingerprint: Vec<Option<Vec<u8>>>,
    actor: Vec<&'static str>,
    reason: Vec<&'static str>,
    policy_version: Vec<i32>,
    causes: Vec<String>,
    trace_id: Vec<Vec<u8>>,
    effective_at: Vec<jiff_sqlx::Timestamp>,
    recorded_at: Vec<jiff_sqlx::Timestamp>,
    content_hash: Vec<Vec<u8>>,
}

impl EntryColumns {
    fn push(&mut self, entry: &Entry) -> Result<(), serde_json::Error> {
        self.account_id.push(entry.id.account_id.0);
        self.account_seq.push(entry.id.account_seq);
        self.program_id.push(entry.program_id.as_str().to_owned());
        self.kind.push(entry.detail.kind());
        self.from_pocket.push(entry.movement.map(|movement| movement.from.as_str()));
        self.to_pocket.push(entry.movement.map(|movement| movement.to.as_str()));
        self.points.push(entry.movement.map(|movement| movement.points));
        self.detail.push(entry.detail.to_canonical_json()?);
        self.command_id.push(entry.command_id);
        self.key_hash.push(entry.key.map(|key| key.hash.to_vec()));
        self.fingerprint.push(entry.key.map(|key| key.fingerprint.to_vec()));
        self.actor.push(entry.actor.as_str());
        self.reason.push(entry.reason.as_str());
        self.policy_version.push(entry.policy_version);
        // Unnesting flattens arrays of arrays, so each row's causes travel as the text of one: ids need no quoting.
        let causes: Vec<String> = entry.causes.iter().map(ToString::to_string).collect();
        self.causes.push(format!("{{{}}}", causes.join(",")));
        self.trace_id.push(entry.trace_id.to_vec());
        self.effective_at.push(entry.effective_at.to_sqlx());
        self.recorded_at.push(entry.recorded_at.to_sqlx());
        self.content_hash.push(entry.hash()?.to_vec());
        Ok(())
    }
}

/// Adds entries to the ledger, and writes the heads of locked accounts, in one statement.
pub(super) async fn write_entries(
    connection: &mut PgConnection,
    entries: &[Entry],
    locked: &[&Account],
) -> Result<(), StoreError> {
    let mut rows = EntryColumns::default();
    for entry in entries {
        rows.push(entry).map_err(|error| Defect::new(format!("entry {}: {error}", entry.id)))?;
    }
    let heads = AccountColumns::from_iter(locked.iter().copied());
    write_accounts!(
        heads,
        [
            &rows.account_id,
            &rows.account_seq,
            &rows.program_id,
            &rows.kind as _,
            &rows.from_pocket as _,
            &rows.to_pocket as _,
            &rows.points as _,
            &rows.detail,
            &rows.command_id,
            &rows.key_hash as _,
            &rows.fingerprint as _,
            &rows.actor as _,
            &rows.reason as _,
            &rows.policy_version,
            &rows.causes,
            &rows.trace_id,
            &rows.effective_at,
            &rows.recorded_at,
            &rows.content_hash,
            HASH_VERSION,
            &heads.account_id
        ],
        "WITH heads AS (
             UPDATE accounts a SET head = u.head, effective_at = u.effective_at, next_due_at = u.next_due_at,
                 issued = u.issued, owed = u.owed, pending = u.pending, available = u.available, held = u.held,
                 redeemed = u.redeemed, expired = u.expired, cancelled = u.cancelled
             FROM unnest($21::uuid[], $22::bigint[], $23::timestamptz[], $24::timestamptz[], $25::bigint[],
                 $26::bigint[], $27::bigint[], $28::bigint[], $29::bigint[], $30::bigint[], $31::bigint[],
                 $32::bigint[])
             AS u (account_id, head, effective_at, next_due_at, issued, owed, pending, available, held, redeemed,
                 expired, cancelled)
             WHERE a.account_id = u.account_id
         )
         INSERT INTO ledger_entries (account_id, account_seq, program_id, kind, from_pocket, to_pocket, points, detail,
             command_id, key_hash, fingerprint, actor, reason, policy_version, causes, trace_id, effective_at,
             recorded_at, hash_version, content_hash)
         SELECT u.account_id, u.account_seq, u.program_id, u.kind, u.from_pocket, u.to_pocket, u.points,
             u.detail::jsonb, u.command_id, u.key_hash, u.fingerprint, u.actor, u.reason, u.policy_version,
             u.causes::text[], u.trace_id, u.effective_at, u.recorded_at, $20, u.content_hash
         FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[],
             $8::text[], $9::uuid[], $10::bytea[], $11::bytea[], $12::text[], $13::text[], $14::int[], $15::text[],
             $16::bytea[], $17::timestamptz[], $18::timestamptz[], $19::bytea[])
         AS u (account_id, account_seq, program_id, kind, from_pocket, to_pocket, points, detail, command_id,
             key_hash, fingerprint, actor, reason, policy_version, causes, trace_id, effective_at, recorded_at,
             content_hash)",
    )
    .execute(connection)
    .traced("INSERT ledger_entries")
    .await?;
    Ok(())
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
