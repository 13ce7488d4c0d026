//! The kinds of reversal: which entries can be undone, and what undoing them does.

use crate::book::{Detail, Pocket, PointsDetail};

/// What undoing an entry does to its points, by the entry's kind.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ReversalKind {
    /// The lot that the entry made is cancelled, as far as the clawback goes.
    TakeBack,
    /// The points return from this pocket to the lots that they were of.
    GiveBack(Pocket),
    /// The points return from their expiry, while the program allows it.
    Reinstate,
}

impl ReversalKind {
    /// How an entry with this detail is undone; none if it cannot be.
    pub(super) const fn of(detail: &Detail) -> Option<Self> {
        match detail {
            Detail::Points(detail) => match detail {
                PointsDetail::PointsGranted { .. }
                | PointsDetail::PointsImported { .. }
                | PointsDetail::PointsAdjusted { terms: Some(_), .. } => Some(Self::TakeBack),
                PointsDetail::PointsAdjusted { terms: None, .. } => Some(Self::GiveBack(Pocket::Cancelled)),
                PointsDetail::PointsRedeemed { .. } => Some(Self::GiveBack(Pocket::Redeemed)),
                PointsDetail::PointsExpired { .. } => Some(Self::Reinstate),
                PointsDetail::PointsVested { .. }
                | PointsDetail::VestingMissed { .. }
                | PointsDetail::PointsHeld { .. }
                | PointsDetail::PointsReleased { .. }
                | PointsDetail::EntryReversed { .. }
                | PointsDetail::DebtIncurred { .. }
                | PointsDetail::ReversalSettled { .. }
                | PointsDetail::DebtRepaid { .. }
                | PointsDetail::PointsForfeited => None,
            },
            Detail::Program(_)
            | Detail::Customer(_)
            | Detail::Activity(_)
            | Detail::Tier(_)
            | Detail::Benefit(_)
            | Detail::Referral(_)
            | Detail::Complaint(_)
            | Detail::Goodwill(_)
            | Detail::Lifecycle(_)
            | Detail::Value(_) => None,
        }
    }
}
