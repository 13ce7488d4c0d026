//! What a program's document says of a benefit: a table of `[[tiers.benefits]]`.

use goldbook_api::google::Money;
use goldbook_api::v1::{
    BadgeKind, Benefit, BenefitQuota, CalendarPeriod, HigherCreditLimit, PassKind, benefit, benefit_quota,
};
use serde::{Deserialize, Serialize};

use super::super::amount::Amount;
use super::super::error::CliError;
use super::points_table::newer;
use super::text::decimal_text;

/// A benefit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BenefitTable {
    benefit_id: String,
    display_name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<KindTable>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quota: Option<QuotaTable>,
}

/// What it is: a word, or a word with what goes with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KindTable {
    PercentageOff(#[serde(deserialize_with = "decimal_text")] String),
    AmountOff(Amount),
    FreeShipping,
    Pass(PassWord),
    Gift,
    Badge,
    Certificate,
    HigherCreditLimit(CreditTable),
    PriorityService,
    EarlyAccess(String),
    EarnRateMultiplier(#[serde(deserialize_with = "decimal_text")] String),
    Custom,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PassWord {
    Lounge,
    Event,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CreditTable {
    by: Amount,
    valid_for: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct QuotaTable {
    limit: i64,
    per: PerWord,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    counts_companions: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PerWord {
    TierPeriod,
    Month,
    Quarter,
    Half,
    Year,
    Lifetime,
}

impl BenefitTable {
    pub(super) fn into_proto(self, currency: &str) -> Benefit {
        Benefit {
            benefit_id: self.benefit_id,
            display_name: self.display_name,
            description: self.description,
            kind: self.kind.map(|kind| kind.into_proto(currency)),
            quota: self.quota.map(QuotaTable::into_proto),
        }
    }

    /// The table of a benefit, without values that are defaults.
    ///
    /// # Errors
    /// If it has a value that this program does not know, since the service is newer.
    pub(super) fn from_proto(benefit: Benefit, currency: &str) -> Result<Self, CliError> {
        let kind = benefit.kind.map(|kind| KindTable::from_proto(kind, currency)).transpose()?;
        Ok(Self {
            benefit_id: benefit.benefit_id,
            display_name: benefit.display_name,
            description: benefit.description,
            kind: kind.filter(|kind| *kind != KindTable::Custom),
            quota: benefit.quota.map(QuotaTable::from_proto).transpose()?,
        })
    }
}

impl KindTable {
    fn into_proto(self, currency: &str) -> benefit::Kind {
        use benefit::Kind;

        match self {
            Self::PercentageOff(percentage) => Kind::PercentageOff(percentage),
            Self::AmountOff(amount) => Kind::AmountOff(amount.to_money(currency)),
            Self::FreeShipping => Kind::FreeShipping(()),
            Self::Pass(PassWord::Lounge) => Kind::Pass(PassKind::Lounge.into()),
            Self::Pass(PassWord::Event) => Kind::Pass(PassKind::Event.into()),
            Self::Gift => Kind::Gift(()),
            Self::Badge => Kind::Badge(BadgeKind::Badge.into()),
            Self::Certificate => Kind::Badge(BadgeKind::Certificate.into()),
            Self::HigherCreditLimit(CreditTable { by, valid_for }) => {
                Kind::HigherCreditLimit(HigherCreditLimit { by: Some(by.to_money(currency)), valid_for })
            }
            Self::PriorityService => Kind::PriorityService(()),
            Self::EarlyAccess(period) => Kind::EarlyAccess(period),
            Self::EarnRateMultiplier(multiplier) => Kind::EarnRateMultiplier(multiplier),
            Self::Custom => Kind::Custom(()),
        }
    }

    fn from_proto(kind: benefit::Kind, currency: &str) -> Result<Self, CliError> {
        use benefit::Kind;

        let amount = |money: &Money| Amount::from_money(money).in_currency(currency);
        Ok(match kind {
            Kind::PercentageOff(percentage) => Self::PercentageOff(percentage),
            Kind::AmountOff(money) => Self::AmountOff(amount(&money)),
            Kind::FreeShipping(()) => Self::FreeShipping,
            Kind::Pass(pass) => match PassKind::try_from(pass) {
                Ok(PassKind::Lounge) => Self::Pass(PassWord::Lounge),
                Ok(PassKind::Event) => Self::Pass(PassWord::Event),
                Ok(PassKind::Unspecified) | Err(_) => return Err(newer("passes let in")),
            },
            Kind::Gift(()) => Self::Gift,
            Kind::Badge(badge) => match BadgeKind::try_from(badge) {
                Ok(BadgeKind::Badge) => Self::Badge,
                Ok(BadgeKind::Certificate) => Self::Certificate,
                Ok(BadgeKind::Unspecified) | Err(_) => return Err(newer("badges are given")),
            },
            Kind::HigherCreditLimit(limit) => {
                let by = limit.by.as_ref().map(amount).unwrap_or_default();
                Self::HigherCreditLimit(CreditTable { by, valid_for: limit.valid_for })
            }
            Kind::PriorityService(()) => Self::PriorityService,
            Kind::EarlyAccess(period) => Self::EarlyAccess(period),
            Kind::EarnRateMultiplier(multiplier) => Self::EarnRateMultiplier(multiplier),
            Kind::Custom(()) => Self::Custom,
        })
    }
}

impl QuotaTable {
    fn into_proto(self) -> BenefitQuota {
        use benefit_quota::Per;

        let per = match self.per {
            PerWord::TierPeriod => Per::TierPeriod(()),
            PerWord::Month => Per::Calendar(CalendarPeriod::Month.into()),
            PerWord::Quarter => Per::Calendar(CalendarPeriod::Quarter.into()),
            PerWord::Half => Per::Calendar(CalendarPeriod::Half.into()),
            PerWord::Year => Per::Calendar(CalendarPeriod::Year.into()),
            PerWord::Lifetime => Per::Lifetime(()),
        };
        BenefitQuota { limit: self.limit, per: Some(per), counts_companions: self.counts_companions }
    }

    fn from_proto(quota: BenefitQuota) -> Result<Self, CliError> {
        use benefit_quota::Per;

        let per = match quota.per {
            Some(Per::TierPeriod(())) => PerWord::TierPeriod,
            Some(Per::Lifetime(())) => PerWord::Lifetime,
            Some(Per::Calendar(period)) => match CalendarPeriod::try_from(period) {
                Ok(CalendarPeriod::Month) => PerWord::Month,
                Ok(CalendarPeriod::Quarter) => PerWord::Quarter,
                Ok(CalendarPeriod::Half) => PerWord::Half,
                Ok(CalendarPeriod::Year) => PerWord::Year,
                Ok(CalendarPeriod::Unspecified | CalendarPeriod::Day | CalendarPeriod::Week) | Err(_) => {
                    return Err(newer("uses of benefits count together"));
                }
            },
            None => return Err(newer("uses of benefits count together")),
        };
        Ok(Self { limit: quota.limit, per, counts_companions: quota.counts_companions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, quota: &str) -> Result<BenefitTable, String> {
        let text = format!("benefit_id = \"a\"\ndisplay_name = \"A\"\nkind = {kind}\n{quota}\n");
        toml::from_str(&text).map_err(|error| error.to_string())
    }

    #[test]
    fn every_kind_and_every_period_survives_the_wire() {
        let kinds = [
            "{ percentage_off = \"12.5\" }",
            "{ amount_off = \"10.00\" }",
            "\"free_shipping\"",
            "{ pass = \"lounge\" }",
            "{ pass = \"event\" }",
            "\"gift\"",
            "\"badge\"",
            "\"certificate\"",
            "{ higher_credit_limit = { by = \"500.00\", valid_for = \"P30D\" } }",
            "\"priority_service\"",
            "{ early_access = \"P2D\" }",
            "{ earn_rate_multiplier = \"1.5\" }",
        ];
        for kind in kinds {
            let table = read(kind, "").unwrap();
            assert_eq!(BenefitTable::from_proto(table.clone().into_proto("USD"), "USD").unwrap(), table);
        }
        for per in ["tier_period", "month", "quarter", "half", "year", "lifetime"] {
            let table = read("\"gift\"", &format!("quota = {{ limit = 2, per = \"{per}\" }}")).unwrap();
            assert_eq!(BenefitTable::from_proto(table.clone().into_proto("USD"), "USD").unwrap(), table);
        }
        let custom = read("\"custom\"", "").unwrap();
        assert_eq!(BenefitTable::from_proto(custom.into_proto("USD"), "USD").unwrap().kind, None);
    }

    #[test]
    fn a_mistake_tells_what_is_expected() {
        for (kind, quota, expected) in [
            ("{ earn_rate_multiplier = 1.5 }", "", "a decimal in quotes"),
            ("\"shipping\"", "", "unknown variant `shipping`, expected one of `percentage_off`"),
            (
                "\"gift\"",
                "quota = { limit = 2, per = \"week\" }",
                "unknown variant `week`, expected one of `tier_period`",
            ),
            ("\"gift\"", "quota = { limit = 2 }", "missing field `per`"),
        ] {
            let error = read(kind, quota).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
