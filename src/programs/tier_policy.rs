//! What a program says of standing: what counts for tiers, in which window, and until when a tier is kept.

pub mod grpc;
pub mod windows;

use jiff::civil::Date;
use jiff::{Span, ToSpan as _};
use serde::{Deserialize, Serialize};

use super::points::{CalendarPeriod, Period};
use crate::error::Violation;

/// What a program says of standing. Where it says nothing, the whole life of a customer counts, a tier is reached by the
/// purchase that reaches it, and no tier is lost but by a refund of what earned it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TierPolicy {
    /// The days whose activities count together.
    pub window: TierWindow,
    /// When a tier is reached.
    pub upgrade: UpgradeTime,
    /// Until when a tier is kept that was reached.
    pub kept: KeptRule,
    /// What becomes of a tier that was not earned again by its end.
    pub at_end: AtEnd,
    /// For how long after its end a tier can still be saved; not at all, if absent.
    pub grace: Option<Period>,
    /// What a refund does of a purchase that earned the tier.
    pub on_refund: RefundEffect,
}

/// The days whose activities count together: whole local days.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TierWindow {
    /// All of them.
    #[default]
    Lifetime,
    /// Each day counts for a period: until the start of the same date so much later.
    Rolling(Period),
    /// Those of a calendar period.
    Calendar(CalendarPeriod),
    /// Those of a year that begins with the anniversary of the customer's enrolment.
    EnrolmentYear,
}

impl TierWindow {
    /// How many days it has at most; none, if all days count.
    #[must_use]
    pub fn most_days(&self) -> Option<i64> {
        let span = match self {
            Self::Lifetime => return None,
            Self::Rolling(period) => period.span(),
            Self::Calendar(CalendarPeriod::Day) => 1.day(),
            Self::Calendar(CalendarPeriod::Week) => 1.week(),
            Self::Calendar(CalendarPeriod::Month) => 1.month(),
            Self::Calendar(CalendarPeriod::Quarter) => 3.months(),
            Self::Calendar(CalendarPeriod::Half) => 6.months(),
            Self::Calendar(CalendarPeriod::Year) | Self::EnrolmentYear => 1.year(),
        };
        // Months differ, and so do years: some of these starts has before it as many long ones as there can be.
        let starts = (0..60).filter_map(|months| Date::constant(1996, 1, 1).checked_add(months.months()).ok());
        let days = |start: Date| start.checked_add(span).and_then(|end| start.until(end)).map(|days| days.get_days());
        starts.filter_map(|start| days(start).ok()).max().map(i64::from)
    }
}

/// When a tier is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpgradeTime {
    /// At the activity by which its condition holds.
    #[default]
    AtOnce,
    /// At the end of the period in which its condition came to hold.
    AtPeriodEnd,
}

/// Until when a tier is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeptRule {
    /// For ever.
    #[default]
    Always,
    /// As long as its condition holds.
    WhileConditionHolds,
    /// Until the end of the period in which it was reached.
    UntilEndOfPeriod,
    /// Until the end of the period after that.
    UntilEndOfNextPeriod,
    /// For a period from the day on which it was reached.
    For(Period),
}

/// What becomes of a tier that was not earned again by its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtEnd {
    /// The customer holds what they earned.
    #[default]
    DropToEarned,
    /// The customer holds the tier below it, or what they earned where that is higher.
    OneStep,
}

/// What a refund does of a purchase that earned the tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundEffect {
    /// The standing is decided again.
    #[default]
    AtOnce,
    /// Nothing before the tier's end.
    AtPeriodEnd,
}

/// Something that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// What purchases cost less what was refunded, in minor units.
    Spend,
    /// The margin of purchases less that of what was refunded, in minor units.
    Margin,
    /// The points that purchases earned less those that refunds took back.
    Points,
    /// Purchases above zero that were not refunded as a whole.
    Purchases,
    /// Days with such a purchase.
    ActiveDays,
    /// Referrals that converted and that the customer had brought.
    Referrals,
}

impl Metric {
    /// All of them, in the order in which they are told.
    pub const ALL: [Self; 6] =
        [Self::Spend, Self::Margin, Self::Points, Self::Purchases, Self::ActiveDays, Self::Referrals];
}

/// What must have been counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// So much of one metric, or more.
    AtLeast(Metric, i64),
    /// All of these.
    AllOf(Vec<Self>),
    /// One of these, or more.
    AnyOf(Vec<Self>),
}

/// How many criteria a tier's condition may have, how many conditions one may hold, and how deep.
pub const MAX_CRITERIA: usize = 16;
/// See [`MAX_CRITERIA`].
pub const MAX_DEPTH: usize = 4;
/// How many ways to meet a condition are compared with those of the tier above.
const MAX_WAYS: usize = 256;

impl Condition {
    /// Whether it holds, by what was counted of each metric.
    pub fn holds(&self, counted: &impl Fn(Metric) -> i64) -> bool {
        match self {
            Self::AtLeast(metric, least) => counted(*metric) >= *least,
            Self::AllOf(conditions) => conditions.iter().all(|condition| condition.holds(counted)),
            Self::AnyOf(conditions) => conditions.iter().any(|condition| condition.holds(counted)),
        }
    }

    /// Whether it can be met within so many days at all.
    #[must_use]
    pub fn fits_in(&self, days: i64) -> bool {
        match self {
            Self::AtLeast(metric, least) => *metric != Metric::ActiveDays || *least <= days,
            Self::AllOf(conditions) => conditions.iter().all(|condition| condition.fits_in(days)),
            Self::AnyOf(conditions) => conditions.iter().any(|condition| condition.fits_in(days)),
        }
    }

    /// Its criteria, in their order.
    #[must_use]
    pub fn criteria(&self) -> Vec<(Metric, i64)> {
        match self {
            Self::AtLeast(metric, least) => vec![(*metric, *least)],
            Self::AllOf(conditions) | Self::AnyOf(conditions) => conditions.iter().flat_map(Self::criteria).collect(),
        }
    }

    /// Each way to meet it: the least of each metric that together suffice. None if there are too many.
    fn ways(&self) -> Option<Vec<[i64; 6]>> {
        let ways = match self {
            Self::AtLeast(metric, least) => vec![Metric::ALL.map(|it| if it == *metric { *least } else { i64::MIN })],
            Self::AnyOf(conditions) => {
                conditions.iter().map(Self::ways).collect::<Option<Vec<_>>>()?.into_iter().flatten().collect()
            }
            Self::AllOf(conditions) => {
                let mut ways = vec![[i64::MIN; 6]];
                for condition in conditions {
                    let more = condition.ways()?;
                    if ways.len() * more.len() > MAX_WAYS {
                        return None;
                    }
                    let join = |way: &[i64; 6], other: &[i64; 6]| {
                        let mut joined = *way;
                        joined.iter_mut().zip(other).for_each(|(least, other)| *least = (*least).max(*other));
                        joined
                    };
                    ways = ways.iter().flat_map(|way| more.iter().map(move |other| join(way, other))).collect();
                }
                ways
            }
        };
        Some(ways)
    }

    /// Whether a way to meet this one meets that of the tier above, too: then that way never leads to this tier.
    #[must_use]
    pub fn leads_past(&self, higher: &Self) -> bool {
        let (Some(ways), Some(higher)) = (self.ways(), higher.ways()) else { return false };
        let meets = |way: &[i64; 6], other: &[i64; 6]| way.iter().zip(other).all(|(least, other)| least >= other);
        ways.iter().any(|way| higher.iter().any(|other| meets(way, other)))
    }
}

/// As much of a policy as could be read. What could not is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyOutline {
    /// The days whose activities count together.
    pub window: Option<TierWindow>,
    /// When a tier is reached.
    pub upgrade: Option<UpgradeTime>,
    /// Until when a tier is kept that was reached.
    pub kept: Option<KeptRule>,
    /// What becomes of a tier that was not earned again by its end.
    pub at_end: Option<AtEnd>,
    /// For how long after its end a tier can still be saved; none inside, if not at all.
    pub grace: Option<Option<Period>>,
    /// What a refund does of a purchase that earned the tier.
    pub on_refund: Option<RefundEffect>,
}

impl PolicyOutline {
    /// The policy, if all of it could be read.
    #[must_use]
    pub fn whole(self) -> Option<TierPolicy> {
        Some(TierPolicy {
            window: self.window?,
            upgrade: self.upgrade?,
            kept: self.kept?,
            at_end: self.at_end?,
            grace: self.grace?,
            on_refund: self.on_refund?,
        })
    }
}

impl From<TierPolicy> for PolicyOutline {
    fn from(policy: TierPolicy) -> Self {
        let TierPolicy { window, upgrade, kept, at_end, grace, on_refund } = policy;
        Self {
            window: Some(window),
            upgrade: Some(upgrade),
            kept: Some(kept),
            at_end: Some(at_end),
            grace: Some(grace),
            on_refund: Some(on_refund),
        }
    }
}

/// Notes what is unsound within a policy of tiers. What is said beside something that could not be read is taken for
/// sound.
#[must_use]
pub fn find_policy_faults(policy: &PolicyOutline) -> Vec<Violation> {
    let mut faults = Vec::new();
    let mut fault = |field: &str, description: &str| {
        let field = format!("program.tier_policy.{field}");
        faults.push(Violation { field, description: description.to_owned() });
    };
    let PolicyOutline { window, kept, .. } = policy;
    let has_no_periods = matches!(window, Some(TierWindow::Lifetime | TierWindow::Rolling(_)));
    let is_kept_for_ever = *kept == Some(KeptRule::Always);
    let holds_alone = *kept == Some(KeptRule::WhileConditionHolds);
    if let Some(TierWindow::Calendar(CalendarPeriod::Day | CalendarPeriod::Week)) = window {
        fault("window.calendar", "must be a month, a quarter, a half or a year");
    }
    if has_no_periods && policy.upgrade == Some(UpgradeTime::AtPeriodEnd) {
        fault("upgrade", "can be at the end of a period only if the window is a calendar period or the enrolment year");
    }
    if has_no_periods && matches!(kept, Some(KeptRule::UntilEndOfPeriod | KeptRule::UntilEndOfNextPeriod)) {
        fault("kept", "can be until the end of a period only if the window is a calendar period or the enrolment year");
    }
    if policy.at_end == Some(AtEnd::OneStep) && (holds_alone || is_kept_for_ever) {
        fault("at_end", "can be one step only if tiers are kept for a time");
    }
    if is_kept_for_ever && policy.grace.as_ref().is_some_and(Option::is_some) {
        fault("grace", "has no meaning where tiers are kept for ever");
    }
    if policy.on_refund == Some(RefundEffect::AtPeriodEnd) && holds_alone && has_no_periods {
        fault("on_refund", "can wait only for the end of a period, which neither the window nor the tier has");
    }
    faults
}

/// The day a period of whole days after another; none beyond the calendar.
#[must_use]
pub fn day_after(day: Date, period: &Period) -> Option<Date> {
    let span: Span = period.span();
    day.checked_add(span).ok()
}

#[cfg(test)]
mod tests;
