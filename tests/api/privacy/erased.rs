//! After an erasure the person is in no dump and in no file of the database; whoever was not erased still is.

use goldbook::embedded_postgres::SUPERUSER;
use goldbook::proto;
use goldbook::proto::BalanceDisposal::Expire;
use goldbook::proto::google::{Date, PostalAddress};
use serde_json::json;

use super::dumps::{dump, dump_without, execute, personal_tables, read_files, statements_after_erasures};
use super::marks::Searcher;
use crate::access::issuer::{KeyFile, SigningKey, claims_of_customer, claims_of_role, from_now};
use crate::access::{by, start_with_issuer};
use crate::audit::assert_clean;
use crate::harness::{Database, SHOP, Service, at, create_referral, grant_reward, purchase, usd};
use crate::wait::until;

/// A person of whom everything is known that can be, in words that nothing else says.
struct Person {
    /// What stands in all of their texts.
    stem: &'static str,
    /// The same in digits.
    digits: &'static str,
    /// The code that they share, once they have one.
    code: String,
}

/// A shop whose callers show tokens.
struct Shop {
    service: Service,
    key: SigningKey,
    admin: String,
    _file: KeyFile,
}

impl Person {
    fn new(stem: &'static str, digits: &'static str) -> Self {
        Self { stem, digits, code: String::new() }
    }

    fn text(&self, what: &str) -> String {
        format!("{}-{what}", self.stem)
    }

    fn customer_id(&self) -> String {
        self.text("id")
    }

    /// For everything by which they could be known. Their code is not: the ledger keeps it, by chance what it is.
    fn searcher(&self) -> Searcher {
        Searcher::new([self.stem, self.digits])
    }

    fn dossier(&self, round: &str) -> proto::Customer {
        let consent = |channel: proto::MarketingChannel| proto::MarketingConsent {
            channel: channel.into(),
            granted: round == "first",
            decided_at: Some(at("2026-01-10T00:00:00Z")),
            source: self.text(&format!("source-{round}")),
        };
        let date = Some(Date { year: 1980, month: 2, day: 29 });
        proto::Customer {
            customer_id: self.customer_id(),
            given_name: self.text(&format!("given-{round}")),
            family_name: self.text("family"),
            display_name: self.text("display"),
            email: format!("{}@example.com", self.text(round)),
            phone: format!("+{}", self.digits),
            address: Some(PostalAddress {
                region_code: "DE".to_owned(),
                locality: self.text("locality"),
                address_lines: vec![self.text("line")],
                recipients: vec![self.text("recipient")],
                ..Default::default()
            }),
            locale: format!("en-{}", self.stem),
            language: format!("en-{}", self.stem),
            birth_date: date,
            important_dates: vec![proto::ImportantDate { label: self.text("label"), date }],
            interests: vec![self.text("interest")],
            // So long that it is kept beside the row.
            attributes: (0..60).map(|i| (self.text(&format!("key-{i}")), self.text(&"value ".repeat(9)))).collect(),
            marketing_consents: vec![consent(proto::MarketingChannel::Email), consent(proto::MarketingChannel::Sms)],
            ..Default::default()
        }
    }
}

impl Shop {
    async fn start() -> Self {
        let key = SigningKey::ed25519("key");
        let (service, file) = start_with_issuer(&[&key]).await;
        let admin = key.token(&claims_of_role("admin"));
        Self { service, key, admin, _file: file }
    }

    fn token(&self, person: &Person) -> String {
        let mut claims = claims_of_customer(&person.customer_id());
        claims["sub"] = json!(person.text("subject"));
        self.key.token(&claims)
    }

    /// What they are and what they wrote, also in notes of others about them.
    async fn live(&self, person: &mut Person, brought: &str) {
        let (service, admin) = (&self.service, self.admin.as_str());
        let create = proto::CreateCustomerRequest {
            program_id: SHOP.to_owned(),
            customer: Some(person.dossier("first")),
            idempotency_key: person.text("create"),
            returns: false,
        };
        service.customers().create_customer(by(admin, create)).await.unwrap();
        let paths = ["given_name", "email", "marketing_consents"].map(str::to_owned).to_vec();
        let update = proto::UpdateCustomerRequest {
            program_id: SHOP.to_owned(),
            customer: Some(person.dossier("second")),
            update_mask: Some(prost_types::FieldMask { paths }),
        };
        service.customers().update_customer(by(admin, update)).await.unwrap();
        self.refer(person, brought).await;
        self.earn(person).await;
        self.spend(person).await;
    }

    /// Both sides of referrals: a friend brings them, and they bring somebody.
    async fn refer(&self, person: &mut Person, brought: &str) {
        let share = async |token: &str, customer_id: &str| {
            let request = proto::CreateReferralCodeRequest {
                program_id: SHOP.to_owned(),
                customer_id: customer_id.to_owned(),
                campaign_id: "friends".to_owned(),
            };
            let made = self.service.referrals().create_referral_code(by(token, request)).await.unwrap().into_inner();
            made.referral_code.unwrap().code
        };
        let code = share(&self.admin, "anna").await;
        let referred = create_referral(&person.customer_id(), &code);
        self.service.referrals().create_referral(by(&self.admin, referred)).await.unwrap();
        // They ask for a code by themselves, so that who called is kept.
        person.code = share(&self.token(person), &person.customer_id()).await;
        let brings = create_referral(brought, &person.code);
        let brings = proto::CreateReferralRequest { idempotency_key: person.text("brings"), ..brings };
        self.service.referrals().create_referral(by(&self.admin, brings)).await.unwrap();
    }

    async fn earn(&self, person: &Person) {
        let (service, admin) = (&self.service, self.admin.as_str());
        let now = service.clock.now();
        let bought = purchase(&person.customer_id(), &person.text("order"), "600.00", now);
        let recorded = service.activities().record_activity(by(admin, bought.clone())).await.unwrap().into_inner();
        assert!(recorded.tier_change.is_some() && recorded.referral_converted);
        let refund = proto::Refund {
            purchase_activity_id: person.text("order"),
            amount: Some(usd("10.00")),
            ..Default::default()
        };
        let refund = proto::RecordActivityRequest {
            activity_id: person.text("refund"),
            activity: Some(proto::record_activity_request::Activity::Refund(refund)),
            ..bought
        };
        service.activities().record_activity(by(admin, refund)).await.unwrap();
        let grant = grant_reward(&person.customer_id(), 70, &person.text("grant"));
        let grant = proto::GrantRewardRequest { note: person.text("note of a grant"), ..grant };
        service.rewards().grant_reward(by(admin, grant)).await.unwrap();
        let adjust = proto::AdjustPointsRequest {
            program_id: SHOP.to_owned(),
            customer_id: person.customer_id(),
            change: Some(proto::adjust_points_request::Change::PointsUp(7)),
            reason: proto::CorrectionReason::CustomerRequest.into(),
            author: person.text("author"),
            note: person.text("note of an adjustment"),
            idempotency_key: person.text("adjust"),
            ..Default::default()
        };
        service.rewards().adjust_points(by(admin, adjust)).await.unwrap();
    }

    /// A redemption, and a hold that is released.
    async fn spend(&self, person: &Person) {
        let (mut rewards, admin) = (self.service.rewards(), self.admin.as_str());
        let redeem = proto::RedeemPointsRequest {
            program_id: SHOP.to_owned(),
            customer_id: person.customer_id(),
            points: 20,
            note: person.text("note of a redemption"),
            idempotency_key: person.text("redeem"),
        };
        rewards.redeem_points(by(admin, redeem)).await.unwrap();
        let hold = proto::HoldPointsRequest {
            program_id: SHOP.to_owned(),
            customer_id: person.customer_id(),
            points: 20,
            end: Some(proto::hold_points_request::End::EndsAfter("PT30M".to_owned())),
            note: person.text("note of a hold"),
            idempotency_key: person.text("hold"),
        };
        let held = rewards.hold_points(by(admin, hold)).await.unwrap().into_inner();
        let release = proto::ReleasePointsRequest {
            program_id: SHOP.to_owned(),
            customer_id: person.customer_id(),
            hold_id: held.hold.unwrap().hold_id,
            idempotency_key: person.text("release"),
        };
        rewards.release_points(by(admin, release)).await.unwrap();
    }

    async fn erase(&self, person: &Person) -> proto::EraseCustomerResponse {
        let request = proto::EraseCustomerRequest {
            program_id: SHOP.to_owned(),
            customer_id: person.customer_id(),
            reason: proto::ErasureReason::CustomerRequest.into(),
            balance: Expire.into(),
            idempotency_key: person.text("erase"),
        };
        self.service.customers().erase_customer(by(&self.admin, request)).await.unwrap().into_inner()
    }
}

/// The file of what dossiers keep beside their rows.
async fn toast_file(database: &Database) -> String {
    let mut connection = database.connect(SUPERUSER).await;
    let select = "SELECT pg_relation_filepath(reltoastrelid) FROM pg_class WHERE relname = 'customers'";
    sqlx::query_scalar(select).fetch_one(&mut connection).await.unwrap()
}

/// Two persons of whom everything is known, in a shop.
async fn start() -> (Shop, Person, Person) {
    let shop = Shop::start().await;
    // What is kept beside the row is not compressed, and so can be found.
    execute(&shop.service.database, "ALTER TABLE customers ALTER dossier SET STORAGE EXTERNAL").await;
    let (mut anna, mut ben) = (Person::new("qzannaqz", "887766554411"), Person::new("qzbennqz", "776655443322"));
    shop.live(&mut anna, "cleo").await;
    shop.live(&mut ben, "dan").await;
    (shop, anna, ben)
}

#[tokio::test]
async fn a_dump_after_an_erasure_holds_nothing_of_the_person_and_all_of_others() {
    let (shop, anna, ben) = start().await;
    let database = &shop.service.database;
    let lines = |dump: &[u8], text: &str| {
        let dump = String::from_utf8_lossy(dump).into_owned();
        let mut lines: Vec<String> = dump.lines().filter(|line| line.contains(text)).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let before = dump(database, &[]).await;
    // In each of six tables, and in some more than once.
    assert!(lines(&before, anna.stem).len() > 12, "{:?}", lines(&before, anna.stem));
    assert_eq!(lines(&before, anna.stem).len(), lines(&before, ben.stem).len());
    assert!(!shop.erase(&anna).await.replayed);
    let after = dump(database, &[]).await;
    let found = anna.searcher().search(&after);
    assert!(found.is_empty(), "{found:#?}");
    assert_eq!(lines(&after, ben.stem), lines(&before, ben.stem));
    assert_eq!(lines(&after, &ben.code), lines(&before, &ben.code));
    assert_clean(database).await;
}

/// A token outlives its customer, who may go on calling with it: also with one that the service has not seen yet. Whoever
/// erases once more gets rid of what that leaves.
#[tokio::test]
async fn what_a_token_leaves_that_outlives_its_customer_goes_when_they_are_erased_again() {
    let (shop, anna, ben) = start().await;
    let database = &shop.service.database;
    shop.erase(&anna).await;
    let mut claims = claims_of_customer(&anna.customer_id());
    claims["sub"] = json!(anna.text("subject"));
    claims["exp"] = json!(from_now(900));
    for token in [shop.token(&anna), shop.key.token(&claims)] {
        let read = proto::GetCustomerRequest { program_id: SHOP.to_owned(), customer_id: anna.customer_id() };
        shop.service.customers().get_customer(by(&token, read)).await.unwrap_err();
        let share = proto::CreateReferralCodeRequest {
            program_id: SHOP.to_owned(),
            customer_id: anna.customer_id(),
            campaign_id: "friends".to_owned(),
        };
        shop.service.referrals().create_referral_code(by(&token, share)).await.unwrap_err();
    }
    // Of all tables that of principals alone.
    let found = anna.searcher().search(&dump_without(database, &["principals".to_owned()]).await);
    assert!(found.is_empty(), "{found:#?}");
    assert!(shop.erase(&anna).await.replayed);
    let after = dump(database, &[]).await;
    let found = anna.searcher().search(&after);
    assert!(found.is_empty(), "{found:#?}");
    assert!(String::from_utf8_lossy(&after).contains(&ben.text("subject")));
}

#[tokio::test]
async fn files_hold_nothing_of_an_erased_person_after_what_docs_privacy_says() {
    let (shop, anna, ben) = start().await;
    let database = &shop.service.database;
    let files_with = async |person: &Person| {
        let searcher = person.searcher();
        let files = read_files(database).await.into_iter();
        let found = files.flat_map(|(path, content)| {
            searcher.search(&content).into_iter().map(move |around| format!("{}: {around:?}", path.display()))
        });
        found.collect::<Vec<String>>()
    };
    let statements = statements_after_erasures();
    for statement in statements.iter().filter(|statement| statement.contains("customers")) {
        assert!(personal_tables().iter().all(|table| statement.contains(table.as_str())), "{statement}");
    }
    execute(database, "ANALYZE").await;
    let before = files_with(&anna).await;
    let beside = toast_file(database).await;
    assert!(before.len() > 20 && before.iter().any(|found| found.contains(&beside)), "{beside} in {before:#?}");
    // Ben is the last one of whom most of it is known: then tables are empty.
    for (person, other) in [(&anna, Some(&ben)), (&ben, None)] {
        shop.erase(person).await;
        // More than once, if somebody's transaction could still see what was before, such as that of a worker.
        until("files without the person", async || {
            for statement in &statements {
                execute(database, statement).await;
            }
            files_with(person).await.is_empty().then_some(())
        })
        .await;
        if let Some(other) = other {
            assert!(files_with(other).await.len() > 20);
        }
    }
}
