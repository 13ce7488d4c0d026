//! Undoing entries that moved points, and changing a balance by hand.

pub(crate) mod commands;
pub(crate) mod model;
