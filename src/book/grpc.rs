//! What entries are about, on the wire.

use super::detail::{
    ActivityDetail, BenefitDetail, ComplaintDetail, CustomerDetail, Detail, GoodwillDetail, LifecycleDetail, LotPart,
    PointsDetail, ProgramDetail, ReferralDetail, TierDetail, ValueDetail,
};
use super::entry::{Entry, EntryReason, Pocket, PocketMove};
use crate::ids::{AccountId, EntryId};
use crate::proto;

/// A move on the wire.
#[must_use]
pub fn write_move(movement: PocketMove) -> proto::PocketMove {
    proto::PocketMove {
        from: write_pocket(movement.from).into(),
        to: write_pocket(movement.to).into(),
        points: movement.points,
    }
}

/// A move on the wire, by the words that are stored. A pocket of a newer version is unspecified.
#[must_use]
pub fn write_stored_move(from: &str, to: &str, points: i64) -> proto::PocketMove {
    let pocket = |word| Pocket::from_stored(word).map_or(proto::Pocket::Unspecified, write_pocket).into();
    proto::PocketMove { from: pocket(from), to: pocket(to), points }
}

/// A kind on the wire, by the word that is stored, which is its name there. One of a newer version is unspecified.
#[must_use]
pub fn write_stored_kind(word: &str) -> proto::EntryKind {
    let name = format!("ENTRY_KIND_{}", word.to_uppercase());
    proto::EntryKind::from_str_name(&name).unwrap_or(proto::EntryKind::Unspecified)
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
    write_parts(entry.id.account_id, &entry.moved_lots())
}

/// A kind on the wire.
#[must_use]
pub const fn write_kind(detail: &Detail) -> proto::EntryKind {
    match detail {
        Detail::Program(detail) => match detail {
            ProgramDetail::ProgramApplied { .. } => proto::EntryKind::ProgramApplied,
            ProgramDetail::EntriesExported { .. } => proto::EntryKind::EntriesExported,
            ProgramDetail::ReevaluationOrdered { .. } => proto::EntryKind::ReevaluationOrdered,
            ProgramDetail::ValueModelFitted { .. } => proto::EntryKind::ValueModelFitted,
            ProgramDetail::CustomersClassed { .. } => proto::EntryKind::CustomersClassed,
        },
        Detail::Customer(detail) => match detail {
            CustomerDetail::CustomerEnrolled => proto::EntryKind::CustomerEnrolled,
            CustomerDetail::DossierUpdated { .. } => proto::EntryKind::DossierUpdated,
            CustomerDetail::CustomerExported => proto::EntryKind::CustomerExported,
            CustomerDetail::CustomerErased { .. } => proto::EntryKind::CustomerErased,
            CustomerDetail::DossierErased { .. } => proto::EntryKind::DossierErased,
            CustomerDetail::NotesErased => proto::EntryKind::NotesErased,
        },
        Detail::Activity(detail) => match detail {
            ActivityDetail::ActivityAccepted { .. } => proto::EntryKind::ActivityAccepted,
            ActivityDetail::RefundAccepted { .. } => proto::EntryKind::RefundAccepted,
            ActivityDetail::FeedbackAccepted { .. } => proto::EntryKind::FeedbackAccepted,
        },
        Detail::Points(detail) => write_points_kind(detail),
        Detail::Tier(detail) => match detail {
            TierDetail::TierImported { .. } => proto::EntryKind::TierImported,
            TierDetail::TierChanged { .. } => proto::EntryKind::TierChanged,
            TierDetail::TierOverridden { .. } => proto::EntryKind::TierOverridden,
            TierDetail::TierReleased { .. } => proto::EntryKind::TierReleased,
            TierDetail::ReferralCounted { .. } => proto::EntryKind::ReferralCounted,
        },
        Detail::Benefit(detail) => match detail {
            BenefitDetail::BenefitUsed { .. } => proto::EntryKind::BenefitUsed,
            BenefitDetail::BenefitUseReversed { .. } => proto::EntryKind::BenefitUseReversed,
            BenefitDetail::EntitlementGranted { .. } => proto::EntryKind::EntitlementGranted,
            BenefitDetail::EntitlementRevoked { .. } => proto::EntryKind::EntitlementRevoked,
            BenefitDetail::PackageGiven { .. } => proto::EntryKind::PackageGiven,
        },
        Detail::Referral(detail) => match detail {
            ReferralDetail::ReferralCodeCreated { .. } => proto::EntryKind::ReferralCodeCreated,
            ReferralDetail::ReferralCreated { .. } => proto::EntryKind::ReferralCreated,
            ReferralDetail::ReferralConverted { .. } => proto::EntryKind::ReferralConverted,
            ReferralDetail::ReferralExpired => proto::EntryKind::ReferralExpired,
        },
        Detail::Complaint(detail) => match detail {
            ComplaintDetail::ComplaintOpened { .. } => proto::EntryKind::ComplaintOpened,
            ComplaintDetail::ComplaintAcknowledged { .. } => proto::EntryKind::ComplaintAcknowledged,
            ComplaintDetail::ComplaintUpdated { .. } => proto::EntryKind::ComplaintUpdated,
            ComplaintDetail::ComplaintEscalated { .. } => proto::EntryKind::ComplaintEscalated,
            ComplaintDetail::RemedyOffered { .. } => proto::EntryKind::RemedyOffered,
            ComplaintDetail::ComplaintResolved { .. } => proto::EntryKind::ComplaintResolved,
            ComplaintDetail::ComplaintReopened { .. } => proto::EntryKind::ComplaintReopened,
        },
        Detail::Goodwill(detail) => match detail {
            GoodwillDetail::GoodwillGiven { .. } => proto::EntryKind::GoodwillGiven,
            GoodwillDetail::GoodwillDrawn { .. } => proto::EntryKind::GoodwillDrawn,
        },
        Detail::Lifecycle(LifecycleDetail::LifecycleDecided { .. }) => proto::EntryKind::LifecycleDecided,
        Detail::Value(ValueDetail::ValueClassDecided { .. }) => proto::EntryKind::ValueClassDecided,
    }
}

const fn write_points_kind(detail: &PointsDetail) -> proto::EntryKind {
    match detail {
        PointsDetail::PointsGranted { .. } => proto::EntryKind::PointsGranted,
        PointsDetail::PointsImported { .. } => proto::EntryKind::PointsImported,
        PointsDetail::PointsVested { .. } => proto::EntryKind::PointsVested,
        PointsDetail::VestingMissed { .. } => proto::EntryKind::VestingMissed,
        PointsDetail::PointsExpired { .. } => proto::EntryKind::PointsExpired,
        PointsDetail::PointsRedeemed { .. } => proto::EntryKind::PointsRedeemed,
        PointsDetail::PointsHeld { .. } => proto::EntryKind::PointsHeld,
        PointsDetail::PointsReleased { .. } => proto::EntryKind::PointsReleased,
        PointsDetail::PointsAdjusted { .. } => proto::EntryKind::PointsAdjusted,
        PointsDetail::EntryReversed { .. } => proto::EntryKind::EntryReversed,
        PointsDetail::DebtIncurred { .. } => proto::EntryKind::DebtIncurred,
        PointsDetail::ReversalSettled { .. } => proto::EntryKind::ReversalSettled,
        PointsDetail::DebtRepaid { .. } => proto::EntryKind::DebtRepaid,
        PointsDetail::PointsForfeited => proto::EntryKind::PointsForfeited,
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
        EntryReason::Export => proto::EntryReason::Export,
        EntryReason::Erasure => proto::EntryReason::Erasure,
        EntryReason::Retention => proto::EntryReason::Retention,
        EntryReason::BenefitUse => proto::EntryReason::BenefitUse,
        EntryReason::Reevaluation => proto::EntryReason::Reevaluation,
        EntryReason::Package => proto::EntryReason::Package,
        EntryReason::Feedback => proto::EntryReason::Feedback,
        EntryReason::Complaint => proto::EntryReason::Complaint,
        EntryReason::Lifecycle => proto::EntryReason::Lifecycle,
        EntryReason::ValueModel => proto::EntryReason::ValueModel,
        EntryReason::ValueClass => proto::EntryReason::ValueClass,
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
