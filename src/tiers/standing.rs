//! What a customer stands at.

use jiff::Timestamp;
use jiff::civil::Date;

use super::counting::Counted;
use crate::book::Outlook;
use crate::ids::TierId;
use crate::programs::tier_policy::windows::DayRange;

/// The tier a customer holds now, since when, under which policy version and why; and what was counted for it.
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
    /// The number of the last entry that changed any of it.
    pub last_seq: i64,
}

/// A tier that was held before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Former {
    /// The tier.
    pub tier_id: TierId,
    /// When it would have ended; never, if absent.
    pub ends_at: Option<Timestamp>,
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
            last_seq: 0,
        }
    }
}
