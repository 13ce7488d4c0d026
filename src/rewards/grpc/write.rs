//! Writes answers about rewards and points.

use jiff::Timestamp;

use crate::book::grpc::{write_kind, write_move, write_parts};
use crate::book::{Detail, Entry, EntryReason, Pocket, PocketMove, PointsDetail};
use crate::ids::{CustomerId, EntryId};
use crate::points::lots::Lot;
use crate::proto;
use crate::proto::fields::write_instant;
use crate::proto::reward;
use crate::rewards::Reward;
use crate::telemetry;

pub(super) fn write_reward(reward: Reward, customer_id: &CustomerId) -> proto::Reward {
    let Reward { entry, note } = reward;
    let points = entry.detail.points();
    let terms = points.and_then(PointsDetail::lot_terms).cloned().unwrap_or_default();
    let uncapped = points.and_then(PointsDetail::uncapped);
    let reason = match entry.reason {
        EntryReason::Purchase => proto::GrantReason::Purchase,
        EntryReason::ReferralReferrer => proto::GrantReason::ReferralReferrer,
        EntryReason::ReferralReferee => proto::GrantReason::ReferralReferee,
        EntryReason::Goodwill => proto::GrantReason::Goodwill,
        EntryReason::Promotion => proto::GrantReason::Promotion,
        EntryReason::Correction => proto::GrantReason::Correction,
        EntryReason::Migration => proto::GrantReason::Migration,
        EntryReason::Package => proto::GrantReason::Package,
        // Apart from `Other` no grant has these reasons. An adjustment can have the next two.
        EntryReason::Other
        | EntryReason::Fraud
        | EntryReason::CustomerRequest
        | EntryReason::ProgramApplied
        | EntryReason::Export
        | EntryReason::Erasure
        | EntryReason::Retention
        | EntryReason::BenefitUse
        | EntryReason::Reevaluation
        | EntryReason::Feedback
        | EntryReason::Complaint
        | EntryReason::Lifecycle
        | EntryReason::ValueModel
        | EntryReason::ValueClass
        | EntryReason::Enrolment
        | EntryReason::DossierUpdate
        | EntryReason::ThresholdReached
        | EntryReason::CodeRequested
        | EntryReason::Referral
        | EntryReason::ManualConversion
        | EntryReason::ReferralWindowPassed
        | EntryReason::TimeReached
        | EntryReason::EventHappened
        | EntryReason::EventMissed
        | EntryReason::Redemption
        | EntryReason::Hold
        | EntryReason::Refund
        | EntryReason::DebtRepayment => proto::GrantReason::Other,
    };
    proto::Reward {
        reward_id: entry.id.to_string(),
        customer_id: customer_id.to_string(),
        content: entry.movement.map(|movement| reward::Content::Points(movement.points)),
        reason: reason.into(),
        note,
        granted_at: Some(write_instant(entry.effective_at)),
        cause_entry_ids: entry.causes.iter().map(ToString::to_string).collect(),
        trace_id: telemetry::TraceId(entry.trace_id).to_string(),
        vests_at: terms.vests_at.map(write_instant),
        vest_by: terms.vest_by.map(write_instant),
        expires_at: terms.expires_at.map(write_instant),
        points_uncapped: uncapped.unwrap_or(0),
    }
}

pub(super) fn write_redemption(entries: &[Entry]) -> Option<proto::Redemption> {
    let spent =
        entries.iter().find(|entry| matches!(entry.detail, Detail::Points(PointsDetail::PointsRedeemed { .. })))?;
    Some(proto::Redemption {
        redemption_id: spent.id.to_string(),
        points: spent.movement?.points,
        lots: write_parts(spent.id.account_id, spent.detail.lots()),
        redeemed_at: Some(write_instant(spent.effective_at)),
        trace_id: telemetry::TraceId(spent.trace_id).to_string(),
    })
}

pub(super) fn write_hold(entry: &Entry) -> Option<proto::Hold> {
    let Detail::Points(PointsDetail::PointsHeld { lots, ends_at }) = &entry.detail else { return None };
    Some(proto::Hold {
        hold_id: entry.id.to_string(),
        points: entry.movement?.points,
        lots: write_parts(entry.id.account_id, lots),
        held_at: Some(write_instant(entry.effective_at)),
        ends_at: Some(write_instant(*ends_at)),
        trace_id: telemetry::TraceId(entry.trace_id).to_string(),
    })
}

/// How many points entries moved from one pocket to another.
pub(super) fn sum_moved(entries: &[Entry], from: Pocket, to: Pocket) -> i64 {
    let moved = entries.iter().filter_map(|entry| entry.movement);
    let moved = moved.filter(|movement| (movement.from, movement.to) == (from, to));
    moved.map(|movement| movement.points).sum()
}

pub(super) fn write_reversal(entries: &[Entry], replayed: bool) -> proto::ReverseEntryResponse {
    let is_reversal = |entry: &&Entry| {
        matches!(entry.detail, Detail::Points(PointsDetail::EntryReversed { .. } | PointsDetail::DebtIncurred { .. }))
    };
    let reversed = entries.iter().filter(is_reversal).filter_map(|entry| entry.movement);
    // What is given back of other lots is no part of the answer: `entry_ids` lead to it.
    let to = |pocket| {
        let moved = reversed.clone().filter(|movement| movement.to == pocket);
        moved.map(|movement| movement.points).sum()
    };
    let owed = entries.iter().filter(|entry| matches!(entry.detail, Detail::Points(PointsDetail::DebtIncurred { .. })));
    proto::ReverseEntryResponse {
        points_returned: to(Pocket::Available),
        points_expired: to(Pocket::Expired),
        points_reversed: reversed.map(|movement| movement.points).sum(),
        points_owed: owed.filter_map(|entry| entry.movement).map(|movement| movement.points).sum(),
        entry_ids: entries.iter().map(|entry| entry.id.to_string()).collect(),
        replayed,
    }
}

pub(super) fn write_adjustment(entries: &[Entry], replayed: bool) -> proto::AdjustPointsResponse {
    let adjusted =
        entries.iter().find(|entry| matches!(entry.detail, Detail::Points(PointsDetail::PointsAdjusted { .. })));
    let points = adjusted.and_then(|entry| entry.movement).map_or(0, |movement| movement.points);
    let lots = adjusted.map_or_else(Vec::new, |entry| match entry.detail.lots() {
        [] => vec![proto::LotPart { lot_id: entry.id.to_string(), points }],
        parts => write_parts(entry.id.account_id, parts),
    });
    proto::AdjustPointsResponse {
        entry_id: adjusted.map(|entry| entry.id.to_string()).unwrap_or_default(),
        points,
        lots,
        points_repaid: sum_moved(entries, Pocket::Available, Pocket::Owed),
        replayed,
    }
}

pub(super) fn write_lot(lot_id: EntryId, lot: &Lot, expires_at: Option<Timestamp>) -> proto::Lot {
    let is_pending = lot.pending > 0;
    proto::Lot {
        lot_id: lot_id.to_string(),
        points: lot.points,
        pending: lot.pending,
        available: lot.available,
        held: lot.held,
        redeemed: lot.redeemed,
        expired: lot.expired,
        cancelled: lot.cancelled,
        repaid: lot.repaid,
        vests_at: lot.terms.vests_at.filter(|_| is_pending).map(write_instant),
        vest_by: lot.terms.vest_by.filter(|_| is_pending).map(write_instant),
        expires_at: expires_at.map(write_instant),
    }
}

pub(super) fn write_lot_use(entry: &Entry, lot_id: EntryId) -> proto::LotUse {
    let part = entry.detail.lots().iter().find(|part| part.lot == lot_id.account_seq);
    let movement = entry
        .movement
        .map(|movement| PocketMove { points: part.map_or(movement.points, |part| part.points), ..movement });
    proto::LotUse {
        entry_id: entry.id.to_string(),
        kind: write_kind(&entry.detail).into(),
        r#move: movement.map(write_move),
        effective_at: Some(write_instant(entry.effective_at)),
    }
}
