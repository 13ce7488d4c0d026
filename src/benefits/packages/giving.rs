//! What is written as a package is given. It is pure.

use jiff::Timestamp;

use crate::benefits::grants::{MAX_GRANTS, find_grantable};
use crate::book::{
    Account, Actor, BenefitDetail, Defect, Detail, EntryReason, NewEntry, Pocket, PocketMove, PointsDetail,
};
use crate::ids::{EntryId, TierId};
use crate::points::grants::model::{pocket_of, repay_by_lot, terms_of};
use crate::programs::model::ProgramVersion;
use crate::programs::packages::{Package, PackagedBenefit};
use crate::programs::points::{PointsPolicy, VestingRule};

/// A package, and to whom it is given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Giving<'a> {
    /// The version of the program that has it.
    pub policy: &'a ProgramVersion,
    /// When points vest and expire: by the version in force as it is given, which may be another one.
    pub points: &'a PointsPolicy,
    /// The package.
    pub package: &'a Package,
    /// The customer's account.
    pub account: &'a Account,
    /// When it is given.
    pub at: Timestamp,
    /// How many grants the customer has then that have neither ended nor been revoked.
    pub in_force: usize,
}

/// Which one of its occasions a package is given for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Occurrence {
    /// A tier was reached.
    InTierPeriod {
        /// The tier.
        tier_id: TierId,
        /// The number of the entry that says so.
        reached: i64,
        /// The tier period, by the number of the entry that began it.
        tier_period: i64,
    },
    /// The day of a year.
    InYear(i16),
}

impl Giving<'_> {
    /// The entries, which follow the account's last one: that the package is given, and what it causes.
    ///
    /// # Errors
    /// [`Defect`] if a rule about points cannot be written down.
    pub(crate) fn entries(&self, occurrence: Occurrence) -> Result<Vec<NewEntry>, Defect> {
        let given = self.account.next_entry_id();
        let points = self.grant_points(given)?;
        let room = MAX_GRANTS.saturating_sub(self.in_force);
        let (mut grants, mut withheld_benefits) = (Vec::new(), Vec::new());
        for packed in &self.package.benefits {
            match self.grant_benefit(packed, given).filter(|_| grants.len() < room) {
                Some(granted) => grants.push(granted),
                None => withheld_benefits.push(packed.benefit_id.clone()),
            }
        }
        let (tier_id, tier_period, year, cause) = match occurrence {
            Occurrence::InTierPeriod { tier_id, reached, tier_period } => {
                (Some(tier_id), Some(tier_period), None, Some(reached))
            }
            Occurrence::InYear(year) => (None, None, Some(year), None),
        };
        let detail = BenefitDetail::PackageGiven {
            package_id: self.package.package_id.clone(),
            occasion: self.package.occasion,
            tier_id,
            tier_period,
            year,
            withheld_points: if points.is_empty() { self.package.points } else { 0 },
            withheld_benefits,
        };
        let causes = cause.map(|account_seq| EntryId { account_seq, ..given }).into_iter().collect();
        let given = self.entry(detail.into(), None, causes);
        Ok(std::iter::once(given).chain(points).chain(grants).collect())
    }

    /// The grant of the points, and what they pay of a debt; nothing where there are none, or the account cannot count
    /// them.
    fn grant_points(&self, given: EntryId) -> Result<Vec<NewEntry>, Defect> {
        let (points, program) = (self.package.points, &self.policy.program);
        if points == 0 {
            return Ok(Vec::new());
        }
        // There is no event that a package would wait for.
        let vesting = match &self.points.vesting {
            VestingRule::OnEvent(_) => &VestingRule::Immediate,
            other @ (VestingRule::Immediate | VestingRule::At(_) | VestingRule::After(_)) => other,
        };
        let terms = terms_of(vesting, &self.points.expiry, self.at, program)?;
        let movement = PocketMove { from: Pocket::Issued, to: pocket_of(&terms), points };
        let lot = EntryId { account_seq: given.account_seq.saturating_add(1), ..given };
        let repayment = repay_by_lot(lot, &terms, points, self.account.balance.owed, self.policy.version);
        let detail = PointsDetail::PointsGranted { terms, counted_in: Vec::new(), uncapped: None };
        let granted = self.entry(detail.into(), Some(movement), vec![given]);
        let entries: Vec<NewEntry> = std::iter::once(granted).chain(repayment).collect();
        let mut balance = self.account.balance;
        let can_count = entries.iter().filter_map(|entry| entry.movement).all(|it| balance.make(it).is_ok());
        Ok(if can_count { entries } else { Vec::new() })
    }

    /// The grant of a benefit; none if the program has no such one, which no document is.
    fn grant_benefit(&self, packed: &PackagedBenefit, given: EntryId) -> Option<NewEntry> {
        let program = &self.policy.program;
        let (benefit, tier) = find_grantable(program, &packed.benefit_id, packed.tier_id.as_ref()).ok()?;
        let detail = BenefitDetail::EntitlementGranted {
            benefit_id: packed.benefit_id.clone(),
            tier_id: tier.map(|tier| tier.tier_id.clone()),
            limit: packed.limit(benefit),
            counts_companions: benefit.quota.is_some_and(|quota| quota.counts_companions),
            until: packed.valid_for.as_ref().map(|period| period.after(self.at, &program.time_zone.0)),
            package_id: Some(self.package.package_id.clone()),
        };
        Some(self.entry(detail.into(), None, vec![given]))
    }

    fn entry(&self, detail: Detail, movement: Option<PocketMove>, causes: Vec<EntryId>) -> NewEntry {
        let (actor, reason) = (Actor::Rule, EntryReason::Package);
        NewEntry { detail, movement, actor, reason, policy_version: self.policy.version, causes }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::book::{AccountKind, Occasion};
    use crate::ids::AccountId;
    use crate::programs::benefits::{Benefit, BenefitKind};
    use crate::programs::model::tests::program;
    use crate::programs::points::Period;

    fn policy() -> ProgramVersion {
        let mut program = program();
        let benefit = |id: &str| Benefit {
            benefit_id: id.try_into().unwrap(),
            display_name: id.to_owned(),
            description: String::new(),
            kind: BenefitKind::Gift,
            quota: None,
        };
        program.extras = vec![benefit("cake"), benefit("tea")];
        let packed = |id: &str, valid_for: Option<&str>| PackagedBenefit {
            benefit_id: id.try_into().unwrap(),
            tier_id: None,
            quantity: None,
            valid_for: valid_for.map(|period| Period::parse(period).unwrap()),
        };
        program.packages = vec![Package {
            package_id: "box".try_into().unwrap(),
            display_name: "Box".to_owned(),
            description: String::new(),
            occasion: Occasion::Birthday,
            tier_ids: Vec::new(),
            points: 100,
            benefits: vec![packed("cake", Some("P1M")), packed("tea", None)],
        }];
        let applied_at = Timestamp::UNIX_EPOCH;
        ProgramVersion { program, version: 3, applied_at, effective_from: applied_at }
    }

    fn account(policy: &ProgramVersion) -> Account {
        let account_id = AccountId(Uuid::from_u128(7));
        let account = Account::empty(account_id, policy.program.program_id.clone(), AccountKind::Customer);
        Account { head: 10, ..account }
    }

    fn give(policy: &ProgramVersion, account: &Account, in_force: usize) -> Vec<NewEntry> {
        let at = "2026-01-31T12:00:00-05:00".parse().unwrap();
        let points = &policy.program.points;
        let giving = Giving { policy, points, package: &policy.program.packages[0], account, at, in_force };
        giving.entries(Occurrence::InYear(2026)).unwrap()
    }

    fn kinds(entries: &[NewEntry]) -> Vec<&'static str> {
        entries.iter().map(|entry| entry.detail.kind()).collect()
    }

    #[test]
    fn a_package_causes_what_is_in_it_and_pays_a_debt() {
        let policy = policy();
        let mut account = account(&policy);
        (account.balance.owed, account.balance.redeemed) = (30, 30);
        let entries = give(&policy, &account, 0);
        let expected = ["package_given", "points_granted", "debt_repaid"];
        assert_eq!(kinds(&entries), [&expected[..], &["entitlement_granted"; 2]].concat());
        let causes: Vec<Vec<i64>> =
            entries.iter().map(|entry| entry.causes.iter().map(|id| id.account_seq).collect()).collect();
        assert_eq!(causes, [vec![], vec![11], vec![12], vec![11], vec![11]]);
        assert_eq!(entries[2].movement.unwrap().points, 30);
        let until = |entry: &NewEntry| {
            let Detail::Benefit(BenefitDetail::EntitlementGranted { until, .. }) = &entry.detail else {
                panic!("{entry:?}")
            };
            *until
        };
        // A month after 31 January, at the same local time.
        assert_eq!(until(&entries[3]), Some("2026-02-28T12:00:00-05:00".parse().unwrap()));
        assert_eq!(until(&entries[4]), None);
    }

    #[test]
    fn points_that_wait_pay_no_debt_yet() {
        let mut policy = policy();
        policy.program.points.vesting = VestingRule::After(Period::parse("P3D").unwrap());
        let mut account = account(&policy);
        (account.balance.owed, account.balance.redeemed) = (30, 30);
        let entries = give(&policy, &account, 0);
        assert_eq!(kinds(&entries)[..3], ["package_given", "points_granted", "entitlement_granted"]);
    }

    #[test]
    fn points_of_a_package_wait_for_no_event() {
        let mut policy = policy();
        policy.program.points.vesting = VestingRule::OnEvent(Period::parse("P3D").unwrap());
        let entries = give(&policy, &account(&policy), 0);
        assert_eq!(entries[1].movement.unwrap().to, Pocket::Available);
    }

    #[test]
    fn what_cannot_be_had_is_withheld_and_told() {
        let policy = policy();
        let withheld = |account: &Account, in_force| {
            let entries = give(&policy, account, in_force);
            let Detail::Benefit(BenefitDetail::PackageGiven { withheld_points, withheld_benefits, .. }) =
                entries[0].detail.clone()
            else {
                panic!("{entries:?}")
            };
            let benefits: Vec<String> = withheld_benefits.iter().map(ToString::to_string).collect();
            (withheld_points, benefits.join(" "), entries.len())
        };
        let poor = account(&policy);
        let mut rich = account(&policy);
        (rich.balance.issued, rich.balance.available) = (i64::MAX - 99, i64::MAX - 99);
        assert_eq!(withheld(&poor, MAX_GRANTS - 2), (0, String::new(), 4));
        assert_eq!(withheld(&poor, MAX_GRANTS - 1), (0, "tea".to_owned(), 3));
        assert_eq!(withheld(&poor, MAX_GRANTS), (0, "cake tea".to_owned(), 2));
        assert_eq!(withheld(&rich, 0), (100, String::new(), 3));
        rich.balance.issued -= 1;
        rich.balance.available -= 1;
        assert_eq!(withheld(&rich, 0), (0, String::new(), 4));
    }
}
