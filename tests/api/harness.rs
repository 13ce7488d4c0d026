//! A service of its own for each test: its database, its clock, its clients.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use goldbook::clock::Clock;
use goldbook::database;
use goldbook::embedded_postgres::{EmbeddedPostgres, OWNER_ROLE, Options, SERVICE_ROLE, SUPERUSER, throwaway_dir};
use goldbook::proto;
use goldbook::proto::activity_service_client::ActivityServiceClient;
use goldbook::proto::benefit_service_client::BenefitServiceClient;
use goldbook::proto::customer_service_client::CustomerServiceClient;
use goldbook::proto::fields::write_instant;
use goldbook::proto::ledger_service_client::LedgerServiceClient;
use goldbook::proto::program_service_client::ProgramServiceClient;
use goldbook::proto::referral_service_client::ReferralServiceClient;
use goldbook::proto::reward_service_client::RewardServiceClient;
use goldbook::proto::tier_service_client::TierServiceClient;
use goldbook::server::{self, Settings};
use jiff::Timestamp;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, PgConnection};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::Status;
use tonic::transport::Channel;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use crate::collector::install_tracer;

/// The program that most tests use.
pub const SHOP: &str = "shop";
/// What every test's clock shows at first.
pub const START: &str = "2026-01-15T12:00:00Z";

/// The test process's own Postgres, with a migrated database to copy.
pub struct Cluster {
    socket: PgConnectOptions,
    made: AtomicU32,
}

static CLUSTER: LazyLock<Cluster> = LazyLock::new(Cluster::start);

/// The database that every test's is a copy of.
const TEMPLATE: &str = "template_goldbook";

impl Cluster {
    fn start() -> Self {
        let (sender, receiver) = std::sync::mpsc::channel();
        // A runtime of its own, since the tests' come and go. Postgres ends with the process.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let directory = throwaway_dir().unwrap();
                let options = Options { data_dir: directory.path().join("data"), bin_dir: None, throwaway: true };
                let mut postgres = EmbeddedPostgres::start(options).await.unwrap();
                let owner = postgres.connect_options(OWNER_ROLE, TEMPLATE);
                let superuser = postgres.connect_options(SUPERUSER, "postgres");
                let create = format!("CREATE DATABASE {TEMPLATE} OWNER {OWNER_ROLE}");
                let mut connection = superuser.connect().await.unwrap();
                sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut connection).await.unwrap();
                server::migrate(&owner, SERVICE_ROLE).await.unwrap();
                sender.send(superuser).unwrap();
                postgres.wait().await;
            });
        });
        Self { socket: receiver.recv().unwrap(), made: AtomicU32::new(0) }
    }

    /// Makes a copy of a database that nobody is connected to.
    async fn copy_database(&self, template: &str) -> String {
        let name = format!("test_{}", self.made.fetch_add(1, Ordering::SeqCst));
        let create = format!("CREATE DATABASE {name} TEMPLATE {template} OWNER {OWNER_ROLE}");
        let mut connection = self.socket.connect().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut connection).await.unwrap();
        name
    }
}

/// A database of the test process's Postgres, to connect to in any role.
#[derive(Clone, Debug)]
pub struct Database {
    name: String,
}

impl Database {
    /// A migrated, empty database.
    pub async fn create() -> Self {
        Self { name: CLUSTER.copy_database(TEMPLATE).await }
    }

    /// A copy of this one, to which nobody may be connected.
    pub async fn copy(&self) -> Self {
        Self { name: CLUSTER.copy_database(&self.name).await }
    }

    /// What Postgres knows it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How to connect in a role: `OWNER_ROLE`, `SERVICE_ROLE` or `SUPERUSER`.
    pub fn options(&self, role: &str) -> PgConnectOptions {
        CLUSTER.socket.clone().username(role).database(&self.name)
    }

    /// A connection in a role.
    pub async fn connect(&self, role: &str) -> PgConnection {
        self.options(role).connect().await.unwrap()
    }
}

/// How often a service does what nobody called for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Background {
    pub apply_dues_every: Option<Duration>,
    pub sum_up_every: Option<Duration>,
}

/// A running service.
pub struct Service {
    pub database: Database,
    pub clock: Clock,
    pub channel: Channel,
    stop: Option<oneshot::Sender<()>>,
    running: Option<tokio::task::JoinHandle<()>>,
}

impl Service {
    /// A service on an empty database, with a clock that stands at [`START`].
    pub async fn start() -> Self {
        Self::start_on(Database::create().await, Clock::fixed(START.parse().unwrap())).await
    }

    /// A service on this database: another replica, or the same one after a restart.
    pub async fn start_on(database: Database, clock: Clock) -> Self {
        let options = database.options(SERVICE_ROLE);
        Self::start_with(database, options, clock).await
    }

    /// A service that reaches its database by these options, such as through a proxy.
    pub async fn start_with(database: Database, options: PgConnectOptions, clock: Clock) -> Self {
        // Nothing happens behind a test's back; those about it say so.
        Self::start_in(database, options, clock, Background::default()).await
    }

    /// A service on this database that does things beside the calls.
    pub async fn start_busy(database: Database, clock: Clock, background: Background) -> Self {
        let options = database.options(SERVICE_ROLE);
        Self::start_in(database, options, clock, background).await
    }

    async fn start_in(database: Database, options: PgConnectOptions, clock: Clock, background: Background) -> Self {
        install_tracer();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let settings = Settings {
            database: options,
            lanes: 2,
            apply_dues_every: background.apply_dues_every,
            sum_up_every: background.sum_up_every,
            read_connections: 4,
            clock: clock.clone(),
        };
        let running = tokio::spawn(async move {
            server::run(listener, settings, async {
                let _ = stopped.await;
            })
            .await
            .unwrap();
        });
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self { database, clock, channel, stop: Some(stop), running: Some(running) }
    }

    /// Stops in order, and returns when everything is answered.
    pub async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.running.take().unwrap().await.unwrap();
    }

    /// Ends at once, as if killed: nothing is drained.
    pub async fn kill(mut self) {
        let running = self.running.take().unwrap();
        running.abort();
        let _ = running.await;
    }

    /// Moves the clock.
    pub fn set_clock(&self, now: &str) {
        self.clock.set(now.parse().unwrap());
    }

    pub fn programs(&self) -> ProgramServiceClient<Channel> {
        ProgramServiceClient::new(self.channel.clone())
    }

    pub fn customers(&self) -> CustomerServiceClient<Channel> {
        CustomerServiceClient::new(self.channel.clone())
    }

    pub fn activities(&self) -> ActivityServiceClient<Channel> {
        ActivityServiceClient::new(self.channel.clone())
    }

    pub fn tiers(&self) -> TierServiceClient<Channel> {
        TierServiceClient::new(self.channel.clone())
    }

    pub fn benefits(&self) -> BenefitServiceClient<Channel> {
        BenefitServiceClient::new(self.channel.clone())
    }

    pub fn referrals(&self) -> ReferralServiceClient<Channel> {
        ReferralServiceClient::new(self.channel.clone())
    }

    pub fn rewards(&self) -> RewardServiceClient<Channel> {
        RewardServiceClient::new(self.channel.clone())
    }

    pub fn ledger(&self) -> LedgerServiceClient<Channel> {
        LedgerServiceClient::new(self.channel.clone())
    }

    /// Applies [`shop`].
    pub async fn apply_shop(&self) {
        self.apply(shop()).await.unwrap();
    }

    pub async fn apply(&self, program: proto::Program) -> Result<proto::ApplyProgramResponse, Status> {
        let request = proto::ApplyProgramRequest { program: Some(program), validate_only: false };
        Ok(self.programs().apply_program(request).await?.into_inner())
    }

    /// Enrols a customer of whom nothing is known.
    pub async fn enrol(&self, customer_id: &str) {
        let request = create_customer(customer_id, &format!("enrol-{customer_id}"));
        self.customers().create_customer(request).await.unwrap();
    }

    /// Enrols a customer and makes their code.
    pub async fn share_code(&self, customer_id: &str, campaign_id: &str) -> String {
        self.enrol(customer_id).await;
        let request = proto::CreateReferralCodeRequest {
            program_id: SHOP.to_owned(),
            customer_id: customer_id.to_owned(),
            campaign_id: campaign_id.to_owned(),
        };
        let response = self.referrals().create_referral_code(request).await.unwrap().into_inner();
        response.referral_code.unwrap().code
    }

    /// Attaches and enrols a new customer.
    pub async fn refer(&self, referee: &str, code: &str) -> proto::Referral {
        let response = self.referrals().create_referral(create_referral(referee, code)).await.unwrap();
        response.into_inner().referral.unwrap()
    }

    /// A purchase that happens now, by a customer who is enrolled if unknown.
    pub async fn purchase(
        &self,
        customer_id: &str,
        activity_id: &str,
        amount: &str,
    ) -> Result<proto::RecordActivityResponse, Status> {
        let request = purchase(customer_id, activity_id, amount, self.clock.now());
        Ok(self.activities().record_activity(request).await?.into_inner())
    }

    pub async fn grant(&self, customer_id: &str, points: i64, key: &str) -> Result<proto::GrantRewardResponse, Status> {
        Ok(self.rewards().grant_reward(grant_reward(customer_id, points, key)).await?.into_inner())
    }

    pub async fn balance(&self, customer_id: &str) -> proto::Balance {
        let request =
            proto::GetBalanceRequest { program_id: SHOP.to_owned(), customer_id: customer_id.to_owned(), as_of: None };
        self.rewards().get_balance(request).await.unwrap().into_inner().balance.unwrap()
    }

    pub async fn available(&self, customer_id: &str) -> i64 {
        self.balance(customer_id).await.available
    }

    pub async fn tier(&self, customer_id: &str) -> proto::CustomerTier {
        let request = proto::GetCustomerTierRequest {
            program_id: SHOP.to_owned(),
            customer_id: customer_id.to_owned(),
            as_of: None,
        };
        self.tiers().get_customer_tier(request).await.unwrap().into_inner().customer_tier.unwrap()
    }

    /// Every entry of a customer, the oldest first.
    pub async fn entries(&self, customer_id: &str) -> Vec<proto::Entry> {
        let mut request = proto::ListEntriesRequest {
            program_id: SHOP.to_owned(),
            customer_id: customer_id.to_owned(),
            page_size: 1_000,
            ..Default::default()
        };
        let mut entries = Vec::new();
        loop {
            let page = self.ledger().list_entries(request.clone()).await.unwrap().into_inner();
            entries.extend(page.entries);
            if page.next_page_token.is_empty() {
                return entries;
            }
            request.page_token = page.next_page_token;
        }
    }
}

/// A program with everything in it: 1 point per USD; member, silver from 200, gold from 500; a campaign `friends` that
/// a first purchase of 10 or more converts within 30 days (500 and 250 points), and a manual one, `partners`.
pub fn shop() -> proto::Program {
    let benefit = |id: &str| proto::Benefit {
        benefit_id: id.to_owned(),
        display_name: id.to_owned(),
        description: String::new(),
    };
    let tier = |id: &str, threshold: &str, benefits: &[&str]| proto::Tier {
        tier_id: id.to_owned(),
        display_name: id.to_uppercase(),
        threshold: Some(usd(threshold)),
        benefits: benefits.iter().map(|id| benefit(id)).collect(),
    };
    let campaign = |id: &str, conversion: proto::Conversion| proto::Campaign {
        campaign_id: id.to_owned(),
        display_name: id.to_owned(),
        starts_at: None,
        ends_at: None,
        conversion: conversion.into(),
        minimum_purchase: Some(usd("10.00")),
        convert_within_days: 30,
        referrer_points: 500,
        referee_points: 250,
    };
    proto::Program {
        program_id: SHOP.to_owned(),
        display_name: "Shop".to_owned(),
        currency_code: "USD".to_owned(),
        time_zone: "America/New_York".to_owned(),
        points_per_unit: "1".to_owned(),
        tiers: vec![
            tier("member", "0.00", &["newsletter"]),
            tier("silver", "200.00", &["newsletter", "free-shipping"]),
            tier("gold", "500.00", &["newsletter", "free-shipping", "lounge"]),
        ],
        campaigns: vec![
            campaign("friends", proto::Conversion::FirstPurchase),
            campaign("partners", proto::Conversion::Manual),
        ],
        points: None,
    }
}

/// US dollars from a decimal.
pub fn usd(amount: &str) -> proto::google::Money {
    money("USD", amount)
}

/// Money from a decimal with up to nine places.
pub fn money(currency: &str, amount: &str) -> proto::google::Money {
    let (units, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    let nanos = format!("{fraction:0<9}").parse().unwrap();
    proto::google::Money { currency_code: currency.to_owned(), units: units.parse().unwrap(), nanos }
}

/// An instant on the wire.
pub fn instant(at: Timestamp) -> prost_types::Timestamp {
    write_instant(at)
}

pub fn create_customer(customer_id: &str, key: &str) -> proto::CreateCustomerRequest {
    proto::CreateCustomerRequest {
        program_id: SHOP.to_owned(),
        customer: Some(proto::Customer { customer_id: customer_id.to_owned(), ..Default::default() }),
        idempotency_key: key.to_owned(),
    }
}

pub fn create_referral(referee: &str, code: &str) -> proto::CreateReferralRequest {
    proto::CreateReferralRequest {
        program_id: SHOP.to_owned(),
        referee_customer_id: referee.to_owned(),
        code: code.to_owned(),
        idempotency_key: format!("refer-{referee}"),
        enrol: true,
    }
}

pub fn purchase(
    customer_id: &str,
    activity_id: &str,
    amount: &str,
    happened_at: Timestamp,
) -> proto::RecordActivityRequest {
    let purchase = proto::Purchase { amount: Some(usd(amount)) };
    proto::RecordActivityRequest {
        program_id: SHOP.to_owned(),
        customer_id: customer_id.to_owned(),
        activity_id: activity_id.to_owned(),
        activity: Some(proto::record_activity_request::Activity::Purchase(purchase)),
        happened_at: Some(instant(happened_at)),
        enrol: true,
        as_history: false,
    }
}

pub fn grant_reward(customer_id: &str, points: i64, key: &str) -> proto::GrantRewardRequest {
    proto::GrantRewardRequest {
        program_id: SHOP.to_owned(),
        customer_id: customer_id.to_owned(),
        content: Some(proto::grant_reward_request::Content::Points(points)),
        reason: proto::GrantReason::Goodwill.into(),
        note: String::new(),
        idempotency_key: key.to_owned(),
        vesting: None,
        expiry: None,
    }
}

/// `ErrorInfo.reason` of a refusal.
pub fn reason(status: &Status) -> String {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, "goldbook");
    info.reason
}

/// The fields that a `BadRequest` lists.
pub fn bad_fields(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status:?}");
    let bad_request = status.get_details_bad_request().unwrap_or_else(|| panic!("no BadRequest in {status:?}"));
    bad_request.field_violations.into_iter().map(|violation| violation.field).collect()
}

impl Service {
    /// Stops, and starts again on the same database with the same clock.
    pub async fn restart(self) -> Self {
        let (database, clock) = (self.database.clone(), self.clock.clone());
        self.stop().await;
        Self::start_on(database, clock).await
    }

    /// A customer's tier at an instant.
    pub async fn tier_at(&self, customer_id: &str, as_of: &str) -> Result<proto::CustomerTier, Status> {
        let request = proto::GetCustomerTierRequest {
            program_id: SHOP.to_owned(),
            customer_id: customer_id.to_owned(),
            as_of: Some(at(as_of)),
        };
        Ok(self.tiers().get_customer_tier(request).await?.into_inner().customer_tier.unwrap())
    }

    /// The referral by which a customer was brought.
    pub async fn referral(&self, referee: &str) -> proto::Referral {
        let request =
            proto::GetReferralRequest { program_id: SHOP.to_owned(), referee_customer_id: referee.to_owned() };
        self.referrals().get_referral(request).await.unwrap().into_inner().referral.unwrap()
    }

    pub async fn convert(&self, referee: &str) -> Result<proto::ConvertReferralResponse, Status> {
        let request =
            proto::ConvertReferralRequest { program_id: SHOP.to_owned(), referee_customer_id: referee.to_owned() };
        Ok(self.referrals().convert_referral(request).await?.into_inner())
    }

    /// The kinds of a customer's entries, the oldest first.
    pub async fn kinds(&self, customer_id: &str) -> Vec<proto::EntryKind> {
        self.entries(customer_id).await.iter().map(proto::Entry::kind).collect()
    }

    /// How many rows the whole ledger has.
    pub async fn count_entries(&self) -> i64 {
        let mut connection = self.database.connect(OWNER_ROLE).await;
        sqlx::query_scalar("SELECT count(*) FROM ledger_entries").fetch_one(&mut connection).await.unwrap()
    }
}

/// An instant on the wire, from RFC 3339.
pub fn at(instant_text: &str) -> prost_types::Timestamp {
    instant(instant_text.parse().unwrap())
}

/// Asserts that a call was refused with this status code for this reason.
#[track_caller]
pub fn assert_refused<T: std::fmt::Debug>(outcome: Result<T, Status>, code: tonic::Code, expected: &str) {
    let status = outcome.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (code, expected), "{status:?}");
    // As docs/errors.md promises of all but these.
    let facts = status.get_details_error_info().unwrap().metadata;
    assert_eq!(facts.is_empty(), ["AMOUNT_OVERFLOW", "PAGE_TOKEN_INVALID"].contains(&expected), "{status:?}");
}

/// Asserts that a refusal says this, and has these facts in its metadata.
#[track_caller]
pub fn assert_tells<T: std::fmt::Debug>(outcome: Result<T, Status>, message: &str, facts: &[(&str, &str)]) {
    let status = outcome.unwrap_err();
    assert!(status.message().contains(message), "{status:?}");
    let metadata = status.get_details_error_info().map(|info| info.metadata).unwrap_or_default();
    for (key, fact) in facts {
        assert_eq!(metadata.get(*key).map(String::as_str), Some(*fact), "{key} of {status:?}");
    }
}

/// The fields that a `BadRequest` lists, sorted.
#[track_caller]
pub fn sorted_bad_fields<T: std::fmt::Debug>(outcome: Result<T, Status>) -> Vec<String> {
    let mut fields = bad_fields(&outcome.unwrap_err());
    fields.sort();
    fields
}

/// Reads a list to its end, page by page: each page but the last is full.
pub async fn read_pages<T, F: Future<Output = (Vec<T>, String)>>(
    page_size: usize,
    mut read: impl FnMut(String) -> F,
) -> Vec<T> {
    let mut items = Vec::new();
    let mut token = String::new();
    for _ in 0..1_000 {
        let (page, next) = read(token).await;
        let count = page.len();
        items.extend(page);
        if next.is_empty() {
            assert!(count <= page_size);
            return items;
        }
        assert_eq!(count, page_size);
        token = next;
    }
    panic!("a list without an end");
}

/// Asserts what every list refuses: a negative size, and a token that is garbage or another list's.
pub async fn assert_refuses_bad_pages<T: std::fmt::Debug, F: Future<Output = Result<T, Status>>>(
    foreign_token: &str,
    list: impl Fn(i32, String) -> F,
) {
    assert_eq!(bad_fields(&list(-1, String::new()).await.unwrap_err()), ["page_size"]);
    assert!(!foreign_token.is_empty());
    for token in ["%%%", "AA", "0", foreign_token] {
        assert_refused(list(10, token.to_owned()).await, tonic::Code::OutOfRange, "PAGE_TOKEN_INVALID");
    }
}

impl Service {
    /// A service in another process, by the machine's clock.
    pub async fn at(address: SocketAddr, database: Database) -> Self {
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self { database, clock: Clock::system(), channel, stop: None, running: None }
    }

    /// A service's way to stop in order, for whoever looks at how it does so.
    pub fn take_stop(&mut self) -> (oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
        (self.stop.take().unwrap(), self.running.take().unwrap())
    }

    pub fn health(&self) -> HealthClient<Channel> {
        HealthClient::new(self.channel.clone())
    }
}

/// Asserts that an item's error is what a single call was refused with.
#[track_caller]
pub fn assert_same_error(item: &tonic_types::Status, single: &Status) {
    assert_eq!((item.code, item.message.as_str()), (single.code().into(), single.message()));
    let whole: tonic_types::Status = prost::Message::decode(single.details()).unwrap();
    assert!(!item.details.is_empty());
    let types = |status: &tonic_types::Status| -> Vec<String> {
        status.details.iter().map(|detail| detail.type_url.clone()).collect()
    };
    assert_eq!(types(item), types(&whole));
    for (detail, expected) in item.details.iter().zip(&whole.details) {
        // The metadata of an `ErrorInfo` is a map, whose bytes come in any order.
        if detail.type_url.ends_with("google.rpc.ErrorInfo") {
            let read = |bytes: &[u8]| <tonic_types::pb::ErrorInfo as prost::Message>::decode(bytes).unwrap();
            assert_eq!(read(&detail.value), read(&expected.value));
        } else {
            assert_eq!(detail, expected);
        }
    }
}

/// The clients of a service of which nothing else is known.
#[derive(Clone)]
pub struct Clients {
    channel: Channel,
}

impl Clients {
    pub async fn connect(address: SocketAddr) -> Self {
        Self { channel: Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap() }
    }

    pub fn customers(&self) -> CustomerServiceClient<Channel> {
        CustomerServiceClient::new(self.channel.clone())
    }

    pub fn rewards(&self) -> RewardServiceClient<Channel> {
        RewardServiceClient::new(self.channel.clone())
    }

    pub async fn apply(&self, program: proto::Program) {
        let request = proto::ApplyProgramRequest { program: Some(program), validate_only: false };
        ProgramServiceClient::new(self.channel.clone()).apply_program(request).await.unwrap();
    }
}
