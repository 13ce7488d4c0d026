//! Undoing entries that moved points, and changing a balance by hand.

pub(crate) mod commands;
mod kind;
pub(crate) mod model;
