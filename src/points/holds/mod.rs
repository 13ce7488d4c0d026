//! Holding points for a spend that is under way.

pub mod commands;
pub mod model;
