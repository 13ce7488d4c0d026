//! What a program's document says of segments: the tables `[[segments]]`.

use goldbook_api::google::Money;
use goldbook_api::v1::coming_condition::Date;
use goldbook_api::v1::segment_clause::Condition;
use goldbook_api::v1::{
    AmountCondition, AttributeCondition, ComingCondition, CountCondition, LifecycleStage, LifecycleStages,
    MarketingChannel, MarketingChannels, RelationshipLevels, Segment, SegmentAmount, SegmentClause, SegmentCount,
    SegmentEvent, SinceCondition, Texts, TierIds, ValueClassIds,
};
use serde::Serialize;

use super::super::amount::Amount;
use super::super::error::CliError;
use super::points_table::newer;
use super::table::{Table, UNREADABLE, Value};
use super::value_classes_table::LEVELS;

/// What a clause can be about.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Tiers,
    ValueClasses,
    Levels,
    Stages,
    Attribute,
    Languages,
    RegionCodes,
    Interests,
    Amount,
    Count,
    Since,
    Coming,
    ImportantDate,
    Consents,
}

/// What a clause can be about, the key that says it, how the wire calls that, and which keys may stand beside it.
const KINDS: &[(Kind, &str, &str, &[&str])] = &[
    (Kind::Tiers, "tiers", "tiers.tier_ids", &[]),
    (Kind::ValueClasses, "value_classes", "value_classes.value_class_ids", &[]),
    (Kind::Levels, "levels", "levels.levels", &[]),
    (Kind::Stages, "stages", "stages.stages", &[]),
    (Kind::Attribute, "attribute", "attribute.key", &["values"]),
    (Kind::Languages, "languages", "languages.texts", &[]),
    (Kind::RegionCodes, "region_codes", "region_codes.texts", &[]),
    (Kind::Interests, "interests", "interests.texts", &[]),
    (Kind::Amount, "amount", "amount.amount", &["at_least", "at_most", "days"]),
    (Kind::Count, "count", "count.count", &["at_least", "at_most", "days"]),
    (Kind::Since, "since", "since.event", &["at_least_days", "at_most_days"]),
    (Kind::Coming, "coming", "coming.birthday", &["within_days"]),
    (Kind::ImportantDate, "important_date", "coming.important_date", &["within_days"]),
    (Kind::Consents, "consents", "consents.channels", &[]),
];

const CLAUSE: &[&str] = &[
    "tiers",
    "value_classes",
    "levels",
    "stages",
    "attribute",
    "values",
    "languages",
    "region_codes",
    "interests",
    "amount",
    "count",
    "at_least",
    "at_most",
    "days",
    "since",
    "at_least_days",
    "at_most_days",
    "coming",
    "important_date",
    "within_days",
    "consents",
    "negated",
];

const STAGES: &[(&str, LifecycleStage)] = &[
    ("prospect", LifecycleStage::Prospect),
    ("first_time", LifecycleStage::FirstTime),
    ("repeat", LifecycleStage::Repeat),
    ("client", LifecycleStage::Client),
    ("advocate", LifecycleStage::Advocate),
    ("at_risk", LifecycleStage::AtRisk),
    ("lapsed", LifecycleStage::Lapsed),
    ("lost", LifecycleStage::Lost),
    ("won_back", LifecycleStage::WonBack),
];

const AMOUNTS: &[(&str, SegmentAmount)] = &[("spend", SegmentAmount::Spend), ("margin", SegmentAmount::Margin)];

const COUNTS: &[(&str, SegmentCount)] = &[
    ("purchases", SegmentCount::Purchases),
    ("active_days", SegmentCount::ActiveDays),
    ("points", SegmentCount::Points),
    ("referrals", SegmentCount::Referrals),
    ("open_complaints", SegmentCount::OpenComplaints),
    ("satisfaction", SegmentCount::Satisfaction),
    ("recommendation", SegmentCount::Recommendation),
];

const EVENTS: &[(&str, SegmentEvent)] = &[
    ("joined", SegmentEvent::Joined),
    ("first_purchase", SegmentEvent::FirstPurchase),
    ("last_purchase", SegmentEvent::LastPurchase),
    ("tier_change", SegmentEvent::TierChange),
];

const CHANNELS: &[(&str, MarketingChannel)] = &[
    ("email", MarketingChannel::Email),
    ("phone", MarketingChannel::Phone),
    ("sms", MarketingChannel::Sms),
    ("post", MarketingChannel::Post),
    ("push", MarketingChannel::Push),
];

/// The date that has no label.
const BIRTHDAY: &str = "birthday";

/// A group of customers that is asked for by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct SegmentTable {
    segment_id: String,
    display_name: String,
    clauses: Vec<ClauseTable>,
}

/// A clause. It has one of the keys that say what it is about, which is there even where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct ClauseTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    tiers: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_classes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    levels: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stages: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attribute: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    values: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    languages: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region_codes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interests: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least: Option<BoundValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_most: Option<BoundValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    days: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least_days: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_most_days: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coming: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    important_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    within_days: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consents: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    negated: bool,
}

/// An amount or a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum BoundValue {
    Amount(Amount),
    Number(i64),
}

impl SegmentTable {
    /// The table of a segment, without values that are defaults.
    ///
    /// # Errors
    /// If it has a value that this program does not know, since the service is newer.
    pub(super) fn from_proto(segment: Segment, currency: &str) -> Result<Self, CliError> {
        let Segment { segment_id, display_name, clauses } = segment;
        let clauses = clauses.into_iter().map(|clause| ClauseTable::from_proto(clause, currency));
        Ok(Self { segment_id, display_name, clauses: clauses.collect::<Result<_, _>>()? })
    }
}

impl ClauseTable {
    fn from_proto(clause: SegmentClause, currency: &str) -> Result<Self, CliError> {
        let SegmentClause { condition, negated } = clause;
        let none = Self { negated, ..Self::default() };
        Ok(match condition.ok_or_else(unknown)? {
            Condition::Tiers(TierIds { tier_ids }) => Self { tiers: Some(tier_ids), ..none },
            Condition::ValueClasses(ValueClassIds { value_class_ids }) => {
                Self { value_classes: Some(value_class_ids), ..none }
            }
            Condition::Levels(RelationshipLevels { levels }) => {
                Self { levels: Some(words_of(LEVELS, &levels)?), ..none }
            }
            Condition::Stages(LifecycleStages { stages }) => Self { stages: Some(words_of(STAGES, &stages)?), ..none },
            Condition::Attribute(AttributeCondition { key, values }) => Self { attribute: Some(key), values, ..none },
            Condition::Languages(Texts { texts }) => Self { languages: Some(texts), ..none },
            Condition::RegionCodes(Texts { texts }) => Self { region_codes: Some(texts), ..none },
            Condition::Interests(Texts { texts }) => Self { interests: Some(texts), ..none },
            Condition::Amount(AmountCondition { amount, at_least, at_most, days }) => {
                let bound = |money: Money| BoundValue::Amount(Amount::from_money(&money).in_currency(currency));
                let (at_least, at_most) = (at_least.map(bound), at_most.map(bound));
                Self { amount: Some(word_of(AMOUNTS, amount)?), at_least, at_most, days, ..none }
            }
            Condition::Count(CountCondition { count, at_least, at_most, days }) => {
                let (at_least, at_most) = (at_least.map(BoundValue::Number), at_most.map(BoundValue::Number));
                Self { count: Some(word_of(COUNTS, count)?), at_least, at_most, days, ..none }
            }
            Condition::Since(SinceCondition { event, at_least_days, at_most_days }) => {
                Self { since: Some(word_of(EVENTS, event)?), at_least_days, at_most_days, ..none }
            }
            Condition::Coming(ComingCondition { within_days, date }) => {
                let within_days = Some(within_days);
                match date.ok_or_else(unknown)? {
                    Date::Birthday(_) => Self { coming: Some(BIRTHDAY), within_days, ..none },
                    Date::ImportantDate(label) => Self { important_date: Some(label), within_days, ..none },
                }
            }
            Condition::Consents(MarketingChannels { channels }) => {
                Self { consents: Some(words_of(CHANNELS, &channels)?), ..none }
            }
        })
    }
}

fn unknown() -> CliError {
    newer("customers are in a segment")
}

/// The word for what the wire has a number for.
fn word_of<W: Copy + Into<i32>>(words: &[(&'static str, W)], number: i32) -> Result<&'static str, CliError> {
    let found = words.iter().find(|(_, meaning)| Into::<i32>::into(*meaning) == number);
    found.map(|(word, _)| *word).ok_or_else(unknown)
}

fn words_of<W: Copy + Into<i32>>(words: &[(&'static str, W)], numbers: &[i32]) -> Result<Vec<&'static str>, CliError> {
    numbers.iter().map(|number| word_of(words, *number)).collect()
}

/// Reads a segment, with amounts in a currency.
pub(super) fn read_segment(value: &Value<'_>, currency: &str) -> Segment {
    let known = &["segment_id", "display_name", "clauses"];
    let Some(table) = value.named_table("segment_id", known) else { return Segment::default() };
    let clauses = table.require("clauses");
    Segment {
        segment_id: table.text("segment_id"),
        display_name: table.text("display_name"),
        clauses: clauses.map(|value| read_list(&value, |value| read_clause(value, currency))).unwrap_or_default(),
    }
}

fn read_clause(value: &Value<'_>, currency: &str) -> SegmentClause {
    let Some(table) = value.table(CLAUSE) else { return SegmentClause::default() };
    let negated = table.find("negated").and_then(|value| value.flag()).unwrap_or_default();
    let about =
        KINDS.iter().find_map(|(kind, name, wire, beside)| Some((*kind, *name, table.find_as(name, wire)?, *beside)));
    let Some((kind, name, value, beside)) = about else {
        // There is none of them, which is told unless a key is there that nobody knows.
        let names: Vec<&str> = KINDS.iter().map(|(_, name, _, _)| *name).collect();
        table.only(&names, &format!("must have one of {}", names.join(", ")));
        return SegmentClause { condition: None, negated };
    };
    for key in CLAUSE.iter().filter(|key| **key != name && **key != "negated" && !beside.contains(*key)) {
        if let Some(other) = table.find(key) {
            other.refuse::<()>(&format!("must not be set beside {name}"));
        }
    }
    SegmentClause { condition: Some(read_condition(&table, kind, &value, currency)), negated }
}

/// What a clause is about, by the value of the key that says it.
fn read_condition(table: &Table<'_>, kind: Kind, value: &Value<'_>, currency: &str) -> Condition {
    let texts = || Texts { texts: read_list(value, read_text) };
    let days = |wire: &str| table.find_as("days", wire).map(|value| value.number().unwrap_or(-1));
    let coming = |date| {
        let within_days = table.require_as("within_days", "coming.within_days").and_then(|value| value.number());
        ComingCondition { within_days: within_days.unwrap_or_default(), date: Some(date) }
    };
    match kind {
        Kind::Tiers => Condition::Tiers(TierIds { tier_ids: read_list(value, read_text) }),
        Kind::ValueClasses => Condition::ValueClasses(ValueClassIds { value_class_ids: read_list(value, read_text) }),
        Kind::Levels => Condition::Levels(RelationshipLevels { levels: read_words(value, LEVELS) }),
        Kind::Stages => Condition::Stages(LifecycleStages { stages: read_words(value, STAGES) }),
        Kind::Attribute => {
            let values = table.find_as("values", "attribute.values").map(|value| read_values(&value));
            Condition::Attribute(AttributeCondition { key: read_text(value), values: values.unwrap_or_default() })
        }
        Kind::Languages => Condition::Languages(texts()),
        Kind::RegionCodes => Condition::RegionCodes(texts()),
        Kind::Interests => Condition::Interests(texts()),
        Kind::Amount => Condition::Amount(AmountCondition {
            amount: read_word(value, AMOUNTS),
            at_least: table.find_as("at_least", "amount.at_least").map(|value| value.money(currency)),
            at_most: table.find_as("at_most", "amount.at_most").map(|value| value.money(currency)),
            days: days("amount.days"),
        }),
        Kind::Count => Condition::Count(CountCondition {
            count: read_word(value, COUNTS),
            at_least: read_bound(table, "at_least", "count.at_least", i64::MIN),
            at_most: read_bound(table, "at_most", "count.at_most", i64::MAX),
            days: days("count.days"),
        }),
        Kind::Since => Condition::Since(SinceCondition {
            event: read_word(value, EVENTS),
            at_least_days: read_bound(table, "at_least_days", "since.at_least_days", i32::MIN),
            at_most_days: read_bound(table, "at_most_days", "since.at_most_days", i32::MAX),
        }),
        Kind::Coming => {
            let is_birthday = value.word(&[(BIRTHDAY, ())]).is_some();
            Condition::Coming(coming(Date::Birthday(is_birthday)))
        }
        Kind::ImportantDate => Condition::Coming(coming(Date::ImportantDate(read_text(value)))),
        Kind::Consents => Condition::Consents(MarketingChannels { channels: read_words(value, CHANNELS) }),
    }
}

/// A bound; where it is no number, one that is out of all bounds, so that the other is not judged by it.
fn read_bound<N: TryFrom<i64>>(table: &Table<'_>, key: &'static str, wire: &str, bad: N) -> Option<N> {
    table.find_as(key, wire).map(|value| value.number().unwrap_or(bad))
}

/// The values of an attribute. None at all would be any, which nobody means who writes an empty list.
fn read_values(value: &Value<'_>) -> Vec<String> {
    let values = read_list(value, read_text);
    if values.is_empty() {
        value.refuse::<()>("must have 1 to 100 items, or be left out for any value");
    }
    values
}

/// What the items of a list mean; one that the service cannot read, if it is no list.
fn read_list<T: Default>(value: &Value<'_>, read: impl Fn(&Value<'_>) -> T) -> Vec<T> {
    if value.is_list() {
        return value.items("").iter().map(read).collect();
    }
    value.refuse("must be a list").unwrap_or_else(|| vec![T::default()])
}

fn read_text(value: &Value<'_>) -> String {
    value.text().unwrap_or_default()
}

fn read_word<W: Copy + Into<i32>>(value: &Value<'_>, words: &[(&str, W)]) -> i32 {
    value.word(words).map_or(UNREADABLE, Into::into)
}

fn read_words<W: Copy + Into<i32>>(value: &Value<'_>, words: &[(&str, W)]) -> Vec<i32> {
    read_list(value, |value| read_word(value, words))
}
