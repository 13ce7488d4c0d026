//! The sample of the README, through the program's own client commands: real purchases, and the figures that anyone can
//! recompute from the file.

use std::collections::BTreeMap;

use goldbook::embedded_postgres::SERVICE_ROLE;
use goldbook::proto;

use crate::binary::{Ended, Serving, run};
use crate::book_rules::check_rules;
use crate::harness::{Database, Service, at};

pub(crate) const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/cdnow/program.toml");
pub(crate) const PURCHASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/cdnow/purchases.csv");

/// A client command that must do what it says.
pub(crate) async fn succeed(args: &[&str]) -> String {
    let Ended { status, stdout, stderr } = run(args).await;
    assert!(status.success(), "{args:?}: {stderr}");
    stdout
}

/// Whether a line of the output begins and ends so.
fn has_line(output: &str, beginning: &str, end: &str) -> bool {
    output.lines().map(str::trim).any(|line| line.starts_with(beginning) && line.ends_with(end))
}

#[tokio::test]
async fn the_sample_holds_its_known_tiers_spend_and_past_and_imports_nothing_twice() {
    let database = Database::create().await;
    let serving = Serving::start(&database.options(SERVICE_ROLE), &[]).await;
    let address = format!("http://{}", serving.address);
    succeed(&["program", "apply", "--address", &address, PROGRAM]).await;
    let import = ["import", "purchases", "--address", &address, "--program", "cdnow", PURCHASES];
    let first = succeed(&import).await;
    assert!(has_line(&first, "recorded", " 6,919") && has_line(&first, "amount", " 244,091.94 USD"), "{first}");
    let second = succeed(&import).await;
    assert!(has_line(&second, "recorded", " 0") && has_line(&second, "already there", " 6,919"), "{second}");

    let mut connection = database.connect(SERVICE_ROLE).await;
    let tiers: Vec<(String, i64)> = sqlx::query_as("SELECT tier_id, count(*) FROM standings GROUP BY tier_id")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let expected = [("member", 2_077), ("silver", 204), ("gold", 56), ("platinum", 20)];
    assert_eq!(BTreeMap::from_iter(tiers), BTreeMap::from(expected.map(|(tier, count)| (tier.to_owned(), count))));
    let (purchases, cents, free): (i64, i64, i64) =
        sqlx::query_as("SELECT count(*), sum(amount)::bigint, count(*) FILTER (WHERE amount = 0) FROM activities")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!((purchases, cents, free), (6_919, 24_409_194, 8));

    let service = Service::at(serving.address, database.clone()).await;
    let tier_at = async |as_of: Option<&str>| {
        let (program_id, customer_id) = ("cdnow".to_owned(), "C0046".to_owned());
        let request = proto::GetCustomerTierRequest { program_id, customer_id, as_of: as_of.map(at) };
        service.tiers().get_customer_tier(request).await.unwrap().into_inner().customer_tier.unwrap().tier_id
    };
    assert_eq!(tier_at(Some("1997-06-01T00:00:00Z")).await, "member");
    assert_eq!(tier_at(Some("1998-01-11T00:00:00Z")).await, "gold");
    assert_eq!(tier_at(None).await, "gold");
    check_rules(&database).await.unwrap();

    let screen = succeed(&["customer", "--address", &address, "C0001"]).await;
    for fact in ["Member (member)", "100.50 USD", "99.50 USD missing", "98 points available", "customer enrolled"] {
        assert!(screen.contains(fact), "{fact} in {screen}");
    }
    let statement = succeed(&["statement", "--address", &address, "C0001", "--from", "1997-01-01"]).await;
    for fact in ["Before: 0 points available", "Points for a purchase", "After: 98 points available"] {
        assert!(statement.contains(fact), "{fact} in {statement}");
    }
    let none = succeed(&["statement", "--address", &address, "C0001", "--until", "1997-01-01"]).await;
    assert!(none.contains("0 moves") && none.contains("After: 0 points available"), "{none}");
}

#[tokio::test]
async fn the_demo_shows_both_sides_of_a_referral_and_a_trace_that_is_on_the_ledger() {
    let database = Database::create().await;
    let serving = Serving::start(&database.options(SERVICE_ROLE), &[]).await;
    let address = format!("http://{}", serving.address);
    succeed(&["program", "apply", "--address", &address, PROGRAM]).await;
    let shown = succeed(&["demo", "--address", &address]).await;
    let facts = [
        "350 points available",
        "250 points available",
        "Silver (silver)",
        "referral converted",
        "100 spent, 20 return",
        "100 points taken back",
        "50 points return",
    ];
    for fact in facts {
        assert!(shown.contains(fact), "{fact} in {shown}");
    }
    let mut connection = database.connect(SERVICE_ROLE).await;
    let trace: String =
        sqlx::query_scalar("SELECT encode(trace_id, 'hex') FROM ledger_entries WHERE kind = 'referral_converted'")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert!(shown.contains(&trace), "{trace} in {shown}");
}
