//! Which lots, holds and entries a batch reads, and what it notes of those that it did not read.
//!
//! An account may have thousands of lots. A batch reads those that its commands name, those that its spends take, and as
//! many dues as it applies. The [`Gap`] of an account tells where reading ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use sqlx::PgConnection;

use super::rows::{self, FoundLot, LotRequest, ReadFor};
use crate::book::store::{find_keys, read_entries};
use crate::book::{Depth, Due, DueKind, Scope};
use crate::database::StoreError;
use crate::ids::{AccountId, ProgramId};
use crate::points::lots::Gap;
use crate::points::state::PointsState;
use crate::programs::model::ProgramVersion;
use crate::programs::points::ExpiryRule;
use crate::programs::state::ProgramsState;

/// Reads what the batch needs of its accounts' points.
pub(super) async fn load(
    state: &mut PointsState,
    keeps_earnings: bool,
    scope: &Scope,
    connection: &mut PgConnection,
) -> Result<(), StoreError> {
    if scope.depth == Depth::Whole {
        state.lots.earnings = rows::read_earnings(connection, &scope.accounts).await?;
        load_holds(state, connection, scope).await?;
        load_lots(state, connection, scope).await?;
        state.lots.reversals = rows::read_all_reversals(connection, &scope.accounts).await?;
        return Ok(());
    }
    let gap = Gap { due: None, spendable_to: None, has_sliding: false, payers_from: None };
    state.lots.gaps = scope.accounts.iter().map(|account_id| (*account_id, gap)).collect();
    load_entries(state, connection).await?;
    let asked = &state.asked;
    let is_asked = !asked.points.is_empty() || !asked.lots.is_empty() || !asked.holds.is_empty();
    if is_asked || !scope.due.is_empty() || keeps_earnings {
        state.lots.earnings = rows::read_earnings(connection, &scope.accounts).await?;
    }
    load_holds(state, connection, scope).await?;
    load_lots(state, connection, scope).await?;
    load_makers_up(state, connection).await
}

/// Whether any of the scope's programs keeps what concerns all lots of an account together.
pub(super) fn keeps_earnings(scope: &Scope, programs: &ProgramsState) -> bool {
    scope.programs.iter().filter_map(|program_id| programs.current(program_id)).any(|current| {
        let points = &current.policy.program.points;
        matches!(points.expiry, ExpiryRule::Sliding(_)) || !points.earning.per_period.is_empty()
    })
}

/// The versions in force of the scope's programs that cap what is earned in calendar periods.
pub(super) fn capped_versions(scope: &Scope, programs: &ProgramsState) -> BTreeMap<ProgramId, Arc<ProgramVersion>> {
    let capped = scope.programs.iter().filter_map(|program_id| {
        let policy = &programs.current(program_id)?.policy;
        let is_capped = !policy.program.points.earning.per_period.is_empty();
        is_capped.then(|| (program_id.clone(), policy.clone()))
    });
    capped.collect()
}

/// Reads the entries that were asked for, and notes the lots that they are about.
async fn load_entries(state: &mut PointsState, connection: &mut PgConnection) -> Result<(), StoreError> {
    if !state.asked.entries.is_empty() {
        let read = read_entries(connection, &state.asked.entries).await?;
        state.entries = read.into_iter().map(|entry| (entry.id, entry)).collect();
    }
    if !state.asked.keys.is_empty() {
        let keys: Vec<_> = state.asked.keys.iter().copied().collect();
        // The entries of one command follow each other, and the first of them carries its key.
        let mut command = None;
        for entry in find_keys(connection, &keys).await? {
            command = entry.key.map(|key| (entry.id.account_id, key.hash)).or(command);
            if let Some(command) = command {
                state.commands.entry(command).or_default().push(entry);
            }
        }
    }
    let mut read: BTreeSet<(AccountId, i64)> = BTreeSet::new();
    for entry in state.entries.values().chain(state.commands.values().flatten()) {
        let account_id = entry.id.account_id;
        read.insert((account_id, entry.id.account_seq));
        state.asked.lots.extend(entry.detail.lots().iter().map(|part| (account_id, part.lot)));
        if entry.detail.makes_lot() {
            state.asked.lots.insert((account_id, entry.id.account_seq));
        }
    }
    if !read.is_empty() {
        state.lots.reversals = rows::read_reversals(connection, &read).await?;
    }
    Ok(())
}

/// Reads holds: those asked for, and those that end by themselves.
async fn load_holds(state: &mut PointsState, connection: &mut PgConnection, scope: &Scope) -> Result<(), StoreError> {
    if state.asked.holds.is_empty() && scope.due.is_empty() && scope.depth != Depth::Whole {
        return Ok(());
    }
    let mut dues: BTreeMap<AccountId, i64> = BTreeMap::new();
    for (key, hold, is_due) in rows::read_holds(connection, &state.asked.holds, scope, limit_of(scope)).await? {
        state.asked.lots.extend(hold.parts.iter().map(|part| (key.0, part.lot)));
        if is_due {
            let count = dues.entry(key.0).or_insert(0);
            *count += 1;
            if *count > scope.most_dues && scope.depth == Depth::Asked {
                note_unread_due(state, key.0, Due { at: hold.ends_at, kind: DueKind::ReleaseHold });
                continue;
            }
        }
        state.lots.put_hold(key, hold);
    }
    Ok(())
}

/// How many lots of an account were read, by what they were read for.
#[derive(Default)]
struct ReadLots {
    due: i64,
    sliding: i64,
    /// The points that are available in the lots read for a spend.
    spendable: i64,
}

/// Reads lots: those asked for, those due, those that slide if that is due, and those that a spend takes.
async fn load_lots(state: &mut PointsState, connection: &mut PgConnection, scope: &Scope) -> Result<(), StoreError> {
    let is_idle = state.asked.lots.is_empty() && state.asked.points.is_empty() && scope.due.is_empty();
    if is_idle && scope.depth != Depth::Whole {
        return Ok(());
    }
    let sliding = accounts_whose_sliding_lots_are_read(state, scope);
    let limit = limit_of(scope);
    let request = LotRequest { asked: &state.asked.lots, spends: &state.asked.points, sliding: &sliding, limit };
    let found = rows::read_lots(connection, scope, request).await?;
    let mut read: BTreeMap<AccountId, ReadLots> = BTreeMap::new();
    for FoundLot { key, lot, read_for } in found {
        let account_id = key.0;
        let account = read.entry(account_id).or_default();
        match read_for {
            ReadFor::Asked | ReadFor::Payer => {}
            ReadFor::Due => {
                account.due += 1;
                // One more than a batch applies is read only to know when it is due.
                if account.due == limit {
                    if let Some(due) = lot.due() {
                        note_unread_due(state, account_id, due);
                    }
                    continue;
                }
            }
            ReadFor::Sliding => {
                account.sliding += 1;
                if account.sliding == limit {
                    continue;
                }
            }
            ReadFor::Spend => {
                account.spendable = account.spendable.saturating_add(lot.available);
                let expiry = state.lots.expiry_of(account_id, &lot).unwrap_or(Timestamp::MAX);
                if let Some(gap) = state.lots.gaps.get_mut(&account_id) {
                    gap.spendable_to = gap.spendable_to.max(Some((expiry, key.1)));
                }
            }
        }
        state.lots.put_lot(key, lot);
    }
    note_what_is_whole(state, &read, &sliding, limit);
    Ok(())
}

/// Reads what makes up for lots that commands or dues name: if their points come back expired, it is given back.
async fn load_makers_up(state: &mut PointsState, connection: &mut PgConnection) -> Result<(), StoreError> {
    let mut looked_at: BTreeSet<(AccountId, i64)> = BTreeSet::new();
    let mut next: Vec<(AccountId, i64)> = state.asked.lots.iter().copied().collect();
    let mut debts: BTreeMap<AccountId, i64> = BTreeMap::new();
    // Lots that get points back may have expired, and then what makes up for these is given back, too. Each round looks
    // at lots that no round has looked at.
    while !next.is_empty() {
        let (mut others, mut debtors) = (BTreeSet::new(), BTreeSet::new());
        for key in next.drain(..).filter(|key| looked_at.insert(*key)) {
            let Some(lot) = state.lots.lot(key.0, key.1) else { continue };
            others.extend(lot.made_up.lots.iter().map(|part| (key.0, part.lot)));
            if lot.made_up.debt > 0 {
                let debt = debts.entry(key.0).or_insert(0);
                *debt = debt.saturating_add(lot.made_up.debt);
                debtors.insert(key.0);
            }
        }
        others.retain(|key| !looked_at.contains(key));
        let debts: BTreeMap<AccountId, i64> = debts
            .iter()
            .filter(|(account_id, _)| debtors.contains(account_id))
            .map(|(id, debt)| (*id, *debt))
            .collect();
        if others.is_empty() && debts.is_empty() {
            break;
        }
        let mut paid: BTreeMap<AccountId, (i64, i64)> =
            debts.keys().map(|account_id| (*account_id, (0, i64::MAX))).collect();
        for FoundLot { key, lot, read_for } in rows::read_makers_up(connection, &others, &debts).await? {
            if let Some((sum, oldest)) = paid.get_mut(&key.0).filter(|_| read_for == ReadFor::Payer) {
                (*sum, *oldest) = (sum.saturating_add(lot.repaid), key.1.min(*oldest));
            }
            next.push(key);
            state.lots.put_lot(key, lot);
        }
        for (account_id, (sum, oldest)) in paid {
            if let Some(gap) = state.lots.gaps.get_mut(&account_id) {
                // Where they paid less than the debt, all of them were read.
                let is_whole = debts.get(&account_id).is_some_and(|debt| sum < *debt);
                gap.payers_from = Some(if is_whole { 0 } else { oldest });
            }
        }
    }
    Ok(())
}

fn accounts_whose_sliding_lots_are_read(state: &PointsState, scope: &Scope) -> Vec<AccountId> {
    let is_read = |account_id: &AccountId| {
        let slides_to = state.lots.earning(*account_id).and_then(|earning| earning.slides_to);
        scope.depth == Depth::Due || slides_to.is_some_and(|slides_to| slides_to <= scope.latest)
    };
    scope.due.iter().copied().filter(is_read).collect()
}

/// Notes the accounts of which everything was read.
fn note_what_is_whole(
    state: &mut PointsState,
    read: &BTreeMap<AccountId, ReadLots>,
    sliding: &[AccountId],
    limit: i64,
) {
    let none = ReadLots::default();
    for account_id in sliding {
        let count = read.get(account_id).unwrap_or(&none).sliding;
        if let Some(gap) = state.lots.gaps.get_mut(account_id) {
            gap.has_sliding = count < limit;
        }
    }
    for (account_id, asked) in &state.asked.points {
        let covered = read.get(account_id).unwrap_or(&none).spendable;
        // The statement ends where the spend is covered. Where it is not, it went through all lots.
        if covered < *asked
            && let Some(gap) = state.lots.gaps.get_mut(account_id)
        {
            gap.spendable_to = Some((Timestamp::MAX, i64::MAX));
        }
    }
}

fn note_unread_due(state: &mut PointsState, account_id: AccountId, due: Due) {
    if let Some(gap) = state.lots.gaps.get_mut(&account_id) {
        gap.due = gap.due.into_iter().chain([due]).min();
    }
}

/// How many dues of an account are read, of each kind: one more than are applied, to know when that one is due.
fn limit_of(scope: &Scope) -> i64 {
    if scope.depth == Depth::Asked { scope.most_dues + 1 } else { i64::MAX }
}
