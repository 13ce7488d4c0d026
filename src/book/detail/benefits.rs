//! Entries about benefits.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray, VariantNames};

use super::wide;
use crate::book::words::stored_words;
use crate::ids::{BenefitId, PackageId, TierId};

/// What happened to what a customer is entitled to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum BenefitDetail {
    /// The customer used a benefit of their tier, or one that was granted to them.
    BenefitUsed {
        /// The benefit.
        benefit_id: BenefitId,
        /// The tier that gave it, where one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tier_id: Option<TierId>,
        /// The number of the entry of the grant that gave it, where one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        granted: Option<i64>,
        /// How many times; 1 or more.
        quantity: i64,
        /// How many others came along.
        #[serde(default, skip_serializing_if = "is_zero")]
        companions: i64,
        /// How many uses that counts as.
        counted: i64,
        /// How often it has been used by that right from now on.
        counts: UseCounts,
        /// How much of the quota is left from now on; none, if there is no quota.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        left: Option<i64>,
        /// When the quota is whole again, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resets_at: Option<Timestamp>,
    },
    /// A use was undone, whole.
    BenefitUseReversed {
        /// The number of the entry of the use.
        used: i64,
        /// The benefit.
        benefit_id: BenefitId,
        /// The number of the entry of the grant that gave it, where one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        granted: Option<i64>,
        /// How many uses that takes off.
        counted: i64,
        /// How often it has been used by that right from now on.
        counts: UseCounts,
    },
    /// The customer was entitled to a benefit beyond those of their tier. The entry's version of the program describes it.
    EntitlementGranted {
        /// The benefit.
        benefit_id: BenefitId,
        /// The tier whose benefit it is; one of the program's extras, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tier_id: Option<TierId>,
        /// How often it may be used until it ends; as often as the customer likes, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit: Option<i64>,
        /// Whether each companion counts as a use, too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        counts_companions: bool,
        /// When it ends; never by itself, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
        /// The package that it was in, if it was in one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        package_id: Option<PackageId>,
    },
    /// A granted entitlement was ended by hand.
    EntitlementRevoked {
        /// The number of the entry that granted it.
        granted: i64,
        /// The benefit.
        benefit_id: BenefitId,
    },
    /// The customer was given a package. The entries that it caused are what is in it.
    PackageGiven {
        /// The package, as the entry's version of the program has it.
        package_id: PackageId,
        /// What it was given for.
        occasion: Occasion,
        /// The tier, where one was reached.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tier_id: Option<TierId>,
        /// For a tier that was reached: the tier period, by the number of the entry that began it; 0 for the one that began
        /// with the customer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tier_period: Option<i64>,
        /// For a day: the year that it was of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        year: Option<i16>,
        /// Points that were not granted, since the account cannot count them beside those that it has.
        #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "wide::number")]
        withheld_points: i64,
        /// Benefits that were not granted, since the customer had as many grants as anybody may have.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        withheld_benefits: Vec<BenefitId>,
    },
}

/// What a package is given for.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, IntoStaticStr, EnumString, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Occasion {
    /// The customer has reached a tier.
    TierReached,
    /// It is the customer's birthday.
    Birthday,
    /// It is so many years since the customer joined.
    EnrolmentAnniversary,
}

stored_words!(Occasion);

/// How often benefits of one name were used by their tiers, or one grant was, in each period that a quota may be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseCounts {
    /// A local day of the calendar periods.
    pub day: Date,
    /// The tier period, by the number of the entry that began it; 0 for the one that began with the customer.
    pub tier_period: i64,
    /// Uses in the tier period.
    pub in_tier_period: i64,
    /// Uses in the month.
    pub in_month: i64,
    /// Uses in the quarter.
    pub in_quarter: i64,
    /// Uses in the half year.
    pub in_half: i64,
    /// Uses in the year.
    pub in_year: i64,
    /// Uses in the customer's whole time with the program.
    pub in_all: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it in so")]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}
