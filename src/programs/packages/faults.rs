//! What is unsound across the packages of a document and the rest of it.

use std::collections::BTreeSet;

use super::{Package, PackagedBenefit};
use crate::book::Occasion;
use crate::error::Violation;
use crate::ids::{BenefitId, PackageId, TierId};
use crate::programs::benefits::{BenefitKind, BenefitOutline};
use crate::programs::faults::TierOutline;

/// As much of a package as could be read. What could not is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackageOutline {
    /// Its name within the program.
    pub package_id: Option<PackageId>,
    /// What it is given for.
    pub occasion: Option<Occasion>,
    /// To whom.
    pub tier_ids: Vec<Option<TierId>>,
    /// Whether it has points.
    pub has_points: bool,
    /// The benefits in it, each with the tier that is named.
    pub benefits: Vec<Option<NamedBenefit>>,
}

/// A benefit that is named, with the tier that is.
pub type NamedBenefit = (BenefitId, Option<TierId>);

impl From<&Package> for PackageOutline {
    fn from(package: &Package) -> Self {
        let named = |it: &PackagedBenefit| Some((it.benefit_id.clone(), it.tier_id.clone()));
        Self {
            package_id: Some(package.package_id.clone()),
            occasion: Some(package.occasion),
            tier_ids: package.tier_ids.iter().cloned().map(Some).collect(),
            has_points: package.points > 0,
            benefits: package.benefits.iter().map(named).collect(),
        }
    }
}

/// Notes what is unsound across the packages of a document with these tiers and extras.
#[must_use]
pub fn find_package_faults(
    packages: &[PackageOutline],
    tiers: &[TierOutline],
    extras: &[BenefitOutline],
) -> Vec<Violation> {
    let mut faults = Vec::new();
    let mut fault = |field: String, description: String| faults.push(Violation { field, description });
    let mut package_ids = BTreeSet::new();
    for (i, package) in packages.iter().enumerate() {
        let path = format!("program.packages[{i}]");
        if package.package_id.as_ref().is_some_and(|package_id| !package_ids.insert(package_id)) {
            fault(format!("{path}.package_id"), "must be unique within the program".to_owned());
        }
        if !package.has_points && package.benefits.is_empty() {
            fault(path.clone(), "must have points or benefits in it".to_owned());
        }
        for (j, tier_id) in package.tier_ids.iter().enumerate() {
            let Some(tier_id) = tier_id else { continue };
            let field = format!("{path}.tier_ids[{j}]");
            if is_missing(tiers, tier_id) {
                fault(field, format!("must be a tier of the program; there is none with the id {tier_id}"));
            } else if package.tier_ids.iter().take(j).any(|other| other.as_ref() == Some(tier_id)) {
                fault(field, "must be unique within the package".to_owned());
            }
        }
        if let Some(description) = find_overlap(packages.get(..i).unwrap_or_default(), package) {
            fault(format!("{path}.tier_ids"), description);
        }
        for (j, benefit) in package.benefits.iter().enumerate() {
            let Some(named) = benefit else { continue };
            let found = find_named_benefit_fault(tiers, extras, &format!("{path}.benefits[{j}]"), named);
            found.into_iter().for_each(|it| fault(it.field, it.description));
        }
    }
    faults
}

/// What is wrong with a benefit to be granted that something in a document names, and its tier.
#[must_use]
pub fn find_named_benefit_fault(
    tiers: &[TierOutline],
    extras: &[BenefitOutline],
    field: &str,
    (benefit_id, tier_id): &NamedBenefit,
) -> Option<Violation> {
    match tier_id {
        Some(tier_id) if is_missing(tiers, tier_id) => {
            let description = format!("must be a tier of the program; there is none with the id {tier_id}");
            Some(Violation { field: format!("{field}.tier_id"), description })
        }
        Some(_) | None => {
            let description = find_benefit(tiers, extras, benefit_id, tier_id.as_ref())?;
            Some(Violation { field: format!("{field}.benefit_id"), description })
        }
    }
}

/// Whether the program has no such tier. That is not known where the id of one could not be read.
fn is_missing(tiers: &[TierOutline], tier_id: &TierId) -> bool {
    tiers.iter().all(|tier| tier.tier_id.as_ref().is_some_and(|it| it != tier_id))
}

/// What is wrong with a package where an earlier one is for the same occasion and tier: a customer would have two.
fn find_overlap(earlier: &[PackageOutline], package: &PackageOutline) -> Option<String> {
    let shares = |other: &&PackageOutline| {
        other.occasion.is_some()
            && other.occasion == package.occasion
            && (other.tier_ids.is_empty()
                || package.tier_ids.is_empty()
                || package.tier_ids.iter().any(|tier_id| tier_id.is_some() && other.tier_ids.contains(tier_id)))
    };
    let other = earlier.iter().find(shares)?;
    let name = other.package_id.as_ref().map_or_else(|| "another one".to_owned(), ToString::to_string);
    Some(format!("must have no tier in common with the package {name}, which is for the same occasion"))
}

/// What is wrong with a benefit that a package names, of a tier or of any; nothing, where one could not be read.
fn find_benefit(
    tiers: &[TierOutline],
    extras: &[BenefitOutline],
    benefit_id: &BenefitId,
    tier_id: Option<&TierId>,
) -> Option<String> {
    let of_tiers = tiers.iter().filter(|tier| tier_id.is_none() || tier.tier_id.as_ref() == tier_id);
    let of_tiers = of_tiers.flat_map(|tier| &tier.benefits);
    let mut all = extras.iter().filter(|_| tier_id.is_none()).chain(of_tiers);
    let found = all.clone().find(|benefit| benefit.benefit_id.as_ref() == Some(benefit_id));
    match found {
        Some(benefit) => {
            let is_applied = benefit.kind.as_ref().and_then(BenefitKind::multiplier).is_some();
            is_applied.then(|| "must not be an earn-rate multiplier, which purchases have by the tier alone".to_owned())
        }
        None if all.any(|benefit| benefit.benefit_id.is_none()) => None,
        None => {
            let place = tier_id.map_or_else(|| "the program".to_owned(), |tier_id| format!("the tier {tier_id}"));
            Some(format!("must be a benefit of {place}; there is none with the id {benefit_id}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::package;
    use super::*;
    use crate::programs::benefits::Benefit;
    use crate::programs::model::Program;
    use crate::programs::model::tests::program;

    fn benefit(id: &str, kind: BenefitKind) -> Benefit {
        let benefit_id = id.try_into().unwrap();
        Benefit { benefit_id, display_name: id.to_owned(), description: String::new(), kind, quota: None }
    }

    fn faults(program: &Program) -> Vec<String> {
        let packages: Vec<PackageOutline> = program.packages.iter().map(Into::into).collect();
        let tiers: Vec<TierOutline> = program.tiers.iter().map(Into::into).collect();
        let extras: Vec<BenefitOutline> = program.extras.iter().map(Into::into).collect();
        let faults = find_package_faults(&packages, &tiers, &extras).into_iter();
        faults.map(|fault| fault.field.trim_start_matches("program.packages").to_owned()).collect()
    }

    fn packed(benefit_id: &str, tier_id: Option<&str>) -> PackagedBenefit {
        let tier_id = tier_id.map(|tier_id| tier_id.try_into().unwrap());
        PackagedBenefit { benefit_id: benefit_id.try_into().unwrap(), tier_id, quantity: None, valid_for: None }
    }

    #[test]
    fn packages_of_one_occasion_share_no_tier() {
        let mut shop = program();
        let of = |id: &str, occasion, tiers: &[&str]| package(id, occasion, tiers);
        shop.packages = vec![
            of("a", Occasion::TierReached, &["silver"]),
            of("b", Occasion::TierReached, &["gold", "member"]),
            of("c", Occasion::Birthday, &[]),
            of("d", Occasion::EnrolmentAnniversary, &["silver"]),
        ];
        assert_eq!(faults(&shop), [""; 0]);
        shop.packages.push(of("e", Occasion::Birthday, &["gold"]));
        shop.packages.push(of("a", Occasion::TierReached, &["gold", "gold", "bronze"]));
        shop.packages.push(of("f", Occasion::EnrolmentAnniversary, &[]));
        assert_eq!(
            faults(&shop),
            ["[4].tier_ids", "[5].package_id", "[5].tier_ids[1]", "[5].tier_ids[2]", "[5].tier_ids", "[6].tier_ids"]
        );
    }

    #[test]
    fn a_package_has_something_in_it_that_the_program_knows_and_can_grant() {
        let mut shop = program();
        let mut empty = package("empty", Occasion::Birthday, &[]);
        empty.points = 0;
        shop.packages = vec![empty];
        assert_eq!(faults(&shop), ["[0]"]);
        let multiplier = BenefitKind::EarnRateMultiplier(crate::money::Rate::parse("2").unwrap());
        shop.tiers[2].benefits = vec![benefit("lounge", BenefitKind::LoungePass), benefit("double", multiplier)];
        shop.extras = vec![benefit("gift", BenefitKind::Gift)];
        let mut found = |benefits: Vec<PackagedBenefit>| {
            shop.packages[0].benefits = benefits;
            faults(&shop)
        };
        assert_eq!(found(vec![packed("gift", None), packed("lounge", None), packed("lounge", Some("gold"))]), [""; 0]);
        let bad = vec![
            packed("lunge", None),
            packed("lounge", Some("silver")),
            packed("lounge", Some("bronze")),
            packed("gift", Some("gold")),
            packed("double", None),
        ];
        let fields = ["benefits[0].benefit_id", "benefits[1].benefit_id", "benefits[2].tier_id"];
        let fields = fields.into_iter().chain(["benefits[3].benefit_id", "benefits[4].benefit_id"]);
        assert_eq!(found(bad), fields.map(|field| format!("[0].{field}")).collect::<Vec<_>>());
    }

    #[test]
    fn what_could_not_be_read_is_no_fault_of_a_package() {
        let mut shop = program();
        shop.packages = vec![package("a", Occasion::Birthday, &["gold"]), package("b", Occasion::Birthday, &["gold"])];
        shop.packages[0].benefits = vec![packed("lounge", None)];
        let mut packages: Vec<PackageOutline> = shop.packages.iter().map(Into::into).collect();
        packages[1].tier_ids = vec![None];
        let mut tiers: Vec<TierOutline> = shop.tiers.iter().map(Into::into).collect();
        tiers[2] = TierOutline { benefits: vec![BenefitOutline::default()], ..TierOutline::default() };
        assert_eq!(find_package_faults(&packages, &tiers, &[]), []);
        packages[0].occasion = None;
        packages[1].tier_ids = Vec::new();
        assert_eq!(find_package_faults(&packages, &tiers, &[]), []);
    }
}
