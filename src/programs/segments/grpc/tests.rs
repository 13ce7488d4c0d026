//! Segments on the wire: what is refused of them, and how they come back.

use super::*;
use crate::money::Currency;
use crate::programs::segments::{Bounds, SegmentEvent};
use crate::programs::tier_policy::Metric;
use crate::proto::fields::parse_money;

fn name(_: &mut Fields, _: &str, name: &str) -> Option<String> {
    Some(name.to_owned())
}

fn amount(fields: &mut Fields, path: &str, amount: Option<&proto::google::Money>) -> Option<i64> {
    parse_money(fields, path, amount).map(|money| money.minor)
}

fn usd() -> Currency {
    Currency::parse("USD").unwrap()
}

/// Parses segments of a program with one tier and one value class, each of which may be one that could not be read.
fn parse_in(
    tier_id: Option<&str>,
    class_ids: Option<[&str; 1]>,
    segments: Vec<proto::Segment>,
) -> Result<Vec<Segment>, Vec<String>> {
    let mut fields = Fields::default();
    let tier_id = tier_id.map(|tier_id| TierId::try_from(tier_id).unwrap());
    let tiers = [TierOutline { tier_id, ..TierOutline::default() }];
    let classes = class_ids.map(|ids| BTreeSet::from(ids.map(|class_id| ValueClassId::try_from(class_id).unwrap())));
    let parsed = parse_segments(&mut fields, "it", segments, (tiers.as_slice(), classes.as_ref()), name, amount);
    let violations = fields.into_violations().into_iter();
    let told: Vec<String> = violations.map(|fault| format!("{} {}", fault.field, fault.description)).collect();
    if told.is_empty() { Ok(parsed.unwrap()) } else { Err(told) }
}

fn parse(segments: Vec<proto::Segment>) -> Result<Vec<Segment>, Vec<String>> {
    parse_in(Some("gold"), Some(["best"]), segments)
}

fn wire(segment_id: &str, clauses: Vec<proto::SegmentClause>) -> proto::Segment {
    let (segment_id, display_name) = (segment_id.to_owned(), segment_id.to_owned());
    proto::Segment { segment_id, display_name, clauses }
}

fn clause(condition: Condition) -> proto::SegmentClause {
    proto::SegmentClause { condition: Some(condition), negated: false }
}

/// What is told of conditions, each in a clause of its own of one segment.
fn faults(conditions: Vec<Condition>) -> Vec<String> {
    let told = parse(vec![wire("a", conditions.into_iter().map(clause).collect())]).err().unwrap_or_default();
    told.iter().map(|fault| fault.replace("it[0].clauses", "")).collect()
}

fn texts<const N: usize>(texts: [&str; N]) -> proto::Texts {
    proto::Texts { texts: texts.map(str::to_owned).to_vec() }
}

fn many(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("t{i}")).collect()
}

fn money(units: i64, nanos: i32) -> Option<proto::google::Money> {
    Some(proto::google::Money { currency_code: "USD".to_owned(), units, nanos })
}

fn spend(at_least: Option<proto::google::Money>, at_most: Option<proto::google::Money>) -> proto::AmountCondition {
    proto::AmountCondition { amount: proto::SegmentAmount::Spend.into(), at_least, at_most, days: None }
}

fn margin(at_least: Option<proto::google::Money>, at_most: Option<proto::google::Money>) -> Condition {
    let amount = proto::SegmentAmount::Margin.into();
    Condition::Amount(proto::AmountCondition { amount, ..spend(at_least, at_most) })
}

fn count(count: proto::SegmentCount, at_least: Option<i64>, at_most: Option<i64>, days: Option<i32>) -> Condition {
    Condition::Count(proto::CountCondition { count: count.into(), at_least, at_most, days })
}

fn since(at_least_days: Option<i32>, at_most_days: Option<i32>) -> Condition {
    Condition::Since(proto::SinceCondition { event: proto::SegmentEvent::Joined.into(), at_least_days, at_most_days })
}

fn coming(date: Option<Date>, within_days: i32) -> Condition {
    Condition::Coming(proto::ComingCondition { date, within_days })
}

const fn bounds(at_least: Option<i64>, at_most: Option<i64>) -> Bounds {
    Bounds { at_least, at_most }
}

/// Conditions of every kind.
fn every_condition() -> Vec<SegmentCondition> {
    let texts = |texts: [&str; 2]| texts.map(str::to_owned).to_vec();
    let (low, high, both) = (bounds(Some(2), None), bounds(None, Some(3)), bounds(Some(2), Some(2)));
    let mut conditions = vec![
        SegmentCondition::Tiers(vec!["gold".try_into().unwrap()]),
        SegmentCondition::ValueClasses(vec!["best".try_into().unwrap()]),
        SegmentCondition::Levels(RelationshipLevel::ALL.to_vec()),
        SegmentCondition::Stages(Stage::ALL.to_vec()),
        SegmentCondition::Attribute { key: "sport".to_owned(), values: texts(["golf", ""]) },
        SegmentCondition::Attribute { key: "sport".to_owned(), values: Vec::new() },
        SegmentCondition::Languages(texts(["de", "pt-BR"])),
        SegmentCondition::RegionCodes(texts(["DE", "AT"])),
        SegmentCondition::Interests(texts(["chess", "Go"])),
        SegmentCondition::OpenComplaints(low),
        SegmentCondition::Satisfaction(high),
        SegmentCondition::Recommendation(both),
        SegmentCondition::Coming { date: ComingDate::Birthday, within_days: 1 },
        SegmentCondition::Coming { date: ComingDate::ImportantDate("wedding".to_owned()), within_days: 366 },
        SegmentCondition::Consents(MarketingChannel::ALL.to_vec()),
    ];
    let metrics = Metric::ALL.into_iter();
    conditions.extend(metrics.map(|metric| SegmentCondition::Counted { metric, bounds: low, days: Some(365) }));
    let whole_life = bounds(Some(-250), Some(-1));
    conditions.push(SegmentCondition::Counted { metric: Metric::Margin, bounds: whole_life, days: None });
    let events =
        [SegmentEvent::Joined, SegmentEvent::FirstPurchase, SegmentEvent::LastPurchase, SegmentEvent::TierChange];
    conditions.extend(events.map(|event| SegmentCondition::Since { event, days: both }));
    conditions
}

#[test]
fn a_segment_is_the_same_once_it_was_written() {
    assert_eq!(parse(Vec::new()), Ok(Vec::new()));
    for negated in [false, true] {
        let conditions = every_condition().into_iter().enumerate();
        let segments: Vec<Segment> = conditions
            .map(|(i, condition)| Segment {
                segment_id: SegmentId::try_from(format!("s{i}")).unwrap(),
                display_name: format!("S {i}"),
                clauses: vec![Clause { condition, negated }],
            })
            .collect();
        let written = segments.iter().map(|segment| write_segment(segment, usd())).collect();
        assert_eq!(parse(written), Ok(segments.clone()));
        let kept = serde_json::to_string(&segments).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Segment>>(&kept).unwrap(), segments);
    }
}

#[test]
fn all_faults_of_segments_are_told_at_once() {
    let sound = || clause(since(Some(1), None));
    let unknown = proto::SegmentClause { condition: None, negated: true };
    let segments = vec![
        wire("a", vec![sound(), unknown]),
        wire("a", Vec::new()),
        wire("B", vec![sound(); 20]),
        wire("c", vec![sound(); 21]),
    ];
    let expected = [
        "[0].clauses[1] must have a condition",
        "[1].segment_id must be unique within the program",
        "[1].clauses must have 1 to 20 items",
        "[2].segment_id must be 1 to 63 characters of a-z, 0-9 and '-', and must not begin with '-'",
        "[3].clauses must have 1 to 20 items",
    ];
    assert_eq!(parse(segments), Err(expected.map(|fault| format!("it{fault}")).to_vec()));
    let segments = |count: usize| many(count).iter().map(|segment_id| wire(segment_id, vec![sound()])).collect();
    assert_eq!(parse(segments(100)).map(|segments| segments.len()), Ok(100));
    assert_eq!(parse(segments(101)), Err(vec!["it must have at most 100 items".to_owned()]));
}

#[test]
fn all_faults_of_lists_are_told_at_once() {
    let ids = |ids: [&str; 3]| ids.map(str::to_owned).to_vec();
    let bad = vec![
        Condition::Tiers(proto::TierIds { tier_ids: ids(["gold", "golt", "gold"]) }),
        Condition::ValueClasses(proto::ValueClassIds { value_class_ids: ids(["best", "best", "Rest"]) }),
        Condition::Levels(proto::RelationshipLevels { levels: vec![0, 1, 1, 9] }),
        Condition::Stages(proto::LifecycleStages { stages: vec![1; 10] }),
        Condition::Languages(texts(["de", "DE", "", "de_DE"])),
        Condition::RegionCodes(texts(["DE", "at", "DEU", "DE"])),
        Condition::Interests(texts(["chess", "Chess", "a\nb"])),
        Condition::Consents(proto::MarketingChannels { channels: vec![1, 0] }),
        Condition::Attribute(proto::AttributeCondition { key: String::new(), values: ids(["a", "a", "A"]) }),
    ];
    let told = faults(bad);
    let again = (1..9).map(|i| format!("[3].stages.stages[{i}] must be unique within the clause"));
    let expected = [
        "[0].tiers.tier_ids[1] must be a tier of the program; there is none with the id golt",
        "[0].tiers.tier_ids[2] must be unique within the clause",
        "[1].value_classes.value_class_ids[1] must be unique within the clause",
        "[1].value_classes.value_class_ids[2] must be 1 to 63 characters of a-z, 0-9 and '-', and must not begin with '-'",
        "[2].levels.levels[0] must be one of the named values",
        "[2].levels.levels[2] must be unique within the clause",
        "[2].levels.levels[3] must be one of the named values",
        "[3].stages.stages must have 1 to 9 items",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain(again)
    .chain(
        [
            "[4].languages.texts[1] must be unique within the clause",
            "[4].languages.texts[2] must be set",
            "[4].languages.texts[3] must be a BCP 47 language tag, such as de or pt-BR",
            "[5].region_codes.texts[1] must be two upper-case letters, such as DE",
            "[5].region_codes.texts[2] must be two upper-case letters, such as DE",
            "[5].region_codes.texts[3] must be unique within the clause",
            "[6].interests.texts[1] must be unique within the clause",
            "[6].interests.texts[2] must be at most 100 characters without control characters",
            "[7].consents.channels[1] must be one of the named values",
            "[8].attribute.key must be set",
            "[8].attribute.values[1] must be unique within the clause",
        ]
        .map(str::to_owned),
    );
    assert_eq!(told, expected.collect::<Vec<String>>());
}

#[test]
fn lists_and_texts_are_taken_as_long_as_they_may_be() {
    let listed = |count| Condition::Interests(proto::Texts { texts: many(count) });
    let valued = |values| Condition::Attribute(proto::AttributeCondition { key: "a".repeat(64), values });
    let long = |count| vec!["a".repeat(count)];
    let spoken = |tag| Condition::Languages(texts([tag]));
    let (longest, too_long) = ("abcdefgh-abcdefgh-abcdefgh-abcdefgh", "abcdefgh-abcdefgh-abcdefgh-abcdefg-a");
    let dated = |count: usize| coming(Some(Date::ImportantDate("ä".repeat(count))), 1);
    let good = vec![listed(100), valued(many(100)), valued(long(1_000)), spoken(longest), dated(100)];
    assert_eq!(faults(good), [""; 0]);
    let lines = vec![valued(vec!["two\nlines".to_owned()])];
    assert_eq!(faults(lines), [""; 0]);
    let empty = [Condition::Tiers(proto::TierIds::default()), Condition::Consents(proto::MarketingChannels::default())];
    let empty = empty.into_iter().chain([Condition::ValueClasses(proto::ValueClassIds::default()), listed(0)]);
    let bad = [
        listed(101),
        valued(many(101)),
        valued(long(1_001)),
        valued(vec!["\0".to_owned()]),
        spoken(too_long),
        dated(101),
    ];
    let expected = [
        "[0].tiers.tier_ids must have 1 to 100 items",
        "[1].consents.channels must have 1 to 5 items",
        "[2].value_classes.value_class_ids must have 1 to 10 items",
        "[3].interests.texts must have 1 to 100 items",
        "[4].interests.texts must have 1 to 100 items",
        "[5].attribute.values must have at most 100 items",
        "[6].attribute.values[0] must be at most 1,000 characters without U+0000",
        "[7].attribute.values[0] must be at most 1,000 characters without U+0000",
        "[8].languages.texts[0] must be at most 35 characters without control characters",
        "[9].coming.important_date must be at most 100 characters without control characters",
    ];
    assert_eq!(faults(empty.chain(bad).collect()), expected);
}

#[test]
fn tiers_and_classes_that_could_not_be_read_are_not_called_missing() {
    let conditions = || {
        let tiers = Condition::Tiers(proto::TierIds { tier_ids: vec!["silver".to_owned()] });
        let value_class_ids = vec!["good".to_owned()];
        let classes = Condition::ValueClasses(proto::ValueClassIds { value_class_ids });
        vec![wire("a", vec![clause(tiers), clause(classes)])]
    };
    assert!(parse_in(None, None, conditions()).is_ok());
    let expected = [
        "it[0].clauses[0].tiers.tier_ids[0] must be a tier of the program; there is none with the id silver",
        "it[0].clauses[1].value_classes.value_class_ids[0] must be a value class of the program; there is none with \
         the id good",
    ];
    assert_eq!(parse(conditions()).unwrap_err(), expected);
}

#[test]
fn all_faults_of_amounts_are_told_at_once() {
    let unnamed = proto::AmountCondition { amount: 9, days: Some(0), ..spend(None, None) };
    let days = |days| Condition::Amount(proto::AmountCondition { days: Some(days), ..spend(money(0, 0), None) });
    let bad = vec![
        Condition::Amount(unnamed),
        Condition::Amount(spend(money(1, 0), money(0, 990_000_000))),
        Condition::Amount(spend(money(-1, 0), money(0, 1))),
        margin(money(-1, 0), money(-1, -10_000_000)),
        margin(money(-1, 10_000_000), money(i64::MIN, 0)),
        days(1_827),
    ];
    let expected = [
        "[0].amount.amount must be one of the named values",
        "[0].amount must have at_least or at_most",
        "[0].amount.days must be from 1 to 1,826",
        "[1].amount.at_most must be no less than at_least",
        "[2].amount.at_least must be zero or more, with nanos from 0 to 999,999,999",
        "[2].amount.at_most must be exact in the currency's minor unit",
        "[3].amount.at_most must be no less than at_least",
        "[4].amount.at_least must have units and nanos of one sign",
        "[4].amount.at_most is larger than can be counted in minor units",
        "[5].amount.days must be from 1 to 1,826",
    ];
    assert_eq!(faults(bad), expected);
    let good =
        vec![days(1), days(1_826), margin(money(-1, -10_000_000), money(-1, 0)), margin(None, money(0, -10_000_000))];
    assert_eq!(faults(good), [""; 0]);
}

#[test]
fn all_faults_of_counts_are_told_at_once() {
    use proto::SegmentCount::{OpenComplaints, Points, Purchases, Recommendation, Satisfaction, Unspecified};

    const MOST: i64 = 1_000_000_000_000;
    let bad = vec![
        count(Unspecified, None, None, Some(1_827)),
        count(Purchases, Some(3), Some(2), Some(0)),
        count(Points, Some(-MOST - 1), Some(MOST + 1), None),
        count(OpenComplaints, Some(-1), Some(1_000_001), Some(1)),
        count(Satisfaction, Some(0), Some(6), None),
        count(Recommendation, Some(-1), Some(11), None),
        count(Satisfaction, Some(5), Some(0), None),
    ];
    let expected = [
        "[0].count.count must be one of the named values",
        "[0].count must have at_least or at_most",
        "[0].count.days must be from 1 to 1,826",
        "[1].count.at_most must be no less than at_least",
        "[1].count.days must be from 1 to 1,826",
        "[2].count.at_least must be from -1,000,000,000,000 to 1,000,000,000,000",
        "[2].count.at_most must be from -1,000,000,000,000 to 1,000,000,000,000",
        "[3].count.at_least must be from 0 to 1,000,000",
        "[3].count.at_most must be from 0 to 1,000,000",
        "[3].count.days must be absent of open complaints, satisfaction and recommendation",
        "[4].count.at_least must be from 1 to 5",
        "[4].count.at_most must be from 1 to 5",
        "[5].count.at_least must be from 0 to 10",
        "[5].count.at_most must be from 0 to 10",
        "[6].count.at_most must be from 1 to 5",
    ];
    assert_eq!(faults(bad), expected);
    let good = vec![
        count(Purchases, Some(3), Some(3), Some(1_826)),
        count(Points, Some(-MOST), Some(MOST), Some(1)),
        count(OpenComplaints, Some(0), Some(1_000_000), None),
        count(Satisfaction, Some(1), Some(5), None),
        count(Recommendation, Some(0), Some(10), None),
    ];
    assert_eq!(faults(good), [""; 0]);
}

#[test]
fn all_faults_of_dates_are_told_at_once() {
    let birthday = |is_it| Some(Date::Birthday(is_it));
    let bad = vec![
        Condition::Since(proto::SinceCondition::default()),
        since(Some(-1), Some(36_501)),
        since(Some(2), Some(1)),
        coming(birthday(false), 0),
        coming(None, 367),
        coming(Some(Date::ImportantDate(String::new())), 1),
    ];
    let expected = [
        "[0].since.event must be one of the named values",
        "[0].since must have at_least_days or at_most_days",
        "[1].since.at_least_days must be from 0 to 36,500",
        "[1].since.at_most_days must be from 0 to 36,500",
        "[2].since.at_most_days must be no less than at_least_days",
        "[3].coming.birthday must be true",
        "[3].coming.within_days must be from 1 to 366",
        "[4].coming must have birthday or important_date",
        "[4].coming.within_days must be from 1 to 366",
        "[5].coming.important_date must be set",
    ];
    assert_eq!(faults(bad), expected);
    let good = vec![since(Some(0), Some(36_500)), coming(birthday(true), 1), coming(birthday(true), 366)];
    assert_eq!(faults(good), [""; 0]);
}

#[test]
fn segments_are_together_as_much_as_they_may_be() {
    let interests = |count: usize| Condition::Interests(proto::Texts { texts: many(count) });
    let all = |clauses: Vec<Condition>| {
        let clauses: Vec<_> = clauses.into_iter().map(clause).collect();
        let segments = clauses.chunks(20).enumerate().map(|(i, some)| wire(&format!("s-{i}"), some.to_vec()));
        parse(segments.collect()).err().unwrap_or_default()
    };
    assert_eq!(all(vec![interests(1); 500]), [""; 0]);
    assert_eq!(all(vec![interests(1); 501]), ["it must have at most 500 clauses in all"]);
    assert_eq!(all(vec![interests(100); 20]), [""; 0]);
    let more = [vec![interests(100); 20], vec![interests(1)]].concat();
    assert_eq!(all(more), ["it must list at most 2000 things in all clauses together"]);
    let long = |count: usize| {
        let values = (0..count).map(|i| format!("{i:0>1000}")).collect();
        Condition::Attribute(proto::AttributeCondition { key: "k".to_owned(), values })
    };
    assert_eq!(all(vec![long(100), long(100), long(50)]), [""; 0]);
    assert_eq!(all(vec![long(100), long(100), long(65)]), ["it must have at most 262144 bytes in all"]);
}
