//! Standings as they were after past entries, of many accounts in the same few statements: of each the last mark until
//! then, and what changed it since.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, query_as};
use uuid::Uuid;

use super::days::{DayRow, FIRST_DAY};
use super::rows::{StandingRow, standing_in, standing_rows};
use crate::book::State as _;
use crate::book::store::{into_entries, select_entries};
use crate::book::{Defect, Entry};
use crate::database::{StoreError, Traced as _};
use crate::ids::AccountId;
use crate::programs::tier_policy::windows::DayRange;
use crate::tiers::counting::{History, counted_by};
use crate::tiers::standing::Standing;
use crate::tiers::state::{StandingsState, last_of_block};

/// An account on the way back to one of its entries.
struct Rewound {
    /// The standing at the mark.
    standing: Standing,
    /// The first entry of the mark's block: what days were before it, is kept.
    block_begins: i64,
    /// The last entry that may have changed anything since the mark. Behind the block, it changed first in one that is
    /// marked, too.
    last: i64,
    /// The entries from the beginning of the block on.
    entries: Vec<Entry>,
    needed: DayRange,
}

/// Standings after one entry of each account, with the days that are `needed` of each.
///
/// # Errors
/// If the database cannot be read, or the entries contradict each other.
pub(in crate::tiers) async fn read_standings_at(
    snapshot: &mut PgConnection,
    lasts: &[(AccountId, i64)],
    needed: impl Fn(&Standing) -> DayRange,
) -> Result<Vec<(AccountId, Standing, History)>, StoreError> {
    let mut found = rewind(snapshot, lasts, |_, standing| needed(standing)).await?;
    // What was held at the end may ask for earlier days than what was held at the mark.
    let more = found.iter().map(|(account_id, standing, history)| (*account_id, needed(standing), history));
    let more: BTreeMap<AccountId, DayRange> = more
        .filter(|(_, days, history)| !history.has_read(*days))
        .map(|(account_id, days, _)| (account_id, days))
        .collect();
    if !more.is_empty() {
        found.retain(|(account_id, _, _)| !more.contains_key(account_id));
        let lasts: Vec<_> = lasts.iter().filter(|(account_id, _)| more.contains_key(account_id)).copied().collect();
        let days_of = |account_id: AccountId, _: &Standing| more.get(&account_id).copied().unwrap_or(DayRange::ALL);
        found.extend(rewind(snapshot, &lasts, days_of).await?);
    }
    Ok(found)
}

async fn rewind(
    snapshot: &mut PgConnection,
    lasts: &[(AccountId, i64)],
    needed: impl Fn(AccountId, &Standing) -> DayRange,
) -> Result<Vec<(AccountId, Standing, History)>, StoreError> {
    let mut rewound = read_marks(snapshot, lasts, needed).await?;
    read_entries_since(snapshot, &mut rewound).await?;
    let mut state = StandingsState::default();
    for (account_id, back) in &rewound {
        state.rows.insert(*account_id, back.standing.clone());
        state.read.insert(*account_id, vec![DayRange::ALL]);
    }
    read_days_before(snapshot, &rewound, &mut state).await?;
    let mut found = Vec::with_capacity(rewound.len());
    for (account_id, Rewound { standing, entries, needed, .. }) in rewound {
        for entry in entries {
            if entry.id.account_seq > standing.last_seq {
                state.apply(&entry)?;
            } else if let Some((day, more)) = counted_by(&entry) {
                // The mark has it counted already; the day has not.
                let count = state.days.entry((account_id, day)).or_default();
                *count = count.plus(&more).unwrap_or(*count);
            }
        }
        let history = History { read: vec![needed], ..state.history(account_id) };
        found.extend(state.rows.remove(&account_id).map(|standing| (account_id, standing, history)));
    }
    Ok(found)
}

async fn read_marks(
    snapshot: &mut PgConnection,
    lasts: &[(AccountId, i64)],
    needed: impl Fn(AccountId, &Standing) -> DayRange,
) -> Result<BTreeMap<AccountId, Rewound>, StoreError> {
    let (accounts, seqs): (Vec<Uuid>, Vec<i64>) = lasts.iter().map(|(id, last)| (id.0, *last)).unzip();
    let rows = standing_rows!(
        query_as!(StandingRow,),
        "",
        "account_seq AS \"last_seq!\"",
        "FROM unnest($1::uuid[], $2::bigint[]) AS u (wanted, last_wanted)
         JOIN LATERAL (
             SELECT * FROM standing_marks f WHERE f.account_id = u.wanted AND f.account_seq <= u.last_wanted
             ORDER BY f.account_seq DESC LIMIT 1
         ) m ON TRUE",
        &accounts,
        &seqs,
    )
    .fetch_all(snapshot)
    .traced("SELECT standing_marks")
    .await?;
    let lasts: BTreeMap<AccountId, i64> = lasts.iter().copied().collect();
    let marked: BTreeSet<Uuid> = rows.iter().map(|row| row.account_id).collect();
    if let Some(account_id) = lasts.keys().find(|account_id| !marked.contains(&account_id.0)) {
        return Err(Defect::new(format!("account {} had no standing by an entry of its own", account_id.0)).into());
    }
    let mut rewound = BTreeMap::new();
    for row in rows {
        let account_id = AccountId(row.account_id);
        let standing: Standing = standing_in!(row);
        let block_ends = last_of_block(standing.last_seq);
        let last = lasts.get(&account_id).map_or(block_ends, |last| block_ends.min(*last));
        let block_begins = (block_ends - last_of_block(0)).max(1);
        let needed = needed(account_id, &standing);
        rewound.insert(account_id, Rewound { standing, block_begins, last, entries: Vec::new(), needed });
    }
    Ok(rewound)
}

/// Reads the entries of those kinds that change standings.
async fn read_entries_since(
    snapshot: &mut PgConnection,
    rewound: &mut BTreeMap<AccountId, Rewound>,
) -> Result<(), StoreError> {
    let accounts: Vec<Uuid> = rewound.keys().map(|account_id| account_id.0).collect();
    let firsts: Vec<i64> = rewound.values().map(|back| back.block_begins).collect();
    let lasts: Vec<i64> = rewound.values().map(|back| back.last).collect();
    let rows = select_entries!(
        "FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS u (wanted, first_wanted, last_wanted)
         JOIN LATERAL (
             SELECT * FROM ledger_entries f
             WHERE f.account_id = u.wanted AND f.account_seq >= u.first_wanted AND f.account_seq <= u.last_wanted
               AND f.kind IN ('activity_accepted', 'refund_accepted', 'referral_counted', 'tier_changed', 'tier_imported',
                              'tier_overridden', 'tier_released', 'customer_erased')
             OFFSET 0
         ) e ON TRUE
         ORDER BY e.account_id, e.account_seq",
        &accounts,
        &firsts,
        &lasts,
    )
    .fetch_all(snapshot)
    .traced("SELECT ledger_entries")
    .await?;
    for entry in into_entries(rows)? {
        if let Some(back) = rewound.get_mut(&entry.id.account_id) {
            back.entries.push(entry);
        }
    }
    Ok(())
}

/// Reads days as they were before the blocks of the marks. A day on which something was counted since is read, too.
async fn read_days_before(
    snapshot: &mut PgConnection,
    rewound: &BTreeMap<AccountId, Rewound>,
    state: &mut StandingsState,
) -> Result<(), StoreError> {
    let first_day = |back: &Rewound| -> Date {
        let counted = back.entries.iter().filter_map(counted_by).map(|(day, _)| day);
        let needed = back.needed.from.unwrap_or(FIRST_DAY);
        counted.chain([needed]).min().unwrap_or(needed).max(FIRST_DAY)
    };
    let accounts: Vec<Uuid> = rewound.keys().map(|account_id| account_id.0).collect();
    let begins: Vec<i64> = rewound.values().map(|back| back.block_begins).collect();
    let first_days: Vec<jiff_sqlx::Date> = rewound.values().map(|back| first_day(back).to_sqlx()).collect();
    let rows = query_as!(
        DayRow,
        r#"SELECT d.account_id, d.day, m.spend AS "spend!", m.margin AS "margin!", m.points AS "points!",
                  m.purchases AS "purchases!", m.visits AS "visits!", m.referrals AS "referrals!", m.last_seq AS "last_seq!"
           FROM unnest($1::uuid[], $2::bigint[], $3::date[]) AS u (account_id, begins, first_day)
           JOIN LATERAL (
               SELECT * FROM standing_days f WHERE f.account_id = u.account_id AND f.day >= u.first_day OFFSET 0
           ) d ON TRUE
           JOIN LATERAL (
               SELECT d.spend, d.margin, d.points, d.purchases, d.visits, d.referrals, d.last_seq WHERE d.last_seq < u.begins
               UNION ALL
               (SELECT k.spend, k.margin, k.points, k.purchases, k.visits, k.referrals, k.last_seq FROM standing_day_marks k
                WHERE d.last_seq >= u.begins AND k.account_id = d.account_id AND k.day = d.day AND k.last_seq < u.begins
                ORDER BY k.last_seq DESC LIMIT 1)
           ) m ON TRUE"#,
        &accounts,
        &begins,
        &first_days as _,
    )
    .fetch_all(snapshot)
    .traced("SELECT standing_days")
    .await?;
    for row in rows {
        state.days.insert((AccountId(row.account_id), row.day.to_jiff()), row.count());
    }
    Ok(())
}
