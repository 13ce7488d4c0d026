//! Applying a version of a program to every customer: a version that is published moves nobody by itself.

pub(super) mod commands;
pub(super) mod rule;
pub(super) mod state;
pub(super) mod store;
pub(super) mod worker;
