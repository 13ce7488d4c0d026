//! What a program says of segments, on the wire.

use std::collections::BTreeSet;
use std::fmt;

use self::bounds::{UNNAMED, Within, parse_amount, parse_count, parse_since, within};
use super::{Clause, ComingDate, Segment, SegmentCondition};
use crate::book::{RelationshipLevel, Stage};
use crate::error::Fields;
use crate::ids::{SegmentId, TierId, ValueClassId};
use crate::programs::channels::MarketingChannel;
use crate::programs::channels::grpc::parse_channel;
use crate::programs::faults::TierOutline;
use crate::programs::lifecycle::grpc::parse_stage;
use crate::programs::value_classes::grpc::{MAX_CLASSES, parse_level};
use crate::proto;
use crate::proto::coming_condition::Date;
use crate::proto::fields::{parse_language_tag, parse_text};
use crate::proto::segment_clause::Condition;

mod bounds;
mod write;

pub(in crate::programs) use self::write::write_segment;

const MAX_SEGMENTS: usize = 100;
const MAX_CLAUSES: usize = 20;
/// How many clauses all segments have together, how many things their lists, and how many bytes: a program is one message.
const MAX_CLAUSES_IN_ALL: usize = 500;
const MAX_LISTED_IN_ALL: usize = 2_000;
const MAX_BYTES_IN_ALL: usize = 256 * 1024;
/// The most things of one list, where there are not fewer of them.
const MAX_LISTED: usize = 100;
const MAX_INTEREST: usize = 100;
const MAX_LABEL: usize = 100;
const MAX_ATTRIBUTE_KEY: usize = 64;
const MAX_ATTRIBUTE_VALUE: usize = 1_000;

const COMING_DAYS: Within = (1..=366, "must be from 1 to 366");

/// Parses the segments of a program with these tiers, and with these value classes, if they could be read. `names` reads what
/// people call a segment, and `amounts` money of the program, which the caller does as for all things.
pub(in crate::programs) fn parse_segments(
    fields: &mut Fields,
    path: &str,
    segments: Vec<proto::Segment>,
    (tiers, classes): (&[TierOutline], Option<&BTreeSet<ValueClassId>>),
    names: impl Fn(&mut Fields, &str, &str) -> Option<String>,
    amounts: impl Fn(&mut Fields, &str, Option<&proto::google::Money>) -> Option<i64>,
) -> Option<Vec<Segment>> {
    if segments.len() > MAX_SEGMENTS {
        fields.refuse(path, format!("must have at most {MAX_SEGMENTS} items"));
    }
    refuse_too_much(fields, path, &segments);
    // Where the id of one could not be read, it is not known which ones are missing.
    let tiers = tiers.iter().map(|tier| tier.tier_id.clone()).collect();
    let rest = Rest { tiers, classes, amounts };
    let mut segment_ids = BTreeSet::new();
    let parsed = segments.into_iter().take(MAX_SEGMENTS).enumerate().map(|(i, segment)| {
        let path = format!("{path}[{i}]");
        let proto::Segment { segment_id, display_name, clauses } = segment;
        let id_path = format!("{path}.segment_id");
        let segment_id = fields.check(id_path.as_str(), SegmentId::try_from(segment_id));
        if segment_id.as_ref().is_some_and(|segment_id| !segment_ids.insert(segment_id.clone())) {
            fields.refuse(id_path, "must be unique within the program");
        }
        let display_name = names(fields, &format!("{path}.display_name"), &display_name);
        let clauses = rest.parse_clauses(fields, &format!("{path}.clauses"), clauses);
        Some(Segment { segment_id: segment_id?, display_name: display_name?, clauses: clauses? })
    });
    let parsed: Vec<Option<Segment>> = parsed.collect();
    parsed.into_iter().collect()
}

/// Refuses segments that are too much together.
fn refuse_too_much(fields: &mut Fields, path: &str, segments: &[proto::Segment]) {
    let clauses = || segments.iter().flat_map(|segment| &segment.clauses);
    if clauses().count() > MAX_CLAUSES_IN_ALL {
        fields.refuse(path, format!("must have at most {MAX_CLAUSES_IN_ALL} clauses in all"));
    }
    if clauses().map(count_listed).sum::<usize>() > MAX_LISTED_IN_ALL {
        fields.refuse(path, format!("must list at most {MAX_LISTED_IN_ALL} things in all clauses together"));
    }
    if segments.iter().map(prost::Message::encoded_len).sum::<usize>() > MAX_BYTES_IN_ALL {
        fields.refuse(path, format!("must have at most {MAX_BYTES_IN_ALL} bytes in all"));
    }
}

/// How many things a clause lists.
fn count_listed(clause: &proto::SegmentClause) -> usize {
    match &clause.condition {
        Some(Condition::Tiers(it)) => it.tier_ids.len(),
        Some(Condition::ValueClasses(it)) => it.value_class_ids.len(),
        Some(Condition::Attribute(it)) => it.values.len(),
        Some(Condition::Languages(it) | Condition::RegionCodes(it) | Condition::Interests(it)) => it.texts.len(),
        Some(
            Condition::Levels(_)
            | Condition::Stages(_)
            | Condition::Amount(_)
            | Condition::Count(_)
            | Condition::Since(_)
            | Condition::Coming(_)
            | Condition::Consents(_),
        )
        | None => 0,
    }
}

/// What clauses are judged by beside themselves: the rest of the program.
struct Rest<'k, A> {
    /// Its tiers, if they could be read.
    tiers: Option<BTreeSet<TierId>>,
    /// Its value classes, if they could be read.
    classes: Option<&'k BTreeSet<ValueClassId>>,
    /// Reads money in its currency.
    amounts: A,
}

impl<A: Fn(&mut Fields, &str, Option<&proto::google::Money>) -> Option<i64>> Rest<'_, A> {
    fn parse_clauses(
        &self,
        fields: &mut Fields,
        path: &str,
        clauses: Vec<proto::SegmentClause>,
    ) -> Option<Vec<Clause>> {
        if !(1..=MAX_CLAUSES).contains(&clauses.len()) {
            fields.refuse(path, format!("must have 1 to {MAX_CLAUSES} items"));
        }
        let parsed = clauses.into_iter().take(MAX_CLAUSES).enumerate().map(|(i, clause)| {
            let path = format!("{path}[{i}]");
            let proto::SegmentClause { condition, negated } = clause;
            match condition {
                Some(condition) => Some(Clause { condition: self.parse_condition(fields, &path, condition)?, negated }),
                // Perhaps one that only a newer caller knows.
                None => fields.check(path, Err("must have a condition")),
            }
        });
        let parsed: Vec<Option<Clause>> = parsed.collect();
        parsed.into_iter().collect()
    }

    fn parse_condition(&self, fields: &mut Fields, path: &str, condition: Condition) -> Option<SegmentCondition> {
        match condition {
            Condition::Tiers(proto::TierIds { tier_ids }) => {
                let (path, named) = (format!("{path}.tiers.tier_ids"), named(self.tiers.as_ref(), "tier"));
                parse_list(fields, &path, tier_ids, MAX_LISTED, named, TierId::clone).map(SegmentCondition::Tiers)
            }
            Condition::ValueClasses(proto::ValueClassIds { value_class_ids }) => {
                let path = format!("{path}.value_classes.value_class_ids");
                let named = named(self.classes, "value class");
                parse_list(fields, &path, value_class_ids, MAX_CLASSES, named, ValueClassId::clone)
                    .map(SegmentCondition::ValueClasses)
            }
            Condition::Levels(proto::RelationshipLevels { levels }) => {
                let (path, most) = (format!("{path}.levels.levels"), RelationshipLevel::ALL.len());
                let key = |level: &RelationshipLevel| level.as_str();
                parse_list(fields, &path, levels, most, parse_known_level, key).map(SegmentCondition::Levels)
            }
            Condition::Stages(proto::LifecycleStages { stages }) => {
                let (path, most) = (format!("{path}.stages.stages"), Stage::ALL.len());
                let key = |stage: &Stage| stage.as_str();
                parse_list(fields, &path, stages, most, parse_stage, key).map(SegmentCondition::Stages)
            }
            Condition::Attribute(attribute) => parse_attribute(fields, &format!("{path}.attribute"), attribute),
            Condition::Languages(proto::Texts { texts }) => {
                let (path, key) = (format!("{path}.languages.texts"), |tag: &String| tag.to_lowercase());
                parse_list(fields, &path, texts, MAX_LISTED, parse_language, key).map(SegmentCondition::Languages)
            }
            Condition::RegionCodes(proto::Texts { texts }) => {
                let path = format!("{path}.region_codes.texts");
                parse_list(fields, &path, texts, MAX_LISTED, parse_region_code, String::clone)
                    .map(SegmentCondition::RegionCodes)
            }
            Condition::Interests(proto::Texts { texts }) => {
                parse_texts(fields, &format!("{path}.interests.texts"), texts, MAX_INTEREST)
                    .map(SegmentCondition::Interests)
            }
            Condition::Amount(amount) => parse_amount(fields, &format!("{path}.amount"), amount, &self.amounts),
            Condition::Count(count) => parse_count(fields, &format!("{path}.count"), count),
            Condition::Since(since) => parse_since(fields, &format!("{path}.since"), since),
            Condition::Coming(coming) => parse_coming(fields, &format!("{path}.coming"), coming),
            Condition::Consents(proto::MarketingChannels { channels }) => {
                let (path, most) = (format!("{path}.consents.channels"), MarketingChannel::ALL.len());
                let key = |channel: &MarketingChannel| channel.as_str();
                parse_list(fields, &path, channels, most, parse_channel, key).map(SegmentCondition::Consents)
            }
        }
    }
}

/// Parses a list of 1 to `most` things, of which no two have the same key.
fn parse_list<S, T, K: Ord>(
    fields: &mut Fields,
    path: &str,
    list: Vec<S>,
    most: usize,
    parse: impl Fn(&mut Fields, &str, S) -> Option<T>,
    key: impl Fn(&T) -> K,
) -> Option<Vec<T>> {
    if !(1..=most).contains(&list.len()) {
        fields.refuse(path, format!("must have 1 to {most} items"));
    }
    parse_different(fields, path, list.into_iter().take(most), parse, key)
}

/// Parses things of which no two have the same key.
fn parse_different<S, T, K: Ord>(
    fields: &mut Fields,
    path: &str,
    list: impl Iterator<Item = S>,
    parse: impl Fn(&mut Fields, &str, S) -> Option<T>,
    key: impl Fn(&T) -> K,
) -> Option<Vec<T>> {
    let mut seen = BTreeSet::new();
    let parsed = list.enumerate().map(|(i, item)| {
        let path = format!("{path}[{i}]");
        let item = parse(fields, &path, item)?;
        if !seen.insert(key(&item)) {
            fields.refuse(path, "must be unique within the clause");
        }
        Some(item)
    });
    let parsed: Vec<Option<T>> = parsed.collect();
    parsed.into_iter().collect()
}

/// Parses names of things of a program, which it must have, if it could be read which ones it has. `kind` is what people call
/// one of them.
fn named<I: TryFrom<String, Error: fmt::Display> + Ord + fmt::Display>(
    known: Option<&BTreeSet<I>>,
    kind: &'static str,
) -> impl Fn(&mut Fields, &str, String) -> Option<I> {
    move |fields: &mut Fields, path: &str, id: String| {
        let id = fields.check(path, I::try_from(id))?;
        if known.is_some_and(|known| !known.contains(&id)) {
            fields.refuse(path, format!("must be a {kind} of the program; there is none with the id {id}"));
            return None;
        }
        Some(id)
    }
}

fn parse_known_level(fields: &mut Fields, path: &str, level: i32) -> Option<RelationshipLevel> {
    match parse_level(fields, path, level)? {
        Some(level) => Some(level),
        None => fields.check(path, Err(UNNAMED)),
    }
}

/// Texts of 1 to `most` characters each, no two of which are equal but for their case.
fn parse_texts(fields: &mut Fields, path: &str, texts: Vec<String>, most: usize) -> Option<Vec<String>> {
    let parse = |fields: &mut Fields, path: &str, text: String| parse_set_text(fields, path, &text, most);
    parse_list(fields, path, texts, MAX_LISTED, parse, |text: &String| text.to_lowercase())
}

/// A text of 1 to `most` characters.
fn parse_set_text(fields: &mut Fields, path: &str, text: &str, most: usize) -> Option<String> {
    if text.is_empty() {
        return fields.check(path, Err("must be set"));
    }
    parse_text(fields, path, text, most)
}

fn parse_language(fields: &mut Fields, path: &str, tag: String) -> Option<String> {
    if tag.is_empty() {
        return fields.check(path, Err("must be set"));
    }
    parse_language_tag(fields, path, &tag)
}

fn parse_region_code(fields: &mut Fields, path: &str, code: String) -> Option<String> {
    let is_code = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    fields.check(path, if is_code { Ok(code) } else { Err("must be two upper-case letters, such as DE") })
}

fn parse_attribute(fields: &mut Fields, path: &str, attribute: proto::AttributeCondition) -> Option<SegmentCondition> {
    let proto::AttributeCondition { key, values } = attribute;
    let key = parse_set_text(fields, &format!("{path}.key"), &key, MAX_ATTRIBUTE_KEY);
    let path = format!("{path}.values");
    if values.len() > MAX_LISTED {
        fields.refuse(path.as_str(), format!("must have at most {MAX_LISTED} items"));
    }
    // As in a dossier, a value may have line breaks, and none of the characters that Postgres cannot store.
    let parse = |fields: &mut Fields, path: &str, value: String| {
        let is_good = value.chars().count() <= MAX_ATTRIBUTE_VALUE && !value.contains('\0');
        let expected = "must be at most 1,000 characters without U+0000";
        fields.check(path, if is_good { Ok(value) } else { Err(expected) })
    };
    let values = parse_different(fields, &path, values.into_iter().take(MAX_LISTED), parse, String::clone);
    Some(SegmentCondition::Attribute { key: key?, values: values? })
}

fn parse_coming(fields: &mut Fields, path: &str, condition: proto::ComingCondition) -> Option<SegmentCondition> {
    let proto::ComingCondition { within_days, date } = condition;
    let date = match date {
        Some(Date::Birthday(true)) => Some(ComingDate::Birthday),
        Some(Date::Birthday(false)) => fields.check(format!("{path}.birthday"), Err("must be true")),
        Some(Date::ImportantDate(label)) => {
            parse_set_text(fields, &format!("{path}.important_date"), &label, MAX_LABEL).map(ComingDate::ImportantDate)
        }
        // As above.
        None => fields.check(path, Err("must have birthday or important_date")),
    };
    within(fields, &format!("{path}.within_days"), Some(within_days), COMING_DAYS);
    Some(SegmentCondition::Coming { date: date?, within_days })
}

#[cfg(test)]
mod tests;
