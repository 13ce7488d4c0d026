//! Spending points.

pub mod commands;
pub mod model;
