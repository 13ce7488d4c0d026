//! Whatever breaks and whenever: what was acknowledged is there, what is there was written once, and callers are told
//! what to do.

mod answers;
mod commits;
pub(crate) mod held;
mod kills;
mod lanes;
mod outages;
mod panics;
mod processes;
pub(crate) mod replicas;
mod starts;
mod torture;

use goldbook::embedded_postgres::SUPERUSER;
use sqlx::AssertSqlSafe;

use crate::harness::{Clock, Database, START, Service};
use crate::proxy::Proxy;

/// A service that reaches its database through a proxy; the program is applied.
async fn start_behind_proxy() -> (Service, Proxy) {
    let database = Database::create().await;
    let proxy = Proxy::before(&database);
    let service = Service::start_with(database, proxy.options(), Clock::fixed(START.parse().unwrap())).await;
    service.apply_shop().await;
    (service, proxy)
}

/// The answer of a `SELECT count(*)`.
async fn count(database: &Database, rest: &str) -> i64 {
    let mut connection = database.connect(SUPERUSER).await;
    let select = format!("SELECT count(*) FROM {rest}");
    sqlx::query_scalar(AssertSqlSafe(select)).fetch_one(&mut connection).await.unwrap()
}

/// Does something to a database that no service would do.
pub(crate) async fn sabotage(database: &Database, statements: &str) {
    let mut connection = database.connect(SUPERUSER).await;
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await.unwrap();
}
