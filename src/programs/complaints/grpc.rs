//! What a program says of complaints, on the wire.

use std::collections::BTreeSet;
use std::fmt;

use business_time::{MOST_INTERVALS, MOST_SPECIAL_DATES, Unit};

use super::{
    AllowedTime, ComplaintCategory, ComplaintPolicy, DeadlineRule, MINUTES_PER_HOUR, OpenHours, SpecialDay, WeeklyHours,
};
use crate::book::ComplaintPriority;
use crate::error::Fields;
use crate::ids::{ComplaintCategoryId, ValueClassId};
use crate::programs::value_classes::grpc::MAX_CLASSES;
use crate::proto;
use crate::proto::fields::{parse_optional_day, write_day};

const MAX_CATEGORIES: usize = 100;
const MAX_DEADLINES: usize = 100;

/// The days of the week, as the wire calls them.
const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Parses the policy; that of defaults, if it is absent. `names` reads what people call a category, which the caller does as
/// for all things. `classes` are the value classes of the program, if they could be read.
pub(in crate::programs) fn parse_complaint_policy(
    fields: &mut Fields,
    path: &str,
    policy: Option<proto::ComplaintPolicy>,
    names: impl Fn(&mut Fields, &str, &str) -> Option<String>,
    classes: Option<&BTreeSet<ValueClassId>>,
) -> Option<ComplaintPolicy> {
    let Some(proto::ComplaintPolicy { categories, hours, special_days, deadlines }) = policy else {
        return Some(ComplaintPolicy::default());
    };
    bound(fields, &format!("{path}.categories"), categories.len(), MAX_CATEGORIES);
    let known = known_ids(&categories);
    let mut category_ids = BTreeSet::new();
    let categories = categories.into_iter().take(MAX_CATEGORIES).enumerate().map(|(i, category)| {
        let path = format!("{path}.categories[{i}]");
        let id_path = format!("{path}.category_id");
        let category_id = fields.check(id_path.as_str(), ComplaintCategoryId::try_from(category.category_id));
        if category_id.as_ref().is_some_and(|category_id| !category_ids.insert(category_id.clone())) {
            fields.refuse(id_path, "must be unique within the program");
        }
        let display_name = names(fields, &format!("{path}.display_name"), &category.display_name);
        Some(ComplaintCategory { category_id: category_id?, display_name: display_name? })
    });
    let categories: Vec<Option<ComplaintCategory>> = categories.collect();
    let hours = hours.map(|hours| parse_week(fields, &format!("{path}.hours"), hours));
    let special_days = parse_special_days(fields, &format!("{path}.special_days"), special_days);
    bound(fields, &format!("{path}.deadlines"), deadlines.len(), MAX_DEADLINES);
    let deadlines = deadlines.into_iter().take(MAX_DEADLINES).enumerate();
    let deadlines: Vec<Option<DeadlineRule>> = deadlines
        .map(|(i, rule)| parse_rule(fields, &format!("{path}.deadlines[{i}]"), rule, known.as_ref(), classes))
        .collect();
    Some(ComplaintPolicy {
        categories: categories.into_iter().collect::<Option<_>>()?,
        // Hours that are the default are none, so that what means the same is the same.
        hours: hours.map_or(Some(None), |hours| hours.map(Some))?.filter(|hours| *hours != WeeklyHours::default()),
        special_days: special_days?,
        deadlines: deadlines.into_iter().collect::<Option<_>>()?,
    })
}

fn bound(fields: &mut Fields, path: &str, count: usize, max: usize) {
    if count > max {
        fields.refuse(path, format!("must have at most {} items", grouped(max)));
    }
}

/// A number for people, such as `2,000`.
fn grouped(number: usize) -> String {
    let (thousands, rest) = (number / 1_000, number % 1_000);
    if thousands == 0 { rest.to_string() } else { format!("{thousands},{rest:03}") }
}

/// The ids of all categories. None if one of them could not be read: it is not known then which ones are missing.
fn known_ids(categories: &[proto::ComplaintCategory]) -> Option<BTreeSet<ComplaintCategoryId>> {
    categories.iter().map(|category| ComplaintCategoryId::try_from(category.category_id.as_str()).ok()).collect()
}

fn parse_week(fields: &mut Fields, path: &str, hours: proto::WeeklyHours) -> Option<WeeklyHours> {
    let proto::WeeklyHours { monday, tuesday, wednesday, thursday, friday, saturday, sunday } = hours;
    let texts = [monday, tuesday, wednesday, thursday, friday, saturday, sunday];
    if texts.iter().all(Vec::is_empty) {
        fields.refuse(path, "must have hours on one day of the week at least");
        return None;
    }
    let mut week: [Vec<OpenHours>; 7] = Default::default();
    let mut is_whole = true;
    for ((day, texts), weekday) in week.iter_mut().zip(&texts).zip(WEEKDAYS) {
        match parse_hours(fields, &format!("{path}.{weekday}"), texts) {
            Some(hours) => *day = hours,
            None => is_whole = false,
        }
    }
    is_whole.then_some(WeeklyHours(week))
}

/// The hours of one day.
fn parse_hours(fields: &mut Fields, path: &str, texts: &[String]) -> Option<Vec<OpenHours>> {
    bound(fields, path, texts.len(), MOST_INTERVALS);
    let mut ended = 0;
    let mut day = Vec::new();
    for (i, text) in texts.iter().take(MOST_INTERVALS).enumerate() {
        let path = format!("{path}[{i}]");
        let hours = fields.check(path.as_str(), OpenHours::parse(text));
        if let Some(OpenHours { from, until }) = hours {
            if from < ended {
                fields.refuse(path, "must not begin before the hours in front of it have ended");
            }
            ended = until.max(ended);
        }
        day.push(hours);
    }
    day.into_iter().collect()
}

fn parse_special_days(fields: &mut Fields, path: &str, days: Vec<proto::SpecialDay>) -> Option<Vec<SpecialDay>> {
    bound(fields, path, days.len(), MOST_SPECIAL_DATES);
    let mut dates = BTreeSet::new();
    let parsed = days.into_iter().take(MOST_SPECIAL_DATES).enumerate().map(|(i, day)| {
        let path = format!("{path}[{i}]");
        let date_path = format!("{path}.date");
        if day.date.is_none() {
            fields.refuse(date_path.as_str(), "must be set");
        }
        let date = parse_optional_day(fields, &date_path, day.date);
        if date.is_some_and(|date| !dates.insert(date)) {
            fields.refuse(date_path, "must be unique among the special days");
        }
        let hours = parse_hours(fields, &format!("{path}.hours"), &day.hours);
        Some(SpecialDay { date: date?, hours: hours? })
    });
    let parsed: Vec<Option<SpecialDay>> = parsed.collect();
    parsed.into_iter().collect()
}

/// Parses how long complaints of some kind may take, with the categories and the value classes of the program, if they could be
/// read.
fn parse_rule(
    fields: &mut Fields,
    path: &str,
    rule: proto::ComplaintDeadlines,
    categories: Option<&BTreeSet<ComplaintCategoryId>>,
    classes: Option<&BTreeSet<ValueClassId>>,
) -> Option<DeadlineRule> {
    let proto::ComplaintDeadlines {
        category_ids,
        priorities,
        acknowledgement,
        answer,
        resolution,
        extended_resolution,
        value_class_ids,
    } = rule;
    let category_ids = Named { ids: category_ids, most: MAX_CATEGORIES, known: categories, kind: "category" };
    let category_ids = category_ids.parse(fields, &format!("{path}.category_ids"));
    let priorities = parse_priorities(fields, &format!("{path}.priorities"), &priorities);
    let value_class_ids = Named { ids: value_class_ids, most: MAX_CLASSES, known: classes, kind: "value class" };
    let value_class_ids = value_class_ids.parse(fields, &format!("{path}.value_class_ids"));
    let all = [&acknowledgement, &answer, &resolution, &extended_resolution];
    if all.iter().all(|allowance| allowance.is_none()) {
        fields.refuse(path, "must have an acknowledgement, an answer or a resolution");
    }
    if resolution.is_none() && extended_resolution.is_some() {
        fields.refuse(format!("{path}.extended_resolution"), "must not be set without resolution");
    }
    let mut parse = |field: &str, allowance: Option<proto::TimeAllowance>| match allowance {
        Some(allowance) => parse_allowed_time(fields, &format!("{path}.{field}"), &allowance).map(Some),
        None => Some(None),
    };
    let acknowledgement = parse("acknowledgement", acknowledgement);
    let answer = parse("answer", answer);
    let resolution = parse("resolution", resolution);
    let extended_resolution = parse("extended_resolution", extended_resolution);
    Some(DeadlineRule {
        category_ids: category_ids?,
        priorities: priorities?,
        value_class_ids: value_class_ids?,
        acknowledgement: acknowledgement?,
        answer: answer?,
        resolution: resolution?,
        extended_resolution: extended_resolution?,
    })
}

/// Things of a program that deadlines are for, by their names.
struct Named<'k, I> {
    ids: Vec<String>,
    /// How many may be named.
    most: usize,
    /// Those of the program, if they could be read.
    known: Option<&'k BTreeSet<I>>,
    /// What people call one of them.
    kind: &'static str,
}

impl<I: TryFrom<String, Error: fmt::Display> + Clone + Ord + fmt::Display> Named<'_, I> {
    fn parse(self, fields: &mut Fields, path: &str) -> Option<Vec<I>> {
        let Self { ids, most, known, kind } = self;
        bound(fields, path, ids.len(), most);
        let mut seen = BTreeSet::new();
        let parsed = ids.into_iter().take(most).enumerate().map(|(i, id)| {
            let path = format!("{path}[{i}]");
            let id = fields.check(path.as_str(), I::try_from(id))?;
            if known.is_some_and(|known| !known.contains(&id)) {
                fields.refuse(path, format!("must be a {kind} of the program; there is none with the id {id}"));
            } else if !seen.insert(id.clone()) {
                fields.refuse(path, "must be unique within the deadlines");
            }
            Some(id)
        });
        let parsed: Vec<Option<I>> = parsed.collect();
        parsed.into_iter().collect()
    }
}

fn parse_priorities(fields: &mut Fields, path: &str, priorities: &[i32]) -> Option<Vec<ComplaintPriority>> {
    let most = ComplaintPriority::ALL.len();
    bound(fields, path, priorities.len(), most);
    let mut seen = BTreeSet::new();
    let parsed = priorities.iter().take(most).enumerate().map(|(i, priority)| {
        let path = format!("{path}[{i}]");
        let Some(priority) = parse_priority(fields, &path, *priority)? else {
            fields.refuse(path, "must be set");
            return None;
        };
        if !seen.insert(priority) {
            fields.refuse(path, "must be unique within the deadlines");
        }
        Some(priority)
    });
    let parsed: Vec<Option<ComplaintPriority>> = parsed.collect();
    parsed.into_iter().collect()
}

/// A priority, if one is named at all; none inside, if not.
pub(crate) fn parse_priority(fields: &mut Fields, path: &str, priority: i32) -> Option<Option<ComplaintPriority>> {
    match proto::ComplaintPriority::try_from(priority) {
        Ok(proto::ComplaintPriority::Unspecified) => Some(None),
        Ok(proto::ComplaintPriority::Low) => Some(Some(ComplaintPriority::Low)),
        Ok(proto::ComplaintPriority::Normal) => Some(Some(ComplaintPriority::Normal)),
        Ok(proto::ComplaintPriority::High) => Some(Some(ComplaintPriority::High)),
        Err(_) => {
            fields.refuse(path, "must be one of the named values");
            None
        }
    }
}

/// A priority on the wire.
#[must_use]
pub(crate) const fn write_priority(priority: ComplaintPriority) -> proto::ComplaintPriority {
    match priority {
        ComplaintPriority::Low => proto::ComplaintPriority::Low,
        ComplaintPriority::Normal => proto::ComplaintPriority::Normal,
        ComplaintPriority::High => proto::ComplaintPriority::High,
    }
}

fn parse_allowed_time(fields: &mut Fields, path: &str, allowance: &proto::TimeAllowance) -> Option<AllowedTime> {
    use proto::time_allowance::Allowance;

    let mut count = |field: &str, count: i32, most: u32| {
        let within = u32::try_from(count).ok().filter(|count| (1..=most).contains(count));
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        fields.check(format!("{path}.{field}"), within.ok_or_else(|| format!("must be from 1 to {}", grouped(most))))
    };
    match allowance.allowance {
        Some(Allowance::BusinessHours(hours)) => {
            let most = Unit::BusinessMinutes.most() / MINUTES_PER_HOUR;
            count("business_hours", hours, most).map(AllowedTime::BusinessHours)
        }
        Some(Allowance::BusinessDays(days)) => {
            count("business_days", days, Unit::BusinessDays.most()).map(AllowedTime::BusinessDays)
        }
        Some(Allowance::Days(days)) => count("days", days, Unit::CalendarDays.most()).map(AllowedTime::Days),
        Some(Allowance::Weeks(weeks)) => count("weeks", weeks, Unit::Weeks.most()).map(AllowedTime::Weeks),
        // Perhaps a way that only a newer caller knows.
        None => {
            fields.refuse(path, "must be one of business_hours, business_days, days and weeks");
            None
        }
    }
}

/// None if it says nothing but defaults.
pub(in crate::programs) fn write_complaint_policy(policy: &ComplaintPolicy) -> Option<proto::ComplaintPolicy> {
    let ComplaintPolicy { categories, hours, special_days, deadlines } = policy;
    let categories = categories.iter().map(|category| proto::ComplaintCategory {
        category_id: category.category_id.to_string(),
        display_name: category.display_name.clone(),
    });
    let special_days = special_days
        .iter()
        .map(|special| proto::SpecialDay { date: Some(write_day(special.date)), hours: write_hours(&special.hours) });
    let written = proto::ComplaintPolicy {
        categories: categories.collect(),
        hours: hours.as_ref().map(write_week),
        special_days: special_days.collect(),
        deadlines: deadlines.iter().map(write_rule).collect(),
    };
    (written != proto::ComplaintPolicy::default()).then_some(written)
}

fn write_week(hours: &WeeklyHours) -> proto::WeeklyHours {
    let WeeklyHours([monday, tuesday, wednesday, thursday, friday, saturday, sunday]) = hours;
    proto::WeeklyHours {
        monday: write_hours(monday),
        tuesday: write_hours(tuesday),
        wednesday: write_hours(wednesday),
        thursday: write_hours(thursday),
        friday: write_hours(friday),
        saturday: write_hours(saturday),
        sunday: write_hours(sunday),
    }
}

fn write_hours(hours: &[OpenHours]) -> Vec<String> {
    hours.iter().map(ToString::to_string).collect()
}

fn write_rule(rule: &DeadlineRule) -> proto::ComplaintDeadlines {
    let DeadlineRule {
        category_ids,
        priorities,
        value_class_ids,
        acknowledgement,
        answer,
        resolution,
        extended_resolution,
    } = rule;
    proto::ComplaintDeadlines {
        category_ids: category_ids.iter().map(ToString::to_string).collect(),
        priorities: priorities.iter().map(|priority| i32::from(write_priority(*priority))).collect(),
        acknowledgement: acknowledgement.map(write_allowed_time),
        answer: answer.map(write_allowed_time),
        resolution: resolution.map(write_allowed_time),
        extended_resolution: extended_resolution.map(write_allowed_time),
        value_class_ids: value_class_ids.iter().map(ToString::to_string).collect(),
    }
}

fn write_allowed_time(allowed: AllowedTime) -> proto::TimeAllowance {
    use proto::time_allowance::Allowance;

    // None is above what it may be.
    let count = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    let allowance = match allowed {
        AllowedTime::BusinessHours(hours) => Allowance::BusinessHours(count(hours)),
        AllowedTime::BusinessDays(days) => Allowance::BusinessDays(count(days)),
        AllowedTime::Days(days) => Allowance::Days(count(days)),
        AllowedTime::Weeks(weeks) => Allowance::Weeks(count(weeks)),
    };
    proto::TimeAllowance { allowance: Some(allowance) }
}

#[cfg(test)]
mod tests;
