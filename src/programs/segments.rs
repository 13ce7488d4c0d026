//! What a program says of segments: groups of customers that are asked for by name.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::channels::MarketingChannel;
use super::tier_policy::Metric;
use crate::book::{RelationshipLevel, Stage};
use crate::ids::{SegmentId, TierId, ValueClassId};

pub(crate) mod grpc;

/// Customers of whom all clauses hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// Its name within the program.
    pub segment_id: SegmentId,
    /// What people call it.
    pub display_name: String,
    /// What holds of its customers: one at least.
    pub clauses: Vec<Clause>,
}

/// Something that holds of a customer, or does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clause {
    /// What holds.
    pub condition: SegmentCondition,
    /// Whether it is the customers of whom it does not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub negated: bool,
}

/// What holds of a customer. What is not known of them does not. Lists are of one thing at least, any of which will do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentCondition {
    /// They hold one of these tiers.
    Tiers(Vec<TierId>),
    /// They are of one of these value classes.
    ValueClasses(Vec<ValueClassId>),
    /// They are looked after at one of these levels.
    Levels(Vec<RelationshipLevel>),
    /// They are in one of these stages.
    Stages(Vec<Stage>),
    /// Their dossier has an attribute with one of these values; with whichever, if there are none.
    Attribute {
        /// The name of the attribute.
        key: String,
        /// Its values.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        values: Vec<String>,
    },
    /// They speak one of these languages.
    Languages(Vec<String>),
    /// They live in one of these countries or regions.
    RegionCodes(Vec<String>),
    /// They are interested in one of these things.
    Interests(Vec<String>),
    /// So much was counted, as for tiers.
    Counted {
        /// What is counted.
        metric: Metric,
        /// How much, in minor units where it is money.
        bounds: Bounds,
        /// Over how many local days, the present one included; over the whole life, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        days: Option<i32>,
    },
    /// So many complaints are open.
    OpenComplaints(Bounds),
    /// They were so satisfied when they said so last.
    Satisfaction(Bounds),
    /// They were so likely to recommend the business when they said so last.
    Recommendation(Bounds),
    /// Something happened so many local days ago.
    Since {
        /// What happened.
        event: SegmentEvent,
        /// How many days ago.
        days: Bounds,
    },
    /// A date of theirs comes within so many days, the present one included.
    Coming {
        /// Which date.
        date: ComingDate,
        /// How many days: 1 is today alone.
        within_days: i32,
    },
    /// They agreed to be contacted by one of these channels.
    Consents(Vec<MarketingChannel>),
}

/// From where to where a number may be; at least one of the two is set, and they are in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// At least so much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<i64>,
    /// At most so much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<i64>,
}

/// Something that happened once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SegmentEvent {
    /// They joined the program.
    Joined,
    /// They first bought something, be it for nothing, that they did not give back as a whole.
    FirstPurchase,
    /// They last did.
    LastPurchase,
    /// They came to hold their tier.
    TierChange,
}

/// A date of a dossier that comes each year.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComingDate {
    /// The birthday.
    Birthday,
    /// The important date with this label.
    ImportantDate(String),
}

impl Bounds {
    /// Whether a number lies within.
    #[must_use]
    pub fn hold(&self, number: i64) -> bool {
        let range: RangeInclusive<i64> = self.at_least.unwrap_or(i64::MIN)..=self.at_most.unwrap_or(i64::MAX);
        range.contains(&number)
    }
}
