//! Packages: what a program gives by itself to those who reach a tier, and on days of theirs.

pub(super) mod commands;
mod days;
pub(super) mod giving;
pub(super) mod state;
pub(super) mod store;
pub(super) mod worker;
