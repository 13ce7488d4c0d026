//! How many points a command asks for.

/// Points above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub(crate) struct Points(i64);

impl Points {
    /// So many points; none for a number that is not above zero.
    #[must_use]
    pub(crate) const fn new(points: i64) -> Option<Self> {
        if points > 0 { Some(Self(points)) } else { None }
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
    fn points_are_above_zero() {
        assert_eq!([0, -1, i64::MIN].map(Points::new), [None; 3]);
        assert_eq!(Points::new(i64::MAX).map(Points::get), Some(i64::MAX));
    }
}
