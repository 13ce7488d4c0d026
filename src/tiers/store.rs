//! The SQL of standings.

pub(super) mod days;
pub(super) mod moves;
pub(super) mod pages;
pub(super) mod past;
pub(super) mod rows;

use std::any::TypeId;
use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::civil::Date;
use sqlx::{PgConnection, PgPool, query};
use uuid::Uuid;

use self::rows::{StandingRow, standing_in, standing_rows};
use super::counting::{DayCount, History};
use super::customer_tier::SetBy;
use super::standing::Standing;
use super::state::StandingsState;
use crate::book::store::{into_entries, read_entries, select_entries};
use crate::book::{Capability, Defect, Depth, Detail, Entry, EntryReason, Scope, States, Store, Table};
use crate::clock::Clock;
use crate::database::{Fetch, ReadPart, Selection, StoreError, Traced as _, WritePart, selection, write_part};
use crate::ids::{AccountId, CustomerId, EntryId, ProgramId};
use crate::programs::agenda::Agenda;
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

fn standings_of(accounts: Vec<Uuid>) -> Selection<StandingRow> {
    standing_rows!(
        selection!("standings", StandingRow,),
        "",
        "last_seq",
        "FROM standings WHERE account_id = ANY($1)",
        [accounts],
    )
}

fn take_standings(states: &mut States, rows: Vec<StandingRow>) -> Result<(), StoreError> {
    let state: &mut StandingsState = states.get_mut()?;
    for row in rows {
        state.rows.insert(AccountId(row.account_id), standing_in!(row));
    }
    Ok(())
}

fn upsert_standings(rows: Vec<StandingRow>) -> WritePart {
    write_part!(
        "INSERT INTO standings (account_id, tier_id, since, policy_version, changed_seq, cause_seq, qualifying_spend,
             margin, points, purchases, active_days, referrals, accepted, enrolled_on, ends_at, decides_at, is_earned,
             earned_from, earned_until, former_tier_id, former_ends_at, former_is_earned, former_earned_from,
             former_earned_until, forced, forced_tier_id, forced_until, forced_seq, hidden_tier_id, last_seq)
         SELECT * FROM unnest($1::sent_standing[])
         ON CONFLICT (account_id) DO UPDATE SET tier_id = excluded.tier_id, since = excluded.since,
             policy_version = excluded.policy_version, changed_seq = excluded.changed_seq,
             cause_seq = excluded.cause_seq, qualifying_spend = excluded.qualifying_spend, margin = excluded.margin,
             points = excluded.points, purchases = excluded.purchases, active_days = excluded.active_days,
             referrals = excluded.referrals, accepted = excluded.accepted, enrolled_on = excluded.enrolled_on,
             ends_at = excluded.ends_at, decides_at = excluded.decides_at, is_earned = excluded.is_earned,
             earned_from = excluded.earned_from, earned_until = excluded.earned_until,
             former_tier_id = excluded.former_tier_id, former_ends_at = excluded.former_ends_at,
             former_is_earned = excluded.former_is_earned, former_earned_from = excluded.former_earned_from,
             former_earned_until = excluded.former_earned_until,
             forced = excluded.forced, forced_tier_id = excluded.forced_tier_id, forced_until = excluded.forced_until,
             forced_seq = excluded.forced_seq, hidden_tier_id = excluded.hidden_tier_id, last_seq = excluded.last_seq",
        rows,
    )
}

/// Takes from standings what time would do to them. They are not those that are written for another reason.
fn end_standings(accounts: Vec<Uuid>) -> WritePart {
    write_part!(
        "UPDATE standings SET ends_at = NULL, decides_at = NULL, forced_until = NULL
         WHERE account_id = ANY($1::uuid[])",
        accounts,
    )
}

fn insert_marks(rows: Vec<StandingRow>) -> WritePart {
    write_part!(
        "INSERT INTO standing_marks (account_id, tier_id, since, policy_version, changed_seq, cause_seq, qualifying_spend,
             margin, points, purchases, active_days, referrals, accepted, enrolled_on, ends_at, decides_at, is_earned,
             earned_from, earned_until, former_tier_id, former_ends_at, former_is_earned, former_earned_from,
             former_earned_until, forced, forced_tier_id, forced_until, forced_seq, hidden_tier_id, account_seq)
         SELECT account_id, tier_id, since, policy_version, changed_seq, cause_seq, qualifying_spend, margin, points,
             purchases, active_days, referrals, accepted, enrolled_on, ends_at, decides_at, is_earned, earned_from,
             earned_until, former_tier_id, former_ends_at, former_is_earned, former_earned_from,
             former_earned_until, forced, forced_tier_id, forced_until, forced_seq, hidden_tier_id, last_seq
         FROM unnest($1::sent_standing[])",
        rows,
    )
}

/// The columns of a mark, in the order of [`StandingRow`].
fn marks_of(accounts: Vec<Uuid>) -> Selection<StandingRow> {
    standing_rows!(
        selection!("standing_marks", StandingRow,),
        "",
        "account_seq AS last_seq",
        "FROM standing_marks WHERE account_id = ANY($1)",
        [accounts],
    )
}

fn take_marks(states: &mut States, rows: Vec<StandingRow>) -> Result<(), StoreError> {
    let marks = &mut states.get_mut::<StandingsState>()?.marks;
    for row in rows {
        marks.insert((AccountId(row.account_id), row.last_seq), standing_in!(row));
    }
    Ok(())
}

/// A standing after one of the account's entries, with all days that were counted until then.
///
/// # Errors
/// If the database cannot be read, or the entries contradict each other.
pub(super) async fn read_standing_at(
    snapshot: &mut PgConnection,
    account_id: AccountId,
    last: i64,
) -> Result<Option<(Standing, History)>, StoreError> {
    let found = past::read_standings_at(snapshot, &[(account_id, last)], |_| DayRange::ALL).await?;
    Ok(found.into_iter().next().map(|(_, standing, history)| (standing, history)))
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
    row.map(|row| Ok(standing_in!(row))).transpose()
}

/// What the entries say that gave or renewed tiers.
///
/// # Errors
/// If the database cannot be read.
pub(super) async fn read_decisions(
    connection: &mut PgConnection,
    entry_ids: &BTreeSet<EntryId>,
) -> Result<Vec<(EntryId, Detail)>, StoreError> {
    if entry_ids.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = entry_ids.iter().map(|id| (id.account_id, id.account_seq)).collect();
    Ok(read_entries(connection, &wanted).await?.into_iter().map(|entry| (entry.id, entry.detail)).collect())
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
pub(super) fn fetch_standings(clock: Clock) -> Fetch<(ProgramId, CustomerId), FoundStanding> {
    Arc::new(move |pool: PgPool, keys: Arc<[(ProgramId, CustomerId)]>| {
        let clock = clock.clone();
        Box::pin(async move {
            let programs: Vec<&str> = keys.iter().map(|(program_id, _)| program_id.as_str()).collect();
            let customers: Vec<&str> = keys.iter().map(|(_, customer_id)| customer_id.as_str()).collect();
            // Each lookup stands alone, whatever the planner knew of the tables when it planned this: see `by_key`.
            let rows = standing_rows!(
                query!(),
                "place AS \"place!\", told AS \"told!\", versions, starts AS \"starts!: Vec<jiff_sqlx::Timestamp>\", decided, ",
                "last_seq",
                "FROM (SELECT clock_timestamp() AS told OFFSET 0) t
                 CROSS JOIN unnest($1::text[], $2::text[]) WITH ORDINALITY AS u (program, name, place)
                 JOIN LATERAL (
                     SELECT f.account_id AS named FROM names f
                     WHERE f.program_id = u.program AND f.space = 'customer' AND f.name = u.name OFFSET 0
                 ) n ON TRUE
                 JOIN LATERAL (SELECT * FROM standings f WHERE f.account_id = n.named OFFSET 0) s ON TRUE
                 JOIN LATERAL (
                     SELECT f.versions, f.starts FROM programs f WHERE f.program_id = u.program OFFSET 0
                 ) p ON TRUE
                 LEFT JOIN LATERAL (
                     SELECT f.detail::text AS decided FROM ledger_entries f
                     WHERE f.account_id = s.account_id AND f.account_seq = s.changed_seq OFFSET 0
                 ) e ON TRUE",
                &programs as _,
                &customers as _,
            )
            .fetch_all(&pool)
            .traced("SELECT standings")
            .await?;
            let mut found = vec![None; keys.len()];
            for row in rows {
                let standing = standing_in!(row);
                let place = usize::try_from(row.place - 1).unwrap_or(usize::MAX);
                if let Some(slot) = found.get_mut(place) {
                    let (account_id, told) = (AccountId(row.account_id), row.told.to_jiff());
                    // One that only a newer version understands explains nothing here.
                    let decided = row.decided.and_then(|detail| Detail::from_json(&detail).ok());
                    let agenda = Agenda::new(&row.versions, row.starts.into_iter().map(jiff_sqlx::Timestamp::to_jiff));
                    let current_version = agenda.at(clock.present(told)).map_or(0, |planned| planned.version);
                    let dues = Vec::new();
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

/// Reads how many overrides came about in one statement, by the entries that set them.
#[must_use]
pub(super) fn fetch_set_by() -> Fetch<EntryId, SetBy> {
    Arc::new(|pool: PgPool, keys: Arc<[EntryId]>| {
        Box::pin(async move {
            let (accounts, seqs): (Vec<Uuid>, Vec<i64>) =
                keys.iter().map(|id| (id.account_id.0, id.account_seq)).unzip();
            let rows = query!(
                r#"SELECT u.place AS "place!", e.effective_at, e.policy_version, e.reason, n.author AS "author?",
                          n.note AS "note?"
                   FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS u (account_id, account_seq, place)
                   JOIN LATERAL (
                       SELECT * FROM ledger_entries f
                       WHERE f.account_id = u.account_id AND f.account_seq = u.account_seq OFFSET 0
                   ) e ON TRUE
                   LEFT JOIN LATERAL (
                       SELECT * FROM entry_notes f
                       WHERE f.account_id = u.account_id AND f.account_seq = u.account_seq OFFSET 0
                   ) n ON TRUE"#,
                &accounts,
                &seqs,
            )
            .fetch_all(&pool)
            .traced("SELECT ledger_entries")
            .await?;
            let mut found = vec![None; keys.len()];
            for row in rows {
                let place = usize::try_from(row.place - 1).unwrap_or(usize::MAX);
                let Some((slot, entry_id)) = found.get_mut(place).zip(keys.get(place)) else { continue };
                let reason = EntryReason::from_stored(&row.reason)
                    .ok_or_else(|| Defect::new(format!("entry {entry_id} has the reason {:?}", row.reason)))?;
                *slot = Some(SetBy {
                    entry_id: *entry_id,
                    set_at: row.effective_at.to_jiff(),
                    policy_version: row.policy_version,
                    reason,
                    author: row.author.unwrap_or_default(),
                    note: row.note.unwrap_or_default(),
                });
            }
            Ok(found)
        })
    })
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
           AND kind IN ('tier_changed', 'tier_imported', 'tier_overridden', 'tier_released')
           AND (kind <> 'tier_imported' OR detail->>'hidden' IS NOT NULL OR detail->>'from' IS DISTINCT FROM detail->>'to')
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
