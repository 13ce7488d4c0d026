//! Reads what a document says of standing: tiers with their conditions and benefits, and the table `[tier_policy]`.

use goldbook_api::google::Money;
use goldbook_api::v1::{
    RefundEffect, Tier, TierCondition, TierConditions, TierEnd, TierPolicy, TierRetention, TierUpgrade, TierWindow,
    tier_condition, tier_retention, tier_window,
};

use super::read_benefits::read_benefit;
use super::read_points::CALENDAR;
use super::table::{UNREADABLE, Value};

const CRITERIA: &[&str] = &["spend", "margin", "points", "purchases", "active_days", "referrals", "all_of", "any_of"];

/// A tier; one that the service cannot read where it is none, so that others keep their places.
pub(super) fn read_tier(value: &Value<'_>, currency: &str) -> Tier {
    let known = &["tier_id", "display_name", "threshold", "never_lost", "condition", "benefits"];
    let Some(table) = value.named_table("tier_id", known) else {
        return Tier { threshold: Some(Money::default()), ..Tier::default() };
    };
    Tier {
        tier_id: table.text("tier_id"),
        display_name: table.text("display_name"),
        threshold: table.money("threshold", currency),
        never_lost: table.find("never_lost").and_then(|value| value.flag()).unwrap_or_default(),
        condition: table.find("condition").map(|value| read_condition(&value, currency)),
        benefits: table.items("benefits").iter().map(|benefit| read_benefit(benefit, currency)).collect(),
    }
}

/// What it takes to reach a tier; something that the service cannot read, if it is none.
fn read_condition(value: &Value<'_>, currency: &str) -> TierCondition {
    TierCondition { condition: read_criterion(value, currency) }
}

fn read_criterion(value: &Value<'_>, currency: &str) -> Option<tier_condition::Condition> {
    use tier_condition::Condition;

    const EXPECTED: &str = "must be one of { spend = \"500.00\" }, { margin = \"50.00\" }, { points = 100 }, \
                            { purchases = 10 }, { active_days = 12 }, { referrals = 1 }, { all_of = […] } and \
                            { any_of = […] }";
    let Some(table) = value.as_table(CRITERIA) else { return value.refuse(EXPECTED) };
    let (key, value) = table.only(CRITERIA, EXPECTED)?;
    let least = || value.number().unwrap_or_default();
    let several = || TierConditions {
        conditions: value.items(".conditions").iter().map(|it| read_condition(it, currency)).collect(),
    };
    Some(match key {
        "spend" => Condition::Spend(value.money(currency)),
        "margin" => Condition::Margin(value.money(currency)),
        "points" => Condition::Points(least()),
        "purchases" => Condition::Purchases(least()),
        "active_days" => Condition::ActiveDays(least()),
        "referrals" => Condition::Referrals(least()),
        "all_of" => Condition::AllOf(several()),
        _ => Condition::AnyOf(several()),
    })
}

pub(super) fn read_tier_policy(value: &Value<'_>) -> Option<TierPolicy> {
    let table = value.table(&["window", "upgrade", "kept", "at_end", "grace", "on_refund"])?;
    let upgrade = [("at_once", TierUpgrade::AtOnce), ("at_period_end", TierUpgrade::AtPeriodEnd)];
    let at_end = [("drop_to_earned", TierEnd::DropToEarned), ("one_step", TierEnd::OneStep)];
    let on_refund = [("at_once", RefundEffect::AtOnce), ("at_period_end", RefundEffect::AtPeriodEnd)];
    Some(TierPolicy {
        window: table.find("window").map(|value| TierWindow { window: read_window(&value) }),
        upgrade: table.word("upgrade", &upgrade),
        kept: table.find("kept").map(|value| TierRetention { rule: read_kept(&value) }),
        at_end: table.word("at_end", &at_end),
        grace: table.optional_text("grace"),
        on_refund: table.word("on_refund", &on_refund),
    })
}

fn read_window(value: &Value<'_>) -> Option<tier_window::Window> {
    use tier_window::Window;

    const EXPECTED: &str = "must be \"lifetime\", \"enrolment_year\", { rolling = \"P1Y\" } or { calendar = \"year\" }, \
                            perhaps with \"half\", \"quarter\" or \"month\"";
    match value.as_text() {
        Some("lifetime") => return Some(Window::Lifetime(())),
        Some("enrolment_year") => return Some(Window::EnrolmentYear(())),
        Some(_) | None => {}
    }
    const KEYS: &[&str] = &["rolling", "calendar"];
    let Some(table) = value.as_table(KEYS) else { return value.refuse(EXPECTED) };
    let (key, value) = table.only(KEYS, EXPECTED)?;
    Some(match key {
        "rolling" => Window::Rolling(value.text().unwrap_or_default()),
        _ => Window::Calendar(value.word(CALENDAR).map_or(UNREADABLE, Into::into)),
    })
}

fn read_kept(value: &Value<'_>) -> Option<tier_retention::Rule> {
    use tier_retention::Rule;

    const EXPECTED: &str = "must be \"always\", \"while_condition_holds\", \"until_end_of_period\", \
                            \"until_end_of_next_period\" or { for = \"P1Y\" }";
    match value.as_text() {
        Some("always") => return Some(Rule::Always(())),
        Some("while_condition_holds") => return Some(Rule::WhileConditionHolds(())),
        Some("until_end_of_period") => return Some(Rule::UntilEndOfPeriod(())),
        Some("until_end_of_next_period") => return Some(Rule::UntilEndOfNextPeriod(())),
        Some(_) | None => {}
    }
    let Some(table) = value.as_table(&["for"]) else { return value.refuse(EXPECTED) };
    let (_, value) = table.only(&["for"], EXPECTED)?;
    Some(Rule::For(value.text().unwrap_or_default()))
}
