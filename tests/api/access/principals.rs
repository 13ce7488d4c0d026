//! What ids of principals stand for: one person as one customer.

use goldbook::embedded_postgres::SERVICE_ROLE;
use goldbook::proto;
use serde_json::{Value, json};

use super::issuer::{KeyFile, SigningKey, claims_of_customer, claims_of_role};
use super::{by, start_with_issuer};
use crate::binary::{run, url};
use crate::customers::export::{of, read_document};
use crate::harness::{SHOP, Service, create_customer, shop};

const OUTLET: &str = "outlet";

/// Two programs, with anna and ben in both.
struct TwoPrograms {
    service: Service,
    key: SigningKey,
    admin: String,
    _file: KeyFile,
}

impl TwoPrograms {
    async fn start() -> Self {
        let key = SigningKey::p256("key");
        let (service, file) = start_with_issuer(&[&key]).await;
        let mut admin = claims_of_role("admin");
        admin["program_id"] = json!([SHOP, OUTLET]);
        let admin = key.token(&admin);
        let outlet = proto::Program { program_id: OUTLET.to_owned(), ..shop() };
        let apply = proto::ApplyProgramRequest { program: Some(outlet), ..Default::default() };
        service.programs().apply_program(by(&admin, apply)).await.unwrap();
        for (program_id, customer_id) in [(SHOP, "ben"), (OUTLET, "anna"), (OUTLET, "ben")] {
            let create = proto::CreateCustomerRequest {
                program_id: program_id.to_owned(),
                ..create_customer(customer_id, &format!("{program_id} {customer_id}"))
            };
            service.customers().create_customer(by(&admin, create)).await.unwrap();
        }
        Self { service, key, admin, _file: file }
    }

    /// What a login exports, as this customer, of themselves. That writes an entry of theirs.
    async fn export_own(&self, login: &str, program_id: &str, customer_id: &str) -> Vec<Value> {
        let mut claims = claims_of_customer(customer_id);
        (claims["sub"], claims["program_id"]) = (json!(login), json!(program_id));
        self.principals_by(&self.key.token(&claims), program_id, customer_id).await
    }

    async fn principals(&self, program_id: &str, customer_id: &str) -> Vec<Value> {
        self.principals_by(&self.admin, program_id, customer_id).await
    }

    async fn principals_by(&self, token: &str, program_id: &str, customer_id: &str) -> Vec<Value> {
        let answer = self.service.customers().export_customer(by(token, of(program_id, customer_id))).await;
        let document = read_document(answer.unwrap().into_inner()).await.unwrap();
        document["principals"].as_array().unwrap().clone()
    }

    async fn erase(&self, program_id: &str, customer_id: &str) {
        let erase = proto::EraseCustomerRequest {
            program_id: program_id.to_owned(),
            customer_id: customer_id.to_owned(),
            reason: proto::ErasureReason::CustomerRequest.into(),
            balance: proto::BalanceDisposal::Expire.into(),
            idempotency_key: "erase".to_owned(),
        };
        self.service.customers().erase_customer(by(&self.admin, erase)).await.unwrap();
    }

    /// The customers whom a login is known as.
    async fn known_as(&self, login: &str) -> Vec<String> {
        let mut connection = self.service.database.connect(SERVICE_ROLE).await;
        let select = "SELECT customer_id FROM principals WHERE subject = $1 ORDER BY customer_id";
        sqlx::query_scalar(select).bind(login).fetch_all(&mut connection).await.unwrap()
    }
}

/// A login that is given to another customer, or that is used for several.
#[tokio::test]
async fn a_login_of_two_customers_is_two_principals() {
    let programs = TwoPrograms::start().await;
    let as_anna = programs.export_own("login", SHOP, "anna").await;
    let as_ben = programs.export_own("login", SHOP, "ben").await;
    assert_eq!((as_anna.len(), as_ben.len()), (1, 1));
    assert_ne!(as_anna[0]["principal_id"], as_ben[0]["principal_id"]);
    assert_eq!(programs.principals(SHOP, "anna").await, as_anna);
    assert_eq!(programs.known_as("login").await, ["anna", "ben"]);
    programs.erase(SHOP, "anna").await;
    assert_eq!(programs.known_as("login").await, ["ben"]);
    assert_eq!(programs.export_own("login", SHOP, "ben").await, as_ben);
}

/// A name of a customer may be somebody else's in another program.
#[tokio::test]
async fn a_login_with_another_name_in_each_program_is_nobody_else_who_has_the_name() {
    let programs = TwoPrograms::start().await;
    programs.export_own("login", SHOP, "anna").await;
    let own = programs.export_own("login", OUTLET, "ben").await;
    assert_eq!((own.len(), &own[0]["subject"]), (1, &json!("login")));
    assert_eq!(programs.principals(SHOP, "ben").await, [Value::Null; 0]);
    programs.erase(SHOP, "ben").await;
    assert_eq!(programs.known_as("login").await, ["anna", "ben"]);
    // The same customer in another program is the same principal.
    assert_eq!(programs.export_own("login", SHOP, "anna").await, programs.export_own("login", OUTLET, "anna").await);
    assert_eq!(programs.known_as("login").await, ["anna", "ben"]);
}

/// Somebody who is no customer is forgotten by command, and what they wrote keeps their id.
#[tokio::test]
async fn who_a_principal_was_is_erased_by_command() {
    let programs = TwoPrograms::start().await;
    let database = &programs.service.database;
    let url = url(&database.options(SERVICE_ROLE));
    let entries = async || {
        let list = proto::ListEntriesRequest {
            program_id: SHOP.to_owned(),
            customer_id: "ben".to_owned(),
            ..Default::default()
        };
        programs.service.ledger().list_entries(by(&programs.admin, list)).await.unwrap().into_inner().entries
    };
    let written = entries().await;
    let id = &written.first().unwrap().principal_id;
    let erase = async |id: &str| run(&["principal", "erase", id, "--database-url", &url]).await;
    let erased = erase(id).await;
    assert!(erased.status.success(), "{}", erased.stderr);
    let select = "SELECT count(*) FROM principals WHERE principal_id = $1::uuid OR subject = 'user-admin'";
    let mut connection = database.connect(SERVICE_ROLE).await;
    let left: i64 = sqlx::query_scalar(select).bind(id).fetch_one(&mut connection).await.unwrap();
    assert_eq!((left, entries().await), (0, written.clone()));
    let again = erase(id).await;
    assert_eq!(again.status.code(), Some(1));
    assert!(again.stderr.contains("unknown, or erased"), "{}", again.stderr);
    assert_eq!(erase("anna").await.status.code(), Some(2));
}
