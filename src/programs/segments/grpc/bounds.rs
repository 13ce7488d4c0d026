//! Clauses that bound an amount, a number or how long ago something was, on the wire.

use std::ops::RangeInclusive;

use crate::error::Fields;
use crate::programs::segments::{Bounds, SegmentCondition, SegmentEvent};
use crate::programs::tier_policy::Metric;
use crate::proto;
use crate::proto::google::Money;

pub(super) const UNNAMED: &str = "must be one of the named values";

/// From where to where a number may be, and what is told of others.
pub(super) type Within = (RangeInclusive<i64>, &'static str);

const NUMBERS: Within =
    (-1_000_000_000_000..=1_000_000_000_000, "must be from -1,000,000,000,000 to 1,000,000,000,000");
const COMPLAINTS: Within = (0..=1_000_000, "must be from 0 to 1,000,000");
const SATISFACTION: Within = (1..=5, "must be from 1 to 5");
const RECOMMENDATION: Within = (0..=10, "must be from 0 to 10");
const DAYS_AGO: Within = (0..=36_500, "must be from 0 to 36,500");
const COUNTED_DAYS: Within = (1..=1_826, "must be from 1 to 1,826");

/// Parses an amount and its bounds. `amounts` reads money of the program.
pub(super) fn parse_amount(
    fields: &mut Fields,
    path: &str,
    condition: proto::AmountCondition,
    amounts: impl Fn(&mut Fields, &str, Option<&Money>) -> Option<i64>,
) -> Option<SegmentCondition> {
    let proto::AmountCondition { amount, at_least, at_most, days } = condition;
    let metric = match proto::SegmentAmount::try_from(amount) {
        Ok(proto::SegmentAmount::Spend) => Some(Metric::Spend),
        Ok(proto::SegmentAmount::Margin) => Some(Metric::Margin),
        Ok(proto::SegmentAmount::Unspecified) | Err(_) => fields.check(format!("{path}.amount"), Err(UNNAMED)),
    };
    if at_least.is_none() && at_most.is_none() {
        fields.refuse(path, "must have at_least or at_most");
    }
    let may_be_below = metric != Some(Metric::Spend);
    let mut parse = |key: &str, money: Option<Money>| match money {
        Some(money) => parse_bound(fields, &format!("{path}.{key}"), &money, may_be_below, &amounts).map(Some),
        None => Some(None),
    };
    let (at_least, at_most) = (parse("at_least", at_least), parse("at_most", at_most));
    if at_least.flatten().zip(at_most.flatten()).is_some_and(|(least, most)| most < least) {
        fields.refuse(format!("{path}.at_most"), "must be no less than at_least");
    }
    within(fields, &format!("{path}.days"), days, COUNTED_DAYS);
    let bounds = Bounds { at_least: at_least?, at_most: at_most? };
    Some(SegmentCondition::Counted { metric: metric?, bounds, days })
}

/// An amount in minor units. Where it may be below zero, both of its parts are then, and it is read without its sign.
fn parse_bound(
    fields: &mut Fields,
    path: &str,
    money: &Money,
    may_be_below: bool,
    amounts: impl Fn(&mut Fields, &str, Option<&Money>) -> Option<i64>,
) -> Option<i64> {
    let Money { currency_code, units, nanos } = money;
    if !may_be_below || (*units >= 0 && *nanos >= 0) {
        return amounts(fields, path, Some(money));
    }
    if *units > 0 || *nanos > 0 {
        return fields.check(path, Err("must have units and nanos of one sign"));
    }
    let Some((units, nanos)) = units.checked_neg().zip(nanos.checked_neg()) else {
        return fields.check(path, Err("is larger than can be counted in minor units"));
    };
    let size = Money { currency_code: currency_code.clone(), units, nanos };
    amounts(fields, path, Some(&size)).map(|minor| -minor)
}

pub(super) fn parse_count(
    fields: &mut Fields,
    path: &str,
    condition: proto::CountCondition,
) -> Option<SegmentCondition> {
    let proto::CountCondition { count, at_least, at_most, days } = condition;
    let bounds = Bounds { at_least, at_most };
    let days_path = format!("{path}.days");
    let counted = |fields: &mut Fields, metric: Option<Metric>| {
        let bounds = parse_bounds(fields, path, ["at_least", "at_most"], bounds, NUMBERS);
        within(fields, &days_path, days, COUNTED_DAYS);
        Some(SegmentCondition::Counted { metric: metric?, bounds: bounds?, days })
    };
    let known = |fields: &mut Fields, range: Within, of: fn(Bounds) -> SegmentCondition| {
        let bounds = parse_bounds(fields, path, ["at_least", "at_most"], bounds, range);
        if days.is_some() {
            fields.refuse(days_path.as_str(), "must be absent of open complaints, satisfaction and recommendation");
        }
        bounds.map(of)
    };
    match proto::SegmentCount::try_from(count) {
        Ok(proto::SegmentCount::Purchases) => counted(fields, Some(Metric::Purchases)),
        Ok(proto::SegmentCount::ActiveDays) => counted(fields, Some(Metric::ActiveDays)),
        Ok(proto::SegmentCount::Points) => counted(fields, Some(Metric::Points)),
        Ok(proto::SegmentCount::Referrals) => counted(fields, Some(Metric::Referrals)),
        Ok(proto::SegmentCount::OpenComplaints) => known(fields, COMPLAINTS, SegmentCondition::OpenComplaints),
        Ok(proto::SegmentCount::Satisfaction) => known(fields, SATISFACTION, SegmentCondition::Satisfaction),
        Ok(proto::SegmentCount::Recommendation) => known(fields, RECOMMENDATION, SegmentCondition::Recommendation),
        Ok(proto::SegmentCount::Unspecified) | Err(_) => {
            fields.refuse(format!("{path}.count"), UNNAMED);
            counted(fields, None)
        }
    }
}

pub(super) fn parse_since(
    fields: &mut Fields,
    path: &str,
    condition: proto::SinceCondition,
) -> Option<SegmentCondition> {
    let proto::SinceCondition { event, at_least_days, at_most_days } = condition;
    let event = match proto::SegmentEvent::try_from(event) {
        Ok(proto::SegmentEvent::Joined) => Some(SegmentEvent::Joined),
        Ok(proto::SegmentEvent::FirstPurchase) => Some(SegmentEvent::FirstPurchase),
        Ok(proto::SegmentEvent::LastPurchase) => Some(SegmentEvent::LastPurchase),
        Ok(proto::SegmentEvent::TierChange) => Some(SegmentEvent::TierChange),
        Ok(proto::SegmentEvent::Unspecified) | Err(_) => fields.check(format!("{path}.event"), Err(UNNAMED)),
    };
    let days = Bounds { at_least: at_least_days.map(i64::from), at_most: at_most_days.map(i64::from) };
    let days = parse_bounds(fields, path, ["at_least_days", "at_most_days"], days, DAYS_AGO);
    Some(SegmentCondition::Since { event: event?, days: days? })
}

/// Refuses a number that is out of bounds, if it is set.
pub(super) fn within(fields: &mut Fields, path: &str, number: Option<i32>, (range, expected): Within) {
    if number.is_some_and(|number| !range.contains(&i64::from(number))) {
        fields.refuse(path, expected);
    }
}

/// Parses bounds of which one at least must be set, under these keys of a condition.
fn parse_bounds(
    fields: &mut Fields,
    path: &str,
    [low, high]: [&str; 2],
    bounds: Bounds,
    (range, expected): Within,
) -> Option<Bounds> {
    let Bounds { at_least, at_most } = bounds;
    if at_least.is_none() && at_most.is_none() {
        return fields.check(path, Err(format!("must have {low} or {high}")));
    }
    for (key, bound) in [(low, at_least), (high, at_most)] {
        if bound.is_some_and(|bound| !range.contains(&bound)) {
            fields.refuse(format!("{path}.{key}"), expected);
        }
    }
    // Each is judged by the other only where that may be.
    let fit = |bound: Option<i64>| bound.filter(|bound| range.contains(bound));
    if fit(at_least).zip(fit(at_most)).is_some_and(|(least, most)| most < least) {
        fields.refuse(format!("{path}.{high}"), format!("must be no less than {low}"));
    }
    Some(bounds)
}
