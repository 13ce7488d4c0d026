//! Documents that say something of points, to the wire and back.

use goldbook_api::v1::Program;

use super::super::document::Document;
use super::super::{DOCUMENT_HELP, difference};
use super::*;
use crate::cli::output::Style;

/// As the service's answer is written.
const POINTS: &str = r#"[points]
point_value = "0.01"
hold_for = "P3D"
clawback = "within_balance"

[points.vesting]
after = "P14D"

[points.expiry]
after = "P1Y"
round_to = "quarter"

[points.redemption]
minimum = 100
step = 50
maximum = 10000

[points.earning]
per_transaction = 5000

[[points.earning.per_period]]
period = "day"
points = 6000

[[points.earning.per_period]]
period = "year"
points = 100000

[points.reinstatement]
within = "P30D"
valid_for = "P90D"
"#;

/// A document with these tables, at the place where they are written.
fn document(points: &str) -> String {
    let head = "program_id = \"shop\"\ndisplay_name = \"Shop\"\ncurrency = \"USD\"\ntime_zone = \"UTC\"\n\
                points_per_unit = \"1\"\n";
    let tiers = "\n[[tiers]]\ntier_id = \"member\"\ndisplay_name = \"Member\"\nthreshold = \"0.00\"\n";
    let space = if points.is_empty() { "" } else { "\n" };
    format!("{head}{space}{points}{tiers}")
}

fn program(points: &str) -> Program {
    Document::parse(&document(points)).unwrap().into_proto()
}

fn written(program: Program) -> String {
    Document::from_proto(program).unwrap().to_toml().unwrap()
}

#[test]
fn what_a_document_says_of_points_comes_back_from_the_wire_as_it_was_written() {
    assert_eq!(written(program(POINTS)), document(POINTS));
    let policy = program(POINTS).points.unwrap();
    assert_eq!((policy.hold_for.as_str(), policy.point_value.as_str()), ("P3D", "0.01"));
    assert_eq!(policy.clawback(), Clawback::WithinBalance);
    assert_eq!(policy.vesting.unwrap().rule, Some(vesting_rule::Rule::After("P14D".to_owned())));
    let after = expiry_rule::After { period: "P1Y".to_owned(), round_to: CalendarPeriod::Quarter.into() };
    assert_eq!(policy.expiry.unwrap().rule, Some(expiry_rule::Rule::After(after)));
    let year = PeriodCap { period: CalendarPeriod::Year.into(), points: 100_000 };
    assert_eq!(policy.earning.unwrap().per_period[1], year);
}

#[test]
fn each_rule_has_a_short_form_and_one_way_of_being_written() {
    for (short, long) in [
        ("vesting = { after = \"P14D\" }", "[points.vesting]\nafter = \"P14D\""),
        ("vesting = { on_event_within = \"P30D\" }", "[points.vesting]\non_event_within = \"P30D\""),
        ("vesting = { at = 2026-01-01T00:00:00Z }", "[points.vesting]\nat = \"2026-01-01T00:00:00Z\""),
        ("expiry = { after = \"P1Y\" }", "[points.expiry]\nafter = \"P1Y\""),
        (
            "expiry = { after = \"P1Y\", round_to = \"month\" }",
            "[points.expiry]\nafter = \"P1Y\"\nround_to = \"month\"",
        ),
        ("expiry = { at = \"2026-01-01T00:00:00-05:00\" }", "[points.expiry]\nat = \"2026-01-01T05:00:00Z\""),
        ("expiry = { sliding = \"P1Y\" }", "[points.expiry]\nsliding = \"P1Y\""),
    ] {
        let (short, long) = (format!("[points]\n{short}\n"), format!("{long}\n"));
        assert_eq!(program(&short), program(&long), "{short}");
        assert!(written(program(&short)).contains(&long), "{short}: {}", written(program(&short)));
    }
}

#[test]
fn defaults_need_no_saying() {
    let defaults = "[points]\nvesting = \"immediate\"\nexpiry = \"never\"\nclawback = \"allow_debt\"\n\
                    hold_for = \"P7D\"\n[points.redemption]\nminimum = 1\nstep = 1\n[points.earning]\n";
    for points in ["[points]\n", defaults] {
        assert_eq!(written(program(points)), document(""), "{points}");
    }
    assert_eq!(program("").points, None);
}

#[test]
fn a_difference_shows_what_changes_about_points() {
    let (old, new) = (written(program("")), written(program("[points]\nexpiry = { sliding = \"P1Y\" }\n")));
    let shown = difference::show(("old", &old), ("new", &new), Style::plain());
    assert!(shown.contains("\n+[points.expiry]\n+sliding = \"P1Y\"\n"), "{shown}");
}

#[test]
fn a_mistake_about_points_is_told_with_its_line_and_what_is_expected() {
    for (wrong, line, expected) in [
        ("colour = \"red\"", 8, "unknown field `colour`, expected one of"),
        ("vesting = \"later\"", 8, "expected \"immediate\", { after = \"P14D\" }"),
        ("vesting = { after = \"P1D\", at = 2026-01-01T00:00:00Z }", 8, "expected \"immediate\""),
        ("vesting = { at = 2026-01-01 }", 8, "expected \"immediate\""),
        ("expiry = { after = \"P1Y\", round_to = \"decade\" }", 8, "expected \"never\", { after = \"P1Y\" }"),
        ("expiry = { sliding = \"P1Y\", round_to = \"day\" }", 8, "expected \"never\""),
        ("expiry = {}", 8, "expected \"never\""),
        ("clawback = \"all\"", 8, "expected one of `unspent_only`, `within_balance`, `allow_debt`"),
        ("point_value = 0.01", 8, "a decimal in quotes, such as"),
        ("hold_for = 7", 8, "expected a string"),
        ("redemption = { minimum = 1.5 }", 8, "expected i64"),
        ("reinstatement = { within = \"P1D\" }", 8, "missing field `valid_for`"),
        ("[[points.earning.per_period]]\nperiod = \"hour\"\npoints = 1", 9, "unknown variant `hour`"),
    ] {
        let error = Document::parse(&document(&format!("[points]\n{wrong}\n"))).unwrap_err();
        assert!(error.contains(&format!("line {line},")), "{wrong}: {error}");
        assert!(error.contains(expected), "{wrong}: {error}");
    }
}

#[test]
fn what_only_a_newer_service_knows_is_no_document() {
    let with = |change: fn(&mut PointsPolicy)| {
        let mut newer = program(POINTS);
        change(newer.points.as_mut().unwrap());
        Document::from_proto(newer).unwrap_err().to_string()
    };
    for error in [
        with(|policy| policy.vesting = Some(VestingRule { rule: None })),
        with(|policy| policy.expiry = Some(ExpiryRule { rule: None })),
        with(|policy| policy.clawback = 99),
        with(|policy| policy.earning.as_mut().unwrap().per_period[0].period = 99),
    ] {
        assert!(error.contains("is the service newer?"), "{error}");
    }
}

#[test]
fn the_documents_of_the_help_and_the_manual_are_documents() {
    let (_, help) = DOCUMENT_HELP.split_once("The document:\n").unwrap();
    let (help, _) = help.split_once("Examples:\n").unwrap();
    let (_, manual) = include_str!("../../../../docs/programs.md").split_once("```toml\n").unwrap();
    let (manual, _) = manual.split_once("```").unwrap();
    for text in [help.to_owned(), document(manual)] {
        let program = Document::parse(&text).unwrap().into_proto();
        let policy = program.points.clone().unwrap();
        assert!(policy.vesting.is_some() && policy.expiry.is_some() && policy.reinstatement.is_some());
        assert_eq!(policy.earning.unwrap().per_period.len(), 1);
        assert!(written(program).contains("point_value = \"0.01\""));
    }
}
