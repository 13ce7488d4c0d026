//! Parses requests about tiers.

use std::collections::BTreeSet;

use crate::book::{DowngradeTime, OverrideForce};
use crate::error::{Error, Fields};
use crate::ids::{CustomerId, ProgramId, TierId};
use crate::points::grpc::{parse_correction_reason, parse_key, parse_said, parse_subject};
use crate::programs::grpc::tried::parse_version;
use crate::proto;
use crate::proto::fields::parse_optional_instant;
use crate::tiers::commands::{ClearTierOverride, SetTierOverride};
use crate::tiers::reevaluation::commands::ReevaluateTiers;

/// The most customers of one request.
const MAX_CUSTOMERS: usize = 1_000;

pub(super) fn parse_batch(request: proto::BatchGetCustomerTiersRequest) -> Result<(ProgramId, Vec<CustomerId>), Error> {
    let mut fields = Fields::default();
    let program_id = fields.check("program_id", ProgramId::try_from(request.program_id));
    if request.customer_ids.is_empty() || request.customer_ids.len() > MAX_CUSTOMERS {
        fields.refuse("customer_ids", "must name 1 to 1,000 customers");
    }
    let (mut customer_ids, mut seen) = (Vec::new(), BTreeSet::new());
    for (i, customer_id) in request.customer_ids.into_iter().take(MAX_CUSTOMERS).enumerate() {
        let field = format!("customer_ids[{i}]");
        let Some(customer_id) = fields.check(&field, CustomerId::try_from(customer_id)) else { continue };
        if !seen.insert(customer_id.clone()) {
            fields.refuse(field, "must be named once");
        }
        customer_ids.push(customer_id);
    }
    fields.finish_with(program_id.map(|program_id| (program_id, customer_ids)))
}

pub(super) fn parse_set_override(request: proto::SetTierOverrideRequest) -> Result<SetTierOverride, Error> {
    let mut fields = Fields::default();
    let force = match request.kind() {
        proto::TierOverrideKind::Floor => Some(OverrideForce::Floor),
        proto::TierOverrideKind::Lock => Some(OverrideForce::Lock),
        proto::TierOverrideKind::Unspecified => fields.check("kind", Err("must be one of the named values")),
    };
    let reason = parse_correction_reason(&mut fields, request.reason());
    let ends_at = parse_optional_instant(&mut fields, "ends_at", request.ends_at.as_ref());
    let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
    let tier_id = fields.check("tier_id", TierId::try_from(request.tier_id));
    let note = parse_said(&mut fields, request.author, request.note);
    let key = parse_key(&mut fields, request.idempotency_key);
    let parsed = || {
        Some(SetTierOverride {
            subject: subject?,
            tier_id: tier_id?,
            force: force?,
            ends_at,
            reason: reason?,
            note: note?,
            key: key?,
        })
    };
    fields.finish_with(parsed())
}

pub(super) fn parse_clear_override(request: proto::ClearTierOverrideRequest) -> Result<ClearTierOverride, Error> {
    let mut fields = Fields::default();
    let reason = parse_correction_reason(&mut fields, request.reason());
    let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
    let note = parse_said(&mut fields, request.author, request.note);
    let key = parse_key(&mut fields, request.idempotency_key);
    let parsed = || Some(ClearTierOverride { subject: subject?, reason: reason?, note: note?, key: key? });
    fields.finish_with(parsed())
}

pub(super) fn parse_reevaluation(request: proto::ReevaluateTiersRequest) -> Result<ReevaluateTiers, Error> {
    let mut fields = Fields::default();
    let downgrades = parse_downgrades(&mut fields, request.downgrades());
    let program_id = fields.check("program_id", ProgramId::try_from(request.program_id));
    let version = parse_version(&mut fields, request.version);
    let key = parse_key(&mut fields, request.idempotency_key);
    let parsed =
        || Some(ReevaluateTiers { program_id: program_id?, version: version?, downgrades: downgrades?, key: key? });
    fields.finish_with(parsed())
}

pub(super) fn parse_downgrades(fields: &mut Fields, downgrades: proto::DowngradeTime) -> Option<DowngradeTime> {
    match downgrades {
        proto::DowngradeTime::AtOnce => Some(DowngradeTime::AtOnce),
        proto::DowngradeTime::AtOwnEnd => Some(DowngradeTime::AtOwnEnd),
        proto::DowngradeTime::Unspecified => fields.check("downgrades", Err("must be one of the named values")),
    }
}
