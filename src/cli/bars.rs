//! Numbers as bars, in characters that every terminal with UTF-8 has.

/// Eighths of a cell, from the left.
const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
/// Heights of a column, from nothing to the whole line.
const HEIGHTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A bar of so many cells, filled by the share of a part in the whole: something that is above zero always shows, and what
/// is not whole is never full.
pub(super) fn bar(part: i128, whole: i128, cells: usize) -> String {
    let most = i128::try_from(cells * 8).unwrap_or(i128::MAX);
    let (part, whole) = (part.max(0), whole.max(1));
    let eighths = match part {
        0 => 0,
        part if part >= whole => most,
        part => part.saturating_mul(most).checked_div(whole).unwrap_or(0).clamp(1, most - 1),
    };
    let eighths = usize::try_from(eighths).unwrap_or(0);
    let mut bar = "█".repeat(eighths / 8);
    bar.extend(EIGHTHS.get(eighths % 8).filter(|_| eighths % 8 > 0));
    let used = eighths.div_ceil(8);
    bar.extend(std::iter::repeat_n(' ', cells.saturating_sub(used)));
    bar
}

/// A column for each number, the highest as high as the line.
pub(super) fn columns(numbers: &[i64]) -> String {
    let most = numbers.iter().copied().max().unwrap_or(0).max(1);
    let column = |number: &i64| {
        let eighths = match *number {
            ..=0 => 0,
            number => (i128::from(number) * 8 / i128::from(most)).max(1),
        };
        usize::try_from(eighths).ok().and_then(|eighths| HEIGHTS.get(eighths)).copied().unwrap_or(' ')
    };
    numbers.iter().map(column).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_what_is_there_and_is_full_only_of_the_whole() {
        assert_eq!(bar(0, 100, 4), "    ");
        assert_eq!(bar(1, 1_000_000, 4), "▏   ");
        assert_eq!(bar(50, 100, 4), "██  ");
        assert_eq!(bar(55, 100, 4), "██▏ ");
        assert_eq!(bar(999_999, 1_000_000, 4), "███▉");
        assert_eq!(bar(100, 100, 4), "████");
        assert_eq!(bar(200, 100, 4), "████");
        assert_eq!(bar(-5, 0, 2), "  ");
        assert_eq!(bar(i128::MAX / 2, i128::MAX, 2).chars().count(), 2);
    }

    #[test]
    fn columns_are_as_high_as_their_numbers() {
        assert_eq!(columns(&[0, 1, 50, 100]), " ▁▄█");
        assert_eq!(columns(&[0, 0]), "  ");
        assert_eq!(columns(&[i64::MAX, 1]), "█▁");
    }
}
