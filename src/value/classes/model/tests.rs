//! Where classes begin, and who is of which.

use jiff::civil::date;

use super::*;
use crate::programs::points::CalendarPeriod;
use crate::programs::value_classes::{LevelCuts, ValueClass};

fn class(class_id: &str, from: Option<ClassBound>, keep: Option<ClassBound>) -> ValueClass {
    let class_id = class_id.try_into().unwrap();
    ValueClass { class_id, display_name: String::new(), from, keep, level: None }
}

fn policy(classes: Vec<ValueClass>, falls_after: Option<i32>) -> ValueClassPolicy {
    let (measure, each) = (ValueMeasure::Spend, CalendarPeriod::Month);
    ValueClassPolicy { measure, each, periods: None, falls_after, classes, levels: None }
}

fn by_amount(falls_after: i32) -> ValueClassPolicy {
    use ClassBound::Least;
    let classes = vec![
        class("a", Some(Least(1_000)), Some(Least(800))),
        class("b", Some(Least(500)), Some(Least(300))),
        class("c", None, None),
    ];
    policy(classes, Some(falls_after))
}

fn roll(worths: &[i64]) -> Roll {
    let mut roll = Roll::new(MAX_CLASSED);
    worths.iter().for_each(|amount| roll.add(worth(*amount), None).unwrap());
    roll
}

fn ranked(worths: &[i64]) -> Ranked {
    roll(worths).ranked()
}

fn held(class_id: &str, ends_below: i32) -> Held {
    Held { class_id: class_id.try_into().unwrap(), level: None, ends_below }
}

fn worth(worth: i64) -> Measured {
    Measured { worth: Some(worth), margin: 0 }
}

/// The class and the number of ends below it.
fn place(falls_after: i32, amount: i64, before: Option<&Held>) -> (String, i32) {
    let standard = Standard::begin(&by_amount(falls_after), &ranked(&[]));
    let placed = standard.place(worth(amount), before).unwrap();
    (standard.classes[placed.class].class_id.to_string(), placed.ends_below)
}

#[test]
fn customers_rise_at_once_and_fall_below_what_keeps_them() {
    let of = |amount, before| place(1, amount, before).0;
    assert_eq!([999, 1_000, 499].map(|amount| of(amount, None)), ["b", "a", "c"]);
    let (a, b, c) = (held("a", 0), held("b", 0), held("c", 0));
    assert_eq!([1_000, 800, 799, 500, 300, 299].map(|amount| of(amount, Some(&a))), ["a", "a", "b", "b", "b", "c"]);
    assert_eq!([1_000, 999, 300, 299].map(|amount| of(amount, Some(&b))), ["a", "b", "b", "c"]);
    assert_eq!([1_000, 500, 499].map(|amount| of(amount, Some(&c))), ["a", "b", "c"]);
    // A class that the program has no more holds nobody.
    assert_eq!(of(800, Some(&held("gone", 0))), "b");
}

/// The bounds of one class say nothing about another: each keeps who is not below its own.
#[test]
fn a_class_that_is_kept_for_little_keeps_nobody_of_the_class_below() {
    use ClassBound::Least;
    let classes =
        vec![class("a", Some(Least(100)), Some(Least(40))), class("b", Some(Least(50)), None), class("c", None, None)];
    let standard = Standard::begin(&policy(classes, None), &ranked(&[]));
    let of = |before: &str, amount| standard.place(worth(amount), Some(&held(before, 0))).unwrap().class;
    assert_eq!([of("a", 45), of("b", 50), of("b", 45), of("a", 39)], [0, 1, 2, 2]);
}

#[test]
fn whoever_buys_nothing_meets_no_bound() {
    let classes = vec![class("a", Some(ClassBound::Least(100)), Some(ClassBound::Least(0))), class("b", None, None)];
    let standard = Standard::begin(&policy(classes, None), &ranked(&[]));
    let of = |measured| standard.place(measured, Some(&held("a", 0))).unwrap().class;
    assert_eq!((of(worth(0)), of(Measured::default())), (0, 1));
}

#[test]
fn customers_are_below_at_several_ends_in_a_row_before_they_fall() {
    let at = |amount, before: &Held| place(3, amount, Some(before));
    assert_eq!(at(0, &held("a", 0)), ("a".to_owned(), 1));
    assert_eq!(at(0, &held("a", 1)), ("a".to_owned(), 2));
    assert_eq!(at(350, &held("a", 2)), ("b".to_owned(), 0));
    assert_eq!(at(0, &held("a", 2)), ("c".to_owned(), 0));
    // What keeps them once ends the row.
    assert_eq!(at(800, &held("a", 2)), ("a".to_owned(), 0));
    // A longer row than the policy now asks for ends at once.
    assert_eq!(place(1, 0, Some(&held("a", 7))), ("c".to_owned(), 0));
    assert_eq!(at(1_000, &held("b", 2)), ("a".to_owned(), 0));
}

#[test]
fn whoever_was_never_worth_anything_has_no_class() {
    let standard = Standard::begin(&by_amount(1), &ranked(&[]));
    assert_eq!(standard.place(Measured::default(), None), None);
    assert_eq!(standard.place(Measured::default(), Some(&held("a", 0))), Some(Placed { class: 2, ends_below: 0 }));
    assert_eq!(standard.place(worth(0), None), Some(Placed { class: 2, ends_below: 0 }));
}

#[test]
fn a_share_of_all_is_from_an_amount_on_and_equals_are_together() {
    let top = |percent: i32, worths: &[i64]| ranked(worths).amount(ClassBound::TopPercent(percent));
    assert_eq!(top(20, &[5, 1, 4, 2, 3]), 5);
    assert_eq!(top(21, &[5, 1, 4, 2, 3]), 4);
    assert_eq!(top(40, &[5, 1, 4, 4, 3]), 4);
    // Nobody is at the top for nothing, or for less.
    assert_eq!((top(100, &[5, 1, 4, 4, -3]), top(20, &[0, 0])), (1, 1));
    // Where there is anybody, somebody is at the top; where there is nobody, nobody is.
    assert_eq!(top(1, &[7]), 7);
    assert_eq!(top(20, &[]), i64::MAX);
    let policy = policy(
        vec![
            class("a", Some(ClassBound::TopPercent(20)), Some(ClassBound::TopPercent(40))),
            class("b", Some(ClassBound::TopPercent(60)), None),
            class("c", None, None),
        ],
        None,
    );
    let standard = Standard::begin(&policy, &ranked(&[50, 40, 30, 20, 10]));
    let bounds: Vec<_> = standard.classes.iter().map(|class| (class.from, class.keep)).collect();
    assert_eq!(bounds, [(Some(50), Some(40)), (Some(30), Some(30)), (None, None)]);
}

#[test]
fn a_level_is_that_of_the_class_or_follows_from_who_is_in_it() {
    let mut policy = by_amount(1);
    policy.levels = Some(LevelCuts { many_customers: 3, few_customers: 1, high_margin: 100, low_margin: 10 });
    policy.classes[1].level = Some(RelationshipLevel::Basic);
    let mut standard = Standard::begin(&policy, &ranked(&[]));
    let mut count = |class, margin| {
        standard.count(Measured { worth: None, margin }, Placed { class, ends_below: 0 });
    };
    count(1, 1_000);
    count(2, 40);
    count(2, 20);
    standard.level(&policy);
    let levels: Vec<_> = standard.classes.iter().map(|class| (class.customers, class.margin, class.level)).collect();
    let (basic, accountable) = (RelationshipLevel::Basic, RelationshipLevel::Accountable);
    assert_eq!(levels, [(0, 0, None), (1, 1_000, Some(basic)), (2, 60, Some(accountable))]);
}

#[test]
fn the_days_that_are_looked_at_are_those_of_whole_periods() {
    let of = |each, periods, until| {
        let policy = ValueClassPolicy { each, periods, ..policy(Vec::new(), None) };
        let Days { from, until } = days_before(&policy, until);
        (from, until)
    };
    let day = date(2027, 4, 1);
    assert_eq!(of(CalendarPeriod::Month, None, day), (date(2026, 4, 1), day));
    assert_eq!(of(CalendarPeriod::Month, Some(1), day), (date(2027, 3, 1), day));
    assert_eq!(of(CalendarPeriod::Quarter, Some(2), day), (date(2026, 10, 1), day));
    assert_eq!(of(CalendarPeriod::Year, None, date(2027, 1, 1)), (date(2026, 1, 1), date(2027, 1, 1)));
    // Within a period, that one is the last.
    let within = date(2027, 5, 12);
    assert_eq!(of(CalendarPeriod::Quarter, Some(2), within), (date(2027, 1, 1), within));
    let policy = policy(Vec::new(), None);
    assert!(is_end(&policy, date(2027, 5, 1)) && !is_end(&policy, within));
    let quarterly = ValueClassPolicy { each: CalendarPeriod::Quarter, ..policy };
    assert!(is_end(&quarterly, date(2027, 4, 1)) && !is_end(&quarterly, date(2027, 5, 1)));
}

#[test]
fn everybody_is_classed_and_who_moves_is_counted() {
    let mut roll = roll(&[1_000, 400, 0]);
    roll.add(worth(900), Some(&held("a", 0))).unwrap();
    roll.add(worth(100), Some(&held("a", 0))).unwrap();
    roll.add(worth(100), Some(&held("b", 1))).unwrap();
    roll.add(Measured::default(), Some(&held("gone", 0))).unwrap();
    // Nobody can tell anything of such a one.
    roll.add(Measured::default(), None).unwrap();
    let Outcome { standard, ranked, moves, below } = roll.class(&by_amount(2));
    assert_eq!((ranked, below), (6, 1));
    assert_eq!(standard.classes.iter().map(|class| class.customers).collect::<Vec<_>>(), [3, 0, 4]);
    let moves: Vec<_> = moves
        .iter()
        .map(|((from, to), customers)| (from.as_ref().map(ValueClassId::as_str), to.as_str(), *customers))
        .collect();
    assert_eq!(moves, [(None, "a", 1), (None, "c", 2), (Some("b"), "c", 1), (Some("gone"), "c", 1)]);
}

#[test]
fn what_is_kept_of_a_customer_is_small_and_there_is_an_end_to_it() {
    assert!(size_of::<Brief>() <= 32);
    let mut few = Roll::new(2);
    assert_eq!(
        [few.add(worth(1), None), few.add(worth(1), None), few.add(worth(1), None)],
        [Ok(()), Ok(()), Err(TooMany)]
    );
    assert_eq!(few.add(Measured::default(), None), Ok(()));
}
