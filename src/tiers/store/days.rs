//! Which days are read of what was counted for tiers. A batch reads those of the windows that its decisions look at, and
//! those on which its activities count. A window has as many rows as days, however much happened.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::{Date, date};
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::book::{Depth, Scope, States};
use crate::database::{ReadPart, Selection, StoreError, Traced as _, WritePart, selection, sent_as, write_part};
use crate::ids::{AccountId, ProgramId};
use crate::programs::model::ProgramVersion;
use crate::programs::read_versions_between;
use crate::programs::state::ProgramsState;
use crate::programs::tier_policy::TierWindow;
use crate::programs::tier_policy::windows::DayRange;
use crate::tiers::counting::DayCount;
use crate::tiers::deciding::calendar_of;
use crate::tiers::standing::Standing;
use crate::tiers::state::{DueVersions, StandingsState};

/// The first local day on which anything may happen, for a window that is open: instants begin with the year 1, by UTC.
pub(super) const FIRST_DAY: Date = date(0, 12, 31);
/// The last day that the calendar knows.
const BEHIND_LAST_DAY: Date = date(9999, 12, 31);
/// The most versions of a program that one batch looks at for what is due. What later ones decide is for the next.
const MAX_VERSIONS: i64 = 64;

/// A day as it is stored, and as it is sent.
#[derive(sqlx::Encode, sqlx::Decode)]
pub(super) struct DayRow {
    pub(super) account_id: Uuid,
    pub(super) day: jiff_sqlx::Date,
    pub(super) spend: i64,
    pub(super) margin: i64,
    pub(super) points: i64,
    pub(super) purchases: i64,
    pub(super) visits: i64,
    pub(super) referrals: i64,
    pub(super) last_seq: i64,
}

sent_as!(DayRow, "sent_standing_day");

impl DayRow {
    fn new(account_id: AccountId, day: Date, count: &DayCount) -> Self {
        Self {
            account_id: account_id.0,
            day: day.to_sqlx(),
            spend: count.spend,
            margin: count.margin,
            points: count.points,
            purchases: count.purchases,
            visits: count.visits,
            referrals: count.referrals,
            last_seq: count.last_seq,
        }
    }

    pub(super) const fn count(&self) -> DayCount {
        DayCount {
            spend: self.spend,
            margin: self.margin,
            points: self.points,
            purchases: self.purchases,
            visits: self.visits,
            referrals: self.referrals,
            last_seq: self.last_seq,
        }
    }
}

/// Days of one account.
type Wanted = (AccountId, DayRange);

/// What is read of days before anything is known of the accounts.
pub(super) fn parts(state: &StandingsState, programs: &ProgramsState, scope: &Scope) -> Vec<ReadPart<States>> {
    let mut parts = Vec::new();
    let wanted = wanted_of(state, programs, scope);
    let most = if scope.depth == Depth::Asked { scope.most_rows() } else { i64::MAX };
    if !wanted.is_empty() {
        parts.push(
            days_of(&wanted, most).into_part(move |states: &mut States, rows| take_days(states, wanted, rows, most)),
        );
    }
    if !state.asked.purchases.is_empty() {
        parts.push(refunded_days_of(state).into_part(|states: &mut States, rows: Vec<DayRow>| {
            let wanted = rows.iter().map(|row| (AccountId(row.account_id), only(row.day.to_jiff()))).collect();
            // A day without a row is told by a count of nothing.
            let rows = rows.into_iter().filter(|row| row.last_seq > 0).collect();
            take_days(states, wanted, rows, i64::MAX)
        }));
    }
    if scope.depth == Depth::Whole {
        let ids = scope.accounts.iter().map(|account| account.0).collect();
        parts.push(day_marks_of(ids).into_part(|states: &mut States, rows| {
            let marks = &mut states.get_mut::<StandingsState>()?.day_marks;
            for row in rows {
                marks.insert((AccountId(row.account_id), row.day.to_jiff(), row.last_seq), row.count());
            }
            Ok(())
        }));
    }
    parts
}

fn only(day: Date) -> DayRange {
    DayRange { from: Some(day), until: day.tomorrow().ok() }
}

fn since(day: Date) -> DayRange {
    DayRange { from: Some(day), until: None }
}

/// The versions in force of the scope's programs.
fn policies<'a>(programs: &'a ProgramsState, scope: &Scope) -> impl Iterator<Item = &'a ProgramVersion> {
    let current: Vec<_> = scope.programs.iter().filter_map(|program_id| programs.current(program_id)).collect();
    current.into_iter().map(|current| current.policy.as_ref())
}

/// The first day that a decision at an instant may look at, whenever the customer joined, and on which something may
/// count that happens then.
fn first_day(policy: &ProgramVersion, at: Timestamp) -> Date {
    let calendar = calendar_of(policy, None);
    let today = policy.program.day_of(at);
    let first = match policy.program.tier_policy.window {
        // As many years as may be in effect at once.
        TierWindow::EnrolmentYear => today.checked_sub(jiff::Span::new().years(3)).ok(),
        TierWindow::Lifetime | TierWindow::Rolling(_) | TierWindow::Calendar(_) => calendar.first_day_needed(at, None),
    };
    first.unwrap_or(today).min(today)
}

fn wanted_of(state: &StandingsState, programs: &ProgramsState, scope: &Scope) -> Vec<Wanted> {
    if scope.depth == Depth::Whole {
        return scope.accounts.iter().map(|account_id| (*account_id, DayRange::ALL)).collect();
    }
    let mut wanted = Vec::new();
    for account_id in &scope.accounts {
        let own = state.asked.instants.get(account_id).copied();
        let at = own.or(state.asked.earliest).unwrap_or(scope.latest).min(scope.latest);
        let Some(first) = policies(programs, scope).map(|policy| first_day(policy, at)).min() else { continue };
        wanted.push((*account_id, since(first)));
        let happened = state.asked.happened.range((*account_id, Timestamp::MIN)..=(*account_id, Timestamp::MAX));
        for (_, happened_at) in happened {
            let days = policies(programs, scope).map(|policy| policy.program.day_of(*happened_at));
            wanted.extend(days.filter(|day| *day < first).map(|day| (*account_id, only(day))));
        }
    }
    wanted
}

fn days_of(wanted: &[Wanted], most: i64) -> Selection<DayRow> {
    let accounts: Vec<Uuid> = wanted.iter().map(|(account_id, _)| account_id.0).collect();
    let from: Vec<jiff_sqlx::Date> =
        wanted.iter().map(|(_, days)| days.from.unwrap_or(FIRST_DAY).max(FIRST_DAY).to_sqlx()).collect();
    let until: Vec<jiff_sqlx::Date> =
        wanted.iter().map(|(_, days)| days.until.unwrap_or(BEHIND_LAST_DAY).to_sqlx()).collect();
    // One more tells that there are too many.
    let limit = most.saturating_add(1);
    selection!(
        "standing_days",
        DayRow,
        "SELECT d.account_id, d.day, d.spend, d.margin, d.points, d.purchases, d.visits, d.referrals, d.last_seq
         FROM unnest($1::uuid[], $2::date[], $3::date[]) AS w (account_id, first_day, behind)
         JOIN LATERAL (
             SELECT * FROM standing_days f
             WHERE f.account_id = w.account_id AND f.day >= w.first_day AND f.day < w.behind OFFSET 0
         ) d ON TRUE
         LIMIT $4",
        [accounts, from, until, limit],
    )
}

fn take_days(states: &mut States, wanted: Vec<Wanted>, rows: Vec<DayRow>, most: i64) -> Result<(), StoreError> {
    if i64::try_from(rows.len()).unwrap_or(i64::MAX) > most {
        return Err(StoreError::TooManyRows { most });
    }
    let state: &mut StandingsState = states.get_mut()?;
    for (account_id, days) in wanted {
        state.read.entry(account_id).or_default().push(days);
    }
    for row in rows {
        state.days.insert((AccountId(row.account_id), row.day.to_jiff()), row.count());
    }
    Ok(())
}

/// The days of purchases that are refunded: of those without a row, too.
fn refunded_days_of(state: &StandingsState) -> Selection<DayRow> {
    let accounts: Vec<Uuid> = state.asked.purchases.iter().map(|(account_id, _)| account_id.0).collect();
    let keys: Vec<Vec<u8>> = state.asked.purchases.iter().map(|(_, key_hash)| key_hash.to_vec()).collect();
    selection!(
        "standing_days",
        DayRow,
        r#"SELECT c.account_id AS "account_id!", c.day AS "day!", c.spend AS "spend!", c.margin AS "margin!",
                  c.points AS "points!", c.purchases AS "purchases!", c.visits AS "visits!", c.referrals AS "referrals!", c.last_seq AS "last_seq!"
           FROM (
               SELECT e.account_id, (e.detail -> 'counts' ->> 'day')::date AS day
               FROM unnest($1::uuid[], $2::bytea[]) AS k (account_id, key_hash)
               JOIN ledger_entries f ON f.account_id = k.account_id AND f.key_hash = k.key_hash
               JOIN ledger_entries e ON e.account_id = f.account_id AND e.command_id = f.command_id
                   AND e.account_seq >= f.account_seq AND e.account_seq < f.account_seq + 32
               WHERE e.kind = 'activity_accepted' AND e.detail -> 'counts' ->> 'day' IS NOT NULL
           ) p
           JOIN LATERAL (
               SELECT d.account_id, d.day, d.spend, d.margin, d.points, d.purchases, d.visits, d.referrals, d.last_seq
               FROM standing_days d WHERE d.account_id = p.account_id AND d.day = p.day
               UNION ALL
               SELECT p.account_id, p.day, 0, 0, 0, 0, 0, 0, 0
               WHERE NOT EXISTS (SELECT FROM standing_days d WHERE d.account_id = p.account_id AND d.day = p.day)
           ) c ON TRUE"#,
        [accounts, keys],
    )
}

fn day_marks_of(accounts: Vec<Uuid>) -> Selection<DayRow> {
    selection!(
        "standing_day_marks",
        DayRow,
        "SELECT account_id, day, spend, margin, points, purchases, visits, referrals, last_seq
         FROM standing_day_marks WHERE account_id = ANY($1)",
        [accounts],
    )
}

/// Reads what depends on the standings: for what is due, and for refunds of what earned a tier.
pub(super) async fn load(states: &mut States, scope: &Scope, connection: &mut PgConnection) -> Result<(), StoreError> {
    let (state, programs): (&StandingsState, &ProgramsState) = (states.get()?, states.get_loaded()?);
    let due = state.rows.iter().filter_map(|(account_id, standing)| {
        let due = standing.next_due().filter(|due| due.at <= scope.latest && scope.due.contains(account_id))?;
        Some((*account_id, due.at))
    });
    let due: BTreeMap<AccountId, Timestamp> = due.collect();
    let versions = match due.values().min() {
        Some(from) => read_due_versions(scope, *from, connection).await?,
        None => BTreeMap::new(),
    };
    let mut wanted = Vec::new();
    for (account_id, standing) in &state.rows {
        let deciding = versions.values().flat_map(|it| &it.versions).map(AsRef::as_ref);
        let own = policies(programs, scope).chain(deciding);
        let needed =
            own.filter_map(|policy| first_of(state, standing, *account_id, due.get(account_id), policy, scope));
        let Some(first) = needed.min() else { continue };
        let is_read = |range: &DayRange| range.until.is_none() && range.from.is_none_or(|from| from <= first);
        if !state.read.get(account_id).is_some_and(|read| read.iter().any(is_read)) {
            wanted.push((*account_id, since(first)));
        }
    }
    let most = if scope.depth == Depth::Asked { scope.most_rows() } else { i64::MAX };
    if !wanted.is_empty() {
        let rows = days_of(&wanted, most).fetch(connection).await?;
        take_days(states, wanted, rows, most)?;
    }
    states.get_mut::<StandingsState>()?.versions = versions;
    Ok(())
}

/// The first day that is needed of an account whose standing is known. None if it looks at no days.
fn first_of(
    state: &StandingsState,
    standing: &Standing,
    account_id: AccountId,
    due: Option<&Timestamp>,
    policy: &ProgramVersion,
    scope: &Scope,
) -> Option<Date> {
    let calendar = calendar_of(policy, standing.enrolled_on);
    let asked = state.asked.instants.get(&account_id).copied().or(state.asked.earliest);
    let at = due.copied().into_iter().chain(asked).chain([scope.latest]).min()?;
    let ended = standing.outlook.ends_at.filter(|ends_at| *ends_at <= scope.latest);
    let first = calendar.first_day_needed(at, ended);
    let is_refund = state.asked.purchases.range((account_id, [0; 32])..=(account_id, [u8::MAX; 32])).next().is_some();
    let former = standing.former.as_ref().and_then(|former| former.earned);
    let earned = standing.earned.into_iter().chain(former).filter(|_| is_refund).filter_map(|window| window.from);
    first.into_iter().chain(earned).min()
}

/// The versions that decide what falls due from an instant on, of each of the scope's programs.
async fn read_due_versions(
    scope: &Scope,
    from: Timestamp,
    connection: &mut PgConnection,
) -> Result<BTreeMap<ProgramId, DueVersions>, StoreError> {
    let mut found = BTreeMap::new();
    for program_id in &scope.programs {
        let mut versions = read_versions_between(connection, program_id, from, scope.latest, MAX_VERSIONS + 1).await?;
        let has_more = versions.len() > usize::try_from(MAX_VERSIONS).unwrap_or(usize::MAX);
        versions.truncate(usize::try_from(MAX_VERSIONS).unwrap_or(usize::MAX));
        let versions = versions.into_iter().map(std::sync::Arc::new).collect();
        found.insert(program_id.clone(), DueVersions { versions, has_more });
    }
    Ok(found)
}

pub(super) fn write_parts(state: &StandingsState) -> [WritePart; 2] {
    let changed = state.changed_days.iter();
    let changed = changed.filter_map(|key| Some(DayRow::new(key.0, key.1, state.days.get(key)?))).collect();
    let marks = state.new_day_marks.iter();
    let marks = marks.filter_map(|key| Some(DayRow::new(key.0, key.1, state.day_marks.get(key)?))).collect();
    [upsert_days(changed), insert_day_marks(marks)]
}

fn upsert_days(rows: Vec<DayRow>) -> WritePart {
    write_part!(
        "INSERT INTO standing_days (account_id, day, spend, margin, points, purchases, visits, referrals, last_seq)
         SELECT * FROM unnest($1::sent_standing_day[])
         ON CONFLICT (account_id, day) DO UPDATE SET spend = excluded.spend, margin = excluded.margin,
             points = excluded.points, purchases = excluded.purchases, visits = excluded.visits, referrals = excluded.referrals,
             last_seq = excluded.last_seq",
        rows,
    )
}

fn insert_day_marks(rows: Vec<DayRow>) -> WritePart {
    write_part!(
        "INSERT INTO standing_day_marks (account_id, day, spend, margin, points, purchases, visits, referrals, last_seq)
         SELECT * FROM unnest($1::sent_standing_day[])",
        rows,
    )
}

/// What was counted on accounts' days, of each from a day on, in this order.
///
/// # Errors
/// If the database cannot be read.
pub(in crate::tiers) async fn fetch(
    connection: impl sqlx::PgExecutor<'_>,
    keys: &[(AccountId, Date)],
) -> Result<Vec<Option<Vec<(Date, DayCount)>>>, StoreError> {
    let accounts: Vec<Uuid> = keys.iter().map(|(account_id, _)| account_id.0).collect();
    let from: Vec<jiff_sqlx::Date> = keys.iter().map(|(_, day)| (*day).max(FIRST_DAY).to_sqlx()).collect();
    let rows = sqlx::query!(
        r#"SELECT w.place AS "place!", d.account_id, d.day, d.spend, d.margin, d.points, d.purchases, d.visits, d.referrals,
                  d.last_seq
           FROM unnest($1::uuid[], $2::date[]) WITH ORDINALITY AS w (account_id, first_day, place)
           JOIN LATERAL (
               SELECT * FROM standing_days f WHERE f.account_id = w.account_id AND f.day >= w.first_day
               ORDER BY f.day OFFSET 0
           ) d ON TRUE"#,
        &accounts,
        &from as _,
    )
    .fetch_all(connection)
    .traced("SELECT standing_days")
    .await?;
    let mut found = vec![Some(Vec::new()); keys.len()];
    for row in rows {
        let place = usize::try_from(row.place - 1).unwrap_or(usize::MAX);
        if let Some(Some(days)) = found.get_mut(place) {
            let row = DayRow {
                account_id: row.account_id,
                day: row.day,
                spend: row.spend,
                margin: row.margin,
                points: row.points,
                purchases: row.purchases,
                visits: row.visits,
                referrals: row.referrals,
                last_seq: row.last_seq,
            };
            days.push((row.day.to_jiff(), row.count()));
        }
    }
    found.iter_mut().flatten().for_each(|days| days.sort_unstable_by_key(|(day, _)| *day));
    Ok(found)
}
