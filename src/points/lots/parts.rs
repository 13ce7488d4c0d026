//! Points as parts of lots: how much of which lot.

use crate::book::LotPart;

/// The first `points` of some parts, or all of them.
#[must_use]
pub(crate) fn first_points(parts: &[LotPart], points: i64) -> Vec<LotPart> {
    let mut left = points;
    let mut first = Vec::new();
    for part in parts {
        let taken = part.points.min(left);
        if taken <= 0 {
            break;
        }
        first.push(LotPart { lot: part.lot, points: taken });
        left -= taken;
    }
    first
}

/// How many points some parts are together; they are of one account and cannot overflow.
#[must_use]
pub(crate) fn sum(parts: &[LotPart]) -> i64 {
    parts.iter().fold(0, |sum, part| sum.saturating_add(part.points))
}

/// What is left of some parts without the first of them.
#[must_use]
pub(crate) fn without(parts: &[LotPart], first: &[LotPart]) -> Vec<LotPart> {
    let taken = |lot| first.iter().find(|part| part.lot == lot).map_or(0, |part| part.points);
    let left = parts.iter().map(|part| LotPart { lot: part.lot, points: part.points - taken(part.lot) });
    left.filter(|part| part.points > 0).collect()
}

/// `points` of some parts, counted from their end, after the `skipped` ones that were given back before.
#[must_use]
pub(crate) fn slice_from_end(parts: &[LotPart], skipped: i64, points: i64) -> Vec<LotPart> {
    let (mut skip, mut left) = (skipped, points);
    let mut slice = Vec::new();
    for part in parts.iter().rev() {
        let passed = part.points.min(skip);
        skip -= passed;
        let taken = (part.points - passed).min(left);
        left -= taken;
        if taken > 0 {
            slice.push(LotPart { lot: part.lot, points: taken });
        }
    }
    slice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_points_of_some_parts_are_theirs_in_order() {
        let part = |lot, points| LotPart { lot, points };
        let parts = [part(1, 5), part(2, 7)];
        assert_eq!(first_points(&parts, 0), []);
        assert_eq!(first_points(&parts, 5), [part(1, 5)]);
        assert_eq!(first_points(&parts, 6), [part(1, 5), part(2, 1)]);
        assert_eq!(first_points(&parts, i64::MAX), parts);
    }
}
