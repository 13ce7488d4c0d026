//! `goldbook program apply`.

use goldbook::embedded_postgres::SERVICE_ROLE;

use crate::binary::{Serving, run};
use crate::harness::Database;

const DOCUMENT: &str = r#"
program_id = "shop"
display_name = "Shop"
currency = "USD"
time_zone = "America/New_York"
points_per_unit = "1"

[[tiers]]
tier_id = "member"
display_name = "Member"
threshold = "0.00"
"#;

#[tokio::test]
async fn program_apply_with_an_expected_version_refuses_to_replace_another() {
    let database = Database::create().await;
    let serving = Serving::start(&database.options(SERVICE_ROLE), &[]).await;
    let address = format!("http://{}", serving.address);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("shop.toml");
    let apply = async |name: &str, expected: &str| {
        std::fs::write(&file, DOCUMENT.replace("\"Shop\"", &format!("{name:?}"))).unwrap();
        let file = file.to_str().unwrap();
        run(&["program", "apply", "--address", &address, "--expected-version", expected, file]).await
    };
    let first = apply("Shop", "0").await;
    assert!(
        first.status.success() && first.stdout.contains("applied as version 1"),
        "{}{}",
        first.stdout,
        first.stderr
    );
    let late = apply("Store", "0").await;
    assert_eq!(late.status.code(), Some(1), "{}", late.stdout);
    assert!(late.stderr.contains("version 1 of the program is in force"), "{}", late.stderr);
    let second = apply("Store", "1").await;
    assert!(second.stdout.contains("applied as version 2"), "{}{}", second.stdout, second.stderr);
}
