//! The statements of reads: balances, lots, holds.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool};

pub(in crate::points) use super::rows::list_lots;
use crate::book::store::{into_entries, read_entries, select_entries};
use crate::book::{Balance, Entry, PointsDetail};
use crate::database::{Fetch, StoreError, Traced as _};
use crate::ids::{AccountId, CustomerId, EntryId, ProgramId};
use crate::points::lots::Upcoming;

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
pub(crate) fn fetch_balances() -> Fetch<(ProgramId, CustomerId), FoundBalance> {
    Arc::new(|pool: PgPool, keys: Arc<[(ProgramId, CustomerId)]>| {
        Box::pin(async move {
            let programs: Vec<&str> = keys.iter().map(|(program_id, _)| program_id.as_str()).collect();
            let customers: Vec<&str> = keys.iter().map(|(_, customer_id)| customer_id.as_str()).collect();
            let rows = sqlx::query!(
                r#"SELECT u.place AS "place!", (SELECT clock_timestamp()) AS "told!", a.account_id, a.next_due_at, a.issued, a.owed, a.pending, a.available,
                          a.held, a.redeemed, a.expired, a.cancelled,
                          v.at AS "vests_at?: jiff_sqlx::Timestamp", v.points AS "vesting?",
                          x.at AS "expires_at?: jiff_sqlx::Timestamp", x.points AS "expiring?",
                          g.slides_to AS "slides_to?: jiff_sqlx::Timestamp", s.points AS "sliding?"
                   FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS u (program_id, name, place)
                   JOIN names n ON n.program_id = u.program_id AND n.space = 'customer' AND n.name = u.name
                   JOIN accounts a ON a.account_id = n.account_id
                   LEFT JOIN LATERAL (
                       SELECT l.due_at AS at, sum(l.pending)::bigint AS points FROM lots l
                       WHERE a.pending > 0 AND l.account_id = a.account_id AND l.due_at IS NOT NULL
                         AND l.pending > 0 AND l.vests_at IS NOT NULL
                       GROUP BY l.due_at ORDER BY l.due_at LIMIT 1
                   ) v ON TRUE
                   LEFT JOIN LATERAL (
                       SELECT l.due_at AS at, sum(l.available)::bigint AS points FROM lots l
                       WHERE a.available > 0 AND l.account_id = a.account_id AND l.due_at IS NOT NULL AND l.pending = 0
                       GROUP BY l.due_at ORDER BY l.due_at LIMIT 1
                   ) x ON TRUE
                   LEFT JOIN earnings g ON g.account_id = a.account_id
                   LEFT JOIN LATERAL (
                       SELECT sum(l.available)::bigint AS points FROM lots l
                       WHERE g.slides_to IS NOT NULL AND l.account_id = a.account_id AND l.available > 0 AND l.slides
                   ) s ON TRUE"#,
                &programs as _,
                &customers as _,
            )
            .fetch_all(&pool)
            .traced("SELECT accounts")
            .await?;
            let mut balances = vec![None; keys.len()];
            for row in rows {
                let place = usize::try_from(row.place - 1).unwrap_or(usize::MAX);
                let at = |instant: Option<jiff_sqlx::Timestamp>| instant.map(jiff_sqlx::Timestamp::to_jiff);
                let sliding = at(row.slides_to).zip(row.sliding.filter(|points| *points > 0));
                let expiring = at(row.expires_at).zip(row.expiring);
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
                        upcoming: Upcoming {
                            vesting: at(row.vests_at).zip(row.vesting),
                            expiring: match (expiring, sliding) {
                                (Some(own), Some(all)) if own.0 == all.0 => Some((own.0, own.1 + all.1)),
                                (own, all) => own.into_iter().chain(all).min(),
                            },
                        },
                    });
                }
            }
            Ok(balances)
        })
    })
}

/// Whether there is such a lot.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn has_lot(connection: &mut PgConnection, lot_id: EntryId) -> Result<bool, StoreError> {
    let found = sqlx::query_scalar!(
        "SELECT 1 FROM lots WHERE account_id = $1 AND lot_seq = $2",
        lot_id.account_id.0,
        lot_id.account_seq,
    )
    .fetch_optional(connection)
    .traced("SELECT lots")
    .await?;
    Ok(found.is_some())
}

/// A page of the entries that moved points of a lot, the oldest first.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn list_lot_uses(
    connection: &mut PgConnection,
    lot_id: EntryId,
    after: i64,
    limit: i64,
) -> Result<Vec<Entry>, StoreError> {
    let rows = select_entries!(
        "FROM ledger_entries e
         WHERE account_id = $1 AND account_seq >= $2 AND account_seq > $3
           AND (account_seq = $2 OR detail->'lot' = to_jsonb($2) OR detail->'lots' @> jsonb_build_array(jsonb_build_object('lot', $2)))
         ORDER BY account_seq LIMIT $4",
        lot_id.account_id.0,
        lot_id.account_seq,
        after,
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT ledger_entries")
    .await?;
    into_entries(rows)
}

/// The entry that ended a hold, if it has ended.
///
/// # Errors
/// If the database cannot be read.
pub(crate) async fn find_hold_end(
    connection: &mut PgConnection,
    hold_id: EntryId,
) -> Result<Option<Entry>, StoreError> {
    const PAGE: i64 = 100;
    let EntryId { account_id, account_seq } = hold_id;
    let held = read_entries(connection, &BTreeSet::from([(account_id, account_seq)])).await?.pop();
    let Some(part) = held.and_then(|held| held.detail.lots().first().copied()) else { return Ok(None) };
    // The first lot of a hold is in the first entry that ends the hold.
    let lot_id = EntryId { account_id, account_seq: part.lot };
    let is_end = |entry: &Entry| entry.detail.points().and_then(PointsDetail::ended_hold) == Some(account_seq);
    let mut after = account_seq;
    loop {
        let uses = list_lot_uses(connection, lot_id, after, PAGE).await?;
        let last = uses.last().map(|entry| entry.id.account_seq);
        if let Some(end) = uses.into_iter().find(is_end) {
            return Ok(Some(end));
        }
        match last {
            Some(last) => after = last,
            None => return Ok(None),
        }
    }
}
