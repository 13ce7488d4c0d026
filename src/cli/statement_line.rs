//! What a line of a customer's statement says, in English for people.

use goldbook_api::v1::{EntryKind, EntryReason, Pocket, PocketMove, StatementLine};

/// What a move of points is, in a few words. The words may change with any version.
#[must_use]
pub fn describe(line: &StatementLine) -> &'static str {
    let reason = line.reason();
    match line.kind() {
        EntryKind::PointsGranted => describe_grant(reason),
        EntryKind::PointsImported => "Points taken over from another system",
        EntryKind::PointsVested if reason == EntryReason::EventHappened => {
            "Points available: what they were granted for happened"
        }
        EntryKind::PointsVested => "Points available",
        EntryKind::VestingMissed => "Points cancelled: what they were granted for did not happen in time",
        EntryKind::PointsExpired => "Points expired",
        EntryKind::PointsRedeemed => "Points redeemed",
        EntryKind::PointsHeld => "Points set aside",
        EntryKind::PointsReleased if reason == EntryReason::TimeReached => "Points returned: the hold ended",
        EntryKind::PointsReleased => "Points returned from a hold",
        EntryKind::PointsAdjusted => describe_adjustment(line.r#move.as_ref()),
        EntryKind::EntryReversed if reason == EntryReason::Refund => "Points taken back for a refund",
        EntryKind::EntryReversed => describe_reversal(line.r#move.as_ref()),
        EntryKind::DebtIncurred if reason == EntryReason::Refund => "Points owed for a refund",
        EntryKind::DebtIncurred => "Points owed for a reversal",
        EntryKind::DebtRepaid => "Points used to pay what was owed",
        EntryKind::ReversalSettled => describe_settlement(line.r#move.as_ref()),
        EntryKind::PointsForfeited => "Points given up: the customer was erased",
        // These move no points. A kind that is newer than this program reads as the unspecified one.
        EntryKind::Unspecified
        | EntryKind::ProgramApplied
        | EntryKind::CustomerEnrolled
        | EntryKind::DossierUpdated
        | EntryKind::ActivityAccepted
        | EntryKind::RefundAccepted
        | EntryKind::FeedbackAccepted
        | EntryKind::ComplaintOpened
        | EntryKind::ComplaintAcknowledged
        | EntryKind::ComplaintUpdated
        | EntryKind::ComplaintEscalated
        | EntryKind::RemedyOffered
        | EntryKind::ComplaintResolved
        | EntryKind::ComplaintReopened
        | EntryKind::GoodwillGiven
        | EntryKind::GoodwillDrawn
        | EntryKind::LifecycleDecided
        | EntryKind::ValueClassDecided
        | EntryKind::TierChanged
        | EntryKind::TierImported
        | EntryKind::TierOverridden
        | EntryKind::TierReleased
        | EntryKind::ReferralCounted
        | EntryKind::BenefitUsed
        | EntryKind::BenefitUseReversed
        | EntryKind::EntitlementGranted
        | EntryKind::EntitlementRevoked
        | EntryKind::PackageGiven
        | EntryKind::ReferralCodeCreated
        | EntryKind::ReferralCreated
        | EntryKind::ReferralConverted
        | EntryKind::ReferralExpired
        | EntryKind::EntriesExported
        | EntryKind::ReevaluationOrdered
        | EntryKind::ValueModelFitted
        | EntryKind::CustomersClassed
        | EntryKind::CustomerExported
        | EntryKind::CustomerErased
        | EntryKind::DossierErased
        | EntryKind::NotesErased => "Points moved",
    }
}

const fn describe_grant(reason: EntryReason) -> &'static str {
    match reason {
        EntryReason::Purchase => "Points for a purchase",
        EntryReason::ReferralReferrer => "Points for bringing a customer",
        EntryReason::ReferralReferee => "Points for coming by a referral",
        EntryReason::Goodwill => "Points as a gesture of goodwill",
        EntryReason::Promotion => "Points of a promotion",
        EntryReason::Correction => "Points to correct a mistake",
        EntryReason::Package => "Points of a package",
        EntryReason::Unspecified
        | EntryReason::ProgramApplied
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
        | EntryReason::DebtRepayment
        | EntryReason::Migration
        | EntryReason::Fraud
        | EntryReason::CustomerRequest
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
        | EntryReason::Other => "Points granted",
    }
}

/// Points that are added are issued; points that are taken were there before.
fn describe_adjustment(movement: Option<&PocketMove>) -> &'static str {
    match movement.map(PocketMove::from) {
        Some(Pocket::Issued) => "Points added by hand",
        None
        | Some(
            Pocket::Unspecified
            | Pocket::Owed
            | Pocket::Pending
            | Pocket::Available
            | Pocket::Held
            | Pocket::Redeemed
            | Pocket::Expired
            | Pocket::Cancelled,
        ) => "Points taken by hand",
    }
}

fn describe_settlement(movement: Option<&PocketMove>) -> &'static str {
    let Some(movement) = movement else { return "Points moved" };
    match movement.to() {
        Pocket::Cancelled => "Expired points counted toward what was taken back",
        Pocket::Owed => "No longer owed: points had expired meanwhile",
        Pocket::Available => "Points returned: others had expired meanwhile",
        Pocket::Expired => "Points returned too late: they had expired meanwhile",
        Pocket::Unspecified | Pocket::Issued | Pocket::Pending | Pocket::Held | Pocket::Redeemed => "Points moved",
    }
}

fn describe_reversal(movement: Option<&PocketMove>) -> &'static str {
    let Some(movement) = movement else { return "Points taken back: a grant was undone" };
    let had_expired = movement.to() == Pocket::Expired;
    match movement.from() {
        Pocket::Redeemed if had_expired => "Redemption undone: the points had expired meanwhile",
        Pocket::Redeemed => "Points returned: a redemption was undone",
        Pocket::Expired if movement.to() == Pocket::Available => "Expired points reinstated",
        Pocket::Cancelled if had_expired => "Points taken by hand given back: they had expired meanwhile",
        Pocket::Cancelled => "Points taken by hand given back",
        Pocket::Unspecified
        | Pocket::Issued
        | Pocket::Owed
        | Pocket::Pending
        | Pocket::Available
        | Pocket::Held
        | Pocket::Expired => "Points taken back: a grant was undone",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: EntryKind, reason: EntryReason, from: Pocket, to: Pocket) -> StatementLine {
        let movement = PocketMove { from: from.into(), to: to.into(), points: 1 };
        StatementLine { kind: kind.into(), reason: reason.into(), r#move: Some(movement), ..StatementLine::default() }
    }

    #[test]
    fn a_line_is_told_by_its_kind_its_reason_and_its_pockets() {
        use EntryKind::{DebtIncurred, EntryReversed, PointsAdjusted, PointsGranted, PointsReleased, PointsVested};
        use EntryReason::{Correction, EventHappened, Fraud, Hold, Refund, TimeReached};
        use Pocket::{Available, Cancelled, Expired, Held, Issued, Owed, Pending, Redeemed};

        for (told, expected) in [
            (line(PointsGranted, Correction, Issued, Available), "Points to correct a mistake"),
            (line(PointsGranted, EntryReason::Other, Issued, Available), "Points granted"),
            (
                line(PointsVested, EventHappened, Pending, Available),
                "Points available: what they were granted for happened",
            ),
            (line(PointsVested, TimeReached, Pending, Available), "Points available"),
            (line(PointsReleased, TimeReached, Held, Available), "Points returned: the hold ended"),
            (line(PointsReleased, Hold, Held, Available), "Points returned from a hold"),
            (line(PointsAdjusted, Correction, Issued, Available), "Points added by hand"),
            (line(PointsAdjusted, Correction, Available, Cancelled), "Points taken by hand"),
            (line(EntryReversed, Refund, Available, Cancelled), "Points taken back for a refund"),
            (line(EntryReversed, Fraud, Redeemed, Expired), "Redemption undone: the points had expired meanwhile"),
            (line(EntryReversed, Fraud, Expired, Available), "Expired points reinstated"),
            (line(EntryReversed, Fraud, Cancelled, Available), "Points taken by hand given back"),
            (line(EntryReversed, Fraud, Available, Cancelled), "Points taken back: a grant was undone"),
            (line(DebtIncurred, Fraud, Owed, Cancelled), "Points owed for a reversal"),
        ] {
            assert_eq!(describe(&told), expected);
        }
        let newer = StatementLine { kind: 999, ..StatementLine::default() };
        assert_eq!(describe(&newer), "Points moved");
    }
}
