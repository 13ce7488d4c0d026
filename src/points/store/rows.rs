//! The statements that read lots and what goes with them.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;
use uuid::Uuid;

use crate::book::{Defect, Depth, LotPart, LotTerms, Scope};
use crate::database::{StoreError, Traced as _};
use crate::ids::AccountId;
use crate::points::lots::{ByEntry, Earning, Hold, Lot, Reversed};

/// Why a lot was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub(super) enum ReadFor {
    /// A command asked for it, or everything is read.
    Asked,
    /// Time does something to it next.
    Due,
    /// It expires together with all others that slide.
    Sliding,
    /// A spend takes points of it.
    Spend,
    /// It paid a debt, and gets its points back if the debt is forgiven.
    Payer,
}

/// A lot as a statement finds it.
pub(super) struct FoundLot {
    pub(super) key: (AccountId, i64),
    pub(super) lot: Lot,
    pub(super) read_for: ReadFor,
}

struct LotRow {
    read_for: ReadFor,
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
}

/// A checked statement that reads [`LotRow`]s: why the lots are read, what the columns are of and all that follows it,
/// then the arguments.
macro_rules! select_lots {
    ($read_for:literal, $from:literal $($arguments:tt)*) => {
        sqlx::query_as!(
            LotRow,
            "SELECT " + $read_for + r#" AS "read_for!: ReadFor", account_id AS "account_id!", lot_seq AS "lot_seq!",
                      points AS "points!", pending AS "pending!", available AS "available!", held AS "held!",
                      redeemed AS "redeemed!", expired AS "expired!", cancelled AS "cancelled!", repaid AS "repaid!",
                      policy_version AS "policy_version!", live_since, vests_at, vest_by, expires_at,
                      slides AS "slides!", expiry_rule, made_up
               FROM "# + $from
            $($arguments)*
        )
    };
}

impl TryFrom<LotRow> for FoundLot {
    type Error = Defect;

    fn try_from(row: LotRow) -> Result<Self, Defect> {
        let made_up = row.made_up.map(serde_json::from_value).transpose().map_err(|error| {
            Defect::new(format!("what makes up for lot {} of account {}: {error}", row.lot_seq, row.account_id))
        })?;
        let lot = Lot {
            points: row.points,
            pending: row.pending,
            available: row.available,
            held: row.held,
            redeemed: row.redeemed,
            expired: row.expired,
            cancelled: row.cancelled,
            repaid: row.repaid,
            policy_version: row.policy_version,
            live_since: row.live_since.map(jiff_sqlx::Timestamp::to_jiff),
            terms: LotTerms {
                vests_at: row.vests_at.map(jiff_sqlx::Timestamp::to_jiff),
                vest_by: row.vest_by.map(jiff_sqlx::Timestamp::to_jiff),
                expires_at: row.expires_at.map(jiff_sqlx::Timestamp::to_jiff),
                slides: row.slides,
                expiry_rule: row.expiry_rule,
            },
            made_up: made_up.unwrap_or_default(),
        };
        Ok(Self { key: (AccountId(row.account_id), row.lot_seq), lot, read_for: row.read_for })
    }
}

fn into_lots(rows: Vec<LotRow>) -> Result<Vec<FoundLot>, StoreError> {
    Ok(rows.into_iter().map(FoundLot::try_from).collect::<Result<_, _>>()?)
}

pub(super) fn columns(keys: &BTreeSet<(AccountId, i64)>) -> (Vec<Uuid>, Vec<i64>) {
    keys.iter().map(|(account_id, seq)| (account_id.0, *seq)).unzip()
}

fn ids(accounts: &[AccountId]) -> Vec<Uuid> {
    accounts.iter().map(|account| account.0).collect()
}

/// Which lots are read besides those that are due.
pub(super) struct LotRequest<'a> {
    /// Lots by the numbers of the entries that made them.
    pub(super) asked: &'a BTreeSet<(AccountId, i64)>,
    /// Points that are spent, by account.
    pub(super) spends: &'a BTreeMap<AccountId, i64>,
    /// Accounts of which the lots that slide are read.
    pub(super) sliding: &'a [AccountId],
    /// The most lots of an account that are due, and the most that slide.
    pub(super) limit: i64,
}

/// Reads lots, each account's in the order in which they are due or spent. A lot that is read for two reasons comes
/// twice.
pub(super) async fn read_lots(
    connection: &mut PgConnection,
    scope: &Scope,
    request: LotRequest<'_>,
) -> Result<Vec<FoundLot>, StoreError> {
    if scope.depth == Depth::Whole {
        return read_all_lots(connection, &scope.accounts).await;
    }
    let (asked_accounts, asked_lots) = columns(request.asked);
    let (spenders, spends): (Vec<Uuid>, Vec<i64>) =
        request.spends.iter().map(|(account_id, points)| (account_id.0, *points)).unzip();
    let rows = select_lots!(
        "read_for",
        "(
               SELECT 'asked' AS read_for, l.*
               FROM unnest($1::uuid[], $2::bigint[]) AS u (account_id, lot_seq)
               JOIN lots l ON l.account_id = u.account_id AND l.lot_seq = u.lot_seq
               UNION ALL
               SELECT 'due', l.*
               FROM unnest($3::uuid[]) AS u (account_id)
               CROSS JOIN LATERAL (
                   SELECT * FROM lots d WHERE d.account_id = u.account_id AND d.due_at IS NOT NULL
                   ORDER BY d.due_at, d.pending = 0, d.lot_seq LIMIT $7
               ) l
               UNION ALL
               SELECT 'sliding', l.*
               FROM unnest($4::uuid[]) AS u (account_id)
               CROSS JOIN LATERAL (
                   SELECT * FROM lots s WHERE s.account_id = u.account_id AND s.available > 0 AND s.slides
                   ORDER BY s.lot_seq LIMIT $7
               ) l
               UNION ALL
               SELECT 'spend', (l.lot).*
               FROM unnest($5::uuid[], $6::bigint[]) AS u (account_id, points)
               CROSS JOIN LATERAL (
                   -- Lots in spending order, each with what is available in those before it.
                   SELECT a AS lot, sum(a.available) OVER (
                       ORDER BY CASE WHEN a.slides THEN e.slides_to ELSE a.expires_at END NULLS LAST, a.lot_seq
                       ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                   ) - a.available AS available_before
                   FROM lots a LEFT JOIN earnings e ON e.account_id = a.account_id
                   WHERE a.account_id = u.account_id AND a.available > 0
               ) l
               WHERE l.available_before < u.points
           ) found",
        &asked_accounts,
        &asked_lots,
        &ids(&scope.due),
        &ids(request.sliding),
        &spenders,
        &spends,
        request.limit,
    )
    .fetch_all(connection)
    .traced("SELECT lots")
    .await?;
    into_lots(rows)
}

async fn read_all_lots(connection: &mut PgConnection, accounts: &[AccountId]) -> Result<Vec<FoundLot>, StoreError> {
    let rows = select_lots!("'asked'", "lots WHERE account_id = ANY($1)", &ids(accounts),)
        .fetch_all(connection)
        .traced("SELECT lots")
        .await?;
    into_lots(rows)
}

/// Reads lots by the numbers of their entries, and of each account the newest lots that paid a debt, until they paid so
/// many points of it.
pub(super) async fn read_makers_up(
    connection: &mut PgConnection,
    asked: &BTreeSet<(AccountId, i64)>,
    debts: &BTreeMap<AccountId, i64>,
) -> Result<Vec<FoundLot>, StoreError> {
    let (accounts, lots) = columns(asked);
    let (debtors, debts): (Vec<Uuid>, Vec<i64>) =
        debts.iter().map(|(account_id, points)| (account_id.0, *points)).unzip();
    let rows = select_lots!(
        "read_for",
        "(
               SELECT 'asked' AS read_for, l.*
               FROM unnest($1::uuid[], $2::bigint[]) AS u (account_id, lot_seq)
               JOIN lots l ON l.account_id = u.account_id AND l.lot_seq = u.lot_seq
               UNION ALL
               SELECT 'payer', (l.lot).*
               FROM unnest($3::uuid[], $4::bigint[]) AS u (account_id, points)
               CROSS JOIN LATERAL (
                   SELECT p AS lot, sum(p.repaid) OVER (
                       ORDER BY p.lot_seq DESC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
                   ) - p.repaid AS repaid_before
                   FROM lots p WHERE p.account_id = u.account_id AND p.repaid > 0
               ) l
               WHERE l.repaid_before < u.points
           ) found",
        &accounts,
        &lots,
        &debtors,
        &debts,
    )
    .fetch_all(connection)
    .traced("SELECT lots")
    .await?;
    into_lots(rows)
}

/// A page of an account's lots, the newest first.
pub(in crate::points) async fn list_lots(
    connection: &mut PgConnection,
    account_id: AccountId,
    open_only: bool,
    before: i64,
    limit: i64,
) -> Result<Vec<(i64, Lot)>, StoreError> {
    let rows = select_lots!(
        "'asked'",
        "lots WHERE account_id = $1 AND lot_seq < $2 AND (NOT $3 OR pending + available + held > 0)
         ORDER BY lot_seq DESC LIMIT $4",
        account_id.0,
        before,
        open_only,
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT lots")
    .await?;
    Ok(into_lots(rows)?.into_iter().map(|found| (found.key.1, found.lot)).collect())
}

/// Reads holds that were asked for, and the open ones of accounts where something is due, first those that end first;
/// says which of the two.
pub(super) async fn read_holds(
    connection: &mut PgConnection,
    asked: &BTreeSet<(AccountId, i64)>,
    scope: &Scope,
    limit: i64,
) -> Result<Vec<((AccountId, i64), Hold, bool)>, StoreError> {
    let (asked_accounts, asked_holds) = columns(asked);
    let whole = if scope.depth == Depth::Whole { ids(&scope.accounts) } else { Vec::new() };
    let rows = sqlx::query!(
        r#"SELECT FALSE AS "is_due!", h.account_id AS "account_id!", h.hold_seq AS "hold_seq!", h.points AS "points!",
                  h.policy_version AS "policy_version!", h.ends_at AS "ends_at!", h.lot_seqs AS "lot_seqs!",
                  h.lot_points AS "lot_points!"
           FROM unnest($1::uuid[], $2::bigint[]) AS u (account_id, hold_seq)
           JOIN holds h ON h.account_id = u.account_id AND h.hold_seq = u.hold_seq
           UNION ALL
           SELECT FALSE, account_id, hold_seq, points, policy_version, ends_at, lot_seqs, lot_points
           FROM holds WHERE account_id = ANY($5)
           UNION ALL
           SELECT TRUE, h.account_id, h.hold_seq, h.points, h.policy_version, h.ends_at, h.lot_seqs, h.lot_points
           FROM unnest($3::uuid[]) AS u (account_id)
           CROSS JOIN LATERAL (
               SELECT * FROM holds d WHERE d.account_id = u.account_id AND cardinality(d.lot_seqs) > 0
               ORDER BY d.ends_at, d.hold_seq LIMIT $4
           ) h"#,
        &asked_accounts,
        &asked_holds,
        &ids(&scope.due),
        limit,
        &whole,
    )
    .fetch_all(connection)
    .traced("SELECT holds")
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let parts = row.lot_seqs.into_iter().zip(row.lot_points);
            let hold = Hold {
                points: row.points,
                policy_version: row.policy_version,
                ends_at: row.ends_at.to_jiff(),
                parts: parts.map(|(lot, points)| LotPart { lot, points }).collect(),
            };
            ((AccountId(row.account_id), row.hold_seq), hold, row.is_due)
        })
        .collect())
}

/// Reads what concerns all lots of accounts together.
pub(super) async fn read_earnings(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<BTreeMap<AccountId, Earning>, StoreError> {
    let rows = sqlx::query!(
        "SELECT account_id, slides_to, lapses, earned FROM earnings WHERE account_id = ANY($1)",
        &ids(accounts),
    )
    .fetch_all(connection)
    .traced("SELECT earnings")
    .await?;
    rows.into_iter()
        .map(|row| {
            let defect =
                |error: serde_json::Error| Defect::new(format!("the earnings of account {}: {error}", row.account_id));
            let earning = Earning {
                slides_to: row.slides_to.map(jiff_sqlx::Timestamp::to_jiff),
                lapses: serde_json::from_value(row.lapses).map_err(defect)?,
                earned: serde_json::from_value(row.earned).map_err(defect)?,
            };
            Ok((AccountId(row.account_id), earning))
        })
        .collect()
}

/// Reads how much of entries has been undone.
pub(super) async fn read_reversals(
    connection: &mut PgConnection,
    entries: &BTreeSet<(AccountId, i64)>,
) -> Result<ByEntry<Reversed>, StoreError> {
    let (accounts, seqs) = columns(entries);
    let rows = sqlx::query!(
        "SELECT r.account_id, r.entry_seq, r.reversed, r.by_refunds
         FROM unnest($1::uuid[], $2::bigint[]) AS u (account_id, entry_seq)
         JOIN reversals r ON r.account_id = u.account_id AND r.entry_seq = u.entry_seq",
        &accounts,
        &seqs,
    )
    .fetch_all(connection)
    .traced("SELECT reversals")
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            ((AccountId(row.account_id), row.entry_seq), Reversed { in_all: row.reversed, by_refunds: row.by_refunds })
        })
        .collect())
}

/// Reads all that has been undone on accounts.
pub(super) async fn read_all_reversals(
    connection: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<ByEntry<Reversed>, StoreError> {
    let rows = sqlx::query!(
        "SELECT account_id, entry_seq, reversed, by_refunds FROM reversals WHERE account_id = ANY($1)",
        &ids(accounts),
    )
    .fetch_all(connection)
    .traced("SELECT reversals")
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            ((AccountId(row.account_id), row.entry_seq), Reversed { in_all: row.reversed, by_refunds: row.by_refunds })
        })
        .collect())
}
