//! A collector that hangs holds up the end of the service only so long.

use std::time::{Duration, Instant};

use goldbook::embedded_postgres::SERVICE_ROLE;
use nix::sys::signal::Signal;
use tokio::net::TcpListener;

use crate::binary::Serving;
use crate::harness::{Database, Service};

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "how long a real process takes to end")]
async fn a_collector_that_hangs_holds_up_the_end_for_a_few_seconds_in_all() {
    // It takes connections, and says nothing on them.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let database = Database::create().await;
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
    let serving = Serving::start(&database.options(SERVICE_ROLE), &environment).await;
    let service = Service::at(serving.address, database).await;
    service.apply_shop().await;

    let begun = Instant::now();
    serving.signal(Signal::SIGTERM);
    let (status, log) = serving.wait().await;
    let took = begun.elapsed();
    assert!(status.success(), "{status}");
    // What was not taken is told, of spans and log records one after the other: two seconds each.
    let says = |message: &str| log.iter().any(|line| line["fields"]["message"] == message);
    assert!(says("the collector did not take the last spans in time"));
    assert!(says("the collector did not take the last log records in time"));
    assert!(took < Duration::from_secs(8), "{took:?}");
    drop(listener);
}
