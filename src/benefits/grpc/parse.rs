//! Parses requests about benefits.

use crate::benefits::commands::{ReverseBenefitUse, UseBenefit};
use crate::benefits::granting::{GrantEntitlement, RevokeEntitlement};
use crate::error::{Error, Fields};
use crate::ids::{BenefitId, EntryId, TierId};
use crate::points::grpc::{parse_correction_reason, parse_key, parse_note, parse_note_in, parse_said, parse_subject};
use crate::proto;
use crate::proto::fields::parse_optional_instant;

/// The most of one use, and of one grant.
const MAX_QUANTITY: i64 = 1_000_000;

pub(super) fn parse_use(request: proto::UseBenefitRequest) -> Result<UseBenefit, Error> {
    let mut fields = Fields::default();
    let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
    let benefit_id = fields.check("benefit_id", BenefitId::try_from(request.benefit_id));
    let (quantity, companions) = (if request.quantity == 0 { 1 } else { request.quantity }, request.companions);
    if !(1..=MAX_QUANTITY).contains(&quantity) {
        fields.refuse("quantity", "must be from 0 to 1,000,000; 0 means 1");
    }
    if !(0..=MAX_QUANTITY).contains(&companions) {
        fields.refuse("companions", "must be from 0 to 1,000,000");
    }
    let entitlement_id = parse_entitlement_id(&mut fields, &request.entitlement_id);
    let place = parse_note_in(&mut fields, "place", request.place);
    let key = parse_key(&mut fields, request.idempotency_key);
    let parsed = || {
        Some(UseBenefit {
            subject: subject?,
            benefit_id: benefit_id?,
            entitlement_id,
            quantity,
            companions,
            place,
            key: key?,
        })
    };
    fields.finish_with(parsed())
}

pub(super) fn parse_reversal(request: proto::ReverseBenefitUseRequest) -> Result<ReverseBenefitUse, Error> {
    let mut fields = Fields::default();
    let reason = parse_correction_reason(&mut fields, request.reason());
    let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
    let use_id = fields.check("use_id", request.use_id.parse());
    let note = parse_note(&mut fields, request.note);
    let key = parse_key(&mut fields, request.idempotency_key);
    let parsed = || Some(ReverseBenefitUse { subject: subject?, use_id: use_id?, reason: reason?, note, key: key? });
    fields.finish_with(parsed())
}

/// The entitlement that is named, if one is.
fn parse_entitlement_id(fields: &mut Fields, entitlement_id: &str) -> Option<EntryId> {
    if entitlement_id.is_empty() {
        return None;
    }
    fields.check("entitlement_id", entitlement_id.parse())
}

pub(super) fn parse_grant(request: proto::GrantEntitlementRequest) -> Result<GrantEntitlement, Error> {
    let mut fields = Fields::default();
    let reason = parse_correction_reason(&mut fields, request.reason());
    let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
    let benefit_id = fields.check("benefit_id", BenefitId::try_from(request.benefit_id));
    let named = Some(request.tier_id).filter(|tier_id| !tier_id.is_empty());
    let tier_id = named.and_then(|tier_id| fields.check("tier_id", TierId::try_from(tier_id)));
    if !(0..=MAX_QUANTITY).contains(&request.quantity) {
        fields.refuse("quantity", "must be from 0 to 1,000,000; 0 means what the benefit's quota says");
    }
    let quantity = Some(request.quantity).filter(|quantity| *quantity > 0);
    let until = parse_optional_instant(&mut fields, "until", request.until.as_ref());
    let note = parse_said(&mut fields, request.author, request.note);
    let key = parse_key(&mut fields, request.idempotency_key);
    let parsed = || {
        Some(GrantEntitlement {
            subject: subject?,
            benefit_id: benefit_id?,
            tier_id,
            quantity,
            until,
            reason: reason?,
            note: note?,
            key: key?,
        })
    };
    fields.finish_with(parsed())
}

pub(super) fn parse_revocation(request: proto::RevokeEntitlementRequest) -> Result<RevokeEntitlement, Error> {
    let mut fields = Fields::default();
    let reason = parse_correction_reason(&mut fields, request.reason());
    let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
    let entitlement_id = fields.check("entitlement_id", request.entitlement_id.parse());
    let note = parse_said(&mut fields, request.author, request.note);
    let key = parse_key(&mut fields, request.idempotency_key);
    let parsed = || {
        Some(RevokeEntitlement {
            subject: subject?,
            entitlement_id: entitlement_id?,
            reason: reason?,
            note: note?,
            key: key?,
        })
    };
    fields.finish_with(parsed())
}
