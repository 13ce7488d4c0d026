//! Every method by every role, in the own program and another, for the own customer and another: each is answered as the
//! table says. The requests are made of the descriptors.

use std::collections::BTreeSet;

use goldbook::access::grpc::METHODS;
use goldbook::access::method::Method;
use goldbook::access::role::Role;
use goldbook::proto::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::field_descriptor_proto::Type;
use prost_types::{DescriptorProto, FileDescriptorSet};
use tonic::Code;

use super::issuer::{SigningKey, claims_of_customer, claims_of_role};
use super::{by, start_with_issuer};
use crate::harness::{Bytes, SHOP, Service};

/// The methods of the interface with their request messages, as the descriptors tell them.
struct Interface {
    messages: Vec<(String, DescriptorProto)>,
    methods: Vec<Described>,
}

struct Described {
    name: String,
    request: String,
    client_streams: bool,
    server_streams: bool,
}

impl Interface {
    fn read() -> Self {
        let (mut messages, mut methods) = (Vec::new(), Vec::new());
        for file in FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file {
            let package = file.package().to_owned();
            for message in file.message_type {
                messages.push((format!(".{package}.{}", message.name()), message));
            }
            for service in file.service.iter().filter(|_| package == "goldbook.v1") {
                methods.extend(service.method.iter().map(|method| Described {
                    name: format!("{}.{}", service.name(), method.name()),
                    request: method.input_type().to_owned(),
                    client_streams: method.client_streaming(),
                    server_streams: method.server_streaming(),
                }));
            }
        }
        Self { messages, methods }
    }

    fn message(&self, name: &str) -> &DescriptorProto {
        &self.messages.iter().find(|(own, _)| own == name).unwrap().1
    }

    /// Appends a text in a field of a message, by the field's name, and through the messages around it.
    fn put(&self, message: &str, path: &str, text: &str, bytes: &mut Vec<u8>) {
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let field = self.message(message).field.iter().find(|field| field.name() == name).unwrap();
        let number = u32::try_from(field.number()).unwrap();
        let inner = match rest {
            None => {
                assert_eq!(field.r#type(), Type::String);
                text.as_bytes().to_vec()
            }
            Some(rest) => {
                let mut inner = Vec::new();
                self.put(field.type_name(), rest, text, &mut inner);
                inner
            }
        };
        prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, bytes);
        prost::encoding::encode_varint(inner.len() as u64, bytes);
        bytes.extend(inner);
    }
}

/// Sends bytes as the request of a method; how it ended, for a stream the outcome of its one item.
async fn send(
    service: &Service,
    described: &Described,
    method: &Method,
    token: &str,
    bytes: Vec<u8>,
) -> (Code, String) {
    let mut client = tonic::client::Grpc::new(service.channel.clone());
    client.ready().await.unwrap();
    let path = method.path.parse().unwrap();
    let answer = if described.client_streams {
        let answers = client.streaming(by(token, tokio_stream::once(bytes)), path, Bytes).await;
        match answers {
            Ok(answers) => answers.into_inner().message().await.map(|answer| answer.expect("an answer to the item")),
            Err(status) => Err(status),
        }
    } else if described.server_streams {
        match client.server_streaming(by(token, bytes), path, Bytes).await {
            Ok(answers) => answers.into_inner().message().await.map(Option::unwrap_or_default),
            Err(status) => Err(status),
        }
    } else {
        client.unary(by(token, bytes), path, Bytes).await.map(tonic::Response::into_inner)
    };
    match answer {
        Err(status) => (status.code(), status.message().to_owned()),
        Ok(answer) if described.client_streams => item_outcome(&answer),
        Ok(_) => (Code::Ok, String::new()),
    }
}

/// The status in the answer to an item: the field 3 of all such answers is a `google.rpc.Status`.
fn item_outcome(answer: &[u8]) -> (Code, String) {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Answer {
        #[prost(message, optional, tag = "3")]
        error: Option<goldbook::proto::google::Status>,
    }
    let error = Answer::decode(answer).unwrap().error;
    error.map_or((Code::Ok, String::new()), |error| (Code::from(error.code), error.message))
}

/// Makes a request what its method asks of some roles, or what it does not.
fn meet_condition(method: &Method, is_met: bool, bytes: &mut Vec<u8>) {
    match method.name {
        // An activity that is feedback, which says nothing.
        "ActivityService.RecordActivity" if is_met => prost::encoding::bytes::encode(9, &Vec::<u8>::new(), bytes),
        // A priority.
        "ComplaintService.OpenComplaint" if !is_met => prost::encoding::int32::encode(4, &3, bytes),
        // A score of the handling.
        "ComplaintService.UpdateComplaint" if is_met => prost::encoding::int32::encode(11, &5, bytes),
        // The reason: goodwill.
        "RewardService.AdjustPoints" if !is_met => prost::encoding::int32::encode(6, &2, bytes),
        "BenefitService.GrantEntitlement" if !is_met => prost::encoding::int32::encode(7, &2, bytes),
        // A version that is tried.
        "SegmentService.ListSegmentMembers" if !is_met => prost::encoding::int32::encode(5, &1, bytes),
        "ActivityService.RecordActivity" | "SegmentService.ListSegmentMembers" => {}
        "RewardService.AdjustPoints" | "BenefitService.GrantEntitlement" => {}
        "ComplaintService.OpenComplaint" | "ComplaintService.UpdateComplaint" => {}
        other => panic!("what meets the condition of {other}?"),
    }
}

/// Whether the table lets a role call a method with this program and customer.
fn is_permitted(method: &Method, role: Role, program: &str, customer: &str, meets_condition: bool) -> bool {
    let is_listed = role == Role::Admin || method.roles.contains(&role);
    let is_own_program = method.program.is_none() || program == SHOP;
    let is_own_customer = role != Role::Customer || (method.customer.is_some() && customer == "anna");
    let holds = method.condition.is_none_or(|(of, _)| of != role) || meets_condition;
    is_listed && is_own_program && is_own_customer && holds
}

#[test]
fn the_table_has_every_method_and_names_its_fields() {
    let interface = Interface::read();
    let described: BTreeSet<&str> = interface.methods.iter().map(|method| method.name.as_str()).collect();
    let in_table: BTreeSet<&str> = METHODS.iter().map(|method| method.name).collect();
    assert_eq!(described, in_table);
    assert_eq!(METHODS.len(), in_table.len());
    // A request that names a customer or a program is tied by them.
    for method in METHODS {
        let described = interface.methods.iter().find(|it| it.name == method.name).unwrap();
        assert_eq!(method.path, format!("/goldbook.v1.{}", method.name.replace('.', "/")));
        for field in &interface.message(&described.request).field {
            let is_customer = field.name().ends_with("customer_id");
            assert!(!is_customer || method.customer == Some(field.name()), "{} {}", method.name, field.name());
            assert!(field.name() != "program_id" || method.program == Some("program_id"), "{}", method.name);
        }
    }
}

#[tokio::test]
async fn every_method_is_answered_to_every_role_as_the_table_says() {
    let key = SigningKey::ed25519("key");
    let (service, _file) = start_with_issuer(&[&key]).await;
    let interface = Interface::read();
    let mut asked = 0;
    for described in &interface.methods {
        let method = METHODS.iter().find(|method| method.name == described.name).unwrap();
        for role in Role::ALL {
            let token = match role {
                Role::Customer => key.token(&claims_of_customer("anna")),
                other => key.token(&claims_of_role(other.as_str())),
            };
            for (program, customer) in [(SHOP, "anna"), (SHOP, "ben"), ("other", "anna"), ("other", "ben"), ("", "")] {
                for meets_condition in [false, true] {
                    if meets_condition && method.condition.is_none() {
                        continue;
                    }
                    let mut bytes = Vec::new();
                    for (path, text) in [(method.program, program), (method.customer, customer)] {
                        path.into_iter().for_each(|path| interface.put(&described.request, path, text, &mut bytes));
                    }
                    if method.condition.is_some() {
                        meet_condition(method, meets_condition, &mut bytes);
                    }
                    let (code, message) = send(&service, described, method, &token, bytes).await;
                    let is_refused = code == Code::PermissionDenied;
                    let permitted = is_permitted(method, *role, program, customer, meets_condition);
                    let what = format!("{} by {role:?} for {program:?} {customer:?}: {code:?} {message}", method.name);
                    assert_eq!(is_refused, !permitted, "{what}");
                    assert_ne!(code, Code::Unauthenticated, "{what}");
                    assert_ne!(code, Code::Internal, "{what}");
                    if is_refused {
                        let expected = format!("the caller may not call {} for this program and customer", method.name);
                        assert_eq!(message, expected, "{what}");
                    }
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 1_000, "{asked}");
}

#[tokio::test]
async fn every_method_refuses_whoever_proves_nothing() {
    let key = SigningKey::ed25519("key");
    let (service, _file) = start_with_issuer(&[&key]).await;
    for described in &Interface::read().methods {
        let method = METHODS.iter().find(|method| method.name == described.name).unwrap();
        let (code, _) = send(&service, described, method, "nothing", Vec::new()).await;
        assert_eq!(code, Code::Unauthenticated, "{}", method.name);
    }
    // Health is open.
    let request = tonic_health::pb::HealthCheckRequest { service: String::new() };
    service.health().check(request).await.unwrap();
}

/// `docs/authorization.md` shows the table as it is.
#[test]
fn the_documented_table_is_the_one_of_the_code() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/authorization.md")).unwrap();
    let documented: Vec<&str> =
        page.lines().filter(|line| line.starts_with("| `") && line.contains("Service.")).collect();
    let mark = |method: &Method, role: Role| match method.condition {
        Some((of, condition)) if of == role => format!("if {condition}"),
        _ if method.roles.contains(&role) => "yes".to_owned(),
        _ => String::new(),
    };
    let field = |field: Option<&str>| field.map(|field| format!("`{field}`")).unwrap_or_default();
    let coded: Vec<String> = METHODS
        .iter()
        .map(|method| {
            let roles = Role::ALL.iter().filter(|role| **role != Role::Admin).map(|role| mark(method, *role));
            let cells = [format!("`{}`", method.name), field(method.program), field(method.customer)];
            let cells: Vec<String> = cells.into_iter().chain(roles).collect();
            format!("| {} |", cells.join(" | ")).replace("|  |", "| |").replace("|  |", "| |")
        })
        .collect();
    assert_eq!(documented, coded, "the table should be\n{}", coded.join("\n"));
}
