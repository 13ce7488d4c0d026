//! The statements that read what goes with lots: holds, earnings, reversals and older uses.

use std::collections::{BTreeMap, BTreeSet};

use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::book::{Defect, Depth, LotPart, Scope};
use crate::database::{Selection, StoreError, Traced as _, selection, sent_as};
use crate::ids::{AccountId, EntryId};
use crate::points::lots::{ByEntry, Earning, Hold, Reversed};

/// A hold out of a row that has the columns of one.
macro_rules! hold_in {
    ($row:ident) => {
        Hold {
            points: $row.points,
            policy_version: $row.policy_version,
            ends_at: $row.ends_at.to_jiff(),
            parts: $row
                .lot_seqs
                .into_iter()
                .zip($row.lot_points)
                .map(|(lot, points)| LotPart { lot, points })
                .collect(),
            ended_seq: $row.ended_seq,
        }
    };
}
pub(super) use hold_in;

pub(super) fn columns(keys: &BTreeSet<(AccountId, i64)>) -> (Vec<Uuid>, Vec<i64>) {
    keys.iter().map(|(account_id, seq)| (account_id.0, *seq)).unzip()
}

pub(super) fn ids(accounts: &[AccountId]) -> Vec<Uuid> {
    accounts.iter().map(|account| account.0).collect()
}

/// Why a hold was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub(super) enum HoldFor {
    /// A command asked for it, or everything is read.
    Asked,
    /// It ends by itself.
    Due,
    /// It is the first to end later: read only to know when.
    Later,
}

/// Reads holds that were asked for, and those that end by the scope's latest instant on accounts where something is due:
/// first those that end first, and one more that ends later.
pub(super) async fn read_holds(
    connection: &mut PgConnection,
    asked: &BTreeSet<(AccountId, i64)>,
    scope: &Scope,
    limit: i64,
) -> Result<Vec<((AccountId, i64), Hold, HoldFor)>, StoreError> {
    let (asked_accounts, asked_holds) = columns(asked);
    let whole = if scope.depth == Depth::Whole { ids(&scope.accounts) } else { Vec::new() };
    let rows = sqlx::query!(
        r#"SELECT 'asked' AS "read_for!: HoldFor", h.account_id AS "account_id!", h.hold_seq AS "hold_seq!", h.points AS "points!",
                  h.policy_version AS "policy_version!", h.ends_at AS "ends_at!", h.lot_seqs AS "lot_seqs!",
                  h.lot_points AS "lot_points!", h.ended_seq
           FROM unnest($1::uuid[], $2::bigint[]) AS u (account_id, hold_seq)
           JOIN holds h ON h.account_id = u.account_id AND h.hold_seq = u.hold_seq
           UNION ALL
           SELECT 'asked', account_id, hold_seq, points, policy_version, ends_at, lot_seqs, lot_points, ended_seq
           FROM holds WHERE account_id = ANY($5)
           UNION ALL
           SELECT 'due', h.account_id, h.hold_seq, h.points, h.policy_version, h.ends_at, h.lot_seqs, h.lot_points,
                  h.ended_seq
           FROM unnest($3::uuid[]) AS u (account_id)
           CROSS JOIN LATERAL (
               SELECT * FROM holds d
               WHERE d.account_id = u.account_id AND cardinality(d.lot_seqs) > 0 AND d.ends_at <= $6
               ORDER BY d.ends_at, d.hold_seq LIMIT $4
           ) h
           UNION ALL
           SELECT 'later', h.account_id, h.hold_seq, h.points, h.policy_version, h.ends_at, h.lot_seqs, h.lot_points,
                  h.ended_seq
           FROM unnest($3::uuid[]) AS u (account_id)
           CROSS JOIN LATERAL (
               SELECT * FROM holds d
               WHERE d.account_id = u.account_id AND cardinality(d.lot_seqs) > 0 AND d.ends_at > $6
               ORDER BY d.ends_at, d.hold_seq LIMIT 1
           ) h"#,
        &asked_accounts,
        &asked_holds,
        &ids(&scope.due),
        limit,
        &whole,
        scope.latest.to_sqlx() as _,
    )
    .fetch_all(connection)
    .traced("SELECT holds")
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let hold = hold_in!(row);
            ((AccountId(row.account_id), row.hold_seq), hold, row.read_for)
        })
        .collect())
}

/// What a caller wrote beside an entry.
#[derive(sqlx::Decode)]
pub(super) struct NoteRow {
    account_id: Uuid,
    account_seq: i64,
    pub(super) note: String,
}

impl NoteRow {
    pub(super) const fn entry_id(&self) -> EntryId {
        EntryId { account_id: AccountId(self.account_id), account_seq: self.account_seq }
    }
}

/// The notes beside entries, where there are any.
pub(super) fn notes_of(entries: &BTreeSet<(AccountId, i64)>) -> Selection<NoteRow> {
    let (accounts, seqs) = columns(entries);
    selection!(
        "entry_notes",
        NoteRow,
        "SELECT n.account_id, n.account_seq, n.note
         FROM unnest($1::uuid[], $2::bigint[]) AS u (account_id, account_seq)
         CROSS JOIN LATERAL (
             SELECT * FROM entry_notes n WHERE n.account_id = u.account_id AND n.account_seq = u.account_seq OFFSET 0
         ) n",
        [accounts, seqs],
    )
}

/// What concerns all lots of an account together, as it is stored, and as it is sent.
#[derive(sqlx::Encode, sqlx::Decode)]
pub(super) struct EarningRow {
    pub(super) account_id: Uuid,
    pub(super) slides_to: Option<jiff_sqlx::Timestamp>,
    pub(super) lapses: Vec<jiff_sqlx::Timestamp>,
    pub(super) earned: serde_json::Value,
}

sent_as!(EarningRow, "sent_earning");

impl TryFrom<EarningRow> for (AccountId, Earning) {
    type Error = Defect;

    fn try_from(row: EarningRow) -> Result<Self, Defect> {
        let defect = |error| Defect::unread(format_args!("the earnings of account {}", row.account_id), &error);
        let earning = Earning {
            slides_to: row.slides_to.map(jiff_sqlx::Timestamp::to_jiff),
            lapses: row.lapses.into_iter().map(jiff_sqlx::Timestamp::to_jiff).collect(),
            earned: serde_json::from_value(row.earned).map_err(defect)?,
        };
        Ok((AccountId(row.account_id), earning))
    }
}

/// What concerns all lots of accounts together.
pub(super) fn earnings_of(accounts: &[AccountId]) -> Selection<EarningRow> {
    let accounts = ids(accounts);
    selection!(
        "earnings",
        EarningRow,
        "SELECT account_id, slides_to, lapses, earned FROM earnings WHERE account_id = ANY($1)",
        [accounts],
    )
}

/// How much of an entry has been undone, as it is stored, and as it is sent.
#[derive(sqlx::Encode)]
pub(super) struct ReversalRow {
    pub(super) account_id: Uuid,
    pub(super) entry_seq: i64,
    pub(super) reversed: i64,
    pub(super) by_refunds: i64,
}

sent_as!(ReversalRow, "sent_reversal");

impl ReversalRow {
    const fn into_reversed(self) -> ((AccountId, i64), Reversed) {
        let Self { account_id, entry_seq, reversed, by_refunds } = self;
        ((AccountId(account_id), entry_seq), Reversed { in_all: reversed, by_refunds })
    }
}

/// Reads how much of entries has been undone.
pub(super) async fn read_reversals(
    connection: &mut PgConnection,
    entries: &BTreeSet<(AccountId, i64)>,
) -> Result<ByEntry<Reversed>, StoreError> {
    let (accounts, seqs) = columns(entries);
    let rows = sqlx::query_as!(
        ReversalRow,
        "SELECT r.account_id, r.entry_seq, r.reversed, r.by_refunds
         FROM unnest($1::uuid[], $2::bigint[]) AS u (account_id, entry_seq)
         JOIN reversals r ON r.account_id = u.account_id AND r.entry_seq = u.entry_seq",
        &accounts,
        &seqs,
    )
    .fetch_all(connection)
    .traced("SELECT reversals")
    .await?;
    Ok(rows.into_iter().map(ReversalRow::into_reversed).collect())
}

/// Reads all that has been undone on accounts.
pub(super) async fn read_all_reversals(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<ByEntry<Reversed>, StoreError> {
    let rows = sqlx::query_as!(
        ReversalRow,
        "SELECT account_id, entry_seq, reversed, by_refunds FROM reversals WHERE account_id = ANY($1)",
        &ids(accounts),
    )
    .fetch_all(connection)
    .traced("SELECT reversals")
    .await?;
    Ok(rows.into_iter().map(ReversalRow::into_reversed).collect())
}

/// Reads all uses of lots but the last ones, which the lots' own rows have.
pub(super) async fn read_all_uses(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<BTreeMap<(AccountId, i64, i64), Vec<i64>>, StoreError> {
    let rows = sqlx::query!(
        "SELECT account_id, lot_seq, last_seq, seqs FROM lot_uses WHERE account_id = ANY($1)",
        &ids(accounts),
    )
    .fetch_all(connection)
    .traced("SELECT lot_uses")
    .await?;
    Ok(rows.into_iter().map(|row| ((AccountId(row.account_id), row.lot_seq, row.last_seq), row.seqs)).collect())
}
