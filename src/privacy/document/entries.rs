//! An entry of the ledger as its person sees it.

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::book::{Detail, Entry, PocketMove, ReferralDetail};
use crate::ids::EntryId;

/// A row of the ledger, with what a caller wrote beside it.
///
/// Left out is what leads to others: causes on other accounts, the command and the trace, which entries of several
/// accounts may share, and who called, unless it was the customer. The hash is over all of that, and so is left out too.
#[derive(Serialize)]
pub(in crate::privacy) struct EntryItem<'a> {
    entry_id: EntryId,
    account_seq: i64,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#move: Option<MovePart>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lots: Vec<LotPartItem>,
    detail: serde_json::Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal_id: Option<Uuid>,
    actor: &'static str,
    reason: &'static str,
    policy_version: i32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cause_entry_ids: Vec<EntryId>,
    effective_at: Timestamp,
    recorded_at: Timestamp,
    #[serde(skip_serializing_if = "str::is_empty")]
    note: &'a str,
}

#[derive(Serialize)]
struct MovePart {
    from: &'static str,
    to: &'static str,
    points: i64,
}

#[derive(Serialize)]
struct LotPartItem {
    lot_id: EntryId,
    points: i64,
}

impl<'a> EntryItem<'a> {
    /// An entry. `is_own` says whether the customer was who called.
    ///
    /// # Errors
    /// If the detail cannot be serialized, which is a defect.
    pub(in crate::privacy) fn of(entry: &Entry, note: &'a str, is_own: bool) -> Result<Self, serde_json::Error> {
        let to_move = |PocketMove { from, to, points }| MovePart { from: from.as_str(), to: to.as_str(), points };
        Ok(Self {
            entry_id: entry.id,
            account_seq: entry.id.account_seq,
            kind: entry.detail.kind(),
            r#move: entry.movement.map(to_move),
            lots: moved_lots(entry),
            detail: own_detail(&entry.detail)?,
            principal_id: is_own.then_some(entry.principal_id.0),
            actor: entry.actor.as_str(),
            reason: entry.reason.as_str(),
            policy_version: entry.policy_version,
            cause_entry_ids: own_causes(entry),
            effective_at: entry.effective_at,
            recorded_at: entry.recorded_at,
            note,
        })
    }
}

/// The causes of an entry that stand on its own account.
pub(super) fn own_causes(entry: &Entry) -> Vec<EntryId> {
    entry.causes.iter().filter(|cause| cause.account_id == entry.id.account_id).copied().collect()
}

/// The lots whose points an entry moved.
fn moved_lots(entry: &Entry) -> Vec<LotPartItem> {
    let lot_id = |lot| EntryId { account_id: entry.id.account_id, account_seq: lot };
    let parts = entry.moved_lots();
    parts.iter().map(|part| LotPartItem { lot_id: lot_id(part.lot), points: part.points }).collect()
}

/// The results that an entry carries, without those that are about another person.
fn own_detail(detail: &Detail) -> Result<serde_json::Value, serde_json::Error> {
    let of_others: &[&str] = match detail {
        // Entries about referrals are on the referee's account, and the referrer is the other one.
        Detail::Referral(ReferralDetail::ReferralCreated { .. }) => &["referrer"],
        Detail::Referral(ReferralDetail::ReferralConverted { .. }) => &["referrer_reward", "referrer_withheld"],
        Detail::Referral(ReferralDetail::ReferralCodeCreated { .. } | ReferralDetail::ReferralExpired)
        | Detail::Program(_)
        | Detail::Customer(_)
        | Detail::Activity(_)
        | Detail::Points(_)
        | Detail::Tier(_)
        | Detail::Benefit(_)
        | Detail::Complaint(_)
        | Detail::Goodwill(_)
        | Detail::Lifecycle(_)
        | Detail::Value(_) => &[],
    };
    let mut json = serde_json::to_value(detail)?;
    if let Some(fields) = json.as_object_mut() {
        for field in of_others {
            fields.remove(*field);
        }
    }
    Ok(json)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ids::AccountId;

    #[test]
    fn nothing_of_the_referrer_is_in_an_entry_of_the_referee() {
        let (own, other) = (AccountId(Uuid::from_u128(1)), AccountId(Uuid::from_u128(2)));
        let entry = |account_id| Some(EntryId { account_id, account_seq: 3 });
        let created = ReferralDetail::ReferralCreated {
            campaign_id: "friends".try_into().unwrap(),
            referrer: other,
            expires_at: None,
        };
        let expected = json!({"kind": "referral_created", "campaign_id": "friends", "expires_at": null});
        assert_eq!(own_detail(&created.into()).unwrap(), expected);
        let converted = ReferralDetail::ReferralConverted {
            qualifying: entry(own),
            referrer_reward: entry(other),
            referee_reward: entry(own),
            referrer_withheld: Some(5),
            referee_withheld: Some(6),
        };
        let id = "00000000000000000000000000000001.3";
        let expected =
            json!({"kind": "referral_converted", "qualifying": id, "referee_reward": id, "referee_withheld": 6});
        assert_eq!(own_detail(&converted.into()).unwrap(), expected);
    }

    #[test]
    fn the_schema_knows_every_reason() {
        let schema = include_str!("../../../docs/schemas/customer-export-1.json");
        let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
        let parts = schema["$defs"].as_object().unwrap().values();
        let mut lists = parts.filter_map(|part| part["properties"]["reason"]["enum"].as_array());
        let reasons = lists.find(|list| list.contains(&json!("program_applied"))).unwrap();
        let reasons = reasons.iter().filter_map(serde_json::Value::as_str);
        assert!(reasons.eq(crate::book::EntryReason::ALL.iter().map(|reason| reason.as_str())));
    }
}
