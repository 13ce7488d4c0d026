//! Forgetting customers who do nothing any more, as far as their program says so.

pub(crate) mod commands;
pub(crate) mod worker;
