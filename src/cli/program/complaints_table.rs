//! What a program's document says of complaints: the table `[complaints]`.

use goldbook_api::google::Date;
use goldbook_api::v1::{
    ComplaintCategory, ComplaintDeadlines, ComplaintPolicy, ComplaintPriority, SpecialDay, TimeAllowance, WeeklyHours,
    time_allowance,
};
use jiff::civil;
use serde::Serialize;

use super::super::error::CliError;
use super::points_table::newer;
use super::table::{UNREADABLE, Value};

const WEEKDAYS: &[&str] = &["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

const DEADLINES: &[&str] = &[
    "category_ids",
    "priorities",
    "value_class_ids",
    "acknowledgement",
    "answer",
    "resolution",
    "extended_resolution",
];

/// How complaints are dealt with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ComplaintsTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    hours: Option<HoursTable>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    special_days: Vec<SpecialDayTable>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    categories: Vec<CategoryTable>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deadlines: Vec<DeadlinesTable>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct HoursTable {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    monday: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tuesday: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    wednesday: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    thursday: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    friday: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    saturday: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sunday: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct SpecialDayTable {
    date: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hours: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct CategoryTable {
    category_id: String,
    display_name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct DeadlinesTable {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    category_ids: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    priorities: Vec<PriorityWord>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    value_class_ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledgement: Option<AllowanceTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<AllowanceTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resolution: Option<AllowanceTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extended_resolution: Option<AllowanceTable>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum PriorityWord {
    Low,
    Normal,
    High,
}

/// How long something may take: one of these is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct AllowanceTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    business_hours: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    business_days: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    days: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weeks: Option<i32>,
}

impl ComplaintsTable {
    /// The table of a policy.
    ///
    /// # Errors
    /// If it has a value that this program does not know, since the service is newer.
    pub(super) fn from_proto(policy: ComplaintPolicy) -> Result<Self, CliError> {
        let ComplaintPolicy { categories, hours, special_days, deadlines } = policy;
        let category =
            |it: ComplaintCategory| CategoryTable { category_id: it.category_id, display_name: it.display_name };
        let special_days = special_days.into_iter().map(SpecialDayTable::from_proto);
        let deadlines = deadlines.into_iter().map(DeadlinesTable::from_proto);
        Ok(Self {
            hours: hours.map(HoursTable::from_proto),
            special_days: special_days.collect::<Result<_, _>>()?,
            categories: categories.into_iter().map(category).collect(),
            deadlines: deadlines.collect::<Result<_, _>>()?,
        })
    }
}

impl HoursTable {
    fn from_proto(hours: WeeklyHours) -> Self {
        let WeeklyHours { monday, tuesday, wednesday, thursday, friday, saturday, sunday } = hours;
        Self { monday, tuesday, wednesday, thursday, friday, saturday, sunday }
    }
}

impl SpecialDayTable {
    fn from_proto(special: SpecialDay) -> Result<Self, CliError> {
        let date = special.date.unwrap_or_default();
        let civil = || {
            let year = i16::try_from(date.year).ok()?;
            civil::Date::new(year, i8::try_from(date.month).ok()?, i8::try_from(date.day).ok()?).ok()
        };
        let date = civil().ok_or_else(|| newer("dates are told"))?;
        Ok(Self { date: date.to_string(), hours: special.hours })
    }
}

impl DeadlinesTable {
    fn from_proto(deadlines: ComplaintDeadlines) -> Result<Self, CliError> {
        let allowance = |allowance: Option<TimeAllowance>| allowance.map(AllowanceTable::from_proto).transpose();
        let priorities = deadlines.priorities.iter().map(|priority| PriorityWord::from_proto(*priority));
        Ok(Self {
            priorities: priorities.collect::<Result<_, _>>()?,
            category_ids: deadlines.category_ids,
            value_class_ids: deadlines.value_class_ids,
            acknowledgement: allowance(deadlines.acknowledgement)?,
            answer: allowance(deadlines.answer)?,
            resolution: allowance(deadlines.resolution)?,
            extended_resolution: allowance(deadlines.extended_resolution)?,
        })
    }
}

impl PriorityWord {
    fn from_proto(priority: i32) -> Result<Self, CliError> {
        match ComplaintPriority::try_from(priority) {
            Ok(ComplaintPriority::Low) => Ok(Self::Low),
            Ok(ComplaintPriority::Normal) => Ok(Self::Normal),
            Ok(ComplaintPriority::High) => Ok(Self::High),
            Ok(ComplaintPriority::Unspecified) | Err(_) => Err(newer("complaints press")),
        }
    }
}

impl AllowanceTable {
    fn from_proto(allowance: TimeAllowance) -> Result<Self, CliError> {
        use time_allowance::Allowance;

        let none = Self::default();
        Ok(match allowance.allowance.ok_or_else(|| newer("time is allowed"))? {
            Allowance::BusinessHours(hours) => Self { business_hours: Some(hours), ..none },
            Allowance::BusinessDays(days) => Self { business_days: Some(days), ..none },
            Allowance::Days(days) => Self { days: Some(days), ..none },
            Allowance::Weeks(weeks) => Self { weeks: Some(weeks), ..none },
        })
    }
}

/// Reads the table. What is no list of things is read as one that the service cannot read, so that nothing else is judged
/// by what is missing then.
pub(super) fn read_complaints(value: &Value<'_>) -> Option<ComplaintPolicy> {
    let table = value.table(&["hours", "special_days", "categories", "deadlines"])?;
    Some(ComplaintPolicy {
        categories: table.each("categories", read_category),
        hours: table.find("hours").and_then(|value| read_hours(&value)),
        special_days: table.each("special_days", read_special_day),
        deadlines: table.each("deadlines", read_deadlines),
    })
}

fn read_category(value: &Value<'_>) -> ComplaintCategory {
    let known = &["category_id", "display_name"];
    let Some(table) = value.named_table("category_id", known) else { return ComplaintCategory::default() };
    ComplaintCategory { category_id: table.text("category_id"), display_name: table.text("display_name") }
}

fn read_hours(value: &Value<'_>) -> Option<WeeklyHours> {
    let table = value.table(WEEKDAYS)?;
    let hours = |weekday| table.each(weekday, read_text);
    Some(WeeklyHours {
        monday: hours("monday"),
        tuesday: hours("tuesday"),
        wednesday: hours("wednesday"),
        thursday: hours("thursday"),
        friday: hours("friday"),
        saturday: hours("saturday"),
        sunday: hours("sunday"),
    })
}

/// A text in a list; an empty one, which the service cannot read, if it is none.
fn read_text(value: &Value<'_>) -> String {
    value.text().unwrap_or_default()
}

fn read_special_day(value: &Value<'_>) -> SpecialDay {
    let Some(table) = value.table(&["date", "hours"]) else { return SpecialDay::default() };
    let wire =
        |date: civil::Date| Date { year: date.year().into(), month: date.month().into(), day: date.day().into() };
    SpecialDay {
        // One that the service cannot read, if it is none.
        date: table.require("date").map(|value| value.date().map(wire).unwrap_or_default()),
        hours: table.each("hours", read_text),
    }
}

fn read_deadlines(value: &Value<'_>) -> ComplaintDeadlines {
    let Some(table) = value.table(DEADLINES) else { return ComplaintDeadlines::default() };
    let allowance = |key| table.find(key).map(|value| TimeAllowance { allowance: read_allowance(&value) });
    ComplaintDeadlines {
        category_ids: table.each("category_ids", read_text),
        priorities: table.each("priorities", read_priority),
        value_class_ids: table.each("value_class_ids", read_text),
        acknowledgement: allowance("acknowledgement"),
        answer: allowance("answer"),
        resolution: allowance("resolution"),
        extended_resolution: allowance("extended_resolution"),
    }
}

fn read_priority(value: &Value<'_>) -> i32 {
    let words =
        [("low", ComplaintPriority::Low), ("normal", ComplaintPriority::Normal), ("high", ComplaintPriority::High)];
    value.word(&words).map_or(UNREADABLE, Into::into)
}

fn read_allowance(value: &Value<'_>) -> Option<time_allowance::Allowance> {
    use time_allowance::Allowance;

    const EXPECTED: &str =
        "must be one of { business_hours = 4 }, { business_days = 5 }, { days = 14 } and { weeks = 8 }";
    const KEYS: &[&str] = &["business_hours", "business_days", "days", "weeks"];
    let Some(table) = value.as_table(KEYS) else { return value.refuse(EXPECTED) };
    let (key, value) = table.only(KEYS, EXPECTED)?;
    // What is no number is judged as that.
    let count = value.number().unwrap_or_default();
    Some(match key {
        "business_hours" => Allowance::BusinessHours(count),
        "business_days" => Allowance::BusinessDays(count),
        "days" => Allowance::Days(count),
        _ => Allowance::Weeks(count),
    })
}
