//! Segments as callers see them.

use crate::money::Currency;
use crate::programs::channels::grpc::write_channel;
use crate::programs::lifecycle::grpc::write_stage;
use crate::programs::segments::{Bounds, Clause, ComingDate, Segment, SegmentCondition, SegmentEvent};
use crate::programs::tier_policy::Metric;
use crate::programs::value_classes::grpc::write_level;
use crate::proto;
use crate::proto::coming_condition::Date;
use crate::proto::fields::write_signed_money;
use crate::proto::segment_clause::Condition;

/// A segment on the wire.
pub(in crate::programs) fn write_segment(segment: &Segment, currency: Currency) -> proto::Segment {
    let Segment { segment_id, display_name, clauses } = segment;
    let clauses = clauses.iter().map(|Clause { condition, negated }| proto::SegmentClause {
        negated: *negated,
        condition: Some(write_condition(condition, currency)),
    });
    proto::Segment {
        segment_id: segment_id.to_string(),
        display_name: display_name.clone(),
        clauses: clauses.collect(),
    }
}

fn write_condition(condition: &SegmentCondition, currency: Currency) -> Condition {
    let texts = |texts: &[String]| proto::Texts { texts: texts.to_vec() };
    match condition {
        SegmentCondition::Tiers(tier_ids) => {
            Condition::Tiers(proto::TierIds { tier_ids: tier_ids.iter().map(ToString::to_string).collect() })
        }
        SegmentCondition::ValueClasses(class_ids) => {
            let value_class_ids = class_ids.iter().map(ToString::to_string).collect();
            Condition::ValueClasses(proto::ValueClassIds { value_class_ids })
        }
        SegmentCondition::Levels(levels) => {
            let levels = levels.iter().map(|level| write_level(*level).into()).collect();
            Condition::Levels(proto::RelationshipLevels { levels })
        }
        SegmentCondition::Stages(stages) => {
            let stages = stages.iter().map(|stage| write_stage(*stage).into()).collect();
            Condition::Stages(proto::LifecycleStages { stages })
        }
        SegmentCondition::Attribute { key, values } => {
            Condition::Attribute(proto::AttributeCondition { key: key.clone(), values: values.clone() })
        }
        SegmentCondition::Languages(languages) => Condition::Languages(texts(languages)),
        SegmentCondition::RegionCodes(codes) => Condition::RegionCodes(texts(codes)),
        SegmentCondition::Interests(interests) => Condition::Interests(texts(interests)),
        SegmentCondition::Counted { metric, bounds, days } => write_counted(*metric, *bounds, *days, currency),
        SegmentCondition::OpenComplaints(bounds) => write_count(proto::SegmentCount::OpenComplaints, *bounds, None),
        SegmentCondition::Satisfaction(bounds) => write_count(proto::SegmentCount::Satisfaction, *bounds, None),
        SegmentCondition::Recommendation(bounds) => write_count(proto::SegmentCount::Recommendation, *bounds, None),
        SegmentCondition::Since { event, days } => Condition::Since(proto::SinceCondition {
            event: write_event(*event).into(),
            at_least_days: days.at_least.map(write_days),
            at_most_days: days.at_most.map(write_days),
        }),
        SegmentCondition::Coming { date, within_days } => {
            let date = match date {
                ComingDate::Birthday => Date::Birthday(true),
                ComingDate::ImportantDate(label) => Date::ImportantDate(label.clone()),
            };
            Condition::Coming(proto::ComingCondition { date: Some(date), within_days: *within_days })
        }
        SegmentCondition::Consents(channels) => {
            let channels = channels.iter().map(|channel| write_channel(*channel).into()).collect();
            Condition::Consents(proto::MarketingChannels { channels })
        }
    }
}

/// What is counted as for tiers is an amount or a number on the wire.
fn write_counted(metric: Metric, bounds: Bounds, days: Option<i32>, currency: Currency) -> Condition {
    let money = |bound: Option<i64>| bound.map(|minor| write_signed_money(currency, minor));
    let amount = |amount: proto::SegmentAmount| {
        let (at_least, at_most) = (money(bounds.at_least), money(bounds.at_most));
        Condition::Amount(proto::AmountCondition { amount: amount.into(), at_least, at_most, days })
    };
    match metric {
        Metric::Spend => amount(proto::SegmentAmount::Spend),
        Metric::Margin => amount(proto::SegmentAmount::Margin),
        Metric::Points => write_count(proto::SegmentCount::Points, bounds, days),
        Metric::Purchases => write_count(proto::SegmentCount::Purchases, bounds, days),
        Metric::ActiveDays => write_count(proto::SegmentCount::ActiveDays, bounds, days),
        Metric::Referrals => write_count(proto::SegmentCount::Referrals, bounds, days),
    }
}

fn write_count(count: proto::SegmentCount, bounds: Bounds, days: Option<i32>) -> Condition {
    let Bounds { at_least, at_most } = bounds;
    Condition::Count(proto::CountCondition { count: count.into(), at_least, at_most, days })
}

fn write_days(days: i64) -> i32 {
    // None is above what it may be.
    i32::try_from(days).unwrap_or(i32::MAX)
}

const fn write_event(event: SegmentEvent) -> proto::SegmentEvent {
    match event {
        SegmentEvent::Joined => proto::SegmentEvent::Joined,
        SegmentEvent::FirstPurchase => proto::SegmentEvent::FirstPurchase,
        SegmentEvent::LastPurchase => proto::SegmentEvent::LastPurchase,
        SegmentEvent::TierChange => proto::SegmentEvent::TierChange,
    }
}
