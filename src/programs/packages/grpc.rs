//! Packages on the wire.

use goldbook_api::values::MAX_POINTS;

use super::faults::PackageOutline;
use super::{Package, PackagedBenefit};
use crate::book::Occasion;
use crate::error::Fields;
use crate::ids::{BenefitId, PackageId, TierId};
use crate::programs::benefits::grpc::{MAX_DESCRIPTION, MAX_LIMIT};
use crate::programs::model::MAX_TIERS;
use crate::programs::points::Period;
use crate::programs::points::grpc::parse_period;
use crate::proto;
use crate::proto::fields::parse_text;

/// The most benefits of one package: each becomes an entry of its own, all in one transaction.
const MAX_BENEFITS: usize = 16;

/// As much of a package as could be read, and the package if that is all of it. The caller parses its name for people,
/// which it does as for all things.
pub(in crate::programs) fn parse_package(
    fields: &mut Fields,
    path: &str,
    package: proto::Package,
    display_name: Option<String>,
) -> (PackageOutline, Option<Package>) {
    let occasion = match package.occasion() {
        proto::PackageOccasion::TierReached => Some(Occasion::TierReached),
        proto::PackageOccasion::Birthday => Some(Occasion::Birthday),
        proto::PackageOccasion::EnrolmentAnniversary => Some(Occasion::EnrolmentAnniversary),
        proto::PackageOccasion::Unspecified => {
            fields.refuse(format!("{path}.occasion"), "must be one of the named values");
            None
        }
    };
    let package_id = fields.check(format!("{path}.package_id"), PackageId::try_from(package.package_id));
    let description = parse_text(fields, &format!("{path}.description"), &package.description, MAX_DESCRIPTION);
    if !(0..=MAX_POINTS).contains(&package.points) {
        fields.refuse(format!("{path}.points"), "must be from 0 to 1,000,000,000,000");
    }
    let mut bound = |field: &str, count: usize, max: usize| {
        if count > max {
            fields.refuse(format!("{path}.{field}"), format!("must have at most {max} items"));
        }
    };
    bound("tier_ids", package.tier_ids.len(), MAX_TIERS);
    bound("benefits", package.benefits.len(), MAX_BENEFITS);
    let tier_ids = package.tier_ids.into_iter().take(MAX_TIERS).enumerate();
    let tier_ids: Vec<Option<TierId>> =
        tier_ids.map(|(i, tier_id)| fields.check(format!("{path}.tier_ids[{i}]"), TierId::try_from(tier_id))).collect();
    let benefits = package.benefits.into_iter().take(MAX_BENEFITS).enumerate();
    let benefits: Vec<Option<PackagedBenefit>> =
        benefits.map(|(i, packed)| parse_packed(fields, &format!("{path}.benefits[{i}]"), packed)).collect();
    let named = |it: &PackagedBenefit| (it.benefit_id.clone(), it.tier_id.clone());
    let outline = PackageOutline {
        package_id: package_id.clone(),
        occasion,
        tier_ids: tier_ids.clone(),
        // A number that is out of bounds is refused as that.
        has_points: package.points != 0,
        benefits: benefits.iter().map(|packed| packed.as_ref().map(named)).collect(),
    };
    let whole = || {
        Some(Package {
            package_id: package_id?,
            display_name: display_name?,
            description: description?,
            occasion: occasion?,
            tier_ids: tier_ids.into_iter().collect::<Option<_>>()?,
            points: package.points,
            benefits: benefits.into_iter().collect::<Option<_>>()?,
        })
    };
    (outline, whole())
}

/// What is granted of a benefit, as far as it could be read.
pub(in crate::programs) fn parse_packed(
    fields: &mut Fields,
    path: &str,
    packed: proto::PackagedBenefit,
) -> Option<PackagedBenefit> {
    let benefit_id = fields.check(format!("{path}.benefit_id"), BenefitId::try_from(packed.benefit_id));
    let tier_id = match packed.tier_id.as_str() {
        "" => Some(None),
        tier_id => fields.check(format!("{path}.tier_id"), TierId::try_from(tier_id)).map(Some),
    };
    let quantity = match packed.quantity {
        Some(quantity) if !(1..=MAX_LIMIT).contains(&quantity) => {
            fields.check(format!("{path}.quantity"), Err("must be from 1 to 1,000,000"))
        }
        quantity => Some(quantity),
    };
    let valid_for = match packed.valid_for.as_str() {
        "" => Some(None),
        period => parse_period(fields, &format!("{path}.valid_for"), period).map(Some),
    };
    Some(PackagedBenefit { benefit_id: benefit_id?, tier_id: tier_id?, quantity: quantity?, valid_for: valid_for? })
}

/// A package on the wire.
#[must_use]
pub(in crate::programs) fn write_package(package: &Package) -> proto::Package {
    let occasion = match package.occasion {
        Occasion::TierReached => proto::PackageOccasion::TierReached,
        Occasion::Birthday => proto::PackageOccasion::Birthday,
        Occasion::EnrolmentAnniversary => proto::PackageOccasion::EnrolmentAnniversary,
    };
    proto::Package {
        package_id: package.package_id.to_string(),
        display_name: package.display_name.clone(),
        description: package.description.clone(),
        occasion: occasion.into(),
        tier_ids: package.tier_ids.iter().map(ToString::to_string).collect(),
        points: package.points,
        benefits: package.benefits.iter().map(write_packed).collect(),
    }
}

/// What is granted of a benefit, on the wire.
#[must_use]
pub(in crate::programs) fn write_packed(packed: &PackagedBenefit) -> proto::PackagedBenefit {
    proto::PackagedBenefit {
        benefit_id: packed.benefit_id.to_string(),
        tier_id: packed.tier_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        quantity: packed.quantity,
        valid_for: packed.valid_for.as_ref().map(Period::to_string).unwrap_or_default(),
    }
}
