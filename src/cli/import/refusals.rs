//! Counts all lines that were refused, and keeps the first of them to tell.

use std::collections::BTreeMap;

use crate::cli::output::grouped;

/// The lines that were refused so far.
#[derive(Debug)]
pub(super) struct Refusals {
    count: u64,
    most: usize,
    /// The lines with the lowest numbers. Answers do not come in the order of lines.
    first: BTreeMap<u64, String>,
}

impl Refusals {
    /// Begins without lines. At most `most` lines will be told one by one.
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

    /// A line for each of the first refused lines with its reason, and one for how many more there are. Each begins
    /// with a line break.
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
