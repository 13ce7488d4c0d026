//! Reads a document as the program that it means on the wire, as much of it as can be read.
//!
//! The document is the same as `goldbook.v1.Program`, with amounts and instants in forms that people read. What cannot be
//! read is noted, and something is put in its place that the service cannot read either: so it is judged with nothing
//! else.

use goldbook_api::v1::{Campaign, Conversion, Program, Retention};
use goldbook_api::values::write_instant;
use toml::de::DeTable;

use super::super::amount::decimals_of;
use super::complaints_table::read_complaints;
use super::goodwill_table::read_goodwill;
use super::lifecycle_table::read_lifecycle;
use super::notes::{Notes, Place};
use super::package_table::read_package;
use super::read_benefits::read_benefit;
use super::read_points::read_points;
use super::read_tiers::{read_tier, read_tier_policy};
use super::satisfaction_table::read_satisfaction;
use super::segments_table::read_segment;
use super::table::{Table, UNREADABLE, Value};
use super::value_classes_table::read_value_classes;

/// In which currency amounts are compared where that of the document is not known: none has more decimals.
const STAND_IN: &str = "CLF";

const DOCUMENT: &[&str] = &[
    "program_id",
    "display_name",
    "currency",
    "time_zone",
    "points_per_unit",
    "points",
    "retention",
    "tier_policy",
    "tiers",
    "campaigns",
    "extras",
    "packages",
    "satisfaction",
    "complaints",
    "goodwill",
    "lifecycle",
    "value_classes",
    "segments",
];

const CAMPAIGN: &[&str] = &[
    "campaign_id",
    "display_name",
    "starts_at",
    "ends_at",
    "conversion",
    "minimum_purchase",
    "convert_within_days",
    "referrer_points",
    "referee_points",
];

/// Reads the program of a document, and notes what is wrong with its form.
pub(super) fn read_program(document: &DeTable<'_>, notes: &Notes) -> Program {
    // What is said of a field that stands nowhere is said of the whole.
    notes.know(&Place::whole(), false);
    let table = Table::open(document, Place::whole(), DOCUMENT, notes);
    let code = table.require_as("currency", "currency_code").and_then(|value| value.text()).unwrap_or_default();
    let currency = if decimals_of(&code).is_some() { &code } else { STAND_IN };
    let tiers = table.require("tiers").map(|value| value.items("")).unwrap_or_default();
    Program {
        program_id: table.text("program_id"),
        display_name: table.text("display_name"),
        time_zone: table.text("time_zone"),
        points_per_unit: table.require("points_per_unit").and_then(|value| value.decimal()).unwrap_or_default(),
        points: table.find("points").and_then(|value| read_points(&value)),
        retention: table.find("retention").and_then(|value| read_retention(&value)),
        tier_policy: table.find("tier_policy").and_then(|value| read_tier_policy(&value)),
        tiers: tiers.iter().map(|tier| read_tier(tier, currency)).collect(),
        campaigns: table.items("campaigns").iter().map(|campaign| read_campaign(campaign, currency)).collect(),
        extras: table.items("extras").iter().map(|benefit| read_benefit(benefit, currency)).collect(),
        packages: table.items("packages").iter().map(read_package).collect(),
        satisfaction: table.find("satisfaction").and_then(|value| read_satisfaction(&value)),
        complaints: table.find("complaints").and_then(|value| read_complaints(&value)),
        goodwill: table.find("goodwill").and_then(|value| read_goodwill(&value)),
        lifecycle: table.find("lifecycle").and_then(|value| read_lifecycle(&value, currency)),
        value_classes: table.find("value_classes").map(|value| read_value_classes(&value, currency)),
        segments: table.each("segments", |value| read_segment(value, currency)),
        currency_code: code,
    }
}

fn read_retention(value: &Value<'_>) -> Option<Retention> {
    let table = value.table(&["notes_days", "dossier_days"])?;
    Some(Retention { notes_days: table.number("notes_days"), dossier_days: table.number("dossier_days") })
}

fn read_campaign(value: &Value<'_>, currency: &str) -> Campaign {
    let Some(table) = value.named_table("campaign_id", CAMPAIGN) else { return Campaign::default() };
    let conversion = [("first_purchase", Conversion::FirstPurchase), ("manual", Conversion::Manual)];
    let instant = |key| table.find(key).and_then(|value| value.instant()).map(write_instant);
    Campaign {
        campaign_id: table.text("campaign_id"),
        display_name: table.text("display_name"),
        starts_at: instant("starts_at"),
        ends_at: instant("ends_at"),
        conversion: table.require("conversion").and_then(|it| it.word(&conversion)).map_or(UNREADABLE, Into::into),
        minimum_purchase: table.money("minimum_purchase", currency),
        convert_within_days: table.number("convert_within_days").unwrap_or_default(),
        referrer_points: table.number("referrer_points").unwrap_or_default(),
        referee_points: table.number("referee_points").unwrap_or_default(),
    }
}
