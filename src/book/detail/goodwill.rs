//! Entries about goodwill, on the accounts of customers and on pots.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

use super::wide;
use crate::ids::BenefitId;

/// What happened to what may be given as goodwill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum GoodwillDetail {
    /// The customer was given something at once. The entry that it caused is what that is.
    GoodwillGiven {
        /// As how many points it counts.
        #[serde(deserialize_with = "wide::number")]
        value: i64,
        /// The benefit; points, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        benefit_id: Option<BenefitId>,
        /// The complaint that it was given for, by the number of the entry that opened it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        complaint: Option<i64>,
        /// How much the customer was given from now on.
        counts: GivenCounts,
    },
    /// Somebody gave a customer something: their own pot tells how much they give. The entry that caused it says what.
    GoodwillDrawn {
        /// As how many points it counts.
        #[serde(deserialize_with = "wide::number")]
        value: i64,
        /// How much was drawn from the pot from now on.
        counts: GivenCounts,
    },
}

/// How many points were given in each calendar period that a day lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenCounts {
    /// The local day.
    pub day: Date,
    /// On that day.
    #[serde(deserialize_with = "wide::number")]
    pub in_day: i64,
    /// In its week, which begins on Monday.
    #[serde(deserialize_with = "wide::number")]
    pub in_week: i64,
    /// In its month.
    #[serde(deserialize_with = "wide::number")]
    pub in_month: i64,
    /// In its quarter.
    #[serde(deserialize_with = "wide::number")]
    pub in_quarter: i64,
    /// In its half year.
    #[serde(deserialize_with = "wide::number")]
    pub in_half: i64,
    /// In its year.
    #[serde(deserialize_with = "wide::number")]
    pub in_year: i64,
}
