//! The statements that write lots and what goes with them: one statement for each table.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use super::rows::columns;
use crate::book::Defect;
use crate::database::{Part, StoreError, Traced as _, sent_as};
use crate::ids::{AccountId, EntryId};
use crate::points::lots::{Earning, Hold, Lot, Lots, MadeUp};
use crate::points::state::Note;

/// Writes every row that changed, but for lots.
pub(super) async fn write(connection: &mut PgConnection, lots: &Lots) -> Result<(), StoreError> {
    let changed = &lots.changed;
    if !changed.uses.is_empty() {
        let rows = changed.uses.iter().filter_map(|key| Some((key, lots.older_uses.get(key)?)));
        insert_uses(connection, rows).await?;
    }
    if !changed.holds.is_empty() {
        let rows = changed.holds.iter().filter_map(|key| Some((key, lots.holds.get(key)?)));
        upsert_holds(connection, rows).await?;
    }
    if !changed.earnings.is_empty() {
        let rows = changed.earnings.iter().filter_map(|id| Some((*id, lots.earnings.get(id)?)));
        upsert_earnings(connection, rows).await?;
    }
    if !changed.reversals.is_empty() {
        let (accounts, seqs) = columns(&changed.reversals);
        let (amounts, by_refunds): (Vec<i64>, Vec<i64>) = changed
            .reversals
            .iter()
            .map(|key| lots.reversed(key.0, key.1))
            .map(|it| (it.in_all, it.by_refunds))
            .unzip();
        sqlx::query!(
            "INSERT INTO reversals (account_id, entry_seq, reversed, by_refunds)
             SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[])
             ON CONFLICT (account_id, entry_seq) DO UPDATE
             SET reversed = excluded.reversed, by_refunds = excluded.by_refunds",
            &accounts,
            &seqs,
            &amounts,
            &by_refunds,
        )
        .execute(connection)
        .traced("INSERT reversals")
        .await?;
    }
    Ok(())
}

/// Numbers as the text of an array: unnesting flattens arrays of arrays, so each row's travel as the text of one.
fn array_text(numbers: impl Iterator<Item = i64>) -> String {
    let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
    format!("{{{}}}", numbers.join(","))
}

/// A lot as it is sent.
#[derive(sqlx::Encode)]
struct SentLot {
    account_id: Uuid,
    lot_seq: i64,
    points: i64,
    pending: i64,
    available: i64,
    held: i64,
    redeemed: i64,
    expired: i64,
    cancelled: i64,
    repaid: i64,
    policy_version: i32,
    live_since: Option<jiff_sqlx::Timestamp>,
    vests_at: Option<jiff_sqlx::Timestamp>,
    vest_by: Option<jiff_sqlx::Timestamp>,
    expires_at: Option<jiff_sqlx::Timestamp>,
    slides: bool,
    expiry_rule: Option<String>,
    made_up: Option<serde_json::Value>,
    /// Absent while there are none, which takes no room.
    uses: Option<Vec<i64>>,
}

sent_as!(SentLot, "sent_lot");

impl SentLot {
    fn new(key: (AccountId, i64), lot: &Lot) -> Result<Self, Defect> {
        let Lot { points, pending, available, held, redeemed, expired, cancelled, repaid, .. } = *lot;
        let instant = |instant: Option<Timestamp>| instant.map(|instant| instant.to_sqlx());
        let made_up = Some(&lot.made_up).filter(|made_up| **made_up != MadeUp::default());
        let made_up = made_up
            .map(serde_json::to_value)
            .transpose()
            .map_err(|error| Defect::new(format!("what makes up for lot {} of account {}: {error}", key.1, key.0.0)))?;
        Ok(Self {
            account_id: key.0.0,
            lot_seq: key.1,
            points,
            pending,
            available,
            held,
            redeemed,
            expired,
            cancelled,
            repaid,
            policy_version: lot.policy_version,
            live_since: instant(lot.live_since),
            vests_at: instant(lot.terms.vests_at),
            vest_by: instant(lot.terms.vest_by),
            expires_at: instant(lot.terms.expires_at),
            slides: lot.terms.slides,
            expiry_rule: lot.terms.expiry_rule.clone(),
            made_up,
            uses: (!lot.uses.is_empty()).then(|| lot.uses.to_vec()),
        })
    }
}

fn rows_of<'a>(lots: &Lots, keys: impl Iterator<Item = &'a (AccountId, i64)>) -> Result<Vec<SentLot>, Defect> {
    keys.filter_map(|key| Some(SentLot::new(*key, lots.lots.get(key)?))).collect()
}

/// Writes lots: in two parts, since one that may do either looks every new lot up before it adds it. Of a known one, its
/// points, its policy and when it vests do not change.
pub(super) fn lot_parts(lots: &Lots) -> Result<Vec<Part>, Defect> {
    let changed = &lots.changed;
    let insert = "INSERT INTO lots (account_id, lot_seq, points, pending, available, held, redeemed, expired, cancelled,
                      repaid, policy_version, live_since, vests_at, vest_by, expires_at, slides, expiry_rule, made_up, uses)
                  SELECT * FROM unnest($1::sent_lot[])";
    let update = "UPDATE lots l SET pending = u.pending, available = u.available, held = u.held, redeemed = u.redeemed,
                      expired = u.expired, cancelled = u.cancelled, repaid = u.repaid, live_since = u.live_since,
                      expires_at = u.expires_at, slides = u.slides, made_up = u.made_up, uses = u.uses
                  FROM unnest($1::sent_lot[]) AS u WHERE l.account_id = u.account_id AND l.lot_seq = u.lot_seq";
    Ok(vec![
        Part::new(insert, rows_of(lots, changed.new_lots.iter())?),
        Part::new(update, rows_of(lots, changed.lots.difference(&changed.new_lots))?),
    ])
}

async fn insert_uses<'a>(
    connection: &mut PgConnection,
    uses: impl Iterator<Item = (&'a (AccountId, i64, i64), &'a Vec<i64>)>,
) -> Result<(), StoreError> {
    let (mut accounts, mut lots, mut last, mut seqs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for ((account_id, lot_seq, last_seq), numbers) in uses {
        accounts.push(account_id.0);
        lots.push(*lot_seq);
        last.push(*last_seq);
        seqs.push(array_text(numbers.iter().copied()));
    }
    sqlx::query!(
        "INSERT INTO lot_uses (account_id, lot_seq, last_seq, seqs)
         SELECT account_id, lot_seq, last_seq, seqs::bigint[]
         FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[]) AS u (account_id, lot_seq, last_seq, seqs)",
        &accounts,
        &lots,
        &last,
        &seqs,
    )
    .execute(connection)
    .traced("INSERT lot_uses")
    .await?;
    Ok(())
}

async fn upsert_holds<'a>(
    connection: &mut PgConnection,
    holds: impl Iterator<Item = (&'a (AccountId, i64), &'a Hold)>,
) -> Result<(), StoreError> {
    let (mut accounts, mut seqs, mut points) = (Vec::new(), Vec::new(), Vec::new());
    let (mut policies, mut ends, mut lots, mut parts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut ended = Vec::new();
    for ((account_id, seq), hold) in holds {
        accounts.push(account_id.0);
        seqs.push(*seq);
        points.push(hold.points);
        policies.push(hold.policy_version);
        ends.push(hold.ends_at.to_sqlx());
        lots.push(array_text(hold.parts.iter().map(|part| part.lot)));
        parts.push(array_text(hold.parts.iter().map(|part| part.points)));
        ended.push(hold.ended_seq);
    }
    sqlx::query!(
        "INSERT INTO holds (account_id, hold_seq, points, policy_version, ends_at, lot_seqs, lot_points, ended_seq)
         SELECT account_id, hold_seq, points, policy_version, ends_at, lot_seqs::bigint[], lot_points::bigint[],
             ended_seq
         FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::int[], $5::timestamptz[], $6::text[], $7::text[],
             $8::bigint[])
         AS u (account_id, hold_seq, points, policy_version, ends_at, lot_seqs, lot_points, ended_seq)
         ON CONFLICT (account_id, hold_seq) DO UPDATE
         SET lot_seqs = excluded.lot_seqs, lot_points = excluded.lot_points, ended_seq = excluded.ended_seq",
        &accounts,
        &seqs,
        &points,
        &policies,
        &ends,
        &lots,
        &parts,
        &ended as _,
    )
    .execute(connection)
    .traced("INSERT holds")
    .await?;
    Ok(())
}

async fn upsert_earnings<'a>(
    connection: &mut PgConnection,
    earnings: impl Iterator<Item = (AccountId, &'a Earning)>,
) -> Result<(), StoreError> {
    let (mut accounts, mut slides, mut lapses, mut earned) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (account_id, earning) in earnings {
        accounts.push(account_id.0);
        slides.push(earning.slides_to.map(|instant| instant.to_sqlx()));
        let defect =
            |error: serde_json::Error| Defect::new(format!("the earnings of account {}: {error}", account_id.0));
        lapses.push(serde_json::to_value(&earning.lapses).map_err(defect)?);
        earned.push(serde_json::to_value(&earning.earned).map_err(defect)?);
    }
    sqlx::query!(
        "INSERT INTO earnings (account_id, slides_to, lapses, earned)
         SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::jsonb[], $4::jsonb[])
         ON CONFLICT (account_id) DO UPDATE
         SET slides_to = excluded.slides_to, lapses = excluded.lapses, earned = excluded.earned",
        &accounts,
        &slides as _,
        &lapses,
        &earned,
    )
    .execute(connection)
    .traced("INSERT earnings")
    .await?;
    Ok(())
}

/// Adds what callers wrote beside entries.
pub(super) async fn insert_notes(connection: &mut PgConnection, notes: &[(EntryId, Note)]) -> Result<(), StoreError> {
    let accounts: Vec<Uuid> = notes.iter().map(|(id, _)| id.account_id.0).collect();
    let seqs: Vec<i64> = notes.iter().map(|(id, _)| id.account_seq).collect();
    let texts: Vec<&str> = notes.iter().map(|(_, note)| note.text.as_str()).collect();
    let authors: Vec<&str> = notes.iter().map(|(_, note)| note.author.as_str()).collect();
    sqlx::query!(
        "INSERT INTO entry_notes (account_id, account_seq, note, author)
         SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[])",
        &accounts,
        &seqs,
        &texts as _,
        &authors as _,
    )
    .execute(connection)
    .traced("INSERT entry_notes")
    .await?;
    Ok(())
}
