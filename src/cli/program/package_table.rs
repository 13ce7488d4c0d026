//! What a program's document says of a package: a table of `[[packages]]`.

use goldbook_api::v1::{Package, PackageOccasion, PackagedBenefit};
use serde::Serialize;

use super::super::error::CliError;
use super::points_table::newer;
use super::table::{UNREADABLE, Value};

/// A package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct PackageTable {
    package_id: String,
    display_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    occasion: OccasionWord,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tier_ids: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    points: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    benefits: Vec<PackagedTable>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum OccasionWord {
    TierReached,
    Birthday,
    EnrolmentAnniversary,
}

/// A benefit in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct PackagedTable {
    benefit_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    tier_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity: Option<i64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    valid_for: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it in so")]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl PackageTable {
    /// The table of a package, without values that are defaults.
    ///
    /// # Errors
    /// If it has a value that this program does not know, since the service is newer.
    pub(super) fn from_proto(package: Package) -> Result<Self, CliError> {
        let occasion = match package.occasion() {
            PackageOccasion::TierReached => OccasionWord::TierReached,
            PackageOccasion::Birthday => OccasionWord::Birthday,
            PackageOccasion::EnrolmentAnniversary => OccasionWord::EnrolmentAnniversary,
            PackageOccasion::Unspecified => return Err(newer("packages are given")),
        };
        let benefits = package.benefits.into_iter().map(|it| PackagedTable {
            benefit_id: it.benefit_id,
            tier_id: it.tier_id,
            quantity: it.quantity,
            valid_for: it.valid_for,
        });
        Ok(Self {
            package_id: package.package_id,
            display_name: package.display_name,
            description: package.description,
            occasion,
            tier_ids: package.tier_ids,
            points: package.points,
            benefits: benefits.collect(),
        })
    }
}

/// Reads a package; one that the service cannot read where it is none, so that others keep their places.
pub(super) fn read_package(value: &Value<'_>) -> Package {
    let known = &["package_id", "display_name", "description", "occasion", "tier_ids", "points", "benefits"];
    let Some(table) = value.named_table("package_id", known) else { return Package::default() };
    let occasions = [
        ("tier_reached", PackageOccasion::TierReached),
        ("birthday", PackageOccasion::Birthday),
        ("enrolment_anniversary", PackageOccasion::EnrolmentAnniversary),
    ];
    Package {
        package_id: table.text("package_id"),
        display_name: table.text("display_name"),
        description: table.optional_text("description"),
        occasion: table.require("occasion").and_then(|it| it.word(&occasions)).map_or(UNREADABLE, Into::into),
        // What is no list is judged as that, and not as none.
        tier_ids: table.each("tier_ids", |tier| tier.text().unwrap_or_default()),
        points: table.number_or_bad("points").unwrap_or_default(),
        benefits: table.each("benefits", read_packed),
    }
}

fn read_packed(value: &Value<'_>) -> PackagedBenefit {
    let known = &["benefit_id", "tier_id", "quantity", "valid_for"];
    let Some(table) = value.named_table("benefit_id", known) else { return PackagedBenefit::default() };
    PackagedBenefit {
        benefit_id: table.text("benefit_id"),
        tier_id: table.optional_text("tier_id"),
        quantity: table.number("quantity"),
        valid_for: table.optional_text("valid_for"),
    }
}
