//! Value classes on the wire.

use super::asking::{FoundClass, FoundClassification, Simulated};
use crate::book::{ClassedCount, Classification, RelationshipLevel};
use crate::error::{Error, Fields};
use crate::ids::ProgramId;
use crate::money::Currency;
use crate::programs::grpc::tried::{Named, parse_tried};
use crate::programs::next::Tried;
use crate::programs::value_classes::grpc::{write_level, write_measure};
use crate::proto;
use crate::proto::fields::{write_day, write_instant, write_signed_money};
use crate::proto::simulate_value_classes_request::Policy;

pub(in crate::value) fn parse_simulation(
    request: proto::SimulateValueClassesRequest,
) -> Result<(ProgramId, Tried), Error> {
    let mut fields = Fields::default();
    let program_id = fields.check("program_id", ProgramId::try_from(request.program_id));
    let named = request.policy.map(|policy| match policy {
        Policy::Program(program) => Named::Document(Box::new(program)),
        Policy::Version(version) => Named::Version(version),
    });
    let tried = parse_tried(&mut fields, program_id.as_ref(), named);
    fields.finish_with(program_id.zip(tried))
}

pub(in crate::value) fn write_class(found: &FoundClass) -> proto::GetValueClassResponse {
    let FoundClass { as_of, currency, decided } = found;
    let as_of = Some(write_instant(*as_of));
    let Some((entry_id, row)) = decided else {
        return proto::GetValueClassResponse { as_of, ..proto::GetValueClassResponse::default() };
    };
    proto::GetValueClassResponse {
        as_of,
        class_id: row.held.class_id.to_string(),
        level: write_optional_level(row.held.level),
        since: Some(write_instant(row.since)),
        decided_at: Some(write_instant(row.decided_at)),
        entry_id: entry_id.to_string(),
        policy_version: row.policy_version,
        measured: Some(write_signed_money(*currency, row.measured)),
        ends_below: row.held.ends_below,
        until: Some(write_day(row.until)),
    }
}

fn write_optional_level(level: Option<RelationshipLevel>) -> i32 {
    level.map_or(proto::RelationshipLevel::Unspecified, write_level).into()
}

pub(in crate::value) fn write_found_classification(
    found: &FoundClassification,
) -> proto::GetValueClassificationResponse {
    let FoundClassification { entry, currency, classification } = found;
    proto::GetValueClassificationResponse {
        classification: Some(write_classification(classification, *currency)),
        entry_id: entry.id.to_string(),
        classed_at: Some(write_instant(entry.effective_at)),
        policy_version: entry.policy_version,
    }
}

fn write_classification(classification: &Classification, currency: Currency) -> proto::ValueClassification {
    let Classification { from, until, measure, model_version, ranked, classes } = classification;
    proto::ValueClassification {
        from: Some(write_day(*from)),
        until: Some(write_day(*until)),
        measure: write_measure(*measure).into(),
        model_version: model_version.unwrap_or(0),
        ranked_customers: *ranked,
        classes: classes.iter().map(|class| write_counted(class, currency)).collect(),
    }
}

fn write_counted(class: &ClassedCount, currency: Currency) -> proto::ClassifiedValueClass {
    // Where nobody is worth anything, nobody can be at the top.
    let amount =
        |bound: Option<i64>| bound.filter(|bound| *bound < i64::MAX).map(|it| write_signed_money(currency, it));
    proto::ClassifiedValueClass {
        class_id: class.class_id.to_string(),
        from: amount(class.from),
        keep: amount(class.keep),
        customers: class.customers,
        margin: Some(write_signed_money(currency, class.margin)),
        level: write_optional_level(class.level),
    }
}

pub(in crate::value) fn write_simulated(found: &Simulated) -> proto::SimulateValueClassesResponse {
    let Simulated { as_of, currency, classification, moves, below } = found;
    let moves = moves.iter().map(|((from, to), customers)| proto::ValueClassMove {
        from_class_id: from.as_ref().map(ToString::to_string).unwrap_or_default(),
        to_class_id: to.to_string(),
        customers: *customers,
    });
    proto::SimulateValueClassesResponse {
        as_of: Some(write_instant(*as_of)),
        classification: Some(write_classification(classification, *currency)),
        moves: moves.collect(),
        customers_below: *below,
    }
}
