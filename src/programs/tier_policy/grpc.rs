//! The policy of tiers on the wire.

use goldbook_api::values::MAX_POINTS;

use super::{
    AtEnd, Condition, KeptRule, MAX_CRITERIA, MAX_DEPTH, Metric, PolicyOutline, RefundEffect, TierPolicy, TierWindow,
    UpgradeTime,
};
use crate::error::Fields;
use crate::money::{Currency, Money};
use crate::programs::points::Period;
use crate::programs::points::grpc::{parse_calendar_period, write_calendar_period};
use crate::proto;
use crate::proto::fields::{parse_money, write_money};

/// The longest rolling window and the longest grace, in years.
const MAX_ROLLING_YEARS: i64 = 5;
const MAX_GRACE_YEARS: i64 = 1;

/// Parses as much as can be read of what a program says of standing; the default, if absent.
pub fn parse_tier_policy(fields: &mut Fields, path: &str, policy: Option<&proto::TierPolicy>) -> PolicyOutline {
    let Some(policy) = policy else { return PolicyOutline::from(TierPolicy::default()) };
    let window = parse_window(fields, &format!("{path}.window"), policy.window.as_ref());
    let upgrade = match proto::TierUpgrade::try_from(policy.upgrade) {
        Ok(proto::TierUpgrade::Unspecified | proto::TierUpgrade::AtOnce) => Some(UpgradeTime::AtOnce),
        Ok(proto::TierUpgrade::AtPeriodEnd) => Some(UpgradeTime::AtPeriodEnd),
        Err(_) => unknown(fields, &format!("{path}.upgrade")),
    };
    let kept = parse_kept(fields, &format!("{path}.kept"), policy.kept.as_ref());
    let at_end = match proto::TierEnd::try_from(policy.at_end) {
        Ok(proto::TierEnd::Unspecified | proto::TierEnd::DropToEarned) => Some(AtEnd::DropToEarned),
        Ok(proto::TierEnd::OneStep) => Some(AtEnd::OneStep),
        Err(_) => unknown(fields, &format!("{path}.at_end")),
    };
    let grace = match policy.grace.as_str() {
        "" => Some(None),
        grace => parse_days(fields, &format!("{path}.grace"), grace, MAX_GRACE_YEARS).map(Some),
    };
    let on_refund = match proto::RefundEffect::try_from(policy.on_refund) {
        Ok(proto::RefundEffect::Unspecified | proto::RefundEffect::AtOnce) => Some(RefundEffect::AtOnce),
        Ok(proto::RefundEffect::AtPeriodEnd) => Some(RefundEffect::AtPeriodEnd),
        Err(_) => unknown(fields, &format!("{path}.on_refund")),
    };
    PolicyOutline { window, upgrade, kept, at_end, grace, on_refund }
}

fn unknown<T>(fields: &mut Fields, path: &str) -> Option<T> {
    fields.refuse(path, "must be one of the named values");
    None
}

/// A period of whole days, of at most so many years.
fn parse_days(fields: &mut Fields, path: &str, text: &str, most_years: i64) -> Option<Period> {
    let is_fit = |period: &Period| !period.has_time() && period.is_within_years(most_years);
    match Period::parse(text).ok().filter(is_fit) {
        Some(period) => Some(period),
        None => {
            let expected = format!("must be an ISO 8601 period of whole days, above zero and at most P{most_years}Y");
            fields.refuse(path, expected);
            None
        }
    }
}

fn parse_window(fields: &mut Fields, path: &str, window: Option<&proto::TierWindow>) -> Option<TierWindow> {
    use proto::tier_window::Window;

    let Some(window) = window else { return Some(TierWindow::default()) };
    match &window.window {
        Some(Window::Lifetime(())) => Some(TierWindow::Lifetime),
        Some(Window::Rolling(period)) => {
            parse_days(fields, &format!("{path}.rolling"), period, MAX_ROLLING_YEARS).map(TierWindow::Rolling)
        }
        Some(Window::Calendar(period)) => {
            let path = format!("{path}.calendar");
            let period = parse_calendar_period(fields, &path, *period)?;
            if period.is_none() {
                fields.refuse(path, "must be a month, a quarter, a half or a year");
            }
            period.map(TierWindow::Calendar)
        }
        Some(Window::EnrolmentYear(())) => Some(TierWindow::EnrolmentYear),
        // Perhaps a window that only a newer caller knows.
        None => {
            fields.refuse(path, "must be one of lifetime, rolling, calendar and enrolment_year");
            None
        }
    }
}

fn parse_kept(fields: &mut Fields, path: &str, kept: Option<&proto::TierRetention>) -> Option<KeptRule> {
    use proto::tier_retention::Rule;

    let Some(kept) = kept else { return Some(KeptRule::default()) };
    match &kept.rule {
        Some(Rule::Always(())) => Some(KeptRule::Always),
        Some(Rule::WhileConditionHolds(())) => Some(KeptRule::WhileConditionHolds),
        Some(Rule::UntilEndOfPeriod(())) => Some(KeptRule::UntilEndOfPeriod),
        Some(Rule::UntilEndOfNextPeriod(())) => Some(KeptRule::UntilEndOfNextPeriod),
        Some(Rule::For(period)) => parse_days(fields, &format!("{path}.for"), period, 100).map(KeptRule::For),
        // As above.
        None => {
            let ways = "always, while_condition_holds, until_end_of_period, until_end_of_next_period and for";
            fields.refuse(path, format!("must be one of {ways}"));
            None
        }
    }
}

/// Parses what it takes to reach a tier.
pub fn parse_condition(
    fields: &mut Fields,
    path: &str,
    condition: &proto::TierCondition,
    currency: Option<Currency>,
) -> Option<Condition> {
    let parsed = parse_at_depth(fields, path, condition, currency, 1)?;
    if parsed.criteria().len() > MAX_CRITERIA {
        fields.refuse(path, format!("must have at most {MAX_CRITERIA} criteria"));
        return None;
    }
    Some(parsed)
}

fn parse_at_depth(
    fields: &mut Fields,
    path: &str,
    condition: &proto::TierCondition,
    currency: Option<Currency>,
    depth: usize,
) -> Option<Condition> {
    use proto::tier_condition::Condition as Wire;

    let amount = |fields: &mut Fields, field: &str, metric, money: &proto::google::Money| {
        let path = format!("{path}.{field}");
        let money = parse_money(fields, &path, Some(money))?;
        if currency.is_some_and(|currency| currency != money.currency) {
            fields.refuse(format!("{path}.currency_code"), "must be the program's currency");
            return None;
        }
        if money.minor == 0 {
            fields.refuse(path, "must be above zero");
            return None;
        }
        Some(Condition::AtLeast(metric, money.minor))
    };
    let count = |fields: &mut Fields, field: &str, metric, least: i64| {
        if !(1..=MAX_POINTS).contains(&least) {
            fields.refuse(format!("{path}.{field}"), "must be from 1 to 1,000,000,000,000");
            return None;
        }
        Some(Condition::AtLeast(metric, least))
    };
    match &condition.condition {
        Some(Wire::Spend(money)) => amount(fields, "spend", Metric::Spend, money),
        Some(Wire::Margin(money)) => amount(fields, "margin", Metric::Margin, money),
        Some(Wire::Points(least)) => count(fields, "points", Metric::Points, *least),
        Some(Wire::Purchases(least)) => count(fields, "purchases", Metric::Purchases, *least),
        Some(Wire::ActiveDays(least)) => count(fields, "active_days", Metric::ActiveDays, *least),
        Some(Wire::Referrals(least)) => count(fields, "referrals", Metric::Referrals, *least),
        Some(Wire::AllOf(all)) => {
            parse_several(fields, &format!("{path}.all_of"), all, currency, depth).map(Condition::AllOf)
        }
        Some(Wire::AnyOf(any)) => {
            parse_several(fields, &format!("{path}.any_of"), any, currency, depth).map(Condition::AnyOf)
        }
        None => {
            let ways = "spend, margin, points, purchases, active_days, referrals, all_of and any_of";
            fields.refuse(path, format!("must be one of {ways}"));
            None
        }
    }
}

fn parse_several(
    fields: &mut Fields,
    path: &str,
    several: &proto::TierConditions,
    currency: Option<Currency>,
    depth: usize,
) -> Option<Vec<Condition>> {
    if several.conditions.is_empty() || several.conditions.len() > MAX_CRITERIA {
        fields.refuse(path, format!("must have 1 to {MAX_CRITERIA} conditions"));
        return None;
    }
    if depth >= MAX_DEPTH {
        fields.refuse(path, format!("must not be deeper than {MAX_DEPTH} conditions in each other"));
        return None;
    }
    let conditions = several.conditions.iter().enumerate();
    let parsed: Vec<Option<Condition>> = conditions
        .map(|(i, it)| parse_at_depth(fields, &format!("{path}.conditions[{i}]"), it, currency, depth + 1))
        .collect();
    parsed.into_iter().collect()
}

/// None if the policy says nothing but defaults.
#[must_use]
pub fn write_tier_policy(policy: &TierPolicy) -> Option<proto::TierPolicy> {
    use proto::tier_retention::Rule;
    use proto::tier_window::Window;

    if *policy == TierPolicy::default() {
        return None;
    }
    let window = match &policy.window {
        TierWindow::Lifetime => Window::Lifetime(()),
        TierWindow::Rolling(period) => Window::Rolling(period.to_string()),
        TierWindow::Calendar(period) => Window::Calendar(write_calendar_period(*period).into()),
        TierWindow::EnrolmentYear => Window::EnrolmentYear(()),
    };
    let rule = match &policy.kept {
        KeptRule::Always => Rule::Always(()),
        KeptRule::WhileConditionHolds => Rule::WhileConditionHolds(()),
        KeptRule::UntilEndOfPeriod => Rule::UntilEndOfPeriod(()),
        KeptRule::UntilEndOfNextPeriod => Rule::UntilEndOfNextPeriod(()),
        KeptRule::For(period) => Rule::For(period.to_string()),
    };
    let upgrade = match policy.upgrade {
        UpgradeTime::AtOnce => proto::TierUpgrade::AtOnce,
        UpgradeTime::AtPeriodEnd => proto::TierUpgrade::AtPeriodEnd,
    };
    let at_end = match policy.at_end {
        AtEnd::DropToEarned => proto::TierEnd::DropToEarned,
        AtEnd::OneStep => proto::TierEnd::OneStep,
    };
    let on_refund = match policy.on_refund {
        RefundEffect::AtOnce => proto::RefundEffect::AtOnce,
        RefundEffect::AtPeriodEnd => proto::RefundEffect::AtPeriodEnd,
    };
    Some(proto::TierPolicy {
        window: Some(proto::TierWindow { window: Some(window) }),
        upgrade: upgrade.into(),
        kept: Some(proto::TierRetention { rule: Some(rule) }),
        at_end: at_end.into(),
        grace: policy.grace.as_ref().map(ToString::to_string).unwrap_or_default(),
        on_refund: on_refund.into(),
    })
}

/// What it takes to reach a tier, on the wire.
#[must_use]
pub fn write_condition(condition: &Condition, money: &impl Fn(i64) -> Money) -> proto::TierCondition {
    use proto::tier_condition::Condition as Wire;

    let several = |conditions: &[Condition]| proto::TierConditions {
        conditions: conditions.iter().map(|condition| write_condition(condition, money)).collect(),
    };
    let condition = match condition {
        Condition::AtLeast(Metric::Spend, least) => Wire::Spend(write_money(money(*least))),
        Condition::AtLeast(Metric::Margin, least) => Wire::Margin(write_money(money(*least))),
        Condition::AtLeast(Metric::Points, least) => Wire::Points(*least),
        Condition::AtLeast(Metric::Purchases, least) => Wire::Purchases(*least),
        Condition::AtLeast(Metric::ActiveDays, least) => Wire::ActiveDays(*least),
        Condition::AtLeast(Metric::Referrals, least) => Wire::Referrals(*least),
        Condition::AllOf(conditions) => Wire::AllOf(several(conditions)),
        Condition::AnyOf(conditions) => Wire::AnyOf(several(conditions)),
    };
    proto::TierCondition { condition: Some(condition) }
}
