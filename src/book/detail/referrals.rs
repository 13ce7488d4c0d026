//! Entries about referrals.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

use crate::ids::{AccountId, CampaignId, EntryId, ReferralCode};

/// What happened to referral codes and referrals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ReferralDetail {
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
        /// The account of the customer who brought them.
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
        /// How many points the referrer was not granted, since their balance cannot count so many more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        referrer_withheld: Option<i64>,
        /// How many points the referee was not granted, for the same reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        referee_withheld: Option<i64>,
    },
    /// The time to convert passed.
    ReferralExpired,
}
