//! What is due is written in batches of a bounded size, shared by services, and where it cannot be written nobody else
//! is held up.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join;
use goldbook::audit::model::DifferenceKind;
use goldbook::book::{
    Account, Book, Capabilities, Capability, Defect, Due, Dues, Entry, NewEntry, Scope, State, States, Store,
    apply_all_dues,
};
use goldbook::capabilities::capabilities;
use goldbook::clock::Clock;
use goldbook::database::{StoreError, connect_lazily};
use goldbook::embedded_postgres::{SERVICE_ROLE, SUPERUSER};
use goldbook::ids::AccountId;
use goldbook::programs::Catalogue;
use goldbook::proto;
use goldbook::proto::batch_grant_rewards_response::Outcome;
use sqlx::{AssertSqlSafe, PgConnection};
use tonic::Code;

use crate::audit::audit;
use crate::harness::{Background, Database, SHOP, START, Service, grant_reward};
use crate::wait::{until, within};

const NEXT_WEEK: &str = "2026-01-22T12:00:00Z";

/// Points that expire after a period.
fn expiring(customer_id: &str, key: &str, period: &str) -> proto::GrantRewardRequest {
    let after = proto::expiry_rule::After { period: period.to_owned(), ..Default::default() };
    let expiry = Some(proto::ExpiryRule { rule: Some(proto::expiry_rule::Rule::After(after)) });
    proto::GrantRewardRequest { expiry, ..grant_reward(customer_id, 1, key) }
}

/// Grants lots that expire within days, over one stream.
async fn grant_lots(service: &Service, customers: &[String], lots: usize) {
    let items = customers.iter().flat_map(|customer_id| {
        (0..lots).map(move |lot| proto::BatchGrantRewardsRequest {
            item_id: format!("{customer_id}-{lot}"),
            grant: Some(expiring(customer_id, &format!("lot-{lot}"), "P1D")),
        })
    });
    let items: Vec<_> = items.collect();
    let mut outcomes = service.rewards().batch_grant_rewards(tokio_stream::iter(items)).await.unwrap().into_inner();
    while let Some(item) = outcomes.message().await.unwrap() {
        assert!(matches!(item.outcome, Some(Outcome::Granted(_))), "{item:?}");
    }
}

async fn sabotage(database: &Database, statements: &str) {
    let mut connection = database.connect(SUPERUSER).await;
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await.unwrap();
}

async fn number(database: &Database, select: &str) -> i64 {
    let mut connection = database.connect(SUPERUSER).await;
    sqlx::query_scalar(AssertSqlSafe(select.to_owned())).fetch_one(&mut connection).await.unwrap()
}

#[tokio::test]
async fn a_command_behind_one_that_settles_much_waits_as_often_as_needed() {
    // More than so many batches as a command may be put off for other reasons.
    const LOTS: usize = 17 * 256 + 100;
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    grant_lots(&service, &["anna".to_owned()], LOTS).await;
    service.set_clock(NEXT_WEEK);
    // Both are in one batch, as they come on one stream.
    let items = ["first", "second"].map(|key| proto::BatchGrantRewardsRequest {
        item_id: key.to_owned(),
        grant: Some(grant_reward("anna", 5, key)),
    });
    let mut outcomes = service.rewards().batch_grant_rewards(tokio_stream::iter(items)).await.unwrap().into_inner();
    while let Some(item) = within("an outcome", outcomes.message()).await.unwrap() {
        assert!(matches!(item.outcome, Some(Outcome::Granted(_))), "{item:?}");
    }
    let balance = service.balance("anna").await;
    assert_eq!((balance.available, balance.expired), (10, i64::try_from(LOTS).unwrap()));
}

#[tokio::test]
async fn a_batch_settles_a_bounded_number_of_dues_of_all_accounts_together() {
    const ACCOUNTS: usize = 16;
    const LOTS: usize = 100;
    let service = Service::start().await;
    service.apply_shop().await;
    let customers: Vec<String> = (0..ACCOUNTS).map(|number| format!("c-{number}")).collect();
    for customer_id in &customers {
        service.enrol(customer_id).await;
    }
    grant_lots(&service, &customers, LOTS).await;
    // All accounts are in one batch, since there is but one lane.
    let clock = Clock::fixed(NEXT_WEEK.parse().unwrap());
    let options = service.database.options(SERVICE_ROLE);
    let (book, lanes) = Book::open(
        &options,
        1,
        &capabilities(&Catalogue::default(), goldbook::capabilities::ErasureKeys::default()),
        &clock,
    );
    let pool = connect_lazily(&options, 1);
    apply_all_dues(&pool, &book, &clock).await.unwrap();
    let in_batches = "SELECT count(*) AS dues FROM ledger_entries WHERE kind = 'points_expired' GROUP BY xmin";
    let dues = number(&service.database, &format!("SELECT sum(dues)::bigint FROM ({in_batches}) b")).await;
    assert_eq!(dues, i64::try_from(ACCOUNTS * LOTS).unwrap());
    let most = number(&service.database, &format!("SELECT max(dues) FROM ({in_batches}) b")).await;
    assert!(most <= 1_024, "{most} dues in one batch");
    drop(book);
    lanes.close().await;
}

/// A state that says nothing is ever due and that is its own store; it notes of which accounts it was loaded.
#[derive(Clone, Default)]
struct Recorder<const HAS_DUES: bool>(Arc<Mutex<Vec<AccountId>>>);

impl<const HAS_DUES: bool> State for Recorder<HAS_DUES> {
    fn apply(&mut self, _entry: &Entry) -> Result<(), Defect> {
        Ok(())
    }

    fn dues(&self) -> Option<&dyn Dues> {
        HAS_DUES.then_some(self)
    }
}

impl<const HAS_DUES: bool> Dues for Recorder<HAS_DUES> {
    fn next_due(&self, _account_id: AccountId) -> Option<Due> {
        None
    }

    fn decide_due(&self, _account: &Account, _due: Due) -> Vec<NewEntry> {
        Vec::new()
    }
}

#[async_trait]
impl<const HAS_DUES: bool> Store for Recorder<HAS_DUES> {
    fn reads(&self) -> Vec<TypeId> {
        Vec::new()
    }

    async fn load(&self, _: &mut States, scope: &Scope, _: &mut PgConnection) -> Result<(), StoreError> {
        self.0.lock().unwrap().extend(&scope.accounts);
        Ok(())
    }
}

/// Accounts of which a due is told that is none.
async fn plant_accounts(database: &Database, count: usize) {
    let insert = format!(
        "INSERT INTO accounts (account_id, program_id, kind, head, effective_at, next_due_at, issued, owed, pending,
             available, held, redeemed, expired, cancelled)
         SELECT gen_random_uuid(), '{SHOP}', 'customer', 1, now(), '{START}', 0, 0, 0, 0, 0, 0, 0, 0
         FROM generate_series(1, {count})"
    );
    sabotage(database, &insert).await;
}

#[tokio::test]
async fn services_share_the_accounts_on_which_something_is_due() {
    const ACCOUNTS: usize = 1_000;
    let database = Database::create().await;
    plant_accounts(&database, ACCOUNTS).await;
    let clock = Clock::fixed(NEXT_WEEK.parse().unwrap());
    let options = database.options(SERVICE_ROLE);
    let settled = Recorder::<true>::default();
    let unneeded = Recorder::<false>::default();
    let capabilities = Capabilities::new(vec![
        Capability::new(Recorder::<true>::default, settled.clone(), &[]),
        Capability::new(Recorder::<false>::default, unneeded.clone(), &[]),
    ]);
    let service = || {
        let (book, lanes) = Book::open(&options, 2, &capabilities, &clock);
        (book, lanes, connect_lazily(&options, 2))
    };
    let ((book, lanes, pool), (other_book, other_lanes, other_pool)) = (service(), service());
    let (one, other) =
        join(apply_all_dues(&pool, &book, &clock), apply_all_dues(&other_pool, &other_book, &clock)).await;
    one.unwrap();
    other.unwrap();
    drop((book, other_book));
    join(lanes.close(), other_lanes.close()).await;

    let mut times: BTreeMap<AccountId, usize> = BTreeMap::new();
    for account_id in settled.0.lock().unwrap().iter() {
        *times.entry(*account_id).or_default() += 1;
    }
    assert_eq!(times.len(), ACCOUNTS);
    assert!(times.values().all(|times| *times == 1), "an account was taken twice");
    assert_eq!(number(&database, "SELECT count(*) FROM accounts WHERE next_due_at IS NOT NULL").await, 0);
    // What has no dues is not loaded for them.
    assert!(unneeded.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_due_that_contradicts_itself_is_set_aside_and_holds_up_nobody() {
    let database = Database::create().await;
    let clock = Clock::fixed(START.parse().unwrap());
    let often = Background {
        apply_dues_every: Some(Duration::from_millis(10)),
        sum_up_every: None,
        erase_of_inactive_every: None,
        export_limit: None,
    };
    let service = Service::start_busy(database.clone(), clock.clone(), often).await;
    service.apply_shop().await;
    for customer_id in ["anna", "ben"] {
        service.enrol(customer_id).await;
        service.rewards().grant_reward(expiring(customer_id, "short", "P1D")).await.unwrap();
        service.rewards().grant_reward(expiring(customer_id, "long", "P30D")).await.unwrap();
    }
    // More would expire than there is.
    let anna = service.entries("anna").await[0].account_id.clone();
    let lots = format!(
        "lots WHERE account_id = '{anna}' AND lot_seq = (SELECT min(lot_seq) FROM lots WHERE account_id = '{anna}')"
    );
    let damage = |points: i64| {
        let lots = lots.replacen("lots", "", 1);
        format!("UPDATE lots SET points = points + ({points}), available = available + ({points}) {lots}")
    };
    sabotage(&database, &damage(7)).await;

    let failures = async || number(&database, "SELECT coalesce(max(failures), 0)::bigint FROM stuck_dues").await;
    let expired = async |customer_id: &str| {
        let select =
            "SELECT expired FROM accounts a JOIN names n ON n.account_id = a.account_id WHERE n.space = 'customer'";
        number(&database, &format!("{select} AND n.name = '{customer_id}'")).await
    };
    service.set_clock("2026-01-18T12:00:00Z");
    until("the due to be set aside", async || (failures().await == 1).then_some(())).await;
    until("the other customer's due", async || (expired("ben").await == 1).then_some(())).await;
    let told = audit(&database).await;
    told.assert_tells(DifferenceKind::Source, "could not be written 1 times since 2026-01-18 12:00:00+00");

    // Rounds go on without it, as another due shows, until it is time to try again.
    service.rewards().grant_reward(expiring("ben", "soon", "P1D")).await.unwrap();
    sabotage(&database, "UPDATE accounts SET next_due_at = '2026-01-18T12:00:30Z' WHERE expired = 1").await;
    service.set_clock("2026-01-18T12:00:59Z");
    let ahead = "SELECT count(*) FROM accounts WHERE next_due_at = '2026-01-18T12:00:30Z'";
    until("another round", async || (number(&database, ahead).await == 0).then_some(())).await;
    assert_eq!(failures().await, 1);
    service.set_clock("2026-01-18T12:01:00Z");
    until("the second try", async || (failures().await == 2).then_some(())).await;
    let pause = "SELECT extract(epoch FROM try_at - '2026-01-18T12:01:00Z')::bigint FROM stuck_dues";
    assert_eq!(number(&database, pause).await, 120);

    // Its own calls fail, and no others.
    let (own, other) = tokio::join!(service.grant("anna", 1, "gift"), service.grant("ben", 1, "gift"));
    assert_eq!(own.unwrap_err().code(), Code::Internal);
    assert!(!other.unwrap().replayed);

    // Once it is mended, it is settled at the next try, and forgotten.
    sabotage(&database, &damage(-7)).await;
    service.set_clock("2026-01-18T12:03:00Z");
    until("the due to be written", async || (expired("anna").await == 1).then_some(())).await;
    until("it to be forgotten", async || (failures().await == 0).then_some(())).await;
    assert!(!service.grant("anna", 1, "gift").await.unwrap().replayed);
}
