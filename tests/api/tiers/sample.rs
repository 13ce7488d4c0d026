//! The purchases of the sample under policies with windows: figures that anyone can recompute from the file.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use goldbook::embedded_postgres::SERVICE_ROLE;
use goldbook::proto;
use goldbook::proto::TierPolicy;
use goldbook::proto::tier_retention::Rule;
use goldbook::proto::tier_window::Window;

use super::simulation::{simulate, try_program};
use super::statistics::{ask, count, held};
use crate::binary::{Serving, run};
use crate::book_rules::check_rules;
use crate::harness::{Database, START, Service, at};

const PROGRAM: &str = include_str!("../../../examples/cdnow/program.toml");
const PURCHASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/cdnow/purchases.csv");
const TIERS: [&str; 4] = ["member", "silver", "gold", "platinum"];

async fn succeed(args: &[&str]) {
    let ended = run(args).await;
    assert!(ended.status.success(), "{args:?}: {}", ended.stderr);
}

/// How many customers hold each tier at an instant, by asking for each of them.
async fn count_tiers(service: &Service, as_of: &str) -> [usize; 4] {
    let tiers = stream::iter(1..=2_357).map(async |number| {
        let customer_id = format!("C{number:04}");
        let request =
            proto::GetCustomerTierRequest { program_id: "cdnow".to_owned(), customer_id, as_of: Some(at(as_of)) };
        match service.tiers().get_customer_tier(request).await {
            Ok(answer) => Some(answer.into_inner().customer_tier.unwrap().tier_id),
            Err(status) => panic!("{status:?}"),
        }
    });
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut tiers = tiers.buffer_unordered(16);
    while let Some(tier) = tiers.next().await {
        *counts.entry(tier.unwrap()).or_default() += 1;
    }
    TIERS.map(|tier| counts.get(tier).copied().unwrap_or(0))
}

/// A service with the sample, under a policy.
async fn start_sample(policy: &str) -> (Serving, Service) {
    let database = Database::create().await;
    let serving = Serving::start(&database.options(SERVICE_ROLE), &[]).await;
    let address = format!("http://{}", serving.address);
    let folder = tempfile::tempdir().unwrap();
    let document = folder.path().join("program.toml");
    std::fs::write(&document, sample_under(policy)).unwrap();
    succeed(&["program", "apply", "--address", &address, document.to_str().unwrap()]).await;
    succeed(&["import", "purchases", "--address", &address, "--program", "cdnow", PURCHASES]).await;
    let service = Service::at(serving.address, database).await;
    (serving, service)
}

/// The document of the sample with a policy of tiers.
fn sample_under(policy: &str) -> String {
    PROGRAM.replacen("[[tiers]]", &format!("[tier_policy]\n{policy}\n[[tiers]]"), 1)
}

/// The sample under a policy, and how many hold each tier at some instants.
async fn assert_counts(policy: &str, expected: &[(&str, [usize; 4])]) {
    let (_serving, service) = start_sample(policy).await;
    for (as_of, counts) in expected {
        assert_eq!(count_tiers(&service, as_of).await, *counts, "{as_of}");
        let request = proto::ListTierStatisticsRequest { program_id: "cdnow".to_owned(), ..ask(Some(as_of)) };
        let (_, statistics) = count(&service, request).await.unwrap();
        let told = counts.map(|count| i64::try_from(count).unwrap());
        assert!(held(&statistics).into_iter().eq(TIERS.into_iter().zip(told)), "{as_of}: {statistics:?}");
    }
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn the_sample_over_a_rolling_year_holds_its_known_tiers() {
    assert_counts(
        "window = { rolling = \"P1Y\" }\nkept = \"while_condition_holds\"",
        &[("1998-01-01T04:59:59.999999Z", [2_147, 162, 39, 9]), ("1998-04-01T04:59:59.999999Z", [2_201, 121, 28, 7])],
    )
    .await;
}

#[tokio::test]
async fn the_sample_by_calendar_years_holds_its_known_tiers() {
    assert_counts(
        "window = { calendar = \"year\" }\nkept = \"until_end_of_next_period\"",
        &[("1998-07-01T03:59:59.999999Z", [2_133, 174, 41, 9]), ("1999-01-02T04:59:59.999999Z", [2_307, 46, 4, 0])],
    )
    .await;
}

#[tokio::test]
async fn a_policy_that_is_tried_on_the_sample_holds_the_tiers_that_it_would_have_given() {
    // Tiers are for life here, and the policies are tried on what happened meanwhile.
    let (_serving, service) = start_sample("kept = \"always\"").await;
    let rolling = TierPolicy {
        window: Some(proto::TierWindow { window: Some(Window::Rolling("P1Y".to_owned())) }),
        kept: Some(proto::TierRetention { rule: Some(Rule::WhileConditionHolds(())) }),
        ..TierPolicy::default()
    };
    let yearly = TierPolicy {
        window: Some(proto::TierWindow { window: Some(Window::Calendar(proto::CalendarPeriod::Year.into())) }),
        kept: Some(proto::TierRetention { rule: Some(Rule::UntilEndOfNextPeriod(())) }),
        ..TierPolicy::default()
    };
    let known = [
        (&rolling, "1998-01-01T04:59:59.999999Z", [2_147, 162, 39, 9]),
        (&rolling, "1998-04-01T04:59:59.999999Z", [2_201, 121, 28, 7]),
        (&yearly, "1998-07-01T03:59:59.999999Z", [2_133, 174, 41, 9]),
        (&yearly, "1999-01-02T04:59:59.999999Z", [2_307, 46, 4, 0]),
    ];
    let get = proto::GetProgramRequest { program_id: "cdnow".to_owned(), version: 0 };
    let in_force = service.programs().get_program(get).await.unwrap().into_inner().version.unwrap().program.unwrap();
    for (policy, as_of, expected) in known {
        let mut request = try_program(proto::Program { tier_policy: Some(policy.clone()), ..in_force.clone() });
        request.as_of = Some(at(as_of));
        request.summary_only = true;
        let (_, simulation) = simulate(&service, request).await.unwrap();
        let held = |tier: &str| -> i64 {
            simulation.moves.iter().filter(|it| it.to_tier_id == tier).map(|it| it.customers).sum()
        };
        assert_eq!(TIERS.map(held), expected, "{as_of}");
    }
}

#[tokio::test]
async fn program_diff_tells_in_words_what_program_reevaluate_does() {
    let (serving, service) = start_sample("kept = \"always\"").await;
    let address = format!("http://{}", serving.address);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rolling.toml");
    let policy = "window = { rolling = \"P1Y\" }\nkept = \"while_condition_holds\"";
    std::fs::write(&file, sample_under(policy)).unwrap();
    let file = file.to_str().unwrap();
    let diff = async |more: &[&str]| {
        let told =
            run(&[&["program", "diff", "--address", &address, "--downgrades", "at-once", file], more].concat()).await;
        assert!(told.status.success(), "{}", told.stderr);
        told.stdout
    };
    let of_1997 = diff(&["--as-of", "1998-01-01T04:59:59.999999Z"]).await;
    assert!(of_1997.starts_with("cdnow: 2,357 customers as of 1997-12-31 23:59:59 EST\n"), "{of_1997}");
    assert!(of_1997.contains("\n  2,357 customers keep the tier they hold\n"), "{of_1997}");
    assert!(of_1997.contains("hold platinum until a day from "), "{of_1997}");

    // All of it lies more than a year back by now.
    let now: serde_json::Value = serde_json::from_str(&diff(&["--json"]).await).unwrap();
    let falling: i64 = now["moves"].as_array().unwrap().iter().filter_map(|it| it["customers"].as_i64()).skip(1).sum();
    assert_eq!((now["customers"].as_i64(), falling), (Some(2_357), 280));
    let moves = diff(&["--customers"]).await;
    let lines = moves.lines().filter(|line| line.contains('\t') && line.ends_with("\tmember\t"));
    assert_eq!(lines.count(), 280);

    succeed(&["program", "apply", "--address", &address, file]).await;
    let ended = run(&["program", "reevaluate", "--address", &address, "cdnow", "--downgrades", "at-once"]).await;
    let told = "cdnow: 2,357 customers decided by version 2: 0 raised, 280 lowered, 0 with another end\n";
    assert_eq!((ended.stdout.as_str(), ended.status.success()), (told, true), "{}", ended.stderr);
    let mut connection = service.database.connect(SERVICE_ROLE).await;
    let (members,): (i64,) = sqlx::query_as("SELECT count(*) FROM standings WHERE tier_id = 'member'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(members, 2_357);
    let late = ["--downgrades", "at-once", "--version", "1"];
    let late = run(&[&["program", "reevaluate", "--address", &address, "cdnow"], &late[..]].concat()).await;
    assert!(late.stderr.contains("version 2 of the program is in force"), "{}", late.stderr);
    assert_eq!(late.status.code(), Some(1));
    check_rules(&service.database).await.unwrap();
}

#[tokio::test]
async fn tiers_and_a_customer_are_shown_with_bars_and_told_as_json() {
    let policy = "window = { calendar = \"year\" }\nkept = \"until_end_of_next_period\"";
    let (serving, service) = start_sample(policy).await;
    let address = format!("http://{}", serving.address);
    let tiers = async |more: &[&str]| {
        let told = run(&[&["tiers", "--address", &address, "--as-of", "1998-07-01"], more].concat()).await;
        assert!(told.status.success(), "{}", told.stderr);
        told.stdout
    };
    let screen = tiers(&[]).await;
    let has = |screen: &str, parts: &[&str]| screen.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    for (name, customers) in [("platinum", "9 (0.4 %)"), ("gold", "41 (1.7 %)"), ("silver", "174 (7.4 %)")] {
        assert!(has(&screen, &[name, customers]), "{name} in {screen}");
    }
    assert!(has(&screen, &["member", "█", "2,133 (90.5 %)"]) && has(&screen, &["joined"]), "{screen}");
    let told: serde_json::Value = serde_json::from_str(&tiers(&["--json", "--months", "2"]).await).unwrap();
    let held = told["tiers"].as_array().unwrap().iter().map(|it| it["customers"].as_i64().unwrap());
    assert_eq!(held.collect::<Vec<_>>(), [2_133, 174, 41, 9]);
    assert_eq!(told["as_of"], serde_json::json!("1998-07-01T04:00:00Z"));
    assert_eq!(told["months"].as_array().unwrap().len(), 2);
    // Within the days up to the end of 1998, time takes away what 1997 earned and 1998 has not.
    let moving = tiers(&["--customers", "--within-days", "185"]).await;
    let lines: Vec<Vec<&str>> =
        moving.lines().map(|line| line.split('\t').collect()).filter(|it: &Vec<_>| it.len() == 5).collect();
    assert!(
        lines.iter().any(|it| it[1..] == ["1999-01-01 00:00:00 EST", "downgraded", "silver", "member"]),
        "{moving}"
    );

    let name = "somebody";
    let program_id = "cdnow".to_owned();
    let create = proto::CreateCustomerRequest { program_id, ..crate::harness::create_customer(name, "create") };
    let created = service.customers().create_customer(create).await.unwrap().into_inner().customer.unwrap();
    let bought = proto::RecordActivityRequest {
        program_id: "cdnow".to_owned(),
        happened_at: created.create_time,
        ..crate::harness::purchase(name, "a", "250.00", START.parse().unwrap())
    };
    service.activities().record_activity(bought).await.unwrap();
    let show = async |more: &[&str]| {
        let told = run(&[&["customer", "--address", &address, name], more].concat()).await;
        assert!(told.status.success(), "{}", told.stderr);
        told.stdout
    };
    let (screen, told) = (show(&[]).await, show(&["--json"]).await);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let year = told["tier"]["valid_until"].as_str().unwrap()[..4].to_owned();
    assert!(has(&screen, &["Valid until", &format!("{year}-01-01 00:00:00 EST, then member")]), "{screen}");
    assert!(has(&screen, &["To keep it", "░", "200.00 USD, 200.00 USD missing"]), "{screen}");
    assert!(has(&screen, &["To reach it", "██████████░", "500.00 USD, 250.00 USD missing"]), "{screen}");
    let usd = |amount: &str| serde_json::json!({"amount": amount, "currency_code": "USD"});
    let spend = |least: &str, missing: &str| serde_json::json!([{"metric": "spend", "least": usd(least), "missing": usd(missing)}]);
    assert_eq!(told["tier"]["next"]["progress"], spend("500.00", "250.00"));
    assert_eq!(told["tier"]["keeping"]["progress"], spend("200.00", "200.00"));
    assert_eq!(told["tier"]["forecast"][0]["tier_id"], serde_json::json!("member"));
    assert_eq!(told["balance"]["available"], serde_json::json!(250));
}
