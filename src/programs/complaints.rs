//! What a program says of complaints: what they can be about, when somebody works on them, and how long they may take.

use std::fmt;

use business_time::{Allowance, BusinessCalendar, CalendarError, CalendarPlan, Interval, Unit};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::book::ComplaintPriority;
use crate::ids::{ComplaintCategoryId, ValueClassId};

pub(crate) mod grpc;

/// The hours of a business day, where the program says nothing.
const USUAL_HOURS: OpenHours = OpenHours { from: 9 * 60, until: 17 * 60 };
const MINUTES_PER_HOUR: u32 = 60;

/// How complaints are dealt with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ComplaintPolicy {
    /// What complaints can be about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<ComplaintCategory>,
    /// When somebody works on them; the usual hours, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<WeeklyHours>,
    /// Dates with hours of their own, each once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub special_days: Vec<SpecialDay>,
    /// How long things may take: the first that fits a complaint counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deadlines: Vec<DeadlineRule>,
}

/// What a complaint can be about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComplaintCategory {
    /// Its name within the program.
    pub category_id: ComplaintCategoryId,
    /// What people call it.
    pub display_name: String,
}

/// Hours within one local day, in minutes from 0:00 as a local clock shows them. As text it is such as `09:00-17:30`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OpenHours {
    /// The first minute.
    pub from: u16,
    /// The minute after the last one, at most 1,440, which is 24:00.
    pub until: u16,
}

/// The hours of each day of the week, Monday first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeeklyHours(pub [Vec<OpenHours>; 7]);

/// A date with hours of its own in place of its weekday's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpecialDay {
    /// The date.
    pub date: Date,
    /// Its hours; none on a holiday.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hours: Vec<OpenHours>,
}

/// How long complaints of some kind may take. What is absent has no deadline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadlineRule {
    /// The categories that it is for; every one and none, if there are none here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub category_ids: Vec<ComplaintCategoryId>,
    /// The priorities that it is for; every one, if there are none here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub priorities: Vec<ComplaintPriority>,
    /// The value classes that it is for; every customer, also those without a class, if there are none here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub value_class_ids: Vec<ValueClassId>,
    /// Until the customer is told that it was received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledgement: Option<AllowedTime>,
    /// Until the customer has a first answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<AllowedTime>,
    /// Until it is resolved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<AllowedTime>,
    /// Until it is resolved if it was given more time, from the same start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extended_resolution: Option<AllowedTime>,
}

/// How long something may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllowedTime {
    /// Hours of business time.
    BusinessHours(u32),
    /// Dates on which business time passes, after that of the start.
    BusinessDays(u32),
    /// Dates after that of the start, business days or not.
    Days(u32),
    /// Seven dates each.
    Weeks(u32),
}

impl ComplaintPolicy {
    /// Whether it has a category.
    #[must_use]
    pub fn has_category(&self, category_id: &ComplaintCategoryId) -> bool {
        self.categories.iter().any(|category| category.category_id == *category_id)
    }

    /// How long a complaint of a category, or of none, and of a priority may take, by a customer of a value class, or of none.
    /// None if nothing is said of such a one.
    #[must_use]
    pub fn rule_for(
        &self,
        category_id: Option<&ComplaintCategoryId>,
        priority: ComplaintPriority,
        value_class: Option<&ValueClassId>,
    ) -> Option<&DeadlineRule> {
        self.deadlines.iter().find(|rule| rule.fits(category_id, priority, value_class))
    }

    /// The hours of the business as a calendar in a time zone.
    ///
    /// # Errors
    /// If they are no calendar, which those of a sound document are.
    pub fn calendar(&self, time_zone: &TimeZone) -> Result<BusinessCalendar, CalendarError> {
        let WeeklyHours(week) = self.hours.clone().unwrap_or_default();
        let special = self.special_days.iter().map(|special| (special.date, intervals(&special.hours)));
        BusinessCalendar::new(CalendarPlan {
            time_zone: time_zone.clone(),
            week: week.map(|hours| intervals(&hours)),
            special_hours: special.collect(),
        })
    }
}

fn intervals(hours: &[OpenHours]) -> Vec<Interval> {
    hours.iter().map(|hours| Interval::new(hours.from, hours.until)).collect()
}

impl DeadlineRule {
    /// Whether it is for a complaint of a category, or of none, and of a priority, by a customer of a value class, or of none.
    fn fits(
        &self,
        category_id: Option<&ComplaintCategoryId>,
        priority: ComplaintPriority,
        value_class: Option<&ValueClassId>,
    ) -> bool {
        let is_of_category = || category_id.is_some_and(|category_id| self.category_ids.contains(category_id));
        let is_of_class = || value_class.is_some_and(|class_id| self.value_class_ids.contains(class_id));
        (self.category_ids.is_empty() || is_of_category())
            && (self.priorities.is_empty() || self.priorities.contains(&priority))
            && (self.value_class_ids.is_empty() || is_of_class())
    }
}

impl AllowedTime {
    /// The same for counting. None if it is nothing or more than can be allowed, which that of a sound document is not.
    #[must_use]
    pub fn allowance(self) -> Option<Allowance> {
        let (unit, count) = match self {
            Self::BusinessHours(hours) => (Unit::BusinessMinutes, hours.checked_mul(MINUTES_PER_HOUR)?),
            Self::BusinessDays(days) => (Unit::BusinessDays, days),
            Self::Days(days) => (Unit::CalendarDays, days),
            Self::Weeks(weeks) => (Unit::Weeks, weeks),
        };
        Allowance::new(unit, count).ok()
    }
}

/// The usual hours: those of Monday to Friday.
impl Default for WeeklyHours {
    fn default() -> Self {
        let day = || vec![USUAL_HOURS];
        Self([day(), day(), day(), day(), day(), Vec::new(), Vec::new()])
    }
}

impl OpenHours {
    /// Parses hours such as `09:00-17:30`.
    ///
    /// # Errors
    /// What they must be, for people.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let parsed = text.split_once('-').and_then(|(from, until)| Some((parse_minute(from)?, parse_minute(until)?)));
        let (from, until) = parsed.ok_or("must be hours of a day, such as 09:00-17:30; the last may end at 24:00")?;
        if until <= from {
            return Err("must end after it begins, on the same day");
        }
        Ok(Self { from, until })
    }
}

/// A minute of the day from a text such as `17:30`; 24:00 is the one after the last.
fn parse_minute(text: &str) -> Option<u16> {
    let two_digits = |text: &str| {
        let is_plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| is_plain)
    };
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute) = (two_digits(hour)?, two_digits(minute)?);
    let is_of_day = (hour < 24 && minute < 60) || (hour, minute) == (24, 0);
    is_of_day.then(|| hour * 60 + minute)
}

impl TryFrom<String> for OpenHours {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<OpenHours> for String {
    fn from(hours: OpenHours) -> Self {
        hours.to_string()
    }
}

impl fmt::Display for OpenHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Interval::new(self.from, self.until).fmt(f)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use jiff::civil::date;

    use super::*;

    fn category(category_id: &str) -> ComplaintCategoryId {
        category_id.try_into().unwrap()
    }

    fn class(class_id: &str) -> ValueClassId {
        class_id.try_into().unwrap()
    }

    /// A policy with everything in it.
    pub(crate) fn policy() -> ComplaintPolicy {
        let hours = |text: &str| OpenHours::parse(text).unwrap();
        let morning = vec![hours("09:00-12:00")];
        let day = || vec![hours("09:00-12:00"), hours("13:00-17:30")];
        let late = vec![hours("20:00-24:00")];
        let rule = |ids: &[&str], priorities: &[ComplaintPriority], answer| DeadlineRule {
            category_ids: ids.iter().map(|id| category(id)).collect(),
            priorities: priorities.to_vec(),
            answer: Some(answer),
            ..DeadlineRule::default()
        };
        let mut best = rule(&[], &[], AllowedTime::BusinessDays(3));
        best.value_class_ids = vec![class("best"), class("good")];
        let mut last = rule(&[], &[], AllowedTime::Days(14));
        last.acknowledgement = Some(AllowedTime::BusinessHours(8));
        last.resolution = Some(AllowedTime::Weeks(8));
        last.extended_resolution = Some(AllowedTime::Weeks(16));
        ComplaintPolicy {
            categories: ["delivery", "claims"]
                .map(|id| ComplaintCategory { category_id: category(id), display_name: id.to_owned() })
                .into(),
            hours: Some(WeeklyHours([day(), day(), day(), day(), morning.clone(), late, Vec::new()])),
            special_days: vec![
                SpecialDay { date: date(2026, 12, 25), hours: Vec::new() },
                SpecialDay { date: date(2026, 12, 24), hours: morning },
            ],
            deadlines: vec![
                rule(&["delivery"], &[ComplaintPriority::High], AllowedTime::BusinessDays(1)),
                rule(&["delivery", "claims"], &[], AllowedTime::BusinessDays(5)),
                rule(&[], &[ComplaintPriority::High], AllowedTime::BusinessDays(2)),
                best,
                last,
            ],
        }
    }

    #[test]
    fn the_first_rule_that_fits_a_complaint_counts() {
        let policy = policy();
        let answer = |category_id: Option<&str>, priority| {
            policy.rule_for(category_id.map(category).as_ref(), priority, None).and_then(|rule| rule.answer)
        };
        let days = |days| Some(AllowedTime::BusinessDays(days));
        assert_eq!(answer(Some("delivery"), ComplaintPriority::High), days(1));
        assert_eq!(answer(Some("delivery"), ComplaintPriority::Low), days(5));
        assert_eq!(answer(Some("claims"), ComplaintPriority::High), days(5));
        assert_eq!(answer(Some("other"), ComplaintPriority::High), days(2));
        // A complaint without a category is of none of those that are named.
        assert_eq!(answer(None, ComplaintPriority::High), days(2));
        assert_eq!(answer(None, ComplaintPriority::Normal), Some(AllowedTime::Days(14)));
        assert_eq!(ComplaintPolicy::default().rule_for(None, ComplaintPriority::High, None), None);
        assert!(policy.has_category(&category("claims")) && !policy.has_category(&category("other")));
    }

    #[test]
    fn a_rule_with_value_classes_is_for_their_customers_alone() {
        let policy = policy();
        let answer = |value_class: Option<&str>, priority| {
            policy.rule_for(None, priority, value_class.map(class).as_ref()).and_then(|rule| rule.answer)
        };
        let usual = Some(AllowedTime::Days(14));
        assert_eq!(answer(Some("best"), ComplaintPriority::Normal), Some(AllowedTime::BusinessDays(3)));
        assert_eq!(answer(Some("good"), ComplaintPriority::Low), Some(AllowedTime::BusinessDays(3)));
        assert_eq!(answer(Some("rest"), ComplaintPriority::Normal), usual);
        // A customer without a class is of none of those that are named.
        assert_eq!(answer(None, ComplaintPriority::Normal), usual);
        // The first that fits counts, whatever stands behind it.
        assert_eq!(answer(Some("best"), ComplaintPriority::High), Some(AllowedTime::BusinessDays(2)));
    }

    #[test]
    fn hours_are_read_in_one_form_alone() {
        for (text, from, until) in [("09:00-17:30", 540, 1_050), ("00:00-00:01", 0, 1), ("20:05-24:00", 1_205, 1_440)] {
            let hours = OpenHours::parse(text).unwrap();
            assert_eq!((hours.from, hours.until, hours.to_string()), (from, until, text.to_owned()));
        }
        for bad in [
            "",
            "09:00",
            "9:00-17:00",
            "09-17",
            "+9:00-17:00",
            "09:00-17:60",
            "09:00-24:01",
            "09:00-25:00",
            "09:00 - 17:00",
            "09:00-17:00-18:00",
            "09:00:00-17:00:00",
        ] {
            let why = OpenHours::parse(bad).unwrap_err();
            assert!(why.starts_with("must be hours of a day"), "{bad}: {why}");
        }
        for bad in ["17:00-09:00", "09:00-09:00", "24:00-24:00"] {
            assert_eq!(OpenHours::parse(bad), Err("must end after it begins, on the same day"), "{bad}");
        }
    }

    #[test]
    fn who_says_nothing_works_from_monday_to_friday() {
        let calendar = ComplaintPolicy::default().calendar(&TimeZone::UTC).unwrap();
        let usual = [Interval::new(540, 1_020)];
        assert_eq!(calendar.hours_on(date(2026, 11, 30)), usual);
        assert_eq!(calendar.hours_on(date(2026, 12, 4)), usual);
        assert_eq!(calendar.hours_on(date(2026, 12, 5)), []);
        assert_eq!(calendar.hours_on(date(2026, 12, 6)), []);
    }

    #[test]
    fn special_days_take_the_place_of_their_weekdays() {
        let calendar = policy().calendar(&TimeZone::UTC).unwrap();
        assert_eq!(calendar.hours_on(date(2026, 12, 23)), [Interval::new(540, 720), Interval::new(780, 1_050)]);
        assert_eq!(calendar.hours_on(date(2026, 12, 24)), [Interval::new(540, 720)]);
        assert!(!calendar.is_business_day(date(2026, 12, 25)));
    }

    #[test]
    fn as_much_is_allowed_as_can_be_counted_and_no_more() {
        type Way = fn(u32) -> AllowedTime;
        let ways: [(Way, u32); 4] = [
            (AllowedTime::BusinessHours, Unit::BusinessMinutes.most() / MINUTES_PER_HOUR),
            (AllowedTime::BusinessDays, Unit::BusinessDays.most()),
            (AllowedTime::Days, Unit::CalendarDays.most()),
            (AllowedTime::Weeks, Unit::Weeks.most()),
        ];
        for (way, most) in ways {
            assert!([1, most].iter().all(|count| way(*count).allowance().is_some()), "{most}");
            assert!([0, most + 1, u32::MAX].iter().all(|count| way(*count).allowance().is_none()), "{most}");
        }
    }

    #[test]
    fn a_policy_reads_back_from_json() {
        let json = serde_json::to_value(policy()).unwrap();
        assert_eq!(json["hours"][5], serde_json::json!(["20:00-24:00"]));
        assert_eq!(json["special_days"][0], serde_json::json!({ "date": "2026-12-25" }));
        assert_eq!(json["deadlines"][0]["answer"], serde_json::json!({ "business_days": 1 }));
        assert_eq!(serde_json::from_value::<ComplaintPolicy>(json).unwrap(), policy());
        assert_eq!(serde_json::to_string(&ComplaintPolicy::default()).unwrap(), "{}");
    }
}
