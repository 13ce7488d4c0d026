//! A program as people write it: a TOML document.
//!
//! The document is the same as `goldbook.v1.Program` on the wire, with amounts and instants in forms that people read.
//! Only the form is checked here, and mistakes are told with file and line. The service checks what the document means.

use std::path::Path;

use goldbook_api::v1::{Campaign, Conversion, Program, Retention, Tier};
use goldbook_api::values::write_instant;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::amount::Amount;
use super::super::error::CliError;
use super::super::instant;
use super::benefit_table::BenefitTable;
use super::points_table::PointsTable;
use super::text::{decimal_text, instant_text};
use super::tier_policy_table::{ConditionTable, TierPolicyTable};

/// A program's document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct Document {
    program_id: String,
    display_name: String,
    currency: String,
    time_zone: String,
    #[serde(deserialize_with = "decimal_text")]
    points_per_unit: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    points: Option<PointsTable>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retention: Option<RetentionTable>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tier_policy: Option<TierPolicyTable>,
    tiers: Vec<TierTable>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    campaigns: Vec<CampaignTable>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RetentionTable {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    notes_days: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dossier_days: Option<i32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TierTable {
    tier_id: String,
    display_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    threshold: Option<Amount>,
    #[serde(default, skip_serializing_if = "is_zero")]
    never_lost: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    condition: Option<ConditionTable>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    benefits: Vec<BenefitTable>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CampaignTable {
    campaign_id: String,
    display_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "instant_text")]
    starts_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "instant_text")]
    ends_at: Option<Timestamp>,
    conversion: ConversionWord,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    minimum_purchase: Option<Amount>,
    #[serde(default, skip_serializing_if = "is_zero")]
    convert_within_days: i32,
    #[serde(default, skip_serializing_if = "is_zero")]
    referrer_points: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    referee_points: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ConversionWord {
    FirstPurchase,
    Manual,
}

impl Document {
    /// Reads a document from a file.
    ///
    /// # Errors
    /// If the file cannot be read, or is no program's document. The message tells the line and what is expected there.
    pub(in crate::cli) fn read(path: &Path) -> Result<Self, CliError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| CliError::usage(format_args!("cannot read {}: {error}", path.display())))?;
        Self::parse(&text).map_err(|error| CliError::usage(format_args!("{}: {error}", path.display())))
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
    }

    /// The document as TOML. The same program always gives the same text.
    ///
    /// # Errors
    /// If a number in it is more than TOML can hold.
    pub(in crate::cli) fn to_toml(&self) -> Result<String, CliError> {
        toml::to_string(self)
            .map_err(|error| CliError::failed(format_args!("cannot write the program as TOML: {error}")))
    }

    /// The document for the wire.
    pub(in crate::cli) fn into_proto(self) -> Program {
        let currency = self.currency;
        Program {
            program_id: self.program_id,
            display_name: self.display_name,
            time_zone: self.time_zone,
            points_per_unit: self.points_per_unit,
            points: self.points.map(PointsTable::into_proto),
            retention: self.retention.map(RetentionTable::into_proto),
            tier_policy: self.tier_policy.map(TierPolicyTable::into_proto),
            tiers: self.tiers.into_iter().map(|tier| tier.into_proto(&currency)).collect(),
            campaigns: self.campaigns.into_iter().map(|campaign| campaign.into_proto(&currency)).collect(),
            currency_code: currency,
        }
    }

    /// The document of a program from the wire.
    ///
    /// # Errors
    /// If it has a value that this program does not know, since the service is newer.
    pub(in crate::cli) fn from_proto(program: Program) -> Result<Self, CliError> {
        let currency = program.currency_code;
        let tiers = program.tiers.into_iter().map(|tier| TierTable::from_proto(tier, &currency));
        let campaigns = program.campaigns.into_iter().map(|campaign| CampaignTable::from_proto(campaign, &currency));
        Ok(Self {
            tiers: tiers.collect::<Result<_, _>>()?,
            campaigns: campaigns.collect::<Result<_, _>>()?,
            points: program.points.map(PointsTable::from_proto).transpose()?.flatten(),
            retention: program.retention.map(RetentionTable::from_proto),
            tier_policy: program.tier_policy.map(TierPolicyTable::from_proto).transpose()?.flatten(),
            program_id: program.program_id,
            display_name: program.display_name,
            time_zone: program.time_zone,
            points_per_unit: program.points_per_unit,
            currency,
        })
    }
}

impl RetentionTable {
    const fn into_proto(self) -> Retention {
        Retention { notes_days: self.notes_days, dossier_days: self.dossier_days }
    }

    const fn from_proto(retention: Retention) -> Self {
        Self { notes_days: retention.notes_days, dossier_days: retention.dossier_days }
    }
}

impl TierTable {
    fn into_proto(self, currency: &str) -> Tier {
        let benefits = self.benefits.into_iter().map(|benefit| benefit.into_proto(currency));
        Tier {
            benefits: benefits.collect(),
            tier_id: self.tier_id,
            display_name: self.display_name,
            threshold: self.threshold.map(|threshold| threshold.to_money(currency)),
            condition: self.condition.map(|condition| condition.into_proto(currency)),
            never_lost: self.never_lost,
        }
    }

    fn from_proto(tier: Tier, currency: &str) -> Result<Self, CliError> {
        let benefits = tier.benefits.into_iter().map(|benefit| BenefitTable::from_proto(benefit, currency));
        Ok(Self {
            benefits: benefits.collect::<Result<_, _>>()?,
            tier_id: tier.tier_id,
            display_name: tier.display_name,
            threshold: tier.threshold.map(|threshold| Amount::from_money(&threshold).in_currency(currency)),
            never_lost: tier.never_lost,
            condition: tier.condition.map(|condition| ConditionTable::from_proto(condition, currency)).transpose()?,
        })
    }
}

impl CampaignTable {
    fn into_proto(self, currency: &str) -> Campaign {
        let conversion = match self.conversion {
            ConversionWord::FirstPurchase => Conversion::FirstPurchase,
            ConversionWord::Manual => Conversion::Manual,
        };
        Campaign {
            campaign_id: self.campaign_id,
            display_name: self.display_name,
            starts_at: self.starts_at.map(write_instant),
            ends_at: self.ends_at.map(write_instant),
            conversion: conversion.into(),
            minimum_purchase: self.minimum_purchase.map(|minimum| minimum.to_money(currency)),
            convert_within_days: self.convert_within_days,
            referrer_points: self.referrer_points,
            referee_points: self.referee_points,
        }
    }

    fn from_proto(campaign: Campaign, currency: &str) -> Result<Self, CliError> {
        let conversion = match campaign.conversion() {
            Conversion::FirstPurchase => ConversionWord::FirstPurchase,
            Conversion::Manual => ConversionWord::Manual,
            Conversion::Unspecified => {
                return Err(CliError::failed(format_args!(
                    "campaign {} converts in a way that this program does not know; is the service newer?",
                    campaign.campaign_id
                )));
            }
        };
        let minimum = campaign.minimum_purchase.map(|minimum| Amount::from_money(&minimum).in_currency(currency));
        Ok(Self {
            conversion,
            // Absent and zero are the same to the service.
            minimum_purchase: minimum.filter(|minimum| !minimum.is_zero()),
            starts_at: campaign.starts_at.as_ref().and_then(instant::from_wire),
            ends_at: campaign.ends_at.as_ref().and_then(instant::from_wire),
            campaign_id: campaign.campaign_id,
            display_name: campaign.display_name,
            convert_within_days: campaign.convert_within_days,
            referrer_points: campaign.referrer_points,
            referee_points: campaign.referee_points,
        })
    }
}

fn is_zero<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"program_id = "shop"
display_name = "Shop"
currency = "USD"
time_zone = "America/New_York"
points_per_unit = "1.5"

[retention]
notes_days = 365
dossier_days = 1095

[[tiers]]
tier_id = "member"
display_name = "Member"
threshold = "0.00"

[[tiers.benefits]]
benefit_id = "news"
display_name = "News"
description = "Told first."

[[tiers]]
tier_id = "silver"
display_name = "Silver"
threshold = "200.00"

[[campaigns]]
campaign_id = "friends"
display_name = "Friends"
starts_at = "2026-03-01T05:00:00Z"
conversion = "first_purchase"
minimum_purchase = "10.00"
convert_within_days = 90
referrer_points = 500
referee_points = 250

[[campaigns]]
campaign_id = "partners"
display_name = "Partners"
conversion = "manual"
"#;

    #[test]
    fn a_document_comes_back_from_the_wire_as_it_was_written() {
        let document = Document::parse(DOCUMENT).unwrap();
        let program = document.clone().into_proto();
        assert_eq!(program.tiers[1].threshold.as_ref().unwrap().units, 200);
        assert_eq!(program.campaigns[0].starts_at.unwrap().seconds, 1_772_341_200);
        assert_eq!(program.campaigns[1].conversion(), Conversion::Manual);
        assert_eq!(program.retention.unwrap().dossier_days, Some(1_095));
        let back = Document::from_proto(program).unwrap();
        assert_eq!(back, document);
        assert_eq!(back.to_toml().unwrap(), DOCUMENT);
    }

    #[test]
    fn the_example_program_is_a_document_that_survives_the_wire() {
        let example = Document::parse(include_str!("../../../examples/cdnow/program.toml")).unwrap();
        let thresholds: Vec<String> =
            example.tiers.iter().map(|tier| tier.threshold.unwrap_or_default().to_string()).collect();
        assert_eq!(thresholds, ["0.00", "200.00", "500.00", "1000.00"]);
        let written = Document::from_proto(example.clone().into_proto()).unwrap().to_toml().unwrap();
        assert_eq!(Document::parse(&written).unwrap(), example);
    }

    #[test]
    fn instants_may_be_written_with_and_without_quotes() {
        for written in ["\"2026-03-01T00:00:00-05:00\"", "2026-03-01T00:00:00-05:00", "2026-03-01T05:00:00Z"] {
            let text = DOCUMENT.replace("\"2026-03-01T05:00:00Z\"", written);
            assert_eq!(Document::parse(&text), Document::parse(DOCUMENT), "{written}");
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_line_and_what_is_expected() {
        for (right, wrong, line, expected) in [
            (
                "currency = \"USD\"",
                "currency = \"USD\"\ncolour = \"red\"",
                4,
                "unknown field `colour`, expected one of",
            ),
            ("\"200.00\"", "200.00", 24, "a decimal in quotes with at most 9 decimals, such as \"10.00\""),
            ("\"200.00\"", "\"200.0000000001\"", 24, "a decimal in quotes with at most 9 decimals"),
            ("\"1.5\"", "1.5", 5, "a decimal in quotes, such as \"1\" or \"0.125\""),
            ("\"first_purchase\"", "\"purchase\"", 30, "expected `first_purchase` or `manual`"),
            ("\"2026-03-01T05:00:00Z\"", "\"March\"", 29, "an instant with its offset as in RFC 3339"),
            ("\"2026-03-01T05:00:00Z\"", "2026-03-01", 29, "an instant with its offset as in RFC 3339"),
            ("\"2026-03-01T05:00:00Z\"", "5", 29, "an instant with its offset as in RFC 3339"),
            ("convert_within_days = 90", "convert_within_days = \"90\"", 32, "expected i32"),
            ("tier_id = \"silver\"\n", "", 21, "missing field `tier_id`"),
        ] {
            let error = Document::parse(&DOCUMENT.replace(right, wrong)).unwrap_err();
            assert!(error.contains(&format!("line {line},")), "{wrong}: {error}");
            assert!(error.contains(expected), "{wrong}: {error}");
        }
    }
}
