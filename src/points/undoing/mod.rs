//! Undoing entries that moved points, and changing a balance by hand.

pub mod commands;
pub mod model;
