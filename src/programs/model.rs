//! What a program is, and what makes a document of one sound.

use goldbook_api::zones;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use super::benefits::Benefit;
use super::complaints::ComplaintPolicy;
use super::goodwill::GoodwillPolicy;
use super::lifecycle::LifecyclePolicy;
use super::packages::Package;
use super::points::{CalendarPeriod, PointsPolicy};
use super::retention::Retention;
use super::satisfaction::SatisfactionPolicy;
use super::segments::Segment;
use super::tier_policy::{Condition, Metric, TierPolicy};
use super::value_classes::ValueClassPolicy;
use crate::book::Occasion;
use crate::error::{Reason, Refusal};
use crate::ids::{CampaignId, PackageId, ProgramId, TierId};
use crate::money::{Currency, Money, Rate};

/// The most tiers of a program.
pub(crate) const MAX_TIERS: usize = 32;

/// One loyalty program of a brand, as its document says. Amounts are in minor units of its currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// Its name among programs.
    pub program_id: ProgramId,
    /// What people call it.
    pub display_name: String,
    /// The currency of all its amounts; never changes.
    pub currency: Currency,
    /// The time zone of its calendar; never changes.
    pub time_zone: Zone,
    /// Points for one major unit spent.
    pub points_per_unit: Rate,
    /// What becomes of points once they are granted.
    #[serde(default)]
    pub points: PointsPolicy,
    /// For how long it keeps what is known of customers who do nothing any more.
    #[serde(default, skip_serializing_if = "Retention::is_empty")]
    pub retention: Retention,
    /// In which window tiers are earned, and until when they are kept.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tier_policy: TierPolicy,
    /// Levels of standing, lowest first; the first begins at zero.
    pub tiers: Vec<Tier>,
    /// What referrals bring, offer by offer.
    pub campaigns: Vec<Campaign>,
    /// Benefits that no tier gives by itself: what can be granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extras: Vec<Benefit>,
    /// What is given on reaching a tier and on days of the customer's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<Package>,
    /// What customers are asked.
    #[serde(default, skip_serializing_if = "is_default")]
    pub satisfaction: SatisfactionPolicy,
    /// How complaints are dealt with.
    #[serde(default, skip_serializing_if = "is_default")]
    pub complaints: ComplaintPolicy,
    /// What may be given as goodwill; nothing, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goodwill: Option<GoodwillPolicy>,
    /// How it is decided where customers stand; it is not, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<LifecyclePolicy>,
    /// How customers are classed by their value; they are not, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_classes: Option<ValueClassPolicy>,
    /// Groups of customers that are asked for by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<Segment>,
}

/// A time zone by its IANA name: the rules behind the name may be updated, the program stays the same. They are those
/// that came with this program.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(pub TimeZone);

impl TryFrom<String> for Zone {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        zones::find(&name).map(Self).ok_or("must be an IANA time zone, such as Europe/Berlin")
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.to_string()
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.0.iana_name() == other.0.iana_name()
    }
}

impl Eq for Zone {}

impl std::fmt::Display for Zone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or_default())
    }
}

/// A level of standing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Its name within the program.
    pub tier_id: TierId,
    /// What people call it.
    pub display_name: String,
    /// A customer gets it at this spend within the window or more; zero, where `condition` says what it takes.
    pub threshold: i64,
    /// What it takes, where that is more than a threshold of spend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    /// Whether it is kept for ever once it was reached, whatever the policy says.
    #[serde(default, skip_serializing_if = "is_default")]
    pub never_lost: bool,
    /// What it entitles to.
    pub benefits: Vec<Benefit>,
}

impl Tier {
    /// What it takes to reach the tier.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.condition.clone().unwrap_or(Condition::AtLeast(Metric::Spend, self.threshold))
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// An offer to customers who bring others: what both sides get, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Campaign {
    /// Its name within the program.
    pub campaign_id: CampaignId,
    /// What people call it.
    pub display_name: String,
    /// When it begins; always, if absent.
    pub starts_at: Option<Timestamp>,
    /// When it has ended; never, if absent.
    pub ends_at: Option<Timestamp>,
    /// What converts a referral.
    pub conversion: Conversion,
    /// The least purchase that qualifies.
    pub minimum_purchase: i64,
    /// How many calendar days a referral has to convert; 0 for no limit.
    pub convert_within_days: i32,
    /// What the referrer gets; may be zero.
    pub referrer_points: i64,
    /// What the referee gets; may be zero.
    pub referee_points: i64,
}

/// What converts a referral.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conversion {
    /// The referee's first qualifying purchase.
    FirstPurchase,
    /// Somebody says so, by hand.
    Manual,
}

/// Which version of a program is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// The one of a number.
    Number(i32),
    /// The one in force at an instant; now by the database's clock, if absent.
    InForce(Option<Timestamp>),
    /// The one of the highest number, which may not have begun: for what never changes of a program.
    Latest,
}

/// A program as one of its versions has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramVersion {
    /// What the document says.
    pub program: Program,
    /// 1, 2, 3 …
    pub version: i32,
    /// When it was applied.
    pub applied_at: Timestamp,
    /// From when on it decides, unless a later version does.
    pub effective_from: Timestamp,
}

impl ProgramVersion {
    /// The package for a customer who held a tier, or none before they joined, and holds another one from an instant on. What
    /// happened before there was this version is history, which gives none.
    #[must_use]
    pub fn package_on_reaching(&self, from: Option<&TierId>, to: &TierId, at: Timestamp) -> Option<PackageId> {
        let package = self.program.package_on_reaching(from, to).filter(|_| at >= self.applied_at);
        package.map(|package| package.package_id.clone())
    }

    /// About how many bytes it takes in a page.
    #[must_use]
    pub fn bytes(&self) -> usize {
        serde_json::to_vec(&self.program).map_or(0, |document| document.len())
    }
}

impl Program {
    /// An amount in the program's currency.
    #[must_use]
    pub const fn money(&self, minor: i64) -> Money {
        Money { currency: self.currency, minor }
    }

    /// The local day of an instant.
    #[must_use]
    pub fn day_of(&self, at: Timestamp) -> Date {
        CalendarPeriod::Day.first_day_at(at, &self.time_zone.0)
    }

    /// Refuses the currency of an amount that is not the program's.
    ///
    /// # Errors
    /// A refusal that names both currencies, if they differ.
    pub fn require_currency(&self, currency: Currency) -> Result<(), Refusal> {
        let (given, expected) = (currency.code(), self.currency.code());
        if given == expected {
            return Ok(());
        }
        let message = format!("the program counts in {expected}, not in {given}");
        Err(Refusal::new(Reason::CurrencyMismatch, message).with("expected", expected).with("given", given))
    }

    /// A tier by its name.
    #[must_use]
    pub fn tier(&self, tier_id: &TierId) -> Option<&Tier> {
        self.tiers.iter().find(|tier| tier.tier_id == *tier_id)
    }

    /// The package for an occasion of who holds a tier: there is one at most.
    #[must_use]
    pub fn package_for(&self, occasion: Occasion, tier_id: &TierId) -> Option<&Package> {
        self.packages.iter().find(|package| package.occasion == occasion && package.is_for(tier_id))
    }

    /// The package for a customer who held a tier, or none before they joined, and holds another one now: there is one
    /// where that is higher. A tier that the program has no more is neither.
    #[must_use]
    pub fn package_on_reaching(&self, from: Option<&TierId>, to: &TierId) -> Option<&Package> {
        let rank = |tier_id: &TierId| self.tiers.iter().position(|tier| tier.tier_id == *tier_id);
        let is_reached = match from {
            Some(from) => rank(from)? < rank(to)?,
            None => true,
        };
        self.package_for(Occasion::TierReached, to).filter(|_| is_reached)
    }

    /// Whether there are packages for an occasion.
    #[must_use]
    pub fn has_packages_for(&self, occasion: Occasion) -> bool {
        self.packages.iter().any(|package| package.occasion == occasion)
    }

    /// A campaign by its name.
    #[must_use]
    pub fn campaign(&self, campaign_id: &CampaignId) -> Option<&Campaign> {
        self.campaigns.iter().find(|campaign| campaign.campaign_id == *campaign_id)
    }
}

impl Campaign {
    /// Whether it has ended by an instant.
    #[must_use]
    pub fn has_ended(&self, at: Timestamp) -> bool {
        self.ends_at.is_some_and(|ends_at| at >= ends_at)
    }

    /// Whether it runs at an instant: `[starts_at, ends_at)`.
    #[must_use]
    pub fn is_active(&self, at: Timestamp) -> bool {
        self.starts_at.is_none_or(|starts_at| at >= starts_at) && !self.has_ended(at)
    }

    /// When a referral of `created_at` ends unless it converts: at the end of its last calendar day.
    #[must_use]
    pub fn expiry_of(&self, created_at: Timestamp, time_zone: &TimeZone) -> Option<Timestamp> {
        if self.convert_within_days == 0 {
            return None;
        }
        let created_on = created_at.to_zoned(time_zone.clone()).date();
        let days = Span::new().try_days(i64::from(self.convert_within_days) + 1).ok()?;
        let ends_on = created_on.checked_add(days).ok()?;
        Some(ends_on.to_datetime(Time::midnight()).to_zoned(time_zone.clone()).ok()?.timestamp())
    }
}

/// The refusal for a program that does not exist.
#[must_use]
pub(crate) fn program_not_found(program_id: &ProgramId) -> Refusal {
    Refusal::new(Reason::ProgramNotFound, format!("there is no program {program_id}")).with("program_id", program_id)
}

/// The refusal of a version that a program does not have.
#[must_use]
pub(crate) fn version_not_found(program_id: &ProgramId, version: i32) -> Refusal {
    let message = format!("the program {program_id} has no version {version}, or is not there");
    Refusal::new(Reason::ProgramNotFound, message).with("program_id", program_id)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::packages::tests::package;
    use super::*;

    /// A program with everything in it, for tests of rules.
    pub(crate) fn program() -> Program {
        let tier = |id: &str, threshold| Tier {
            tier_id: id.try_into().unwrap(),
            display_name: id.to_owned(),
            threshold,
            condition: None,
            never_lost: false,
            benefits: Vec::new(),
        };
        let campaign = |id: &str, conversion| Campaign {
            campaign_id: id.try_into().unwrap(),
            display_name: id.to_owned(),
            starts_at: None,
            ends_at: None,
            conversion,
            minimum_purchase: 1_000,
            convert_within_days: 30,
            referrer_points: 500,
            referee_points: 250,
        };
        Program {
            program_id: "shop".try_into().unwrap(),
            display_name: "Shop".to_owned(),
            currency: Currency::parse("USD").unwrap(),
            time_zone: Zone(zones::find("America/New_York").unwrap()),
            points_per_unit: Rate::parse("1").unwrap(),
            points: PointsPolicy::default(),
            retention: Retention::default(),
            tier_policy: TierPolicy::default(),
            tiers: vec![tier("member", 0), tier("silver", 20_000), tier("gold", 50_000)],
            campaigns: vec![campaign("friends", Conversion::FirstPurchase), campaign("partners", Conversion::Manual)],
            extras: Vec::new(),
            packages: Vec::new(),
            satisfaction: SatisfactionPolicy::default(),
            complaints: ComplaintPolicy::default(),
            goodwill: None,
            lifecycle: None,
            value_classes: None,
            segments: Vec::new(),
        }
    }

    #[test]
    fn a_document_reads_back_from_json() {
        let json = serde_json::to_value(program()).unwrap();
        assert_eq!(serde_json::from_value::<Program>(json).unwrap(), program());
    }

    #[test]
    fn a_document_from_before_points_had_a_policy_is_one_that_says_nothing_of_them() {
        let mut json = serde_json::to_value(program()).unwrap();
        assert!(json.as_object_mut().unwrap().remove("points").is_some());
        assert_eq!(serde_json::from_value::<Program>(json).unwrap(), program());
    }

    #[test]
    fn a_referral_lives_to_the_end_of_its_last_local_day_whatever_the_clocks_do() {
        let shop = program();
        let created_at: Timestamp = "2026-02-20T23:30:00-05:00".parse().unwrap();
        let expires_at = shop.campaigns[0].expiry_of(created_at, &shop.time_zone.0).unwrap();
        assert_eq!(expires_at, "2026-03-23T00:00:00-04:00".parse().unwrap());
    }

    #[test]
    fn a_campaign_is_active_from_its_start_until_before_its_end() {
        let mut campaign = program().campaigns[0].clone();
        let [start, end] = [100, 200].map(|second| Timestamp::from_second(second).unwrap());
        (campaign.starts_at, campaign.ends_at) = (Some(start), Some(end));
        let at = |second| campaign.is_active(Timestamp::from_second(second).unwrap());
        assert_eq!([at(99), at(100), at(199), at(200)], [false, true, true, false]);
    }

    #[test]
    fn a_package_is_owed_to_who_rises_and_to_nobody_else() {
        let mut shop = program();
        shop.packages =
            vec![package("up", Occasion::TierReached, &["silver", "gold"]), package("day", Occasion::Birthday, &[])];
        let tier = |tier_id: &str| TierId::try_from(tier_id).unwrap();
        let owed = |shop: &Program, from: Option<&str>, to: &str| {
            let package = shop.package_on_reaching(from.map(tier).as_ref(), &tier(to));
            package.map(|package| package.package_id.to_string())
        };
        let up = Some("up".to_owned());
        assert_eq!(owed(&shop, Some("member"), "silver"), up);
        assert_eq!(owed(&shop, Some("member"), "gold"), up);
        assert_eq!(owed(&shop, Some("silver"), "gold"), up);
        assert_eq!(owed(&shop, Some("gold"), "gold"), None);
        assert_eq!(owed(&shop, Some("gold"), "silver"), None);
        assert_eq!(owed(&shop, None, "member"), None);
        assert_eq!(owed(&shop, Some("bronze"), "gold"), None);
        assert_eq!(owed(&shop, Some("member"), "bronze"), None);
        shop.packages.push(package("welcome", Occasion::TierReached, &["member"]));
        assert_eq!(owed(&shop, None, "member"), Some("welcome".to_owned()));
        assert_eq!(shop.package_for(Occasion::Birthday, &tier("gold")).unwrap().package_id.as_str(), "day");
        assert!(shop.package_for(Occasion::EnrolmentAnniversary, &tier("gold")).is_none());
    }
}
