//! What a program says of benefits: what each one is, and how often it may be used.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::points::{CalendarPeriod, Period};
use crate::ids::BenefitId;
use crate::money::Rate;

pub mod grpc;

/// Something that a tier gives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Benefit {
    /// Its name within the tier. Uses of benefits of the same name count together.
    pub benefit_id: BenefitId,
    /// What people call it.
    pub display_name: String,
    /// What it is, in a sentence for people.
    pub description: String,
    /// What it is, for programs.
    #[serde(default, skip_serializing_if = "BenefitKind::is_custom")]
    pub kind: BenefitKind,
    /// How often it may be used; as often as the customer likes, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
}

/// What a benefit is. Amounts are in minor units of the program's currency.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BenefitKind {
    /// Something else, which its description tells.
    #[default]
    Custom,
    /// A part off the price, in hundredths.
    PercentageOff(Rate),
    /// An amount off the price, above zero.
    AmountOff(i64),
    /// Delivery at no cost.
    FreeShipping,
    /// Entry to a lounge.
    LoungePass,
    /// Entry to an event.
    EventPass,
    /// A thing that is given.
    Gift,
    /// A badge.
    Badge,
    /// A certificate.
    Certificate,
    /// More credit for a time.
    HigherCreditLimit {
        /// By how much the limit is higher, above zero.
        by: i64,
        /// For how long once it is used.
        valid_for: Period,
    },
    /// Being served first.
    PriorityService,
    /// How long before everybody else the customer may buy.
    EarlyAccess(Period),
    /// What the points of a purchase are multiplied by.
    EarnRateMultiplier(Rate),
}

impl BenefitKind {
    fn is_custom(&self) -> bool {
        *self == Self::Custom
    }

    /// What the points of a purchase are multiplied by, if it is about that.
    #[must_use]
    pub const fn multiplier(&self) -> Option<Rate> {
        match self {
            Self::EarnRateMultiplier(multiplier) => Some(*multiplier),
            Self::Custom
            | Self::PercentageOff(_)
            | Self::AmountOff(_)
            | Self::FreeShipping
            | Self::LoungePass
            | Self::EventPass
            | Self::Gift
            | Self::Badge
            | Self::Certificate
            | Self::HigherCreditLimit { .. }
            | Self::PriorityService
            | Self::EarlyAccess(_) => None,
        }
    }
}

/// How often a benefit may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// The most uses within one period, 1 or more.
    pub limit: i64,
    /// The period.
    pub per: QuotaPeriod,
    /// Whether each companion counts as a use, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counts_companions: bool,
}

/// The period in which uses count together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuotaPeriod {
    /// As long as a tier is held, from one decision at its end to the next.
    TierPeriod,
    /// A month, quarter, half or year of the program's calendar.
    Calendar(CalendarPeriod),
    /// The customer's whole time with the program.
    Lifetime,
}

/// As much of a benefit as could be read. What could not is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BenefitOutline {
    /// Its name within the tier.
    pub benefit_id: Option<BenefitId>,
    /// What it is.
    pub kind: Option<BenefitKind>,
    /// Whether it has a quota, of whatever form.
    pub has_quota: bool,
    /// The period of its quota.
    pub quota_per: Option<QuotaPeriod>,
}

impl From<&Benefit> for BenefitOutline {
    fn from(benefit: &Benefit) -> Self {
        Self {
            benefit_id: Some(benefit.benefit_id.clone()),
            kind: Some(benefit.kind.clone()),
            has_quota: benefit.quota.is_some(),
            quota_per: benefit.quota.map(|quota| quota.per),
        }
    }
}

/// What is unsound among the benefits of one tier: the field behind the path of the benefits, and what it must be.
#[must_use]
pub(super) fn find_benefit_faults(benefits: &[BenefitOutline]) -> Vec<(String, &'static str)> {
    let (mut faults, mut benefit_ids, mut has_multiplier) = (Vec::new(), BTreeSet::new(), false);
    for (i, benefit) in benefits.iter().enumerate() {
        if benefit.benefit_id.as_ref().is_some_and(|benefit_id| !benefit_ids.insert(benefit_id)) {
            faults.push((format!("[{i}].benefit_id"), "must be unique within the tier"));
        }
        if benefit.kind.as_ref().and_then(BenefitKind::multiplier).is_none() {
            continue;
        }
        if has_multiplier {
            faults.push((format!("[{i}].earn_rate_multiplier"), "must be the only one of the tier"));
        }
        if benefit.has_quota {
            faults.push((
                format!("[{i}].quota"),
                "must be absent beside earn_rate_multiplier, which nobody uses by hand",
            ));
        }
        has_multiplier = true;
    }
    faults
}

/// What is unsound among the benefits that can be granted: as [`find_benefit_faults`].
#[must_use]
pub(super) fn find_faults_of_extras(extras: &[BenefitOutline]) -> Vec<(String, &'static str)> {
    let (mut faults, mut benefit_ids) = (Vec::new(), BTreeSet::new());
    for (i, extra) in extras.iter().enumerate() {
        if extra.benefit_id.as_ref().is_some_and(|benefit_id| !benefit_ids.insert(benefit_id)) {
            faults.push((format!("[{i}].benefit_id"), "must be unique among the extras"));
        }
        if extra.kind.as_ref().and_then(BenefitKind::multiplier).is_some() {
            faults.push((format!("[{i}].earn_rate_multiplier"), "must be of a tier: purchases earn by the tier alone"));
        }
        if extra.quota_per.is_some_and(|per| per != QuotaPeriod::Lifetime) {
            faults.push((format!("[{i}].quota"), "must be for a lifetime: a grant is used up once and for all"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn benefit(id: &str, kind: BenefitKind) -> Benefit {
        let benefit_id = id.try_into().unwrap();
        Benefit { benefit_id, display_name: id.to_owned(), description: String::new(), kind, quota: None }
    }

    fn multiplier(id: &str) -> Benefit {
        benefit(id, BenefitKind::EarnRateMultiplier(Rate::parse("1.5").unwrap()))
    }

    #[test]
    fn a_tier_has_one_multiplier_and_no_quota_on_it() {
        let limited = Quota { limit: 2, per: QuotaPeriod::Lifetime, counts_companions: false };
        let sound = [Benefit { quota: Some(limited), ..benefit("a", BenefitKind::LoungePass) }, multiplier("b")];
        let find = |benefits: &[Benefit; 2]| find_benefit_faults(&benefits.each_ref().map(BenefitOutline::from));
        assert_eq!(find(&sound), []);
        let bad = [multiplier("a"), Benefit { quota: Some(limited), ..multiplier("a") }];
        let fields: Vec<String> = find(&bad).into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["[1].benefit_id", "[1].earn_rate_multiplier", "[1].quota"]);
    }

    #[test]
    fn an_extra_is_no_multiplier_and_is_used_up_once() {
        let quota = |per| Some(Quota { limit: 2, per, counts_companions: false });
        let lounge = |id, per| Benefit { quota: quota(per), ..benefit(id, BenefitKind::LoungePass) };
        let find = |extras: &[Benefit]| -> Vec<String> {
            let outlines: Vec<BenefitOutline> = extras.iter().map(BenefitOutline::from).collect();
            find_faults_of_extras(&outlines).into_iter().map(|(field, _)| field).collect()
        };
        assert_eq!(find(&[lounge("a", QuotaPeriod::Lifetime), benefit("b", BenefitKind::Gift)]), [""; 0]);
        let bad = [multiplier("a"), lounge("a", QuotaPeriod::TierPeriod)];
        assert_eq!(find(&bad), ["[0].earn_rate_multiplier", "[1].benefit_id", "[1].quota"]);
    }

    #[test]
    fn a_benefit_from_before_there_were_kinds_is_one_of_its_own() {
        let json = r#"{"benefit_id":"a","display_name":"A","description":""}"#;
        let read: Benefit = serde_json::from_str(json).unwrap();
        assert_eq!((&read.kind, read.quota), (&BenefitKind::Custom, None));
        assert_eq!(serde_json::to_string(&read).unwrap(), json);
    }
}
