//! `ExportCustomer`: all that is known of one person, by its schema, and nothing of anybody else.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use goldbook::proto;
use goldbook::proto::adjust_points_request::Change;
use jsonschema::Validator;
use serde_json::{Value, json};
use tonic::{Code, Status, Streaming};

use super::{consent, dossier};
use crate::access::issuer::{KeyFile, SigningKey, claims_of_customer, claims_of_role};
use crate::access::{by, start_with_issuer};
use crate::harness::{SHOP, Service, assert_refused, create_customer, create_referral, grant_reward, purchase, shop};
use crate::harness::{bad_fields, sorted_bad_fields};
use crate::points::calls::{adjust_points, hold_points, redeem_points, refund};

type Stream = Streaming<proto::ExportCustomerResponse>;

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schemas/customer-export-1.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    assert_strict("", &schema);
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
});

/// Every object of a schema says what it may have, and nothing else.
fn assert_strict(path: &str, schema: &Value) {
    if let Some(object) = schema.as_object() {
        if object.contains_key("properties") {
            assert_eq!(object.get("additionalProperties"), Some(&Value::Bool(false)), "{path}");
        }
        object.iter().for_each(|(key, value)| assert_strict(&format!("{path}/{key}"), value));
    }
    schema.as_array().into_iter().flatten().for_each(|value| assert_strict(path, value));
}

/// Asserts that a document follows the schema that it names.
pub(crate) fn assert_follows_schema(document: &Value) {
    assert_eq!(document["schema"], "urn:goldbook:schema:customer-export:1");
    let errors: Vec<String> =
        SCHEMA.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

pub(crate) fn of(program_id: &str, customer_id: &str) -> proto::ExportCustomerRequest {
    proto::ExportCustomerRequest { program_id: program_id.to_owned(), customer_id: customer_id.to_owned() }
}

/// Reads a document to its end, and checks it against the schema.
pub(crate) async fn read_document(mut stream: Stream) -> Result<Value, Status> {
    let first = stream.message().await?.unwrap();
    assert!(first.as_of.is_some() && first.chunk.is_empty());
    let mut bytes = Vec::new();
    while let Some(message) = stream.message().await? {
        assert!(message.as_of.is_none());
        assert!((1..256 * 1024).contains(&message.chunk.len()), "{}", message.chunk.len());
        bytes.extend(message.chunk);
    }
    let document: Value = serde_json::from_slice(&bytes).unwrap();
    assert_follows_schema(&document);
    let as_of: jiff::Timestamp = document["as_of"].as_str().unwrap().parse().unwrap();
    assert_eq!(first.as_of, Some(crate::harness::instant(as_of)));
    Ok(document)
}

async fn export(service: &Service, customer_id: &str) -> Value {
    let stream = service.customers().export_customer(of(SHOP, customer_id)).await.unwrap().into_inner();
    read_document(stream).await.unwrap()
}

fn list<'a>(document: &'a Value, name: &str) -> &'a Vec<Value> {
    document[name].as_array().unwrap_or_else(|| panic!("no list {name}"))
}

/// A shop in which much is known of Anna. Carl brought her, she brought Ben and asked Zoe; all that is theirs is marked
/// `secret`.
struct Shop {
    service: Service,
    key: SigningKey,
    admin: String,
    _file: KeyFile,
}

const OTHERS: [&str; 3] = ["carl-secret", "ben-secret", "zoe-secret"];

impl Shop {
    async fn start() -> Self {
        let key = SigningKey::p256("key");
        let (service, file) = start_with_issuer(&[&key]).await;
        let admin = key.token(&claims_of_role("admin"));
        Self { service, key, admin, _file: file }
    }

    async fn fill(&self) {
        for customer_id in OTHERS {
            let customer = Some(proto::Customer { birth_date: None, ..dossier(customer_id, "secret") });
            let request = proto::CreateCustomerRequest { customer, ..create_customer(customer_id, "create") };
            self.service.customers().create_customer(by(&self.admin, request)).await.unwrap();
        }
        let (email, refused) = (proto::MarketingChannel::Email, "2026-01-03T00:00:00Z");
        let consents = [
            dossier("anna", "own"),
            proto::Customer {
                marketing_consents: vec![consent(email, false, refused, "phone call")],
                ..dossier("anna", "own")
            },
        ];
        for customer in consents {
            let paths = "given_name family_name display_name email phone address locale language birth_date \
                         important_dates interests communication_style attributes marketing_consents";
            let paths = paths.split(' ').map(str::to_owned).collect();
            let request = proto::UpdateCustomerRequest {
                program_id: SHOP.to_owned(),
                customer: Some(customer),
                update_mask: Some(prost_types::FieldMask { paths }),
            };
            self.service.customers().update_customer(by(&self.admin, request)).await.unwrap();
        }
        let code = self.share("carl-secret").await;
        self.refer("anna", &code).await;
        self.purchase("anna", "order-1", "250.00").await;
        let code = self.share("anna").await;
        self.refer("ben-secret", &code).await;
        self.refer("zoe-secret", &code).await;
        self.purchase("ben-secret", "order-secret", "20.00").await;
        self.move_points().await;
    }

    async fn share(&self, customer_id: &str) -> String {
        let request = proto::CreateReferralCodeRequest {
            program_id: SHOP.to_owned(),
            customer_id: customer_id.to_owned(),
            campaign_id: "friends".to_owned(),
        };
        let token = self.key.token(&claims_of_customer(customer_id));
        let answer = self.service.referrals().create_referral_code(by(&token, request)).await.unwrap();
        answer.into_inner().referral_code.unwrap().code
    }

    async fn refer(&self, referee: &str, code: &str) {
        let token = self.key.token(&claims_of_customer(referee));
        self.service.referrals().create_referral(by(&token, create_referral(referee, code))).await.unwrap();
    }

    async fn purchase(&self, customer_id: &str, activity_id: &str, amount: &str) {
        let request = purchase(customer_id, activity_id, amount, self.service.clock.now());
        self.service.activities().record_activity(by(&self.admin, request)).await.unwrap();
    }

    /// A refund, a hold, a spend, and a grant and an adjustment with notes.
    async fn move_points(&self) {
        let (service, admin) = (&self.service, self.admin.as_str());
        service.activities().record_activity(by(admin, refund("order-1", "50.00", service, "refund-1"))).await.unwrap();
        service.rewards().hold_points(by(admin, hold_points(30, None, "hold"))).await.unwrap();
        service.rewards().redeem_points(by(admin, redeem_points("anna", 40, "spend"))).await.unwrap();
        let note = |text: &str| text.to_owned();
        let grant = proto::GrantRewardRequest { note: note("sorry for the wait"), ..grant_reward("anna", 7, "grant") };
        service.rewards().grant_reward(by(admin, grant)).await.unwrap();
        let adjust = adjust_points(Change::PointsUp(9_007_199_254), "adjust");
        let adjust = proto::AdjustPointsRequest { note: note("a difficult person"), ..adjust };
        service.rewards().adjust_points(by(admin, adjust)).await.unwrap();
    }

    async fn export(&self, token: &str, customer_id: &str) -> Value {
        let answer = self.service.customers().export_customer(by(token, of(SHOP, customer_id))).await;
        read_document(answer.unwrap().into_inner()).await.unwrap()
    }

    async fn account_id(&self, customer_id: &str) -> String {
        let request = proto::GetCustomerRequest { program_id: SHOP.to_owned(), customer_id: customer_id.to_owned() };
        self.service.customers().get_customer(by(&self.admin, request)).await.unwrap().into_inner().account_id
    }

    async fn entries(&self, customer_id: &str) -> Vec<proto::Entry> {
        let request = proto::ListEntriesRequest {
            program_id: SHOP.to_owned(),
            customer_id: customer_id.to_owned(),
            page_size: 1_000,
            ..Default::default()
        };
        self.service.ledger().list_entries(by(&self.admin, request)).await.unwrap().into_inner().entries
    }
}

#[tokio::test]
async fn export_customer_gives_all_that_is_known_of_a_customer() {
    let shop = Shop::start().await;
    shop.fill().await;
    let own = shop.key.token(&claims_of_customer("anna"));
    let document = shop.export(&own, "anna").await;
    assert_eq!((&document["program_id"], &document["customer_id"]), (&json!(SHOP), &json!("anna")));
    assert_eq!(document["account_id"], shop.account_id("anna").await);

    let dossier = &document["dossier"];
    assert_eq!((&dossier["given_name"], &dossier["communication_style"]), (&json!("Given-own"), &json!("analytical")));
    assert_eq!(dossier["address"]["address_lines"], json!(["line 1-own", "line 2-own"]));
    assert_eq!(dossier["attributes"], json!({"shoe size": "42-own", "seat": ""}));
    assert_eq!(dossier.as_object().unwrap().len(), 16);
    let consents = list(&document, "marketing_consents");
    let decided: Vec<_> = consents.iter().map(|it| (it["channel"].as_str().unwrap(), it["granted"] == true)).collect();
    assert_eq!(decided, [("email", true), ("push", false), ("email", false)]);

    assert_eq!((&document["tier"]["tier_id"], &document["tier"]["display_name"]), (&json!("silver"), &json!("SILVER")));
    let spend = json!({"currency_code": "USD", "units": 200, "nanos": 0});
    assert_eq!(document["tier"]["qualifying_spend"], spend);
    let changes: Vec<_> = list(&document, "tier_changes").iter().map(|it| &it["to_tier_id"]).collect();
    assert_eq!(changes, ["silver", "member"]);

    let balance = &document["balance"];
    assert_eq!((&balance["held"], &balance["redeemed"], &balance["cancelled"]), (&json!(30), &json!(40), &json!(50)));
    let available: i64 = list(&document, "lots").iter().map(|lot| lot["available"].as_i64().unwrap()).sum();
    assert_eq!(balance["available"], available);
    assert_eq!(list(&document, "holds")[0]["held"], 30);
    let activities = list(&document, "activities");
    let refunded = json!({"purchase_activity_id": "order-1",
        "amount": {"currency_code": "USD", "units": 50, "nanos": 0}});
    assert_eq!((activities.len(), &activities[0]["refund"]), (2, &refunded));
    assert_eq!(activities[1]["activity_id"], "order-1");

    let codes = list(&document, "referral_codes");
    assert_eq!((codes.len(), &codes[0]["campaign_id"]), (1, &json!("friends")));
    assert_eq!(document["referral"]["state"], "converted");
    let referrals = list(&document, "referrals");
    let states: BTreeSet<&str> = referrals.iter().map(|it| it["state"].as_str().unwrap()).collect();
    assert_eq!((referrals.len(), states), (2, BTreeSet::from(["converted", "pending"])));
    assert!(referrals.iter().all(|it| it["code"] == codes[0]["code"]));

    let principals = list(&document, "principals");
    assert_eq!((principals.len(), &principals[0]["kind"]), (1, &json!("token")));
    assert_eq!(principals[0]["subject"], "user-anna");

    let (entries, known) = (list(&document, "entries"), shop.entries("anna").await);
    let ids: Vec<&str> = entries.iter().map(|it| it["entry_id"].as_str().unwrap()).collect();
    assert_eq!(ids, known.iter().map(|entry| entry.entry_id.as_str()).collect::<Vec<_>>());
    let last = entries.last().unwrap();
    assert_eq!((&last["kind"], &last["reason"]), (&json!("customer_exported"), &json!("export")));
    assert_eq!((&last["effective_at"], &last["principal_id"]), (&document["as_of"], &principals[0]["principal_id"]));
    let notes: Vec<&str> = entries.iter().filter_map(|it| it["note"].as_str()).collect();
    assert_eq!(notes, ["sorry for the wait", "a difficult person"]);
    for (entry, known) in entries.iter().zip(&known) {
        let moved = known.r#move.map(|it| it.points);
        assert_eq!((entry["move"]["points"].as_i64(), &entry["account_seq"]), (moved, &json!(known.account_seq)));
        assert_eq!(entry["lots"].as_array().map_or(0, Vec::len), known.lots.len());
    }
}

#[tokio::test]
async fn export_customer_tells_nothing_of_other_people() {
    let shop = Shop::start().await;
    shop.fill().await;
    let document = shop.export(&shop.admin, "anna").await.to_string();
    let mut secrets: Vec<String> = ["secret", "clerk-7", "user-admin"].map(str::to_owned).into();
    for customer_id in OTHERS {
        let account_id = shop.account_id(customer_id).await;
        secrets.push(account_id.replace('-', ""));
        secrets.push(account_id);
    }
    secrets.push(shop.share("carl-secret").await);
    // What a command wrote on several accounts would tie them together.
    for customer_id in ["anna", OTHERS[0]] {
        let entries = shop.entries(customer_id).await;
        secrets.extend(entries.into_iter().flat_map(|entry| [entry.command_id, entry.trace_id]));
    }
    for secret in secrets {
        assert!(!document.contains(&secret), "{secret} is in {document}");
    }
    // Each of the others has their own side, too.
    for customer_id in OTHERS {
        let document = shop.export(&shop.admin, customer_id).await.to_string();
        for secret in ["anna", "-own", &shop.account_id("anna").await, "clerk-7"] {
            assert!(!document.contains(secret), "{secret} is in {document}");
        }
    }
}

/// Whether a document has a field at a place that its schema does not know.
fn with_unknown_field(value: &mut Value, place: &mut usize) -> bool {
    match value {
        Value::Object(fields) => {
            // The business chooses the names of attributes.
            if !fields.contains_key("shoe size") {
                if *place == 0 {
                    fields.insert("unknown".to_owned(), json!("field"));
                    return true;
                }
                *place -= 1;
            }
            fields.values_mut().any(|value| with_unknown_field(value, place))
        }
        Value::Array(items) => items.iter_mut().any(|value| with_unknown_field(value, place)),
        _ => false,
    }
}

#[tokio::test]
async fn the_schema_refuses_a_field_that_it_does_not_know() {
    let shop = Shop::start().await;
    shop.fill().await;
    let document = shop.export(&shop.admin, "anna").await;
    let mut places = 0;
    loop {
        let (mut changed, mut place) = (document.clone(), places);
        if !with_unknown_field(&mut changed, &mut place) {
            break;
        }
        assert!(!SCHEMA.is_valid(&changed), "at place {places}");
        places += 1;
    }
    assert!(places > 80, "{places}");
    for section in document.as_object().unwrap().keys() {
        let mut changed = document.clone();
        changed.as_object_mut().unwrap().remove(section);
        assert!(section == "referral" || !SCHEMA.is_valid(&changed), "without {section}");
    }
}

#[tokio::test]
async fn export_customer_gives_one_of_whom_little_is_known() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    let document = export(&service, "anna").await;
    for name in ["marketing_consents", "lots", "holds", "activities", "referral_codes", "referrals", "principals"] {
        assert_eq!(list(&document, name).len(), 0, "{name}");
    }
    assert_eq!(document.get("referral"), None);
    assert_eq!((list(&document, "tier_changes").len(), list(&document, "entries").len()), (1, 3));
}

#[tokio::test]
async fn export_customer_writes_integers_beyond_2_to_the_53_as_strings() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    service.fill_up("anna", 9_007_199_254_740_993).await;
    let document = export(&service, "anna").await;
    assert_eq!(document["balance"]["issued"], "9007199254740993");
}

#[tokio::test]
async fn export_customer_shows_what_time_has_done_by_its_instant() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    let at = crate::harness::at("2026-02-01T00:00:00Z");
    let expiry = Some(proto::ExpiryRule { rule: Some(proto::expiry_rule::Rule::At(at)) });
    let grant = proto::GrantRewardRequest { expiry, ..grant_reward("anna", 5, "k") };
    service.rewards().grant_reward(grant).await.unwrap();
    let code = service.share_code("ben", "friends").await;
    service.refer("zoe", &code).await;
    service.set_clock("2026-06-01T00:00:00Z");
    let document = export(&service, "anna").await;
    assert_eq!((&document["balance"]["expired"], &document["lots"][0]["expired"]), (&json!(5), &json!(5)));
    let kinds: Vec<&str> = list(&document, "entries").iter().map(|it| it["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds[kinds.len() - 2..], ["points_expired", "customer_exported"]);
    // The end of a referral is on the account of who was brought, and not written yet.
    assert_eq!(export(&service, "ben").await["referrals"][0]["state"], "expired");
}

#[tokio::test]
async fn export_customer_writes_one_entry_for_each_export() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    let before = service.count_entries().await;
    for count in 1..=3 {
        let document = export(&service, "anna").await;
        assert_eq!(service.count_entries().await, before + count);
        let exported = list(&document, "entries").iter().filter(|it| it["kind"] == "customer_exported");
        assert_eq!(i64::try_from(exported.count()).unwrap(), count);
    }
    let kinds = service.kinds("anna").await;
    assert_eq!(kinds.iter().filter(|kind| **kind == proto::EntryKind::CustomerExported).count(), 3);
}

#[tokio::test]
async fn export_customer_refuses_who_is_not_there_and_writes_nothing() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    let before = service.count_entries().await;
    let export = async |program_id, customer_id| {
        service.customers().export_customer(of(program_id, customer_id)).await.map(drop)
    };
    assert_refused(export(SHOP, "ben").await, Code::NotFound, "CUSTOMER_NOT_FOUND");
    assert_refused(export("outlet", "anna").await, Code::NotFound, "PROGRAM_NOT_FOUND");
    assert_eq!(sorted_bad_fields(export("", "").await), ["customer_id", "program_id"]);
    assert_eq!(bad_fields(&export(SHOP, "a\0").await.unwrap_err()), ["customer_id"]);
    assert_eq!(service.count_entries().await, before);
    // What was refused has left its place.
    export(SHOP, "anna").await.unwrap();
}

/// Two programs may have a customer of one id who are two persons.
#[tokio::test]
async fn export_customer_tells_of_no_principal_of_another_program() {
    let shop_of_anna = Shop::start().await;
    let Shop { service, key, admin, .. } = &shop_of_anna;
    let outlet = proto::Program { program_id: "outlet".to_owned(), ..shop() };
    let apply = proto::ApplyProgramRequest { program: Some(outlet), ..Default::default() };
    let mut everywhere = claims_of_role("admin");
    everywhere["program_id"] = json!([SHOP, "outlet"]);
    let everywhere = key.token(&everywhere);
    service.programs().apply_program(by(&everywhere, apply)).await.unwrap();
    let create = proto::CreateCustomerRequest { program_id: "outlet".to_owned(), ..create_customer("anna", "k") };
    service.customers().create_customer(by(&everywhere, create)).await.unwrap();
    let mut other = claims_of_customer("anna");
    (other["sub"], other["program_id"]) = (json!("user-of-outlet"), json!("outlet"));
    let other = key.token(&other);
    let answer = service.customers().export_customer(by(&other, of("outlet", "anna"))).await.unwrap();
    let document = read_document(answer.into_inner()).await.unwrap();
    assert_eq!(list(&document, "principals")[0]["subject"], "user-of-outlet");
    shop_of_anna.share("anna").await;
    let document = shop_of_anna.export(admin, "anna").await;
    let subjects: Vec<&str> = list(&document, "principals").iter().map(|it| it["subject"].as_str().unwrap()).collect();
    assert_eq!(subjects, ["user-anna"]);
}

/// Whoever comes back after they were erased is another principal, by the same token too: nothing ties the two.
#[tokio::test]
async fn export_customer_of_one_who_came_back_tells_of_them_alone() {
    let Shop { service, key, admin, .. } = &Shop::start().await;
    let token = key.token(&claims_of_customer("anna"));
    let own_id = async || {
        let answer = service.customers().export_customer(by(&token, of(SHOP, "anna"))).await.unwrap();
        let document = read_document(answer.into_inner()).await.unwrap();
        let principals = list(&document, "principals").to_vec();
        let ids: Vec<String> = principals.iter().map(|it| it["principal_id"].as_str().unwrap().to_owned()).collect();
        let [id] = ids.as_slice() else { panic!("{principals:?}") };
        id.clone()
    };
    let before = own_id().await;
    assert_eq!(own_id().await, before);
    let erase = proto::EraseCustomerRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        reason: proto::ErasureReason::CustomerRequest.into(),
        balance: proto::BalanceDisposal::Expire.into(),
        idempotency_key: "erase".to_owned(),
    };
    service.customers().erase_customer(by(admin, erase)).await.unwrap();
    let back = proto::CreateCustomerRequest { returns: true, ..create_customer("anna", "back") };
    service.customers().create_customer(by(admin, back)).await.unwrap();
    assert_ne!(own_id().await, before);
}
