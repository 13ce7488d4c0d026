//! What a standing lacks to the next tier, what keeps it, and what time makes of it: what answers tell. It is pure.

use jiff::Timestamp;

use super::counting::{Counted, History, NotRead};
use super::deciding::{Deciding, Trigger};
use super::standing::Standing;
use crate::book::TierMove;
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
    pub(super) kind: Option<TierMove>,
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

/// Explains a standing.
///
/// # Errors
/// [`NotRead`] if days are missing.
pub(super) fn explain<'a>(
    version: &'a ProgramVersion,
    standing: &Standing,
    history: &History,
    at: Timestamp,
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
    let tier = held.filter(|rank| *rank > 0).and_then(|rank| tiers.get(rank)).filter(|tier| !tier.never_lost);
    let tier = tier.filter(|_| version.program.tier_policy.kept != KeptRule::Always);
    let keeping = match tier {
        Some(tier) => Some((tier, in_window(deciding.keeping_window(at))?)),
        None => None,
    };
    Ok(Explained { present, next, keeping, forecast: foretell(version, standing, history)? })
}

fn foretell(version: &ProgramVersion, standing: &Standing, history: &History) -> Result<Vec<Foretold>, NotRead> {
    let (mut standing, mut forecast) = (standing.clone(), Vec::new());
    for _ in 0..MAX_FORECAST {
        let Some(at) = standing.outlook.decides_at else { break };
        let verdict = Deciding { version, standing: &standing, history }.decide(at, Trigger::Other)?;
        standing.outlook = verdict.outlook;
        if let Some(change) = verdict.change {
            standing.tier_id = change.to.clone();
            forecast.push(Foretold { at, to: change.to, kind: change.kind });
        }
    }
    Ok(forecast)
}
