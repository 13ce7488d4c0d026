//! Whether a customer is in a segment, by what is known of them. It is pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::ToSpan as _;
use jiff::civil::Date;

use crate::book::{Detail, LifecycleDetail, RelationshipLevel, Stage};
use crate::clock::PartialDate;
use crate::customers::model::ImportantDate;
use crate::ids::{TierId, ValueClassId};
use crate::programs::channels::MarketingChannel;
use crate::programs::segments::{Bounds, ComingDate, Segment, SegmentCondition, SegmentEvent};
use crate::programs::tier_policy::windows::DayRange;
use crate::tiers::counting::{History, NotRead};
use crate::value::EARLIEST;

/// What is known of a customer at an instant, as far as it is needed.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) tier_id: TierId,
    /// The local day on which they came to hold it.
    pub(super) tier_since: Date,
    pub(super) enrolled_on: Option<Date>,
    /// What was counted on the days that are needed.
    pub(super) history: History,
    pub(super) class: Option<(ValueClassId, Option<RelationshipLevel>)>,
    pub(super) stage: Option<Stage>,
    pub(super) open_complaints: i64,
    pub(super) answers: Answers,
    pub(super) told: Told,
    pub(super) consents: Vec<MarketingChannel>,
}

/// What a dossier says, as far as segments ask. Languages, regions, interests and labels are in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) language: String,
    pub(super) region_code: String,
    pub(super) birth_date: Option<PartialDate>,
    pub(super) important_dates: Vec<ImportantDate>,
    pub(super) interests: BTreeSet<String>,
    /// Those that are asked for.
    pub(super) attributes: BTreeMap<String, String>,
}

/// A segment as customers are compared with it: in lower case, where case does not matter.
pub(super) fn fold_case(segment: &Segment) -> Segment {
    let mut folded = segment.clone();
    let lower = |texts: &mut Vec<String>| texts.iter_mut().for_each(|text| *text = text.to_lowercase());
    for clause in &mut folded.clauses {
        match &mut clause.condition {
            SegmentCondition::Languages(texts)
            | SegmentCondition::RegionCodes(texts)
            | SegmentCondition::Interests(texts) => lower(texts),
            SegmentCondition::Coming { date: ComingDate::ImportantDate(label), .. } => *label = label.to_lowercase(),
            SegmentCondition::Coming { date: ComingDate::Birthday, .. }
            | SegmentCondition::Tiers(_)
            | SegmentCondition::ValueClasses(_)
            | SegmentCondition::Levels(_)
            | SegmentCondition::Stages(_)
            | SegmentCondition::Attribute { .. }
            | SegmentCondition::Counted { .. }
            | SegmentCondition::OpenComplaints(_)
            | SegmentCondition::Satisfaction(_)
            | SegmentCondition::Recommendation(_)
            | SegmentCondition::Since { .. }
            | SegmentCondition::Consents(_) => {}
        }
    }
    folded
}

/// The stage that an entry decides, if it decides one.
pub(super) const fn stage_in(detail: &Detail) -> Option<Stage> {
    match detail {
        Detail::Lifecycle(LifecycleDetail::LifecycleDecided { to, .. }) => Some(to.stage),
        Detail::Program(_)
        | Detail::Customer(_)
        | Detail::Activity(_)
        | Detail::Points(_)
        | Detail::Tier(_)
        | Detail::Benefit(_)
        | Detail::Referral(_)
        | Detail::Complaint(_)
        | Detail::Goodwill(_)
        | Detail::Value(_) => None,
    }
}

/// What a customer answered last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) satisfaction: Option<i16>,
    pub(super) recommendation: Option<i16>,
}

/// What segments need to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Needed {
    /// The days that are counted, beside those of the whole life.
    pub(super) days: DayRange,
    pub(super) classes: bool,
    pub(super) stages: bool,
    pub(super) complaints: bool,
    pub(super) answers: bool,
    pub(super) dossiers: bool,
    /// The attributes of dossiers that are asked for.
    pub(super) attributes: Vec<String>,
    pub(super) consents: bool,
}

impl Needed {
    /// What segments need, on a day.
    pub(super) fn of(segments: &[Segment], today: Date) -> Self {
        let nothing = DayRange { from: Some(today.saturating_add(1.day())), until: None };
        let mut needed = Self {
            days: nothing,
            classes: false,
            stages: false,
            complaints: false,
            answers: false,
            dossiers: false,
            attributes: Vec::new(),
            consents: false,
        };
        for clause in segments.iter().flat_map(|segment| &segment.clauses) {
            match &clause.condition {
                SegmentCondition::Tiers(_) => {}
                SegmentCondition::ValueClasses(_) | SegmentCondition::Levels(_) => needed.classes = true,
                SegmentCondition::Stages(_) => needed.stages = true,
                SegmentCondition::Attribute { key, values: _ } => {
                    needed.dossiers = true;
                    needed.attributes.push(key.clone());
                }
                SegmentCondition::Languages(_)
                | SegmentCondition::RegionCodes(_)
                | SegmentCondition::Interests(_)
                | SegmentCondition::Coming { .. } => needed.dossiers = true,
                SegmentCondition::Counted { days, .. } => {
                    needed.count_from(days.and_then(|days| window(today, days).from));
                }
                SegmentCondition::OpenComplaints(_) => needed.complaints = true,
                SegmentCondition::Satisfaction(_) | SegmentCondition::Recommendation(_) => needed.answers = true,
                SegmentCondition::Since { event, .. } => match event {
                    SegmentEvent::FirstPurchase | SegmentEvent::LastPurchase => needed.count_from(Some(EARLIEST)),
                    SegmentEvent::Joined | SegmentEvent::TierChange => {}
                },
                SegmentCondition::Consents(_) => needed.consents = true,
            }
        }
        needed.attributes.sort();
        needed.attributes.dedup();
        needed
    }

    fn count_from(&mut self, from: Option<Date>) {
        self.days.from = self.days.from.min(from.or(self.days.from));
    }
}

/// So many days, the present one included.
fn window(today: Date, days: i32) -> DayRange {
    DayRange { from: Some(today.saturating_sub((days - 1).days())), until: None }
}

/// Whether a customer is in a segment, on a day.
///
/// # Errors
/// If less is known than the segment needs.
pub(super) fn is_in(segment: &Segment, known: &Known, today: Date) -> Result<bool, NotRead> {
    for clause in &segment.clauses {
        if holds(&clause.condition, known, today)? == clause.negated {
            return Ok(false);
        }
    }
    Ok(true)
}

fn holds(condition: &SegmentCondition, known: &Known, today: Date) -> Result<bool, NotRead> {
    let said = |bounds: &Bounds, answer: Option<i16>| answer.is_some_and(|answer| bounds.hold(answer.into()));
    Ok(match condition {
        SegmentCondition::Tiers(tiers) => tiers.contains(&known.tier_id),
        SegmentCondition::ValueClasses(classes) => {
            known.class.as_ref().is_some_and(|(class_id, _)| classes.contains(class_id))
        }
        SegmentCondition::Levels(levels) => {
            known.class.as_ref().and_then(|(_, level)| *level).is_some_and(|level| levels.contains(&level))
        }
        SegmentCondition::Stages(stages) => known.stage.is_some_and(|stage| stages.contains(&stage)),
        SegmentCondition::Attribute { key, values } => {
            let value = known.told.attributes.get(key);
            value.is_some_and(|value| values.is_empty() || values.contains(value))
        }
        SegmentCondition::Languages(languages) => {
            languages.iter().any(|language| speaks(&known.told.language, language))
        }
        SegmentCondition::RegionCodes(codes) => codes.contains(&known.told.region_code),
        SegmentCondition::Interests(interests) => {
            interests.iter().any(|interest| known.told.interests.contains(interest))
        }
        SegmentCondition::Counted { metric, bounds, days } => {
            let window = days.map_or(DayRange::ALL, |days| window(today, days));
            bounds.hold(known.history.count(window)?.of(*metric))
        }
        SegmentCondition::OpenComplaints(bounds) => bounds.hold(known.open_complaints),
        SegmentCondition::Satisfaction(bounds) => said(bounds, known.answers.satisfaction),
        SegmentCondition::Recommendation(bounds) => said(bounds, known.answers.recommendation),
        SegmentCondition::Since { event, days } => {
            let day = match event {
                SegmentEvent::Joined => known.enrolled_on,
                SegmentEvent::FirstPurchase => bought_on(&known.history)?.next(),
                SegmentEvent::LastPurchase => bought_on(&known.history)?.next_back(),
                SegmentEvent::TierChange => Some(known.tier_since),
            };
            // What a clock that runs ahead reports is of today.
            day.is_some_and(|day| days.hold((today - day).get_days().max(0).into()))
        }
        SegmentCondition::Coming { date, within_days } => comes(known, date, today, *within_days),
        SegmentCondition::Consents(channels) => channels.iter().any(|channel| known.consents.contains(channel)),
    })
}

/// The days on which anything was bought that was not given back, in their order.
fn bought_on(history: &History) -> Result<impl DoubleEndedIterator<Item = Date>, NotRead> {
    if !history.has_read(DayRange { from: Some(EARLIEST), until: None }) {
        return Err(NotRead);
    }
    let bought = history.days.iter().filter(|(day, count)| *day >= EARLIEST && count.visits > 0);
    Ok(bought.map(|(day, _)| *day))
}

/// Whether a language is another one, or a more specific form of it: `de-CH` of `de`.
fn speaks(language: &str, range: &str) -> bool {
    language.strip_prefix(range).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

fn comes(known: &Known, date: &ComingDate, today: Date, within_days: i32) -> bool {
    let soon = |date: &PartialDate| days_until(today, *date).is_some_and(|days| days < within_days);
    match date {
        ComingDate::Birthday => known.told.birth_date.as_ref().is_some_and(soon),
        ComingDate::ImportantDate(label) => {
            known.told.important_dates.iter().any(|important| important.label == *label && soon(&important.date))
        }
    }
}

/// In how many days a date comes again: 0, if it is today.
fn days_until(today: Date, date: PartialDate) -> Option<i32> {
    let in_year = |year: i16| {
        let day = Date::new(year, date.month, date.day).or_else(|_| Date::new(year, date.month, date.day - 1));
        day.ok()
    };
    let next =
        [today.year(), today.year().saturating_add(1)].into_iter().filter_map(in_year).find(|day| *day >= today)?;
    Some((next - today).get_days())
}

#[cfg(test)]
mod tests;
