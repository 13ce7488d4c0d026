//! `TierService` on the wire.

use goldbook_api::server::{Received, tier_service_server};
use jiff::civil::Date;
use tonic::{Request, Response, Status};

use super::counting::{Counted, NotRead};
use super::outlook::{Explained, Foretold, InWindow, explain};
use super::{CustomerTier, Tiers};
use crate::access::grpc::admit;
use crate::book::{Detail, Earnings, Entry, TierDetail, TierMove};
use crate::error::{Error, Fields};
use crate::ids::CustomerId;
use crate::money::Currency;
use crate::programs::benefits::grpc::write_benefit;
use crate::programs::model::{Program, Tier};
use crate::programs::tier_policy::Condition;
use crate::programs::tier_policy::grpc::write_condition;
use crate::programs::tier_policy::windows::DayRange;
use crate::proto;
use crate::proto::fields::{parse_optional_instant, write_instant, write_money, write_signed_money};
use crate::proto::requests::{parse_customer, parse_customer_list};
use crate::telemetry;

#[tonic::async_trait]
impl tier_service_server::TierService for Tiers {
    async fn get_customer_tier(
        &self,
        request: Request<Received<proto::GetCustomerTierRequest>>,
    ) -> Result<Response<proto::GetCustomerTierResponse>, Status> {
        let (request, _) = admit(request)?;
        let mut fields = Fields::default();
        let customer = parse_customer(&mut fields, request.program_id, request.customer_id);
        let as_of = parse_optional_instant(&mut fields, "as_of", request.as_of.as_ref());
        let (program_id, customer_id) = fields.finish_with(customer)?;
        telemetry::record_program(program_id.as_str());
        let customer_tier = self.get_customer_tier(&program_id, &customer_id, as_of).await?;
        let customer_tier = Some(write_customer_tier(&customer_tier, customer_id)?);
        Ok(Response::new(proto::GetCustomerTierResponse { customer_tier }))
    }

    async fn list_tier_changes(
        &self,
        request: Request<Received<proto::ListTierChangesRequest>>,
    ) -> Result<Response<proto::ListTierChangesResponse>, Status> {
        let (request, _) = admit(request)?;
        let mut fields = Fields::default();
        let (customer, page) = parse_customer_list(&mut fields, &request, "tier_changes", &[])?;
        let (program_id, customer_id) = fields.finish_with(customer)?;
        telemetry::record_program(program_id.as_str());
        let (currency, changes, next_page_token) = self.list_tier_changes(&program_id, &customer_id, &page).await?;
        let tier_changes = changes.iter().filter_map(|change| write_tier_change(change, currency)).collect();
        Ok(Response::new(proto::ListTierChangesResponse { tier_changes, next_page_token }))
    }
}

fn write_customer_tier(customer_tier: &CustomerTier, customer_id: CustomerId) -> Result<proto::CustomerTier, Error> {
    let CustomerTier { standing, history, earned, changed, cause, policy, tier, as_of, .. } = customer_tier;
    let program = &policy.program;
    let explained = explain(policy, standing, history, *as_of).map_err(|NotRead| {
        Error::Internal(format!("days of the standing of account {} were not read", changed.account_id.0))
    })?;
    let Explained { present, next, keeping, forecast } = explained;
    Ok(proto::CustomerTier {
        customer_id: customer_id.into(),
        tier_id: tier.tier_id.to_string(),
        display_name: tier.display_name.clone(),
        since: Some(write_instant(standing.since)),
        policy_version: standing.policy_version,
        qualifying_spend: Some(write_signed_money(program.currency, present.counted.spend)),
        next: next.map(|next| write_next(program, next, &present.counted)),
        benefits: tier.benefits.iter().map(|benefit| write_benefit(benefit, program.currency)).collect(),
        // A tier that was taken over is its own beginning.
        cause_entry_ids: Some(cause).filter(|cause| *cause != changed).map(ToString::to_string).into_iter().collect(),
        entry_id: changed.to_string(),
        as_of: Some(write_instant(*as_of)),
        valid_until: standing.outlook.ends_at.map(write_instant),
        counted: Some(write_counts(program.currency, present.days, &present.counted)),
        keeping: keeping.map(|(tier, window)| write_keeping(program, tier, window)),
        forecast: forecast.iter().map(write_forecast).collect(),
        earned: earned.as_ref().map(|(spend, earned)| write_earned(program.currency, *spend, earned)),
    })
}

fn write_next(program: &Program, next: &Tier, counted: &Counted) -> proto::NextTier {
    let threshold = Some(next.threshold).filter(|_| next.condition.is_none());
    let money = |minor| write_money(program.money(minor));
    proto::NextTier {
        tier_id: next.tier_id.to_string(),
        display_name: next.display_name.clone(),
        threshold: threshold.map(money),
        missing: threshold.map(|threshold| money(threshold.saturating_sub(counted.spend).max(0))),
        condition: Some(write_condition(&next.condition(), &|minor| program.money(minor))),
        progress: write_progress(program, next, counted),
    }
}

fn write_keeping(program: &Program, tier: &Tier, window: InWindow) -> proto::TierKeeping {
    proto::TierKeeping {
        counted: Some(write_counts(program.currency, window.days, &window.counted)),
        condition: Some(write_condition(&tier.condition(), &|minor| program.money(minor))),
        progress: write_progress(program, tier, &window.counted),
        met: tier.condition().holds(&|metric| window.counted.of(metric)),
    }
}

fn write_progress(program: &Program, tier: &Tier, counted: &Counted) -> Vec<proto::TierProgress> {
    let write = |metric, amount| write_condition(&Condition::AtLeast(metric, amount), &|minor| program.money(minor));
    let criteria = tier.condition().criteria().into_iter();
    let progress = criteria.map(|(metric, least)| {
        let missing = Some(least.saturating_sub(counted.of(metric))).filter(|missing| *missing > 0);
        proto::TierProgress {
            criterion: Some(write(metric, least)),
            missing: missing.map(|missing| write(metric, missing)),
        }
    });
    progress.collect()
}

fn write_counts(currency: Currency, days: DayRange, counted: &Counted) -> proto::TierCounts {
    proto::TierCounts {
        from: days.from.map(write_day),
        until: days.until.map(write_day),
        spend: Some(write_signed_money(currency, counted.spend)),
        margin: Some(write_signed_money(currency, counted.margin)),
        points: counted.points,
        purchases: counted.purchases,
        active_days: counted.active_days,
        referrals: counted.referrals,
    }
}

fn write_earned(currency: Currency, spend: i64, earned: &Earnings) -> proto::TierCounts {
    let Earnings { from, until, margin, points, purchases, active_days, referrals } = *earned;
    let counted = Counted { spend, margin, points, purchases, active_days, referrals };
    write_counts(currency, DayRange { from, until }, &counted)
}

fn write_day(day: Date) -> proto::google::Date {
    proto::google::Date { year: day.year().into(), month: day.month().into(), day: day.day().into() }
}

fn write_forecast(foretold: &Foretold) -> proto::TierForecast {
    proto::TierForecast {
        tier_id: foretold.to.to_string(),
        change: write_move(foretold.kind).into(),
        at: Some(write_instant(foretold.at)),
    }
}

const fn write_move(change: Option<TierMove>) -> proto::TierChangeKind {
    match change {
        None => proto::TierChangeKind::Upgraded,
        Some(TierMove::Downgraded) => proto::TierChangeKind::Downgraded,
        Some(TierMove::Renewed) => proto::TierChangeKind::Renewed,
        Some(TierMove::Redecided) => proto::TierChangeKind::Redecided,
    }
}

/// A decision about a tier on the wire, with amounts in a currency; nothing for any other entry.
#[must_use]
pub(crate) fn write_tier_change(entry: &Entry, currency: Currency) -> Option<proto::TierChange> {
    let (from, to, change, outlook, earned) = match &entry.detail {
        Detail::Tier(TierDetail::TierChanged { from, to, change, outlook, earned, qualifying_spend, .. }) => {
            let change = from.as_ref().map_or(proto::TierChangeKind::Joined, |_| write_move(*change));
            (from.as_ref(), to, change, outlook, earned.map(|earned| (*qualifying_spend, earned)))
        }
        Detail::Tier(TierDetail::TierImported { from, to, outlook, .. }) if from != to => {
            (Some(from), to, proto::TierChangeKind::Imported, outlook, None)
        }
        Detail::Tier(TierDetail::TierImported { .. } | TierDetail::ReferralCounted { .. })
        | Detail::Program(_)
        | Detail::Customer(_)
        | Detail::Activity(_)
        | Detail::Points(_)
        | Detail::Benefit(_)
        | Detail::Referral(_) => return None,
    };
    Some(proto::TierChange {
        from_tier_id: from.map(ToString::to_string).unwrap_or_default(),
        to_tier_id: to.to_string(),
        policy_version: entry.policy_version,
        effective_at: Some(write_instant(entry.effective_at)),
        entry_id: entry.id.to_string(),
        cause_entry_ids: entry.causes.iter().map(ToString::to_string).collect(),
        change: change.into(),
        valid_until: outlook.ends_at.map(write_instant),
        earned: earned.map(|(spend, earned)| write_earned(currency, spend, &earned)),
    })
}
