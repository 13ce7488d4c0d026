//! Writes standings and their changes.

use crate::book::grpc::write_reason;
use crate::book::{Detail, DowngradeTime, Earnings, Entry, OverrideForce, TierDetail, TierMove};
use crate::error::Error;
use crate::ids::{CustomerId, EntryId};
use crate::money::Currency;
use crate::programs::benefits::grpc::write_benefit;
use crate::programs::model::{Program, Tier};
use crate::programs::tier_policy::Condition;
use crate::programs::tier_policy::grpc::write_condition;
use crate::programs::tier_policy::windows::DayRange;
use crate::proto;
use crate::proto::fields::{write_day, write_instant, write_money, write_signed_money};
use crate::tiers::counting::{Counted, NotRead};
use crate::tiers::outlook::{Explained, Foretold, InWindow, Move, explain};
use crate::tiers::overriding::valid_until;
use crate::tiers::reevaluation::state::Progress;
use crate::tiers::standing::TierOverride;
use crate::tiers::{CustomerTier, SetBy};

/// How much of a standing an answer tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All there is to say.
    Whole,
    /// What fits into an answer beside a thousand others.
    Brief,
}

/// A customer's standing on the wire.
pub(super) fn write_customer_tier(
    customer_tier: &CustomerTier,
    customer_id: CustomerId,
    extent: Extent,
) -> Result<proto::CustomerTier, Error> {
    let CustomerTier { standing, history, earned, changed, cause, set_by, policy, tier, as_of, .. } = customer_tier;
    let is_whole = extent == Extent::Whole;
    let program = &policy.program;
    let explained = explain(policy, standing, history, *as_of, is_whole).map_err(|NotRead| {
        Error::Internal(format!("days of the standing of account {} were not read", changed.account_id.0))
    })?;
    let Explained { present, next, keeping, forecast } = explained;
    // Where the override gives the tier, it is the reason, and what was decided stands behind it.
    let gives = standing.forced.as_ref().is_some_and(|forced| forced.hidden != standing.tier_id);
    let forced = set_by.as_ref().filter(|_| gives);
    Ok(proto::CustomerTier {
        customer_id: customer_id.into(),
        tier_id: tier.tier_id.to_string(),
        display_name: tier.display_name.clone(),
        since: Some(write_instant(standing.since)),
        policy_version: forced.map_or(standing.policy_version, |set_by| set_by.policy_version),
        qualifying_spend: Some(write_signed_money(program.currency, present.counted.spend)),
        next: next.map(|next| write_next(program, next, &present.counted, extent)),
        // As benefits are used: a tier that the version in force has no more gives nothing.
        benefits: program
            .tier(&tier.tier_id)
            .iter()
            .flat_map(|tier| &tier.benefits)
            .filter(|_| is_whole)
            .map(|benefit| write_benefit(benefit, program.currency))
            .collect(),
        // A tier that was taken over is its own beginning, and so is one that was set by hand.
        cause_entry_ids: Some(cause)
            .filter(|cause| *cause != changed && forced.is_none())
            .map(ToString::to_string)
            .into_iter()
            .collect(),
        entry_id: forced.map_or(changed, |set_by| &set_by.entry_id).to_string(),
        as_of: Some(write_instant(*as_of)),
        valid_until: valid_until(standing).map(write_instant),
        counted: Some(write_counts(program.currency, present.days, &present.counted)),
        keeping: keeping.map(|(tier, window)| write_keeping(program, tier, window)),
        forecast: forecast.iter().map(write_forecast).collect(),
        earned: earned
            .as_ref()
            .filter(|_| forced.is_none())
            .map(|(spend, earned)| write_earned(program.currency, *spend, earned)),
        r#override: standing.forced.as_ref().zip(set_by.as_ref()).map(|(forced, by)| write_override(forced, by)),
        hidden_tier_id: standing.forced.as_ref().map(|forced| forced.hidden.to_string()).unwrap_or_default(),
    })
}

/// An override that is in force, and who set it.
fn write_override(forced: &TierOverride, set_by: &SetBy) -> proto::TierOverride {
    proto::TierOverride {
        kind: write_force(forced.force).into(),
        tier_id: forced.tier_id.to_string(),
        ends_at: forced.ends_at.map(write_instant),
        set_at: Some(write_instant(set_by.set_at)),
        reason: write_reason(set_by.reason).into(),
        author: set_by.author.clone(),
        note: set_by.note.clone(),
        entry_id: set_by.entry_id.to_string(),
    }
}

const fn write_force(force: OverrideForce) -> proto::TierOverrideKind {
    match force {
        OverrideForce::Floor => proto::TierOverrideKind::Floor,
        OverrideForce::Lock => proto::TierOverrideKind::Lock,
    }
}

/// The override that an entry set; who set it, stands elsewhere.
fn write_set_override(detail: &TierDetail, entry_id: EntryId) -> Option<proto::TierOverride> {
    match detail {
        TierDetail::TierOverridden { tier_id, force, ends_at, .. } => Some(proto::TierOverride {
            kind: write_force(*force).into(),
            tier_id: tier_id.to_string(),
            ends_at: ends_at.map(write_instant),
            entry_id: entry_id.to_string(),
            ..proto::TierOverride::default()
        }),
        TierDetail::TierImported { .. }
        | TierDetail::TierChanged { .. }
        | TierDetail::TierReleased { .. }
        | TierDetail::ReferralCounted { .. } => None,
    }
}

fn write_next(program: &Program, next: &Tier, counted: &Counted, extent: Extent) -> proto::NextTier {
    let is_whole = extent == Extent::Whole;
    let threshold = Some(next.threshold).filter(|_| next.condition.is_none());
    let money = |minor| write_money(program.money(minor));
    proto::NextTier {
        tier_id: next.tier_id.to_string(),
        display_name: next.display_name.clone(),
        threshold: threshold.map(money),
        missing: threshold.map(|threshold| money(threshold.saturating_sub(counted.spend).max(0))),
        condition: is_whole.then(|| write_condition(&next.condition(), &|minor| program.money(minor))),
        progress: if is_whole { write_progress(program, next, counted) } else { Vec::new() },
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

fn write_forecast(foretold: &Foretold) -> proto::TierForecast {
    proto::TierForecast {
        tier_id: foretold.to.to_string(),
        change: match foretold.what {
            Move::Decided(change) => write_move(change).into(),
            Move::Released => proto::TierChangeKind::Released.into(),
        },
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
    let Detail::Tier(detail) = &entry.detail else { return None };
    let (from, to, kind, hidden, (ends_at, earned)) = match detail {
        TierDetail::TierChanged { from, to, hidden, change, outlook, earned, qualifying_spend, .. } => {
            let kind = from.as_ref().map_or(proto::TierChangeKind::Joined, |_| write_move(*change));
            let earned = earned.map(|earned| write_earned(currency, *qualifying_spend, &earned));
            (from.as_ref(), to, kind, hidden.as_ref(), (outlook.ends_at, earned))
        }
        TierDetail::TierImported { from, to, hidden, outlook, .. } if from != to || hidden.is_some() => {
            (Some(from), to, proto::TierChangeKind::Imported, hidden.as_ref(), (outlook.ends_at, None))
        }
        TierDetail::TierOverridden { from, to, hidden, .. } => {
            (Some(from), to, proto::TierChangeKind::Overridden, Some(hidden), (None, None))
        }
        TierDetail::TierReleased { from, to, .. } => {
            (Some(from), to, proto::TierChangeKind::Released, None, (None, None))
        }
        TierDetail::TierImported { .. } | TierDetail::ReferralCounted { .. } => return None,
    };
    Some(proto::TierChange {
        from_tier_id: from.map(ToString::to_string).unwrap_or_default(),
        to_tier_id: to.to_string(),
        policy_version: entry.policy_version,
        effective_at: Some(write_instant(entry.effective_at)),
        entry_id: entry.id.to_string(),
        cause_entry_ids: entry.causes.iter().map(ToString::to_string).collect(),
        change: kind.into(),
        valid_until: ends_at.map(write_instant),
        earned,
        hidden_tier_id: hidden.map(ToString::to_string).unwrap_or_default(),
        r#override: write_set_override(detail, entry.id),
    })
}

/// An order, and how far it has come, on the wire.
pub(super) fn write_reevaluation(progress: &Progress) -> proto::TierReevaluation {
    let Progress { order, tally, ended_at, superseded } = progress;
    proto::TierReevaluation {
        reevaluation_id: order.entry_id.to_string(),
        version: order.version,
        downgrades: match order.downgrades {
            DowngradeTime::AtOnce => proto::DowngradeTime::AtOnce,
            DowngradeTime::AtOwnEnd => proto::DowngradeTime::AtOwnEnd,
        }
        .into(),
        ordered_at: Some(write_instant(order.ordered_at)),
        customers_done: tally.customers_done,
        raised: tally.raised,
        lowered: tally.lowered,
        redecided: tally.redecided,
        left_out: tally.left_out,
        ended_at: ended_at.map(write_instant),
        superseded: *superseded,
    }
}
