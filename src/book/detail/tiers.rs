//! Entries about tiers.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray, VariantNames};

use super::wide;
use crate::book::words::stored_words;
use crate::ids::{PackageId, TierId};

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
        /// The tier that the customer would hold without the override that is in force, if one is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hidden: Option<TierId>,
        /// Lifetime spend that was taken over, in minor units; added to what was there.
        #[serde(deserialize_with = "wide::number")]
        qualifying_spend: i64,
        /// What time will do to the standing.
        #[serde(flatten)]
        outlook: Outlook,
    },
    /// The standing was decided: the customer holds another tier from now on, or holds theirs on.
    TierChanged {
        /// The tier before; none on joining.
        from: Option<TierId>,
        /// The tier from now on.
        to: TierId,
        /// The tier that the customer would hold from now on without the override that is in force, if one is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hidden: Option<TierId>,
        /// What was spent within the window that decided, in minor units.
        #[serde(deserialize_with = "wide::number")]
        qualifying_spend: i64,
        /// What it was, where it was neither joining nor an upgrade.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        change: Option<TierMove>,
        /// The local day on which the customer joined, where they did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        enrolled_on: Option<Date>,
        /// When the tier before would have ended, where this is an upgrade and it would have.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        former_ends_at: Option<Timestamp>,
        /// What earned the tier, where something did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        earned: Option<Earnings>,
        /// The package that the customer is to be given for reaching the tier, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        package_id: Option<PackageId>,
        /// What time will do to the standing.
        #[serde(flatten)]
        outlook: Outlook,
    },
    /// Somebody set by hand which tier the customer holds, or at least holds.
    TierOverridden {
        /// The tier before.
        from: TierId,
        /// The tier from now on.
        to: TierId,
        /// The tier that the customer would hold from now on without the override.
        hidden: TierId,
        /// The tier of the override.
        tier_id: TierId,
        /// What the override does.
        force: OverrideForce,
        /// When the override ends; never by itself, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ends_at: Option<Timestamp>,
        /// The package that the customer is to be given for reaching the tier, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        package_id: Option<PackageId>,
    },
    /// An override ended, by hand or by itself.
    TierReleased {
        /// The tier before.
        from: TierId,
        /// The tier from now on: the one that the override hid.
        to: TierId,
        /// The package that the customer is to be given for reaching the tier, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        package_id: Option<PackageId>,
    },
    /// A referral by the customer converted, which counts for their tier.
    ReferralCounted {
        /// The local day on which it counts.
        day: Date,
        /// What time will do to the standing.
        #[serde(flatten)]
        outlook: Outlook,
    },
}

/// What an override of a tier does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, EnumString, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum OverrideForce {
    /// The customer holds its tier, or a higher one that they have without it.
    Floor,
    /// The customer holds its tier, whatever they would hold without it.
    Lock,
}

stored_words!(OverrideForce);

/// What a decision about a standing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, EnumString, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum TierMove {
    /// The customer lost the tier, since it was not earned again by its end.
    Downgraded,
    /// The customer holds the tier on, since it was earned again by its end.
    Renewed,
    /// The standing was decided again, since a refund or another version of the program changed what it rests on.
    Redecided,
}

stored_words!(TierMove);

/// What time will do to a standing if nothing else happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlook {
    /// When the tier ends unless it is earned again; never, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// When the standing is decided next; never, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decides_at: Option<Timestamp>,
}

/// What earned a tier: all that was counted in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Earnings {
    /// The first day of the window; open, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Date>,
    /// The first day behind the window; open, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Date>,
    /// The margin of purchases, in minor units.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "wide::number")]
    pub margin: i64,
    /// Points that purchases earned.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "wide::number")]
    pub points: i64,
    /// Purchases above zero.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub purchases: i64,
    /// Days with such a purchase.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub active_days: i64,
    /// Referrals that converted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub referrals: i64,
}

/// What an activity counts for beside what was spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// The local day on which it counts: of a refund, that of the purchase.
    pub day: Date,
    /// The margin, in minor units.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "wide::number")]
    pub margin: i64,
    /// Points that the purchase earned, or those that the refund takes off it.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "wide::number")]
    pub points: i64,
    /// Of a refund: whether nothing is left of the purchase, so that it counts no more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
    /// Of a refund: whether it took away what had earned the tier that was held before the present one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub former_lost: bool,
    /// What time will do to the standing.
    #[serde(flatten)]
    pub outlook: Outlook,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it in so")]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}
