//! What a program's document says of lifecycles: the table `[lifecycle]`.

use goldbook_api::v1::{ClassCuts, LifecyclePolicy, RiskCondition, StageCondition};
use serde::Serialize;

use super::super::amount::Amount;
use super::table::Value;

/// How it is decided where customers stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct LifecycleTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    lapsed_after_days: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_after_days: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeat: Option<ConditionTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<ConditionTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    advocate: Option<ConditionTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_risk: Option<RiskTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cuts: Option<CutsTable>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct ConditionTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    purchases: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spend: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    referrals: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    satisfaction: Option<i32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct RiskTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    after_days: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    satisfaction_at_most: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_complaints: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct CutsTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    satisfied_from: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recommends_from: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purchases: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rare_after_days: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    involved_from: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    few_brands: Option<i32>,
}

impl LifecycleTable {
    /// The table of a policy, without values that are defaults.
    pub(super) fn from_proto(policy: LifecyclePolicy, currency: &str) -> Self {
        let LifecyclePolicy { repeat, client, advocate, at_risk, lapsed_after_days, lost_after_days, cuts } = policy;
        let condition = |it: StageCondition| ConditionTable {
            purchases: it.purchases,
            spend: it.spend.map(|spend| Amount::from_money(&spend).in_currency(currency)),
            referrals: it.referrals,
            satisfaction: it.satisfaction,
        };
        Self {
            lapsed_after_days,
            lost_after_days,
            repeat: repeat.map(condition),
            client: client.map(condition),
            advocate: advocate.map(condition),
            at_risk: at_risk.map(|it| RiskTable {
                after_days: it.after_days,
                satisfaction_at_most: it.satisfaction_at_most,
                open_complaints: it.open_complaints,
            }),
            cuts: cuts.map(|it| CutsTable {
                satisfied_from: it.satisfied_from,
                recommends_from: it.recommends_from,
                purchases: it.purchases,
                rare_after_days: it.rare_after_days,
                involved_from: it.involved_from,
                few_brands: it.few_brands,
            }),
        }
    }
}

/// Reads the table, with amounts in a currency.
pub(super) fn read_lifecycle(value: &Value<'_>, currency: &str) -> Option<LifecyclePolicy> {
    let known = &["lapsed_after_days", "lost_after_days", "repeat", "client", "advocate", "at_risk", "cuts"];
    let table = value.table(known)?;
    let condition = |key| table.find(key).and_then(|value| read_condition(&value, currency));
    Some(LifecyclePolicy {
        repeat: condition("repeat"),
        client: condition("client"),
        advocate: condition("advocate"),
        at_risk: table.find("at_risk").and_then(|value| read_risk(&value)),
        lapsed_after_days: table.number_or_bad("lapsed_after_days"),
        lost_after_days: table.number_or_bad("lost_after_days"),
        cuts: table.find("cuts").and_then(|value| read_cuts(&value)),
    })
}

fn read_condition(value: &Value<'_>, currency: &str) -> Option<StageCondition> {
    let table = value.table(&["purchases", "spend", "referrals", "satisfaction"])?;
    Some(StageCondition {
        purchases: table.number_or_bad("purchases"),
        spend: table.money("spend", currency),
        referrals: table.number_or_bad("referrals"),
        satisfaction: table.number_or_bad("satisfaction"),
    })
}

fn read_risk(value: &Value<'_>) -> Option<RiskCondition> {
    let table = value.table(&["after_days", "satisfaction_at_most", "open_complaints"])?;
    Some(RiskCondition {
        after_days: table.number_or_bad("after_days"),
        satisfaction_at_most: table.number_or_bad("satisfaction_at_most"),
        open_complaints: table.number_or_bad("open_complaints"),
    })
}

fn read_cuts(value: &Value<'_>) -> Option<ClassCuts> {
    let known = &["satisfied_from", "recommends_from", "purchases", "rare_after_days", "involved_from", "few_brands"];
    let table = value.table(known)?;
    Some(ClassCuts {
        satisfied_from: table.number_or_bad("satisfied_from"),
        recommends_from: table.number_or_bad("recommends_from"),
        purchases: table.number_or_bad("purchases"),
        rare_after_days: table.number_or_bad("rare_after_days"),
        involved_from: table.number_or_bad("involved_from"),
        few_brands: table.number_or_bad("few_brands"),
    })
}
