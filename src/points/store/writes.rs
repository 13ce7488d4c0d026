//! What writes lots and what goes with them: one part for each table.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use uuid::Uuid;

use super::rows::{EarningRow, ReversalRow};
use crate::book::Defect;
use crate::database::{WritePart, sent_as, write_part};
use crate::ids::{AccountId, EntryId};
use crate::points::lots::{Changed, Earning, Hold, Lot, Lots, MadeUp, Reversed};
use crate::points::state::{Note, PointsState};

/// Writes every row that changed, and what callers wrote beside entries.
pub(super) fn parts(state: &PointsState) -> Result<Vec<WritePart>, Defect> {
    let lots = &state.lots;
    let changed = &lots.changed;
    let uses = changed.uses.iter().filter_map(|key| Some((key, lots.older_uses.get(key)?)));
    let holds = changed.holds.iter().filter_map(|key| Some((key, lots.holds.get(key)?)));
    let earnings = changed.earnings.iter().filter_map(|id| Some((*id, lots.earnings.get(id)?)));
    let reversals = changed.reversals.iter().map(|key| (key, lots.reversed(key.0, key.1)));
    Ok(vec![
        insert_lots(rows_of(lots, changed.new_lots.iter())?),
        update_lots(rows_of(lots, changed.lots.difference(&changed.new_lots))?),
        insert_uses(uses),
        upsert_holds(holds),
        upsert_earnings(earnings)?,
        upsert_reversals(reversals),
        forfeit_lots(changed),
        insert_notes(&state.notes),
        delete_notes(&state.without_notes),
    ])
}

/// An account whose points go with its customer, as it is sent.
#[derive(sqlx::Encode)]
struct SentForfeit {
    account_id: Uuid,
    is_paid_out: bool,
    written: Vec<i64>,
}

sent_as!(SentForfeit, "sent_forfeit");

/// Ends all open lots of accounts, however many there are, but for those that the batch writes anyway.
fn forfeit_lots(changed: &Changed) -> WritePart {
    let mut sent = Vec::with_capacity(changed.forfeited.len());
    for (account_id, is_paid_out) in &changed.forfeited {
        let written = changed.lots.range((*account_id, i64::MIN)..=(*account_id, i64::MAX));
        let written = written.map(|(_, seq)| *seq).collect();
        sent.push(SentForfeit { account_id: account_id.0, is_paid_out: *is_paid_out, written });
    }
    write_part!(
        "UPDATE lots l SET pending = 0, available = 0, cancelled = l.cancelled + l.pending,
             redeemed = l.redeemed + CASE WHEN u.is_paid_out THEN l.available ELSE 0 END,
             expired = l.expired + CASE WHEN u.is_paid_out THEN 0 ELSE l.available END
         FROM unnest($1::sent_forfeit[]) AS u
         WHERE l.account_id = u.account_id AND (l.pending > 0 OR l.has_available) AND l.lot_seq <> ALL (u.written)",
        sent,
    )
}

/// Removes what was written beside the entries of accounts.
fn delete_notes(accounts: &BTreeSet<AccountId>) -> WritePart {
    write_part!(
        "DELETE FROM entry_notes WHERE account_id = ANY($1::uuid[])",
        accounts.iter().map(|account_id| account_id.0).collect::<Vec<Uuid>>(),
    )
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

/// Adds new lots. Those that are known are a part of their own, since one that may do either looks every new lot up
/// before it adds it.
fn insert_lots(rows: Vec<SentLot>) -> WritePart {
    write_part!(
        always,
        "INSERT INTO lots (account_id, lot_seq, points, pending, available, held, redeemed, expired, cancelled, repaid,
             policy_version, live_since, vests_at, vest_by, expires_at, slides, expiry_rule, made_up, uses)
         SELECT * FROM unnest($1::sent_lot[])",
        rows,
    )
}

/// Writes known lots. Their points, their policy and when they vest do not change.
fn update_lots(rows: Vec<SentLot>) -> WritePart {
    write_part!(
        always,
        "UPDATE lots l SET pending = u.pending, available = u.available, held = u.held, redeemed = u.redeemed,
             expired = u.expired, cancelled = u.cancelled, repaid = u.repaid, live_since = u.live_since,
             expires_at = u.expires_at, slides = u.slides, made_up = u.made_up, uses = u.uses
         FROM unnest($1::sent_lot[]) AS u WHERE l.account_id = u.account_id AND l.lot_seq = u.lot_seq",
        rows,
    )
}

/// Older uses of a lot as they are sent.
#[derive(sqlx::Encode)]
struct SentUses {
    account_id: Uuid,
    lot_seq: i64,
    last_seq: i64,
    seqs: Vec<i64>,
}

sent_as!(SentUses, "sent_uses");

fn insert_uses<'a>(uses: impl Iterator<Item = (&'a (AccountId, i64, i64), &'a Vec<i64>)>) -> WritePart {
    let rows = uses.map(|((account_id, lot_seq, last_seq), seqs)| SentUses {
        account_id: account_id.0,
        lot_seq: *lot_seq,
        last_seq: *last_seq,
        seqs: seqs.clone(),
    });
    write_part!(
        "INSERT INTO lot_uses (account_id, lot_seq, last_seq, seqs) SELECT * FROM unnest($1::sent_uses[])",
        rows.collect::<Vec<SentUses>>(),
    )
}

/// A hold as it is sent.
#[derive(sqlx::Encode)]
struct SentHold {
    account_id: Uuid,
    hold_seq: i64,
    points: i64,
    policy_version: i32,
    ends_at: jiff_sqlx::Timestamp,
    lot_seqs: Vec<i64>,
    lot_points: Vec<i64>,
    ended_seq: Option<i64>,
}

sent_as!(SentHold, "sent_hold");

fn upsert_holds<'a>(holds: impl Iterator<Item = (&'a (AccountId, i64), &'a Hold)>) -> WritePart {
    let rows = holds.map(|((account_id, hold_seq), hold)| SentHold {
        account_id: account_id.0,
        hold_seq: *hold_seq,
        points: hold.points,
        policy_version: hold.policy_version,
        ends_at: hold.ends_at.to_sqlx(),
        lot_seqs: hold.parts.iter().map(|part| part.lot).collect(),
        lot_points: hold.parts.iter().map(|part| part.points).collect(),
        ended_seq: hold.ended_seq,
    });
    write_part!(
        "INSERT INTO holds (account_id, hold_seq, points, policy_version, ends_at, lot_seqs, lot_points, ended_seq)
         SELECT * FROM unnest($1::sent_hold[])
         ON CONFLICT (account_id, hold_seq) DO UPDATE
         SET lot_seqs = excluded.lot_seqs, lot_points = excluded.lot_points, ended_seq = excluded.ended_seq",
        rows.collect::<Vec<SentHold>>(),
    )
}

fn upsert_earnings<'a>(earnings: impl Iterator<Item = (AccountId, &'a Earning)>) -> Result<WritePart, Defect> {
    let mut rows = Vec::new();
    for (account_id, earning) in earnings {
        let defect =
            |error: serde_json::Error| Defect::new(format!("the earnings of account {}: {error}", account_id.0));
        rows.push(EarningRow {
            account_id: account_id.0,
            slides_to: earning.slides_to.map(|instant| instant.to_sqlx()),
            lapses: earning.lapses.iter().map(|lapse| lapse.to_sqlx()).collect(),
            earned: serde_json::to_value(&earning.earned).map_err(defect)?,
        });
    }
    Ok(write_part!(
        "INSERT INTO earnings (account_id, slides_to, lapses, earned) SELECT * FROM unnest($1::sent_earning[])
         ON CONFLICT (account_id) DO UPDATE
         SET slides_to = excluded.slides_to, lapses = excluded.lapses, earned = excluded.earned",
        rows,
    ))
}

fn upsert_reversals<'a>(reversals: impl Iterator<Item = (&'a (AccountId, i64), Reversed)>) -> WritePart {
    let rows = reversals.map(|((account_id, entry_seq), reversed)| ReversalRow {
        account_id: account_id.0,
        entry_seq: *entry_seq,
        reversed: reversed.in_all,
        by_refunds: reversed.by_refunds,
    });
    write_part!(
        "INSERT INTO reversals (account_id, entry_seq, reversed, by_refunds)
         SELECT * FROM unnest($1::sent_reversal[])
         ON CONFLICT (account_id, entry_seq) DO UPDATE
         SET reversed = excluded.reversed, by_refunds = excluded.by_refunds",
        rows.collect::<Vec<ReversalRow>>(),
    )
}

/// What a caller wrote beside an entry, as it is sent.
#[derive(sqlx::Encode)]
struct SentNote {
    account_id: Uuid,
    account_seq: i64,
    note: String,
    author: String,
}

sent_as!(SentNote, "sent_note");

fn insert_notes(notes: &[(EntryId, Note)]) -> WritePart {
    let rows = notes.iter().map(|(id, note)| SentNote {
        account_id: id.account_id.0,
        account_seq: id.account_seq,
        note: note.text.clone(),
        author: note.author.clone(),
    });
    write_part!(
        "INSERT INTO entry_notes (account_id, account_seq, note, author) SELECT * FROM unnest($1::sent_note[])",
        rows.collect::<Vec<SentNote>>(),
    )
}
