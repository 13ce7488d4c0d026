//! What a batch has written, counted by program for those who watch.

use std::collections::BTreeMap;

use super::memory::Batch;
use crate::book::detail::{Detail, ReferralDetail, TierDetail};
use crate::book::entry::{Entry, Pocket};
use crate::ids::ProgramId;
use crate::telemetry::metrics::Wrote;

/// What was written of each program.
pub(super) type Tally = BTreeMap<ProgramId, Wrote>;

impl Batch<'_> {
    /// What the batch has written.
    pub(super) fn tally(&self) -> Tally {
        tally(&self.entries)
    }
}

fn tally(entries: &[Entry]) -> Tally {
    let mut tally = Tally::new();
    for entry in entries {
        let wrote = match tally.get_mut(&entry.program_id) {
            Some(wrote) => wrote,
            None => tally.entry(entry.program_id.clone()).or_default(),
        };
        wrote.entries += 1;
        if let Some(movement) = &entry.movement {
            let points = u64::try_from(movement.points).unwrap_or(0);
            if movement.from == Pocket::Issued {
                wrote.points_granted = wrote.points_granted.saturating_add(points);
            }
            match movement.to {
                Pocket::Redeemed => wrote.points_redeemed = wrote.points_redeemed.saturating_add(points),
                Pocket::Expired => wrote.points_expired = wrote.points_expired.saturating_add(points),
                Pocket::Issued
                | Pocket::Owed
                | Pocket::Pending
                | Pocket::Available
                | Pocket::Held
                | Pocket::Cancelled => {}
            }
        }
        match &entry.detail {
            Detail::Tier(
                TierDetail::TierImported { .. }
                | TierDetail::TierChanged { .. }
                | TierDetail::TierOverridden { .. }
                | TierDetail::TierReleased { .. },
            ) => wrote.tier_changes += 1,
            Detail::Tier(TierDetail::ReferralCounted { .. }) => {}
            Detail::Referral(ReferralDetail::ReferralConverted { .. }) => wrote.conversions += 1,
            Detail::Program(_)
            | Detail::Customer(_)
            | Detail::Activity(_)
            | Detail::Points(_)
            | Detail::Benefit(_)
            | Detail::Complaint(_)
            | Detail::Goodwill(_)
            | Detail::Lifecycle(_)
            | Detail::Value(_) => {}
            Detail::Referral(
                ReferralDetail::ReferralCodeCreated { .. }
                | ReferralDetail::ReferralCreated { .. }
                | ReferralDetail::ReferralExpired,
            ) => {}
        }
    }
    tally
}
