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
use super::tier_policy_table::{ConditionTable, TierPolicyTable};

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
mod tests {
    use super::super::check::read_sound;
    use super::*;

    const DOCUMENT: &str = r#"program_id = "shop"
display_name = "Shop"
currency = "USD"
time_zone = "America/New_York"
points_per_unit = "1.5"

[retention]
notes_days = 365
dossier_days = 1095

[satisfaction]
minimum_answers = 12

[satisfaction.acsi_weights]
satisfaction = "0.5"
expectation = "0.25"
ideal = "0.25"

[[satisfaction.factors]]
factor_id = "delivery"
display_name = "Delivery"

[complaints.hours]
monday = ["09:00-12:00", "13:00-17:30"]
saturday = ["20:00-24:00"]

[[complaints.special_days]]
date = "2026-12-25"

[[complaints.special_days]]
date = "2026-12-24"
hours = ["09:00-12:00"]

[[complaints.categories]]
category_id = "delivery"
display_name = "Delivery"

[[complaints.deadlines]]
category_ids = ["delivery"]
priorities = ["low", "high"]

[complaints.deadlines.acknowledgement]
business_hours = 4

[complaints.deadlines.answer]
business_days = 5

[[complaints.deadlines]]

[complaints.deadlines.resolution]
weeks = 8

[complaints.deadlines.extended_resolution]
days = 90

[goodwill]
most_at_once = 2000

[[goodwill.limits]]
of = "person"
period = "day"
points = 10000

[[goodwill.limits]]
of = "customer"
period = "year"
points = 5000

[[goodwill.benefits]]
benefit_id = "day-pass"
quantity = 2
valid_for = "P90D"
points = 1500

[lifecycle]
lapsed_after_days = 120
lost_after_days = 365

[lifecycle.client]
purchases = 5
spend = "500.00"

[lifecycle.advocate]
referrals = 1
satisfaction = 4

[lifecycle.at_risk]
after_days = 60
satisfaction_at_most = 2
open_complaints = 1

[lifecycle.cuts]
recommends_from = 8
rare_after_days = 90

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

[[extras]]
benefit_id = "day-pass"
display_name = "A day in the lounge"
description = "For one who waited."

[extras.kind]
pass = "lounge"

[extras.quota]
limit = 1
per = "lifetime"

[[packages]]
package_id = "box"
display_name = "Box"
description = "For those who come far."
occasion = "tier_reached"
tier_ids = ["silver"]
points = 50

[[packages.benefits]]
benefit_id = "news"
tier_id = "member"
quantity = 2
valid_for = "P90D"

[[packages]]
package_id = "day"
display_name = "Day"
occasion = "birthday"

[[packages.benefits]]
benefit_id = "day-pass"
"#;

    fn written(program: Program) -> String {
        Document::from_proto(program).unwrap().to_toml().unwrap()
    }

    #[test]
    fn a_document_comes_back_from_the_wire_as_it_was_written() {
        let program = read_sound(DOCUMENT).unwrap();
        assert_eq!(program.tiers[1].threshold.as_ref().unwrap().units, 200);
        assert_eq!(program.campaigns[0].starts_at.unwrap().seconds, 1_772_341_200);
        assert_eq!(program.campaigns[1].conversion(), Conversion::Manual);
        assert_eq!(program.retention.unwrap().dossier_days, Some(1_095));
        assert_eq!(written(program), DOCUMENT);
    }

    #[test]
    fn every_example_is_a_document_that_survives_the_wire() {
        let examples = [
            include_str!("../../../examples/cdnow/program.toml"),
            include_str!("../../../examples/programs/airline.toml"),
            include_str!("../../../examples/programs/cafe.toml"),
            include_str!("../../../examples/programs/shop.toml"),
        ];
        for example in examples {
            let program = read_sound(example).unwrap();
            let again = read_sound(&written(program.clone())).unwrap();
            assert_eq!(written(again), written(program));
        }
    }

    #[test]
    fn instants_may_be_written_with_and_without_quotes() {
        for form in ["\"2026-03-01T00:00:00-05:00\"", "2026-03-01T00:00:00-05:00", "2026-03-01T05:00:00Z"] {
            let text = DOCUMENT.replace("\"2026-03-01T05:00:00Z\"", form);
            assert_eq!(read_sound(&text), read_sound(DOCUMENT), "{form}");
        }
    }
}
