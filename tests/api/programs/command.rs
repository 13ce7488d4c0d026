//! `goldbook program check` and `goldbook program apply`.

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
    assert!(late.stderr.contains("version 1 of the program is the latest"), "{}", late.stderr);
    let second = apply("Store", "1").await;
    assert!(second.stdout.contains("applied as version 2"), "{}{}", second.stdout, second.stderr);
}

/// Three mistakes, in parts that have nothing to do with each other.
fn mistaken() -> String {
    let wrong = DOCUMENT.replace("\"USD\"", "\"US\"").replace("points_per_unit", "points_per_units");
    format!("{wrong}\n[[tiers]]\ntier_id = \"gold\"\ndisplay_name = \"Gold\"\nthreshold = \"0\"\n")
}

#[tokio::test]
async fn program_check_tells_every_mistake_of_every_document_without_a_service() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (sound, wrong) = (file("sound.toml", DOCUMENT), file("wrong.toml", &mistaken()));
    let checked = run(&["program", "check", &wrong, &sound]).await;
    assert_eq!(checked.status.code(), Some(1), "{}", checked.stderr);
    let expected = format!(
        "{wrong}:4:12: currency must be the three-letter ISO 4217 code of a currency, such as EUR\n\
         {wrong}:6:1: unknown key \"points_per_units\"; did you mean \"points_per_unit\"?\n\
         {wrong}:16:13: tiers[2] \"gold\": threshold must be above the threshold of tier member, which comes before it\n\
         {sound}: the program shop is sound\n"
    );
    assert_eq!(checked.stdout, expected);
    assert!(checked.stderr.contains("mistakes: 3, in 1 of 2 documents"), "{}", checked.stderr);
    let missing = run(&["program", "check", "/nowhere/shop.toml", &sound]).await;
    assert!(missing.stdout.contains("is sound"), "{}", missing.stdout);
    assert_eq!(missing.status.code(), Some(2), "{}", missing.stderr);
    assert!(missing.stderr.contains("cannot read /nowhere/shop.toml"), "{}", missing.stderr);
}

#[tokio::test]
async fn program_apply_tells_what_the_check_tells_before_it_calls() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("wrong.toml");
    std::fs::write(&file, mistaken()).unwrap();
    let file = file.to_str().unwrap();
    // Nobody listens there.
    let applied = run(&["program", "apply", "--address", "http://127.0.0.1:1", file]).await;
    assert_eq!(applied.status.code(), Some(1), "{}", applied.stderr);
    let checked = run(&["program", "check", file]).await;
    assert!(applied.stderr.contains("mistakes: 3; nothing was applied"), "{}", applied.stderr);
    assert!(applied.stderr.contains(checked.stdout.trim_end()), "{}", applied.stderr);
}

#[tokio::test]
async fn what_only_the_service_knows_is_told_of_the_documents_line() {
    let database = Database::create().await;
    let serving = Serving::start(&database.options(SERVICE_ROLE), &[]).await;
    let address = format!("http://{}", serving.address);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("shop.toml");
    let apply = async |document: &str| {
        std::fs::write(&file, document).unwrap();
        run(&["program", "apply", "--address", &address, file.to_str().unwrap()]).await
    };
    assert!(apply(DOCUMENT).await.status.success());
    let refused = apply(&DOCUMENT.replace("USD", "EUR")).await;
    assert_eq!(refused.status.code(), Some(1), "{}", refused.stdout);
    for told in ["PROGRAM_FIELD_IMMUTABLE".to_owned(), format!("field = {}:4:12: currency", file.display())] {
        assert!(refused.stderr.contains(&told), "{told} in {}", refused.stderr);
    }
}
