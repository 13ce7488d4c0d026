//! What a customer learns of others from answers: nothing. Whatever they name, they are answered the same whether it exists or
//! not, by every method. The requests are made of the descriptors, and are whole: without the rules of access, each of them
//! would tell.

use goldbook::proto;
use goldbook::telemetry::TraceId;
use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MethodDescriptor, ReflectMessage as _, Value};
use tonic::Code;

use super::customers::{Shop, seen};
use super::{by, enrol_by};
use crate::collector::{Span, find_server_span, traced};
use crate::customers::erasure::erasure;
use crate::harness::{SHOP, at, call_method, create_referral, grant_reward, methods, purchase};

/// What a request names. What exists has the length of what is missing, so that nothing but the names differs where one is
/// repeated.
#[derive(Clone, Debug)]
struct Names {
    customer: String,
    code: String,
    activity: String,
    /// An entry, which is also a reward and a lot.
    entry: String,
    hold: String,
    complaint: String,
}

impl Names {
    /// Names of the same form that nobody has.
    fn missing_like(&self) -> Self {
        let same_length = |text: &str, other: &str| other.repeat(text.len()).get(..text.len()).unwrap().to_owned();
        let other_account = |id: &str| {
            let (account, seq) = id.split_once('.').unwrap();
            format!("{}000000000000.{seq}", &account[..account.len() - 12])
        };
        Self {
            customer: same_length(&self.customer, "zoe"),
            code: self.code.chars().rev().collect(),
            activity: same_length(&self.activity, "unknown"),
            entry: other_account(&self.entry),
            hold: other_account(&self.hold),
            complaint: other_account(&self.complaint),
        }
    }

    /// The same with their customer, who is the caller.
    fn missing_but_customer(&self) -> Self {
        Self { customer: self.customer.clone(), ..self.missing_like() }
    }

    /// Each name with the other's for the same.
    fn pairs<'a>(&'a self, other: &'a Self) -> [(&'a str, &'a str); 6] {
        [
            (&self.customer, &other.customer),
            (&self.code, &other.code),
            (&self.activity, &other.activity),
            (&self.entry, &other.entry),
            (&self.hold, &other.hold),
            (&self.complaint, &other.complaint),
        ]
    }

    /// A text of a request, by its field. A field that names something must be known here.
    fn text(&self, field: &str) -> Option<&str> {
        Some(match field {
            "program_id" => SHOP,
            "customer_id" | "referee_customer_id" | "referrer_customer_id" => &self.customer,
            "code" => &self.code,
            "activity_id" | "purchase_activity_id" => &self.activity,
            "entry_id" | "reward_id" | "lot_id" | "use_id" | "entitlement_id" => &self.entry,
            // It is nobody's.
            "reevaluation_id" => "00000000000000000000000000000001.1",
            "benefit_id" => "newsletter",
            "tier_id" => "silver",
            // No program has it, and it is asked for without a customer alone.
            "segment_id" => "everybody",
            "hold_id" => &self.hold,
            "complaint_id" => &self.complaint,
            // Nobody has one.
            "category_id" => "",
            "text" => "Well.",
            "campaign_id" => "partners",
            "currency_code" => "USD",
            "ends_after" => "PT30M",
            "author" => "colleague",
            "idempotency_key" | "item_id" => "once",
            other => {
                assert!(!other.ends_with("_id"), "{other} names something, and nobody knows what");
                return None;
            }
        })
    }

    /// A request of a method that is carried out if all that it names exists, as far as requests of its kind can be.
    fn request(&self, method: &MethodDescriptor) -> DynamicMessage {
        let mut message = DynamicMessage::new(method.input());
        self.fill(&mut message);
        message
    }

    fn fill(&self, message: &mut DynamicMessage) {
        for field in message.descriptor().fields() {
            if let Some(value) = self.value(&field) {
                message.set_field(&field, value);
            }
        }
    }

    fn value(&self, field: &FieldDescriptor) -> Option<Value> {
        match (field.name(), field.kind()) {
            ("update_mask", _) => {
                let mask = prost_types::FieldMask { paths: vec!["display_name".to_owned()] };
                Some(read(field, &mask))
            }
            ("happened_at", _) => Some(read(field, &at("2026-01-15T11:00:00Z"))),
            ("points" | "units" | "points_up", Kind::Int64) => Some(Value::I64(1)),
            // Callers may say each of these.
            ("reason" | "balance" | "clawback" | "kind" | "outcome", Kind::Enum(kind)) => {
                let correction = kind.values().find(|value| value.name().ends_with("REASON_CORRECTION"));
                correction.or_else(|| kind.values().last()).map(|value| Value::EnumNumber(value.number()))
            }
            ("customer" | "activity" | "grant" | "purchase" | "amount" | "lot" | "remedy", Kind::Message(inner)) => {
                let mut message = DynamicMessage::new(inner);
                self.fill(&mut message);
                Some(Value::Message(message))
            }
            ("customer_ids", Kind::String) => Some(Value::List(vec![Value::String(self.customer.clone())])),
            (name, Kind::String) if !field.is_list() => self.text(name).map(|text| Value::String(text.to_owned())),
            _ => None,
        }
    }
}

/// A message as a value of a field.
fn read(field: &FieldDescriptor, message: &impl prost::Message) -> Value {
    let Kind::Message(kind) = field.kind() else { panic!("{} is no message", field.full_name()) };
    Value::Message(DynamicMessage::decode(kind, &*message.encode_to_vec()).unwrap())
}

/// A shop in which Ben has something of everything, and Eve was erased.
struct Others {
    shop: Shop,
    ben: Names,
    eve: Names,
    /// The code of a campaign that has ended.
    ended_code: String,
}

impl Others {
    async fn start() -> Self {
        let shop = Shop::start().await;
        for customer_id in ["ben", "cora", "eve", "nora"] {
            enrol_by(&shop.service, &shop.admin, customer_id).await;
        }
        let (ended_code, erased_code) = (shop.share("cora", "friends").await, shop.share("eve", "partners").await);
        let refer = by(&shop.admin, create_referral("ben", &ended_code));
        shop.service.referrals().create_referral(refer).await.unwrap();
        for customer_id in ["ben", "anna"] {
            let happened_at = "2026-01-15T11:00:00Z".parse().unwrap();
            let bought = purchase(customer_id, &format!("order-of-{customer_id}"), "20.00", happened_at);
            shop.service.activities().record_activity(by(&shop.admin, bought)).await.unwrap();
        }
        let grant = by(&shop.admin, grant_reward("ben", 100, "grant"));
        let granted = shop.service.rewards().grant_reward(grant).await.unwrap().into_inner();
        let hold = proto::HoldPointsRequest {
            program_id: SHOP.to_owned(),
            customer_id: "ben".to_owned(),
            points: 10,
            end: Some(proto::hold_points_request::End::EndsAfter("PT30M".to_owned())),
            idempotency_key: "hold".to_owned(),
            ..Default::default()
        };
        let held = shop.service.rewards().hold_points(by(&shop.admin, hold)).await.unwrap().into_inner();
        let opening = by(&shop.admin, crate::complaints::opening("ben", "complaint"));
        let opened = shop.service.complaints().open_complaint(opening).await.unwrap().into_inner();
        let ben = Names {
            customer: "ben".to_owned(),
            code: shop.share("ben", "partners").await,
            activity: "order-of-ben".to_owned(),
            entry: granted.reward.unwrap().reward_id,
            hold: held.hold.unwrap().hold_id,
            complaint: opened.complaint.unwrap().complaint_id,
        };
        let erase = erasure("eve", proto::BalanceDisposal::Expire, "erase");
        shop.service.customers().erase_customer(by(&shop.admin, erase)).await.unwrap();
        let eve = Names { customer: "eve".to_owned(), code: erased_code, ..ben.clone() };
        let mut ended = crate::harness::shop();
        ended.campaigns[0].ends_at = Some(at("2026-01-15T11:00:00Z"));
        let apply = proto::ApplyProgramRequest { program: Some(ended), ..Default::default() };
        shop.service.programs().apply_program(by(&shop.admin, apply)).await.unwrap();
        Self { shop, ben, eve, ended_code }
    }

    /// Sends a request, in a trace of its own, and tells what comes back.
    async fn send(&self, token: &str, method: &MethodDescriptor, message: &DynamicMessage) -> (TraceId, Told) {
        let (trace, mut request) = traced(message.encode_to_vec());
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let told = match call_method(&self.shop.service.channel, method, request).await {
            Ok(answer) => (Code::Ok, String::new(), answer, Vec::new()),
            Err(status) => seen(&status),
        };
        (trace, told)
    }
}

/// All that a caller sees of an answer: code, message, details or the answer itself, and the headers.
type Told = (Code, String, Vec<u8>, Vec<String>);

/// What was told of some names, as if it had been told of others.
fn retell((code, message, bytes, headers): Told, names: &Names, others: &Names) -> Told {
    let (mut message, mut bytes, mut headers) = (message, bytes, headers);
    for (name, other) in names.pairs(others) {
        assert_eq!(name.len(), other.len());
        message = message.replace(name, other);
        headers.iter_mut().for_each(|header| *header = header.replace(name, other));
        for start in 0..(bytes.len() + 1).saturating_sub(name.len()) {
            if bytes[start..].starts_with(name.as_bytes()) {
                bytes[start..start + name.len()].copy_from_slice(other.as_bytes());
            }
        }
    }
    (code, message, bytes, headers)
}

/// What the span of a call says of it, but for when it was.
fn tell_span(span: &Span) -> String {
    let mut attributes: Vec<String> = span.attributes.iter().map(|attribute| format!("{attribute:?}")).collect();
    attributes.sort();
    let events: Vec<&String> = span.events.iter().map(|event| &event.name).collect();
    format!("{} {:?} {attributes:?} {events:?} {}", span.name, span.status, span.links.len())
}

#[tokio::test]
async fn every_method_tells_a_customer_the_same_of_what_exists_and_of_what_does_not() {
    let others = Others::start().await;
    let (anna, nora) = (others.shop.token("anna"), others.shop.token("nora"));
    let (ben, eve) = (&others.ben, &others.eve);
    // Anna has purchased and cannot be referred; Nora can.
    let own =
        |customer: &str, code: &str| Names { customer: customer.to_owned(), code: code.to_owned(), ..ben.clone() };
    let cases = [
        (&anna, ben.clone(), ben.missing_like()),
        (&anna, eve.clone(), eve.missing_like()),
        (&anna, own("anna", &ben.code), own("anna", &ben.code).missing_but_customer()),
        (&nora, own("nora", &others.ended_code), own("nora", &others.ended_code).missing_but_customer()),
        (&nora, own("nora", &eve.code), own("nora", &eve.code).missing_but_customer()),
    ];
    let mut traces = Vec::new();
    for method in methods() {
        for (token, existing, missing) in &cases {
            let (first, second) = (existing.request(&method), missing.request(&method));
            let is_about_others = existing.customer != missing.customer;
            // A request that names nothing of others may be carried out.
            if first == second && !is_about_others {
                continue;
            }
            let (of_existing, told) = others.send(token, &method, &first).await;
            let (of_missing, told_of_missing) = others.send(token, &method, &second).await;
            let what = format!("{} for {existing:?}", method.full_name());
            assert_ne!(told.0, Code::Ok, "{what}");
            assert!(!is_about_others || told.0 == Code::PermissionDenied, "{what}: {told:?}");
            assert_eq!(told, retell(told_of_missing, missing, existing), "{what}");
            traces.push((what, of_existing, of_missing));
        }
    }
    let own_codes = traces.iter().filter(|(what, ..)| what.contains("CreateReferral for")).count();
    assert_eq!(own_codes, cases.len());
    assert!(traces.len() > 2 * methods().len(), "{}", traces.len());
    for (what, of_existing, of_missing) in traces {
        let (span, of_missing) = (find_server_span(of_existing).await, find_server_span(of_missing).await);
        assert_eq!(tell_span(&span), tell_span(&of_missing), "{what}");
    }
}

/// The requests would tell, if they were let through: who may send them is told.
#[tokio::test]
async fn who_serves_customers_is_told_whether_it_exists() {
    let others = Others::start().await;
    let missing = others.ben.missing_like();
    let mut methods = methods();
    // These change who exists, so they come last.
    methods.sort_by_key(|method| ["EraseCustomer", "CreateCustomer"].iter().position(|last| *last == method.name()));
    let mut names_nobody = Vec::new();
    for method in methods {
        let (first, second) = (others.ben.request(&method), missing.request(&method));
        if first == second {
            names_nobody.push(method.name().to_owned());
            continue;
        }
        let (_, told) = others.send(&others.shop.admin, &method, &first).await;
        let (_, told_of_missing) = others.send(&others.shop.admin, &method, &second).await;
        let what = format!("{}: {told:?} and {told_of_missing:?}", method.full_name());
        // The fields are good, so it is asked for what they name.
        assert_ne!(told.0, Code::InvalidArgument, "{what}");
        // One makes who is missing, and one lists them.
        let is_answered = ["CreateCustomer", "BatchGetCustomerTiers"].contains(&method.name());
        assert_eq!(told_of_missing.0, if is_answered { Code::Ok } else { Code::NotFound }, "{what}");
        assert_ne!(told, retell(told_of_missing, &missing, &others.ben), "{what}");
    }
    names_nobody.sort();
    let expected = [
        "ApplyProgram",
        "CountSegment",
        "ExportEntries",
        "FitValueModel",
        "GetComplaintMetrics",
        "GetLiability",
        "GetProgram",
        "GetRetention",
        "GetSatisfactionIndex",
        "GetScoreClasses",
        "GetTierReevaluation",
        "GetValueBacktest",
        "GetValueClassification",
        "GetValueModel",
        "ListCustomers",
        "ListDueComplaints",
        "ListPrivilegedActions",
        "ListPrograms",
        "ListSegmentMembers",
        "ListTierStatistics",
        "ReevaluateTiers",
        "SimulateTierPolicy",
        "SimulateValueClasses",
    ];
    assert_eq!(names_nobody, expected);
}
