//! A program as people read it: a TOML document.
//!
//! The document is the same as `goldbook.v1.Program` on the wire, with amounts and instants in forms that people read.

use goldbook_api::v1::{Campaign, Conversion, Program, Retention, Tier};
use jiff::Timestamp;
use serde::Serialize;

use super::super::amount::Amount;
use super::super::error::CliError;
use super::super::instant;
use super::benefit_table::BenefitTable;
use super::complaints_table::ComplaintsTable;
use super::goodwill_table::GoodwillTable;
use super::lifecycle_table::LifecycleTable;
use super::package_table::PackageTable;
use super::points_table::PointsTable;
use super::satisfaction_table::SatisfactionTable;
use super::segments_table::SegmentTable;
use super::tier_policy_table::{ConditionTable, TierPolicyTable};
use super::value_classes_table::ValueClassesTable;

/// A program's document.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(in crate::cli) struct Document {
    program_id: String,
    display_name: String,
    currency: String,
    time_zone: String,
    points_per_unit: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    points: Option<PointsTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention: Option<RetentionTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier_policy: Option<TierPolicyTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    satisfaction: Option<SatisfactionTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    complaints: Option<ComplaintsTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    goodwill: Option<GoodwillTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lifecycle: Option<LifecycleTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_classes: Option<ValueClassesTable>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    segments: Vec<SegmentTable>,
    tiers: Vec<TierTable>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    campaigns: Vec<CampaignTable>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extras: Vec<BenefitTable>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    packages: Vec<PackageTable>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct RetentionTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    notes_days: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dossier_days: Option<i32>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct TierTable {
    tier_id: String,
    display_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<Amount>,
    #[serde(skip_serializing_if = "is_zero")]
    never_lost: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<ConditionTable>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    benefits: Vec<BenefitTable>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct CampaignTable {
    campaign_id: String,
    display_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    starts_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<Timestamp>,
    conversion: ConversionWord,
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum_purchase: Option<Amount>,
    #[serde(skip_serializing_if = "is_zero")]
    convert_within_days: i32,
    #[serde(skip_serializing_if = "is_zero")]
    referrer_points: i64,
    #[serde(skip_serializing_if = "is_zero")]
    referee_points: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum ConversionWord {
    FirstPurchase,
    Manual,
}

impl Document {
    /// The document as TOML. The same program always gives the same text.
    ///
    /// # Errors
    /// If a number in it is more than TOML can hold.
    pub(in crate::cli) fn to_toml(&self) -> Result<String, CliError> {
        toml::to_string(self)
            .map_err(|error| CliError::failed(format_args!("cannot write the program as TOML: {error}")))
    }

    /// The document of a program from the wire.
    ///
    /// # Errors
    /// If it has a value that this program does not know, since the service is newer.
    pub(in crate::cli) fn from_proto(program: Program) -> Result<Self, CliError> {
        let currency = program.currency_code;
        let tiers = program.tiers.into_iter().map(|tier| TierTable::from_proto(tier, &currency));
        let campaigns = program.campaigns.into_iter().map(|campaign| CampaignTable::from_proto(campaign, &currency));
        let extras = program.extras.into_iter().map(|benefit| BenefitTable::from_proto(benefit, &currency));
        let segments = program.segments.into_iter().map(|segment| SegmentTable::from_proto(segment, &currency));
        let value_classes = program.value_classes.map(|policy| ValueClassesTable::from_proto(policy, &currency));
        Ok(Self {
            tiers: tiers.collect::<Result<_, _>>()?,
            campaigns: campaigns.collect::<Result<_, _>>()?,
            extras: extras.collect::<Result<_, _>>()?,
            packages: program.packages.into_iter().map(PackageTable::from_proto).collect::<Result<_, _>>()?,
            points: program.points.map(PointsTable::from_proto).transpose()?.flatten(),
            retention: program.retention.map(RetentionTable::from_proto),
            satisfaction: program.satisfaction.map(SatisfactionTable::from_proto),
            complaints: program.complaints.map(ComplaintsTable::from_proto).transpose()?,
            goodwill: program.goodwill.map(GoodwillTable::from_proto).transpose()?,
            lifecycle: program.lifecycle.map(|policy| LifecycleTable::from_proto(policy, &currency)),
            value_classes: value_classes.transpose()?,
            segments: segments.collect::<Result<_, _>>()?,
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
    const fn from_proto(retention: Retention) -> Self {
        Self { notes_days: retention.notes_days, dossier_days: retention.dossier_days }
    }
}

impl TierTable {
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
mod tests;
