//! Answers for an instant, asked at the very moment of a slow commit: they wait for it, and are never another.

use futures_util::future::join_all;
use goldbook::database::check_sessions;
use goldbook::embedded_postgres::{OWNER_ROLE, SERVICE_ROLE, SUPERUSER};
use goldbook::proto;
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, ConnectOptions as _};
use tokio::task::JoinHandle;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::harness::{Background, Clock, Database, SHOP, START, Service, instant, purchase};
use crate::proxy::Proxy;
use crate::wait::{stays, until, within};

/// What can be asked for an instant.
const QUESTIONS: [Question; 6] =
    [Question::Balance, Question::Tier, Question::Benefits, Question::Statement, Question::Entries, Question::Export];

#[derive(Clone, Copy, Debug)]
enum Question {
    Balance,
    Tier,
    Benefits,
    Statement,
    Entries,
    Export,
}

impl Question {
    /// The answer for an instant, but for what tells when it was asked.
    async fn ask(self, clients: &crate::harness::Clients, at: Timestamp) -> Result<String, Status> {
        let (program_id, customer_id, at) = (SHOP.to_owned(), "anna".to_owned(), Some(instant(at)));
        Ok(match self {
            Self::Balance => {
                let request = proto::GetBalanceRequest { program_id, customer_id, as_of: at };
                format!("{:?}", clients.rewards().get_balance(request).await?.into_inner())
            }
            Self::Tier => {
                let request = proto::GetCustomerTierRequest { program_id, customer_id, as_of: at };
                format!("{:?}", clients.tiers().get_customer_tier(request).await?.into_inner())
            }
            Self::Benefits => {
                let request =
                    proto::ListCustomerBenefitsRequest { program_id, customer_id, as_of: at, ..Default::default() };
                format!("{:?}", clients.benefits().list_customer_benefits(request).await?.into_inner())
            }
            Self::Statement => {
                let request =
                    proto::GetStatementRequest { program_id, customer_id, end_time: at, ..Default::default() };
                format!("{:?}", clients.ledger().get_statement(request).await?.into_inner())
            }
            Self::Entries => {
                let request =
                    proto::ListEntriesRequest { program_id, customer_id, effective_until: at, ..Default::default() };
                format!("{:?}", clients.ledger().list_entries(request).await?.into_inner())
            }
            Self::Export => {
                let request = proto::ExportEntriesRequest { program_id, end_time: at, ..Default::default() };
                let mut stream = clients.ledger().export_entries(request).await?.into_inner();
                let mut entries = Vec::new();
                while let Some(message) = stream.message().await? {
                    entries.extend(message.entries);
                }
                format!("{entries:?}")
            }
        })
    }

    /// The answer, asked again as long as it is not there within the service's own bound.
    async fn ask_until_answered(self, clients: crate::harness::Clients, at: Timestamp) -> String {
        loop {
            match self.ask(&clients, at).await {
                Err(status) if status.code() == Code::Unavailable => {}
                answer => return answer.unwrap(),
            }
        }
    }
}

/// A service whose commits wait when they are told to, and another one on the same database that is asked.
struct Pair {
    writer: Service,
    asked: Service,
    proxy: Proxy,
}

impl Pair {
    async fn start(clock: Clock, background: Background) -> Self {
        let database = Database::create().await;
        let proxy = Proxy::before(&database);
        let writer = Service::start_with(database.clone(), proxy.options(), clock.clone()).await;
        writer.apply_shop().await;
        writer.purchase("anna", "order-1", "20.00").await.unwrap();
        let asked = Service::start_busy(database, clock, background).await;
        Self { writer, asked, proxy }
    }

    /// Begins a purchase that lifts anna to another tier, up to its commit.
    async fn begin_purchase(&self) -> JoinHandle<Result<(), Status>> {
        self.proxy.hold_commits();
        let mut activities = self.writer.activities();
        let request = purchase("anna", "order-2", "600.00", self.writer.clock.now());
        let call = tokio::spawn(async move { activities.record_activity(request).await.map(drop) });
        self.proxy.holds(1).await;
        call
    }
}

fn fixed() -> Clock {
    Clock::fixed(START.parse().unwrap())
}

/// What the clock of a service says now.
async fn present(service: &Service) -> Timestamp {
    let mut connection = service.database.connect(SUPERUSER).await;
    let told: jiff_sqlx::Timestamp =
        sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&mut connection).await.unwrap();
    service.clock.present(told.to_jiff())
}

#[tokio::test]
async fn every_answer_for_an_instant_waits_for_a_slow_commit_and_is_the_same_ever_after() {
    for clock in [fixed(), Clock::database()] {
        let pair = Pair::start(clock, Background::default()).await;
        let earlier = present(&pair.asked).await;
        let mut before = Vec::new();
        for question in QUESTIONS {
            before.push(question.ask_until_answered(Clone::clone(&pair.asked), earlier).await);
        }
        let call = pair.begin_purchase().await;
        // For a clock that stands it is a later instant, too: periods end before their end.
        pair.asked.set_clock("2026-01-15T12:00:01Z");
        let at = present(&pair.asked).await;
        let asking: Vec<_> = QUESTIONS
            .iter()
            .map(|question| tokio::spawn(question.ask_until_answered(Clone::clone(&pair.asked), at)))
            .collect();
        stays("no answer while a commit is under way", async || !asking.iter().any(JoinHandle::is_finished)).await;
        pair.proxy.release_commits();
        within("the purchase", call).await.unwrap().unwrap();
        let answers = within("the answers", join_all(asking)).await;
        for ((question, before), answer) in QUESTIONS.iter().zip(before).zip(answers) {
            let answer = answer.unwrap();
            let again = question.ask(&pair.asked, at).await.unwrap();
            assert_eq!(answer, again, "{question:?}");
            assert_ne!(answer, before, "{question:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_for_a_time_before_a_slow_commit_and_one_for_now_do_not_wait() {
    let pair = Pair::start(Clock::database(), Background::default()).await;
    let before = present(&pair.asked).await;
    let call = pair.begin_purchase().await;
    for question in QUESTIONS {
        within("an answer for the past", question.ask(&pair.asked, before)).await.unwrap();
    }
    assert_eq!(pair.asked.available("anna").await, 20);
    assert_eq!(pair.asked.tier("anna").await.qualifying_spend.unwrap().units, 20);
    assert!(!call.is_finished());
    pair.proxy.release_commits();
    within("the purchase", call).await.unwrap().unwrap();
    assert_eq!(pair.asked.available("anna").await, 620);
}

#[tokio::test]
async fn an_answer_whose_instant_does_not_close_is_unavailable_with_retry_info() {
    let pair = Pair::start(fixed(), Background::default()).await;
    let call = pair.begin_purchase().await;
    let status = within("an answer", Question::Balance.ask(&pair.asked, pair.asked.clock.now())).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.message().contains("still under way"), "{status:?}");
    assert!(status.get_details_retry_info().is_some_and(|info| info.retry_delay.is_some()), "{status:?}");
    pair.proxy.release_commits();
    within("the purchase", call).await.unwrap().unwrap();
    Question::Balance.ask(&pair.asked, pair.asked.clock.now()).await.unwrap();
}

#[tokio::test]
async fn a_summary_of_liability_waits_for_a_slow_commit() {
    let often = Background { sum_up_every: Some(std::time::Duration::from_millis(20)), ..Background::default() };
    let pair = Pair::start(fixed(), often).await;
    let liability = async || {
        let client = proto::liability_service_client::LiabilityServiceClient::new(pair.asked.channel.clone());
        let request = proto::GetLiabilityRequest { program_id: SHOP.to_owned(), as_of: None, revenue: None };
        let found = { client }.get_liability(request).await.ok()?.into_inner().liability?;
        (found.as_of == Some(instant(pair.asked.clock.now()))).then_some(found.available)
    };
    until("a summary", liability).await;
    let call = pair.begin_purchase().await;
    // Time goes on for the summary: the purchase is of the instant before.
    pair.asked.set_clock("2026-01-15T13:00:00Z");
    let mut connection = pair.asked.database.connect(SUPERUSER).await;
    // Whoever makes one has the lease while it waits.
    until("the next summary", async || {
        let begun = "SELECT ends_at > clock_timestamp() FROM liability_lease";
        sqlx::query_scalar::<_, bool>(begun).fetch_one(&mut connection).await.unwrap().then_some(())
    })
    .await;
    stays("no summary while a commit is under way", async || {
        let made = "SELECT count(*) FROM liability_summaries WHERE taken_at > '2026-01-15T12:00:00Z'";
        sqlx::query_scalar::<_, i64>(made).fetch_one(&mut connection).await.unwrap() == 0
    })
    .await;
    pair.proxy.release_commits();
    within("the purchase", call).await.unwrap().unwrap();
    assert_eq!(until("a summary", liability).await, 620);
}

#[tokio::test]
async fn sessions_that_hide_whether_they_write_are_told_and_stop_answers_for_an_instant() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    let options = service.database.options(SERVICE_ROLE);
    check_sessions(&options).await.unwrap();
    Question::Balance.ask(&service, service.clock.now()).await.unwrap();

    // A service in another role writes to the same database.
    let other = service.database.options(OWNER_ROLE).application_name("goldbook batch");
    let other = other.connect().await.unwrap();
    let refused = check_sessions(&options).await.unwrap_err().to_string();
    assert!(refused.contains("another role"), "{refused}");
    let status = Question::Balance.ask(&service, service.clock.now()).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal, "{status:?}");
    service.balance("anna").await;
    drop(other);

    let off = format!("ALTER DATABASE {} SET track_activities = off", service.database.name());
    let mut superuser = service.database.connect(SUPERUSER).await;
    sqlx::raw_sql(AssertSqlSafe(off)).execute(&mut superuser).await.unwrap();
    let refused = until("the new setting", async || check_sessions(&options).await.err()).await.to_string();
    assert!(refused.contains("track_activities"), "{refused}");
}
