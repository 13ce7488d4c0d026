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
    use proptest::prelude::*;

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

    #[test]
    fn points_come_back_from_the_end_behind_those_that_came_back_before() {
        let part = |lot, points| LotPart { lot, points };
        let parts = [part(1, 5), part(2, 7), part(3, 2)];
        assert_eq!(slice_from_end(&parts, 0, 3), [part(3, 2), part(2, 1)]);
        assert_eq!(slice_from_end(&parts, 3, 8), [part(2, 6), part(1, 2)]);
        assert_eq!(slice_from_end(&parts, 11, 3), [part(1, 3)]);
    }

    proptest! {
        #[test]
        fn what_comes_back_piece_by_piece_is_what_comes_back_at_once(
            parts in prop::collection::vec(1..50_i64, 1..6), pieces in prop::collection::vec(1..40_i64, 1..8)
        ) {
            let parts: Vec<LotPart> =
                parts.into_iter().zip(1..).map(|(points, lot)| LotPart { lot, points }).collect();
            let (all, mut reversed) = (sum(&parts), 0);
            let mut back = vec![0_i64; parts.len() + 1];
            for piece in pieces {
                let piece = piece.min(all - reversed);
                let slice = slice_from_end(&parts, reversed, piece);
                prop_assert_eq!(sum(&slice), piece);
                for part in slice {
                    back[usize::try_from(part.lot).unwrap()] += part.points;
                }
                reversed += piece;
            }
            for part in slice_from_end(&parts, 0, reversed) {
                back[usize::try_from(part.lot).unwrap()] -= part.points;
            }
            prop_assert!(back.iter().all(|left| *left == 0));
        }
    }
}
