//! What a customer stands at.

use jiff::Timestamp;
use jiff::civil::Date;

use super::counting::Counted;
use crate::book::{Due, DueKind, Outlook, OverrideForce, TierMove};
use crate::ids::TierId;
use crate::programs::tier_policy::windows::DayRange;

/// The tier a customer holds now, since when, under which policy version and why; and what was counted for it.
///
/// Under an override, what stands here of the tier's reasons and of time is about the tier that it hides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The tier that the customer holds.
    pub tier_id: TierId,
    /// Since when the customer has held it.
    pub since: Timestamp,
    /// The program version that decided.
    pub policy_version: i32,
    /// The number of the entry that gave the tier or renewed it.
    pub changed_seq: i64,
    /// The number of the entry that caused that.
    pub cause_seq: i64,
    /// What was counted in the customer's whole life.
    pub totals: Counted,
    /// Purchases above zero that were ever accepted, those that were refunded, too.
    pub accepted: i64,
    /// The local day on which the customer joined.
    pub enrolled_on: Option<Date>,
    /// What time will do.
    pub outlook: Outlook,
    /// The window that earned the tier; none, if none did.
    pub earned: Option<DayRange>,
    /// The tier that was held before the one that was earned, and when it would have ended.
    pub former: Option<Former>,
    /// The override that is in force.
    pub forced: Option<TierOverride>,
    /// The number of the last entry that changed any of it.
    pub last_seq: i64,
}

/// Which tier a customer holds, or at least holds, by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TierOverride {
    /// What it does.
    pub force: OverrideForce,
    /// Its tier.
    pub tier_id: TierId,
    /// When it ends by itself; never, if absent.
    pub ends_at: Option<Timestamp>,
    /// The number of the entry that set it.
    pub set_seq: i64,
    /// The tier that the customer would hold without it.
    pub hidden: TierId,
}

/// A tier that was held before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Former {
    /// The tier.
    pub tier_id: TierId,
    /// When it would have ended; never, if absent.
    pub ends_at: Option<Timestamp>,
    /// The window that had earned it; none, if none did.
    pub earned: Option<DayRange>,
}

impl Standing {
    /// The standing of a customer who holds a tier from just now, of which the book has no entries yet.
    #[must_use]
    pub(crate) fn new(tier_id: TierId, since: Timestamp, policy_version: i32, enrolled_on: Option<Date>) -> Self {
        Self {
            tier_id,
            since,
            policy_version,
            changed_seq: 0,
            cause_seq: 0,
            totals: Counted::default(),
            accepted: 0,
            enrolled_on,
            outlook: Outlook::default(),
            earned: None,
            former: None,
            forced: None,
            last_seq: 0,
        }
    }

    /// Notes what the customer's own tier rests on as a decision gives them one: the window that earned it, if one did, and
    /// the tier that was held before. It has to be asked before the tier is changed.
    pub(crate) fn rest_on(
        &mut self,
        own: &TierId,
        change: Option<TierMove>,
        earned: Option<DayRange>,
        former_ends_at: Option<Timestamp>,
        is_refund: bool,
    ) {
        let (before, had, former) = (self.own_tier_id().clone(), self.earned, self.former.take());
        let is_same = before == *own;
        self.earned = earned.or(had.filter(|_| is_same));
        self.former = match change {
            None => Some(Former { tier_id: before, ends_at: former_ends_at, earned: had }),
            // It goes on to stand behind what a refund left, unless that is what came back.
            Some(TierMove::Redecided) if is_same || is_refund => former.filter(|it| it.tier_id != *own),
            Some(TierMove::Downgraded | TierMove::Renewed | TierMove::Redecided) => None,
        };
    }

    /// The tier that the customer holds, but for an override.
    #[must_use]
    pub(crate) fn own_tier_id(&self) -> &TierId {
        self.forced.as_ref().map_or(&self.tier_id, |forced| &forced.hidden)
    }

    /// The number of the entry that gives the tier that is held: the decision, or the override that hides it.
    #[must_use]
    pub(crate) fn giving_seq(&self) -> i64 {
        let forced = self.forced.as_ref().filter(|forced| forced.hidden != self.tier_id);
        forced.map_or(self.changed_seq, |forced| forced.set_seq)
    }

    /// When time does something next: decides the standing, or ends the override.
    #[must_use]
    pub(crate) fn next_due(&self) -> Option<Due> {
        let decided = self.outlook.decides_at.map(|at| Due { at, kind: DueKind::EndTier });
        let ended = self.forced.as_ref().and_then(|forced| forced.ends_at);
        decided.into_iter().chain(ended.map(|at| Due { at, kind: DueKind::EndOverride })).min()
    }
}
