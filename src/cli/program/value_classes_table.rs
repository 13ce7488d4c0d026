//! What a program's document says of value classes: the table `[value_classes]`.

use goldbook_api::google::Money;
use goldbook_api::v1::value_class::{From as Reached, Keep};
use goldbook_api::v1::{CalendarPeriod, LevelCuts, RelationshipLevel, ValueClass, ValueClassPolicy, ValueMeasure};
use serde::Serialize;

use super::super::amount::Amount;
use super::super::error::CliError;
use super::points_table::{CalendarWord, newer};
use super::table::{Table, UNREADABLE, Value};

const CLASS: &[&str] = &["class_id", "display_name", "least", "keep_least", "top_percent", "keep_top_percent", "level"];

const MEASURES: &[(&str, ValueMeasure)] = &[
    ("spend", ValueMeasure::Spend),
    ("margin", ValueMeasure::Margin),
    ("expected_value", ValueMeasure::ExpectedValue),
];

/// The periods at whose end customers are classed.
const PERIODS: &[(&str, CalendarPeriod)] =
    &[("month", CalendarPeriod::Month), ("quarter", CalendarPeriod::Quarter), ("year", CalendarPeriod::Year)];

/// How customers are looked after.
pub(super) const LEVELS: &[(&str, RelationshipLevel)] = &[
    ("basic", RelationshipLevel::Basic),
    ("reactive", RelationshipLevel::Reactive),
    ("accountable", RelationshipLevel::Accountable),
    ("proactive", RelationshipLevel::Proactive),
    ("partner", RelationshipLevel::Partner),
];

/// How customers are put into classes by what they are worth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ValueClassesTable {
    measure: MeasureWord,
    each: CalendarWord,
    #[serde(skip_serializing_if = "Option::is_none")]
    periods: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    falls_after: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    levels: Option<LevelsTable>,
    classes: Vec<ClassTable>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum MeasureWord {
    Spend,
    Margin,
    ExpectedValue,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct LevelsTable {
    many_customers: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    few_customers: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    high_margin: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    low_margin: Option<Amount>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct ClassTable {
    class_id: String,
    display_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    least: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_least: Option<Amount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_percent: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_top_percent: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<LevelWord>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum LevelWord {
    Basic,
    Reactive,
    Accountable,
    Proactive,
    Partner,
}

impl ValueClassesTable {
    /// The table of a policy, without values that are defaults.
    ///
    /// # Errors
    /// If it has a value that this program does not know, since the service is newer.
    pub(super) fn from_proto(policy: ValueClassPolicy, currency: &str) -> Result<Self, CliError> {
        let measure = MeasureWord::from_proto(policy.measure())?;
        let ValueClassPolicy { measure: _, each, periods, falls_after, classes, levels } = policy;
        let each = CalendarWord::from_proto(each)?.ok_or_else(|| newer("customers are classed"))?;
        let levels = levels.map(|levels| LevelsTable::from_proto(&levels, currency));
        let classes = classes.into_iter().map(|class| ClassTable::from_proto(class, currency));
        Ok(Self { measure, each, periods, falls_after, levels, classes: classes.collect::<Result<_, _>>()? })
    }
}

impl MeasureWord {
    fn from_proto(measure: ValueMeasure) -> Result<Self, CliError> {
        match measure {
            ValueMeasure::Spend => Ok(Self::Spend),
            ValueMeasure::Margin => Ok(Self::Margin),
            ValueMeasure::ExpectedValue => Ok(Self::ExpectedValue),
            ValueMeasure::Unspecified => Err(newer("customers are classed")),
        }
    }
}

impl LevelsTable {
    fn from_proto(levels: &LevelCuts, currency: &str) -> Self {
        let LevelCuts { many_customers, few_customers, high_margin, low_margin } = levels;
        Self {
            many_customers: *many_customers,
            few_customers: Some(*few_customers).filter(|few| *few != 0),
            high_margin: high_margin.as_ref().map(|margin| read_amount(margin, currency)),
            // Absent and zero are the same to the service.
            low_margin: low_margin.as_ref().map(|it| read_amount(it, currency)).filter(|it| !it.is_zero()),
        }
    }
}

impl ClassTable {
    fn from_proto(class: ValueClass, currency: &str) -> Result<Self, CliError> {
        let ValueClass { class_id, display_name, level, from, keep } = class;
        let (least, top_percent) = match from {
            Some(Reached::Least(least)) => (Some(read_amount(&least, currency)), None),
            Some(Reached::TopPercent(percent)) => (None, Some(percent)),
            None => (None, None),
        };
        let (keep_least, keep_top_percent) = match keep {
            Some(Keep::KeepLeast(least)) => (Some(read_amount(&least, currency)), None),
            Some(Keep::KeepTopPercent(percent)) => (None, Some(percent)),
            None => (None, None),
        };
        let level = LevelWord::from_proto(level)?;
        Ok(Self { class_id, display_name, least, keep_least, top_percent, keep_top_percent, level })
    }
}

fn read_amount(money: &Money, currency: &str) -> Amount {
    Amount::from_money(money).in_currency(currency)
}

impl LevelWord {
    fn from_proto(level: i32) -> Result<Option<Self>, CliError> {
        match RelationshipLevel::try_from(level) {
            Ok(RelationshipLevel::Unspecified) => Ok(None),
            Ok(RelationshipLevel::Basic) => Ok(Some(Self::Basic)),
            Ok(RelationshipLevel::Reactive) => Ok(Some(Self::Reactive)),
            Ok(RelationshipLevel::Accountable) => Ok(Some(Self::Accountable)),
            Ok(RelationshipLevel::Proactive) => Ok(Some(Self::Proactive)),
            Ok(RelationshipLevel::Partner) => Ok(Some(Self::Partner)),
            Err(_) => Err(newer("customers are looked after")),
        }
    }
}

/// Reads the table, with amounts in a currency. What has no list of classes is read as if it had one that the service cannot
/// read, so that nothing else is judged by what is missing then.
pub(super) fn read_value_classes(value: &Value<'_>, currency: &str) -> ValueClassPolicy {
    let unreadable = || vec![ValueClass::default()];
    let Some(table) = value.table(&["measure", "each", "periods", "falls_after", "classes", "levels"]) else {
        return ValueClassPolicy { classes: unreadable(), ..ValueClassPolicy::default() };
    };
    let classes = match table.require("classes") {
        Some(_) => table.each("classes", |value| read_class(value, currency)),
        None => unreadable(),
    };
    ValueClassPolicy {
        measure: table.require("measure").and_then(|value| value.word(MEASURES)).map_or(UNREADABLE, Into::into),
        each: table.require("each").and_then(|value| value.word(PERIODS)).map_or(UNREADABLE, Into::into),
        periods: table.number_or_bad("periods"),
        falls_after: table.number_or_bad("falls_after"),
        classes,
        levels: table.find("levels").and_then(|value| read_levels(&value, currency)),
    }
}

fn read_class(value: &Value<'_>, currency: &str) -> ValueClass {
    let Some(table) = value.named_table("class_id", CLASS) else { return ValueClass::default() };
    let least = table.money("least", currency).map(Reached::Least);
    let keep_least = table.money("keep_least", currency).map(Keep::KeepLeast);
    ValueClass {
        class_id: table.text("class_id"),
        display_name: table.text("display_name"),
        level: table.word("level", LEVELS),
        from: read_percent(&table, ("least", least), ("top_percent", Reached::TopPercent)),
        keep: read_percent(&table, ("keep_least", keep_least), ("keep_top_percent", Keep::KeepTopPercent)),
    }
}

/// A bound by percent, where there is none by an amount. Beside one it is refused, and the other is judged.
fn read_percent<B>(
    table: &Table<'_>,
    (amount_key, by_amount): (&str, Option<B>),
    (key, by_percent): (&'static str, impl Fn(i32) -> B),
) -> Option<B> {
    match (by_amount, table.find(key)) {
        (Some(amount), Some(percent)) => {
            percent.refuse(&format!("must not be set beside {amount_key}")).or(Some(amount))
        }
        // What is no number is judged as that.
        (None, Some(percent)) => Some(by_percent(percent.number().unwrap_or_default())),
        (by_amount, None) => by_amount,
    }
}

fn read_levels(value: &Value<'_>, currency: &str) -> Option<LevelCuts> {
    let table = value.table(&["many_customers", "few_customers", "high_margin", "low_margin"])?;
    Some(LevelCuts {
        many_customers: table.require("many_customers").and_then(|value| value.number()).unwrap_or_default(),
        few_customers: table.number_or_bad("few_customers").unwrap_or_default(),
        high_margin: table.require("high_margin").map(|value| value.money(currency)),
        low_margin: table.money("low_margin", currency),
    })
}
