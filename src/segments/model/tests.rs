use jiff::civil::date;

use super::*;
use crate::customers::model::ImportantDate;
use crate::ids::SegmentId;
use crate::programs::segments::Clause;
use crate::programs::tier_policy::Metric;
use crate::tiers::counting::DayCount;

const TODAY: Date = date(2026, 3, 10);

fn known() -> Known {
    let (near, far) = (date(2026, 3, 1), date(2025, 1, 1));
    let day = |spend| DayCount { spend, purchases: 1, visits: 1, ..DayCount::default() };
    let mut history = History { read: vec![DayRange::ALL], ..History::empty() };
    for (day, count) in [(far, day(500)), (near, day(70))] {
        history = history.with(day, &count).unwrap();
    }
    let important = ImportantDate { label: "wedding".to_owned(), date: PartialDate { year: 0, month: 3, day: 12 } };
    Known {
        tier_id: TierId::try_from("gold").unwrap(),
        tier_since: near,
        enrolled_on: Some(far),
        history,
        class: Some((ValueClassId::try_from("best").unwrap(), Some(RelationshipLevel::Partner))),
        stage: Some(Stage::AtRisk),
        open_complaints: 1,
        answers: Answers { satisfaction: Some(2), recommendation: None },
        told: Told {
            language: "de-ch".to_owned(),
            region_code: "ch".to_owned(),
            birth_date: Some(PartialDate { year: 1980, month: 2, day: 29 }),
            important_dates: vec![important],
            interests: ["golf".to_owned()].into(),
            attributes: [("sport".to_owned(), "tennis".to_owned())].into(),
        },
        consents: vec![MarketingChannel::Email],
    }
}

/// Of somebody of whom nothing is known but the tier.
fn unknown() -> Known {
    Known {
        enrolled_on: None,
        history: History::empty(),
        class: None,
        stage: None,
        open_complaints: 0,
        answers: Answers::default(),
        told: Told::default(),
        consents: Vec::new(),
        ..known()
    }
}

fn at_least(least: i64) -> Bounds {
    Bounds { at_least: Some(least), at_most: None }
}

fn at_most(most: i64) -> Bounds {
    Bounds { at_least: None, at_most: Some(most) }
}

fn counted(metric: Metric, bounds: Bounds, days: Option<i32>) -> SegmentCondition {
    SegmentCondition::Counted { metric, bounds, days }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn attribute(key: &str, values: &[&str]) -> SegmentCondition {
    SegmentCondition::Attribute { key: key.to_owned(), values: texts(values) }
}

fn coming(date: ComingDate, within_days: i32) -> SegmentCondition {
    SegmentCondition::Coming { date, within_days }
}

fn since(event: SegmentEvent, days: Bounds) -> SegmentCondition {
    SegmentCondition::Since { event, days }
}

fn segment(conditions: &[(&SegmentCondition, bool)]) -> Segment {
    let clauses =
        conditions.iter().map(|(condition, negated)| Clause { condition: (*condition).clone(), negated: *negated });
    fold_case(&Segment {
        segment_id: SegmentId::try_from("some").unwrap(),
        display_name: "Some".to_owned(),
        clauses: clauses.collect(),
    })
}

/// Of each kind of clause one that holds of the customer, and one that does not.
fn conditions() -> Vec<(SegmentCondition, SegmentCondition)> {
    use SegmentCondition::{
        Consents, Interests, Languages, Levels, OpenComplaints, RegionCodes, Stages, Tiers, ValueClasses,
    };
    use SegmentCondition::{Recommendation, Satisfaction};
    use SegmentEvent::{FirstPurchase, Joined, LastPurchase, TierChange};
    let tier = |id: &str| Tiers(vec![TierId::try_from(id).unwrap()]);
    let class = |id: &str| ValueClasses(vec![ValueClassId::try_from(id).unwrap()]);
    let wedding = |label: &str, days| coming(ComingDate::ImportantDate(label.to_owned()), days);
    vec![
        (tier("gold"), tier("silver")),
        (class("best"), class("rest")),
        (Levels(vec![RelationshipLevel::Basic, RelationshipLevel::Partner]), Levels(vec![RelationshipLevel::Basic])),
        (Stages(vec![Stage::AtRisk]), Stages(vec![Stage::Lost, Stage::Lapsed])),
        (attribute("sport", &["golf", "tennis"]), attribute("sport", &["Tennis"])),
        (attribute("sport", &[]), attribute("dog", &[])),
        (Languages(texts(&["DE"])), Languages(texts(&["d", "de-AT", "fr"]))),
        (RegionCodes(texts(&["AT", "CH"])), RegionCodes(texts(&["AT"]))),
        (Interests(texts(&["golf"])), Interests(texts(&["gol"]))),
        (counted(Metric::Spend, at_least(570), None), counted(Metric::Spend, at_least(571), None)),
        (counted(Metric::Purchases, at_least(1), Some(10)), counted(Metric::Purchases, at_least(1), Some(9))),
        (counted(Metric::Purchases, at_most(0), Some(9)), counted(Metric::Purchases, at_most(0), Some(10))),
        (OpenComplaints(at_least(1)), OpenComplaints(at_least(2))),
        (Satisfaction(at_most(2)), Satisfaction(at_least(3))),
        (since(Joined, at_least(433)), since(Joined, at_least(434))),
        (since(FirstPurchase, at_most(433)), since(FirstPurchase, at_most(432))),
        (since(LastPurchase, at_least(9)), since(LastPurchase, at_least(10))),
        (since(TierChange, at_most(9)), since(TierChange, at_most(8))),
        (wedding("Wedding", 3), wedding("wedding", 2)),
        (coming(ComingDate::Birthday, 356), coming(ComingDate::Birthday, 355)),
        (Consents(vec![MarketingChannel::Sms, MarketingChannel::Email]), Consents(vec![MarketingChannel::Post])),
        (tier("gold"), Recommendation(at_least(0))),
    ]
}

#[test]
fn each_clause_holds_of_some_and_not_of_others() {
    let known = known();
    for (holding, failing) in conditions() {
        assert_eq!(is_in(&segment(&[(&holding, false)]), &known, TODAY), Ok(true), "{holding:?}");
        assert_eq!(is_in(&segment(&[(&holding, true)]), &known, TODAY), Ok(false), "{holding:?}");
        assert_eq!(is_in(&segment(&[(&failing, false)]), &known, TODAY), Ok(false), "{failing:?}");
        assert_eq!(is_in(&segment(&[(&failing, true)]), &known, TODAY), Ok(true), "{failing:?}");
        assert_eq!(is_in(&segment(&[(&holding, false), (&failing, false)]), &known, TODAY), Ok(false));
        assert_eq!(is_in(&segment(&[(&holding, false), (&failing, true)]), &known, TODAY), Ok(true));
    }
}

#[test]
fn what_is_not_known_does_not_hold_and_its_negation_does() {
    let unknown = unknown();
    let told_of_everybody = |condition: &SegmentCondition| {
        matches!(
            condition,
            SegmentCondition::Tiers(_)
                | SegmentCondition::Counted { .. }
                | SegmentCondition::OpenComplaints(_)
                | SegmentCondition::Since { event: SegmentEvent::TierChange, .. }
        )
    };
    for (condition, _) in conditions().into_iter().filter(|(condition, _)| !told_of_everybody(condition)) {
        assert_eq!(is_in(&segment(&[(&condition, false)]), &unknown, TODAY), Ok(false), "{condition:?}");
        assert_eq!(is_in(&segment(&[(&condition, true)]), &unknown, TODAY), Ok(true), "{condition:?}");
    }
}

#[test]
fn all_that_segments_need_is_told_and_nothing_else() {
    let nothing = Needed::of(&[], TODAY);
    assert_eq!(nothing.days, DayRange { from: Some(date(2026, 3, 11)), until: None });
    let (long, short) = (counted(Metric::Spend, at_least(1), Some(30)), counted(Metric::Spend, at_least(1), Some(2)));
    let both = Needed::of(&[segment(&[(&long, false)]), segment(&[(&short, false)])], TODAY);
    assert_eq!(both, Needed { days: window(TODAY, 30), ..nothing.clone() });
    let whole = counted(Metric::Points, at_least(1), None);
    assert_eq!(Needed::of(&[segment(&[(&whole, false)])], TODAY), nothing);
    // What is needed is enough.
    let mut known = known();
    known.history.read = vec![window(TODAY, 30)];
    assert_eq!(is_in(&segment(&[(&long, false), (&short, true), (&whole, true)]), &known, TODAY), Ok(true));
    known.history.read = vec![window(TODAY, 29)];
    assert_eq!(is_in(&segment(&[(&long, false)]), &known, TODAY), Err(NotRead));
    let bought = since(SegmentEvent::LastPurchase, at_least(1));
    assert_eq!(is_in(&segment(&[(&bought, false)]), &known, TODAY), Err(NotRead));
    let days = Needed::of(&[segment(&[(&bought, false), (&long, false)])], TODAY).days;
    assert_eq!(days, DayRange { from: Some(EARLIEST), until: None });
    let asked = Needed::of(&[segment(&[(&attribute("b", &[]), false), (&attribute("a", &[]), true)])], TODAY);
    assert_eq!((asked.attributes, asked.dossiers), (texts(&["a", "b"]), true));
}

#[test]
fn a_date_comes_again_each_year_and_a_leap_day_on_the_28th_in_other_years() {
    let of = |month, day| PartialDate { year: 0, month, day };
    let rows = [
        (date(2026, 3, 10), of(3, 10), 0),
        (date(2026, 3, 10), of(3, 9), 364),
        (date(2026, 2, 27), of(2, 29), 1),
        (date(2026, 2, 28), of(2, 29), 0),
        (date(2026, 3, 1), of(2, 29), 364),
        (date(2028, 2, 28), of(2, 29), 1),
        (date(2027, 3, 1), of(2, 29), 365),
        (date(2026, 12, 31), of(1, 1), 1),
    ];
    for (today, date, days) in rows {
        assert_eq!(days_until(today, date), Some(days), "{today} {date:?}");
    }
    assert_eq!(days_until(date(9999, 12, 31), of(1, 1)), None);
}
