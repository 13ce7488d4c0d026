//! Entries about complaints.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray, VariantNames};

use super::satisfaction::FeedbackChannel;
use super::wide;
use crate::book::words::stored_words;
use crate::ids::{ComplaintCategoryId, ValueClassId};

/// What happened to a complaint. Each kind carries where it stands and its deadlines from then on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ComplaintDetail {
    /// A complaint was opened.
    ComplaintOpened {
        /// Its category, if it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        category_id: Option<ComplaintCategoryId>,
        /// How much it presses.
        priority: ComplaintPriority,
        /// How it came, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channel: Option<FeedbackChannel>,
        /// The value class of the customer as its clock started, if they had one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value_class_id: Option<ValueClassId>,
        /// When it was received: its clock started.
        received_at: Timestamp,
        /// By when something has to be done.
        #[serde(flatten)]
        deadlines: Deadlines,
    },
    /// The customer was told that it was received.
    ComplaintAcknowledged {
        /// The number of the entry that opened it.
        complaint: i64,
        /// Where it stands from now on.
        state: ComplaintState,
        /// For how long its clock had run, in whole minutes of business time.
        took: i64,
        /// By when something has to be done from now on.
        #[serde(flatten)]
        deadlines: Deadlines,
    },
    /// Something about it was noted.
    ComplaintUpdated {
        /// The number of the entry that opened it.
        complaint: i64,
        /// Where it stands from now on.
        state: ComplaintState,
        /// What changed.
        #[serde(flatten)]
        change: ComplaintChange,
        /// By when something has to be done from now on.
        #[serde(flatten)]
        deadlines: Deadlines,
    },
    /// It was escalated.
    ComplaintEscalated {
        /// The number of the entry that opened it.
        complaint: i64,
        /// Where it stands from now on.
        state: ComplaintState,
        /// The deadline that it missed; by hand, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        missed: Option<ComplaintDeadline>,
        /// By when something has to be done from now on.
        #[serde(flatten)]
        deadlines: Deadlines,
    },
    /// The customer was offered something to make up for it.
    RemedyOffered {
        /// The number of the entry that opened it.
        complaint: i64,
        /// Where it stands from now on.
        state: ComplaintState,
        /// What kind of thing.
        remedy: RemedyKind,
        /// What it is worth, in minor units of the program's currency, if that was said.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "wide::optional")]
        value: Option<i64>,
        /// For how long its clock had run, in whole minutes of business time, where this is the first answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        took: Option<i64>,
        /// By when something has to be done from now on.
        #[serde(flatten)]
        deadlines: Deadlines,
    },
    /// It was resolved.
    ComplaintResolved {
        /// The number of the entry that opened it.
        complaint: i64,
        /// What became of it.
        outcome: ComplaintOutcome,
        /// The customer's own score of how it was handled, 1 to 5, if they gave one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        handling_score: Option<i16>,
        /// For how long its clock had run, in whole minutes of business time.
        took: i64,
    },
    /// It was reopened, as if it were received then.
    ComplaintReopened {
        /// The number of the entry that opened it.
        complaint: i64,
        /// The value class of the customer as its clock started anew, if they had one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value_class_id: Option<ValueClassId>,
        /// By when something has to be done from now on.
        #[serde(flatten)]
        deadlines: Deadlines,
    },
}

/// By when something has to be done about a complaint. A deadline is absent if the program has none, it is met or missed, or the
/// clock stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deadlines {
    /// The customer has to be told that it was received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledge_by: Option<Timestamp>,
    /// The customer has to have a first answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_by: Option<Timestamp>,
    /// It has to be resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolve_by: Option<Timestamp>,
}

/// What changed about a complaint. What is absent did not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComplaintChange {
    /// Its category.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category_id: Option<ComplaintCategoryId>,
    /// How much it presses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<ComplaintPriority>,
    /// Whether the customer was given an answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub answered: bool,
    /// For how long its clock had run, in whole minutes of business time, where this is the first answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<i64>,
    /// Whether one waits for the customer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<bool>,
    /// Whether it was given more time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extended: bool,
    /// The customer's own score of how it was handled, 1 to 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handling_score: Option<i16>,
}

/// How much a complaint presses.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    IntoStaticStr,
    EnumString,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ComplaintPriority {
    /// It can wait.
    Low,
    /// As most do.
    Normal,
    /// Before others.
    High,
}

stored_words!(ComplaintPriority);

/// Where a complaint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, EnumString, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ComplaintState {
    /// Nobody has told the customer that it was received.
    Received,
    /// The customer was told.
    Acknowledged,
    /// One waits for the customer.
    Waiting,
    /// It missed a deadline, or somebody wants it dealt with higher up.
    Escalated,
    /// The customer was offered something.
    Offered,
    /// It is resolved.
    Resolved,
}

stored_words!(ComplaintState);

/// A deadline of a complaint. Of several at one instant, the first here is missed first.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    IntoStaticStr,
    EnumString,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ComplaintDeadline {
    /// To tell the customer that it was received.
    Acknowledgement,
    /// To give the first answer.
    Answer,
    /// To resolve it.
    Resolution,
}

stored_words!(ComplaintDeadline);

/// What became of a complaint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, EnumString, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ComplaintOutcome {
    /// The customer was right.
    Upheld,
    /// The customer was right in part.
    PartlyUpheld,
    /// The customer was not right.
    Rejected,
    /// The customer took it back.
    Withdrawn,
}

stored_words!(ComplaintOutcome);

/// What makes up for a complaint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, EnumString, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum RemedyKind {
    /// Nothing but an apology.
    Apology,
    /// What was bought is mended or done again.
    Repair,
    /// Something else instead.
    Replacement,
    /// Money back.
    Refund,
    /// Points.
    Points,
    /// A benefit.
    Benefit,
    /// Something else.
    Other,
}

stored_words!(RemedyKind);

impl Deadlines {
    /// The deadline that comes first, and when.
    #[must_use]
    pub fn next(&self) -> Option<(Timestamp, ComplaintDeadline)> {
        let all = [
            (self.acknowledge_by, ComplaintDeadline::Acknowledgement),
            (self.answer_by, ComplaintDeadline::Answer),
            (self.resolve_by, ComplaintDeadline::Resolution),
        ];
        all.into_iter().filter_map(|(at, deadline)| Some((at?, deadline))).min()
    }

    /// The same without one of them.
    #[must_use]
    pub const fn without(mut self, deadline: ComplaintDeadline) -> Self {
        match deadline {
            ComplaintDeadline::Acknowledgement => self.acknowledge_by = None,
            ComplaintDeadline::Answer => self.answer_by = None,
            ComplaintDeadline::Resolution => self.resolve_by = None,
        }
        self
    }
}

impl ComplaintDetail {
    /// The number of the entry that opened the complaint; none of that entry itself.
    #[must_use]
    pub const fn complaint(&self) -> Option<i64> {
        match self {
            Self::ComplaintOpened { .. } => None,
            Self::ComplaintAcknowledged { complaint, .. }
            | Self::ComplaintUpdated { complaint, .. }
            | Self::ComplaintEscalated { complaint, .. }
            | Self::RemedyOffered { complaint, .. }
            | Self::ComplaintResolved { complaint, .. }
            | Self::ComplaintReopened { complaint, .. } => Some(*complaint),
        }
    }
}
