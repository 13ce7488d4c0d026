//! Policies of value classes on the wire: what is refused of them, and how they come back.

use super::*;

fn name(_: &mut Fields, _: &str, name: &str) -> Option<String> {
    Some(name.to_owned())
}

/// Whole units and cents, for tests alone.
fn amount(_: &mut Fields, _: &str, amount: Option<&proto::google::Money>) -> Option<i64> {
    Some(amount.map_or(0, |amount| amount.units * 100 + i64::from(amount.nanos) / 10_000_000))
}

fn parse(policy: Option<proto::ValueClassPolicy>) -> Result<Option<ValueClassPolicy>, Vec<String>> {
    let mut fields = Fields::default();
    let parsed = parse_value_class_policy(&mut fields, "it", policy, name, amount);
    let violations = fields.into_violations().into_iter();
    let told: Vec<String> = violations.map(|fault| format!("{} {}", fault.field, fault.description)).collect();
    if told.is_empty() { Ok(parsed.unwrap()) } else { Err(told) }
}

fn usd() -> Currency {
    Currency::parse("USD").unwrap()
}

fn money(units: i64) -> proto::google::Money {
    proto::google::Money { currency_code: "USD".to_owned(), units, nanos: 0 }
}

fn class(class_id: &str, from: Option<ClassBound>, keep: Option<ClassBound>) -> ValueClass {
    let class_id = ValueClassId::try_from(class_id).unwrap();
    ValueClass { display_name: class_id.to_string(), class_id, from, keep, level: None }
}

/// A policy with everything in it, by percent.
fn by_percent() -> ValueClassPolicy {
    let mut best = class("best", Some(ClassBound::TopPercent(1)), Some(ClassBound::TopPercent(2)));
    best.level = Some(RelationshipLevel::Partner);
    ValueClassPolicy {
        measure: ValueMeasure::Margin,
        each: CalendarPeriod::Quarter,
        periods: Some(60),
        falls_after: Some(12),
        classes: vec![
            best,
            class("good", Some(ClassBound::TopPercent(99)), Some(ClassBound::TopPercent(100))),
            class("rest", None, None),
        ],
        levels: Some(LevelCuts { many_customers: 1, few_customers: 0, high_margin: 1, low_margin: 1 }),
    }
}

fn wire_class(class_id: &str, from: Option<Reached>, keep: Option<Keep>) -> proto::ValueClass {
    let (class_id, display_name) = (class_id.to_owned(), class_id.to_owned());
    proto::ValueClass { class_id, display_name, from, keep, level: 0 }
}

/// A sound policy but for its classes.
fn wire(classes: Vec<proto::ValueClass>) -> proto::ValueClassPolicy {
    proto::ValueClassPolicy {
        measure: proto::ValueMeasure::Spend.into(),
        each: proto::CalendarPeriod::Month.into(),
        classes,
        ..Default::default()
    }
}

#[test]
fn a_policy_is_the_same_once_it_was_written() {
    assert_eq!(parse(None), Ok(None));
    let by_amounts = ValueClassPolicy {
        measure: ValueMeasure::ExpectedValue,
        each: CalendarPeriod::Year,
        periods: None,
        falls_after: None,
        classes: vec![
            class("best", Some(ClassBound::Least(50_000)), Some(ClassBound::Least(0))),
            class("good", Some(ClassBound::Least(49_999)), None),
            class("rest", None, None),
        ],
        levels: None,
    };
    for policy in [by_percent(), by_amounts] {
        let written = write_value_class_policy(&policy, usd());
        assert_eq!(parse(Some(written)), Ok(Some(policy)));
    }
    for level in RelationshipLevel::ALL {
        let mut policy = by_percent();
        policy.classes[2].level = Some(*level);
        assert_eq!(parse(Some(write_value_class_policy(&policy, usd()))), Ok(Some(policy)));
    }
    for measure in ValueMeasure::ALL {
        let policy = ValueClassPolicy { measure: *measure, ..by_percent() };
        assert_eq!(parse(Some(write_value_class_policy(&policy, usd()))), Ok(Some(policy)));
    }
}

#[test]
fn all_faults_of_a_policy_are_told_at_once() {
    let levels = |many_customers, few_customers, high, low| {
        let (high_margin, low_margin) = (Some(money(high)), Some(money(low)));
        Some(proto::LevelCuts { many_customers, few_customers, high_margin, low_margin })
    };
    let bad = proto::ValueClassPolicy {
        each: proto::CalendarPeriod::Half.into(),
        periods: Some(61),
        falls_after: Some(0),
        levels: levels(1_000_000_001, -1, 0, 1),
        ..Default::default()
    };
    let expected = [
        "measure must be one of the named values",
        "each must be a month, a quarter or a year",
        "periods must be from 1 to 60",
        "falls_after must be from 1 to 12",
        "classes must have 2 to 10 items",
        "levels.many_customers must be from 1 to 1,000,000,000",
        "levels.few_customers must be zero or more",
        "levels.high_margin must be above zero",
    ];
    assert_eq!(parse(Some(bad)), Err(expected.map(|fault| format!("it.{fault}")).to_vec()));
    let sound = write_value_class_policy(&by_percent(), usd());
    let crossed = proto::ValueClassPolicy { each: 99, levels: levels(100, 100, 10, 11), ..sound.clone() };
    let expected = [
        "each must be one of the named values",
        "levels.few_customers must be less than many_customers, which is 100",
        "levels.low_margin must be no more than high_margin",
    ];
    assert_eq!(parse(Some(crossed)), Err(expected.map(|fault| format!("it.{fault}")).to_vec()));
    let unsaid = proto::ValueClassPolicy { levels: Some(proto::LevelCuts::default()), ..sound };
    let expected = ["levels.many_customers must be from 1 to 1,000,000,000", "levels.high_margin must be above zero"];
    assert_eq!(parse(Some(unsaid)), Err(expected.map(|fault| format!("it.{fault}")).to_vec()));
}

#[test]
fn all_faults_of_classes_are_told_at_once() {
    let (least, keep_least) = (|units| Some(Reached::Least(money(units))), |units| Some(Keep::KeepLeast(money(units))));
    let (top, keep_top) = (|percent| Some(Reached::TopPercent(percent)), |percent| Some(Keep::KeepTopPercent(percent)));
    let mut last = wire_class("last", least(1), keep_top(2));
    last.level = 6;
    let classes = vec![
        wire_class("a", least(100), keep_least(100)),
        wire_class("a", least(100), keep_top(50)),
        wire_class("B", least(0), None),
        wire_class("c", top(20), keep_top(20)),
        wire_class("d", None, keep_least(1)),
        wire_class("e", top(100), keep_top(101)),
        last,
    ];
    let expected = [
        "classes[0].keep_least must be less than least",
        "classes[1].class_id must be unique within the program",
        "classes[1].least must be less than in the class above",
        "classes[1].keep_top_percent must not be set beside least",
        "classes[2].class_id must be 1 to 63 characters of a-z, 0-9 and '-', and must not begin with '-'",
        "classes[2].least must be above zero",
        "classes[3].top_percent must not be set where the class above has least",
        "classes[3].keep_top_percent must be more than top_percent, which is 20",
        "classes[4] must have least or top_percent, as all classes but the last",
        "classes[5].top_percent must be from 1 to 99",
        "classes[5].keep_top_percent must be from 2 to 100",
        "classes[6].least must not be set: the last class is that of everybody else",
        "classes[6].keep_top_percent must not be set: the last class is that of everybody else",
        "classes[6].level must be one of the named values",
    ];
    assert_eq!(parse(Some(wire(classes))), Err(expected.map(|fault| format!("it.{fault}")).to_vec()));
    let rest = || wire_class("rest", None, None);
    let classes = vec![
        wire_class("a", top(20), keep_least(1)),
        wire_class("b", top(20), None),
        wire_class("c", least(1), None),
        rest(),
    ];
    let expected = [
        "classes[0].keep_least must not be set beside top_percent",
        "classes[1].top_percent must be more than in the class above, which has 20",
        "classes[2].least must not be set where the class above has top_percent",
    ];
    assert_eq!(parse(Some(wire(classes))), Err(expected.map(|fault| format!("it.{fault}")).to_vec()));
    let many = (1..=10).map(|percent| wire_class(&format!("top-{percent}"), top(percent), None)).chain([rest()]);
    assert_eq!(parse(Some(wire(many.collect()))), Err(vec!["it.classes must have 2 to 10 items".to_owned()]));
    assert_eq!(parse(Some(wire(vec![rest()]))), Err(vec!["it.classes must have 2 to 10 items".to_owned()]));
}

#[test]
fn classes_are_known_where_all_could_be_read() {
    assert_eq!(known_classes(None), Some(BTreeSet::new()));
    let written = write_value_class_policy(&by_percent(), usd());
    let ids = ["best", "good", "rest"].map(|class_id| ValueClassId::try_from(class_id).unwrap());
    assert_eq!(known_classes(Some(&written)), Some(BTreeSet::from(ids)));
    assert_eq!(known_classes(Some(&wire(vec![wire_class("A", None, None)]))), None);
}
