//! The statements of reads: balances, lots, holds.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool};

use super::lots::{FoundLot, MAX_NEXT, read_next};
pub(in crate::points) use super::lots::{find_lot_back, list_lots};
use super::rows::{earnings_of, hold_in};
use crate::book::store::read_entries;
use crate::book::{Balance, Defect, Entry, LotPart};
use crate::database::{Fetch, StoreError, Traced as _};
use crate::ids::{AccountId, CustomerId, EntryId, ProgramId};
use crate::points::lots::{Hold, Lots, MAX_OWN_USES, Next, Upcoming};

/// A customer's balance as a read finds it.
#[derive(Clone, Debug)]
pub(crate) struct FoundBalance {
    /// The customer's account.
    pub account_id: AccountId,
    /// Where its points are by what is written.
    pub balance: Balance,
    /// When time alone may do something to it.
    pub next_due_at: Option<Timestamp>,
    /// What that will be, to points.
    pub upcoming: Upcoming,
    /// What the database's clock told as it was read.
    pub told: Timestamp,
}

/// Reads many customers' balances in one statement.
#[must_use]
#[expect(clippy::too_many_lines, reason = "one statement, and its row")]
pub(crate) fn fetch_balances() -> Fetch<(ProgramId, CustomerId), FoundBalance> {
    Arc::new(|pool: PgPool, keys: Arc<[(ProgramId, CustomerId)]>| {
        Box::pin(async move {
            let programs: Vec<&str> = keys.iter().map(|(program_id, _)| program_id.as_str()).collect();
            let customers: Vec<&str> = keys.iter().map(|(_, customer_id)| customer_id.as_str()).collect();
            let rows = sqlx::query!(
                r#"SELECT u.place AS "place!", (SELECT clock_timestamp()) AS "told!", a.account_id, a.next_due_at, a.issued, a.owed, a.pending, a.available,
                          a.held, a.redeemed, a.expired, a.cancelled,
                          v.at AS "vests_at?: jiff_sqlx::Timestamp", v.points AS "vesting?",
                          coalesce(v.last, w.last) AS "last_vesting?",
                          x.at AS "expires_at?: jiff_sqlx::Timestamp", x.points AS "expiring?",
                          x.lots AS "expiring_lots?",
                          g.slides_to AS "slides_to?: jiff_sqlx::Timestamp", s.points AS "sliding?",
                          s.lots AS "sliding_lots?"
                   FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS u (program_id, name, place)
                   -- Each lookup stands alone, whatever the planner knew of the tables when it planned this: see `by_key`.
                   JOIN LATERAL (
                       SELECT f.account_id FROM names f
                       WHERE f.program_id = u.program_id AND f.space = 'customer' AND f.name = u.name OFFSET 0
                   ) n ON TRUE
                   JOIN LATERAL (SELECT * FROM accounts f WHERE f.account_id = n.account_id OFFSET 0) a ON TRUE
                   LEFT JOIN LATERAL (
                       SELECT d.at, sum(d.pending)::bigint AS points, max(d.place) AS last
                       FROM (
                           SELECT p.*, row_number() OVER () AS place FROM (
                               SELECT coalesce(l.vests_at, l.vest_by) AS at, l.vests_at, l.pending FROM lots l
                               WHERE a.pending > 0 AND l.account_id = a.account_id AND l.pending > 0
                               ORDER BY coalesce(l.vests_at, l.vest_by), l.lot_seq LIMIT $3
                           ) p
                       ) d
                       WHERE d.vests_at IS NOT NULL GROUP BY d.at ORDER BY d.at LIMIT 1
                   ) v ON TRUE
                   LEFT JOIN LATERAL (
                       -- How many lots were looked through in vain.
                       SELECT count(*) AS last FROM (
                           SELECT FROM lots l
                           WHERE v.at IS NULL AND a.pending > 0 AND l.account_id = a.account_id AND l.pending > 0
                           ORDER BY coalesce(l.vests_at, l.vest_by), l.lot_seq LIMIT $3
                       ) p
                   ) w ON TRUE
                   LEFT JOIN LATERAL (
                       SELECT d.at, sum(d.available)::bigint AS points, count(*) AS lots FROM (
                           SELECT coalesce(l.expires_at, 'infinity') AS at, l.available FROM lots l
                           WHERE a.available > 0 AND l.account_id = a.account_id AND l.has_available AND NOT l.slides
                             AND coalesce(l.expires_at, 'infinity') < 'infinity'
                           ORDER BY coalesce(l.expires_at, 'infinity'), l.lot_seq LIMIT $3
                       ) d
                       GROUP BY d.at ORDER BY d.at LIMIT 1
                   ) x ON TRUE
                   LEFT JOIN earnings g ON g.account_id = a.account_id
                   LEFT JOIN LATERAL (
                       SELECT sum(d.available)::bigint AS points, count(*) AS lots FROM (
                           SELECT l.available FROM lots l
                           WHERE g.slides_to IS NOT NULL AND l.account_id = a.account_id AND l.has_available AND l.slides
                           ORDER BY l.lot_seq LIMIT $3
                       ) d
                   ) s ON TRUE"#,
                &programs as _,
                &customers as _,
                MAX_NEXT,
            )
            .fetch_all(&pool)
            .traced("SELECT accounts")
            .await?;
            let mut balances = vec![None; keys.len()];
            for row in rows {
                let place = usize::try_from(row.place - 1).unwrap_or(usize::MAX);
                let at = |instant: Option<jiff_sqlx::Timestamp>| instant.map(jiff_sqlx::Timestamp::to_jiff);
                let is_full = |count: Option<i64>| count.is_some_and(|count| count >= MAX_NEXT);
                let next = |found: Option<(Timestamp, i64)>, is_full| match found {
                    Some((at, points)) if is_full => Next::AtLeast(at, points),
                    Some((at, points)) => Next::All(at, points),
                    None if is_full => Next::Unknown,
                    None => Next::Nothing,
                };
                let vesting = next(at(row.vests_at).zip(row.vesting), is_full(row.last_vesting));
                let own = next(at(row.expires_at).zip(row.expiring), is_full(row.expiring_lots));
                let sliding = at(row.slides_to).zip(row.sliding.filter(|points| *points > 0));
                let sliding = next(sliding, is_full(row.sliding_lots));
                if let Some(slot) = balances.get_mut(place) {
                    *slot = Some(FoundBalance {
                        account_id: AccountId(row.account_id),
                        told: row.told.to_jiff(),
                        balance: Balance {
                            issued: row.issued,
                            owed: row.owed,
                            pending: row.pending,
                            available: row.available,
                            held: row.held,
                            redeemed: row.redeemed,
                            expired: row.expired,
                            cancelled: row.cancelled,
                        },
                        next_due_at: at(row.next_due_at),
                        upcoming: Upcoming { vesting, expiring: own.first(sliding) },
                    });
                }
            }
            Ok(balances)
        })
    })
}

/// Which points vest and which expire next, of an account of which `lots` know what is due.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn read_upcoming(
    connection: &mut PgConnection,
    account_id: AccountId,
    lots: &Lots,
) -> Result<Upcoming, StoreError> {
    let (stored, read_to) = read_next(connection, account_id).await?;
    let mut lots = lots.clone();
    for FoundLot { key, lot, .. } in stored {
        // What is due shows, and not what is stored.
        if lots.lot(key.0, key.1).is_none() {
            lots.put_lot(key, lot);
        }
    }
    Ok(lots.upcoming(account_id, read_to))
}

/// A page of the entries that moved points of a lot, that made it first, the oldest first. None if there is no such lot.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn list_lot_uses(
    connection: &mut PgConnection,
    lot_id: EntryId,
    after: i64,
    limit: i64,
) -> Result<Option<Vec<Entry>>, StoreError> {
    let EntryId { account_id, account_seq: lot } = lot_id;
    let own = sqlx::query_scalar!("SELECT uses FROM lots WHERE account_id = $1 AND lot_seq = $2", account_id.0, lot)
        .fetch_optional(&mut *connection)
        .traced("SELECT lots")
        .await?;
    let Some(own) = own else { return Ok(None) };
    // Read behind the lot: what moves there in between is found twice, and never missed.
    let older = sqlx::query_scalar!(
        "SELECT seqs FROM lot_uses WHERE account_id = $1 AND lot_seq = $2 AND last_seq > $3 ORDER BY last_seq LIMIT $4",
        account_id.0,
        lot,
        after,
        limit / i64::try_from(MAX_OWN_USES).unwrap_or(i64::MAX) + 2,
    )
    .fetch_all(&mut *connection)
    .traced("SELECT lot_uses")
    .await?;
    let uses = std::iter::once(lot).chain(older.into_iter().flatten()).chain(own.unwrap_or_default());
    let uses: BTreeSet<(AccountId, i64)> = uses.filter(|seq| *seq > after).map(|seq| (account_id, seq)).collect();
    let page = uses.into_iter().take(usize::try_from(limit).unwrap_or(usize::MAX)).collect();
    let mut entries = read_entries(connection, &page).await?;
    entries.sort_unstable_by_key(|entry| entry.id.account_seq);
    Ok(Some(entries))
}

/// What tells when the lots of an account expire together, and no lot.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn read_common_expiry(
    connection: &mut PgConnection,
    account_id: AccountId,
) -> Result<Lots, StoreError> {
    let rows = earnings_of(&[account_id]).fetch(connection).await?;
    let earnings: Result<_, Defect> = rows.into_iter().map(TryInto::try_into).collect();
    Ok(Lots { earnings: earnings?, ..Lots::default() })
}

/// The holds of an account that were made before one of its entries, the newest first, each with when it was made; at most
/// `limit`.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn list_holds(
    connection: &mut PgConnection,
    account_id: AccountId,
    before: i64,
    limit: i64,
) -> Result<Vec<(EntryId, Hold, Timestamp)>, StoreError> {
    let rows = sqlx::query!(
        "SELECT h.hold_seq, h.points, h.policy_version, h.ends_at, h.lot_seqs, h.lot_points, h.ended_seq,
                e.effective_at
         FROM holds h JOIN ledger_entries e ON e.account_id = h.account_id AND e.account_seq = h.hold_seq
         WHERE h.account_id = $1 AND h.hold_seq < $2 ORDER BY h.hold_seq DESC LIMIT $3",
        account_id.0,
        before,
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT holds")
    .await?;
    let holds = rows.into_iter().map(|row| {
        let hold = hold_in!(row);
        (EntryId { account_id, account_seq: row.hold_seq }, hold, row.effective_at.to_jiff())
    });
    Ok(holds.collect())
}
