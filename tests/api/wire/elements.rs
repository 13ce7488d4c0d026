//! Small bodies that would become large once they are decoded: millions of empty elements, compressed.

use goldbook::embedded_postgres::SERVICE_ROLE;
use goldbook_api::server::MAX_ELEMENTS;
use prost::encoding::bytes::encode;

use super::*;
use crate::binary::Serving;
use crate::harness::{Database, at, create_customer, shop, usd};

const APPLY: &str = "/goldbook.v1.ProgramService/ApplyProgram";
const CREATE: &str = "/goldbook.v1.CustomerService/CreateCustomer";
const UPDATE: &str = "/goldbook.v1.CustomerService/UpdateCustomer";
const TOLD: &str =
    "a message has more elements than the limit of 24000; each message, string and byte string in it counts";

/// A message of nearly 4 MiB: empty elements at the end of a path of fields.
fn bomb(fields: &[u32]) -> Vec<u8> {
    let (last, outer) = fields.split_last().unwrap();
    let element = field(*last, b"");
    let elements = element.repeat((LIMIT - 64) / element.len());
    outer.iter().rev().fold(elements, |inner, number| field(*number, &inner))
}

fn field(number: u32, value: &[u8]) -> Vec<u8> {
    let mut written = Vec::new();
    encode(number, &value.to_vec(), &mut written);
    written
}

/// The methods that take lists, each with the paths to those.
const LISTS: &[(&str, &[&[u32]])] = &[
    // Campaigns, tiers, benefits, caps of a period, and a program that comes again and again.
    (APPLY, &[&[1, 7], &[1, 6], &[1, 6, 4], &[1, 8, 4, 2], &[1]]),
    // Important dates, interests, attributes, consents, lines and recipients of an address.
    (CREATE, &[&[2, 11], &[2, 12], &[2, 14], &[2, 15], &[2, 7, 9], &[2, 7, 10]]),
    // The same, and the paths of the mask.
    (UPDATE, &[&[2, 11], &[2, 14], &[3, 1]]),
    // What has no lists: its program's id, again and again.
    (GRANT, &[&[1]]),
    (EXPORT, &[&[1]]),
];

/// The most memory that a process has held, in KiB.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The service is a process of its own here, so that its memory is nobody else's.
#[tokio::test]
async fn a_message_of_too_many_elements_is_refused_before_it_takes_memory() {
    let database = Database::create().await;
    let serving = Serving::start(&database.options(SERVICE_ROLE), &[]).await;
    let service = Service::at(serving.address, database).await;
    // A message of as many bytes, which is one text, shows what it takes to read one.
    for (encoding, compress) in COMPRESSIONS {
        let answer = call_compressed(&service, GRANT, encoding, frame(1, &compress(&sized(LIMIT - 64)))).await;
        assert_eq!(bad_fields(&answer.status), ["note"]);
    }
    let before = cfg!(target_os = "linux").then(|| peak(serving.pid()));
    for (path, fields) in LISTS.iter().flat_map(|(path, lists)| lists.iter().map(move |fields| (path, fields))) {
        let bomb = bomb(fields);
        assert!(LIMIT - 128 < bomb.len() && bomb.len() < LIMIT, "{}", bomb.len());
        for (encoding, compress) in COMPRESSIONS {
            let small = compress(&bomb);
            assert!(small.len() < 40_000, "{path} {fields:?}: {} bytes of {encoding}", small.len());
            let answer = call_compressed(&service, path, encoding, frame(1, &small)).await;
            answer.assert_refused(Code::ResourceExhausted, TOLD);
        }
    }
    if let Some(before) = before {
        let grown = peak(serving.pid()) - before;
        assert!(grown < 64 * 1024, "the service held {grown} KiB more than for a text of as many bytes");
    }
    serving.kill().await;
}

#[tokio::test]
async fn a_stream_ends_at_an_item_of_too_many_elements() {
    let service = start().await;
    let body = [frame(0, &item("a")), frame(1, &gzip(&bomb(&[1]))), frame(0, &item("b"))].concat();
    let answer = call_compressed(&service, BATCH, "gzip", body).await;
    assert_eq!((answer.status.code(), answer.status.message()), (Code::ResourceExhausted, TOLD));
    assert_eq!((answer.messages.len(), service.available("anna").await), (1, 1));
}

#[tokio::test]
async fn the_largest_program_and_the_largest_dossier_are_taken() {
    let service = start().await;
    let benefit = |i: usize| proto::Benefit {
        benefit_id: format!("benefit-{i}"),
        display_name: "x".repeat(200),
        description: "x".repeat(500),
        ..proto::Benefit::default()
    };
    let tier = |i: usize| proto::Tier {
        tier_id: format!("tier-{i}"),
        display_name: "x".repeat(200),
        threshold: Some(usd(&format!("{i}.00"))),
        benefits: (0..100).map(benefit).collect(),
        ..proto::Tier::default()
    };
    let campaign = |i: usize| proto::Campaign {
        campaign_id: format!("campaign-{i}"),
        starts_at: Some(at("2026-02-01T00:00:00Z")),
        ends_at: Some(at("2026-03-01T00:00:00Z")),
        ..shop().campaigns.remove(0)
    };
    let spend = || crate::segments::clause(crate::segments::spend(Some("1.00"), Some("2.00"), Some(9)));
    let segment = |i: usize| crate::segments::segment(&format!("segment-{i}"), (0..20).map(|_| spend()).collect());
    let program = proto::Program {
        program_id: "largest".to_owned(),
        segments: (0..25).map(segment).collect(),
        tiers: (0..32).map(tier).collect(),
        campaigns: (0..100).map(campaign).collect(),
        ..shop()
    };
    let request = proto::ApplyProgramRequest { program: Some(program), ..Default::default() };
    // It is long enough that its elements are counted.
    assert!((2 * MAX_ELEMENTS..LIMIT).contains(&request.encoded_len()));
    let answer = call(&service, APPLY, frame(0, &request.encode_to_vec())).await;
    assert_eq!(answer.status.code(), Code::Ok, "{:?}", answer.status);
    let date = proto::ImportantDate {
        label: "x".repeat(100),
        date: Some(proto::google::Date { year: 2000, month: 2, day: 29 }),
    };
    let consent = proto::MarketingConsent {
        channel: proto::MarketingChannel::Email.into(),
        granted: true,
        decided_at: Some(at("2026-01-01T00:00:00Z")),
        source: "shop".to_owned(),
    };
    let mut request = create_customer("bea", "largest");
    let customer = request.customer.as_mut().unwrap();
    customer.attributes = (0..100).map(|i| (format!("attribute-{i}"), "x".repeat(1_000))).collect();
    customer.interests = (0..50).map(|i| format!("{i}{}", "x".repeat(90))).collect();
    customer.important_dates = vec![date; 50];
    customer.marketing_consents = vec![consent];
    customer.address = Some(proto::google::PostalAddress {
        region_code: "DE".to_owned(),
        address_lines: vec!["x".repeat(100); 10],
        ..Default::default()
    });
    assert!((2 * MAX_ELEMENTS..LIMIT).contains(&request.encoded_len()));
    let answer = call(&service, CREATE, frame(0, &request.encode_to_vec())).await;
    assert_eq!(answer.status.code(), Code::Ok, "{:?}", answer.status);
}
