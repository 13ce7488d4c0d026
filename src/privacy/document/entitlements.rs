//! A benefit that was granted to its person.

use jiff::Timestamp;
use serde::Serialize;

use crate::benefits::{FoundGrant, Grant};
use crate::ids::{AccountId, BenefitId, EntryId, PackageId, TierId};

/// A benefit that was granted, in force or not.
#[derive(Serialize)]
pub(in crate::privacy) struct EntitlementItem<'a> {
    entitlement_id: EntryId,
    benefit_id: &'a BenefitId,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier_id: Option<&'a TierId>,
    policy_version: i32,
    since: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<i64>,
    used: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    package_id: Option<&'a PackageId>,
}

impl<'a> EntitlementItem<'a> {
    pub(in crate::privacy) const fn of(found: &'a FoundGrant, account_id: AccountId) -> Self {
        let FoundGrant { granted_seq, grant, used } = found;
        let Grant { benefit_id, policy_version, granted_at, limit, ends_at, revoked_at, .. } = grant;
        Self {
            entitlement_id: EntryId { account_id, account_seq: *granted_seq },
            benefit_id,
            tier_id: grant.tier_id.as_ref(),
            policy_version: *policy_version,
            since: *granted_at,
            until: *ends_at,
            revoked_at: *revoked_at,
            limit: *limit,
            used: *used,
            package_id: grant.package_id.as_ref(),
        }
    }
}
