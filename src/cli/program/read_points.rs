//! Reads what a document says of points: the table `[points]` and those below it.

use goldbook_api::v1::{
    CalendarPeriod, Clawback, EarningLimits, ExpiryRule, PeriodCap, PointsPolicy, RedemptionLimits, Reinstatement,
    VestingRule, expiry_rule, vesting_rule,
};
use goldbook_api::values::write_instant;
use prost_types::Timestamp;

use super::table::{Table, UNREADABLE, Value};

const POINTS: &[&str] =
    &["point_value", "hold_for", "clawback", "vesting", "expiry", "redemption", "earning", "reinstatement"];

/// The words for periods of the calendar.
pub(super) const CALENDAR: &[(&str, CalendarPeriod)] = &[
    ("day", CalendarPeriod::Day),
    ("week", CalendarPeriod::Week),
    ("month", CalendarPeriod::Month),
    ("quarter", CalendarPeriod::Quarter),
    ("half", CalendarPeriod::Half),
    ("year", CalendarPeriod::Year),
];

pub(super) fn read_points(value: &Value<'_>) -> Option<PointsPolicy> {
    let table = value.table(POINTS)?;
    let clawback = [
        ("unspent_only", Clawback::UnspentOnly),
        ("within_balance", Clawback::WithinBalance),
        ("allow_debt", Clawback::AllowDebt),
    ];
    Some(PointsPolicy {
        point_value: table.find("point_value").and_then(|value| value.decimal()).unwrap_or_default(),
        hold_for: table.optional_text("hold_for"),
        clawback: table.word("clawback", &clawback),
        vesting: table.find("vesting").map(|value| VestingRule { rule: read_vesting(&value) }),
        expiry: table.find("expiry").map(|value| ExpiryRule { rule: read_expiry(&value) }),
        redemption: table.find("redemption").and_then(|value| read_redemption(&value)),
        earning: table.find("earning").and_then(|value| read_earning(&value)),
        reinstatement: table.find("reinstatement").and_then(|value| read_reinstatement(&value)),
    })
}

/// An instant for the wire; one that the service cannot read, if it is none.
fn read_instant(value: &Value<'_>) -> Timestamp {
    value.instant().map_or(Timestamp { seconds: 0, nanos: -1 }, write_instant)
}

fn read_vesting(value: &Value<'_>) -> Option<vesting_rule::Rule> {
    use vesting_rule::Rule;

    const EXPECTED: &str = "must be \"immediate\", { after = \"P14D\" }, { at = 2026-01-01T00:00:00Z } or \
                            { on_event_within = \"P30D\" }";
    const KEYS: &[&str] = &["after", "at", "on_event_within"];
    if value.as_text() == Some("immediate") {
        return Some(Rule::Immediate(()));
    }
    let Some(table) = value.as_table(KEYS) else { return value.refuse(EXPECTED) };
    let (key, value) = table.only(KEYS, EXPECTED)?;
    Some(match key {
        "at" => Rule::At(read_instant(&value)),
        "after" => Rule::After(value.text().unwrap_or_default()),
        _ => Rule::OnEventWithin(value.text().unwrap_or_default()),
    })
}

fn read_expiry(value: &Value<'_>) -> Option<expiry_rule::Rule> {
    use expiry_rule::{After, Rule};

    const EXPECTED: &str = "must be \"never\", { after = \"P1Y\" }, perhaps with round_to = \"month\", \
                            { at = 2026-01-01T00:00:00Z } or { sliding = \"P1Y\" }";
    if value.as_text() == Some("never") {
        return Some(Rule::Never(()));
    }
    let Some(table) = value.as_table(&["after", "round_to", "at", "sliding"]) else { return value.refuse(EXPECTED) };
    let (key, found) = table.only(&["after", "at", "sliding"], EXPECTED)?;
    if key != "after" && table.find("round_to").is_some() {
        return value.refuse(EXPECTED);
    }
    Some(match key {
        "at" => Rule::At(read_instant(&found)),
        "sliding" => Rule::Sliding(found.text().unwrap_or_default()),
        _ => Rule::After(read_after(&table, After::default())),
    })
}

fn read_after(table: &Table<'_>, mut after: expiry_rule::After) -> expiry_rule::After {
    if let Some(period) = table.find_as("after", "after.period") {
        after.period = period.text().unwrap_or_default();
    }
    if let Some(round_to) = table.find_as("round_to", "after.round_to") {
        after.round_to = round_to.word(CALENDAR).map_or(UNREADABLE, Into::into);
    }
    after
}

fn read_redemption(value: &Value<'_>) -> Option<RedemptionLimits> {
    let table = value.table(&["minimum", "step", "maximum"])?;
    Some(RedemptionLimits {
        minimum: table.number("minimum"),
        step: table.number("step"),
        maximum: table.number("maximum"),
    })
}

fn read_earning(value: &Value<'_>) -> Option<EarningLimits> {
    let table = value.table(&["per_transaction", "per_period"])?;
    let caps = table.items("per_period").iter().map(read_cap).collect();
    Some(EarningLimits { per_transaction: table.number("per_transaction"), per_period: caps })
}

/// A cap of earning; one that the service cannot read where it is none, so that others keep their places.
fn read_cap(value: &Value<'_>) -> PeriodCap {
    let Some(table) = value.table(&["period", "points"]) else { return PeriodCap { period: UNREADABLE, points: 0 } };
    PeriodCap {
        period: table.require("period").and_then(|value| value.word(CALENDAR)).map_or(UNREADABLE, Into::into),
        points: table.require("points").and_then(|value| value.number()).unwrap_or_default(),
    }
}

fn read_reinstatement(value: &Value<'_>) -> Option<Reinstatement> {
    let table = value.table(&["within", "valid_for"])?;
    Some(Reinstatement { within: table.text("within"), valid_for: table.text("valid_for") })
}
