//! Spending points at once, and the choice of lots for every spend.

pub(crate) mod commands;
pub(crate) mod model;
