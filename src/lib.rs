//! Goldbook: the loyalty book of record.
//!
//! One gRPC service that knows a company's customers, their tiers and benefits, who referred whom, and that records
//! every reward grant and tier change as an immutable ledger row in Postgres. In reading order:
//!
//! - [`programs`]: a program and its versioned policies
//! - [`customers`]: who they are, the dossier
//! - [`tiers`]: standing; [`benefits`]: what it entitles to
//! - [`referrals`]: who brought whom
//! - [`rewards`]: what was granted; [`points`]: the points of it
//! - [`satisfaction`]: what customers say, of one and of all together
//! - [`value`]: what customers bought and will buy by a model, and whether they stay
//! - [`complaints`]: what they are unhappy about, and who deals with it by when
//! - [`lifecycle`]: where they stand in the relationship
//! - [`segments`]: the customers of whom all holds that a program asks for by a name
//! - [`activities`]: what customers did, and everything that follows from it
//! - [`imports`]: what they bring along from another system
//! - [`book`]: the one path that every write takes; [`ledger`]: reading what it wrote; [`liability`]: summing it up
//! - [`audit`]: whether all of it is as the entries say; [`privacy`]: what people can have of it
//! - [`capabilities`]: what the book keeps for whom; [`server`]: the service put together; [`cli`]: the program around it
//! - `fuzzing`: all that a stranger can send, decoded as `make fuzz` does, and no part of the program
//! - [`admin`]: metrics and probes by HTTP
//! - [`web`]: calls from browsers; [`wire`]: the bytes of a call before they are messages

pub mod access;
pub(crate) mod activities;
pub mod audit;
pub(crate) mod benefits;
pub(crate) mod complaints;
pub(crate) mod customers;
pub(crate) mod imports;
pub mod ledger;
pub(crate) mod liability;
pub(crate) mod lifecycle;
pub(crate) mod points;
pub(crate) mod privacy;
pub mod programs;
pub(crate) mod referrals;
pub(crate) mod rewards;
pub(crate) mod satisfaction;
pub(crate) mod segments;
pub(crate) mod tiers;
pub(crate) mod value;

pub mod book;
pub mod capabilities;

#[expect(clippy::disallowed_methods, reason = "a command measures, waits, and stands in a present of its own")]
pub mod cli;
pub mod server;

pub mod admin;
pub mod clock;
pub mod database;
pub mod embedded_postgres;
pub mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod ids;
pub mod listener;
pub(crate) mod money;
pub(crate) mod paging;
pub mod proto;
pub(crate) mod rounds;
pub(crate) mod status;
#[expect(clippy::disallowed_methods, reason = "deadlines and warnings, which no entry knows")]
pub mod telemetry;
pub mod version;
pub mod web;
pub mod wire;
