//! The audit finds whatever was done to a book behind its back, says where, and mends what can be mended.

mod damages;
mod history;
mod remembered;
mod repairs;
mod scheduled;

use std::collections::BTreeMap;

use goldbook::audit::model::{Difference, DifferenceKind};
use goldbook::audit::{Asked, Extent, Listener, Outcome, Tally};
use goldbook::embedded_postgres::{OWNER_ROLE, SERVICE_ROLE, SUPERUSER};
use goldbook::ids::AccountId;
use goldbook::programs::Catalogue;
use sqlx::AssertSqlSafe;
use tokio::sync::OnceCell;

use crate::binary::{run, url};
use crate::harness::Database;
use crate::random::cases;
use crate::wait::until;

/// What an audit told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub tally: Tally,
    pub differences: Vec<Difference>,
    pub repaired: Vec<AccountId>,
    pub not_repaired: Vec<AccountId>,
    /// The accounts that were compared, each with the number of its last entry.
    pub compared: BTreeMap<AccountId, i64>,
}

impl Listener for Told {
    fn found(&mut self, difference: &Difference) {
        self.differences.push(difference.clone());
    }

    fn compared(&mut self, account_id: AccountId, last_seq: i64) {
        assert_eq!(self.compared.insert(account_id, last_seq), None, "{account_id:?} was compared twice");
    }

    fn repaired(&mut self, account_id: AccountId) {
        self.repaired.push(account_id);
    }

    fn not_repaired(&mut self, account_id: AccountId) {
        self.not_repaired.push(account_id);
    }
}

impl Told {
    /// Asserts that a difference of this kind was told in these words.
    #[track_caller]
    pub(crate) fn assert_tells(&self, kind: DifferenceKind, words: &str) {
        let told = |difference: &&Difference| difference.kind == kind && difference.what.contains(words);
        assert!(self.differences.iter().any(|difference| told(&difference)), "{kind:?} {words:?} in {self:#?}");
    }
}

async fn audit_as(role: &str, database: &Database, asked: Asked) -> (Told, Outcome) {
    let mut told = Told::default();
    let capabilities =
        goldbook::capabilities::capabilities(&Catalogue::default(), goldbook::capabilities::ErasureKeys::default());
    let outcome = goldbook::audit::audit(&database.options(role), &capabilities, asked, &mut told).await.unwrap();
    told.tally = outcome.record.tally;
    (told, outcome)
}

async fn audit_with(database: &Database, asked: Asked) -> (Told, Outcome) {
    let (told, outcome) = audit_as(if asked.repair { OWNER_ROLE } else { SERVICE_ROLE }, database, asked).await;
    outcome.remembered.as_ref().unwrap();
    (told, outcome)
}

pub(crate) async fn audit(database: &Database) -> Told {
    audit_with(database, Asked { extent: Extent::Full, repair: false }).await.0
}

pub(crate) async fn repair(database: &Database) -> Told {
    audit_with(database, Asked { extent: Extent::Full, repair: true }).await.0
}

/// Asserts that nothing differs.
pub(crate) async fn assert_clean(database: &Database) -> Told {
    let told = audit(database).await;
    assert!(told.differences.is_empty(), "{:#?}", told.differences);
    assert_eq!((told.tally.differences, told.tally.remaining), (0, 0));
    told
}

/// Does something to a database, past all that protects it.
async fn sabotage(database: &Database, statements: &str) {
    let mut connection = database.connect(SUPERUSER).await;
    let unprotected = format!(
        "ALTER TABLE ledger_entries DISABLE TRIGGER ALL; {statements};
         ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER ledger_entries_refuse_row_change;
         ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER ledger_entries_refuse_truncate;"
    );
    sqlx::raw_sql(AssertSqlSafe(unprotected)).execute(&mut connection).await.unwrap();
}

#[tokio::test]
async fn random_history_leaves_nothing_for_the_audit_to_find() {
    for case in cases(3) {
        let service = history::random(case.seed, 400).await;
        let told = assert_clean(&service.database).await;
        assert_eq!(told.tally.entries, count_entries(&service.database).await);
        assert!(told.tally.accounts > 1);
    }
}

#[tokio::test]
async fn audit_finds_nothing_in_an_empty_database() {
    let database = Database::create().await;
    assert_eq!(assert_clean(&database).await.tally, Tally::default());
}

#[tokio::test]
async fn audit_command_tells_by_its_exit_code_and_in_words() {
    let database = create_history().await;
    let url = url(&database.options(SERVICE_ROLE));
    let clean = run(&["audit", "--database-url", &url]).await;
    assert_eq!(clean.status.code(), Some(0), "{}{}", clean.stdout, clean.stderr);
    assert!(clean.stdout.contains("nothing differs") && clean.stdout.contains("entries/s"), "{}", clean.stdout);

    sabotage(&database, "UPDATE standings SET qualifying_spend = qualifying_spend + 7").await;
    let differs = run(&["audit", "--database-url", &url, "--max-differences", "1"]).await;
    assert_eq!(differs.status.code(), Some(1), "{}{}", differs.stdout, differs.stderr);
    assert!(differs.stdout.contains("as stored (+7)") && differs.stdout.contains("… and 1 more"), "{}", differs.stdout);
    assert!(differs.stderr.contains("2 differences"), "{}", differs.stderr);

    // The service's role may repair nothing.
    let refused = run(&["audit", "--repair", "--database-url", &url]).await;
    assert_eq!(refused.status.code(), Some(2), "{}{}", refused.stdout, refused.stderr);
    assert!(refused.stderr.contains("needs the role that owns the tables"), "{}", refused.stderr);
    let owner = crate::binary::url(&database.options(OWNER_ROLE));
    let repaired = run(&["audit", "--repair", "--database-url", &owner]).await;
    assert_eq!(repaired.status.code(), Some(0), "{}{}", repaired.stdout, repaired.stderr);
    assert!(repaired.stdout.contains("2 accounts repaired, 0 differences remain"), "{}", repaired.stdout);
    assert_clean(&database).await;
}

#[tokio::test]
async fn audit_command_that_cannot_run_says_so_by_its_exit_code() {
    let nowhere = tempfile::tempdir().unwrap();
    for arguments in [
        ["audit", "--data-dir", nowhere.path().to_str().unwrap()],
        ["audit", "--wait-for-database=0", "--database-url=postgres://nobody@%2Fnowhere/goldbook"],
        ["audit", "--max-differences", "many"],
    ] {
        let ended = run(&arguments).await;
        assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
        assert!(!ended.stderr.is_empty());
    }
}

/// A database of one's own with the small history in it, of which the service is gone.
async fn create_history() -> Database {
    static HISTORY: OnceCell<Database> = OnceCell::const_new();
    let make = async || {
        let service = history::small().await;
        let database = service.database.clone();
        service.stop().await;
        until("everyone to leave", async || (count_sessions(&database).await == 0).then_some(())).await;
        database
    };
    HISTORY.get_or_init(make).await.copy().await
}

async fn count_sessions(database: &Database) -> i64 {
    let mut connection = Database::create().await.connect(SUPERUSER).await;
    let select = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1";
    sqlx::query_scalar(select).bind(database.name()).fetch_one(&mut connection).await.unwrap()
}

async fn count_entries(database: &Database) -> u64 {
    let mut connection = database.connect(SUPERUSER).await;
    let count: i64 =
        sqlx::query_scalar("SELECT count(*) FROM ledger_entries").fetch_one(&mut connection).await.unwrap();
    u64::try_from(count).unwrap()
}
