//! How many points a command asks for.

use goldbook_api::values::MAX_POINTS;

/// Points above zero, and no more than one entry moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub(crate) struct Points(i64);

impl Points {
    /// The most that one entry moves.
    pub(crate) const MOST: i64 = MAX_POINTS;
    /// What a number must be to be one.
    pub(crate) const EXPECTED: &str = "must be from 1 to 1,000,000,000,000";

    /// So many points; none for a number that is not above zero, or more than one entry moves.
    #[must_use]
    pub(crate) const fn new(points: i64) -> Option<Self> {
        if points > 0 && points <= MAX_POINTS { Some(Self(points)) } else { None }
    }

    /// How many there are, as a number.
    #[must_use]
    pub(crate) const fn get(self) -> i64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_above_zero_and_no_more_than_one_entry_moves() {
        assert_eq!([0, -1, i64::MIN, MAX_POINTS + 1, i64::MAX].map(Points::new), [None; 5]);
        assert_eq!([1, MAX_POINTS].map(|points| Points::new(points).map(Points::get)), [Some(1), Some(MAX_POINTS)]);
        let digits: String = Points::EXPECTED.rsplit(' ').next().unwrap().replace(',', "");
        assert_eq!(digits, MAX_POINTS.to_string());
    }
}
