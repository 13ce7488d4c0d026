//! Points: lots, vesting, expiry, holds, spends and what undoes them; at random beside a naive model, and by name.

mod batches;
pub(crate) mod calls;
mod caps;
mod changed_rules;
mod complaints;
mod concurrency;
mod edges;
mod expiry;
mod failed_runs;
mod holds;
mod model;
pub(crate) mod pockets;
mod properties;
mod refunds;
mod requests;
mod reversals;
mod settling;
mod steps;
mod vesting;

use goldbook::proto;
use goldbook::proto::{expiry_rule, vesting_rule};
use jiff::Timestamp;

use crate::harness::{instant, shop};
use model::{Expire, Rules, Vest};

fn write_vesting(vest: Vest) -> proto::VestingRule {
    let rule = match vest {
        Vest::Now => vesting_rule::Rule::Immediate(()),
        Vest::At(at) => vesting_rule::Rule::At(instant(at)),
        Vest::After(period) => vesting_rule::Rule::After(period.to_owned()),
        Vest::Event(period) => vesting_rule::Rule::OnEventWithin(period.to_owned()),
    };
    proto::VestingRule { rule: Some(rule) }
}

fn write_expiry(expire: Expire) -> proto::ExpiryRule {
    let rule = match expire {
        Expire::Never => expiry_rule::Rule::Never(()),
        Expire::At(at) => expiry_rule::Rule::At(instant(at)),
        Expire::After(period, round_to) => {
            expiry_rule::Rule::After(expiry_rule::After { period: period.to_owned(), round_to: round_to.into() })
        }
        Expire::Sliding(period) => expiry_rule::Rule::Sliding(period.to_owned()),
    };
    proto::ExpiryRule { rule: Some(rule) }
}

/// A program of one tier and no campaigns with these rules for points; a point for each dollar.
fn program_of(rules: &Rules) -> proto::Program {
    let redemption = rules.limits.map(|(minimum, step, maximum)| proto::RedemptionLimits {
        minimum: Some(minimum),
        step: Some(step),
        maximum: Some(maximum),
    });
    let cap = |(period, points): &(proto::CalendarPeriod, i64)| proto::PeriodCap {
        period: (*period).into(),
        points: *points,
    };
    let earning = proto::EarningLimits {
        per_transaction: rules.per_transaction,
        per_period: rules.per_period.iter().map(cap).collect(),
    };
    let points = proto::PointsPolicy {
        vesting: Some(write_vesting(rules.vest)),
        expiry: Some(write_expiry(rules.expire)),
        redemption,
        earning: Some(earning),
        reinstatement: rules.reinstate.map(|(within, valid_for)| proto::Reinstatement {
            within: within.to_owned(),
            valid_for: valid_for.to_owned(),
        }),
        clawback: rules.clawback.into(),
        hold_for: rules.hold_for.to_owned(),
        point_value: "0.01".to_owned(),
    };
    let mut program = proto::Program { campaigns: Vec::new(), points: Some(points), ..shop() };
    program.tiers.truncate(1);
    program
}

/// An instant from the wire.
fn read_instant(at: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    at.map(|at| Timestamp::new(at.seconds, at.nanos).unwrap())
}
