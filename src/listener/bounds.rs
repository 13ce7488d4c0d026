//! The bounds of connections.

use std::time::Duration;

/// How many connections there may be, and how long they may be silent.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The most at a time; further ones wait until one ends.
    pub most: usize,
    /// How long a caller may take to send its first bytes.
    pub first_bytes: Duration,
    /// How long a caller may send nothing after that. HTTP/2 asks for a sign of life more often, so this ends connections
    /// that do not answer, and those of HTTP/1.1 that nobody uses.
    pub silence: Duration,
}

impl Bounds {
    /// At most so many connections; 10 seconds for the first bytes, and two and a half minutes of silence.
    #[must_use]
    pub const fn at_most(most: usize) -> Self {
        Self { most, first_bytes: Duration::from_secs(10), silence: Duration::from_secs(150) }
    }
}
