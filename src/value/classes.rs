//! Value classes: who is of which, by what customers are worth at the end of periods, and how closely they are looked after.

mod asking;
pub(super) mod commands;
pub(super) mod grpc;
mod measuring;
mod model;
pub(crate) mod state;
pub(super) mod store;
pub(super) mod worker;
