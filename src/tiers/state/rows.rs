//! The rows of standings and days, as an audit compares them.

use jiff::civil::Date;

use crate::book::{Cell, Outlook, Row};
use crate::programs::tier_policy::windows::DayRange;
use crate::tiers::counting::DayCount;
use crate::tiers::standing::Standing;

pub(super) fn standing_row<'a>(noun: &'static str, key: Cell<'a>, standing: &'a Standing) -> Row<'a> {
    let Standing { totals, outlook, earned, former, forced, .. } = standing;
    let Outlook { ends_at, decides_at } = outlook;
    let columns = vec![
        ("tier_id", Cell::word(standing.tier_id.as_str())),
        ("since", standing.since.into()),
        ("policy_version", standing.policy_version.into()),
        ("changed_seq", standing.changed_seq.into()),
        ("cause_seq", standing.cause_seq.into()),
        ("qualifying_spend", totals.spend.into()),
        ("margin", totals.margin.into()),
        ("points", totals.points.into()),
        ("purchases", totals.purchases.into()),
        ("active_days", totals.active_days.into()),
        ("referrals", totals.referrals.into()),
        ("accepted", standing.accepted.into()),
        ("enrolled_on", standing.enrolled_on.map_or(Cell::Absent, |day| Cell::text(day.to_string()))),
        ("ends_at", (*ends_at).into()),
        ("decides_at", (*decides_at).into()),
        ("earned", window_cell(*earned)),
        ("former_tier_id", former.as_ref().map_or(Cell::Absent, |former| Cell::word(former.tier_id.as_str()))),
        ("former_ends_at", former.as_ref().and_then(|former| former.ends_at).into()),
        ("former_earned", window_cell(former.as_ref().and_then(|former| former.earned))),
        ("forced", forced.as_ref().map_or(Cell::Absent, |forced| Cell::word(forced.force.as_str()))),
        ("forced_tier_id", forced.as_ref().map_or(Cell::Absent, |forced| Cell::word(forced.tier_id.as_str()))),
        ("forced_until", forced.as_ref().and_then(|forced| forced.ends_at).into()),
        ("forced_seq", forced.as_ref().map_or(Cell::Absent, |forced| forced.set_seq.into())),
        ("hidden_tier_id", forced.as_ref().map_or(Cell::Absent, |forced| Cell::word(forced.hidden.as_str()))),
    ];
    Row { noun, key, columns }
}

fn window_cell<'a>(window: Option<DayRange>) -> Cell<'a> {
    let day = |day: Option<Date>| day.map_or_else(|| "…".to_owned(), |day| day.to_string());
    window.map_or(Cell::Absent, |DayRange { from, until }| Cell::text(format!("{} to {}", day(from), day(until))))
}

pub(super) fn day_row<'a>(noun: &'static str, key: Cell<'a>, count: &DayCount) -> Row<'a> {
    let columns = vec![
        ("spend", count.spend.into()),
        ("margin", count.margin.into()),
        ("points", count.points.into()),
        ("purchases", count.purchases.into()),
        ("visits", count.visits.into()),
        ("referrals", count.referrals.into()),
        ("last_seq", count.last_seq.into()),
    ];
    Row { noun, key, columns }
}
