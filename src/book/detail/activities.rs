//! Entries about activities.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

use super::tiers::Counts;
use super::wide;

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
}

impl ActivityDetail {
    /// How many points the activity would have earned without a cap, where the cap left none of them to grant.
    #[must_use]
    pub const fn uncapped(&self) -> Option<i64> {
        match self {
            Self::ActivityAccepted { uncapped, .. } => *uncapped,
            Self::RefundAccepted { .. } => None,
        }
    }
}
