//! Who may do what: keys, tokens, roles, and what a customer sees.

mod actions;
mod customers;
mod existence;
mod http2;
pub(crate) mod issuer;
mod keys;
#[expect(clippy::disallowed_methods, reason = "limits count by this machine's clock")]
mod limits;
mod listening;
mod matrix;
mod outages;
mod principals;
mod providers;
pub(crate) mod tls;
mod tokens;

use goldbook::access::grpc::Identities;
use goldbook::access::key::{KeyTerms, NewKey};
use goldbook::access::principal::ProgramSet;
use goldbook::access::role::Role;
use goldbook::access::{Kept, create_key};
use goldbook::embedded_postgres::SERVICE_ROLE;
use tonic::{Request, Status};

use self::issuer::{ISSUER, KeyFile, SigningKey, claims_of_role, trusted};
use crate::harness::{Database, SHOP, Service, create_customer, reason, shop};

/// A request with a key or a token.
pub(crate) fn by<T>(credential: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {credential}").parse().unwrap());
    request
}

/// A key with this role, in these programs or all.
pub(crate) async fn key_of(database: &Database, name: &str, role: Role, programs: Option<&[&str]>) -> String {
    let programs = programs.map(|programs| programs.iter().map(|it| (*it).try_into().unwrap()).collect());
    let terms = KeyTerms {
        name: name.to_owned(),
        roles: vec![role],
        programs: programs.map_or(ProgramSet::All, ProgramSet::Only),
        expires_at: None,
    };
    let key = NewKey::make(|len| rand::random_range(0..len));
    let mut connection = database.connect(SERVICE_ROLE).await;
    assert_eq!(create_key(&mut connection, &key, &terms).await.unwrap(), Kept::Yes);
    key.reveal().to_owned()
}

/// A service that asks for keys, with the program, and a key with which everything may be done.
async fn start_with_keys() -> (Service, String) {
    let database = Database::create().await;
    let admin = key_of(&database, "admin", Role::Admin, None).await;
    let identities = Identities { api_keys: true, ..Identities::default() };
    let service = Service::start_asking(database, identities).await;
    apply_shop_by(&service, &admin).await;
    (service, admin)
}

/// A service that believes one issuer with these keys, with the program and Anna.
pub(crate) async fn start_with_issuer(keys: &[&SigningKey]) -> (Service, KeyFile) {
    let file = KeyFile::of(keys);
    let identities = Identities { issuers: vec![trusted(ISSUER, file.source())], ..Identities::default() };
    let service = Service::start_asking(Database::create().await, identities).await;
    let admin = keys[0].token(&claims_of_role("admin"));
    apply_shop_by(&service, &admin).await;
    enrol_by(&service, &admin, "anna").await;
    (service, file)
}

pub(crate) async fn apply_shop_by(service: &Service, credential: &str) {
    let apply = goldbook::proto::ApplyProgramRequest { program: Some(shop()), ..Default::default() };
    service.programs().apply_program(by(credential, apply)).await.unwrap();
}

pub(crate) async fn enrol_by(service: &Service, credential: &str, customer_id: &str) {
    let create = create_customer(customer_id, &format!("create-{customer_id}"));
    service.customers().create_customer(by(credential, create)).await.unwrap();
}

/// Asks for a customer's balance.
pub(crate) async fn ask_balance(service: &Service, credential: &str, customer_id: &str) -> Result<i64, Status> {
    let request = goldbook::proto::GetBalanceRequest {
        program_id: SHOP.to_owned(),
        customer_id: customer_id.to_owned(),
        as_of: None,
    };
    let answer = service.rewards().get_balance(by(credential, request)).await?;
    Ok(answer.into_inner().balance.unwrap().available)
}

/// The call was refused since nobody proved who calls.
#[track_caller]
fn assert_unknown<T: std::fmt::Debug>(outcome: Result<T, Status>, message: &str) {
    let refused = outcome.unwrap_err();
    let told = (refused.code(), reason(&refused), refused.message().to_owned());
    assert_eq!(told, (tonic::Code::Unauthenticated, "NOT_AUTHENTICATED".to_owned(), message.to_owned()));
}

/// The call was refused since the caller may not do this.
#[track_caller]
fn assert_denied<T: std::fmt::Debug>(outcome: Result<T, Status>) {
    let refused = outcome.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (tonic::Code::PermissionDenied, "NOT_PERMITTED"));
}
