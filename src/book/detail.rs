//! What an entry can say: every kind of it, with its results.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{AccountId, CampaignId, EntryId, ReferralCode, TierId};

/// Some points of one lot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LotPart {
    /// The number of the entry that made the lot.
    pub lot: i64,
    /// How many of its points; above zero.
    pub points: i64,
}

/// When a lot's points vest and expire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LotTerms {
    /// When they become available; at once, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vests_at: Option<Timestamp>,
    /// Until when what they are granted for must happen; pending until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vest_by: Option<Timestamp>,
    /// When they expire; of points that slide, when they do unless an activity moves it. Not known yet while they wait
    /// for an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Whether they expire together with all others that do, a period after the last activity.
    #[serde(skip_serializing_if = "is_false")]
    pub slides: bool,
    /// The rule that will say when they expire once they have vested, for those that wait for an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry_rule: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl LotTerms {
    /// Whether the points are available at once and for ever.
    #[must_use]
    pub fn is_free(&self) -> bool {
        *self == Self::default()
    }
}

/// A calendar period in which earning is capped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarningWindow {
    /// Its kind, in the words of the program's document.
    pub period: String,
    /// When it began.
    pub since: Timestamp,
}

/// What happened to an account. Holds no name, no free text and nothing that a caller chose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Detail {
    /// A version of the program came into force.
    ProgramApplied {
        /// The version's number.
        version: i32,
    },
    /// The customer joined the program.
    CustomerEnrolled,
    /// The customer's dossier changed; what it says stays where it can be erased.
    DossierUpdated {
        /// The dossier's revision from now on.
        revision: i64,
    },
    /// An activity was accepted, with what it counts for.
    ActivityAccepted {
        /// Money spent, in minor units.
        spend: i64,
        /// When the customer did it; feeds windows, never the order of the account.
        happened_at: Timestamp,
        /// Until when the customer's sliding points last from now on, if the program has such.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slides_to: Option<Timestamp>,
        /// How many points it would have earned, where a cap left none of them to grant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uncapped: Option<i64>,
    },
    /// A purchase was taken back, whole or in part.
    RefundAccepted {
        /// The number of the entry that accepted the purchase.
        purchase: i64,
        /// Money given back, in minor units; the progress that goes with it.
        spend: i64,
        /// When that happened.
        happened_at: Timestamp,
        /// Until when the customer's sliding points last from now on, if the program has such.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slides_to: Option<Timestamp>,
    },
    /// Points were granted as a new lot, which this entry names.
    PointsGranted {
        /// When they vest and expire.
        #[serde(default, skip_serializing_if = "LotTerms::is_free")]
        terms: LotTerms,
        /// The capped calendar periods that they count in.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        counted_in: Vec<EarningWindow>,
        /// How many it would have been without a cap, where one cut the grant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uncapped: Option<i64>,
    },
    /// Points that another system had granted were taken over, as a new lot, which this entry names.
    PointsImported {
        /// When they vest and expire.
        #[serde(default, skip_serializing_if = "LotTerms::is_free")]
        terms: LotTerms,
    },
    /// A lot's pending points became available.
    PointsVested {
        /// The lot.
        lot: i64,
        /// When they expire.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
    },
    /// What a lot was granted for did not happen in time: its pending points are gone.
    VestingMissed {
        /// The lot.
        lot: i64,
    },
    /// Time took points.
    PointsExpired {
        /// Which lots they were of.
        lots: Vec<LotPart>,
        /// The hold that they came from, where they expired on its release.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hold: Option<i64>,
    },
    /// Points were spent.
    PointsRedeemed {
        /// Which lots they were of.
        lots: Vec<LotPart>,
        /// The hold that they came from, if there was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hold: Option<i64>,
    },
    /// Points were set aside for a spend; this entry names the hold.
    PointsHeld {
        /// Which lots they are of.
        lots: Vec<LotPart>,
        /// When the hold ends by itself.
        ends_at: Timestamp,
    },
    /// Held points came back.
    PointsReleased {
        /// The hold.
        hold: i64,
        /// Which lots they are of.
        lots: Vec<LotPart>,
    },
    /// Somebody changed the balance by hand: up, as a new lot that this entry names, or down.
    PointsAdjusted {
        /// When the new lot's points expire; absent for a change down.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        terms: Option<LotTerms>,
        /// Which lots the points were of; empty for a change up.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lots: Vec<LotPart>,
    },
    /// An earlier entry was undone, whole or in part.
    EntryReversed {
        /// The number of the entry that was undone.
        reversed: i64,
        /// Which lots the points were of.
        lots: Vec<LotPart>,
        /// When points that came back from their expiry expire again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
    },
    /// A reversal took more than there was.
    DebtIncurred {
        /// The number of the entry that was undone.
        reversed: i64,
    },
    /// Points that became available paid a debt.
    DebtRepaid {
        /// Which lots they were of.
        lots: Vec<LotPart>,
    },
    /// The tier that another system had given was taken over.
    TierImported {
        /// The tier before.
        from: TierId,
        /// The tier from now on.
        to: TierId,
        /// Lifetime spend that was taken over, in minor units; added to what was there.
        qualifying_spend: i64,
    },
    /// The customer holds another tier from now on.
    TierChanged {
        /// The tier before; none on joining.
        from: Option<TierId>,
        /// The tier from now on.
        to: TierId,
        /// Lifetime spend that decided, in minor units.
        qualifying_spend: i64,
    },
    /// The customer has a code to share.
    ReferralCodeCreated {
        /// The campaign it belongs to.
        campaign_id: CampaignId,
        /// The code, made by the service.
        code: ReferralCode,
    },
    /// The customer was brought by another.
    ReferralCreated {
        /// The campaign that decides the rewards.
        campaign_id: CampaignId,
        /// Who brought them.
        referrer: AccountId,
        /// When the referral ends unless it converts first.
        expires_at: Option<Timestamp>,
    },
    /// The referral reached its aim.
    ReferralConverted {
        /// The activity that qualified; none when it was converted by hand.
        qualifying: Option<EntryId>,
        /// What the referrer was granted for it.
        referrer_reward: Option<EntryId>,
        /// What the referee was granted for it.
        referee_reward: Option<EntryId>,
    },
    /// The time to convert passed.
    ReferralExpired,
}

impl Detail {
    /// The kind's name in the `kind` column.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::ProgramApplied { .. } => "program_applied",
            Self::CustomerEnrolled => "customer_enrolled",
            Self::DossierUpdated { .. } => "dossier_updated",
            Self::ActivityAccepted { .. } => "activity_accepted",
            Self::RefundAccepted { .. } => "refund_accepted",
            Self::PointsGranted { .. } => "points_granted",
            Self::PointsImported { .. } => "points_imported",
            Self::PointsVested { .. } => "points_vested",
            Self::VestingMissed { .. } => "vesting_missed",
            Self::PointsExpired { .. } => "points_expired",
            Self::PointsRedeemed { .. } => "points_redeemed",
            Self::PointsHeld { .. } => "points_held",
            Self::PointsReleased { .. } => "points_released",
            Self::PointsAdjusted { .. } => "points_adjusted",
            Self::EntryReversed { .. } => "entry_reversed",
            Self::DebtIncurred { .. } => "debt_incurred",
            Self::DebtRepaid { .. } => "debt_repaid",
            Self::TierImported { .. } => "tier_imported",
            Self::TierChanged { .. } => "tier_changed",
            Self::ReferralCodeCreated { .. } => "referral_code_created",
            Self::ReferralCreated { .. } => "referral_created",
            Self::ReferralConverted { .. } => "referral_converted",
            Self::ReferralExpired => "referral_expired",
        }
    }

    /// The lots that the entry took points from or gave points to, and how many; not the lot that it made.
    #[must_use]
    pub fn lots(&self) -> &[LotPart] {
        match self {
            Self::PointsExpired { lots, .. }
            | Self::PointsRedeemed { lots, .. }
            | Self::PointsHeld { lots, .. }
            | Self::PointsReleased { lots, .. }
            | Self::PointsAdjusted { lots, .. }
            | Self::EntryReversed { lots, .. }
            | Self::DebtRepaid { lots } => lots,
            _ => &[],
        }
    }

    /// The detail as JSON with its fields in their declared order: the form that is hashed.
    ///
    /// # Errors
    /// If serialization fails, which for these types is a defect.
    pub fn to_canonical_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_detail_reads_back_from_json_with_its_kind() {
        let detail = Detail::TierChanged { from: None, to: "gold".try_into().unwrap(), qualifying_spend: 50_000 };
        let json = detail.to_canonical_json().unwrap();
        assert_eq!(json, r#"{"kind":"tier_changed","from":null,"to":"gold","qualifying_spend":50000}"#);
        assert_eq!(serde_json::from_str::<Detail>(&json).unwrap(), detail);
    }

    /// What is on the ledger stays provable: the JSON of a detail never changes under rows that exist. A new field is
    /// optional and absent here.
    #[test]
    #[allow(clippy::too_many_lines, reason = "one line for each kind")]
    fn what_was_written_by_this_version_keeps_its_form() {
        let account_id = AccountId(Uuid::from_u128(7));
        let id = EntryId { account_id, account_seq: 3 };
        let at = Timestamp::UNIX_EPOCH;
        let part = LotPart { lot: 3, points: 8 };
        let details = [
            (Detail::ProgramApplied { version: 1 }, r#"{"kind":"program_applied","version":1}"#),
            (Detail::CustomerEnrolled, r#"{"kind":"customer_enrolled"}"#),
            (Detail::DossierUpdated { revision: 2 }, r#"{"kind":"dossier_updated","revision":2}"#),
            (
                Detail::ActivityAccepted {
                    spend: 5,
                    happened_at: Timestamp::UNIX_EPOCH,
                    slides_to: None,
                    uncapped: None,
                },
                r#"{"kind":"activity_accepted","spend":5,"happened_at":"1970-01-01T00:00:00Z"}"#,
            ),
            (
                Detail::ActivityAccepted { spend: 5, happened_at: at, slides_to: Some(at), uncapped: Some(7) },
                r#"{"kind":"activity_accepted","spend":5,"happened_at":"1970-01-01T00:00:00Z","slides_to":"1970-01-01T00:00:00Z","uncapped":7}"#,
            ),
            (
                Detail::PointsGranted { terms: LotTerms::default(), counted_in: Vec::new(), uncapped: None },
                r#"{"kind":"points_granted"}"#,
            ),
            (
                Detail::TierChanged {
                    from: Some("a".try_into().unwrap()),
                    to: "b".try_into().unwrap(),
                    qualifying_spend: 7,
                },
                r#"{"kind":"tier_changed","from":"a","to":"b","qualifying_spend":7}"#,
            ),
            (
                Detail::ReferralCodeCreated { campaign_id: "c".try_into().unwrap(), code: "D".try_into().unwrap() },
                r#"{"kind":"referral_code_created","campaign_id":"c","code":"D"}"#,
            ),
            (
                Detail::ReferralCreated {
                    campaign_id: "c".try_into().unwrap(),
                    referrer: account_id,
                    expires_at: None,
                },
                r#"{"kind":"referral_created","campaign_id":"c","referrer":"00000000-0000-0000-0000-000000000007","expires_at":null}"#,
            ),
            (
                Detail::ReferralConverted { qualifying: Some(id), referrer_reward: None, referee_reward: None },
                r#"{"kind":"referral_converted","qualifying":"00000000000000000000000000000007.3","referrer_reward":null,"referee_reward":null}"#,
            ),
            (Detail::ReferralExpired, r#"{"kind":"referral_expired"}"#),
            (
                Detail::RefundAccepted { purchase: 2, spend: 5, happened_at: at, slides_to: Some(at) },
                r#"{"kind":"refund_accepted","purchase":2,"spend":5,"happened_at":"1970-01-01T00:00:00Z","slides_to":"1970-01-01T00:00:00Z"}"#,
            ),
            (
                Detail::PointsGranted {
                    terms: LotTerms {
                        vests_at: Some(at),
                        vest_by: Some(at),
                        expires_at: Some(at),
                        slides: true,
                        expiry_rule: Some("never".to_owned()),
                    },
                    counted_in: vec![EarningWindow { period: "month".to_owned(), since: at }],
                    uncapped: Some(9),
                },
                r#"{"kind":"points_granted","terms":{"vests_at":"1970-01-01T00:00:00Z","vest_by":"1970-01-01T00:00:00Z","expires_at":"1970-01-01T00:00:00Z","slides":true,"expiry_rule":"never"},"counted_in":[{"period":"month","since":"1970-01-01T00:00:00Z"}],"uncapped":9}"#,
            ),
            (Detail::PointsImported { terms: LotTerms::default() }, r#"{"kind":"points_imported"}"#),
            (Detail::PointsVested { lot: 3, expires_at: None }, r#"{"kind":"points_vested","lot":3}"#),
            (Detail::VestingMissed { lot: 3 }, r#"{"kind":"vesting_missed","lot":3}"#),
            (
                Detail::PointsExpired { lots: vec![part], hold: Some(4) },
                r#"{"kind":"points_expired","lots":[{"lot":3,"points":8}],"hold":4}"#,
            ),
            (
                Detail::PointsRedeemed { lots: vec![part], hold: None },
                r#"{"kind":"points_redeemed","lots":[{"lot":3,"points":8}]}"#,
            ),
            (
                Detail::PointsHeld { lots: vec![part], ends_at: at },
                r#"{"kind":"points_held","lots":[{"lot":3,"points":8}],"ends_at":"1970-01-01T00:00:00Z"}"#,
            ),
            (
                Detail::PointsReleased { hold: 4, lots: vec![part] },
                r#"{"kind":"points_released","hold":4,"lots":[{"lot":3,"points":8}]}"#,
            ),
            (
                Detail::PointsAdjusted { terms: Some(LotTerms::default()), lots: Vec::new() },
                r#"{"kind":"points_adjusted","terms":{}}"#,
            ),
            (
                Detail::PointsAdjusted { terms: None, lots: vec![part] },
                r#"{"kind":"points_adjusted","lots":[{"lot":3,"points":8}]}"#,
            ),
            (
                Detail::EntryReversed { reversed: 5, lots: vec![part], expires_at: Some(at) },
                r#"{"kind":"entry_reversed","reversed":5,"lots":[{"lot":3,"points":8}],"expires_at":"1970-01-01T00:00:00Z"}"#,
            ),
            (Detail::DebtIncurred { reversed: 5 }, r#"{"kind":"debt_incurred","reversed":5}"#),
            (Detail::DebtRepaid { lots: vec![part] }, r#"{"kind":"debt_repaid","lots":[{"lot":3,"points":8}]}"#),
            (
                Detail::TierImported {
                    from: "a".try_into().unwrap(),
                    to: "b".try_into().unwrap(),
                    qualifying_spend: 7,
                },
                r#"{"kind":"tier_imported","from":"a","to":"b","qualifying_spend":7}"#,
            ),
        ];
        for (detail, json) in details {
            assert_eq!(detail.to_canonical_json().unwrap(), json);
            assert_eq!(serde_json::from_str::<Detail>(json).unwrap(), detail);
        }
    }
}
