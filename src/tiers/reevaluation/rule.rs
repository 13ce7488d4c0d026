//! What a version of a program makes of a standing that another one decided. It is pure: simulations ask it, and so does
//! whoever applies the version.

use jiff::Timestamp;

use crate::book::{DowngradeTime, TierMove};
use crate::programs::tier_policy::windows::KeptUntil;
use crate::programs::tier_policy::{KeptRule, TierWindow};
use crate::tiers::counting::NotRead;
use crate::tiers::deciding::{Change, Deciding, Trigger, Verdict};

/// Decides a standing anew at an instant. There is a change where anything is to be written: another tier, or another end of
/// the same one.
///
/// # Errors
/// [`NotRead`] if days are missing.
pub(crate) fn reevaluate(
    deciding: &Deciding<'_>,
    at: Timestamp,
    downgrades: DowngradeTime,
) -> Result<Verdict, NotRead> {
    let mut verdict = match downgrades {
        DowngradeTime::AtOnce => decide_at_once(deciding, at)?,
        DowngradeTime::AtOwnEnd => deciding.decide(at, Trigger::Other)?,
    };
    // A tier that the version has no more is not left for a higher one.
    if deciding.rank_of(deciding.standing.own_tier_id()).is_none()
        && let Some(change) = &mut verdict.change
    {
        change.kind = Some(TierMove::Redecided);
    }
    if verdict.change.is_some() || verdict.outlook == deciding.standing.outlook {
        return Ok(verdict);
    }
    let change = Change {
        to: deciding.standing.own_tier_id().clone(),
        kind: Some(TierMove::Redecided),
        spend: deciding.present_spend(at)?,
        earned: None,
        cause: None,
    };
    Ok(Verdict { change: Some(change), ..verdict })
}

/// The customer holds what the windows in effect earn, and what the policy never takes.
fn decide_at_once(deciding: &Deciding<'_>, at: Timestamp) -> Result<Verdict, NotRead> {
    let earned = deciding.earned_in(&deciding.calendar().in_effect(at), deciding.history)?;
    let Some(held) = deciding.rank_of(deciding.standing.own_tier_id()) else {
        return deciding.decide(at, Trigger::Other);
    };
    let policy = deciding.policy();
    // What earned it may lie in a window that has passed.
    let is_kept = policy.kept == KeptRule::Always && policy.window != TierWindow::Lifetime;
    let secured = if is_kept { held } else { deciding.secured_up_to(held) };
    let (rank, kept) = if earned.rank >= secured { (earned.rank, earned.kept) } else { (secured, KeptUntil::Never) };
    let kind = (rank <= held).then_some(TierMove::Redecided);
    let verdict = deciding.change(at, kind, rank, kept, earned)?;
    let is_same = rank == held && verdict.outlook == deciding.standing.outlook;
    Ok(Verdict { change: verdict.change.filter(|_| !is_same), ..verdict })
}

#[cfg(test)]
mod tests;
