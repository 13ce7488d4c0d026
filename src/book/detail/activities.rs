//! Entries about activities.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

use super::satisfaction::Answers;
use super::tiers::Counts;
use super::wide;
use crate::ids::TierId;
use crate::money::Rate;

/// What a customer did, by what it counts for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ActivityDetail {
    /// An activity was accepted, with what it counts for.
    ActivityAccepted {
        /// Money spent, in minor units.
        #[serde(deserialize_with = "wide::number")]
        spend: i64,
        /// When the customer did it; feeds windows, never the order of the account.
        happened_at: Timestamp,
        /// Until when the customer's sliding points last from now on, if the program has such.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slides_to: Option<Timestamp>,
        /// How many points it would have earned, where a cap left none of them to grant.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wide::optional")]
        uncapped: Option<i64>,
        /// How a benefit of the tier that was held before multiplied the points, where one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        multiplied: Option<Multiplied>,
        /// What else it counts for, in tiers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        counts: Option<Counts>,
    },
    /// A purchase was taken back, whole or in part.
    RefundAccepted {
        /// The number of the entry that accepted the purchase.
        purchase: i64,
        /// Money given back, in minor units; the progress that goes with it.
        #[serde(deserialize_with = "wide::number")]
        spend: i64,
        /// When that happened.
        happened_at: Timestamp,
        /// Until when the customer's sliding points last from now on, if the program has such.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slides_to: Option<Timestamp>,
        /// What else it takes off the purchase, in tiers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        counts: Option<Counts>,
    },
    /// The customer said what they think.
    FeedbackAccepted {
        /// When they said so.
        happened_at: Timestamp,
        /// The local day of that.
        day: Date,
        /// Until when the customer's sliding points last from now on, if the program has such.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        slides_to: Option<Timestamp>,
        /// What they said.
        #[serde(flatten)]
        answers: Box<Answers>,
    },
}

/// How the points of a purchase were multiplied, before any cap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Multiplied {
    /// The tier that the customer held before the purchase.
    pub tier_id: TierId,
    /// What its benefit multiplies points by.
    pub by: Rate,
    /// How many points it would have been without.
    #[serde(deserialize_with = "wide::number")]
    pub from: i64,
}

impl ActivityDetail {
    /// How many points the activity would have earned without a cap, where the cap left none of them to grant.
    #[must_use]
    pub const fn uncapped(&self) -> Option<i64> {
        match self {
            Self::ActivityAccepted { uncapped, .. } => *uncapped,
            Self::RefundAccepted { .. } | Self::FeedbackAccepted { .. } => None,
        }
    }

    /// How the points were multiplied, where a benefit of the customer's tier did that.
    #[must_use]
    pub const fn multiplied(&self) -> Option<&Multiplied> {
        match self {
            Self::ActivityAccepted { multiplied, .. } => multiplied.as_ref(),
            Self::RefundAccepted { .. } | Self::FeedbackAccepted { .. } => None,
        }
    }
}
