//! Privileged actions on the wire.

use std::collections::BTreeSet;

use super::parse::{MAX_KINDS, parse_time_range};
use crate::access::key::KeyChange;
use crate::access::principal::{KnownPrincipal, PrincipalKind};
use crate::error::Fields;
use crate::ledger::actions::{ActionFilter, ActionKind, KeptAction, PrivilegedAction, WrittenAction};
use crate::ledger::store::TimeRange;
use crate::proto;
use crate::proto::fields::write_instant;

/// Parses which actions to list.
pub(super) fn parse_filter(fields: &mut Fields, request: &proto::ListPrivilegedActionsRequest) -> ActionFilter {
    if request.kinds.len() > MAX_KINDS {
        fields.refuse("kinds", format!("must have at most {MAX_KINDS} items"));
    }
    let mut kinds = BTreeSet::new();
    for (i, kind) in request.kinds.iter().take(MAX_KINDS).enumerate() {
        match proto::PrivilegedActionKind::try_from(*kind).ok().and_then(parse_kind) {
            Some(kind) => drop(kinds.insert(kind)),
            None => fields.refuse(format!("kinds[{i}]"), "must be one of the named values"),
        }
    }
    let TimeRange { from, until } =
        parse_time_range(fields, ("start_time", request.start_time.as_ref()), ("end_time", request.end_time.as_ref()));
    ActionFilter { kinds, from, until }
}

const fn parse_kind(kind: proto::PrivilegedActionKind) -> Option<ActionKind> {
    match kind {
        proto::PrivilegedActionKind::Unspecified => None,
        proto::PrivilegedActionKind::ProgramApplied => Some(ActionKind::ProgramApplied),
        proto::PrivilegedActionKind::PointsAdjusted => Some(ActionKind::PointsAdjusted),
        proto::PrivilegedActionKind::EntryReversed => Some(ActionKind::EntryReversed),
        proto::PrivilegedActionKind::EntriesExported => Some(ActionKind::EntriesExported),
        proto::PrivilegedActionKind::ReevaluationOrdered => Some(ActionKind::ReevaluationOrdered),
        proto::PrivilegedActionKind::ValueModelFitted => Some(ActionKind::ValueModelFitted),
        proto::PrivilegedActionKind::CustomerExported => Some(ActionKind::CustomerExported),
        proto::PrivilegedActionKind::CustomerErased => Some(ActionKind::CustomerErased),
        proto::PrivilegedActionKind::ApiKeyCreated => Some(ActionKind::ApiKeyCreated),
        proto::PrivilegedActionKind::ApiKeyRevoked => Some(ActionKind::ApiKeyRevoked),
        proto::PrivilegedActionKind::TierOverridden => Some(ActionKind::TierOverridden),
        proto::PrivilegedActionKind::TierReleased => Some(ActionKind::TierReleased),
        proto::PrivilegedActionKind::EntitlementGranted => Some(ActionKind::EntitlementGranted),
        proto::PrivilegedActionKind::EntitlementRevoked => Some(ActionKind::EntitlementRevoked),
    }
}

const fn write_kind(kind: ActionKind) -> proto::PrivilegedActionKind {
    match kind {
        ActionKind::ProgramApplied => proto::PrivilegedActionKind::ProgramApplied,
        ActionKind::PointsAdjusted => proto::PrivilegedActionKind::PointsAdjusted,
        ActionKind::EntryReversed => proto::PrivilegedActionKind::EntryReversed,
        ActionKind::EntriesExported => proto::PrivilegedActionKind::EntriesExported,
        ActionKind::ReevaluationOrdered => proto::PrivilegedActionKind::ReevaluationOrdered,
        ActionKind::ValueModelFitted => proto::PrivilegedActionKind::ValueModelFitted,
        ActionKind::CustomerExported => proto::PrivilegedActionKind::CustomerExported,
        ActionKind::CustomerErased => proto::PrivilegedActionKind::CustomerErased,
        ActionKind::ApiKeyCreated => proto::PrivilegedActionKind::ApiKeyCreated,
        ActionKind::ApiKeyRevoked => proto::PrivilegedActionKind::ApiKeyRevoked,
        ActionKind::TierOverridden => proto::PrivilegedActionKind::TierOverridden,
        ActionKind::TierReleased => proto::PrivilegedActionKind::TierReleased,
        ActionKind::EntitlementGranted => proto::PrivilegedActionKind::EntitlementGranted,
        ActionKind::EntitlementRevoked => proto::PrivilegedActionKind::EntitlementRevoked,
    }
}

/// An action on the wire.
pub(super) fn write_action(action: PrivilegedAction) -> proto::PrivilegedAction {
    let (kind, done_at) = (action.kept.kind(), action.kept.place().at);
    let told = proto::PrivilegedAction {
        kind: write_kind(kind).into(),
        done_at: Some(write_instant(done_at)),
        ..Default::default()
    };
    match action.kept {
        KeptAction::Written(WrittenAction { entry_id, principal_id, .. }) => proto::PrivilegedAction {
            entry_id: entry_id.to_string(),
            account_id: entry_id.account_id.0.to_string(),
            customer_id: action.customer_id.map(String::from).unwrap_or_default(),
            principal_id: principal_id.to_string(),
            principal: action.principal.map(write_principal),
            ..told
        },
        KeptAction::OnKey(KeyChange { by, name, prefix, counts_in_all_programs, .. }) => proto::PrivilegedAction {
            principal: Some(proto::Principal {
                kind: proto::PrincipalKind::DatabaseRole.into(),
                issuer: String::new(),
                subject: by,
            }),
            api_key: Some(proto::ActedOnApiKey { name, prefix, counts_in_all_programs }),
            ..told
        },
    }
}

fn write_principal(principal: KnownPrincipal) -> proto::Principal {
    let kind = match principal.kind {
        PrincipalKind::Anyone => proto::PrincipalKind::Anyone,
        PrincipalKind::ApiKey => proto::PrincipalKind::ApiKey,
        PrincipalKind::Token => proto::PrincipalKind::Token,
        PrincipalKind::Certificate => proto::PrincipalKind::Certificate,
    };
    proto::Principal { kind: kind.into(), issuer: principal.issuer, subject: principal.subject }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;

    use super::*;

    #[test]
    fn every_kind_of_action_can_be_asked_for() {
        for kind in ActionKind::VARIANTS {
            assert_eq!(parse_kind(write_kind(*kind)), Some(*kind));
        }
    }
}
