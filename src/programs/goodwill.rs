//! What a program lets those who serve customers give as goodwill, and how much of it.

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use super::packages::PackagedBenefit;
use super::points::CalendarPeriod;
use crate::ids::BenefitId;

pub(crate) mod grpc;

/// What may be given as goodwill.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GoodwillPolicy {
    /// The most points that may be given at once; as many as anybody can count, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most_at_once: Option<i64>,
    /// The most within calendar periods: one for whom it is counted and each kind of period.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<GoodwillLimit>,
    /// Benefits that may be given, each once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub benefits: Vec<GoodwillBenefit>,
}

/// The most that may be given within a calendar period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoodwillLimit {
    /// For whom it is counted.
    pub of: GoodwillParty,
    /// The kind of period.
    pub period: CalendarPeriod,
    /// The most points in one such period.
    pub points: i64,
}

/// For whom it is counted what was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum GoodwillParty {
    /// For whoever gives, over all customers.
    Person,
    /// For whom it is given to, by whomever.
    Customer,
}

/// A benefit that may be given as goodwill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoodwillBenefit {
    /// What is granted.
    pub benefit: PackagedBenefit,
    /// As how many points it counts.
    pub points: i64,
}

impl GoodwillParty {
    /// The word in a program's document.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl GoodwillPolicy {
    /// A benefit that may be given.
    #[must_use]
    pub fn benefit(&self, benefit_id: &BenefitId) -> Option<&GoodwillBenefit> {
        self.benefits.iter().find(|it| it.benefit.benefit_id == *benefit_id)
    }
}
