//! What a program's document says of standing: the table `[tier_policy]`, and the conditions of tiers.

use goldbook_api::v1::{
    RefundEffect, TierCondition, TierConditions, TierEnd, TierPolicy, TierRetention, TierUpgrade, TierWindow,
    tier_condition, tier_retention, tier_window,
};
use serde::Serialize;

use super::super::amount::Amount;
use super::super::error::CliError;
use super::points_table::{CalendarWord, newer};

/// The table `[tier_policy]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct TierPolicyTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    upgrade: Option<UpgradeWord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_end: Option<AtEndWord>,
    #[serde(skip_serializing_if = "String::is_empty")]
    grace: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_refund: Option<RefundWord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<WindowTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<KeptTable>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum UpgradeWord {
    AtPeriodEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum AtEndWord {
    OneStep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum RefundWord {
    AtPeriodEnd,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum WindowTable {
    Word(WindowWord),
    Rolling { rolling: String },
    Calendar { calendar: CalendarWord },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum WindowWord {
    EnrolmentYear,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum KeptTable {
    Word(KeptWord),
    For {
        #[serde(rename = "for")]
        period: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum KeptWord {
    WhileConditionHolds,
    UntilEndOfPeriod,
    UntilEndOfNextPeriod,
}

/// What it takes to reach a tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ConditionTable {
    Spend(Amount),
    Margin(Amount),
    Points(i64),
    Purchases(i64),
    ActiveDays(i64),
    Referrals(i64),
    AllOf(Vec<Self>),
    AnyOf(Vec<Self>),
}

impl TierPolicyTable {
    /// The table of a policy, without values that are defaults. Returns none if nothing else is left.
    ///
    /// # Errors
    /// If it has a value that this program does not know, since the service is newer.
    pub(super) fn from_proto(policy: TierPolicy) -> Result<Option<Self>, CliError> {
        let upgrade = match TierUpgrade::try_from(policy.upgrade).map_err(|_| newer("tiers are reached"))? {
            TierUpgrade::Unspecified | TierUpgrade::AtOnce => None,
            TierUpgrade::AtPeriodEnd => Some(UpgradeWord::AtPeriodEnd),
        };
        let at_end = match TierEnd::try_from(policy.at_end).map_err(|_| newer("tiers end"))? {
            TierEnd::Unspecified | TierEnd::DropToEarned => None,
            TierEnd::OneStep => Some(AtEndWord::OneStep),
        };
        let on_refund = match RefundEffect::try_from(policy.on_refund).map_err(|_| newer("refunds are treated"))? {
            RefundEffect::Unspecified | RefundEffect::AtOnce => None,
            RefundEffect::AtPeriodEnd => Some(RefundWord::AtPeriodEnd),
        };
        let table = Self {
            upgrade,
            at_end,
            on_refund,
            grace: policy.grace,
            window: policy.window.map(WindowTable::from_proto).transpose()?.flatten(),
            kept: policy.kept.map(KeptTable::from_proto).transpose()?.flatten(),
        };
        Ok(Some(table).filter(|table| *table != Self::default()))
    }
}

impl WindowTable {
    fn from_proto(window: TierWindow) -> Result<Option<Self>, CliError> {
        use tier_window::Window;

        let unknown = || newer("activities count for tiers");
        Ok(match window.window.ok_or_else(unknown)? {
            Window::Lifetime(()) => None,
            Window::EnrolmentYear(()) => Some(Self::Word(WindowWord::EnrolmentYear)),
            Window::Rolling(rolling) => Some(Self::Rolling { rolling }),
            Window::Calendar(period) => {
                Some(Self::Calendar { calendar: CalendarWord::from_proto(period)?.ok_or_else(unknown)? })
            }
        })
    }
}

impl KeptTable {
    fn from_proto(kept: TierRetention) -> Result<Option<Self>, CliError> {
        use tier_retention::Rule;

        Ok(match kept.rule.ok_or_else(|| newer("tiers are kept"))? {
            Rule::Always(()) => None,
            Rule::WhileConditionHolds(()) => Some(Self::Word(KeptWord::WhileConditionHolds)),
            Rule::UntilEndOfPeriod(()) => Some(Self::Word(KeptWord::UntilEndOfPeriod)),
            Rule::UntilEndOfNextPeriod(()) => Some(Self::Word(KeptWord::UntilEndOfNextPeriod)),
            Rule::For(period) => Some(Self::For { period }),
        })
    }
}

impl ConditionTable {
    /// The condition from the wire.
    ///
    /// # Errors
    /// If it has a criterion that this program does not know, since the service is newer.
    pub(super) fn from_proto(condition: TierCondition, currency: &str) -> Result<Self, CliError> {
        use tier_condition::Condition;

        let several = |conditions: TierConditions| {
            let conditions = conditions.conditions.into_iter();
            conditions.map(|condition| Self::from_proto(condition, currency)).collect::<Result<Vec<Self>, CliError>>()
        };
        let condition = condition.condition.ok_or_else(|| newer("tiers are reached"))?;
        Ok(match condition {
            Condition::Spend(money) => Self::Spend(Amount::from_money(&money).in_currency(currency)),
            Condition::Margin(money) => Self::Margin(Amount::from_money(&money).in_currency(currency)),
            Condition::Points(least) => Self::Points(least),
            Condition::Purchases(least) => Self::Purchases(least),
            Condition::ActiveDays(least) => Self::ActiveDays(least),
            Condition::Referrals(least) => Self::Referrals(least),
            Condition::AllOf(conditions) => Self::AllOf(several(conditions)?),
            Condition::AnyOf(conditions) => Self::AnyOf(several(conditions)?),
        })
    }
}
