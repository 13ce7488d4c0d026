//! Entries about points.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

use super::wide;

/// Some points of one lot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LotPart {
    /// The number of the entry that made the lot.
    pub lot: i64,
    /// How many of its points; above zero.
    pub points: i64,
}

/// When a lot's points vest and expire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LotTerms {
    /// When they become available; at once, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vests_at: Option<Timestamp>,
    /// Until when what they are granted for must happen; pending until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vest_by: Option<Timestamp>,
    /// When they expire. For sliding points: their date if no activity moves it. Not known yet while they wait for an
    /// event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Whether they expire together with all others that do, a period after the last activity.
    #[serde(skip_serializing_if = "is_false")]
    pub slides: bool,
    /// The rule that will say when they expire once they have vested, for those that wait for an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry_rule: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl LotTerms {
    /// Whether the points are available at once and for ever.
    #[must_use]
    pub fn is_free(&self) -> bool {
        *self == Self::default()
    }
}

/// A calendar period in which earning is capped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarningWindow {
    /// Its kind, in the words of the program's document.
    pub period: String,
    /// The first instant of the period, on entries that do not tell its first day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The first day of the period, where the program is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub day: Option<Date>,
    /// How many points had been earned in the period before, where that was looked up among the entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earned: Option<i64>,
}

/// What happened to points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum PointsDetail {
    /// Points were granted as a new lot, which this entry names.
    PointsGranted {
        /// When they vest and expire.
        #[serde(default, skip_serializing_if = "LotTerms::is_free")]
        terms: LotTerms,
        /// The capped calendar periods that they count in.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        counted_in: Vec<EarningWindow>,
        /// How many it would have been without a cap, where one cut the grant.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wide::optional")]
        uncapped: Option<i64>,
    },
    /// Points that another system had granted were taken over, as a new lot, which this entry names.
    PointsImported {
        /// When they vest and expire.
        #[serde(default, skip_serializing_if = "LotTerms::is_free")]
        terms: LotTerms,
    },
    /// A lot's pending points became available.
    PointsVested {
        /// The number of the entry that made the lot.
        lot: i64,
        /// When the points expire. Absent if never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
    },
    /// What a lot was granted for did not happen in time: its pending points are gone.
    VestingMissed {
        /// The number of the entry that made the lot.
        lot: i64,
    },
    /// Points reached their expiry: they were available, or came back from a hold too late.
    PointsExpired {
        /// Which lots they were of.
        lots: Vec<LotPart>,
        /// The hold that they came from, where they expired on its release.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hold: Option<i64>,
    },
    /// Points were spent, at once or out of a hold.
    PointsRedeemed {
        /// Which lots they were of.
        lots: Vec<LotPart>,
        /// The hold that they came from, if there was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hold: Option<i64>,
    },
    /// Points were set aside for a spend; this entry names the hold.
    PointsHeld {
        /// Which lots they are of.
        lots: Vec<LotPart>,
        /// When the hold ends by itself.
        ends_at: Timestamp,
    },
    /// Held points came back.
    PointsReleased {
        /// The number of the entry that made the hold.
        hold: i64,
        /// Which lots they are of.
        lots: Vec<LotPart>,
    },
    /// Somebody changed the balance by hand: up, as a new lot that this entry names, or down.
    PointsAdjusted {
        /// When the new lot's points expire; absent for a change down.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        terms: Option<LotTerms>,
        /// Which lots the points were of; empty for a change up.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lots: Vec<LotPart>,
    },
    /// An earlier entry was undone, whole or in part.
    EntryReversed {
        /// The number of the entry that was undone.
        reversed: i64,
        /// Which lots the points were of.
        lots: Vec<LotPart>,
        /// When points that came back from their expiry expire again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
        /// Of an expiry: how many more of its points can no longer come back, since a reversal of their grant has
        /// cancelled them. They count as undone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        passed_over: Option<i64>,
    },
    /// A reversal took more than there was.
    DebtIncurred {
        /// The number of the entry that was undone.
        reversed: i64,
    },
    /// Points that were spent or held when their grant was undone came back expired. They are cancelled now, and what
    /// made up for them is given back: a debt, or points of other lots.
    ReversalSettled {
        /// The number of the entry that was undone.
        reversed: i64,
        /// Which lots the points were of; none where a debt is forgiven.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lots: Vec<LotPart>,
    },
    /// Points that became available paid a debt.
    DebtRepaid {
        /// Which lots they were of.
        lots: Vec<LotPart>,
    },
    /// All points of a pocket went with the customer who was erased, of however many lots: pending ones are cancelled,
    /// available ones expire or were paid out.
    PointsForfeited,
}

impl PointsDetail {
    /// The terms of the lot that the entry makes, if it makes one.
    #[must_use]
    pub const fn lot_terms(&self) -> Option<&LotTerms> {
        match self {
            Self::PointsGranted { terms, .. } | Self::PointsImported { terms } => Some(terms),
            Self::PointsAdjusted { terms, .. } => terms.as_ref(),
            Self::PointsVested { .. }
            | Self::VestingMissed { .. }
            | Self::PointsExpired { .. }
            | Self::PointsRedeemed { .. }
            | Self::PointsHeld { .. }
            | Self::PointsReleased { .. }
            | Self::EntryReversed { .. }
            | Self::DebtIncurred { .. }
            | Self::ReversalSettled { .. }
            | Self::DebtRepaid { .. }
            | Self::PointsForfeited => None,
        }
    }

    /// How many points it would have been without a cap, where one cut the grant.
    #[must_use]
    pub const fn uncapped(&self) -> Option<i64> {
        match self {
            Self::PointsGranted { uncapped, .. } => *uncapped,
            Self::PointsImported { .. }
            | Self::PointsVested { .. }
            | Self::VestingMissed { .. }
            | Self::PointsExpired { .. }
            | Self::PointsRedeemed { .. }
            | Self::PointsHeld { .. }
            | Self::PointsReleased { .. }
            | Self::PointsAdjusted { .. }
            | Self::EntryReversed { .. }
            | Self::DebtIncurred { .. }
            | Self::ReversalSettled { .. }
            | Self::DebtRepaid { .. }
            | Self::PointsForfeited => None,
        }
    }

    /// The lots that the entry took points from or gave points to, and how many. The lot that it made is not among
    /// them, nor is the [whole lot](Self::whole_lot) that vested or missed its event.
    #[must_use]
    pub fn lots(&self) -> &[LotPart] {
        match self {
            Self::PointsExpired { lots, .. }
            | Self::PointsRedeemed { lots, .. }
            | Self::PointsHeld { lots, .. }
            | Self::PointsReleased { lots, .. }
            | Self::PointsAdjusted { lots, .. }
            | Self::EntryReversed { lots, .. }
            | Self::ReversalSettled { lots, .. }
            | Self::DebtRepaid { lots } => lots,
            Self::PointsGranted { .. }
            | Self::PointsImported { .. }
            | Self::PointsVested { .. }
            | Self::VestingMissed { .. }
            | Self::DebtIncurred { .. }
            | Self::PointsForfeited => &[],
        }
    }

    /// The lot whose pending points the entry moved, all of them, if it did: such an entry names no parts.
    #[must_use]
    pub const fn whole_lot(&self) -> Option<i64> {
        match self {
            Self::PointsVested { lot, .. } | Self::VestingMissed { lot } => Some(*lot),
            Self::PointsGranted { .. }
            | Self::PointsImported { .. }
            | Self::PointsExpired { .. }
            | Self::PointsRedeemed { .. }
            | Self::PointsHeld { .. }
            | Self::PointsReleased { .. }
            | Self::PointsAdjusted { .. }
            | Self::EntryReversed { .. }
            | Self::DebtIncurred { .. }
            | Self::ReversalSettled { .. }
            | Self::DebtRepaid { .. }
            | Self::PointsForfeited => None,
        }
    }

    /// The hold that the entry ended, whole or in part, if it ended one.
    #[must_use]
    pub const fn ended_hold(&self) -> Option<i64> {
        match self {
            Self::PointsExpired { hold, .. } | Self::PointsRedeemed { hold, .. } => *hold,
            Self::PointsReleased { hold, .. } => Some(*hold),
            Self::PointsGranted { .. }
            | Self::PointsImported { .. }
            | Self::PointsVested { .. }
            | Self::VestingMissed { .. }
            | Self::PointsHeld { .. }
            | Self::PointsAdjusted { .. }
            | Self::EntryReversed { .. }
            | Self::DebtIncurred { .. }
            | Self::ReversalSettled { .. }
            | Self::DebtRepaid { .. }
            | Self::PointsForfeited => None,
        }
    }
}
