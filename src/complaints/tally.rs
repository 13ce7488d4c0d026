//! What is counted of a program's complaints.

/// What became of complaints in a period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub opened: i64,
    pub reopened: i64,
    pub acknowledged: Handled,
    pub answered: Handled,
    pub resolved: Handled,
    pub upheld: i64,
    pub partly_upheld: i64,
    pub rejected: i64,
    pub withdrawn: i64,
    pub missed_acknowledgements: i64,
    pub missed_answers: i64,
    pub missed_resolutions: i64,
    pub escalated_by_hand: i64,
    pub scored: i64,
    pub score_sum: i64,
}

/// How many complaints were dealt with, and how long it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Handled {
    pub complaints: i64,
    /// Minutes of business time, all together.
    pub minutes: i64,
    /// How many were in time.
    pub in_time: i64,
}

/// A mean; none of nothing.
#[expect(clippy::cast_precision_loss, reason = "sums of minutes and scores are far below 2^53")]
pub(crate) fn mean(sum: i64, count: i64) -> Option<f64> {
    (count != 0).then(|| sum as f64 / count as f64)
}
