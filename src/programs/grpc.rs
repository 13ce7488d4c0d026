//! `ProgramService` on the wire.

use goldbook_api::server::{Received, program_service_server};
use goldbook_api::values::MAX_POINTS;
use tonic::{Request, Response, Status};

use super::Programs;
use super::benefits::grpc::{parse_benefit, write_benefit};
use super::benefits::{Benefit, BenefitOutline};
use super::commands::ApplyProgram;
use super::complaints::grpc::{parse_complaint_policy, write_complaint_policy};
use super::faults::{CampaignOutline, TierOutline, find_campaign_faults, find_extra_faults, find_tier_faults};
use super::goodwill::grpc::{find_goodwill_faults, parse_goodwill_policy, write_goodwill_policy};
use super::lifecycle::grpc::{parse_lifecycle_policy, write_lifecycle_policy};
use super::model::{Campaign, Conversion, MAX_TIERS, Program, ProgramVersion, Tier, Zone};
use super::packages::Package;
use super::packages::faults::{PackageOutline, find_package_faults};
use super::packages::grpc::{parse_package, write_package};
use super::points::grpc::{parse_points_policy, write_points_policy};
use super::retention::Retention;
use super::satisfaction::grpc::{parse_satisfaction_policy, write_satisfaction_policy};
use super::segments::grpc::{parse_segments, write_segment};
use super::tier_policy::find_policy_faults;
use super::tier_policy::grpc::{parse_condition, parse_tier_policy, write_condition, write_tier_policy};
use super::value_classes::grpc::{known_classes, parse_value_class_policy, write_value_class_policy};
use crate::access::grpc::admit;
use crate::error::{Error, Fields, Violation};
use crate::ids::{CampaignId, ProgramId, TierId};
use crate::money::{Currency, Rate};
use crate::paging::PageRequest;
use crate::proto;
use crate::proto::fields::{parse_money, parse_optional_instant, parse_text, write_instant, write_money};
use crate::telemetry;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod tried;

const MAX_DISPLAY_NAME: usize = 200;
const MAX_BENEFITS: usize = 100;
const MAX_CAMPAIGNS: usize = 100;
const MAX_PACKAGES: usize = 100;
const MAX_CONVERT_WITHIN_DAYS: i32 = 3_650;
const MAX_RETENTION_DAYS: i32 = 36_500;

#[tonic::async_trait]
impl program_service_server::ProgramService for Programs {
    async fn apply_program(
        &self,
        request: Request<Received<proto::ApplyProgramRequest>>,
    ) -> Result<Response<proto::ApplyProgramResponse>, Status> {
        let (request, caller) = admit(request)?;
        let (validate_only, is_scheduled) = (request.validate_only, request.effective_from.is_some());
        let apply = parse_apply(request)?;
        telemetry::record_program(apply.program.program_id.as_str());
        let applied = if validate_only {
            self.try_program(apply).await?
        } else {
            self.apply_program(apply, caller.writer().await?).await?
        };
        let mut version = write_version(applied.version);
        if validate_only && applied.changed {
            version.applied_at = None;
            version.effective_from = version.effective_from.filter(|_| is_scheduled);
        }
        Ok(Response::new(proto::ApplyProgramResponse {
            version: Some(version),
            changed: applied.changed,
            previous: applied.previous.map(write_version),
        }))
    }

    async fn get_program(
        &self,
        request: Request<Received<proto::GetProgramRequest>>,
    ) -> Result<Response<proto::GetProgramResponse>, Status> {
        let (request, _) = admit(request)?;
        let mut fields = Fields::default();
        let program_id = fields.check("program_id", ProgramId::try_from(request.program_id));
        if request.version < 0 {
            fields.refuse("version", "must be zero or more; zero means the version in force");
        }
        let program_id = fields.finish_with(program_id)?;
        telemetry::record_program(program_id.as_str());
        let version = (request.version > 0).then_some(request.version);
        let (version, scheduled) = self.get_program(&program_id, version).await?;
        let scheduled = scheduled.into_iter().map(|planned| proto::ScheduledVersion {
            version: planned.version,
            effective_from: Some(write_instant(planned.effective_from)),
        });
        let version = Some(write_version(version));
        Ok(Response::new(proto::GetProgramResponse { version, scheduled: scheduled.collect() }))
    }

    async fn list_programs(
        &self,
        request: Request<Received<proto::ListProgramsRequest>>,
    ) -> Result<Response<proto::ListProgramsResponse>, Status> {
        let (request, caller) = admit(request)?;
        let mut fields = Fields::default();
        let page = PageRequest::parse(&mut fields, request.page_size, &request.page_token, &["programs"])?;
        fields.finish()?;
        let (versions, next_page_token) =
            self.list_programs(&caller.programs_for::<proto::ListProgramsRequest>(), &page).await?;
        let versions = versions.into_iter().map(write_version).collect();
        Ok(Response::new(proto::ListProgramsResponse { versions, next_page_token }))
    }
}

fn parse_apply(request: proto::ApplyProgramRequest) -> Result<ApplyProgram, Error> {
    let mut fields = Fields::default();
    let effective_from = parse_optional_instant(&mut fields, "effective_from", request.effective_from.as_ref());
    let expected_version = request.expected_version;
    if expected_version.is_some_and(|version| version < 0) {
        fields.refuse("expected_version", "must be zero or more; zero means that the program is new");
    }
    let program = match request.program {
        Some(program) => parse_document(&mut fields, program),
        None => fields.check("program", Err("must be set")),
    };
    fields.finish_with(program.map(|program| ApplyProgram { program, expected_version, effective_from }))
}

/// Everything that makes a document unsound by itself, whatever program is in force.
#[must_use]
pub(crate) fn find_faults(program: proto::Program) -> Vec<Violation> {
    let mut fields = Fields::default();
    // What it means is of no interest here.
    let _: Option<Program> = parse_document(&mut fields, program);
    fields.into_violations()
}

/// Parses all of a document, and looks for faults across its parts in as much as could be read.
pub(crate) fn parse_document(fields: &mut Fields, program: proto::Program) -> Option<Program> {
    let program_id = fields.check("program.program_id", ProgramId::try_from(program.program_id));
    let display_name = parse_display_name(fields, "program.display_name", &program.display_name);
    let currency = fields.check("program.currency_code", Currency::parse(&program.currency_code));
    let time_zone = parse_time_zone(fields, &program.time_zone);
    let points_per_unit = fields.check("program.points_per_unit", Rate::parse(&program.points_per_unit));
    let points = parse_points_policy(fields, "program.points", program.points.as_ref());
    let retention = parse_retention(fields, "program.retention", program.retention);
    let tier_policy = parse_tier_policy(fields, "program.tier_policy", program.tier_policy.as_ref());
    let mut bound = |field: &str, count: usize, max: usize| {
        if count > max {
            fields.refuse(field, format!("must have at most {max} items"));
        }
    };
    bound("program.tiers", program.tiers.len(), MAX_TIERS);
    bound("program.campaigns", program.campaigns.len(), MAX_CAMPAIGNS);
    let (extra_outlines, extras) = parse_benefits(fields, "program.extras", program.extras, currency);
    let tiers = program.tiers.into_iter().take(MAX_TIERS).enumerate();
    let (tier_outlines, tiers): (Vec<TierOutline>, Vec<Option<Tier>>) =
        tiers.map(|(i, tier)| parse_tier(fields, &format!("program.tiers[{i}]"), tier, currency)).unzip();
    let campaigns = program.campaigns.into_iter().take(MAX_CAMPAIGNS).enumerate();
    let (campaign_outlines, campaigns): (Vec<CampaignOutline>, Vec<Option<Campaign>>) = campaigns
        .map(|(i, campaign)| parse_campaign(fields, &format!("program.campaigns[{i}]"), campaign, currency))
        .unzip();
    let (package_outlines, packages) = parse_packages(fields, program.packages);
    let satisfaction =
        parse_satisfaction_policy(fields, "program.satisfaction", program.satisfaction, parse_display_name);
    let known = known_classes(program.value_classes.as_ref());
    let complaints =
        parse_complaint_policy(fields, "program.complaints", program.complaints, parse_display_name, known.as_ref());
    let (goodwill_outline, goodwill) = parse_goodwill_policy(fields, "program.goodwill", program.goodwill);
    let amounts = |fields: &mut Fields, path: &str, amount: Option<&proto::google::Money>| {
        parse_amount(fields, path, amount, currency)
    };
    let lifecycle = parse_lifecycle_policy(fields, "program.lifecycle", program.lifecycle, amounts);
    let path = "program.value_classes";
    let value_classes = parse_value_class_policy(fields, path, program.value_classes, parse_display_name, amounts);
    let (path, beside) = ("program.segments", (tier_outlines.as_slice(), known.as_ref()));
    let segments = parse_segments(fields, path, program.segments, beside, parse_display_name, amounts);
    let faults = find_policy_faults(&tier_policy).into_iter();
    let tier_faults = find_tier_faults(&tier_outlines, tier_policy.window.as_ref());
    let faults = faults.chain(tier_faults).chain(find_campaign_faults(&campaign_outlines));
    let faults = faults.chain(find_extra_faults(&extra_outlines));
    let faults = faults.chain(find_package_faults(&package_outlines, &tier_outlines, &extra_outlines));
    let faults = faults.chain(find_goodwill_faults(&goodwill_outline, &tier_outlines, &extra_outlines));
    for fault in faults {
        fields.refuse(fault.field, fault.description);
    }
    Some(Program {
        program_id: program_id?,
        display_name: display_name?,
        currency: currency?,
        time_zone: time_zone?,
        points_per_unit: points_per_unit?,
        points: points?,
        retention,
        tier_policy: tier_policy.whole()?,
        tiers: tiers.into_iter().collect::<Option<_>>()?,
        campaigns: campaigns.into_iter().collect::<Option<_>>()?,
        extras: extras?,
        packages: packages?,
        satisfaction: satisfaction?,
        complaints: complaints?,
        goodwill: goodwill?,
        lifecycle: lifecycle?,
        value_classes: value_classes?,
        segments: segments?,
    })
}

/// For how long what is known of customers is kept; for ever, if nothing is said. Bad fields are refused.
fn parse_retention(fields: &mut Fields, path: &str, retention: Option<proto::Retention>) -> Retention {
    let Some(proto::Retention { notes_days, dossier_days }) = retention else { return Retention::default() };
    for (field, days) in [("notes_days", notes_days), ("dossier_days", dossier_days)] {
        if days.is_some_and(|days| !(1..=MAX_RETENTION_DAYS).contains(&days)) {
            fields.refuse(format!("{path}.{field}"), "must be from 1 to 36,500; absent means for ever");
        }
    }
    Retention { notes_days, dossier_days }
}

/// None if everything is kept.
fn write_retention(retention: Retention) -> Option<proto::Retention> {
    let Retention { notes_days, dossier_days } = retention;
    (!retention.is_empty()).then_some(proto::Retention { notes_days, dossier_days })
}

/// What people call something: never empty.
fn parse_display_name(fields: &mut Fields, path: &str, name: &str) -> Option<String> {
    if name.is_empty() {
        fields.refuse(path, "must be set");
        return None;
    }
    parse_text(fields, path, name, MAX_DISPLAY_NAME)
}

fn parse_time_zone(fields: &mut Fields, name: &str) -> Option<Zone> {
    fields.check("program.time_zone", Zone::try_from(name.to_owned()))
}

/// As much of a tier as could be read, and the tier if that is all of it.
fn parse_tier(
    fields: &mut Fields,
    path: &str,
    tier: proto::Tier,
    currency: Option<Currency>,
) -> (TierOutline, Option<Tier>) {
    let tier_id = fields.check(format!("{path}.tier_id"), TierId::try_from(tier.tier_id));
    let display_name = parse_display_name(fields, &format!("{path}.display_name"), &tier.display_name);
    let threshold = parse_amount(fields, &format!("{path}.threshold"), tier.threshold.as_ref(), currency);
    let condition = tier.condition.as_ref();
    if condition.is_some() && threshold.is_some_and(|threshold| threshold > 0) {
        fields.refuse(format!("{path}.threshold"), "must not be set beside condition");
    }
    let condition = match condition {
        Some(condition) => parse_condition(fields, &format!("{path}.condition"), condition, currency).map(Some),
        None => Some(None),
    };
    let (outlines, benefits) = parse_benefits(fields, &format!("{path}.benefits"), tier.benefits, currency);
    let outline = TierOutline { tier_id: tier_id.clone(), threshold, condition: condition.clone(), benefits: outlines };
    let whole = || {
        Some(Tier {
            tier_id: tier_id?,
            display_name: display_name?,
            threshold: threshold?,
            condition: condition?,
            never_lost: tier.never_lost,
            benefits: benefits?,
        })
    };
    (outline, whole())
}

/// As much of benefits as could be read, and the benefits if that is all of them.
fn parse_benefits(
    fields: &mut Fields,
    path: &str,
    benefits: Vec<proto::Benefit>,
    currency: Option<Currency>,
) -> (Vec<BenefitOutline>, Option<Vec<Benefit>>) {
    if benefits.len() > MAX_BENEFITS {
        fields.refuse(path, format!("must have at most {MAX_BENEFITS} items"));
    }
    let parsed = benefits.into_iter().take(MAX_BENEFITS).enumerate().map(|(i, benefit)| {
        let path = format!("{path}[{i}]");
        let display_name = parse_display_name(fields, &format!("{path}.display_name"), &benefit.display_name);
        parse_benefit(fields, &path, benefit, display_name, currency)
    });
    let (outlines, benefits): (Vec<BenefitOutline>, Vec<Option<Benefit>>) = parsed.unzip();
    (outlines, benefits.into_iter().collect())
}

/// As much of packages as could be read, and the packages if that is all of them.
fn parse_packages(fields: &mut Fields, packages: Vec<proto::Package>) -> (Vec<PackageOutline>, Option<Vec<Package>>) {
    if packages.len() > MAX_PACKAGES {
        fields.refuse("program.packages", format!("must have at most {MAX_PACKAGES} items"));
    }
    let parsed = packages.into_iter().take(MAX_PACKAGES).enumerate().map(|(i, package)| {
        let path = format!("program.packages[{i}]");
        let display_name = parse_display_name(fields, &format!("{path}.display_name"), &package.display_name);
        parse_package(fields, &path, package, display_name)
    });
    let (outlines, packages): (Vec<PackageOutline>, Vec<Option<Package>>) = parsed.unzip();
    (outlines, packages.into_iter().collect())
}

/// As much of a campaign as could be read, and the campaign if that is all of it.
fn parse_campaign(
    fields: &mut Fields,
    path: &str,
    campaign: proto::Campaign,
    currency: Option<Currency>,
) -> (CampaignOutline, Option<Campaign>) {
    let conversion = match campaign.conversion() {
        proto::Conversion::FirstPurchase => Some(Conversion::FirstPurchase),
        proto::Conversion::Manual => Some(Conversion::Manual),
        proto::Conversion::Unspecified => {
            fields.refuse(format!("{path}.conversion"), "must be one of the named values");
            None
        }
    };
    let campaign_id = fields.check(format!("{path}.campaign_id"), CampaignId::try_from(campaign.campaign_id));
    let display_name = parse_display_name(fields, &format!("{path}.display_name"), &campaign.display_name);
    let starts_at = parse_optional_instant(fields, &format!("{path}.starts_at"), campaign.starts_at.as_ref());
    let ends_at = parse_optional_instant(fields, &format!("{path}.ends_at"), campaign.ends_at.as_ref());
    let minimum =
        parse_amount(fields, &format!("{path}.minimum_purchase"), campaign.minimum_purchase.as_ref(), currency);
    if !(0..=MAX_CONVERT_WITHIN_DAYS).contains(&campaign.convert_within_days) {
        fields.refuse(format!("{path}.convert_within_days"), "must be from 0 to 3,650; 0 means no limit");
    }
    for (field, points) in [("referrer_points", campaign.referrer_points), ("referee_points", campaign.referee_points)]
    {
        if !(0..=MAX_POINTS).contains(&points) {
            fields.refuse(format!("{path}.{field}"), "must be from 0 to 1,000,000,000,000");
        }
    }
    let outline = CampaignOutline { campaign_id: campaign_id.clone(), starts_at, ends_at };
    let whole = || {
        Some(Campaign {
            campaign_id: campaign_id?,
            display_name: display_name?,
            starts_at,
            ends_at,
            conversion: conversion?,
            minimum_purchase: minimum?,
            convert_within_days: campaign.convert_within_days,
            referrer_points: campaign.referrer_points,
            referee_points: campaign.referee_points,
        })
    };
    (outline, whole())
}

/// An amount in the program's own currency, in minor units; zero if absent.
fn parse_amount(
    fields: &mut Fields,
    path: &str,
    amount: Option<&proto::google::Money>,
    currency: Option<Currency>,
) -> Option<i64> {
    if amount.is_none() {
        return Some(0);
    }
    let money = parse_money(fields, path, amount)?;
    if currency.is_some_and(|currency| currency != money.currency) {
        fields.refuse(format!("{path}.currency_code"), "must be the program's currency");
        return None;
    }
    Some(money.minor)
}

fn write_version(version: ProgramVersion) -> proto::ProgramVersion {
    proto::ProgramVersion {
        program: Some(write_program(version.program)),
        version: version.version,
        applied_at: Some(write_instant(version.applied_at)),
        effective_from: Some(write_instant(version.effective_from)),
    }
}

fn write_program(program: Program) -> proto::Program {
    let money = |minor| Some(write_money(program.money(minor)));
    let tiers = program.tiers.iter().map(|tier| proto::Tier {
        tier_id: tier.tier_id.to_string(),
        display_name: tier.display_name.clone(),
        // Where a condition says what it takes, there is no threshold.
        threshold: if tier.condition.is_some() { None } else { money(tier.threshold) },
        condition: tier.condition.as_ref().map(|condition| write_condition(condition, &|minor| program.money(minor))),
        never_lost: tier.never_lost,
        benefits: tier.benefits.iter().map(|benefit| write_benefit(benefit, program.currency)).collect(),
    });
    let campaigns = program.campaigns.iter().map(|campaign| proto::Campaign {
        campaign_id: campaign.campaign_id.to_string(),
        display_name: campaign.display_name.clone(),
        starts_at: campaign.starts_at.map(write_instant),
        ends_at: campaign.ends_at.map(write_instant),
        conversion: match campaign.conversion {
            Conversion::FirstPurchase => proto::Conversion::FirstPurchase.into(),
            Conversion::Manual => proto::Conversion::Manual.into(),
        },
        minimum_purchase: money(campaign.minimum_purchase),
        convert_within_days: campaign.convert_within_days,
        referrer_points: campaign.referrer_points,
        referee_points: campaign.referee_points,
    });
    proto::Program {
        program_id: program.program_id.to_string(),
        display_name: program.display_name.clone(),
        currency_code: program.currency.code().to_owned(),
        time_zone: program.time_zone.to_string(),
        points_per_unit: program.points_per_unit.to_string(),
        tiers: tiers.collect(),
        campaigns: campaigns.collect(),
        points: write_points_policy(&program.points),
        retention: write_retention(program.retention),
        tier_policy: write_tier_policy(&program.tier_policy),
        extras: program.extras.iter().map(|benefit| write_benefit(benefit, program.currency)).collect(),
        packages: program.packages.iter().map(write_package).collect(),
        satisfaction: write_satisfaction_policy(&program.satisfaction),
        complaints: write_complaint_policy(&program.complaints),
        goodwill: program.goodwill.as_ref().map(write_goodwill_policy),
        lifecycle: program.lifecycle.as_ref().map(|policy| write_lifecycle_policy(policy, program.currency)),
        value_classes: program.value_classes.as_ref().map(|policy| write_value_class_policy(policy, program.currency)),
        segments: program.segments.iter().map(|segment| write_segment(segment, program.currency)).collect(),
    }
}
