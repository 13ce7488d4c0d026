//! Holding points for a spend that is under way.

pub(crate) mod commands;
pub(crate) mod model;
