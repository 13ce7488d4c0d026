//! A service of its own for each test: its database, its clock, its clients.

mod answers;
mod calls;
mod clients;
mod cluster;
mod lists;
mod requests;
mod schema;
mod service;

pub use answers::{assert_refused, assert_same_error, assert_tells, bad_fields, reason, sorted_bad_fields};
pub use clients::Clients;
pub use cluster::Database;
pub use lists::{assert_refuses_bad_pages, read_pages};
pub use requests::{at, create_customer, create_referral, grant_reward, instant, money, purchase, shop, usd};
pub use schema::{projections, read_columns, tables};
pub use service::{Background, START, Service};

/// The program that most tests use.
pub const SHOP: &str = "shop";
