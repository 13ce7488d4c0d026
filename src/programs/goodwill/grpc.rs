//! What a program says of goodwill, on the wire.

use std::collections::BTreeSet;

use goldbook_api::values::MAX_POINTS;

use super::{GoodwillBenefit, GoodwillLimit, GoodwillParty, GoodwillPolicy};
use crate::error::{Fields, Violation};
use crate::programs::benefits::BenefitOutline;
use crate::programs::faults::TierOutline;
use crate::programs::packages::faults::{NamedBenefit, find_named_benefit_fault};
use crate::programs::packages::grpc::{parse_packed, write_packed};
use crate::programs::points::grpc::{parse_calendar_period, write_calendar_period};
use crate::proto;

/// One for each party and kind of period.
const MAX_LIMITS: usize = 12;
const MAX_BENEFITS: usize = 32;

/// The benefits that a policy names, as far as they could be read.
pub(in crate::programs) type GoodwillOutline = Vec<Option<NamedBenefit>>;

/// The benefits that the policy names, and the policy; none inside, if it is absent.
pub(in crate::programs) fn parse_goodwill_policy(
    fields: &mut Fields,
    path: &str,
    policy: Option<proto::GoodwillPolicy>,
) -> (GoodwillOutline, Option<Option<GoodwillPolicy>>) {
    let Some(proto::GoodwillPolicy { most_at_once, limits, benefits }) = policy else {
        return (Vec::new(), Some(None));
    };
    if most_at_once.is_some_and(|points| !(1..=MAX_POINTS).contains(&points)) {
        fields.refuse(format!("{path}.most_at_once"), "must be from 1 to 1,000,000,000,000; absent for no limit");
    }
    let mut bound = |field: &str, count: usize, max: usize| {
        if count > max {
            fields.refuse(format!("{path}.{field}"), format!("must have at most {max} items"));
        }
    };
    bound("limits", limits.len(), MAX_LIMITS);
    bound("benefits", benefits.len(), MAX_BENEFITS);
    let limits = parse_limits(fields, path, limits);
    let benefits = benefits.into_iter().take(MAX_BENEFITS).enumerate();
    let benefits: Vec<Option<GoodwillBenefit>> =
        benefits.map(|(i, benefit)| parse_benefit(fields, &format!("{path}.benefits[{i}]"), benefit)).collect();
    let named = |it: &GoodwillBenefit| (it.benefit.benefit_id.clone(), it.benefit.tier_id.clone());
    let outline = benefits.iter().map(|benefit| benefit.as_ref().map(named)).collect();
    let whole = || {
        let benefits = benefits.into_iter().collect::<Option<_>>()?;
        Some(Some(GoodwillPolicy { most_at_once, limits: limits?, benefits }))
    };
    (outline, whole())
}

fn parse_points(fields: &mut Fields, path: &str, points: i64) -> Option<i64> {
    if (1..=MAX_POINTS).contains(&points) {
        return Some(points);
    }
    fields.check(format!("{path}.points"), Err("must be from 1 to 1,000,000,000,000"))
}

fn parse_limits(fields: &mut Fields, path: &str, limits: Vec<proto::GoodwillLimit>) -> Option<Vec<GoodwillLimit>> {
    let mut parsed: Vec<Option<GoodwillLimit>> = Vec::new();
    for (i, limit) in limits.into_iter().take(MAX_LIMITS).enumerate() {
        let path = format!("{path}.limits[{i}]");
        let limit = parse_limit(fields, &path, limit);
        let is_said = |limit: GoodwillLimit| {
            parsed.iter().flatten().any(|other| (other.of, other.period) == (limit.of, limit.period))
        };
        if limit.is_some_and(is_said) {
            fields.refuse(format!("{path}.period"), "must be unique among the limits of one party");
        }
        parsed.push(limit);
    }
    parsed.into_iter().collect()
}

fn parse_limit(fields: &mut Fields, path: &str, limit: proto::GoodwillLimit) -> Option<GoodwillLimit> {
    let of = match proto::GoodwillParty::try_from(limit.of) {
        Ok(proto::GoodwillParty::Person) => Some(GoodwillParty::Person),
        Ok(proto::GoodwillParty::Customer) => Some(GoodwillParty::Customer),
        Ok(proto::GoodwillParty::Unspecified) | Err(_) => {
            fields.check(format!("{path}.of"), Err("must be one of the named values"))
        }
    };
    let period = parse_calendar_period(fields, &format!("{path}.period"), limit.period);
    if period == Some(None) {
        fields.refuse(format!("{path}.period"), "must be set");
    }
    let points = parse_points(fields, path, limit.points);
    Some(GoodwillLimit { of: of?, period: period.flatten()?, points: points? })
}

fn parse_benefit(fields: &mut Fields, path: &str, benefit: proto::GoodwillBenefit) -> Option<GoodwillBenefit> {
    let proto::GoodwillBenefit { benefit_id, tier_id, quantity, valid_for, points } = benefit;
    let points = parse_points(fields, path, points);
    let benefit = parse_packed(fields, path, proto::PackagedBenefit { benefit_id, tier_id, quantity, valid_for });
    Some(GoodwillBenefit { benefit: benefit?, points: points? })
}

/// Notes what is unsound across the goodwill of a document and its tiers and extras.
pub(in crate::programs) fn find_goodwill_faults(
    benefits: &GoodwillOutline,
    tiers: &[TierOutline],
    extras: &[BenefitOutline],
) -> Vec<Violation> {
    let (mut faults, mut benefit_ids) = (Vec::new(), BTreeSet::new());
    for (i, named) in benefits.iter().enumerate() {
        let Some(named) = named else { continue };
        let field = format!("program.goodwill.benefits[{i}]");
        if !benefit_ids.insert(&named.0) {
            let description = "must be unique among the benefits of goodwill".to_owned();
            faults.push(Violation { field: format!("{field}.benefit_id"), description });
        }
        faults.extend(find_named_benefit_fault(tiers, extras, &field, named));
    }
    faults
}

/// A policy on the wire.
pub(in crate::programs) fn write_goodwill_policy(policy: &GoodwillPolicy) -> proto::GoodwillPolicy {
    let GoodwillPolicy { most_at_once, limits, benefits } = policy;
    let limits = limits.iter().map(|limit| proto::GoodwillLimit {
        of: write_party(limit.of).into(),
        period: write_calendar_period(limit.period).into(),
        points: limit.points,
    });
    let benefits = benefits.iter().map(|benefit| {
        let proto::PackagedBenefit { benefit_id, tier_id, quantity, valid_for } = write_packed(&benefit.benefit);
        proto::GoodwillBenefit { benefit_id, tier_id, quantity, valid_for, points: benefit.points }
    });
    proto::GoodwillPolicy { most_at_once: *most_at_once, limits: limits.collect(), benefits: benefits.collect() }
}

const fn write_party(party: GoodwillParty) -> proto::GoodwillParty {
    match party {
        GoodwillParty::Person => proto::GoodwillParty::Person,
        GoodwillParty::Customer => proto::GoodwillParty::Customer,
    }
}
