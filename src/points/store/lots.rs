//! The statements that read lots.

pub(super) mod spending;

use std::collections::{BTreeMap, BTreeSet};

use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, query_as};
use uuid::Uuid;

use super::rows::{columns, ids};
use crate::book::{Defect, Depth, LotTerms, Scope};
use crate::database::{StoreError, Traced as _};
use crate::ids::AccountId;
use crate::points::lots::{Lot, MAX_SPEND_LOTS, ReadTo};

/// Why a lot was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub(super) enum ReadFor {
    /// A command asked for it, or everything is read.
    Asked,
    /// It vests, or misses its event.
    Vesting,
    /// It expires by its own terms.
    Expiring,
    /// It is the first to vest or to expire later: read only to know when.
    Later,
    /// It expires together with all others that slide.
    Sliding,
    /// A spend may take points of it. It does not slide.
    Fixed,
    /// A spend may take points of it. It slides.
    Slide,
    /// It paid a debt, and gets its points back if the debt is forgiven.
    Payer,
}

/// A lot as a statement finds it.
pub(super) struct FoundLot {
    pub(super) key: (AccountId, i64),
    pub(super) lot: Lot,
    pub(super) read_for: ReadFor,
}

/// A lot as Postgres returns it.
#[derive(sqlx::Decode)]
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
    uses: Option<Vec<i64>>,
}

/// What makes a checked statement is given the columns of [`LotRow`]s: the macro and what comes before the text; why the
/// lots are read, what the columns are of and all that follows it; then the arguments.
macro_rules! lot_rows {
    ($make:ident!($($before:tt)*), $read_for:literal, $from:literal $($arguments:tt)*) => {
        $make!(
            $($before)*
            "SELECT " + $read_for + r#" AS "read_for!: ReadFor", account_id AS "account_id!", lot_seq AS "lot_seq!",
                      points AS "points!", pending AS "pending!", available AS "available!", held AS "held!",
                      redeemed AS "redeemed!", expired AS "expired!", cancelled AS "cancelled!", repaid AS "repaid!",
                      policy_version AS "policy_version!", live_since, vests_at, vest_by, expires_at,
                      slides AS "slides!", expiry_rule, made_up, uses
               FROM "# + $from
            $($arguments)*
        )
    };
}
use lot_rows;

/// A checked statement that reads [`LotRow`]s, as [`lot_rows`] has it.
macro_rules! select_lots {
    ($($statement:tt)*) => { lot_rows!(query_as!(LotRow,), $($statement)*) };
}

impl TryFrom<LotRow> for FoundLot {
    type Error = Defect;

    fn try_from(row: LotRow) -> Result<Self, Defect> {
        let made_up = row.made_up.map(serde_json::from_value).transpose().map_err(|error| {
            let what = format_args!("what makes up for lot {} of account {}", row.lot_seq, row.account_id);
            Defect::unread(what, &error)
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
            uses: row.uses.unwrap_or_default(),
        };
        Ok(Self { key: (AccountId(row.account_id), row.lot_seq), lot, read_for: row.read_for })
    }
}

fn into_lots(rows: Vec<LotRow>) -> Result<Vec<FoundLot>, StoreError> {
    Ok(rows.into_iter().map(FoundLot::try_from).collect::<Result<_, _>>()?)
}

/// Which lots are read besides those that are due.
pub(super) struct LotRequest<'a> {
    /// Lots by the numbers of the entries that made them.
    pub(super) asked: &'a BTreeSet<(AccountId, i64)>,
    /// Accounts of which the lots that slide are read.
    pub(super) sliding: &'a [AccountId],
    /// The most lots of an account that vest, that expire, and that slide.
    pub(super) limit: i64,
}

/// Reads lots that were asked for, and those on which something is due by the scope's latest instant: each account's in
/// the order in which they are due, and one more that is due later. A lot that is read for two reasons comes twice.
pub(super) async fn read_lots(
    connection: &mut PgConnection,
    scope: &Scope,
    request: LotRequest<'_>,
) -> Result<Vec<FoundLot>, StoreError> {
    if scope.depth == Depth::Whole {
        return read_all_lots(connection, &scope.accounts).await;
    }
    let (asked_accounts, asked_lots) = columns(request.asked);
    let rows = select_lots!(
        "read_for",
        "(
               SELECT 'asked' AS read_for, l.*
               FROM unnest($1::uuid[], $2::bigint[]) AS u (account_id, lot_seq)
               JOIN lots l ON l.account_id = u.account_id AND l.lot_seq = u.lot_seq
               UNION ALL
               SELECT 'vesting', l.*
               FROM unnest($3::uuid[]) AS u (account_id)
               CROSS JOIN LATERAL (
                   SELECT * FROM lots d
                   WHERE d.account_id = u.account_id AND d.pending > 0 AND coalesce(d.vests_at, d.vest_by) <= $6
                   ORDER BY coalesce(d.vests_at, d.vest_by), d.lot_seq LIMIT $5
               ) l
               UNION ALL
               SELECT 'later', l.*
               FROM unnest($3::uuid[]) AS u (account_id)
               CROSS JOIN LATERAL (
                   SELECT * FROM lots d
                   WHERE d.account_id = u.account_id AND d.pending > 0 AND coalesce(d.vests_at, d.vest_by) > $6
                   ORDER BY coalesce(d.vests_at, d.vest_by), d.lot_seq LIMIT 1
               ) l
               UNION ALL
               SELECT 'expiring', l.*
               FROM unnest($3::uuid[]) AS u (account_id)
               CROSS JOIN LATERAL (
                   SELECT * FROM lots d
                   WHERE d.account_id = u.account_id AND d.has_available AND NOT d.slides
                     AND coalesce(d.expires_at, 'infinity') <= $6
                   ORDER BY coalesce(d.expires_at, 'infinity'), d.lot_seq LIMIT $5
               ) l
               UNION ALL
               SELECT 'later', l.*
               FROM unnest($3::uuid[]) AS u (account_id)
               CROSS JOIN LATERAL (
                   SELECT * FROM lots d
                   WHERE d.account_id = u.account_id AND d.has_available AND NOT d.slides
                     AND coalesce(d.expires_at, 'infinity') > $6
                   ORDER BY coalesce(d.expires_at, 'infinity'), d.lot_seq LIMIT 1
               ) l
               UNION ALL
               SELECT 'sliding', l.*
               FROM unnest($4::uuid[]) AS u (account_id)
               CROSS JOIN LATERAL (
                   SELECT * FROM lots s WHERE s.account_id = u.account_id AND s.has_available AND s.slides
                   ORDER BY s.lot_seq LIMIT $5
               ) l
           ) found",
        &asked_accounts,
        &asked_lots,
        &ids(&scope.due),
        &ids(request.sliding),
        request.limit,
        scope.latest.to_sqlx() as _,
    )
    .fetch_all(connection)
    .traced("SELECT lots")
    .await?;
    into_lots(rows)
}

/// The most lots that are looked through for what time does next, of those that vest, that expire and that slide.
pub(super) const MAX_NEXT: i64 = 1_000;

/// Reads the lots that time does something to next: the first that vest, that expire, and that slide. Says how far.
pub(super) async fn read_next(
    connection: &mut PgConnection,
    account_id: AccountId,
) -> Result<(Vec<FoundLot>, ReadTo), StoreError> {
    let rows = select_lots!(
        "read_for",
        "(
               (SELECT 'vesting' AS read_for, * FROM lots WHERE account_id = $1 AND pending > 0
                ORDER BY coalesce(vests_at, vest_by), lot_seq LIMIT $2)
               UNION ALL
               (SELECT 'expiring', * FROM lots WHERE account_id = $1 AND has_available AND NOT slides
                  AND coalesce(expires_at, 'infinity') < 'infinity'
                ORDER BY coalesce(expires_at, 'infinity'), lot_seq LIMIT $2)
               UNION ALL
               (SELECT 'sliding', * FROM lots WHERE account_id = $1 AND has_available AND slides
                ORDER BY lot_seq LIMIT $2)
           ) found",
        account_id.0,
        MAX_NEXT,
    )
    .fetch_all(connection)
    .traced("SELECT lots")
    .await?;
    let mut read_to = ReadTo::default();
    let found = into_lots(rows)?;
    let full = |read_for| {
        let of_this: Vec<&FoundLot> = found.iter().filter(|found| found.read_for == read_for).collect();
        let is_full = i64::try_from(of_this.len()).is_ok_and(|count| count >= MAX_NEXT);
        of_this.last().filter(|_| is_full).copied()
    };
    read_to.vesting = full(ReadFor::Vesting).and_then(|last| last.lot.due()).map(|due| due.at);
    read_to.expiring = full(ReadFor::Expiring).and_then(|last| last.lot.due()).map(|due| due.at);
    read_to.has_more_sliding = full(ReadFor::Sliding).is_some();
    Ok((found, read_to))
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
                   FROM (
                       SELECT * FROM lots WHERE account_id = u.account_id AND repaid > 0
                       ORDER BY lot_seq DESC LIMIT $5
                   ) p
               ) l
               WHERE l.repaid_before < u.points
           ) found",
        &accounts,
        &lots,
        &debtors,
        &debts,
        MAX_SPEND_LOTS,
    )
    .fetch_all(connection)
    .traced("SELECT lots")
    .await?;
    into_lots(rows)
}

/// A page of an account's lots, the newest first, down to the one of a number.
pub(in crate::points) async fn list_lots(
    connection: &mut PgConnection,
    account_id: AccountId,
    open_only: bool,
    before: i64,
    down_to: i64,
    limit: i64,
) -> Result<Vec<(i64, Lot)>, StoreError> {
    let rows = select_lots!(
        "'asked'",
        "lots WHERE account_id = $1 AND lot_seq < $2 AND lot_seq >= $3 AND (NOT $4 OR pending + available + held > 0)
         ORDER BY lot_seq DESC LIMIT $5",
        account_id.0,
        before,
        down_to,
        open_only,
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT lots")
    .await?;
    Ok(into_lots(rows)?.into_iter().map(|found| (found.key.1, found.lot)).collect())
}

/// The number of the last of so many lots before one, the newest first; none if there are fewer.
pub(in crate::points) async fn find_lot_back(
    connection: &mut PgConnection,
    account_id: AccountId,
    before: i64,
    count: i64,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT lot_seq FROM lots WHERE account_id = $1 AND lot_seq < $2 ORDER BY lot_seq DESC
         OFFSET $3::bigint LIMIT 1",
        account_id.0,
        before,
        count - 1,
    )
    .fetch_optional(connection)
    .traced("SELECT lots")
    .await
}
