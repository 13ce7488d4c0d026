//! What entries are about, on the wire.

use super::{Detail, Entry, LotPart, Movement, Pocket};
use crate::ids::{AccountId, EntryId};
use crate::proto;

/// A move on the wire.
#[must_use]
pub fn write_move(movement: Movement) -> proto::PocketMove {
    proto::PocketMove {
        from: write_pocket(movement.from).into(),
        to: write_pocket(movement.to).into(),
        points: movement.points,
    }
}

/// Parts of an account's lots on the wire.
#[must_use]
pub fn write_parts(account_id: AccountId, parts: &[LotPart]) -> Vec<proto::LotPart> {
    let lot_id = |lot| EntryId { account_id, account_seq: lot }.to_string();
    parts.iter().map(|part| proto::LotPart { lot_id: lot_id(part.lot), points: part.points }).collect()
}

/// The lots whose points an entry moved, on the wire; not the lot that it made.
#[must_use]
pub fn write_lots(entry: &Entry) -> Vec<proto::LotPart> {
    let parts = match (&entry.detail, entry.movement) {
        // These are of one lot whole.
        (Detail::PointsVested { lot, .. } | Detail::VestingMissed { lot }, Some(movement)) => {
            &[LotPart { lot: *lot, points: movement.points }][..]
        }
        (detail, _) => detail.lots(),
    };
    write_parts(entry.id.account_id, parts)
}

/// A kind on the wire.
#[must_use]
pub const fn write_kind(detail: &Detail) -> proto::EntryKind {
    match detail {
        Detail::ProgramApplied { .. } => proto::EntryKind::ProgramApplied,
        Detail::CustomerEnrolled => proto::EntryKind::CustomerEnrolled,
        Detail::DossierUpdated { .. } => proto::EntryKind::DossierUpdated,
        Detail::ActivityAccepted { .. } => proto::EntryKind::ActivityAccepted,
        Detail::RefundAccepted { .. } => proto::EntryKind::RefundAccepted,
        Detail::PointsGranted { .. } => proto::EntryKind::PointsGranted,
        Detail::PointsImported { .. } => proto::EntryKind::PointsImported,
        Detail::PointsVested { .. } => proto::EntryKind::PointsVested,
        Detail::VestingMissed { .. } => proto::EntryKind::VestingMissed,
        Detail::PointsExpired { .. } => proto::EntryKind::PointsExpired,
        Detail::PointsRedeemed { .. } => proto::EntryKind::PointsRedeemed,
        Detail::PointsHeld { .. } => proto::EntryKind::PointsHeld,
        Detail::PointsReleased { .. } => proto::EntryKind::PointsReleased,
        Detail::PointsAdjusted { .. } => proto::EntryKind::PointsAdjusted,
        Detail::EntryReversed { .. } => proto::EntryKind::EntryReversed,
        Detail::DebtIncurred { .. } => proto::EntryKind::DebtIncurred,
        Detail::DebtRepaid { .. } => proto::EntryKind::DebtRepaid,
        Detail::TierImported { .. } => proto::EntryKind::TierImported,
        Detail::TierChanged { .. } => proto::EntryKind::TierChanged,
        Detail::ReferralCodeCreated { .. } => proto::EntryKind::ReferralCodeCreated,
        Detail::ReferralCreated { .. } => proto::EntryKind::ReferralCreated,
        Detail::ReferralConverted { .. } => proto::EntryKind::ReferralConverted,
        Detail::ReferralExpired => proto::EntryKind::ReferralExpired,
    }
}

const fn write_pocket(pocket: Pocket) -> proto::Pocket {
    match pocket {
        Pocket::Issued => proto::Pocket::Issued,
        Pocket::Owed => proto::Pocket::Owed,
        Pocket::Pending => proto::Pocket::Pending,
        Pocket::Available => proto::Pocket::Available,
        Pocket::Held => proto::Pocket::Held,
        Pocket::Redeemed => proto::Pocket::Redeemed,
        Pocket::Expired => proto::Pocket::Expired,
        Pocket::Cancelled => proto::Pocket::Cancelled,
    }
}
