//! What points that become available pay of a debt.

use super::lots::parts::{first_points, sum};
use crate::book::{Actor, EntryReason, LotPart, NewEntry, Pocket, PocketMove, PointsDetail};
use crate::ids::EntryId;

/// What points that become available pay of a debt: the first of `parts`, as far as they go.
#[must_use]
pub(super) fn repay(owed: i64, parts: &[LotPart], policy_version: i32, causes: Vec<EntryId>) -> Option<NewEntry> {
    let lots = first_points(parts, owed);
    let points = sum(&lots);
    (points > 0).then_some(NewEntry {
        detail: PointsDetail::DebtRepaid { lots }.into(),
        movement: Some(PocketMove { from: Pocket::Available, to: Pocket::Owed, points }),
        actor: Actor::Rule,
        reason: EntryReason::DebtRepayment,
        policy_version,
        causes,
    })
}
