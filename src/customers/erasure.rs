//! Erasing a customer: what is left of them, and how they are known again where a rule asks.

pub(crate) mod commands;
pub(crate) mod keys;
pub(crate) mod state;
