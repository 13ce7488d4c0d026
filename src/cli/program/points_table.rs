//! What a program's document says of points: the table `[points]` and those below it.

use goldbook_api::v1::{
    CalendarPeriod, Clawback, EarningLimits, ExpiryRule, PointsPolicy, VestingRule, expiry_rule, vesting_rule,
};
use goldbook_api::values::DEFAULT_HOLD;
use jiff::Timestamp;
use serde::Serialize;

use super::super::error::CliError;
use super::super::instant;

/// The table `[points]`. TOML wants plain values before tables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct PointsTable {
    #[serde(skip_serializing_if = "String::is_empty")]
    point_value: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    hold_for: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    clawback: Option<ClawbackWord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vesting: Option<VestingTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiry: Option<ExpiryTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redemption: Option<RedemptionTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    earning: Option<EarningTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reinstatement: Option<ReinstatementTable>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum ClawbackWord {
    UnspentOnly,
    WithinBalance,
    AllowDebt,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum VestingTable {
    At { at: Timestamp },
    After { after: String },
    OnEvent { on_event_within: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum ExpiryTable {
    At {
        at: Timestamp,
    },
    After {
        after: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        round_to: Option<CalendarWord>,
    },
    Sliding {
        sliding: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CalendarWord {
    Day,
    Week,
    Month,
    Quarter,
    Half,
    Year,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct RedemptionTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    maximum: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct EarningTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    per_transaction: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    per_period: Vec<PeriodCapTable>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct PeriodCapTable {
    period: CalendarWord,
    points: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct ReinstatementTable {
    within: String,
    valid_for: String,
}

impl PointsTable {
    /// The table of a policy, without values that are defaults. Returns none if nothing else is left.
    ///
    /// # Errors
    /// If it has a value that this program does not know, since the service is newer.
    pub(super) fn from_proto(policy: PointsPolicy) -> Result<Option<Self>, CliError> {
        let clawback = ClawbackWord::from_proto(policy.clawback)?;
        let earning = policy.earning.map(EarningTable::from_proto).transpose()?;
        let redemption = policy.redemption.map(|limits| RedemptionTable {
            minimum: limits.minimum.filter(|minimum| *minimum != 1),
            step: limits.step.filter(|step| *step != 1),
            maximum: limits.maximum,
        });
        let reinstatement = policy.reinstatement;
        let table = Self {
            point_value: policy.point_value,
            hold_for: if policy.hold_for == DEFAULT_HOLD { String::new() } else { policy.hold_for },
            clawback: clawback.filter(|word| *word != ClawbackWord::AllowDebt),
            vesting: policy.vesting.map(VestingTable::from_proto).transpose()?.flatten(),
            expiry: policy.expiry.map(ExpiryTable::from_proto).transpose()?.flatten(),
            redemption: redemption.filter(|table| *table != RedemptionTable::default()),
            earning: earning.filter(|table| *table != EarningTable::default()),
            reinstatement: reinstatement
                .map(|rule| ReinstatementTable { within: rule.within, valid_for: rule.valid_for }),
        };
        Ok(Some(table).filter(|table| *table != Self::default()))
    }
}

impl VestingTable {
    fn from_proto(rule: VestingRule) -> Result<Option<Self>, CliError> {
        use vesting_rule::Rule;

        Ok(match rule.rule.ok_or_else(|| newer("points vest"))? {
            Rule::Immediate(()) => None,
            Rule::At(at) => Some(Self::At { at: instant::from_wire(&at).ok_or_else(|| newer("points vest"))? }),
            Rule::After(after) => Some(Self::After { after }),
            Rule::OnEventWithin(on_event_within) => Some(Self::OnEvent { on_event_within }),
        })
    }
}

impl ExpiryTable {
    fn from_proto(rule: ExpiryRule) -> Result<Option<Self>, CliError> {
        use expiry_rule::Rule;

        Ok(match rule.rule.ok_or_else(|| newer("points expire"))? {
            Rule::Never(()) => None,
            Rule::At(at) => Some(Self::At { at: instant::from_wire(&at).ok_or_else(|| newer("points expire"))? }),
            Rule::After(after) => {
                Some(Self::After { round_to: CalendarWord::from_proto(after.round_to)?, after: after.period })
            }
            Rule::Sliding(sliding) => Some(Self::Sliding { sliding }),
        })
    }
}

impl EarningTable {
    fn from_proto(limits: EarningLimits) -> Result<Self, CliError> {
        let caps = limits.per_period.into_iter().map(|cap| {
            let period = CalendarWord::from_proto(cap.period)?.ok_or_else(|| newer("earning is capped"))?;
            Ok(PeriodCapTable { period, points: cap.points })
        });
        Ok(Self { per_transaction: limits.per_transaction, per_period: caps.collect::<Result<_, CliError>>()? })
    }
}

impl ClawbackWord {
    fn from_proto(clawback: i32) -> Result<Option<Self>, CliError> {
        match Clawback::try_from(clawback) {
            Ok(Clawback::Unspecified) => Ok(None),
            Ok(Clawback::UnspentOnly) => Ok(Some(Self::UnspentOnly)),
            Ok(Clawback::WithinBalance) => Ok(Some(Self::WithinBalance)),
            Ok(Clawback::AllowDebt) => Ok(Some(Self::AllowDebt)),
            Err(_) => Err(newer("points are taken back")),
        }
    }
}

impl CalendarWord {
    pub(super) fn from_proto(period: i32) -> Result<Option<Self>, CliError> {
        match CalendarPeriod::try_from(period) {
            Ok(CalendarPeriod::Unspecified) => Ok(None),
            Ok(CalendarPeriod::Day) => Ok(Some(Self::Day)),
            Ok(CalendarPeriod::Week) => Ok(Some(Self::Week)),
            Ok(CalendarPeriod::Month) => Ok(Some(Self::Month)),
            Ok(CalendarPeriod::Quarter) => Ok(Some(Self::Quarter)),
            Ok(CalendarPeriod::Half) => Ok(Some(Self::Half)),
            Ok(CalendarPeriod::Year) => Ok(Some(Self::Year)),
            Err(_) => Err(newer("the calendar is divided")),
        }
    }
}

pub(super) fn newer(what_happens: &str) -> CliError {
    CliError::failed(format_args!("{what_happens} in a way that this program does not know; is the service newer?"))
}

#[cfg(test)]
mod tests;
