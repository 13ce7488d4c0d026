//! Zone data is what came with the program, whatever the machine has.

use std::path::Path;

use goldbook::embedded_postgres::SERVICE_ROLE;
use goldbook::proto;
use goldbook::proto::{CalendarPeriod, expiry_rule, vesting_rule};
use goldbook::version::COMMIT;

use crate::binary::{Serving, goldbook, run};
use crate::harness::{Database, SHOP, Service, at, grant_reward, shop};

/// A machine whose zone data is of 2025, as far as it goes: Vancouver has winter time in every winter.
fn machine_of_2025(directory: &Path) {
    let block = |version: &[u8]| {
        let counts = [0_u32, 0, 0, 0, 1, 4].map(u32::to_be_bytes).concat();
        let offset = (-8 * 3_600_i32).to_be_bytes();
        [b"TZif", version, &[0; 15], &counts, &offset, &[0, 0], b"PST\0"].concat()
    };
    let file = [block(b"2"), block(b"2"), b"\nPST8PDT,M3.2.0,M11.1.0\n".to_vec()].concat();
    std::fs::create_dir(directory.join("America")).unwrap();
    std::fs::write(directory.join("America/Vancouver"), file).unwrap();
}

fn in_vancouver() -> proto::Program {
    proto::Program { time_zone: "America/Vancouver".to_owned(), ..shop() }
}

/// Points that vest on an evening in winter and expire at the end of the day after.
fn wintry_grant() -> proto::GrantRewardRequest {
    let vesting = vesting_rule::Rule::At(at("2040-12-01T20:00:00Z"));
    let expiry = expiry_rule::After { period: "P1D".to_owned(), round_to: CalendarPeriod::Unspecified.into() };
    proto::GrantRewardRequest {
        vesting: Some(proto::VestingRule { rule: Some(vesting) }),
        expiry: Some(proto::ExpiryRule { rule: Some(expiry_rule::Rule::After(expiry)) }),
        ..grant_reward("anna", 7, "wintry")
    }
}

#[tokio::test]
async fn a_machine_with_other_zone_data_makes_no_difference() {
    let directory = tempfile::tempdir().unwrap();
    machine_of_2025(directory.path());
    let machine = directory.path().to_str().unwrap();
    let database = Database::create().await;
    let serving = Serving::start(&database.options(SERVICE_ROLE), &[("TZDIR", machine)]).await;
    let service = Service::at(serving.address, database).await;
    service.apply(in_vancouver()).await.unwrap();
    service.enrol("anna").await;
    service.rewards().grant_reward(wintry_grant()).await.unwrap();
    assert_eq!(service.lots().await[0].expires_at, Some(at("2040-12-03T07:00:00Z")));

    // Commands for people, too.
    let file = directory.path().join("balances.csv");
    let header = "line_id,customer_id,points,vests_at,expires_at,tier_id,qualifying_spend";
    std::fs::write(&file, format!("{header}\n1,anna,5,,2040-12-01,,\n")).unwrap();
    let address = format!("http://{}", serving.address);
    let arguments = ["import", "balances", "--address", &address, "--program", SHOP, file.to_str().unwrap()];
    let imported = goldbook().args(arguments).env("TZDIR", machine).output().await.unwrap();
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    assert_eq!(service.lots().await[1].expires_at, Some(at("2040-12-01T07:00:00Z")));
}

/// The number of a migration.
fn number_of(file: std::io::Result<std::fs::DirEntry>) -> i64 {
    let name = file.unwrap().file_name().into_string().unwrap();
    name.split_once('_').unwrap().0.parse().unwrap()
}

#[tokio::test]
async fn the_version_tells_on_request_how_it_was_built() {
    let plain = run(&["--version"]).await;
    assert!(plain.status.success());
    assert_eq!(plain.stdout, format!("goldbook {}\n", env!("CARGO_PKG_VERSION")));
    for flags in [["--version", "--verbose"], ["--verbose", "-V"]] {
        let verbose = run(&flags).await;
        assert!(verbose.stdout.starts_with(&plain.stdout));
        let names = ["commit", "target", "compiler", "profile", "schema", "time zone data", "TLS", "tokens"];
        let lines: Vec<&str> = verbose.stdout.lines().skip(1).collect();
        assert_eq!(lines.len(), names.len(), "{lines:?}");
        let told = names.iter().zip(&lines).map(|(name, line)| line.strip_prefix(name).unwrap().trim());
        let told: Vec<&str> = told.collect();
        assert_eq!(told[0], COMMIT.unwrap_or("unknown"));
        assert!(told[1].contains(std::env::consts::ARCH) && told[1].contains(std::env::consts::OS), "{told:?}");
        assert!(told[2].starts_with("rustc "), "{told:?}");
        assert_eq!(told[3], if cfg!(debug_assertions) { "debug" } else { "release" });
        assert_eq!(told[4].parse().ok(), std::fs::read_dir("migrations").unwrap().map(number_of).max());
        assert_eq!(told[5], goldbook_api::zones::version());
    }
    for bad in [["--verbose"].as_slice(), &[], &["--version", "serve"], &["--verbose", "wait"]] {
        assert_eq!(run(bad).await.status.code(), Some(2), "{bad:?}");
    }
}
