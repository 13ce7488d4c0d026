//! Reads what a document says of a benefit: what it is, and how often it may be used.

use goldbook_api::v1::{
    BadgeKind, Benefit, BenefitQuota, CalendarPeriod, HigherCreditLimit, PassKind, benefit, benefit_quota,
};

use super::notes::Place;
use super::table::{UNREADABLE, Value};

/// A benefit; one that the service cannot read where it is none, so that others keep their places.
pub(super) fn read_benefit(value: &Value<'_>, currency: &str) -> Benefit {
    let known = &["benefit_id", "display_name", "description", "kind", "quota"];
    let Some(table) = value.named_table("benefit_id", known) else { return Benefit::default() };
    Benefit {
        benefit_id: table.text("benefit_id"),
        display_name: table.text("display_name"),
        description: table.optional_text("description"),
        kind: table.find("kind").and_then(|value| read_kind(&value, &table.place, currency)),
        quota: table.find("quota").and_then(|value| read_quota(&value)),
    }
}

/// What a benefit is. On the wire, it stands beside the name of the benefit.
fn read_kind(value: &Value<'_>, benefit: &Place, currency: &str) -> Option<benefit::Kind> {
    use benefit::Kind;

    const EXPECTED: &str = "must be one of \"free_shipping\", \"gift\", \"badge\", \"certificate\", \
                            \"priority_service\", \"custom\", { percentage_off = \"10\" }, { amount_off = \"5.00\" }, \
                            { pass = \"lounge\" }, { pass = \"event\" }, { early_access = \"P1D\" }, \
                            { earn_rate_multiplier = \"1.5\" } and \
                            { higher_credit_limit = { by = \"500.00\", valid_for = \"P30D\" } }";
    const KEYS: &[&str] =
        &["percentage_off", "amount_off", "pass", "early_access", "earn_rate_multiplier", "higher_credit_limit"];
    match value.as_text() {
        Some("free_shipping") => return Some(Kind::FreeShipping(())),
        Some("gift") => return Some(Kind::Gift(())),
        Some("badge") => return Some(Kind::Badge(BadgeKind::Badge.into())),
        Some("certificate") => return Some(Kind::Badge(BadgeKind::Certificate.into())),
        Some("priority_service") => return Some(Kind::PriorityService(())),
        Some("custom") => return Some(Kind::Custom(())),
        Some(_) | None => {}
    }
    let Some(table) = value.as_table(KEYS) else { return value.refuse(EXPECTED) };
    let (key, value) = table.only(KEYS, EXPECTED)?;
    let value = value.on_wire(benefit, key);
    let passes = [("lounge", PassKind::Lounge), ("event", PassKind::Event)];
    Some(match key {
        "percentage_off" => Kind::PercentageOff(value.decimal().unwrap_or_default()),
        "amount_off" => Kind::AmountOff(value.money(currency)),
        "pass" => Kind::Pass(value.word(&passes).map_or(UNREADABLE, Into::into)),
        "early_access" => Kind::EarlyAccess(value.text().unwrap_or_default()),
        "earn_rate_multiplier" => Kind::EarnRateMultiplier(value.decimal().unwrap_or_default()),
        _ => Kind::HigherCreditLimit(read_credit(&value, currency)),
    })
}

fn read_credit(value: &Value<'_>, currency: &str) -> HigherCreditLimit {
    let Some(table) = value.table(&["by", "valid_for"]) else { return HigherCreditLimit::default() };
    let by = table.require("by").map(|value| value.money(currency));
    HigherCreditLimit { by, valid_for: table.text("valid_for") }
}

fn read_quota(value: &Value<'_>) -> Option<BenefitQuota> {
    use benefit_quota::Per;

    // That it has one is known, whatever it is: so it is judged beside what stands with it.
    let Some(table) = value.table(&["limit", "per", "counts_companions"]) else { return Some(BenefitQuota::default()) };
    let calendar = |period: CalendarPeriod| Per::Calendar(period.into());
    let words = [
        ("tier_period", Per::TierPeriod(())),
        ("month", calendar(CalendarPeriod::Month)),
        ("quarter", calendar(CalendarPeriod::Quarter)),
        ("half", calendar(CalendarPeriod::Half)),
        ("year", calendar(CalendarPeriod::Year)),
        ("lifetime", Per::Lifetime(())),
    ];
    let per = table.require_as("per", "calendar").and_then(|value| value.word(&words));
    Some(BenefitQuota {
        limit: table.require("limit").and_then(|value| value.number()).unwrap_or_default(),
        // Something that the service cannot read, if it is none of these.
        per: Some(per.unwrap_or(Per::Calendar(UNREADABLE))),
        counts_companions: table.find("counts_companions").and_then(|value| value.flag()).unwrap_or_default(),
    })
}
