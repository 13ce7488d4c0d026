//! What entries are about, on the wire.

use super::detail::{Detail, LotPart};
use super::entry::{Entry, EntryReason, Movement, Pocket};
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

/// A reason on the wire.
#[must_use]
pub const fn write_reason(reason: EntryReason) -> proto::EntryReason {
    match reason {
        EntryReason::ProgramApplied => proto::EntryReason::ProgramApplied,
        EntryReason::Enrolment => proto::EntryReason::Enrolment,
        EntryReason::DossierUpdate => proto::EntryReason::DossierUpdate,
        EntryReason::Purchase => proto::EntryReason::Purchase,
        EntryReason::ThresholdReached => proto::EntryReason::ThresholdReached,
        EntryReason::CodeRequested => proto::EntryReason::CodeRequested,
        EntryReason::Referral => proto::EntryReason::Referral,
        EntryReason::ManualConversion => proto::EntryReason::ManualConversion,
        EntryReason::ReferralReferrer => proto::EntryReason::ReferralReferrer,
        EntryReason::ReferralReferee => proto::EntryReason::ReferralReferee,
        EntryReason::ReferralWindowPassed => proto::EntryReason::ReferralWindowPassed,
        EntryReason::TimeReached => proto::EntryReason::TimeReached,
        EntryReason::EventHappened => proto::EntryReason::EventHappened,
        EntryReason::EventMissed => proto::EntryReason::EventMissed,
        EntryReason::Redemption => proto::EntryReason::Redemption,
        EntryReason::Hold => proto::EntryReason::Hold,
        EntryReason::Refund => proto::EntryReason::Refund,
        EntryReason::DebtRepayment => proto::EntryReason::DebtRepayment,
        EntryReason::Migration => proto::EntryReason::Migration,
        EntryReason::Fraud => proto::EntryReason::Fraud,
        EntryReason::CustomerRequest => proto::EntryReason::CustomerRequest,
        EntryReason::Goodwill => proto::EntryReason::Goodwill,
        EntryReason::Promotion => proto::EntryReason::Promotion,
        EntryReason::Correction => proto::EntryReason::Correction,
        EntryReason::Other => proto::EntryReason::Other,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_the_same_name_in_the_ledger_and_on_the_wire() {
        for reason in EntryReason::ALL {
            let name = write_reason(*reason).as_str_name();
            assert_eq!(name.strip_prefix("ENTRY_REASON_").unwrap().to_lowercase(), reason.as_str());
        }
        // None is left over but the unspecified one.
        let last = i32::try_from(EntryReason::ALL.len()).unwrap();
        assert!(proto::EntryReason::try_from(last).is_ok());
        assert!(proto::EntryReason::try_from(last + 1).is_err());
    }
}
