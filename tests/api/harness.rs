//! A service of its own for each test: its database, its clock, its clients.

mod answers;
mod bytes;
mod calls;
mod clients;
mod clock;
mod cluster;
mod lists;
mod requests;
mod schema;
mod service;

pub(crate) use answers::{assert_refused, assert_same_error, assert_tells, bad_fields, reason, sorted_bad_fields};
pub(crate) use bytes::{Bytes, call_method, methods};
pub(crate) use clients::Clients;
pub(crate) use clock::Clock;
pub(crate) use cluster::{Database, POSTGRES_BIN, postgres_bin};
pub(crate) use lists::{assert_refuses_bad_pages, read_pages};
pub(crate) use requests::{at, create_customer, create_referral, grant_reward, instant, money, purchase, shop, usd};
pub(crate) use schema::{projections, read_columns, tables};
pub(crate) use service::{Background, ERASURE_KEY, START, Service};

/// The program that most tests use.
pub(crate) const SHOP: &str = "shop";
