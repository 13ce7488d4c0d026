//! The clocks of tests.

use std::ops::Deref;

use jiff::Timestamp;

/// A service's clock, which a test can read.
#[derive(Clone, Debug)]
pub(crate) struct Clock(goldbook::clock::Clock);

impl Clock {
    /// A clock that stands until it is set.
    pub(crate) fn fixed(start: Timestamp) -> Self {
        Self(goldbook::clock::Clock::fixed(start))
    }

    /// The database's clock.
    pub(crate) fn database() -> Self {
        Self(goldbook::clock::Clock::database())
    }

    /// What it shows. The database's is this machine's.
    #[expect(clippy::disallowed_methods, reason = "what a caller's clock shows")]
    pub(crate) fn now(&self) -> Timestamp {
        self.shown().unwrap_or_else(Timestamp::now)
    }
}

impl From<goldbook::clock::Clock> for Clock {
    fn from(clock: goldbook::clock::Clock) -> Self {
        Self(clock)
    }
}

impl Deref for Clock {
    type Target = goldbook::clock::Clock;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
