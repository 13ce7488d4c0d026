//! Goodwill: what whoever serves a customer gives them at once, within the limits of the program.

pub(super) mod commands;
mod limits;
pub(super) mod state;
pub(super) mod store;
