//! What a program says of lifecycles, on the wire.

use std::ops::RangeInclusive;

use super::{ClassCuts, LifecyclePolicy, RiskCondition, StageCondition};
use crate::book::Stage;
use crate::error::Fields;
use crate::money::{Currency, Money};
use crate::proto;
use crate::proto::fields::write_money;

const DAYS: RangeInclusive<i32> = 1..=3_650;
const SCORES: RangeInclusive<i32> = 1..=5;
const COUNTS: RangeInclusive<i64> = 1..=1_000_000;

/// Parses the policy; none inside, if it is absent. `amounts` reads money of the program, which the caller does as for all
/// things.
pub(in crate::programs) fn parse_lifecycle_policy(
    fields: &mut Fields,
    path: &str,
    policy: Option<proto::LifecyclePolicy>,
    amounts: impl Fn(&mut Fields, &str, Option<&proto::google::Money>) -> Option<i64>,
) -> Option<Option<LifecyclePolicy>> {
    let Some(policy) = policy else { return Some(None) };
    let proto::LifecyclePolicy { repeat, client, advocate, at_risk, lapsed_after_days, lost_after_days, cuts } = policy;
    let mut condition = |name: &str, condition: Option<proto::StageCondition>| match condition {
        Some(condition) => parse_condition(fields, &format!("{path}.{name}"), &condition, &amounts).map(Some),
        None => Some(None),
    };
    let (repeat, client, advocate) =
        (condition("repeat", repeat), condition("client", client), condition("advocate", advocate));
    let at_risk = at_risk.map(|risk| parse_risk(fields, &format!("{path}.at_risk"), risk));
    within(fields, &format!("{path}.lapsed_after_days"), lapsed_after_days, DAYS);
    within(fields, &format!("{path}.lost_after_days"), lost_after_days, DAYS);
    let steps = [
        ("at_risk.after_days", at_risk.and_then(|risk| risk.after_days)),
        ("lapsed_after_days", lapsed_after_days),
        ("lost_after_days", lost_after_days),
    ];
    let mut last: Option<(&str, i32)> = None;
    for (name, days) in steps {
        let Some(days) = days else { continue };
        if let Some((before, least)) = last.filter(|(_, least)| days <= *least) {
            fields.refuse(format!("{path}.{name}"), format!("must be more than {before}, which is {least}"));
        }
        last = Some((name, days));
    }
    let cuts = cuts.map(|cuts| parse_cuts(fields, &format!("{path}.cuts"), cuts));
    let (repeat, client, advocate) = (repeat?, client?, advocate?);
    Some(Some(LifecyclePolicy { repeat, client, advocate, at_risk, lapsed_after_days, lost_after_days, cuts }))
}

/// Refuses a number that is out of bounds, if it is set.
fn within<N: PartialOrd + std::fmt::Display + Copy>(
    fields: &mut Fields,
    path: &str,
    number: Option<N>,
    bounds: RangeInclusive<N>,
) {
    if number.is_some_and(|number| !bounds.contains(&number)) {
        fields.refuse(path, format!("must be from {} to {}", bounds.start(), bounds.end()));
    }
}

fn parse_condition(
    fields: &mut Fields,
    path: &str,
    condition: &proto::StageCondition,
    amounts: impl Fn(&mut Fields, &str, Option<&proto::google::Money>) -> Option<i64>,
) -> Option<StageCondition> {
    let proto::StageCondition { purchases, spend, referrals, satisfaction } = condition;
    if *condition == proto::StageCondition::default() {
        fields.refuse(path, "must say something");
    }
    within(fields, &format!("{path}.purchases"), *purchases, COUNTS);
    within(fields, &format!("{path}.referrals"), *referrals, COUNTS);
    within(fields, &format!("{path}.satisfaction"), *satisfaction, SCORES);
    let spend = match spend {
        Some(spend) => {
            let parsed = amounts(fields, &format!("{path}.spend"), Some(spend));
            if parsed.is_some_and(|spend| spend <= 0) {
                fields.refuse(format!("{path}.spend"), "must be above zero");
            }
            parsed.map(Some)
        }
        None => Some(None),
    };
    Some(StageCondition { purchases: *purchases, spend: spend?, referrals: *referrals, satisfaction: *satisfaction })
}

fn parse_risk(fields: &mut Fields, path: &str, risk: proto::RiskCondition) -> RiskCondition {
    let proto::RiskCondition { after_days, satisfaction_at_most, open_complaints } = risk;
    if risk == proto::RiskCondition::default() {
        fields.refuse(path, "must say something");
    }
    within(fields, &format!("{path}.after_days"), after_days, DAYS);
    within(fields, &format!("{path}.satisfaction_at_most"), satisfaction_at_most, SCORES);
    within(fields, &format!("{path}.open_complaints"), open_complaints, 1..=100);
    RiskCondition { after_days, satisfaction_at_most, open_complaints }
}

fn parse_cuts(fields: &mut Fields, path: &str, cuts: proto::ClassCuts) -> ClassCuts {
    let proto::ClassCuts { satisfied_from, recommends_from, purchases, rare_after_days, involved_from, few_brands } =
        cuts;
    within(fields, &format!("{path}.satisfied_from"), satisfied_from, SCORES);
    within(fields, &format!("{path}.recommends_from"), recommends_from, 0..=10);
    within(fields, &format!("{path}.purchases"), purchases, COUNTS);
    within(fields, &format!("{path}.rare_after_days"), rare_after_days, DAYS);
    within(fields, &format!("{path}.involved_from"), involved_from, SCORES);
    within(fields, &format!("{path}.few_brands"), few_brands, 1..=1_000);
    ClassCuts { satisfied_from, recommends_from, purchases, rare_after_days, involved_from, few_brands }
}

/// A policy on the wire.
pub(in crate::programs) fn write_lifecycle_policy(
    policy: &LifecyclePolicy,
    currency: Currency,
) -> proto::LifecyclePolicy {
    let condition = |condition: StageCondition| proto::StageCondition {
        purchases: condition.purchases,
        spend: condition.spend.map(|minor| write_money(Money { currency, minor })),
        referrals: condition.referrals,
        satisfaction: condition.satisfaction,
    };
    proto::LifecyclePolicy {
        repeat: policy.repeat.map(condition),
        client: policy.client.map(condition),
        advocate: policy.advocate.map(condition),
        at_risk: policy.at_risk.map(|risk| proto::RiskCondition {
            after_days: risk.after_days,
            satisfaction_at_most: risk.satisfaction_at_most,
            open_complaints: risk.open_complaints,
        }),
        lapsed_after_days: policy.lapsed_after_days,
        lost_after_days: policy.lost_after_days,
        cuts: policy.cuts.map(|cuts| proto::ClassCuts {
            satisfied_from: cuts.satisfied_from,
            recommends_from: cuts.recommends_from,
            purchases: cuts.purchases,
            rare_after_days: cuts.rare_after_days,
            involved_from: cuts.involved_from,
            few_brands: cuts.few_brands,
        }),
    }
}

/// Parses a stage that must be one of those that there are.
pub(in crate::programs) fn parse_stage(fields: &mut Fields, path: &str, stage: i32) -> Option<Stage> {
    match proto::LifecycleStage::try_from(stage) {
        Ok(proto::LifecycleStage::Prospect) => Some(Stage::Prospect),
        Ok(proto::LifecycleStage::FirstTime) => Some(Stage::FirstTime),
        Ok(proto::LifecycleStage::Repeat) => Some(Stage::Repeat),
        Ok(proto::LifecycleStage::Client) => Some(Stage::Client),
        Ok(proto::LifecycleStage::Advocate) => Some(Stage::Advocate),
        Ok(proto::LifecycleStage::AtRisk) => Some(Stage::AtRisk),
        Ok(proto::LifecycleStage::Lapsed) => Some(Stage::Lapsed),
        Ok(proto::LifecycleStage::Lost) => Some(Stage::Lost),
        Ok(proto::LifecycleStage::WonBack) => Some(Stage::WonBack),
        Ok(proto::LifecycleStage::Unspecified) | Err(_) => fields.check(path, Err("must be one of the named values")),
    }
}

/// A stage on the wire.
#[must_use]
pub(crate) const fn write_stage(stage: Stage) -> proto::LifecycleStage {
    match stage {
        Stage::Prospect => proto::LifecycleStage::Prospect,
        Stage::FirstTime => proto::LifecycleStage::FirstTime,
        Stage::Repeat => proto::LifecycleStage::Repeat,
        Stage::Client => proto::LifecycleStage::Client,
        Stage::Advocate => proto::LifecycleStage::Advocate,
        Stage::AtRisk => proto::LifecycleStage::AtRisk,
        Stage::Lapsed => proto::LifecycleStage::Lapsed,
        Stage::Lost => proto::LifecycleStage::Lost,
        Stage::WonBack => proto::LifecycleStage::WonBack,
    }
}
