//! `goldbook import balances`: the file's check, the reconciliation, and what the process ends with.

use std::io::Write as _;

use goldbook::embedded_postgres::SERVICE_ROLE;
use tempfile::NamedTempFile;

use crate::binary::{Ended, Serving, run};
use crate::book_rules::check_rules;
use crate::harness::{Database, SHOP, Service};

const HEADER: &str = "line_id,customer_id,points,vests_at,expires_at,tier_id,qualifying_spend\n";

/// A service in a process of its own, with the shop.
struct Shop {
    service: Service,
    address: String,
    _serving: Serving,
}

impl Shop {
    async fn open() -> Self {
        let database = Database::create().await;
        let serving = Serving::start(&database.options(SERVICE_ROLE), &[]).await;
        let service = Service::at(serving.address, database).await;
        service.apply_shop().await;
        service.enrol("anna").await;
        Self { service, address: format!("http://{}", serving.address), _serving: serving }
    }

    /// Imports lines below the header.
    async fn import(&self, lines: &str, flags: &[&str]) -> Ended {
        let mut file = NamedTempFile::new().unwrap();
        write!(file, "{HEADER}{lines}").unwrap();
        let path = file.path().to_str().unwrap();
        let arguments = ["import", "balances", "--address", &self.address, "--program", SHOP, path];
        run(&[arguments.as_slice(), flags].concat()).await
    }
}

/// The cells of a row of the tables, by what it begins with.
#[track_caller]
fn row(ended: &Ended, name: &str) -> Vec<String> {
    let Ended { stdout, stderr, .. } = ended;
    let line = stdout.lines().find(|line| line.trim_start().starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in {stdout} {stderr}"));
    line.trim_start()[name.len()..].split_whitespace().map(str::to_owned).collect()
}

#[track_caller]
fn assert_reconciled(ended: &Ended, rows: [[&str; 2]; 4]) {
    for (name, expected) in ["in the file", "imported now", "imported before", "refused"].into_iter().zip(rows) {
        assert_eq!(row(ended, name), expected, "{name} in {}", ended.stdout);
    }
    let check = "Check: in the file = imported now + imported before + refused.";
    assert!(ended.stdout.contains(check), "{}", ended.stdout);
}

#[tokio::test]
async fn import_balances_reconciles_the_file_and_imports_nothing_twice() {
    let shop = Shop::open().await;
    let lines = "a-1,anna,1000,,2999-01-01,,\n\
                 a-2,anna,,,,silver,250.00\n\
                 a-3,anna,234,2999-01-01T00:00:00Z,never,,\n\
                 b-1,ben,50,,,,\n\
                 a-4,anna,,,,member,300\n";
    let first = shop.import(lines, &[]).await;
    assert_eq!(first.status.code(), Some(1), "{}", first.stderr);
    assert_reconciled(&first, [["5", "1,284"], ["4", "1,234"], ["0", "0"], ["1", "50"]]);
    assert_eq!(row(&first, "silver"), ["1", "1", "0", "0", "0"]);
    assert_eq!(row(&first, "member"), ["1", "1", "0", "0", "1"]);
    assert!(first.stdout.contains("line 5: CUSTOMER_NOT_FOUND"), "{}", first.stdout);
    assert!(first.stderr.contains("lines refused: 1"), "{}", first.stderr);

    let second = shop.import(lines, &["--enrol"]).await;
    assert!(second.status.success(), "{}", second.stderr);
    assert_reconciled(&second, [["5", "1,284"], ["1", "50"], ["4", "1,234"], ["0", "0"]]);
    assert_eq!(row(&second, "silver"), ["1", "0", "1", "0", "0"]);
    let count = shop.service.count_entries().await;
    let third = shop.import(lines, &[]).await;
    assert_reconciled(&third, [["5", "1,284"], ["0", "0"], ["5", "1,284"], ["0", "0"]]);
    assert_eq!(shop.service.count_entries().await, count);

    let balance = shop.service.balance("anna").await;
    assert_eq!((balance.available, balance.pending, balance.issued), (1_000, 234, 1_234));
    assert_eq!(shop.service.tier("anna").await.tier_id, "gold");
    assert_eq!(shop.service.available("ben").await, 50);
    // The same line with other content, and terms that have passed.
    let changed = shop.import("a-1,anna,999,,2999-01-01,,\nc-1,anna,7,,2020-01-01,,\n", &[]).await;
    assert_eq!(changed.status.code(), Some(1));
    assert_reconciled(&changed, [["2", "1,006"], ["0", "0"], ["0", "0"], ["2", "1,006"]]);
    for reason in ["line 2: IDEMPOTENCY_KEY_REUSED: the line changed since", "line 3: INSTANT_NOT_AHEAD"] {
        assert!(changed.stdout.contains(reason), "{}", changed.stdout);
    }
    check_rules(&shop.service.database).await.unwrap();
}

#[tokio::test]
async fn import_balances_sends_nothing_of_a_file_with_a_bad_line_or_in_a_dry_run() {
    let shop = Shop::open().await;
    let count = shop.service.count_entries().await;
    let bad = shop.import("1,anna,5,,,,\n2,anna,,,,diamond,\n3,anna,-5,,,,\n1,anna,6,,,,\n", &[]).await;
    assert_eq!(bad.status.code(), Some(1));
    for line in ["line 3: the program has no tier diamond", "line 4: points is -5", "line 5: line_id 1 of anna"] {
        assert!(bad.stdout.contains(line), "{}", bad.stdout);
    }
    assert!(bad.stderr.contains("bad lines: 3; nothing was sent"), "{}", bad.stderr);
    let many: String = (0..50).map(|i| format!("{i},anna,none,,,,\n")).collect();
    let many = shop.import(&many, &["--dry-run"]).await;
    assert_eq!(many.status.code(), Some(1));
    assert!(many.stdout.contains("line 21:") && !many.stdout.contains("line 22:"), "{}", many.stdout);
    assert!(many.stdout.contains("and 30 more"), "{}", many.stdout);

    let fine = shop.import("1,anna,5,,,,\n2,nobody,1200,,,,\n3,anna,,,,gold,\n", &["--dry-run"]).await;
    assert!(fine.status.success(), "{}", fine.stderr);
    assert_eq!(
        (row(&fine, "points"), row(&fine, "tier")),
        (vec!["1,205".to_owned()], vec!["gold:".to_owned(), "1".to_owned()])
    );
    let wrong = shop.import("1,anna,0,soon,2020-01-01,diamond,\n", &["--dry-run"]).await;
    let reasons = [
        "line 2: points is 0, not a whole number above zero",
        "; vests_at is soon, not a day",
        "; expires_at is 2020-01-01T05:00:00Z, which has passed",
        "; the program has no tier diamond",
        "; has both points and a tier_id",
    ];
    assert!(reasons.iter().all(|reason| wrong.stdout.contains(reason)), "{}", wrong.stdout);
    // Such a line may be in the book already, and is only bad in a dry run.
    let passed = shop.import("1,anna,5,,2020-01-01,,\n", &["--dry-run"]).await;
    assert_eq!(passed.status.code(), Some(1), "{}", passed.stderr);
    assert!(
        passed.stdout.contains("line 2: expires_at is 2020-01-01T05:00:00Z, which has passed"),
        "{}",
        passed.stdout
    );
    assert_eq!(shop.service.count_entries().await, count);
}

#[tokio::test]
async fn import_balances_refuses_what_is_no_such_file_as_wrong_usage() {
    let shop = Shop::open().await;
    let arguments = ["import", "balances", "--address", &shop.address, "--program", SHOP];
    for (path, problem) in [("/nowhere/balances.csv", "No such file"), ("/dev/null", "must be a file")] {
        let ended = run(&[arguments.as_slice(), &[path]].concat()).await;
        assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(problem), "{}", ended.stderr);
    }
    let mut file = NamedTempFile::new().unwrap();
    writeln!(file, "customer_id,points").unwrap();
    let ended = run(&[arguments.as_slice(), &[file.path().to_str().unwrap()]].concat()).await;
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("the header has no column line_id"), "{}", ended.stderr);
}

#[tokio::test]
async fn import_balances_takes_thousands_of_lines() {
    let shop = Shop::open().await;
    let lines: String = (0..3_000).map(|i| format!("l-{i},c-{},{},,,,\n", i % 100, i + 1)).collect();
    let ended = shop.import(&lines, &["--enrol"]).await;
    assert!(ended.status.success(), "{} {}", ended.stdout, ended.stderr);
    assert_reconciled(&ended, [["3,000", "4,501,500"], ["3,000", "4,501,500"], ["0", "0"], ["0", "0"]]);
    let again = shop.import(&lines, &["--enrol"]).await;
    assert_reconciled(&again, [["3,000", "4,501,500"], ["0", "0"], ["3,000", "4,501,500"], ["0", "0"]]);
}
