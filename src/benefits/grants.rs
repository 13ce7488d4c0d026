//! What a grant is, and what of it is in force. It is pure.

use jiff::Timestamp;

use crate::book::{BenefitDetail, Detail, Entry};
use crate::error::{Reason, Refusal};
use crate::ids::{BenefitId, PackageId, TierId};
use crate::programs::benefits::{Benefit, Quota, QuotaPeriod};
use crate::programs::model::{Program, Tier};

/// How many grants a customer may have that have neither ended nor been revoked.
pub(crate) const MAX_GRANTS: usize = 256;

/// A benefit that was granted to a customer, beyond those of their tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// The benefit.
    pub benefit_id: BenefitId,
    /// The tier whose benefit it is; one of the program's extras, if absent.
    pub tier_id: Option<TierId>,
    /// The version of the program that describes it.
    pub policy_version: i32,
    /// Since when the customer has it.
    pub granted_at: Timestamp,
    /// How often it may be used until it ends; as often as the customer likes, if absent.
    pub limit: Option<i64>,
    /// Whether each companion counts as a use, too.
    pub counts_companions: bool,
    /// The first instant at which the customer has it no more; it has no end, if absent.
    pub ends_at: Option<Timestamp>,
    /// When it was ended by hand.
    pub revoked_at: Option<Timestamp>,
    /// The package that it was in, if it was in one.
    pub package_id: Option<PackageId>,
}

impl Grant {
    /// The grant that an entry makes; none, if it makes none.
    #[must_use]
    pub(crate) fn of_entry(entry: &Entry) -> Option<Self> {
        let Detail::Benefit(BenefitDetail::EntitlementGranted {
            benefit_id,
            tier_id,
            limit,
            counts_companions,
            until,
            package_id,
        }) = &entry.detail
        else {
            return None;
        };
        Some(Self {
            benefit_id: benefit_id.clone(),
            tier_id: tier_id.clone(),
            policy_version: entry.policy_version,
            granted_at: entry.effective_at,
            limit: *limit,
            counts_companions: *counts_companions,
            ends_at: *until,
            revoked_at: None,
            package_id: package_id.clone(),
        })
    }

    /// When it came to its end, if it has by an instant.
    #[must_use]
    pub(crate) fn ended_by(&self, at: Timestamp) -> Option<Timestamp> {
        self.ends_at.into_iter().chain(self.revoked_at).min().filter(|ended_at| *ended_at <= at)
    }

    /// The benefit as the version describes it that was in force as it was granted, with the quota that the grant has of
    /// its own. None if that version has no such one, which cannot be.
    #[must_use]
    pub(crate) fn describe(&self, program: &Program) -> Option<Benefit> {
        let benefit = match &self.tier_id {
            Some(tier_id) => find_in(&program.tier(tier_id)?.benefits, &self.benefit_id)?,
            None => find_in(&program.extras, &self.benefit_id)?,
        };
        let counts_companions = self.counts_companions;
        let quota = self.limit.map(|limit| Quota { limit, per: QuotaPeriod::Lifetime, counts_companions });
        Some(Benefit { quota, ..benefit.clone() })
    }
}

/// The benefit that a grant is of, with the tier whose it is: the one that is named; or else the program's extras come
/// first, and then the lowest tier that gives it.
///
/// # Errors
/// A refusal if there is none such, or if it is one that the book itself applies.
pub(crate) fn find_grantable<'a>(
    program: &'a Program,
    benefit_id: &BenefitId,
    tier_id: Option<&TierId>,
) -> Result<(&'a Benefit, Option<&'a Tier>), Refusal> {
    let gives = |tier: &'a Tier| Some((find_in(&tier.benefits, benefit_id)?, Some(tier)));
    let found = match tier_id {
        Some(tier_id) => {
            let tier = program.tier(tier_id).ok_or_else(|| {
                let refusal = Refusal::new(Reason::TierNotFound, format!("the program has no tier {tier_id}"));
                refusal.with("tier_id", tier_id)
            })?;
            gives(tier)
        }
        None => {
            let extra = find_in(&program.extras, benefit_id).map(|benefit| (benefit, None));
            extra.or_else(|| program.tiers.iter().find_map(gives))
        }
    };
    let (benefit, tier) = found.ok_or_else(|| {
        let place = tier_id.map_or_else(|| "the program".to_owned(), |tier_id| format!("the tier {tier_id}"));
        let message = format!("{place} has no benefit {benefit_id}");
        Refusal::new(Reason::BenefitNotFound, message).with("benefit_id", benefit_id)
    })?;
    if benefit.kind.multiplier().is_some() {
        let message = format!("the book itself applies the benefit {benefit_id}, to each purchase by the tier alone");
        return Err(Refusal::new(Reason::BenefitNotUsable, message).with("benefit_id", benefit_id));
    }
    Ok((benefit, tier))
}

/// The benefit of an id among some.
pub(super) fn find_in<'a>(benefits: &'a [Benefit], benefit_id: &BenefitId) -> Option<&'a Benefit> {
    benefits.iter().find(|benefit| benefit.benefit_id == *benefit_id)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::money::Rate;
    use crate::programs::benefits::BenefitKind;
    use crate::programs::model::tests::program;

    /// A grant of a lounge, without an end.
    pub(in crate::benefits) fn grant(limit: Option<i64>) -> Grant {
        Grant {
            benefit_id: "lounge".try_into().unwrap(),
            tier_id: None,
            policy_version: 1,
            granted_at: Timestamp::UNIX_EPOCH,
            limit,
            counts_companions: true,
            ends_at: None,
            revoked_at: None,
            package_id: None,
        }
    }

    fn benefit(description: &str, kind: BenefitKind) -> Benefit {
        let benefit_id = "lounge".try_into().unwrap();
        Benefit { benefit_id, display_name: String::new(), description: description.to_owned(), kind, quota: None }
    }

    #[test]
    fn a_grant_ends_at_its_end_or_as_it_is_revoked_whichever_comes_first() {
        let second = |second| Timestamp::from_second(second).unwrap();
        let ended = |ends_at: Option<i64>, revoked_at: Option<i64>, at| {
            let grant = Grant { ends_at: ends_at.map(second), revoked_at: revoked_at.map(second), ..grant(None) };
            grant.ended_by(second(at)).map(Timestamp::as_second)
        };
        assert_eq!([ended(None, None, 9), ended(Some(5), None, 4), ended(Some(5), None, 5)], [None, None, Some(5)]);
        assert_eq!(
            [ended(Some(5), Some(3), 3), ended(Some(5), Some(3), 2), ended(None, Some(3), 8)],
            [Some(3), None, Some(3)]
        );
    }

    #[test]
    fn extras_come_before_tiers_and_low_tiers_before_high_ones() {
        let mut program = program();
        let lounge: BenefitId = "lounge".try_into().unwrap();
        let found = |program: &Program, tier_id: Option<&str>| {
            let tier_id = tier_id.map(|tier_id| TierId::try_from(tier_id).unwrap());
            match find_grantable(program, &lounge, tier_id.as_ref()) {
                Ok((benefit, tier)) => (benefit.description.clone(), tier.map(|tier| tier.display_name.clone())),
                Err(refusal) => (refusal.reason.name().to_owned(), None),
            }
        };
        assert_eq!(found(&program, None).0, "BENEFIT_NOT_FOUND");
        program.tiers[1].benefits.push(benefit("low", BenefitKind::LoungePass));
        program.tiers[2].benefits.push(benefit("high", BenefitKind::LoungePass));
        assert_eq!(found(&program, None), ("low".to_owned(), Some("silver".to_owned())));
        assert_eq!(found(&program, Some("gold")), ("high".to_owned(), Some("gold".to_owned())));
        assert_eq!(found(&program, Some("member")).0, "BENEFIT_NOT_FOUND");
        assert_eq!(found(&program, Some("bronze")).0, "TIER_NOT_FOUND");
        program.extras.push(benefit("extra", BenefitKind::LoungePass));
        assert_eq!(found(&program, None), ("extra".to_owned(), None));
        program.tiers[2].benefits[0].kind = BenefitKind::EarnRateMultiplier(Rate::parse("2").unwrap());
        assert_eq!(found(&program, Some("gold")).0, "BENEFIT_NOT_USABLE");
    }
}
