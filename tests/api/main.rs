//! Black-box tests: the real service on a real Postgres, a database each, through the generated client. One file for
//! each capability; names say the method and the outcome.

#![allow(missing_docs, reason = "names of tests are promises; they need no second telling")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on has failed"
)]

mod binary;
mod collector;
mod harness;
mod proxy;
mod random;
#[expect(clippy::disallowed_methods, reason = "the bounds of waiting, and its pauses")]
mod wait;

mod access;
mod activities;
mod audit;
mod bench;
mod benefits;
mod book_properties;
mod book_rules;
mod bounds;
mod clocks;
mod closing;
mod complaints;
mod customers;
mod dues;
mod faults;
mod health;
mod immutability;
mod imports;
mod ledger;
mod liability;
mod lifecycle;
mod metrics;
mod newer;
mod points;
mod privacy;
mod programs;
mod referrals;
mod rewards;
mod sample;
mod satisfaction;
mod segments;
mod service_config;
mod serving;
mod shells;
mod smoke;
mod statements;
mod storage;
mod tiers;
mod traces;
mod value;
mod web;
mod wire;
mod worker;
mod zones;
