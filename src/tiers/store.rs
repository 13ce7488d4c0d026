//! The SQL of standings.

mod days;

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::counting::{Counted, DayCount, History};
use super::standing::{Former, Standing};
use super::state::{StandingsState, last_of_block};
use crate::book::store::{into_entries, read_entries, read_entries_between, select_entries};
use crate::book::{Capability, Defect, Depth, Detail, Entry, Outlook, Scope, State as _, States, Store, Table};
use crate::database::{Fetch, ReadPart, Selection, StoreError, Traced as _, WritePart, selection, sent_as, write_part};
use crate::ids::{AccountId, CustomerId, EntryId, ProgramId, TierId};
use crate::programs::state::ProgramsState;
use crate::programs::tier_policy::windows::DayRange;

/// The tables of tiers.
const TABLES: &[Table] = &[
    Table::projection("standings", "'standing'"),
    Table::projection("standing_marks", "format('standing after entry %s', account_seq)"),
    Table::projection("standing_days", "format('standing day %s', day)"),
    Table::projection(
        "standing_day_marks",
        "format('standing day after entry %s %s', day, lpad(last_seq::text, 19, '0'))",
    ),
];

/// The room as the book knows it.
#[must_use]
pub(crate) fn capability() -> Capability {
    Capability::new(StandingsState::default, StandingsStore, TABLES)
}

struct StandingsStore;

#[async_trait]
impl Store for StandingsStore {
    fn reads(&self) -> Vec<TypeId> {
        vec![TypeId::of::<ProgramsState>()]
    }

    fn read_parts(&self, states: &States, scope: &Scope) -> Result<Vec<ReadPart<States>>, StoreError> {
        let ids: Vec<Uuid> = scope.accounts.iter().map(|account| account.0).collect();
        let mut parts = vec![standings_of(ids.clone()).into_part(take_standings)];
        if scope.depth == Depth::Whole {
            parts.push(marks_of(ids).into_part(take_marks));
        }
        parts.extend(days::parts(states.get()?, states.get_loaded()?, scope));
        Ok(parts)
    }

    async fn load(&self, states: &mut States, scope: &Scope, connection: &mut PgConnection) -> Result<(), StoreError> {
        days::load(states, scope, connection).await
    }

    fn write_parts(&self, states: &States) -> Result<Vec<WritePart>, StoreError> {
        let state: &StandingsState = states.get()?;
        let changed = state.changed.iter().filter_map(|id| Some(StandingRow::new(*id, state.rows.get(id)?)));
        // A mark is numbered by the last entry that changed it.
        let new_marks = state.new_marks.iter().filter_map(|key| Some(StandingRow::new(key.0, state.marks.get(key)?)));
        let ended = state.ended.difference(&state.changed).map(|account_id| account_id.0).collect();
        let own = [upsert_standings(changed.collect()), insert_marks(new_marks.collect()), end_standings(ended)];
        Ok(own.into_iter().chain(days::write_parts(state)).collect())
    }
}

fn parse_tier_id(account_id: Uuid, text: String) -> Result<TierId, Defect> {
    TierId::try_from(text).map_err(|error| Defect::new(format!("the standing of account {account_id}: {error}")))
}

/// The standing in a row: its columns are the same wherever it is stored. The last names the entry after which it was so.
macro_rules! standing_in {
    ($row:ident, $last_seq:ident) => {
        Standing {
            tier_id: parse_tier_id($row.account_id, $row.tier_id)?,
            since: $row.since.to_jiff(),
            policy_version: $row.policy_version,
            changed_seq: $row.changed_seq,
            cause_seq: $row.cause_seq,
            totals: Counted {
                spend: $row.qualifying_spend,
                margin: $row.margin,
                points: $row.points,
                purchases: $row.purchases,
                active_days: $row.active_days,
                referrals: $row.referrals,
            },
            accepted: $row.accepted,
            enrolled_on: $row.enrolled_on.map(|day| day.to_jiff()),
            outlook: Outlook {
                ends_at: $row.ends_at.map(|instant| instant.to_jiff()),
                decides_at: $row.decides_at.map(|instant| instant.to_jiff()),
            },
            earned: $row.is_earned.then(|| DayRange {
                from: $row.earned_from.map(|day| day.to_jiff()),
                until: $row.earned_until.map(|day| day.to_jiff()),
            }),
            former: match $row.former_tier_id {
                Some(tier_id) => Some(Former {
                    tier_id: parse_tier_id($row.account_id, tier_id)?,
                    ends_at: $row.former_ends_at.map(|instant| instant.to_jiff()),
                }),
                None => None,
            },
            last_seq: $row.$last_seq,
        }
    };
}

/// A standing as it is stored, and as it is sent.
#[derive(sqlx::Encode, sqlx::Decode)]
struct StandingRow {
    account_id: Uuid,
    tier_id: String,
    since: jiff_sqlx::Timestamp,
    policy_version: i32,
    changed_seq: i64,
    cause_seq: i64,
    qualifying_spend: i64,
    margin: i64,
    points: i64,
    purchases: i64,
    active_days: i64,
    referrals: i64,
    accepted: i64,
    enrolled_on: Option<jiff_sqlx::Date>,
    ends_at: Option<jiff_sqlx::Timestamp>,
    decides_at: Option<jiff_sqlx::Timestamp>,
    is_earned: bool,
    earned_from: Option<jiff_sqlx::Date>,
    earned_until: Option<jiff_sqlx::Date>,
    former_tier_id: Option<String>,
    former_ends_at: Option<jiff_sqlx::Timestamp>,
    last_seq: i64,
}

sent_as!(StandingRow, "sent_standing");

impl StandingRow {
    fn new(account_id: AccountId, standing: &Standing) -> Self {
        let Standing { totals, outlook, earned, former, .. } = standing;
        Self {
            account_id: account_id.0,
            tier_id: standing.tier_id.as_str().to_owned(),
            since: standing.since.to_sqlx(),
            policy_version: standing.policy_version,
            changed_seq: standing.changed_seq,
            cause_seq: standing.cause_seq,
            qualifying_spend: totals.spend,
            margin: totals.margin,
            points: totals.points,
            purchases: totals.purchases,
            active_days: totals.active_days,
            referrals: totals.referrals,
            accepted: standing.accepted,
            enrolled_on: standing.enrolled_on.map(|day| day.to_sqlx()),
            ends_at: outlook.ends_at.map(|instant| instant.to_sqlx()),
            decides_at: outlook.decides_at.map(|instant| instant.to_sqlx()),
            is_earned: earned.is_some(),
            earned_from: earned.and_then(|window| window.from).map(|day| day.to_sqlx()),
            earned_until: earned.and_then(|window| window.until).map(|day| day.to_sqlx()),
            former_tier_id: former.as_ref().map(|former| former.tier_id.as_str().to_owned()),
            former_ends_at: former.as_ref().and_then(|former| former.ends_at).map(|instant| instant.to_sqlx()),
            last_seq: standing.last_seq,
        }
    }
}

fn standings_of(accounts: Vec<Uuid>) -> Selection<StandingRow> {
    selection!(
        "standings",
        StandingRow,
        "SELECT account_id, tier_id, since, policy_version, changed_seq, cause_seq, qualifying_spend, margin, points,
             purchases, active_days, referrals, accepted, enrolled_on, ends_at, decides_at, is_earned, earned_from,
             earned_until, former_tier_id, former_ends_at, last_seq
         FROM standings WHERE account_id = ANY($1)",
        [accounts],
    )
}

fn take_standings(states: &mut States, rows: Vec<StandingRow>) -> Result<(), StoreError> {
    let state: &mut StandingsState = states.get_mut()?;
    for row in rows {
        state.rows.insert(AccountId(row.account_id), standing_in!(row, last_seq));
    }
    Ok(())
}

fn upsert_standings(rows: Vec<StandingRow>) -> WritePart {
    write_part!(
        "INSERT INTO standings (account_id, tier_id, since, policy_version, changed_seq, cause_seq, qualifying_spend,
             margin, points, purchases, active_days, referrals, accepted, enrolled_on, ends_at, decides_at, is_earned,
             earned_from, earned_until, former_tier_id, former_ends_at, last_seq)
         SELECT * FROM unnest($1::sent_standing[])
         ON CONFLICT (account_id) DO UPDATE SET tier_id = excluded.tier_id, since = excluded.since,
             policy_version = excluded.policy_version, changed_seq = excluded.changed_seq,
             cause_seq = excluded.cause_seq, qualifying_spend = excluded.qualifying_spend, margin = excluded.margin,
             points = excluded.points, purchases = excluded.purchases, active_days = excluded.active_days,
             referrals = excluded.referrals, accepted = excluded.accepted, enrolled_on = excluded.enrolled_on,
             ends_at = excluded.ends_at, decides_at = excluded.decides_at, is_earned = excluded.is_earned, earned_from = excluded.earned_from,
             earned_until = excluded.earned_until, former_tier_id = excluded.former_tier_id,
             former_ends_at = excluded.former_ends_at, last_seq = excluded.last_seq",
        rows,
    )
}

/// Takes from standings what time would do to them. They are not those that are written for another reason.
fn end_standings(accounts: Vec<Uuid>) -> WritePart {
    write_part!("UPDATE standings SET ends_at = NULL, decides_at = NULL WHERE account_id = ANY($1::uuid[])", accounts,)
}

fn insert_marks(rows: Vec<StandingRow>) -> WritePart {
    write_part!(
        "INSERT INTO standing_marks (account_id, account_seq, tier_id, since, policy_version, changed_seq, cause_seq,
             qualifying_spend, margin, points, purchases, active_days, referrals, accepted, enrolled_on, ends_at, decides_at,
             is_earned, earned_from, earned_until, former_tier_id, former_ends_at)
         SELECT account_id, last_seq, tier_id, since, policy_version, changed_seq, cause_seq, qualifying_spend, margin,
             points, purchases, active_days, referrals, accepted, enrolled_on, ends_at, decides_at, is_earned, earned_from,
             earned_until, former_tier_id, former_ends_at
         FROM unnest($1::sent_standing[])",
        rows,
    )
}

/// The columns of a mark, in the order of [`StandingRow`].
fn marks_of(accounts: Vec<Uuid>) -> Selection<StandingRow> {
    selection!(
        "standing_marks",
        StandingRow,
        "SELECT account_id, tier_id, since, policy_version, changed_seq, cause_seq, qualifying_spend, margin, points,
             purchases, active_days, referrals, accepted, enrolled_on, ends_at, decides_at, is_earned, earned_from,
             earned_until, former_tier_id, former_ends_at, account_seq AS last_seq
         FROM standing_marks WHERE account_id = ANY($1)",
        [accounts],
    )
}

fn take_marks(states: &mut States, rows: Vec<StandingRow>) -> Result<(), StoreError> {
    let marks = &mut states.get_mut::<StandingsState>()?.marks;
    for row in rows {
        marks.insert((AccountId(row.account_id), row.last_seq), standing_in!(row, last_seq));
    }
    Ok(())
}

/// A standing after one of the account's entries: the last that is kept until then, and what changed it since. None
/// before the first.
///
/// # Errors
/// If the database cannot be read, or the entries contradict each other.
pub(super) async fn read_standing_at(
    snapshot: &mut PgConnection,
    account_id: AccountId,
    last: i64,
) -> Result<Option<(Standing, History)>, StoreError> {
    let mark = sqlx::query_as!(
        StandingRow,
        r#"SELECT account_id, tier_id, since, policy_version, changed_seq, cause_seq, qualifying_spend, margin, points,
             purchases, active_days, referrals, accepted, enrolled_on, ends_at, decides_at, is_earned, earned_from,
             earned_until, former_tier_id, former_ends_at, account_seq AS "last_seq!"
         FROM standing_marks WHERE account_id = $1 AND account_seq <= $2 ORDER BY account_seq DESC LIMIT 1"#,
        account_id.0,
        last,
    )
    .fetch_optional(&mut *snapshot)
    .traced("SELECT standing_marks")
    .await?;
    let Some(mark) = mark else { return Ok(None) };
    let standing: Standing = standing_in!(mark, last_seq);
    let marked = standing.last_seq;
    // Behind these entries it changed first in one that is marked, too.
    let entries = read_entries_between(snapshot, account_id, marked + 1, last.min(last_of_block(marked))).await?;
    let mut state = StandingsState { rows: BTreeMap::from([(account_id, standing)]), ..StandingsState::default() };
    days::load_at(&mut state, snapshot, account_id, marked).await?;
    for entry in &entries {
        state.apply(entry)?;
    }
    let history = state.history(account_id);
    Ok(state.rows.remove(&account_id).map(|standing| (standing, history)))
}

/// The standing of an account, as it is stored.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn read_standing(
    connection: &mut PgConnection,
    account_id: AccountId,
) -> Result<Option<Standing>, StoreError> {
    let row = standings_of(vec![account_id.0]).fetch(connection).await?.pop();
    row.map(|row| Ok(standing_in!(row, last_seq))).transpose()
}

/// What the entry says that gave or renewed a tier.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn read_decision(
    connection: &mut PgConnection,
    entry_id: EntryId,
) -> Result<Option<Detail>, StoreError> {
    let wanted = BTreeSet::from([(entry_id.account_id, entry_id.account_seq)]);
    Ok(read_entries(connection, &wanted).await?.into_iter().next().map(|entry| entry.detail))
}

/// A standing as a read finds it.
#[derive(Clone, Debug)]
pub(super) struct FoundStanding {
    /// The customer's account.
    pub account_id: AccountId,
    /// The standing, as it is stored.
    pub standing: Standing,
    /// The program version in force.
    pub current_version: i32,
    /// What the database's clock told as it was read; the instant, where it was read for one.
    pub told: Timestamp,
    /// What the entry says that gave the tier or renewed it.
    pub decided: Option<Detail>,
    /// What time has done to the account that is not written yet.
    pub dues: Vec<Entry>,
}

/// Reads many customers' standings in one statement.
#[must_use]
pub(super) fn fetch_standings() -> Fetch<(ProgramId, CustomerId), FoundStanding> {
    Arc::new(|pool: PgPool, keys: Arc<[(ProgramId, CustomerId)]>| {
        Box::pin(async move {
            let programs: Vec<&str> = keys.iter().map(|(program_id, _)| program_id.as_str()).collect();
            let customers: Vec<&str> = keys.iter().map(|(_, customer_id)| customer_id.as_str()).collect();
            let rows = sqlx::query!(
                r#"SELECT u.place AS "place!", (SELECT clock_timestamp()) AS "told!", s.account_id, s.tier_id, s.since,
                          s.policy_version, s.changed_seq, s.cause_seq, s.qualifying_spend, s.margin, s.points,
                          s.purchases, s.active_days, s.referrals, s.accepted, s.enrolled_on, s.ends_at, s.decides_at,
                          s.is_earned, s.earned_from, s.earned_until, s.former_tier_id, s.former_ends_at, s.last_seq, p.version,
                          e.detail::text AS "detail?"
                   FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS u (program_id, name, place)
                   -- Each lookup stands alone, whatever the planner knew of the tables when it planned this: see `by_key`.
                   JOIN LATERAL (
                       SELECT f.account_id FROM names f
                       WHERE f.program_id = u.program_id AND f.space = 'customer' AND f.name = u.name OFFSET 0
                   ) n ON TRUE
                   JOIN LATERAL (SELECT * FROM standings f WHERE f.account_id = n.account_id OFFSET 0) s ON TRUE
                   JOIN LATERAL (SELECT * FROM programs f WHERE f.program_id = u.program_id OFFSET 0) p ON TRUE
                   LEFT JOIN LATERAL (
                       SELECT f.detail FROM ledger_entries f
                       WHERE f.account_id = s.account_id AND f.account_seq = s.changed_seq OFFSET 0
                   ) e ON TRUE"#,
                &programs as _,
                &customers as _,
            )
            .fetch_all(&pool)
            .traced("SELECT standings")
            .await?;
            let mut found = vec![None; keys.len()];
            for row in rows {
                let standing = standing_in!(row, last_seq);
                let place = usize::try_from(row.place - 1).unwrap_or(usize::MAX);
                if let Some(slot) = found.get_mut(place) {
                    let (account_id, told) = (AccountId(row.account_id), row.told.to_jiff());
                    // One that only a newer version understands explains nothing here.
                    let decided = row.detail.and_then(|detail| Detail::from_json(&detail).ok());
                    let (current_version, dues) = (row.version, Vec::new());
                    *slot = Some(FoundStanding { account_id, standing, current_version, told, decided, dues });
                }
            }
            Ok(found)
        })
    })
}

/// Reads what was counted on many customers' days in one statement, of each from a day on.
#[must_use]
pub(super) fn fetch_days() -> Fetch<(AccountId, Date), Vec<(Date, DayCount)>> {
    Arc::new(|pool: PgPool, keys: Arc<[(AccountId, Date)]>| Box::pin(async move { days::fetch(&pool, &keys).await }))
}

/// A page of an account's changes of tier, the newest first.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn list_changes(
    connection: &mut PgConnection,
    account_id: AccountId,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Entry>, StoreError> {
    let rows = select_entries!(
        "FROM ledger_entries e
         WHERE account_id = $1 AND account_seq < $2
           AND kind IN ('tier_changed', 'tier_imported')
           AND (kind = 'tier_changed' OR detail->>'from' IS DISTINCT FROM detail->>'to')
         ORDER BY account_seq DESC LIMIT $3",
        account_id.0,
        before.unwrap_or(i64::MAX),
        limit,
    )
    .fetch_all(connection)
    .traced("SELECT ledger_entries")
    .await?;
    into_entries(rows)
}
