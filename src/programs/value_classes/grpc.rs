//! What a program says of value classes, on the wire.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::{ClassBound, LevelCuts, ValueClass, ValueClassPolicy};
use crate::book::{RelationshipLevel, ValueMeasure};
use crate::error::Fields;
use crate::ids::ValueClassId;
use crate::money::{Currency, Money};
use crate::programs::points::CalendarPeriod;
use crate::programs::points::grpc::{parse_calendar_period, write_calendar_period};
use crate::proto;
use crate::proto::fields::write_money;
use crate::proto::value_class::{From as Reached, Keep};

const MIN_CLASSES: usize = 2;
/// The most classes of a program, and of what is for some of them.
pub(in crate::programs) const MAX_CLASSES: usize = 10;
const PERIODS: RangeInclusive<i32> = 1..=60;
const ENDS: RangeInclusive<i32> = 1..=12;
const CUSTOMERS: RangeInclusive<i64> = 1..=1_000_000_000;
const REACHED_BY: RangeInclusive<i32> = 1..=99;
/// More than where a class is reached, which is 1 at least.
const KEPT_BY: RangeInclusive<i32> = 2..=100;

/// The ids of all classes. None if one of them could not be read: it is not known then which ones are missing.
pub(in crate::programs) fn known_classes(policy: Option<&proto::ValueClassPolicy>) -> Option<BTreeSet<ValueClassId>> {
    let classes = policy.map(|policy| policy.classes.as_slice()).unwrap_or_default();
    classes.iter().map(|class| ValueClassId::try_from(class.class_id.as_str()).ok()).collect()
}

/// Parses the policy; none inside, if it is absent. `names` reads what people call a class, and `amounts` money of the program,
/// which the caller does as for all things.
pub(in crate::programs) fn parse_value_class_policy(
    fields: &mut Fields,
    path: &str,
    policy: Option<proto::ValueClassPolicy>,
    names: impl Fn(&mut Fields, &str, &str) -> Option<String>,
    amounts: impl Fn(&mut Fields, &str, Option<&proto::google::Money>) -> Option<i64>,
) -> Option<Option<ValueClassPolicy>> {
    let Some(policy) = policy else { return Some(None) };
    let proto::ValueClassPolicy { measure, each, periods, falls_after, classes, levels } = policy;
    let measure = parse_measure(fields, &format!("{path}.measure"), measure);
    let each = parse_each(fields, &format!("{path}.each"), each);
    within(fields, &format!("{path}.periods"), periods, PERIODS);
    within(fields, &format!("{path}.falls_after"), falls_after, ENDS);
    let classes = parse_classes(fields, &format!("{path}.classes"), classes, names, &amounts);
    let levels = match levels {
        Some(levels) => parse_levels(fields, &format!("{path}.levels"), &levels, &amounts).map(Some),
        None => Some(None),
    };
    let (measure, each, classes, levels) = (measure?, each?, classes?, levels?);
    Some(Some(ValueClassPolicy { measure, each, periods, falls_after, classes, levels }))
}

fn parse_measure(fields: &mut Fields, path: &str, measure: i32) -> Option<ValueMeasure> {
    match proto::ValueMeasure::try_from(measure) {
        Ok(proto::ValueMeasure::Spend) => Some(ValueMeasure::Spend),
        Ok(proto::ValueMeasure::Margin) => Some(ValueMeasure::Margin),
        Ok(proto::ValueMeasure::ExpectedValue) => Some(ValueMeasure::ExpectedValue),
        Ok(proto::ValueMeasure::Unspecified) | Err(_) => fields.check(path, Err("must be one of the named values")),
    }
}

/// Days and weeks are too short to tell anything of what customers are worth, and halves are two quarters.
fn parse_each(fields: &mut Fields, path: &str, each: i32) -> Option<CalendarPeriod> {
    let each = parse_calendar_period(fields, path, each)?;
    match each {
        Some(CalendarPeriod::Month | CalendarPeriod::Quarter | CalendarPeriod::Year) => each,
        Some(CalendarPeriod::Day | CalendarPeriod::Week | CalendarPeriod::Half) | None => {
            fields.check(path, Err("must be a month, a quarter or a year"))
        }
    }
}

/// Refuses a number that is out of bounds, if it is set.
fn within(fields: &mut Fields, path: &str, number: Option<i32>, bounds: RangeInclusive<i32>) {
    if number.is_some_and(|number| !bounds.contains(&number)) {
        fields.refuse(path, format!("must be from {} to {}", bounds.start(), bounds.end()));
    }
}

fn parse_classes(
    fields: &mut Fields,
    path: &str,
    classes: Vec<proto::ValueClass>,
    names: impl Fn(&mut Fields, &str, &str) -> Option<String>,
    amounts: impl Fn(&mut Fields, &str, Option<&proto::google::Money>) -> Option<i64>,
) -> Option<Vec<ValueClass>> {
    if !(MIN_CLASSES..=MAX_CLASSES).contains(&classes.len()) {
        fields.refuse(path, format!("must have {MIN_CLASSES} to {MAX_CLASSES} items"));
    }
    let last = classes.len().saturating_sub(1);
    let mut class_ids = BTreeSet::new();
    let mut above = None;
    let mut parsed: Vec<Option<ValueClass>> = Vec::new();
    for (i, class) in classes.into_iter().take(MAX_CLASSES).enumerate() {
        let path = format!("{path}[{i}]");
        let proto::ValueClass { class_id, display_name, level, from, keep } = class;
        let id_path = format!("{path}.class_id");
        let class_id = fields.check(id_path.as_str(), ValueClassId::try_from(class_id));
        if class_id.as_ref().is_some_and(|class_id| !class_ids.insert(class_id.clone())) {
            fields.refuse(id_path, "must be unique within the program");
        }
        let display_name = names(fields, &format!("{path}.display_name"), &display_name);
        let (from, keep) = if i == last {
            refuse_of_last(fields, &path, from.as_ref(), keep.as_ref());
            (Some(None), Some(None))
        } else {
            let from = parse_from(fields, &path, from, above, &amounts);
            above = from.or(above);
            (from.map(Some), parse_keep(fields, &path, keep, from, &amounts))
        };
        let level = parse_level(fields, &format!("{path}.level"), level);
        let whole = || {
            let (class_id, display_name) = (class_id?, display_name?);
            Some(ValueClass { class_id, display_name, from: from?, keep: keep?, level: level? })
        };
        parsed.push(whole());
    }
    parsed.into_iter().collect()
}

fn refuse_of_last(fields: &mut Fields, path: &str, from: Option<&Reached>, keep: Option<&Keep>) {
    let from = from.map(|from| match from {
        Reached::Least(_) => "least",
        Reached::TopPercent(_) => "top_percent",
    });
    let keep = keep.map(|keep| match keep {
        Keep::KeepLeast(_) => "keep_least",
        Keep::KeepTopPercent(_) => "keep_top_percent",
    });
    for key in from.into_iter().chain(keep) {
        fields.refuse(format!("{path}.{key}"), "must not be set: the last class is that of everybody else");
    }
}

/// From where on a class is reached; `above` is where that is of a class above it, if that could be read.
fn parse_from(
    fields: &mut Fields,
    path: &str,
    from: Option<Reached>,
    above: Option<ClassBound>,
    amounts: impl Fn(&mut Fields, &str, Option<&proto::google::Money>) -> Option<i64>,
) -> Option<ClassBound> {
    let (path, bound) = match from {
        Some(Reached::Least(least)) => {
            let path = format!("{path}.least");
            let least = amounts(fields, &path, Some(&least));
            if least.is_some_and(|least| least <= 0) {
                fields.refuse(path.as_str(), "must be above zero");
            }
            (path, least.filter(|least| *least > 0).map(ClassBound::Least))
        }
        Some(Reached::TopPercent(percent)) => {
            let path = format!("{path}.top_percent");
            let percent = parse_percent(fields, &path, percent, REACHED_BY);
            (path, percent)
        }
        // Perhaps a way that only a newer caller knows.
        None => {
            fields.refuse(path, "must have least or top_percent, as all classes but the last");
            return None;
        }
    };
    if let Some(fault) = above.zip(bound).and_then(|(above, bound)| find_rise(above, bound)) {
        fields.refuse(path, fault);
    }
    bound
}

/// What is wrong with where a class is reached, below another one.
fn find_rise(above: ClassBound, bound: ClassBound) -> Option<String> {
    match (above, bound) {
        (ClassBound::Least(above), ClassBound::Least(least)) => {
            (least >= above).then(|| "must be less than in the class above".to_owned())
        }
        (ClassBound::TopPercent(above), ClassBound::TopPercent(percent)) => {
            (percent <= above).then(|| format!("must be more than in the class above, which has {above}"))
        }
        (ClassBound::Least(_), ClassBound::TopPercent(_)) => {
            Some("must not be set where the class above has least".to_owned())
        }
        (ClassBound::TopPercent(_), ClassBound::Least(_)) => {
            Some("must not be set where the class above has top_percent".to_owned())
        }
    }
}

/// From where on a class is kept, if that is said; `from` is where it is reached, if that could be read.
fn parse_keep(
    fields: &mut Fields,
    path: &str,
    keep: Option<Keep>,
    from: Option<ClassBound>,
    amounts: impl Fn(&mut Fields, &str, Option<&proto::google::Money>) -> Option<i64>,
) -> Option<Option<ClassBound>> {
    let (path, kept) = match keep {
        Some(Keep::KeepLeast(least)) => {
            let path = format!("{path}.keep_least");
            let least = amounts(fields, &path, Some(&least)).map(ClassBound::Least);
            (path, least)
        }
        Some(Keep::KeepTopPercent(percent)) => {
            let path = format!("{path}.keep_top_percent");
            let percent = parse_percent(fields, &path, percent, KEPT_BY);
            (path, percent)
        }
        None => return Some(None),
    };
    if let Some(fault) = from.zip(kept).and_then(|(from, kept)| find_stricter(from, kept)) {
        fields.refuse(path, fault);
    }
    kept.map(Some)
}

/// What is wrong with where a class is kept, which is easier than reaching it.
fn find_stricter(from: ClassBound, kept: ClassBound) -> Option<String> {
    match (from, kept) {
        (ClassBound::Least(from), ClassBound::Least(kept)) => {
            (kept >= from).then(|| "must be less than least".to_owned())
        }
        (ClassBound::TopPercent(from), ClassBound::TopPercent(kept)) => {
            (kept <= from).then(|| format!("must be more than top_percent, which is {from}"))
        }
        (ClassBound::Least(_), ClassBound::TopPercent(_)) => Some("must not be set beside least".to_owned()),
        (ClassBound::TopPercent(_), ClassBound::Least(_)) => Some("must not be set beside top_percent".to_owned()),
    }
}

fn parse_percent(fields: &mut Fields, path: &str, percent: i32, bounds: RangeInclusive<i32>) -> Option<ClassBound> {
    let is_within = bounds.contains(&percent);
    within(fields, path, Some(percent), bounds);
    is_within.then_some(ClassBound::TopPercent(percent))
}

/// A level, if one is named at all; none inside, if not.
pub(in crate::programs) fn parse_level(
    fields: &mut Fields,
    path: &str,
    level: i32,
) -> Option<Option<RelationshipLevel>> {
    match proto::RelationshipLevel::try_from(level) {
        Ok(proto::RelationshipLevel::Unspecified) => Some(None),
        Ok(proto::RelationshipLevel::Basic) => Some(Some(RelationshipLevel::Basic)),
        Ok(proto::RelationshipLevel::Reactive) => Some(Some(RelationshipLevel::Reactive)),
        Ok(proto::RelationshipLevel::Accountable) => Some(Some(RelationshipLevel::Accountable)),
        Ok(proto::RelationshipLevel::Proactive) => Some(Some(RelationshipLevel::Proactive)),
        Ok(proto::RelationshipLevel::Partner) => Some(Some(RelationshipLevel::Partner)),
        Err(_) => fields.check(path, Err("must be one of the named values")),
    }
}

fn parse_levels(
    fields: &mut Fields,
    path: &str,
    levels: &proto::LevelCuts,
    amounts: impl Fn(&mut Fields, &str, Option<&proto::google::Money>) -> Option<i64>,
) -> Option<LevelCuts> {
    let proto::LevelCuts { many_customers, few_customers, high_margin, low_margin } = levels;
    let (many_customers, few_customers) = (*many_customers, *few_customers);
    let is_many = CUSTOMERS.contains(&many_customers);
    if !is_many {
        fields.refuse(format!("{path}.many_customers"), "must be from 1 to 1,000,000,000");
    }
    if few_customers < 0 {
        fields.refuse(format!("{path}.few_customers"), "must be zero or more");
    } else if is_many && few_customers >= many_customers {
        let expected = format!("must be less than many_customers, which is {many_customers}");
        fields.refuse(format!("{path}.few_customers"), expected);
    }
    let high_margin = amounts(fields, &format!("{path}.high_margin"), high_margin.as_ref());
    let low_margin = amounts(fields, &format!("{path}.low_margin"), low_margin.as_ref());
    if high_margin.is_some_and(|high| high <= 0) {
        fields.refuse(format!("{path}.high_margin"), "must be above zero");
    } else if high_margin.zip(low_margin).is_some_and(|(high, low)| low > high) {
        fields.refuse(format!("{path}.low_margin"), "must be no more than high_margin");
    }
    Some(LevelCuts { many_customers, few_customers, high_margin: high_margin?, low_margin: low_margin? })
}

/// A policy on the wire.
pub(in crate::programs) fn write_value_class_policy(
    policy: &ValueClassPolicy,
    currency: Currency,
) -> proto::ValueClassPolicy {
    let ValueClassPolicy { measure, each, periods, falls_after, classes, levels } = policy;
    let money = |minor| write_money(Money { currency, minor });
    let classes = classes.iter().map(|class| proto::ValueClass {
        class_id: class.class_id.to_string(),
        display_name: class.display_name.clone(),
        level: class.level.map_or(proto::RelationshipLevel::Unspecified, write_level).into(),
        from: class.from.map(|from| match from {
            ClassBound::Least(least) => Reached::Least(money(least)),
            ClassBound::TopPercent(percent) => Reached::TopPercent(percent),
        }),
        keep: class.keep.map(|keep| match keep {
            ClassBound::Least(least) => Keep::KeepLeast(money(least)),
            ClassBound::TopPercent(percent) => Keep::KeepTopPercent(percent),
        }),
    });
    proto::ValueClassPolicy {
        measure: write_measure(*measure).into(),
        each: write_calendar_period(*each).into(),
        periods: *periods,
        falls_after: *falls_after,
        classes: classes.collect(),
        levels: levels.map(|cuts| proto::LevelCuts {
            many_customers: cuts.many_customers,
            few_customers: cuts.few_customers,
            high_margin: Some(money(cuts.high_margin)),
            low_margin: Some(money(cuts.low_margin)),
        }),
    }
}

/// What customers are classed by, on the wire.
#[must_use]
pub(crate) const fn write_measure(measure: ValueMeasure) -> proto::ValueMeasure {
    match measure {
        ValueMeasure::Spend => proto::ValueMeasure::Spend,
        ValueMeasure::Margin => proto::ValueMeasure::Margin,
        ValueMeasure::ExpectedValue => proto::ValueMeasure::ExpectedValue,
    }
}

/// A level on the wire.
#[must_use]
pub(crate) const fn write_level(level: RelationshipLevel) -> proto::RelationshipLevel {
    match level {
        RelationshipLevel::Basic => proto::RelationshipLevel::Basic,
        RelationshipLevel::Reactive => proto::RelationshipLevel::Reactive,
        RelationshipLevel::Accountable => proto::RelationshipLevel::Accountable,
        RelationshipLevel::Proactive => proto::RelationshipLevel::Proactive,
        RelationshipLevel::Partner => proto::RelationshipLevel::Partner,
    }
}

#[cfg(test)]
mod tests;
