//! How standings are found, with what was counted in the windows that matter.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use jiff::Timestamp;
use sqlx::PgConnection;

use super::Tiers;
use super::counting::History;
use super::deciding::calendar_of;
use super::state::StandingsState;
use super::store::{self, FoundStanding};
use crate::book::{AsOf, Detail, Entry, WithDues, begin_snapshot, read_all_with_dues, read_as_of};
use crate::customers::find_account;
use crate::error::Error;
use crate::ids::{AccountId, CustomerId, EntryId, ProgramId};
use crate::programs::model::program_not_found;
use crate::programs::read_version_number_at;
use crate::programs::tier_policy::windows::DayRange;

/// A standing as a read finds it, with what was counted in the windows that matter.
type Found = (FoundStanding, History);

/// Of how many accounts one statement reads what is due.
const DUE_AT_ONCE: usize = 64;

impl Tiers {
    /// The present standings of customers, in their order: none where there is no such customer.
    pub(super) async fn find_now(
        &self,
        program_id: &ProgramId,
        customer_ids: &[CustomerId],
    ) -> Result<Vec<Option<Found>>, Error> {
        let lookups = customer_ids.iter().map(|id| self.standings.find((program_id.clone(), id.clone())));
        let standings = try_join_all(lookups).await?;
        let mut due = Vec::new();
        let mut undue = Vec::new();
        for (place, found) in standings.into_iter().enumerate() {
            let Some(found) = found else { continue };
            let now = self.instants.clock().present(found.told);
            if found.standing.next_due().is_some_and(|due| due.at <= now) {
                due.push((place, found.account_id));
            } else {
                undue.push((place, found));
            }
        }
        let mut all: Vec<Option<Found>> = vec![None; customer_ids.len()];
        let mut keep = |place: usize, found| {
            if let Some(slot) = all.get_mut(place) {
                *slot = Some(found);
            }
        };
        let counted = try_join_all(undue.iter().map(|(_, found)| self.count_now(program_id, found))).await?;
        for ((place, found), history) in undue.into_iter().zip(counted) {
            keep(place, (found, history));
        }
        for some in due.chunks(DUE_AT_ONCE) {
            for (place, found) in self.find_with_dues(program_id, some).await? {
                keep(place, found);
            }
        }
        Ok(all)
    }

    /// What was counted in the windows that matter now for a standing to which time has done nothing.
    async fn count_now(&self, program_id: &ProgramId, found: &FoundStanding) -> Result<History, Error> {
        let (standing, now) = (&found.standing, self.instants.clock().present(found.told));
        let policy = self.version(program_id, found.current_version).await?;
        let calendar = calendar_of(&policy, standing.enrolled_on);
        let mut history = History { totals: standing.totals, days: Vec::new(), read: vec![DayRange::ALL] };
        if let Some(first) = calendar.first_day_needed(now, standing.outlook.ends_at.filter(|ends_at| *ends_at <= now))
        {
            history.days = self.days.find((found.account_id, first)).await?.unwrap_or_default();
            history.read = vec![DayRange { from: Some(first), until: None }];
        }
        Ok(history)
    }

    /// The present standings of accounts to which time has done something that is not written, with their places.
    async fn find_with_dues(
        &self,
        program_id: &ProgramId,
        accounts: &[(usize, AccountId)],
    ) -> Result<Vec<(usize, Found)>, Error> {
        let mut connection = self.pool.acquire().await?;
        let ids: Vec<AccountId> = accounts.iter().map(|(_, account_id)| *account_id).collect();
        let read = read_all_with_dues(&mut connection, &ids, self.instants.clock(), &self.capabilities).await?;
        let WithDues { states, applied_dues, until: now, .. } = read;
        let current_version = read_version_number_at(&mut connection, program_id, now).await?;
        let current_version = current_version.ok_or_else(|| program_not_found(program_id))?;
        let state = states.get::<StandingsState>()?;
        let decided_by = |account_id| {
            state.get(account_id).map(|standing| EntryId { account_id, account_seq: standing.changed_seq })
        };
        let mut decisions =
            decisions_of(ids.iter().copied().filter_map(decided_by), &applied_dues, &mut connection).await?;
        let mut found = Vec::with_capacity(accounts.len());
        for (place, account_id) in accounts {
            let Some(standing) = state.get(*account_id).cloned() else { continue };
            let history = state.history(*account_id);
            let decided = decided_by(*account_id).and_then(|entry_id| decisions.remove(&entry_id));
            let account_id = *account_id;
            let dues = applied_dues.iter().filter(|due| due.id.account_id == account_id).cloned().collect();
            let read = FoundStanding { account_id, standing, current_version, told: now, decided, dues };
            found.push((*place, (read, history)));
        }
        Ok(found)
    }

    pub(super) async fn find_as_of(
        &self,
        program_id: &ProgramId,
        customer_id: &CustomerId,
        as_of: Timestamp,
    ) -> Result<Option<Found>, Error> {
        let mut connection = self.pool.acquire().await?;
        let account_id = find_account(&mut connection, program_id, customer_id).await?;
        let mut snapshot = begin_snapshot(&mut connection).await?;
        let (found, dues) = match read_as_of(&mut snapshot, account_id, as_of, &self.capabilities).await? {
            None => (None, Vec::new()),
            Some(AsOf::Rows(folded)) => {
                let state = folded.states.get::<StandingsState>()?;
                let standing = state.get(account_id).cloned();
                (standing.map(|standing| (standing, state.history(account_id))), folded.applied_dues)
            }
            Some(AsOf::Past(past)) => {
                (store::read_standing_at(&mut snapshot, account_id, past.last).await?, Vec::new())
            }
        };
        let Some((standing, history)) = found else { return Ok(None) };
        let decided_by = EntryId { account_id, account_seq: standing.changed_seq };
        let decided = decisions_of(std::iter::once(decided_by), &dues, &mut snapshot).await?.remove(&decided_by);
        let current_version = read_version_number_at(&mut snapshot, program_id, as_of).await?;
        let current_version = current_version.ok_or_else(|| program_not_found(program_id))?;
        snapshot.commit().await?;
        Ok(Some((FoundStanding { account_id, standing, current_version, told: as_of, decided, dues }, history)))
    }
}

/// What the entries say that gave or renewed tiers: those that time brought in memory, and those that are written.
async fn decisions_of(
    entry_ids: impl Iterator<Item = EntryId>,
    dues: &[Entry],
    connection: &mut PgConnection,
) -> Result<BTreeMap<EntryId, Detail>, Error> {
    let wanted: BTreeSet<EntryId> = entry_ids.collect();
    let in_memory = dues.iter().filter(|due| wanted.contains(&due.id)).map(|due| (due.id, due.detail.clone()));
    let mut decisions: BTreeMap<EntryId, Detail> = in_memory.collect();
    let written = wanted.into_iter().filter(|id| !decisions.contains_key(id)).collect();
    decisions.extend(store::read_decisions(connection, &written).await?);
    Ok(decisions)
}
