//! The SQL of lots, balances and notes, and their shelf.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::book::store::EntryRow;
use crate::book::{Balance, Defect, Detail, Entry, Scope, Shelf};
use crate::database::{Fetch, Traced as _};
use crate::ids::{AccountId, CustomerId, EntryId, ProgramId};

/// The lots of a batch, and what callers wrote beside their grants.
#[derive(Default)]
pub struct RewardShelf {
    lots: BTreeMap<EntryId, i64>,
    notes: Vec<(EntryId, String)>,
}

impl RewardShelf {
    /// Keeps a note beside an entry, where it can be erased.
    pub fn add_note(&mut self, entry_id: EntryId, note: String) {
        self.notes.push((entry_id, note));
    }
}

impl Shelf for RewardShelf {
    fn load<'a>(
        &'a mut self,
        _connection: &'a mut PgConnection,
        _scope: &'a Scope,
    ) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        // A grant makes a lot and reads none.
        Box::pin(async { Ok(()) })
    }

    fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        if let (Detail::PointsGranted, Some(movement)) = (&entry.detail, entry.movement) {
            self.lots.insert(entry.id, movement.points);
        }
        Ok(())
    }

    fn write<'a>(&'a mut self, connection: &'a mut PgConnection) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async move {
            if !self.lots.is_empty() {
                insert_lots(connection, &self.lots).await?;
            }
            if !self.notes.is_empty() {
                insert_notes(connection, &self.notes).await?;
            }
            Ok(())
        })
    }
}

async fn insert_lots(connection: &mut PgConnection, lots: &BTreeMap<EntryId, i64>) -> Result<(), sqlx::Error> {
    let accounts: Vec<Uuid> = lots.keys().map(|id| id.account_id.0).collect();
    let seqs: Vec<i64> = lots.keys().map(|id| id.account_seq).collect();
    let points: Vec<i64> = lots.values().copied().collect();
    sqlx::query!(
        "INSERT INTO lots (account_id, lot_seq, points, remaining)
         SELECT account_id, lot_seq, points, points
         FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS u (account_id, lot_seq, points)",
        &accounts,
        &seqs,
        &points,
    )
    .execute(connection)
    .traced("INSERT lots")
    .await?;
    Ok(())
}

async fn insert_notes(connection: &mut PgConnection, notes: &[(EntryId, String)]) -> Result<(), sqlx::Error> {
    let accounts: Vec<Uuid> = notes.iter().map(|(id, _)| id.account_id.0).collect();
    let seqs: Vec<i64> = notes.iter().map(|(id, _)| id.account_seq).collect();
    let texts: Vec<&str> = notes.iter().map(|(_, note)| note.as_str()).collect();
    sqlx::query!(
        "INSERT INTO entry_notes (account_id, account_seq, note) SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[])",
        &accounts,
        &seqs,
        &texts as _,
    )
    .execute(connection)
    .traced("INSERT entry_notes")
    .await?;
    Ok(())
}

/// Reads many customers' balances in one statement.
#[must_use]
pub fn fetch_balances() -> Fetch<(ProgramId, CustomerId), Balance> {
    Arc::new(|pool: PgPool, keys: Arc<[(ProgramId, CustomerId)]>| {
        Box::pin(async move {
            let programs: Vec<&str> = keys.iter().map(|(program_id, _)| program_id.as_str()).collect();
            let customers: Vec<&str> = keys.iter().map(|(_, customer_id)| customer_id.as_str()).collect();
            let rows = sqlx::query!(
                r#"SELECT u.place AS "place!", a.issued, a.owed, a.pending, a.available, a.held, a.redeemed, a.expired,
                          a.cancelled
                   FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS u (program_id, name, place)
                   JOIN names n ON n.program_id = u.program_id AND n.space = 'customer' AND n.name = u.name
                   JOIN accounts a ON a.account_id = n.account_id"#,
                &programs as _,
                &customers as _,
            )
            .fetch_all(&pool)
            .traced("SELECT accounts")
            .await?;
            let mut balances = vec![None; keys.len()];
            for row in rows {
                let place = usize::try_from(row.place - 1).unwrap_or(usize::MAX);
                if let Some(slot) = balances.get_mut(place) {
                    *slot = Some(Balance {
                        issued: row.issued,
                        owed: row.owed,
                        pending: row.pending,
                        available: row.available,
                        held: row.held,
                        redeemed: row.redeemed,
                        expired: row.expired,
                        cancelled: row.cancelled,
                    });
                }
            }
            Ok(balances)
        })
    })
}

/// A page of an account's grants, the newest first, with the notes beside them.
///
/// # Errors
/// If the database cannot be read.
pub async fn list_grants(
    connection: &mut PgConnection,
    account_id: AccountId,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<(Entry, String)>, sqlx::Error> {
    let rows = sqlx::query_as!(
        EntryRow,
        "SELECT e.account_id, e.account_seq, e.program_id, e.from_pocket, e.to_pocket, e.points, e.detail,
                e.command_id, e.key_hash, e.fingerprint, e.actor, e.reason, e.policy_version, e.causes,
                e.trace_id, e.effective_at, e.recorded_at, e.content_hash
         FROM lots l JOIN ledger_entries e ON e.account_id = l.account_id AND e.account_seq = l.lot_seq
         WHERE l.account_id = $1 AND l.lot_seq < $2 ORDER BY l.lot_seq DESC LIMIT $3",
        account_id.0,
        before.unwrap_or(i64::MAX),
        limit,
    )
    .fetch_all(&mut *connection)
    .traced("SELECT lots")
    .await?;
    let entries: Vec<Entry> = rows.into_iter().map(Entry::try_from).collect::<Result<_, _>>()?;
    let seqs: Vec<i64> = entries.iter().map(|entry| entry.id.account_seq).collect();
    let notes = sqlx::query!(
        "SELECT account_seq, note FROM entry_notes WHERE account_id = $1 AND account_seq = ANY($2)",
        account_id.0,
        &seqs,
    )
    .fetch_all(connection)
    .traced("SELECT entry_notes")
    .await?;
    let mut notes: BTreeMap<i64, String> = notes.into_iter().map(|row| (row.account_seq, row.note)).collect();
    let with_note = |entry: Entry| {
        let note = notes.remove(&entry.id.account_seq).unwrap_or_default();
        (entry, note)
    };
    Ok(entries.into_iter().map(with_note).collect())
}
