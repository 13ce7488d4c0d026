//! What a program's document says of goodwill: the table `[goodwill]`.

use goldbook_api::v1::{GoodwillBenefit, GoodwillLimit, GoodwillParty, GoodwillPolicy};
use serde::Serialize;

use super::super::error::CliError;
use super::points_table::{CalendarWord, newer};
use super::read_points::CALENDAR;
use super::table::{UNREADABLE, Value};

/// What may be given as goodwill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct GoodwillTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    most_at_once: Option<i64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    limits: Vec<LimitTable>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    benefits: Vec<BenefitTable>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct LimitTable {
    of: PartyWord,
    period: CalendarWord,
    points: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum PartyWord {
    Person,
    Customer,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct BenefitTable {
    benefit_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    tier_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity: Option<i64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    valid_for: String,
    points: i64,
}

impl GoodwillTable {
    /// The table of a policy, without values that are defaults.
    ///
    /// # Errors
    /// If it has a value that this program does not know, since the service is newer.
    pub(super) fn from_proto(policy: GoodwillPolicy) -> Result<Self, CliError> {
        let GoodwillPolicy { most_at_once, limits, benefits } = policy;
        let benefits = benefits.into_iter().map(|it| BenefitTable {
            benefit_id: it.benefit_id,
            tier_id: it.tier_id,
            quantity: it.quantity,
            valid_for: it.valid_for,
            points: it.points,
        });
        let limits = limits.into_iter().map(LimitTable::from_proto).collect::<Result<_, _>>()?;
        Ok(Self { most_at_once, limits, benefits: benefits.collect() })
    }
}

impl LimitTable {
    fn from_proto(limit: GoodwillLimit) -> Result<Self, CliError> {
        let of = match limit.of() {
            GoodwillParty::Person => PartyWord::Person,
            GoodwillParty::Customer => PartyWord::Customer,
            GoodwillParty::Unspecified => return Err(newer("goodwill is limited")),
        };
        let period = CalendarWord::from_proto(limit.period)?.ok_or_else(|| newer("goodwill is limited"))?;
        Ok(Self { of, period, points: limit.points })
    }
}

/// Reads the table.
pub(super) fn read_goodwill(value: &Value<'_>) -> Option<GoodwillPolicy> {
    let table = value.table(&["most_at_once", "limits", "benefits"])?;
    Some(GoodwillPolicy {
        most_at_once: table.number_or_bad("most_at_once"),
        limits: table.items("limits").iter().map(read_limit).collect(),
        benefits: table.items("benefits").iter().map(read_benefit).collect(),
    })
}

fn read_limit(value: &Value<'_>) -> GoodwillLimit {
    let unreadable = GoodwillLimit { of: UNREADABLE, period: UNREADABLE, points: 0 };
    let Some(table) = value.table(&["of", "period", "points"]) else { return unreadable };
    let parties = [("person", GoodwillParty::Person), ("customer", GoodwillParty::Customer)];
    GoodwillLimit {
        of: table.require("of").and_then(|value| value.word(&parties)).map_or(UNREADABLE, Into::into),
        period: table.require("period").and_then(|value| value.word(CALENDAR)).map_or(UNREADABLE, Into::into),
        points: table.require("points").and_then(|value| value.number()).unwrap_or_default(),
    }
}

fn read_benefit(value: &Value<'_>) -> GoodwillBenefit {
    let known = &["benefit_id", "tier_id", "quantity", "valid_for", "points"];
    let Some(table) = value.named_table("benefit_id", known) else { return GoodwillBenefit::default() };
    GoodwillBenefit {
        benefit_id: table.text("benefit_id"),
        tier_id: table.optional_text("tier_id"),
        quantity: table.number("quantity"),
        valid_for: table.optional_text("valid_for"),
        points: table.require("points").and_then(|value| value.number()).unwrap_or_default(),
    }
}
