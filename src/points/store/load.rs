//! Which lots, holds and entries a batch reads, and what it notes of those that it did not read.
//!
//! An account may have thousands of lots. A batch reads those that its commands name, those that its spends take, and as
//! many dues as it applies. The [`Gap`] of an account tells where reading ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sqlx::PgConnection;

use super::lots::{self, FoundLot, LotRequest, ReadFor, spending};
use super::rows::{self, HoldFor};
use crate::book::store::{find_keys, read_entries};
use crate::book::{Defect, Depth, Due, DueKind, Scope, States};
use crate::database::{ReadPart, StoreError};
use crate::ids::{AccountId, ProgramId};
use crate::points::lots::{Gap, MAX_SPEND_LOTS};
use crate::points::state::PointsState;
use crate::programs::model::ProgramVersion;
use crate::programs::points::ExpiryRule;
use crate::programs::state::ProgramsState;

/// How many dues of an account a read applies in memory, of each kind.
const MAX_READ_DUES: i64 = 5_000;
/// What is read of accounts' points before anything is known of them.
pub(super) fn parts(state: &PointsState, programs: &ProgramsState, scope: &Scope) -> Vec<ReadPart<States>> {
    let mut parts = Vec::new();
    if needs_earnings(state, programs, scope) {
        parts.push(rows::earnings_of(&scope.accounts).into_part(|states: &mut States, rows| {
            let earnings: Result<_, Defect> = rows.into_iter().map(TryInto::try_into).collect();
            states.get_mut::<PointsState>()?.lots.earnings = earnings?;
            Ok(())
        }));
    }
    if scope.depth == Depth::Asked {
        parts.extend(spending::first_page(state, scope));
    }
    if !state.asked.notes.is_empty() {
        parts.push(rows::notes_of(&state.asked.notes).into_part(|states: &mut States, rows| {
            let notes = rows.into_iter().map(|row| (row.entry_id(), row.note));
            states.get_mut::<PointsState>()?.stored_notes = notes.collect();
            Ok(())
        }));
    }
    parts
}

/// Whether what concerns all lots of an account together matters to the batch.
pub(super) fn needs_earnings(state: &PointsState, programs: &ProgramsState, scope: &Scope) -> bool {
    let asked = &state.asked;
    // The lots that are asked for are known only once the entries are read that are about them.
    let of_lots = !asked.entries.is_empty() || !asked.keys.is_empty() || !asked.holds.is_empty();
    let is_asked = !asked.points.is_empty() || of_lots;
    let is_due = !scope.due.is_empty() || scope.depth == Depth::Whole;
    is_asked || is_due || keeps_earnings(scope, programs)
}

/// Reads what the batch needs of its accounts' points beside its [`parts`].
pub(super) async fn load(
    state: &mut PointsState,
    scope: &Scope,
    connection: &mut PgConnection,
) -> Result<(), StoreError> {
    if scope.depth == Depth::Whole {
        load_holds(state, connection, scope).await?;
        load_lots(state, connection, scope).await?;
        state.lots.older_uses = rows::read_all_uses(connection, &scope.accounts).await?;
        state.lots.reversals = rows::read_all_reversals(connection, &scope.accounts).await?;
        return Ok(());
    }
    for account_id in &scope.accounts {
        state.lots.gaps.entry(*account_id).or_insert(Gap::NOTHING_READ);
    }
    load_entries(state, connection).await?;
    load_holds(state, connection, scope).await?;
    load_lots(state, connection, scope).await?;
    load_makers_up(state, connection, scope).await?;
    spending::load(state, scope, connection).await?;
    check_rows(state, scope)
}

/// Refuses more lots than the batch may read.
fn check_rows(state: &PointsState, scope: &Scope) -> Result<(), StoreError> {
    let rows = i64::try_from(state.lots.lots.len()).unwrap_or(i64::MAX);
    let is_within = scope.depth != Depth::Asked || rows <= scope.most_rows();
    if is_within { Ok(()) } else { Err(StoreError::TooManyRows { most: scope.most_rows() }) }
}

/// Whether any of the scope's programs keeps what concerns all lots of an account together.
fn keeps_earnings(scope: &Scope, programs: &ProgramsState) -> bool {
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
    for (key, hold, read_for) in rows::read_holds(connection, &state.asked.holds, scope, limit_of(scope)).await? {
        let due = Due { at: hold.ends_at, kind: DueKind::ReleaseHold };
        match read_for {
            HoldFor::Asked => {}
            HoldFor::Due => {
                let count = dues.entry(key.0).or_insert(0);
                *count += 1;
                if *count == limit_of(scope) {
                    note_unread_due(state, key.0, due);
                    continue;
                }
            }
            HoldFor::Later => {
                note_unread_due(state, key.0, due);
                continue;
            }
        }
        state.asked.lots.extend(hold.parts.iter().map(|part| (key.0, part.lot)));
        state.lots.put_hold(key, hold);
    }
    if scope.depth == Depth::Asked {
        load_ends(state, connection).await?;
    }
    Ok(())
}

/// Reads the entries by which the holds ended that were asked for and have ended.
async fn load_ends(state: &mut PointsState, connection: &mut PgConnection) -> Result<(), StoreError> {
    let holds = state.asked.holds.iter().filter_map(|key| Some((key.0, state.lots.holds.get(key)?)));
    let ends: BTreeSet<(AccountId, i64)> = holds.filter_map(|(id, hold)| Some((id, hold.ended_seq?))).collect();
    if !ends.is_empty() {
        let read = read_entries(connection, &ends).await?;
        state.entries.extend(read.into_iter().map(|entry| (entry.id, entry)));
    }
    Ok(())
}

/// How many lots of an account were read, by what they were read for.
#[derive(Default)]
struct ReadLots {
    vesting: i64,
    expiring: i64,
    sliding: i64,
}

/// Reads lots: those asked for, those due, and those that slide if that is due.
async fn load_lots(state: &mut PointsState, connection: &mut PgConnection, scope: &Scope) -> Result<(), StoreError> {
    if state.asked.lots.is_empty() && scope.due.is_empty() && scope.depth != Depth::Whole {
        return Ok(());
    }
    let sliding = accounts_whose_sliding_lots_are_read(state, scope);
    let limit = limit_of(scope);
    let request = LotRequest { asked: &state.asked.lots, sliding: &sliding, limit };
    let found = lots::read_lots(connection, scope, request).await?;
    // All that slide were read, unless as many were found as may be.
    let mut slid_to: BTreeMap<AccountId, i64> = sliding.iter().map(|account_id| (*account_id, i64::MAX)).collect();
    let mut read: BTreeMap<AccountId, ReadLots> = BTreeMap::new();
    for FoundLot { key, lot, read_for } in found {
        let account_id = key.0;
        let account = read.entry(account_id).or_default();
        let count = match read_for {
            ReadFor::Asked | ReadFor::Fixed | ReadFor::Slide | ReadFor::Payer => None,
            ReadFor::Vesting => Some(&mut account.vesting),
            ReadFor::Expiring => Some(&mut account.expiring),
            ReadFor::Sliding => Some(&mut account.sliding),
            ReadFor::Later => {
                if let Some(due) = lot.due() {
                    note_unread_due(state, account_id, due);
                }
                continue;
            }
        };
        if let Some(count) = count {
            *count += 1;
            // One more than is applied is read only to know when it is due.
            if *count == limit {
                match lot.due() {
                    Some(due) => note_unread_due(state, account_id, due),
                    None => drop(slid_to.insert(account_id, key.1 - 1)),
                }
                continue;
            }
        }
        state.lots.put_lot(key, lot);
    }
    for (account_id, to) in slid_to {
        if let Some(gap) = state.lots.gaps.get_mut(&account_id) {
            // A spend may have read more of them already.
            gap.sliding_to = gap.sliding_to.max(Some(to));
        }
    }
    Ok(())
}

/// Reads what makes up for lots that commands or dues name: if their points come back expired, it is given back.
async fn load_makers_up(
    state: &mut PointsState,
    connection: &mut PgConnection,
    scope: &Scope,
) -> Result<(), StoreError> {
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
        let found = lots::read_makers_up(connection, &others, &debts).await?;
        if i64::try_from(found.len()).is_ok_and(|count| count >= MAX_SPEND_LOTS) {
            return Err(StoreError::TooManyRows { most: MAX_SPEND_LOTS });
        }
        for FoundLot { key, lot, read_for } in found {
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
        check_rows(state, scope)?;
    }
    Ok(())
}

fn accounts_whose_sliding_lots_are_read(state: &PointsState, scope: &Scope) -> Vec<AccountId> {
    let is_read = |account_id: &AccountId| {
        let slides_to = state.lots.earning(*account_id).and_then(|earning| earning.slides_to);
        // Where none does yet, time may bring the first that does.
        slides_to.is_none_or(|slides_to| slides_to <= scope.latest)
    };
    scope.due.iter().copied().filter(is_read).collect()
}

fn note_unread_due(state: &mut PointsState, account_id: AccountId, due: Due) {
    if let Some(gap) = state.lots.gaps.get_mut(&account_id) {
        gap.due = gap.due.into_iter().chain([due]).min();
    }
}

/// How many dues of an account are read, of each kind: one more than are applied, to know when that one is due.
fn limit_of(scope: &Scope) -> i64 {
    match scope.depth {
        Depth::Asked => scope.most_dues + 1,
        Depth::Due => MAX_READ_DUES + 1,
        Depth::Whole => i64::MAX,
    }
}
