//! What a program's document says of a benefit: a table of `[[tiers.benefits]]`.

use goldbook_api::google::Money;
use goldbook_api::v1::{BadgeKind, Benefit, BenefitQuota, CalendarPeriod, PassKind, benefit, benefit_quota};
use serde::Serialize;

use super::super::amount::Amount;
use super::super::error::CliError;
use super::points_table::newer;

/// A benefit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct BenefitTable {
    benefit_id: String,
    display_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<KindTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<QuotaTable>,
}

/// What it is: a word, or a word with what goes with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum KindTable {
    PercentageOff(String),
    AmountOff(Amount),
    FreeShipping,
    Pass(PassWord),
    Gift,
    Badge,
    Certificate,
    HigherCreditLimit(CreditTable),
    PriorityService,
    EarlyAccess(String),
    EarnRateMultiplier(String),
    Custom,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum PassWord {
    Lounge,
    Event,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct CreditTable {
    by: Amount,
    valid_for: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct QuotaTable {
    limit: i64,
    per: PerWord,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    counts_companions: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
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
