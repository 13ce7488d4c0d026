//! Simulations on the wire.

use super::parse::parse_downgrades;
use crate::error::{Error, Fields};
use crate::ids::ProgramId;
use crate::programs::grpc::tried::{Named, parse_tried};
use crate::proto;
use crate::proto::fields::{parse_optional_instant, write_instant, write_signed_money};
use crate::proto::simulate_tier_policy_request::Policy;
use crate::tiers::simulation::outcome::{Totals, Trial};
use crate::tiers::simulation::{Question, Update};

pub(super) fn parse_simulation(request: proto::SimulateTierPolicyRequest) -> Result<Question, Error> {
    let mut fields = Fields::default();
    let downgrades = parse_downgrades(&mut fields, request.downgrades());
    let as_of = parse_optional_instant(&mut fields, "as_of", request.as_of.as_ref());
    let percent = match request.sample_percent {
        0 => Some(100),
        percent @ 1..=100 => Some(percent),
        _ => fields.check("sample_percent", Err("must be from 1 to 100; 0 means all")),
    };
    let program_id = fields.check("program_id", ProgramId::try_from(request.program_id));
    let named = request.policy.map(|policy| match policy {
        Policy::Program(program) => Named::Document(Box::new(program)),
        Policy::Version(version) => Named::Version(version),
    });
    let tried = parse_tried(&mut fields, program_id.as_ref(), named);
    let parsed = || {
        Some(Question {
            program_id: program_id?,
            tried: tried?,
            downgrades: downgrades?,
            as_of,
            percent: percent?,
            tells_moves: !request.summary_only,
        })
    };
    fields.finish_with(parsed())
}

pub(super) fn write_update(update: Update) -> proto::SimulateTierPolicyResponse {
    let Update { customers_done, customers_total, moves, totals } = update;
    let moves = moves.into_iter().map(|(customer_id, it)| proto::SimulatedMove {
        customer_id: customer_id.into(),
        from_tier_id: it.from.to_string(),
        to_tier_id: it.to.to_string(),
        valid_until: it.valid_until.map(write_instant),
    });
    proto::SimulateTierPolicyResponse {
        progress: Some(proto::TierSimulationProgress { customers_done, customers_total }),
        moves: moves.collect(),
        simulation: totals.map(|told| write_totals(&told.0, &told.1)),
    }
}

fn write_totals(trial: &Trial, totals: &Totals) -> proto::TierSimulation {
    let moves = totals.moves(trial).into_iter().map(|(from, to, count)| proto::TierMoveCount {
        from_tier_id: from.to_string(),
        to_tier_id: to.to_string(),
        customers: count.customers,
        overridden: count.overridden,
    });
    let ends = totals.ends(trial).into_iter().map(|(tier_id, count)| proto::TierEndCount {
        tier_id: tier_id.to_string(),
        first_end: Some(write_instant(count.first_end)),
        last_end: Some(write_instant(count.last_end)),
        customers: count.customers,
        falling: count.falling,
    });
    let benefits = totals.benefits(trial).into_iter().map(|(benefit_id, count)| proto::BenefitChange {
        benefit_id: benefit_id.to_string(),
        gaining: count.gaining,
        losing: count.losing,
    });
    let program = &trial.policy.program;
    let points_per_year = totals.points_per_year(trial);
    let worth = |points: i64| {
        let minor = program.points.point_value?.times(points.into(), program.currency);
        let narrow = |minor: i128| i64::try_from(minor).unwrap_or(if minor < 0 { i64::MIN } else { i64::MAX });
        Some(write_signed_money(program.currency, minor.map_or(i64::MAX, narrow)))
    };
    let packages = totals.packages(trial);
    let package_points = packages.iter().fold(0_i64, |points, (_, count)| points.saturating_add(count.points));
    let packages = packages.into_iter().map(|(package_id, count)| proto::PackageCount {
        package_id: package_id.to_string(),
        customers: count.customers,
        points: count.points,
    });
    proto::TierSimulation {
        as_of: Some(write_instant(trial.at)),
        customers: totals.customers,
        left_out: totals.left_out,
        moves: moves.collect(),
        ends: ends.collect(),
        benefits: benefits.collect(),
        points_per_year,
        liability_per_year: worth(points_per_year),
        packages: packages.collect(),
        package_liability: worth(package_points),
    }
}
