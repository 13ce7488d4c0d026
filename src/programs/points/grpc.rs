//! The points policy on the wire. Grants that say for themselves when their points vest and expire use the same rules.

use goldbook_api::values::MAX_POINTS;
use jiff::Timestamp;

use super::{
    CalendarPeriod, Clawback, END_OF_TIME, EarningLimits, ExpiryRule, Period, PeriodCap, PointsPolicy,
    RedemptionLimits, Reinstatement, VestingRule,
};
use crate::error::Fields;
use crate::money::Rate;
use crate::proto;
use crate::proto::fields::{parse_instant_to, write_instant};

/// One cap for each kind of calendar period.
const MAX_PERIOD_CAPS: usize = 6;

/// Parses what a program says of points; the default, if absent.
pub fn parse_points_policy(
    fields: &mut Fields,
    path: &str,
    policy: Option<&proto::PointsPolicy>,
) -> Option<PointsPolicy> {
    let Some(policy) = policy else { return Some(PointsPolicy::default()) };
    let vesting = parse_vesting(fields, &format!("{path}.vesting"), policy.vesting.as_ref());
    let expiry = parse_expiry(fields, &format!("{path}.expiry"), policy.expiry.as_ref());
    let redemption = parse_redemption(fields, &format!("{path}.redemption"), policy.redemption.unwrap_or_default());
    let earning = parse_earning(fields, &format!("{path}.earning"), policy.earning.as_ref());
    let reinstatement = policy.reinstatement.as_ref();
    let reinstatement = reinstatement.map(|it| parse_reinstatement(fields, &format!("{path}.reinstatement"), it));
    let clawback = parse_clawback(fields, &format!("{path}.clawback"), policy.clawback);
    let hold_for = Some(&policy.hold_for).filter(|period| !period.is_empty());
    let hold_for = hold_for.map(|period| parse_period(fields, &format!("{path}.hold_for"), period));
    let point_value = Some(&policy.point_value).filter(|value| !value.is_empty());
    let point_value = point_value.map(|value| parse_point_value(fields, &format!("{path}.point_value"), value));
    let policy = PointsPolicy {
        vesting: vesting?,
        expiry: expiry?,
        redemption: redemption?,
        earning: earning?,
        reinstatement: kept(reinstatement)?,
        clawback: clawback?,
        hold_for: kept(hold_for)?,
        point_value: kept(point_value)?,
    };
    Some(policy.without_defaults())
}

/// What was absent stays absent; what was there and did not parse fails the whole.
fn kept<T>(parsed: Option<Option<T>>) -> Option<Option<T>> {
    parsed.map_or(Some(None), |parsed| parsed.map(Some))
}

/// Parses when granted points become available; at once, if absent.
pub fn parse_vesting(fields: &mut Fields, path: &str, rule: Option<&proto::VestingRule>) -> Option<VestingRule> {
    use proto::vesting_rule::Rule;

    let Some(rule) = rule else { return Some(VestingRule::default()) };
    match &rule.rule {
        Some(Rule::Immediate(())) => Some(VestingRule::Immediate),
        Some(Rule::At(at)) => parse_rule_instant(fields, &format!("{path}.at"), at).map(VestingRule::At),
        Some(Rule::After(period)) => parse_period(fields, &format!("{path}.after"), period).map(VestingRule::After),
        Some(Rule::OnEventWithin(period)) => {
            parse_period(fields, &format!("{path}.on_event_within"), period).map(VestingRule::OnEvent)
        }
        // Perhaps a way that only a newer caller knows: taking it for the default could give points away.
        None => {
            fields.refuse(path, "must be one of immediate, at, after and on_event_within");
            None
        }
    }
}

/// Parses when points expire; never, if absent. The caller checks whether [`ExpiryRule::Sliding`] may be said here.
pub fn parse_expiry(fields: &mut Fields, path: &str, rule: Option<&proto::ExpiryRule>) -> Option<ExpiryRule> {
    let Some(rule) = rule else { return Some(ExpiryRule::default()) };
    parse_expiry_of(fields, path, rule, "must be one of never, at, after and sliding")
}

/// As [`parse_expiry`], of a rule that is there; `ways` names those that may be said here.
fn parse_expiry_of(fields: &mut Fields, path: &str, rule: &proto::ExpiryRule, ways: &str) -> Option<ExpiryRule> {
    use proto::expiry_rule::Rule;

    match &rule.rule {
        Some(Rule::Never(())) => Some(ExpiryRule::Never),
        Some(Rule::At(at)) => parse_rule_instant(fields, &format!("{path}.at"), at).map(ExpiryRule::At),
        Some(Rule::After(after)) => {
            let period = parse_period(fields, &format!("{path}.after.period"), &after.period);
            let round_to = parse_calendar_period(fields, &format!("{path}.after.round_to"), after.round_to);
            Some(ExpiryRule::After { period: period?, round_to: round_to? })
        }
        Some(Rule::Sliding(period)) => {
            parse_period(fields, &format!("{path}.sliding"), period).map(ExpiryRule::Sliding)
        }
        // As above: points that should expire would stay for ever.
        None => {
            fields.refuse(path, ways);
            None
        }
    }
}

/// Parses when the points of one lot expire; none, if absent. Sliding expiry concerns the whole balance and is the
/// program's alone.
pub fn parse_own_expiry(fields: &mut Fields, path: &str, rule: Option<&proto::ExpiryRule>) -> Option<ExpiryRule> {
    let expiry = parse_expiry_of(fields, path, rule?, "must be one of never, at and after");
    if matches!(expiry, Some(ExpiryRule::Sliding(_))) {
        fields.refuse(path, "must be never, at or after; sliding expiry is the program's alone");
    }
    expiry
}

/// Parses a period that must be there, such as `P90D`.
pub fn parse_period(fields: &mut Fields, path: &str, period: &str) -> Option<Period> {
    fields.check(path, Period::parse(period))
}

/// An instant that the book can count with.
pub fn parse_rule_instant(fields: &mut Fields, path: &str, at: &prost_types::Timestamp) -> Option<Timestamp> {
    parse_instant_to(fields, path, at, END_OF_TIME)
}

/// A calendar period, if one is named at all; none inside, if not.
pub(crate) fn parse_calendar_period(fields: &mut Fields, path: &str, period: i32) -> Option<Option<CalendarPeriod>> {
    match proto::CalendarPeriod::try_from(period) {
        Ok(proto::CalendarPeriod::Unspecified) => Some(None),
        Ok(proto::CalendarPeriod::Day) => Some(Some(CalendarPeriod::Day)),
        Ok(proto::CalendarPeriod::Week) => Some(Some(CalendarPeriod::Week)),
        Ok(proto::CalendarPeriod::Month) => Some(Some(CalendarPeriod::Month)),
        Ok(proto::CalendarPeriod::Quarter) => Some(Some(CalendarPeriod::Quarter)),
        Ok(proto::CalendarPeriod::Half) => Some(Some(CalendarPeriod::Half)),
        Ok(proto::CalendarPeriod::Year) => Some(Some(CalendarPeriod::Year)),
        Err(_) => {
            fields.refuse(path, "must be one of the named values");
            None
        }
    }
}

/// A number of points of at least one, if it is said at all; none inside, if not.
fn parse_points(fields: &mut Fields, path: &str, points: Option<i64>) -> Option<Option<i64>> {
    if points.is_some_and(|points| points < 1) {
        fields.refuse(path, "must be 1 or more");
        return None;
    }
    Some(points)
}

/// As [`parse_points`], of one entry.
fn parse_points_at_once(fields: &mut Fields, path: &str, points: Option<i64>) -> Option<Option<i64>> {
    if points.is_some_and(|points| !(1..=MAX_POINTS).contains(&points)) {
        fields.refuse(path, "must be from 1 to 1,000,000,000,000");
        return None;
    }
    Some(points)
}

fn parse_redemption(fields: &mut Fields, path: &str, limits: proto::RedemptionLimits) -> Option<RedemptionLimits> {
    let minimum = parse_points_at_once(fields, &format!("{path}.minimum"), limits.minimum);
    let step = parse_points_at_once(fields, &format!("{path}.step"), limits.step);
    let maximum = parse_points_at_once(fields, &format!("{path}.maximum"), limits.maximum);
    let limits = || Some(RedemptionLimits { minimum: minimum?, step: step?, maximum: maximum? });
    let whole = limits();
    // A number that is bad in itself is told of once, and hides nothing of the others.
    let (minimum, step, maximum) = (minimum.flatten(), step.flatten(), maximum.flatten());
    let is_off_step = |points: Option<i64>| {
        points.zip(step).is_some_and(|(points, step)| points.checked_rem(step).is_some_and(|rest| rest != 0))
    };
    if is_off_step(minimum) {
        fields.refuse(format!("{path}.minimum"), "must be a multiple of step");
    }
    if is_off_step(maximum) {
        fields.refuse(format!("{path}.maximum"), "must be a multiple of step");
    }
    if minimum.zip(maximum).is_some_and(|(minimum, maximum)| minimum > maximum) {
        fields.refuse(format!("{path}.maximum"), "must not be below minimum");
    }
    whole
}

fn parse_earning(fields: &mut Fields, path: &str, limits: Option<&proto::EarningLimits>) -> Option<EarningLimits> {
    let Some(limits) = limits else { return Some(EarningLimits::default()) };
    let per_transaction = parse_points_at_once(fields, &format!("{path}.per_transaction"), limits.per_transaction);
    if limits.per_period.len() > MAX_PERIOD_CAPS {
        fields.refuse(format!("{path}.per_period"), format!("must have at most {MAX_PERIOD_CAPS} items"));
    }
    let mut kinds = Vec::new();
    let mut caps = Vec::new();
    for (i, cap) in limits.per_period.iter().take(MAX_PERIOD_CAPS).enumerate() {
        let path = format!("{path}.per_period[{i}]");
        let period = parse_calendar_period(fields, &format!("{path}.period"), cap.period);
        let points = parse_points(fields, &format!("{path}.points"), Some(cap.points));
        match period.flatten() {
            Some(kind) if kinds.contains(&kind) => {
                fields.refuse(format!("{path}.period"), "must be unique among the caps");
            }
            Some(kind) => kinds.push(kind),
            None if period.is_some() => fields.refuse(format!("{path}.period"), "must be set"),
            // Refused above.
            None => {}
        }
        caps.push(period.flatten().zip(points.flatten()).map(|(period, points)| PeriodCap { period, points }));
    }
    Some(EarningLimits { per_transaction: per_transaction?, per_period: caps.into_iter().collect::<Option<_>>()? })
}

fn parse_reinstatement(fields: &mut Fields, path: &str, rule: &proto::Reinstatement) -> Option<Reinstatement> {
    let within = parse_period(fields, &format!("{path}.within"), &rule.within);
    let valid_for = parse_period(fields, &format!("{path}.valid_for"), &rule.valid_for);
    Some(Reinstatement { within: within?, valid_for: valid_for? })
}

/// A clawback that a request may leave to the program.
pub fn parse_optional_clawback(fields: &mut Fields, path: &str, clawback: i32) -> Option<Clawback> {
    if clawback == i32::from(proto::Clawback::Unspecified) { None } else { parse_clawback(fields, path, clawback) }
}

fn parse_clawback(fields: &mut Fields, path: &str, clawback: i32) -> Option<Clawback> {
    match proto::Clawback::try_from(clawback) {
        Ok(proto::Clawback::Unspecified) => Some(Clawback::default()),
        Ok(proto::Clawback::UnspentOnly) => Some(Clawback::UnspentOnly),
        Ok(proto::Clawback::WithinBalance) => Some(Clawback::WithinBalance),
        Ok(proto::Clawback::AllowDebt) => Some(Clawback::AllowDebt),
        Err(_) => {
            fields.refuse(path, "must be one of the named values");
            None
        }
    }
}

fn parse_point_value(fields: &mut Fields, path: &str, value: &str) -> Option<Rate> {
    let rate = fields.check(path, Rate::parse(value))?;
    fields
        .check(path, if rate.is_zero() { Err("must be above zero; leave it out if it is not known") } else { Ok(rate) })
}

/// A points policy on the wire; none for the default. What is the default in it is left out, but for the clawback.
#[must_use]
pub fn write_points_policy(policy: &PointsPolicy) -> Option<proto::PointsPolicy> {
    let PointsPolicy { vesting, expiry, redemption, earning, reinstatement, clawback, hold_for, point_value } = policy;
    (*policy != PointsPolicy::default()).then(|| proto::PointsPolicy {
        vesting: (*vesting != VestingRule::default()).then(|| write_vesting(vesting)),
        expiry: (*expiry != ExpiryRule::default()).then(|| write_expiry(expiry)),
        redemption: (*redemption != RedemptionLimits::default()).then_some(proto::RedemptionLimits {
            minimum: redemption.minimum,
            step: redemption.step,
            maximum: redemption.maximum,
        }),
        earning: (*earning != EarningLimits::default()).then(|| proto::EarningLimits {
            per_transaction: earning.per_transaction,
            per_period: earning.per_period.iter().copied().map(write_period_cap).collect(),
        }),
        reinstatement: reinstatement.as_ref().map(|rule| proto::Reinstatement {
            within: rule.within.to_string(),
            valid_for: rule.valid_for.to_string(),
        }),
        clawback: write_clawback(*clawback).into(),
        hold_for: hold_for.as_ref().map(ToString::to_string).unwrap_or_default(),
        point_value: point_value.as_ref().map(ToString::to_string).unwrap_or_default(),
    })
}

/// When granted points become available, on the wire.
#[must_use]
pub fn write_vesting(vesting: &VestingRule) -> proto::VestingRule {
    use proto::vesting_rule::Rule;

    let rule = match vesting {
        VestingRule::Immediate => Rule::Immediate(()),
        VestingRule::At(instant) => Rule::At(write_instant(*instant)),
        VestingRule::After(period) => Rule::After(period.to_string()),
        VestingRule::OnEvent(period) => Rule::OnEventWithin(period.to_string()),
    };
    proto::VestingRule { rule: Some(rule) }
}

/// When points expire, on the wire.
#[must_use]
pub fn write_expiry(expiry: &ExpiryRule) -> proto::ExpiryRule {
    use proto::expiry_rule::{After, Rule};

    let rule = match expiry {
        ExpiryRule::Never => Rule::Never(()),
        ExpiryRule::At(instant) => Rule::At(write_instant(*instant)),
        ExpiryRule::After { period, round_to } => Rule::After(After {
            period: period.to_string(),
            round_to: round_to.map_or(proto::CalendarPeriod::Unspecified, write_calendar_period).into(),
        }),
        ExpiryRule::Sliding(period) => Rule::Sliding(period.to_string()),
    };
    proto::ExpiryRule { rule: Some(rule) }
}

fn write_period_cap(cap: PeriodCap) -> proto::PeriodCap {
    proto::PeriodCap { period: write_calendar_period(cap.period).into(), points: cap.points }
}

/// A calendar period on the wire.
#[must_use]
pub(crate) const fn write_calendar_period(period: CalendarPeriod) -> proto::CalendarPeriod {
    match period {
        CalendarPeriod::Day => proto::CalendarPeriod::Day,
        CalendarPeriod::Week => proto::CalendarPeriod::Week,
        CalendarPeriod::Month => proto::CalendarPeriod::Month,
        CalendarPeriod::Quarter => proto::CalendarPeriod::Quarter,
        CalendarPeriod::Half => proto::CalendarPeriod::Half,
        CalendarPeriod::Year => proto::CalendarPeriod::Year,
    }
}

const fn write_clawback(clawback: Clawback) -> proto::Clawback {
    match clawback {
        Clawback::UnspentOnly => proto::Clawback::UnspentOnly,
        Clawback::WithinBalance => proto::Clawback::WithinBalance,
        Clawback::AllowDebt => proto::Clawback::AllowDebt,
    }
}
