//! Entries about tiers.

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

use super::wide;
use crate::ids::TierId;

/// What happened to the tier that a customer holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum TierDetail {
    /// The tier that another system had given was taken over.
    TierImported {
        /// The tier that the customer held until then.
        from: TierId,
        /// The tier from now on.
        to: TierId,
        /// Lifetime spend that was taken over, in minor units; added to what was there.
        #[serde(deserialize_with = "wide::number")]
        qualifying_spend: i64,
    },
    /// The customer holds another tier from now on.
    TierChanged {
        /// The tier before; none on joining.
        from: Option<TierId>,
        /// The tier from now on.
        to: TierId,
        /// Lifetime spend that decided, in minor units.
        #[serde(deserialize_with = "wide::number")]
        qualifying_spend: i64,
    },
}
