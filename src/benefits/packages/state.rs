//! Which packages customers are owed for tiers that they have reached, and which they were given.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::giving::{Giving, Occurrence};
use crate::book::{Account, BenefitDetail, Cell, Due, DueKind, Entry, NewEntry, Occasion, Row, TierDetail};
use crate::ids::{AccountId, PackageId, ProgramId, TierId};
use crate::programs::model::ProgramVersion;

/// The packages of a batch's customers.
#[derive(Debug, Default)]
pub(in crate::benefits) struct Packages {
    /// What customers are owed, by account and the tier that they have reached.
    pub(super) owed: BTreeMap<AccountId, BTreeMap<TierId, Owed>>,
    /// Those that are new, or owed no longer.
    pub(super) changed_owed: BTreeSet<(AccountId, TierId)>,
    /// Accounts of which everything that is owed was read.
    pub(super) loaded: BTreeSet<AccountId>,
    /// Others whose customers are erased, so that they are owed nothing, by the entries that say so.
    pub(super) ended: BTreeMap<AccountId, i64>,
    /// What was given, by account and entry.
    pub(super) given: BTreeMap<(AccountId, i64), Given>,
    pub(super) new_given: BTreeSet<(AccountId, i64)>,
    /// The versions of programs that say what is in packages that are owed.
    pub(super) versions: BTreeMap<(ProgramId, i32), Arc<ProgramVersion>>,
    /// Accounts of which all is read that decides what they are given for reaching a tier.
    pub(super) read: BTreeSet<AccountId>,
}

/// A package that a customer is to be given for reaching a tier, unless they were given one for it in the same tier period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owed {
    /// The package.
    pub package_id: PackageId,
    /// The program.
    pub program_id: ProgramId,
    /// The entry by which the tier was reached.
    pub reached: i64,
    /// When that was.
    pub owed_at: Timestamp,
    /// The version that decided it, and has the package.
    pub policy_version: i32,
    /// The entry since which it is owed no longer: by which it was given, or the customer erased.
    pub settled: Option<i64>,
}

/// A package that a customer was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    /// The package.
    pub package_id: PackageId,
    /// What it was given for.
    pub occasion: Occasion,
    /// The tier, where one was reached.
    pub tier_id: Option<TierId>,
    /// The tier period, where a tier was reached.
    pub tier_period: Option<i64>,
    /// The year, where it was for a day of one.
    pub year: Option<i16>,
}

impl Packages {
    /// Notes what a change of tier says that the customer is to be given.
    pub(in crate::benefits) fn note_reached(&mut self, entry: &Entry, detail: &TierDetail) {
        let (to, package_id) = match detail {
            TierDetail::TierChanged { to, package_id, .. }
            | TierDetail::TierOverridden { to, package_id, .. }
            | TierDetail::TierReleased { to, package_id, .. } => (to, package_id),
            TierDetail::TierImported { .. } | TierDetail::ReferralCounted { .. } => return,
        };
        let Some(package_id) = package_id else { return };
        let owed = Owed {
            package_id: package_id.clone(),
            program_id: entry.program_id.clone(),
            reached: entry.id.account_seq,
            owed_at: entry.effective_at,
            policy_version: entry.policy_version,
            settled: None,
        };
        let account_id = entry.id.account_id;
        self.changed_owed.insert((account_id, to.clone()));
        self.owed.entry(account_id).or_default().insert(to.clone(), owed);
    }

    /// Notes that a package was given.
    pub(in crate::benefits) fn note_given(&mut self, entry: &Entry, given: Given) {
        let key = (entry.id.account_id, entry.id.account_seq);
        if let Some(tier_id) = &given.tier_id
            && let Some(owed) = self.owed.get_mut(&key.0).and_then(|own| own.get_mut(tier_id))
        {
            owed.settled = Some(key.1);
            self.changed_owed.insert((key.0, tier_id.clone()));
        }
        self.given.insert(key, given);
        self.new_given.insert(key);
    }

    /// Notes that the customer of an account is erased.
    pub(in crate::benefits) fn note_erased(&mut self, entry: &Entry) {
        let account_id = entry.id.account_id;
        let own = self.owed.get_mut(&account_id).into_iter().flatten();
        for (tier_id, owed) in own.filter(|(_, owed)| owed.settled.is_none()) {
            owed.settled = Some(entry.id.account_seq);
            self.changed_owed.insert((account_id, tier_id.clone()));
        }
        // What was not read is written unseen.
        if !self.loaded.contains(&account_id) {
            self.ended.insert(account_id, entry.id.account_seq);
        }
    }

    /// What an account is owed first, with the tier and its tier period, of tiers for which it was given nothing before in the
    /// same one. `period_at` tells the tier period that an entry of the account is in.
    fn first_owed(&self, account_id: AccountId, period_at: &impl Fn(i64) -> i64) -> Option<(&TierId, &Owed, i64)> {
        let all = self.owed.get(&account_id)?.iter().filter(|(_, owed)| owed.settled.is_none());
        let given = self.given.range((account_id, i64::MIN)..=(account_id, i64::MAX));
        let open = all.filter_map(|(tier_id, owed)| {
            let tier_period = period_at(owed.reached);
            let is_given = |it: &Given| it.tier_id.as_ref() == Some(tier_id) && it.tier_period == Some(tier_period);
            (!given.clone().any(|(_, it)| is_given(it))).then_some((tier_id, owed, tier_period))
        });
        open.min_by_key(|(_, owed, _)| (owed.owed_at, owed.reached))
    }

    /// When an account is owed a package.
    #[must_use]
    pub(in crate::benefits) fn next_due(&self, account_id: AccountId, period_at: impl Fn(i64) -> i64) -> Option<Due> {
        let (_, owed, _) = self.first_owed(account_id, &period_at)?;
        Some(Due { at: owed.owed_at, kind: DueKind::GivePackage })
    }

    /// What is written as an account is given the package that it is owed first; nothing, if not all that decides was read.
    /// `in_force` counts its grants that are in force at an instant.
    #[must_use]
    pub(in crate::benefits) fn decide_due(
        &self,
        account: &Account,
        due: Due,
        period_at: impl Fn(i64) -> i64,
        in_force: impl Fn(Timestamp) -> usize,
    ) -> Vec<NewEntry> {
        let account_id = account.account_id;
        let first = self.first_owed(account_id, &period_at).filter(|_| self.read.contains(&account_id));
        let Some((tier_id, owed, tier_period)) = first else { return Vec::new() };
        let key = (owed.program_id.clone(), owed.policy_version);
        let Some(policy) = self.versions.get(&key) else { return Vec::new() };
        let found = policy.program.packages.iter().find(|package| package.package_id == owed.package_id);
        let Some(package) = found else { return Vec::new() };
        let at = account.time_at(due.at);
        let points = &policy.program.points;
        let giving = Giving { policy, points, package, account, at, in_force: in_force(at) };
        let occurrence = Occurrence::InTierPeriod { tier_id: tier_id.clone(), reached: owed.reached, tier_period };
        giving.entries(occurrence).unwrap_or_default()
    }
}

impl Given {
    /// The package that an entry gives; none, if it gives none.
    #[must_use]
    pub(in crate::benefits) fn of(detail: &BenefitDetail) -> Option<Self> {
        let BenefitDetail::PackageGiven { package_id, occasion, tier_id, tier_period, year, .. } = detail else {
            return None;
        };
        Some(Self {
            package_id: package_id.clone(),
            occasion: *occasion,
            tier_id: tier_id.clone(),
            tier_period: *tier_period,
            year: *year,
        })
    }
}

/// The rows of an account about packages.
pub(in crate::benefits) fn rows(
    packages: &Packages,
    account_id: AccountId,
) -> (impl Iterator<Item = Row<'_>>, impl Iterator<Item = Row<'_>>) {
    let owed = packages.owed.get(&account_id).into_iter().flatten();
    let owed = owed.map(|(tier_id, owed)| Row {
        noun: "package owed for tier",
        key: Cell::word(tier_id.as_str()),
        columns: vec![
            ("package_id", Cell::word(owed.package_id.as_str())),
            ("program_id", Cell::word(owed.program_id.as_str())),
            ("reached_seq", owed.reached.into()),
            ("owed_at", owed.owed_at.into()),
            ("policy_version", owed.policy_version.into()),
            ("settled_seq", owed.settled.into()),
        ],
    });
    let given = packages.given.range((account_id, i64::MIN)..=(account_id, i64::MAX));
    let given = given.map(|((_, seq), given)| Row {
        noun: "package of entry",
        key: (*seq).into(),
        columns: vec![
            ("package_id", Cell::word(given.package_id.as_str())),
            ("occasion", Cell::word(given.occasion.as_str())),
            ("tier_id", given.tier_id.as_ref().map_or(Cell::Absent, |tier_id| Cell::word(tier_id.as_str()))),
            ("tier_period", given.tier_period.into()),
            ("year", given.year.map(i64::from).into()),
        ],
    });
    (owed, given)
}
