//! Statistics of tiers on the wire.

use crate::error::{Error, Fields};
use crate::ids::ProgramId;
use crate::proto;
use crate::proto::TierChangeKind;
use crate::proto::fields::{parse_optional_instant, write_day, write_instant};
use crate::tiers::statistics::tally::{Became, Survey, Tally};
use crate::tiers::statistics::{Counted, Request};

const USUAL_DAYS: i32 = 30;
const MAX_DAYS: i32 = 400;
const USUAL_MONTHS: i32 = 12;
const MAX_MONTHS: i32 = 60;

pub(super) fn parse_statistics(request: proto::ListTierStatisticsRequest) -> Result<Request, Error> {
    let mut fields = Fields::default();
    let as_of = parse_optional_instant(&mut fields, "as_of", request.as_of.as_ref());
    let within_days = match request.within_days {
        0 => Some(USUAL_DAYS),
        days @ 1..=MAX_DAYS => Some(days),
        _ => fields.check("within_days", Err("must be from 1 to 400; 0 means 30")),
    };
    let months = match request.months {
        0 => Some(USUAL_MONTHS),
        months @ 1..=MAX_MONTHS => Some(months),
        _ => fields.check("months", Err("must be from 1 to 60; 0 means 12")),
    };
    let program_id = fields.check("program_id", ProgramId::try_from(request.program_id));
    let parsed = || {
        Some(Request {
            program_id: program_id?,
            as_of,
            within_days: within_days?,
            months: months?,
            tells_customers: request.list_customers,
        })
    };
    fields.finish_with(parsed())
}

pub(super) fn write_counted(counted: Counted) -> proto::ListTierStatisticsResponse {
    let Counted { customers_done, customers_total, upcoming, tally } = counted;
    let upcoming = upcoming.into_iter().map(|(customer_id, it)| proto::UpcomingTierMove {
        customer_id: customer_id.into(),
        at: Some(write_instant(it.at)),
        change: write_became(it.became).into(),
        from_tier_id: it.from.to_string(),
        to_tier_id: it.to.to_string(),
    });
    proto::ListTierStatisticsResponse {
        progress: Some(proto::TierSimulationProgress { customers_done, customers_total }),
        upcoming: upcoming.collect(),
        statistics: tally.map(|told| write_tally(&told.0, &told.1)),
    }
}

fn write_tally(survey: &Survey, tally: &Tally) -> proto::TierStatistics {
    let name = |tier_id: &_| survey.version.program.tier(tier_id).map(|tier| tier.display_name.clone());
    let tiers = tally.tiers(survey).into_iter().map(|(tier_id, count)| proto::TierCount {
        display_name: name(&tier_id).unwrap_or_default(),
        tier_id: tier_id.to_string(),
        customers: count.customers,
        overridden: count.overridden,
    });
    let upcoming = tally.upcoming(survey).into_iter().map(|(from, to, became, count)| proto::UpcomingTierCount {
        change: write_became(became).into(),
        from_tier_id: from.to_string(),
        to_tier_id: to.to_string(),
        customers: count.customers,
        first_at: Some(write_instant(count.first_at)),
        last_at: Some(write_instant(count.last_at)),
    });
    let months = survey.months.first_days.iter().enumerate().map(|(place, first_day)| proto::TierMonth {
        first_day: Some(write_day(*first_day)),
        joined: tally.in_month(place, Became::Joined),
        upgraded: tally.in_month(place, Became::Upgraded),
        downgraded: tally.in_month(place, Became::Downgraded),
        renewed: tally.in_month(place, Became::Renewed),
        redecided: tally.in_month(place, Became::Redecided),
        imported: tally.in_month(place, Became::Imported),
        overridden: tally.in_month(place, Became::Overridden),
        released: tally.in_month(place, Became::Released),
    });
    proto::TierStatistics {
        as_of: Some(write_instant(survey.at)),
        customers: tally.customers,
        left_out: tally.left_out,
        tiers: tiers.collect(),
        upcoming: upcoming.collect(),
        months: months.collect(),
    }
}

const fn write_became(became: Became) -> TierChangeKind {
    match became {
        Became::Joined => TierChangeKind::Joined,
        Became::Upgraded => TierChangeKind::Upgraded,
        Became::Downgraded => TierChangeKind::Downgraded,
        Became::Renewed => TierChangeKind::Renewed,
        Became::Redecided => TierChangeKind::Redecided,
        Became::Imported => TierChangeKind::Imported,
        Became::Overridden => TierChangeKind::Overridden,
        Became::Released => TierChangeKind::Released,
    }
}
