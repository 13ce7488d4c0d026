//! What a grant is.

use crate::book::{Actor, Detail, EntryReason, Movement, Pocket, Post};
use crate::ids::EntryId;

/// Points above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Points(i64);

impl Points {
    /// Points, if there are any.
    #[must_use]
    pub const fn new(points: i64) -> Option<Self> {
        if points > 0 { Some(Self(points)) } else { None }
    }

    /// How many.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }
}

/// The entry that grants points as a lot of their own, the customer's to spend at once.
#[must_use]
pub fn grant(points: Points, actor: Actor, reason: EntryReason, policy_version: i32, causes: Vec<EntryId>) -> Post {
    Post {
        detail: Detail::PointsGranted,
        movement: Some(Movement { from: Pocket::Issued, to: Pocket::Available, points: points.get() }),
        actor,
        reason,
        policy_version,
        causes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_above_zero() {
        assert_eq!([0, -1, i64::MIN].map(Points::new), [None; 3]);
        assert_eq!(Points::new(i64::MAX).map(Points::get), Some(i64::MAX));
    }
}
