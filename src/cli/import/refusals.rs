//! Lines that were refused: all of them counted, the first of them told.

use std::collections::BTreeMap;

use crate::cli::output::grouped;

/// Refused lines so far.
#[derive(Debug)]
pub(super) struct Refusals {
    count: u64,
    most: usize,
    /// The lines with the lowest numbers, whatever order they come in.
    first: BTreeMap<u64, String>,
}

impl Refusals {
    /// None so far; at most so many will be told one by one.
    pub(super) const fn none(most: usize) -> Self {
        Self { count: 0, most, first: BTreeMap::new() }
    }

    /// Counts a line that was refused, here or by the service.
    pub(super) fn add(&mut self, line: u64, why: String) {
        self.count += 1;
        self.first.insert(line, why);
        if self.first.len() > self.most {
            self.first.pop_last();
        }
    }

    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// The first of them with their reasons, a line each, and how many more there are; each after a line break.
    pub(super) fn list(&self) -> String {
        let mut text = String::new();
        for (line, why) in &self.first {
            text.push_str(&format!("\n  line {line}: {why}"));
        }
        let untold = self.count.saturating_sub(u64::try_from(self.first.len()).unwrap_or(u64::MAX));
        if untold > 0 {
            text.push_str(&format!("\n  and {} more", grouped(untold)));
        }
        text
    }
}
