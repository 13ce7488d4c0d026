//! What a standing lacks to the next tier, what keeps it, and what time makes of it: what answers tell. It is pure.

use jiff::Timestamp;

use super::counting::{Counted, History, NotRead};
use super::deciding::{Deciding, Trigger};
use super::overriding::{Moved, moved};
use super::standing::Standing;
use crate::book::{Due, DueKind, TierMove};
use crate::ids::TierId;
use crate::programs::model::{ProgramVersion, Tier};
use crate::programs::tier_policy::KeptRule;
use crate::programs::tier_policy::windows::DayRange;

/// The most changes that are foretold.
const MAX_FORECAST: usize = 64;

/// What was counted in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InWindow {
    pub(super) days: DayRange,
    pub(super) counted: Counted,
}

/// A change that time brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Foretold {
    pub(super) at: Timestamp,
    pub(super) to: TierId,
    pub(super) what: Move,
}

/// What happens to a standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// It is decided: none for an upgrade.
    Decided(Option<TierMove>),
    /// Its override ends.
    Released,
}

/// What there is to say of a standing at an instant.
pub(super) struct Explained<'a> {
    /// The present window.
    pub(super) present: InWindow,
    /// The tier above, if there is one.
    pub(super) next: Option<&'a Tier>,
    /// The tier's own condition and the window that decides whether it is kept, if time takes it away.
    pub(super) keeping: Option<(&'a Tier, InWindow)>,
    /// What becomes of it.
    pub(super) forecast: Vec<Foretold>,
}

/// Explains a standing: what keeps it and what becomes of it only where the whole is asked for.
///
/// # Errors
/// [`NotRead`] if days are missing.
pub(super) fn explain<'a>(
    version: &'a ProgramVersion,
    standing: &Standing,
    history: &History,
    at: Timestamp,
    is_whole: bool,
) -> Result<Explained<'a>, NotRead> {
    let deciding = Deciding { version, standing, history };
    let in_window = |days| Ok(InWindow { days, counted: history.count(days)? });
    let calendar = deciding.calendar();
    let present = in_window(calendar.window_of(calendar.day_of(at)))?;
    let tiers = &version.program.tiers;
    let held = tiers.iter().position(|tier| tier.tier_id == standing.tier_id);
    let next = match held {
        Some(rank) => tiers.get(rank + 1),
        // The program has the tier no more.
        None => tiers.iter().find(|tier| !tier.condition().holds(&|metric| present.counted.of(metric))),
    };
    if !is_whole {
        return Ok(Explained { present, next, keeping: None, forecast: Vec::new() });
    }
    let tier = held.filter(|rank| *rank > 0).and_then(|rank| tiers.get(rank));
    let own = tiers.iter().position(|tier| tier.tier_id == *standing.own_tier_id());
    let keeping = match tier {
        // An override holds it, and once that ends it must have been earned.
        Some(tier) if own < held => standing.forced.as_ref().and_then(|forced| forced.ends_at).map(|_| (tier, present)),
        Some(tier) if own == held && !tier.never_lost && version.program.tier_policy.kept != KeptRule::Always => {
            Some((tier, in_window(deciding.keeping_window(at))?))
        }
        Some(_) | None => None,
    };
    Ok(Explained { present, next, keeping, forecast: foretell(version, standing, history, MAX_FORECAST)? })
}

/// What time makes of a standing, if nothing is counted any more: at most so many changes.
///
/// # Errors
/// [`NotRead`] if days are missing.
pub(super) fn foretell(
    version: &ProgramVersion,
    standing: &Standing,
    history: &History,
    most: usize,
) -> Result<Vec<Foretold>, NotRead> {
    let (mut standing, mut forecast) = (standing.clone(), Vec::new());
    for _ in 0..MAX_FORECAST {
        let Some(Due { at, kind }) = standing.next_due().filter(|_| forecast.len() < most) else { break };
        if kind == DueKind::EndOverride {
            standing.tier_id = standing.own_tier_id().clone();
            standing.forced = None;
            forecast.push(Foretold { at, to: standing.tier_id.clone(), what: Move::Released });
            continue;
        }
        let verdict = Deciding { version, standing: &standing, history }.decide(at, Trigger::Other)?;
        standing.outlook = verdict.outlook;
        if let Some(change) = verdict.change {
            let Moved { from, to, hidden } = moved(&version.program, &standing, change.to);
            let is_seen = from != to || hidden.as_ref().is_none_or(|hidden| *hidden == to);
            standing.tier_id = to.clone();
            if let Some((forced, hidden)) = standing.forced.as_mut().zip(hidden) {
                forced.hidden = hidden;
            }
            if is_seen {
                forecast.push(Foretold { at, to, what: Move::Decided(change.kind) });
            }
        }
    }
    Ok(forecast)
}
