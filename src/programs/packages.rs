//! What a program says of packages: what is given, when, and to whom.

use serde::{Deserialize, Serialize};

use super::benefits::{Benefit, Quota};
use super::points::Period;
use crate::book::Occasion;
use crate::ids::{BenefitId, PackageId, TierId};

pub mod faults;
pub mod grpc;

/// Points and benefits that are given together, once for each time that there is a reason to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its name within the program.
    pub package_id: PackageId,
    /// What people call it.
    pub display_name: String,
    /// What it is, in a sentence for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What it is given for.
    pub occasion: Occasion,
    /// To whom: who reaches one of these tiers, or holds one on the day. Whichever tier it is, if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tier_ids: Vec<TierId>,
    /// How many points; zero for none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub points: i64,
    /// The benefits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub benefits: Vec<PackagedBenefit>,
}

/// A benefit in a package: what is granted of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackagedBenefit {
    /// The benefit.
    pub benefit_id: BenefitId,
    /// The tier whose benefit it is; if absent, one of the extras, or else that of the lowest tier that gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier_id: Option<TierId>,
    /// How often it may be used; if absent, as often as the benefit's own quota says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantity: Option<i64>,
    /// For how long the customer has it; for ever, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_for: Option<Period>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it in so")]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl Package {
    /// Whether it is for who holds a tier.
    #[must_use]
    pub fn is_for(&self, tier_id: &TierId) -> bool {
        self.tier_ids.is_empty() || self.tier_ids.contains(tier_id)
    }
}

impl PackagedBenefit {
    /// How often what is granted of a benefit may be used.
    #[must_use]
    pub fn limit(&self, benefit: &Benefit) -> Option<i64> {
        self.quantity.or_else(|| benefit.quota.map(|Quota { limit, .. }| limit))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A package of points.
    pub(in crate::programs) fn package(package_id: &str, occasion: Occasion, tier_ids: &[&str]) -> Package {
        Package {
            package_id: package_id.try_into().unwrap(),
            display_name: package_id.to_owned(),
            description: String::new(),
            occasion,
            tier_ids: tier_ids.iter().map(|tier_id| TierId::try_from(*tier_id).unwrap()).collect(),
            points: 100,
            benefits: Vec::new(),
        }
    }
}
