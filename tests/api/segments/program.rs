//! `goldbook segments` on real purchases, against a count of the file that they come from.

use std::collections::{BTreeMap, BTreeSet};

use goldbook::embedded_postgres::SERVICE_ROLE;

use crate::binary::{Serving, run};
use crate::harness::Database;
use crate::sample::{PROGRAM, PURCHASES, succeed};

const SEGMENTS: &str = r#"
[[segments]]
segment_id = "regulars"
display_name = "Who bought for something on five days"

[[segments.clauses]]
count = "active_days"
at_least = 5

[[segments.clauses]]
amount = "spend"
at_least = "300.00"

[[segments]]
segment_id = "early"
display_name = "Who bought nothing after 1997"

[[segments.clauses]]
since = "last_purchase"
at_least_days = 182
"#;

/// The customers of the file who bought for something on five days and for 300 dollars, and those who bought nothing after 1997.
fn count_in_file() -> (BTreeSet<String>, usize) {
    let file = std::fs::read_to_string(PURCHASES).unwrap();
    let mut customers: BTreeMap<String, (BTreeSet<String>, i64, String)> = BTreeMap::new();
    for line in file.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let (day, cents) = (fields[2].to_owned(), fields[4].replace('.', "").parse::<i64>().unwrap());
        let customer = customers.entry(fields[1].to_owned()).or_default();
        if cents > 0 {
            customer.0.insert(day.clone());
        }
        customer.1 += cents;
        customer.2 = customer.2.clone().max(day);
    }
    let regular = customers.iter().filter(|(_, (days, cents, _))| days.len() >= 5 && *cents >= 30_000);
    let early = customers.values().filter(|(_, _, last)| last.as_str() < "1998").count();
    (regular.map(|(name, _)| name.clone()).collect(), early)
}

#[tokio::test]
async fn segments_of_the_sample_are_those_that_its_file_tells() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("program.toml");
    std::fs::write(&file, std::fs::read_to_string(PROGRAM).unwrap() + SEGMENTS).unwrap();
    let file = file.to_str().unwrap();
    let database = Database::create().await;
    let serving = Serving::start(&database.options(SERVICE_ROLE), &[]).await;
    let address = format!("http://{}", serving.address);
    succeed(&["program", "apply", "--address", &address, PROGRAM]).await;
    succeed(&["import", "purchases", "--address", &address, "--program", "cdnow", PURCHASES]).await;
    let none = succeed(&["segments", "count", "--address", &address]).await;
    assert!(none.contains("has no segments"), "{none}");

    // Tried before it is applied, now and on the last day of the sample.
    let (regulars, early) = count_in_file();
    assert!(regulars.len() > 50 && early > 1_000, "{} {early}", regulars.len());
    let tried = succeed(&["segments", "count", "--address", &address, "--try", file, "--json", "regulars"]).await;
    let tried: serde_json::Value = serde_json::from_str(&tried).unwrap();
    assert_eq!((&tried["members"], &tried["customers"]), (&regulars.len().into(), &2_357.into()));
    let members = succeed(&["segments", "members", "--address", &address, "--try", file, "regulars"]).await;
    assert_eq!(members.lines().map(str::to_owned).collect::<BTreeSet<_>>(), regulars);

    let then = ["segments", "count", "--address", &address, "--try", file, "--json", "--as-of", "1998-07-01", "early"];
    let then: serde_json::Value = serde_json::from_str(&succeed(&then).await).unwrap();
    assert_eq!((&then["members"], &then["as_of"]), (&early.into(), &"1998-07-01T04:00:00Z".into()));

    succeed(&["program", "apply", "--address", &address, file]).await;
    let told = succeed(&["segments", "count", "--address", &address]).await;
    assert!(told.contains("regulars") && told.contains("Who bought nothing after"), "{told}");
    let json = succeed(&["segments", "members", "--address", &address, "early", "--json"]).await;
    // Today they all bought long ago.
    assert_eq!(json.lines().count(), 2_357);
    assert!(json.starts_with("{\"customer_id\":\"C"), "{json}");
    let member = regulars.first().unwrap();
    let screen = succeed(&["customer", "--address", &address, member]).await;
    assert!(screen.contains("Who bought for something on five days (regulars)"), "{screen}");

    let unknown = run(&["segments", "count", "--address", &address, "nobody"]).await;
    assert!(!unknown.status.success() && unknown.stderr.contains("SEGMENT_NOT_FOUND"), "{}", unknown.stderr);
}
