//! Spending points at once, and the choice of lots for every spend.

pub mod commands;
pub mod model;
