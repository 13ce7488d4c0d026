//! Which lots a batch reads because it spends points: in spending order, some at a time, until they suffice.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;

use super::{FoundLot, LotRow, ReadFor, into_lots, lot_rows};
use crate::book::{Scope, States};
use crate::database::{ReadPart, Selection, StoreError, selection};
use crate::ids::AccountId;
use crate::points::lots::{BEHIND_ALL, Gap, SPEND_PAGES};
use crate::points::state::PointsState;

/// Before the expiry of every lot.
const BEFORE_ALL: Timestamp = Timestamp::constant(-62_135_596_800, 0);

/// Where the reading of an account's lots in spending order has come to.
#[derive(Clone, Copy, Debug)]
struct SpendCursor {
    account_id: AccountId,
    /// The last of those that do not slide, by its expiry, none for never, and its number. No more of them are read, if
    /// absent.
    fixed_after: Option<(Option<Timestamp>, i64)>,
    /// The number of the last of those that slide.
    slide_after: Option<i64>,
}

impl SpendCursor {
    /// Nothing was read yet.
    const fn start(account_id: AccountId) -> Self {
        Self { account_id, fixed_after: Some((Some(BEFORE_ALL), i64::MIN)), slide_after: Some(i64::MIN) }
    }

    /// Whether some were read.
    fn is_begun(&self) -> bool {
        self.fixed_after != Self::start(self.account_id).fixed_after
    }

    /// Whether there may be more.
    const fn has_more(&self) -> bool {
        self.fixed_after.is_some() || self.slide_after.is_some()
    }
}

/// The next lots of accounts in spending order: of each account at most `limit` that do not slide, and as many that do.
fn spendable_after(cursors: &[SpendCursor], limit: i64) -> Selection<LotRow> {
    let (mut fixed, mut after, mut after_seqs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut slides, mut slide_seqs) = (Vec::new(), Vec::new());
    for cursor in cursors {
        if let Some((expires_at, seq)) = cursor.fixed_after {
            fixed.push(cursor.account_id.0);
            after.push(expires_at.map(|instant| instant.to_sqlx()));
            after_seqs.push(seq);
        }
        if let Some(seq) = cursor.slide_after {
            slides.push(cursor.account_id.0);
            slide_seqs.push(seq);
        }
    }
    lot_rows!(
        selection!("lots", LotRow,),
        "read_for",
        "(
               SELECT 'fixed' AS read_for, l.*
               FROM unnest($1::uuid[], $2::timestamptz[], $3::bigint[]) AS u (account_id, after_at, after_seq)
               CROSS JOIN LATERAL (
                   SELECT * FROM lots a
                   WHERE a.account_id = u.account_id AND a.has_available AND NOT a.slides
                     AND (coalesce(a.expires_at, 'infinity'), a.lot_seq)
                         > (coalesce(u.after_at, 'infinity'), u.after_seq)
                   ORDER BY coalesce(a.expires_at, 'infinity'), a.lot_seq LIMIT $6
               ) l
               UNION ALL
               SELECT 'slide', l.*
               FROM unnest($4::uuid[], $5::bigint[]) AS u (account_id, after_seq)
               CROSS JOIN LATERAL (
                   SELECT * FROM lots s
                   WHERE s.account_id = u.account_id AND s.has_available AND s.slides AND s.lot_seq > u.after_seq
                   ORDER BY s.lot_seq LIMIT $6
               ) l
           ) found",
        [fixed, after, after_seqs, slides, slide_seqs, limit],
    )
}

/// What is spent of an account.
#[derive(Clone, Copy, Debug, Default)]
struct Spend {
    points: i64,
    /// Whether it may move the instant at which lots slide before it takes them.
    slides_first: bool,
}

/// What the batch spends: what commands asked for, and what makes up for grants that are undone whose own lots have less.
fn spends_of(state: &PointsState) -> BTreeMap<AccountId, Spend> {
    let mut spends: BTreeMap<AccountId, Spend> = BTreeMap::new();
    for (account_id, points) in &state.asked.points {
        spends.entry(*account_id).or_default().points = *points;
    }
    for entry in state.entries.values().chain(state.commands.values().flatten()) {
        let key = (entry.id.account_id, entry.id.account_seq);
        let (Some(lot), Some(movement)) = (state.lots.lots.get(&key), entry.movement) else { continue };
        let left = movement.points.saturating_sub(state.lots.reversed(key.0, key.1).in_all);
        let own = [lot.pending, lot.available, lot.expired].into_iter().fold(0_i64, i64::saturating_add);
        if left > own {
            let spend = spends.entry(key.0).or_default();
            spend.points = spend.points.saturating_add(left);
            spend.slides_first = true;
        }
    }
    spends
}

/// The first lots of accounts whose points are to be spent.
pub(in crate::points::store) fn first_page(state: &PointsState, scope: &Scope) -> Option<ReadPart<States>> {
    let accounts = state.asked.points.keys().filter(|account_id| is_stored(scope, **account_id));
    // Whether any lots slide is not known yet. Where none do, none are found.
    let cursors: Vec<SpendCursor> = accounts.map(|account_id| SpendCursor::start(*account_id)).collect();
    if cursors.is_empty() {
        return None;
    }
    let [limit, ..] = SPEND_PAGES;
    let page = spendable_after(&cursors, limit);
    Some(page.into_part(move |states: &mut States, rows| {
        note_spendable(states.get_mut()?, &cursors, limit, into_lots(rows)?);
        Ok(())
    }))
}

/// Whether an account was there before the batch. Of one that was just opened, all is known.
fn is_stored(scope: &Scope, account_id: AccountId) -> bool {
    scope.accounts.binary_search(&account_id).is_ok()
}

/// Reads lots in spending order, some at a time, until the spends are covered.
pub(in crate::points::store) async fn load(
    state: &mut PointsState,
    scope: &Scope,
    connection: &mut PgConnection,
) -> Result<(), StoreError> {
    let mut spends = spends_of(state);
    spends.retain(|account_id, _| is_stored(scope, *account_id));
    let mut cursors: Vec<SpendCursor> = spends.keys().map(|account_id| cursor_of(state, *account_id)).collect();
    let leave_what_is_covered = |state: &PointsState, cursors: &mut Vec<SpendCursor>| {
        cursors.retain(|cursor| {
            let spend = spends.get(&cursor.account_id).copied().unwrap_or_default();
            cursor.has_more() && !is_covered(state, cursor.account_id, spend)
        });
    };
    for limit in SPEND_PAGES {
        leave_what_is_covered(state, &mut cursors);
        if cursors.is_empty() {
            return Ok(());
        }
        // Where the first page of all was read already, the second comes next.
        if cursors.iter().all(SpendCursor::is_begun) && limit == SPEND_PAGES[0] {
            continue;
        }
        let found = into_lots(spendable_after(&cursors, limit).fetch(connection).await?)?;
        note_spendable(state, &cursors, limit, found);
        for cursor in &mut cursors {
            *cursor = cursor_of(state, cursor.account_id);
        }
    }
    leave_what_is_covered(state, &mut cursors);
    for cursor in cursors {
        if let Some(gap) = state.lots.gaps.get_mut(&cursor.account_id) {
            gap.is_too_wide = true;
        }
    }
    Ok(())
}

/// Where the reading of an account's lots goes on.
fn cursor_of(state: &PointsState, account_id: AccountId) -> SpendCursor {
    let start = SpendCursor::start(account_id);
    let Some(gap) = state.lots.gaps.get(&account_id) else { return start };
    let Some(fixed_to) = gap.fixed_to else {
        // Without an instant to which they slide, no lot slides.
        let slides_to = state.lots.earning(account_id).and_then(|earning| earning.slides_to);
        return SpendCursor { slide_after: start.slide_after.filter(|_| slides_to.is_some()), ..start };
    };
    let (expires_at, seq) = fixed_to;
    let fixed_after = Some((Some(expires_at).filter(|at| *at < Timestamp::MAX), seq));
    SpendCursor {
        account_id,
        fixed_after: fixed_after.filter(|_| fixed_to != BEHIND_ALL),
        slide_after: gap.sliding_to.filter(|to| *to < i64::MAX),
    }
}

/// Takes in a page of lots in spending order, and notes up to where each account's were read.
fn note_spendable(state: &mut PointsState, cursors: &[SpendCursor], limit: i64, found: Vec<FoundLot>) {
    // How many came of each account and kind, and the last of them.
    let mut ends: BTreeMap<(AccountId, bool), (i64, &FoundLot)> = BTreeMap::new();
    for lot in &found {
        let end = ends.entry((lot.key.0, lot.read_for == ReadFor::Slide)).or_insert((0, lot));
        *end = (end.0 + 1, lot);
    }
    for SpendCursor { account_id, fixed_after, slide_after } in cursors {
        // Where fewer came than were asked for, there are no more.
        let last = |slides| {
            ends.get(&(*account_id, slides)).filter(|(count, _)| *count == limit).map(|(_, last)| {
                let expires_at = last.lot.terms.expires_at.unwrap_or(Timestamp::MAX);
                (expires_at, last.key.1)
            })
        };
        let gap = state.lots.gaps.entry(*account_id).or_insert(Gap::NOTHING_READ);
        gap.fixed_to = fixed_after.and_then(|_| last(false)).or(Some(BEHIND_ALL));
        let slid_to = slide_after.and_then(|_| last(true)).map_or(i64::MAX, |(_, seq)| seq);
        gap.sliding_to = gap.sliding_to.max(Some(slid_to));
    }
    for FoundLot { key, lot, .. } in found {
        state.lots.put_lot(key, lot);
    }
}

/// Whether the lots that were read cover a spend: in their present order, and also if all that slide came last.
fn is_covered(state: &PointsState, account_id: AccountId, spend: Spend) -> bool {
    let lots = &state.lots;
    let Some(read_to) = lots.read_to(account_id, None) else { return false };
    let fixed_to = lots.gaps.get(&account_id).and_then(|gap| gap.fixed_to);
    let (mut in_order, mut fixed) = (0_i64, 0_i64);
    for (seq, lot) in lots.lots_of(account_id).filter(|(_, lot)| lot.available > 0) {
        let key = lots.spend_key(account_id, seq, lot);
        if key <= read_to {
            in_order = in_order.saturating_add(lot.available);
        }
        if !lot.terms.slides && fixed_to.is_some_and(|fixed_to| key <= fixed_to) {
            fixed = fixed.saturating_add(lot.available);
        }
    }
    in_order >= spend.points && (!spend.slides_first || fixed >= spend.points || fixed_to == Some(BEHIND_ALL))
}
