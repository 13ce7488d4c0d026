//! Tells how far an import, an export or an audit is: by a bar on a terminal, and by lines elsewhere.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::output::grouped;

/// How often a line is written if there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Tells how far a command is, on standard error.
pub(super) enum Progress {
    Bar(ProgressBar),
    Lines { things: &'static str, total: Option<u64>, last: Instant },
}

impl Progress {
    /// Begins with nothing finished. `things` says what is counted, and `total` how many there are, if that is known.
    pub(super) fn begin(things: &'static str, total: Option<u64>) -> Self {
        if !io::stderr().is_terminal() {
            return Self::Lines { things, total, last: Instant::now() };
        }
        let (bar, template) = match total {
            Some(total) => (ProgressBar::new(total), "{bar:40} {human_pos} of {human_len} {msg}, {eta} left"),
            None => (ProgressBar::new_spinner(), "{spinner} {human_pos} {msg}, {per_sec}"),
        };
        // The templates are constants and valid. If one were not, the library's own bar would be shown.
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self::Bar(bar.with_style(style).with_message(things))
    }

    /// Shows how far something is whose total the first message tells; begins with that.
    pub(super) fn follow<'a>(
        shown: &'a mut Option<Self>,
        things: &'static str,
        finished: i64,
        total: i64,
    ) -> &'a mut Self {
        let shown = shown.get_or_insert_with(|| Self::begin(things, u64::try_from(total).ok()));
        shown.set(u64::try_from(finished).unwrap_or_default());
        shown
    }

    /// Shows that so many are finished.
    pub(super) fn set(&mut self, finished: u64) {
        match self {
            Self::Bar(bar) => bar.set_position(finished),
            Self::Lines { things, total, last } => {
                if last.elapsed() >= LINE_EVERY {
                    *last = Instant::now();
                    let of_total = total.map(|total| format!(" of {}", grouped(total))).unwrap_or_default();
                    eprintln!("{}{of_total} {things}", grouped(finished));
                }
            }
        }
    }

    /// Removes the bar while `write` writes to the terminal.
    pub(super) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        match self {
            Self::Bar(bar) => bar.suspend(write),
            Self::Lines { .. } => write(),
        }
    }

    /// Removes the bar.
    pub(super) fn end(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
