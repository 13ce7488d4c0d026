//! What a program says of the relationship with customers: which stage somebody is in, and of which class they are.

use serde::{Deserialize, Serialize};

pub(crate) mod grpc;

/// How it is decided where customers stand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LifecyclePolicy {
    /// What makes somebody who bought a repeat customer; two purchases, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeat: Option<StageCondition>,
    /// What makes them a client; nobody is one, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<StageCondition>,
    /// What makes them an advocate; nobody is one, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advocate: Option<StageCondition>,
    /// What tells that they may leave: any of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_risk: Option<RiskCondition>,
    /// After how many days without a purchase they have lapsed; never, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lapsed_after_days: Option<i32>,
    /// After how many they are lost; never, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_after_days: Option<i32>,
    /// Where the quadrants and the diamond are cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cuts: Option<ClassCuts>,
}

/// What it takes to be in a stage: all that is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StageCondition {
    /// So many purchases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purchases: Option<i64>,
    /// So much spent, in minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spend: Option<i64>,
    /// So many referrals that converted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referrals: Option<i64>,
    /// So satisfied, as they said last: 1 to 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub satisfaction: Option<i32>,
}

/// What tells that somebody may leave: any of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RiskCondition {
    /// So many days without a purchase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_days: Option<i32>,
    /// No more satisfied than this, as they said last: 1 to 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub satisfaction_at_most: Option<i32>,
    /// So many complaints that are not resolved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_complaints: Option<i64>,
}

/// Where the quadrants and the diamond are cut. What is absent is as usual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClassCuts {
    /// From which score on somebody is satisfied, 1 to 5; 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub satisfied_from: Option<i32>,
    /// From which on they would recommend the business, 0 to 10; 9.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recommends_from: Option<i32>,
    /// From how many purchases on they buy again and again; 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purchases: Option<i64>,
    /// After how many days without a purchase they do so no more; never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rare_after_days: Option<i32>,
    /// From which involvement on they care, 1 to 5; 4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub involved_from: Option<i32>,
    /// How many brands are few; 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub few_brands: Option<i32>,
}

impl LifecyclePolicy {
    /// What makes a repeat customer.
    #[must_use]
    pub fn repeat(&self) -> StageCondition {
        self.repeat.unwrap_or(StageCondition { purchases: Some(2), ..StageCondition::default() })
    }

    /// Where classes are cut.
    #[must_use]
    pub fn cuts(&self) -> ClassCuts {
        self.cuts.unwrap_or_default()
    }
}
