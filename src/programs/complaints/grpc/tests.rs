//! Policies of complaints on the wire: what is refused of them, and how they come back.

use super::super::tests::policy;
use super::*;
use crate::proto::google;
use crate::proto::time_allowance::Allowance;

fn name(_: &mut Fields, _: &str, name: &str) -> Option<String> {
    Some(name.to_owned())
}

/// Of a program with the value classes `best` and `good`.
fn parse(policy: Option<proto::ComplaintPolicy>) -> Result<ComplaintPolicy, Vec<String>> {
    let classes = ["best", "good"].map(|class_id| ValueClassId::try_from(class_id).unwrap());
    parse_with(policy, Some(&classes.into()))
}

fn parse_with(
    policy: Option<proto::ComplaintPolicy>,
    classes: Option<&BTreeSet<ValueClassId>>,
) -> Result<ComplaintPolicy, Vec<String>> {
    let mut fields = Fields::default();
    let parsed = parse_complaint_policy(&mut fields, "it", policy, name, classes);
    let violations = fields.into_violations().into_iter();
    let told: Vec<String> = violations.map(|fault| format!("{} {}", fault.field, fault.description)).collect();
    if told.is_empty() { Ok(parsed.unwrap()) } else { Err(told) }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn allowed(allowance: Allowance) -> Option<proto::TimeAllowance> {
    Some(proto::TimeAllowance { allowance: Some(allowance) })
}

#[test]
fn a_policy_is_the_same_once_it_was_written() {
    assert_eq!(parse(write_complaint_policy(&policy())), Ok(policy()));
    assert_eq!(write_complaint_policy(&ComplaintPolicy::default()), None);
    assert_eq!(parse(None), Ok(ComplaintPolicy::default()));
    assert_eq!(parse(Some(proto::ComplaintPolicy::default())), Ok(ComplaintPolicy::default()));
}

#[test]
fn hours_that_are_the_default_are_none() {
    let hours = Some(write_week(&WeeklyHours::default()));
    let parsed = parse(Some(proto::ComplaintPolicy { hours, ..Default::default() }));
    assert_eq!(parsed, Ok(ComplaintPolicy::default()));
}

#[test]
fn all_faults_of_hours_and_special_days_are_told_at_once() {
    let hours = proto::WeeklyHours {
        monday: texts(&["09:00-12:00", "noon", "11:59-13:00", "13:00-14:00"]),
        sunday: texts(&["01:00-02:00", "02:00-03:00", "03:00-04:00", "04:00-05:00", "05:00-24:00"]),
        ..Default::default()
    };
    let date = |day| Some(google::Date { year: 2_026, month: 12, day });
    let special = |date, hours: &[&str]| proto::SpecialDay { date, hours: texts(hours) };
    let policy = proto::ComplaintPolicy {
        hours: Some(hours),
        special_days: vec![
            special(date(24), &["09:00-12:00"]),
            special(date(24), &["17:00-09:00"]),
            special(date(32), &[]),
            special(Some(google::Date { year: 0, month: 12, day: 24 }), &[]),
            special(None, &[]),
        ],
        ..Default::default()
    };
    let date_expected = "must be a date of the calendar with year, month and day";
    assert_eq!(
        parse(Some(policy)),
        Err(vec![
            "it.hours.monday[1] must be hours of a day, such as 09:00-17:30; the last may end at 24:00".to_owned(),
            "it.hours.monday[2] must not begin before the hours in front of it have ended".to_owned(),
            "it.hours.sunday must have at most 4 items".to_owned(),
            "it.special_days[1].date must be unique among the special days".to_owned(),
            "it.special_days[1].hours[0] must end after it begins, on the same day".to_owned(),
            format!("it.special_days[2].date {date_expected}"),
            format!("it.special_days[3].date {date_expected}"),
            "it.special_days[4].date must be set".to_owned(),
        ])
    );
    let closed = proto::ComplaintPolicy { hours: Some(proto::WeeklyHours::default()), ..Default::default() };
    assert_eq!(parse(Some(closed)), Err(vec!["it.hours must have hours on one day of the week at least".to_owned()]));
    let many = vec![special(date(24), &[]); MOST_SPECIAL_DATES + 1];
    let many = parse(Some(proto::ComplaintPolicy { special_days: many, ..Default::default() })).unwrap_err();
    assert_eq!(many[0], "it.special_days must have at most 2,000 items");
}

#[test]
fn all_faults_of_categories_and_deadlines_are_told_at_once() {
    let category = |id: &str| proto::ComplaintCategory { category_id: id.to_owned(), display_name: id.to_owned() };
    let rule = proto::ComplaintDeadlines {
        category_ids: texts(&["a", "b", "a", "C"]),
        priorities: vec![3, 0, 3],
        value_class_ids: texts(&["best", "gold", "best", "Good"]),
        acknowledgement: allowed(Allowance::BusinessHours(87_673)),
        answer: allowed(Allowance::BusinessDays(0)),
        extended_resolution: allowed(Allowance::Days(-1)),
        ..Default::default()
    };
    let unknown = proto::ComplaintDeadlines {
        priorities: vec![4],
        answer: Some(proto::TimeAllowance { allowance: None }),
        resolution: allowed(Allowance::Weeks(522)),
        ..Default::default()
    };
    let policy = proto::ComplaintPolicy {
        categories: vec![category("a"), category("a")],
        deadlines: vec![rule, unknown, proto::ComplaintDeadlines::default()],
        ..Default::default()
    };
    let told = parse(Some(policy.clone())).unwrap_err();
    let expected = [
        "categories[1].category_id must be unique within the program",
        "deadlines[0].category_ids[1] must be a category of the program; there is none with the id b",
        "deadlines[0].category_ids[2] must be unique within the deadlines",
        "deadlines[0].category_ids[3] must be 1 to 63 characters of a-z, 0-9 and '-', and must not begin with '-'",
        "deadlines[0].priorities[1] must be set",
        "deadlines[0].priorities[2] must be unique within the deadlines",
        "deadlines[0].value_class_ids[1] must be a value class of the program; there is none with the id gold",
        "deadlines[0].value_class_ids[2] must be unique within the deadlines",
        "deadlines[0].value_class_ids[3] must be 1 to 63 characters of a-z, 0-9 and '-', and must not begin with '-'",
        "deadlines[0].extended_resolution must not be set without resolution",
        "deadlines[0].acknowledgement.business_hours must be from 1 to 87,672",
        "deadlines[0].answer.business_days must be from 1 to 3,653",
        "deadlines[0].extended_resolution.days must be from 1 to 3,653",
        "deadlines[1].priorities[0] must be one of the named values",
        "deadlines[1].answer must be one of business_hours, business_days, days and weeks",
        "deadlines[1].resolution.weeks must be from 1 to 521",
        "deadlines[2] must have an acknowledgement, an answer or a resolution",
    ];
    assert_eq!(told, expected.map(|fault| format!("it.{fault}")));

    // Where a category or a class could not be read, none is called missing.
    let unread = proto::ComplaintPolicy { categories: vec![category("a"), category("B")], ..policy };
    let told = parse_with(Some(unread), None).unwrap_err();
    assert!(told.iter().all(|fault| !fault.contains("there is none")), "{told:?}");
}
