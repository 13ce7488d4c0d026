//! Documents that say something of points, to the wire and back.

use goldbook_api::v1::{PeriodCap, Program};

use super::super::check::{Checked, read_sound};
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
    read_sound(&document(points)).unwrap()
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
fn a_mistake_about_points_is_told_with_its_place_and_what_is_expected() {
    for (wrong, line, expected) in [
        ("colour = \"red\"", 8, "points: unknown key \"colour\"; known are point_value, hold_for, clawback"),
        ("vesting = \"later\"", 8, "points.vesting must be \"immediate\", { after = \"P14D\" }"),
        ("vesting = { after = \"P1D\", at = 2026-01-01T00:00:00Z }", 8, "points.vesting must be \"immediate\""),
        ("vesting = { at = 2026-01-01 }", 8, "points.vesting.at must be an instant with its offset"),
        ("expiry = { after = \"P1Y\", round_to = \"decade\" }", 8, "points.expiry.round_to must be \"day\", \"week\""),
        ("expiry = { sliding = \"P1Y\", round_to = \"day\" }", 8, "points.expiry must be \"never\""),
        ("expiry = {}", 8, "points.expiry must be \"never\""),
        ("expiry = { aftr = \"P1Y\" }", 8, "points.expiry: unknown key \"aftr\"; did you mean \"after\"?"),
        ("clawback = \"all\"", 8, "points.clawback must be \"unspent_only\", \"within_balance\" or \"allow_debt\""),
        ("point_value = 0.01", 8, "points.point_value must be a decimal in quotes"),
        ("hold_for = 7", 8, "points.hold_for must be text in quotes"),
        ("hold_for = \"7 days\"", 8, "points.hold_for must be an ISO 8601 period"),
        ("redemption = { minimum = 1.5 }", 8, "points.redemption.minimum must be a whole number"),
        ("redemption = { minimum = 5, step = 2 }", 8, "points.redemption.minimum must be a multiple of step"),
        ("reinstatement = { within = \"P1D\" }", 8, "points.reinstatement.valid_for is missing"),
        ("[[points.earning.per_period]]\nperiod = \"hour\"\npoints = 1", 9, "per_period[1].period must be \"day\""),
    ] {
        let checked = Checked::of(document(&format!("[points]\n{wrong}\n")));
        let mistakes = checked.mistakes("shop.toml".as_ref());
        assert_eq!(mistakes.len(), 1, "{wrong}: {mistakes:?}");
        assert!(mistakes[0].starts_with(&format!("shop.toml:{line}:")), "{wrong}: {mistakes:?}");
        assert!(mistakes[0].contains(expected), "{wrong}: {mistakes:?}");
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
        assert_eq!(Checked::of(text.clone()).mistakes("shop.toml".as_ref()), [""; 0]);
        let program = read_sound(&text).unwrap();
        let policy = program.points.clone().unwrap();
        assert!(policy.vesting.is_some() && policy.expiry.is_some() && policy.reinstatement.is_some());
        assert_eq!(policy.earning.unwrap().per_period.len(), 1);
        assert!(written(program).contains("point_value = \"0.01\""));
    }
}
