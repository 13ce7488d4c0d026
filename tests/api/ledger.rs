//! The ledger: its entries, one by one and as a list, and what they never hold. Exports have files of their own.

pub(crate) mod export;
mod export_command;
mod privileged_actions;
mod recorded_exports;

use std::collections::BTreeSet;

use futures_util::future::join_all;
use goldbook::embedded_postgres::OWNER_ROLE;
use goldbook::proto;
use goldbook::proto::EntryKind::{
    ActivityAccepted, CustomerEnrolled, PointsGranted, ReferralConverted, ReferralCounted, ReferralCreated, TierChanged,
};
use tonic::{Code, Status};

use crate::harness::{
    SHOP, START, Service, assert_refused, assert_refuses_bad_pages, at, create_customer, grant_reward, purchase,
    read_pages, shop, sorted_bad_fields,
};

fn request(customer_id: &str) -> proto::ListEntriesRequest {
    proto::ListEntriesRequest { program_id: SHOP.to_owned(), customer_id: customer_id.to_owned(), ..Default::default() }
}

async fn list(service: &Service, request: proto::ListEntriesRequest) -> Result<(Vec<proto::Entry>, String), Status> {
    let page = service.ledger().list_entries(request).await?.into_inner();
    Ok((page.entries, page.next_page_token))
}

async fn seqs(service: &Service, request: proto::ListEntriesRequest) -> Vec<i64> {
    list(service, request).await.unwrap().0.iter().map(|entry| entry.account_seq).collect()
}

async fn get(service: &Service, program_id: &str, entry_id: &str) -> Result<proto::Entry, Status> {
    let request = proto::GetEntryRequest { program_id: program_id.to_owned(), entry_id: entry_id.to_owned() };
    Ok(service.ledger().get_entry(request).await?.into_inner().entry.unwrap())
}

/// A service with anna, who brought ben, who bought a day later.
async fn start_with_a_conversion() -> Service {
    let service = Service::start().await;
    service.apply_shop().await;
    let code = service.share_code("anna", "friends").await;
    service.refer("ben", &code).await;
    service.set_clock("2026-01-16T12:00:00Z");
    service.purchase("ben", "order-1", "250.00").await.unwrap();
    service
}

#[tokio::test]
async fn get_entry_tells_all_that_list_entries_tells() {
    let service = start_with_a_conversion().await;
    for customer_id in ["anna", "ben"] {
        let entries = service.entries(customer_id).await;
        for (entry, seq) in entries.iter().zip(1..) {
            assert_eq!(get(&service, SHOP, &entry.entry_id).await.unwrap(), *entry);
            assert_eq!((entry.account_seq, entry.customer_id.as_str()), (seq, customer_id));
            assert_eq!((entry.program_id.as_str(), entry.policy_version), (SHOP, 1));
            assert_eq!(entry.account_id, entries[0].account_id);
            assert_eq!(entry.content_hash.len(), 32);
            assert_eq!(entry.trace_id.len(), 32);
            assert!(entry.trace_id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{}", entry.trace_id);
            assert!(entry.trace_id.bytes().any(|b| b != b'0'));
            assert_eq!(entry.recorded_at, entry.effective_at);
        }
        let hashes: BTreeSet<_> = entries.iter().map(|entry| &entry.content_hash).collect();
        assert_eq!(hashes.len(), entries.len());
    }
}

#[tokio::test]
async fn list_entries_tells_what_a_conversion_moved_and_why() {
    let service = start_with_a_conversion().await;
    let (anna, ben) = (service.entries("anna").await, service.entries("ben").await);
    let kinds: Vec<_> = ben.iter().map(proto::Entry::kind).collect();
    let bought = [ActivityAccepted, PointsGranted, TierChanged, ReferralConverted, PointsGranted];
    assert_eq!(kinds, [&[CustomerEnrolled, TierChanged, ReferralCreated][..], &bought].concat());
    let [accepted, earned, lifted, converted, rewarded] = &ben[3..] else { panic!("{ben:?}") };
    let [.., paid, counted] = &anna[..] else { panic!("{anna:?}") };

    let points = |entry: &proto::Entry| {
        let moved = entry.r#move.unwrap();
        assert_eq!((moved.from(), moved.to()), (proto::Pocket::Issued, proto::Pocket::Available));
        moved.points
    };
    assert_eq!((points(earned), points(rewarded), points(paid)), (250, 250, 500));
    for entry in [accepted, lifted, converted, counted] {
        assert_eq!(entry.r#move, None);
    }
    let causes = |entries: &[&proto::Entry]| entries.iter().map(|entry| entry.entry_id.clone()).collect::<Vec<_>>();
    assert_eq!(accepted.cause_entry_ids, causes(&[]));
    assert_eq!(earned.cause_entry_ids, causes(&[accepted]));
    assert_eq!(lifted.cause_entry_ids, causes(&[accepted]));
    assert_eq!(converted.cause_entry_ids, causes(&[&ben[2], accepted]));
    assert_eq!(rewarded.cause_entry_ids, causes(&[converted]));
    assert_eq!(paid.cause_entry_ids, causes(&[converted]));
    assert_eq!((counted.kind(), &counted.cause_entry_ids), (ReferralCounted, &causes(&[converted])));

    assert_eq!(accepted.actor(), proto::Actor::Caller);
    for entry in [earned, lifted, converted, rewarded, paid] {
        assert_eq!(entry.actor(), proto::Actor::Rule);
        assert_eq!((&entry.command_id, &entry.trace_id), (&accepted.command_id, &accepted.trace_id));
        assert_eq!(entry.effective_at, Some(at("2026-01-16T12:00:00Z")));
    }
    assert!(uuid::Uuid::parse_str(&accepted.command_id).is_ok());
    assert_eq!(ben[0].command_id, ben[2].command_id);
    assert_ne!(ben[0].command_id, accepted.command_id);
    assert_ne!(ben[0].trace_id, accepted.trace_id);
    let detail: serde_json::Value = serde_json::from_str(&lifted.detail_json).unwrap();
    let earned = serde_json::json!({"points": 250, "purchases": 1, "active_days": 1});
    let expected = serde_json::json!(
        {"kind": "tier_changed", "from": "member", "to": "silver", "qualifying_spend": 25_000, "earned": earned}
    );
    assert_eq!(detail, expected);
}

#[tokio::test]
async fn list_entries_filters_by_kind_and_by_time() {
    let service = start_with_a_conversion().await;
    let of = |kinds: &[proto::EntryKind]| proto::ListEntriesRequest {
        kinds: kinds.iter().map(|kind| (*kind).into()).collect(),
        ..request("ben")
    };
    assert_eq!(seqs(&service, of(&[])).await, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(seqs(&service, of(&[TierChanged])).await, [2, 6]);
    assert_eq!(seqs(&service, of(&[PointsGranted, ActivityAccepted])).await, [4, 5, 8]);
    assert_eq!(seqs(&service, of(&[proto::EntryKind::ReferralExpired])).await, [] as [i64; 0]);

    let between = |from: Option<&str>, until: Option<&str>| proto::ListEntriesRequest {
        effective_from: from.map(at),
        effective_until: until.map(at),
        ..request("ben")
    };
    let (bought, before) = ("2026-01-16T12:00:00Z", "2026-01-16T11:59:59.999999Z");
    assert_eq!(seqs(&service, between(Some(bought), None)).await, [4, 5, 6, 7, 8]);
    assert_eq!(seqs(&service, between(Some("2026-01-16T12:00:00.000001Z"), None)).await, [] as [i64; 0]);
    assert_eq!(seqs(&service, between(None, Some(bought))).await, [1, 2, 3]);
    assert_eq!(seqs(&service, between(Some(START), Some(bought))).await, [1, 2, 3]);
    assert_eq!(seqs(&service, between(Some("2026-01-15T12:00:00.000001Z"), Some(before))).await, [] as [i64; 0]);
    let both = proto::ListEntriesRequest { effective_from: Some(at(bought)), ..of(&[TierChanged]) };
    assert_eq!(seqs(&service, both).await, [6]);
}

#[tokio::test]
async fn list_entries_returns_each_once_in_either_order() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    let grants: Vec<_> = (0..1_001).map(|i| grant_reward("anna", 1, &format!("k-{i}"))).collect();
    for granted in join_all(grants.into_iter().map(async |grant| service.rewards().grant_reward(grant).await)).await {
        granted.unwrap();
    }
    let mut all: Vec<i64> = (1..=1_003).collect();
    for newest_first in [false, true] {
        let page = |page_size, page_token| proto::ListEntriesRequest {
            page_size,
            page_token,
            newest_first,
            ..request("anna")
        };
        let read = |token| async { list(&service, page(250, token)).await.unwrap() };
        let read: Vec<i64> = read_pages(250, read).await.iter().map(|entry| entry.account_seq).collect();
        assert_eq!(read, all);
        assert_eq!(seqs(&service, page(0, String::new())).await, all[..50]);
        assert_eq!(seqs(&service, page(1_001, String::new())).await, all[..1_000]);
        all.reverse();
    }
    let tiers = |page_token| proto::ListEntriesRequest {
        page_size: 1,
        page_token,
        kinds: vec![CustomerEnrolled.into(), TierChanged.into()],
        ..request("anna")
    };
    let read = |token| async { list(&service, tiers(token)).await.unwrap() };
    assert_eq!(read_pages(1, read).await.len(), 2);
}

#[tokio::test]
async fn list_entries_refuses_bad_pages() {
    let service = start_with_a_conversion().await;
    let (_, of_ben) = list(&service, proto::ListEntriesRequest { page_size: 1, ..request("ben") }).await.unwrap();
    let page = |page_size, page_token| proto::ListEntriesRequest { page_size, page_token, ..request("anna") };
    assert_refuses_bad_pages(&of_ben, |page_size, token| list(&service, page(page_size, token))).await;
    // A token belongs to the whole request but its size.
    let ben = || proto::ListEntriesRequest { page_token: of_ben.clone(), ..request("ben") };
    assert_eq!(seqs(&service, ben()).await, [2, 3, 4, 5, 6, 7, 8]);
    for other in [
        proto::ListEntriesRequest { newest_first: true, ..ben() },
        proto::ListEntriesRequest { kinds: vec![TierChanged.into()], ..ben() },
        proto::ListEntriesRequest { effective_from: Some(at(START)), ..ben() },
    ] {
        assert_refused(list(&service, other).await, Code::OutOfRange, "PAGE_TOKEN_INVALID");
    }
}

#[tokio::test]
async fn list_entries_and_get_entry_list_every_bad_field() {
    let service = start_with_a_conversion().await;
    let bad = proto::ListEntriesRequest {
        program_id: "S".to_owned(),
        kinds: vec![TierChanged.into(), 0, 99],
        effective_from: Some(at(START)),
        effective_until: Some(at(START)),
        page_size: -1,
        ..request("")
    };
    assert_eq!(
        sorted_bad_fields(list(&service, bad).await),
        ["customer_id", "effective_until", "kinds[1]", "kinds[2]", "page_size", "program_id"]
    );
    let nanos = |nanos| Some(prost_types::Timestamp { seconds: 0, nanos });
    let bad = proto::ListEntriesRequest {
        kinds: vec![TierChanged.into(); 51],
        effective_from: nanos(-1),
        effective_until: nanos(1_000_000_000),
        ..request("ben")
    };
    assert_eq!(sorted_bad_fields(list(&service, bad).await), ["effective_from", "effective_until", "kinds"]);
    assert_eq!(sorted_bad_fields(get(&service, "", "x").await), ["entry_id", "program_id"]);
}

#[tokio::test]
async fn list_entries_refuses_an_unknown_program_or_customer() {
    let service = start_with_a_conversion().await;
    let nowhere = proto::ListEntriesRequest { program_id: "nowhere".to_owned(), ..request("ben") };
    assert_refused(list(&service, nowhere).await, Code::NotFound, "PROGRAM_NOT_FOUND");
    assert_refused(list(&service, request("nobody")).await, Code::NotFound, "CUSTOMER_NOT_FOUND");
}

#[tokio::test]
async fn get_entry_refuses_an_entry_that_is_not_of_the_program() {
    let service = start_with_a_conversion().await;
    service.apply(proto::Program { program_id: "outlet".to_owned(), ..shop() }).await.unwrap();
    let entry = service.entries("ben").await.remove(0);
    assert_refused(get(&service, "outlet", &entry.entry_id).await, Code::NotFound, "ENTRY_NOT_FOUND");
    assert_refused(get(&service, "nowhere", &entry.entry_id).await, Code::NotFound, "PROGRAM_NOT_FOUND");
    // The last entry has the number 8.
    let beyond = format!("{}9", entry.entry_id.strip_suffix('1').unwrap());
    assert_refused(get(&service, SHOP, &beyond).await, Code::NotFound, "ENTRY_NOT_FOUND");
}

#[tokio::test]
async fn get_entry_tells_the_programs_own_entries_without_a_customer() {
    let service = start_with_a_conversion().await;
    let mut connection = service.database.connect(OWNER_ROLE).await;
    let account_id: uuid::Uuid =
        sqlx::query_scalar("SELECT account_id FROM programs").fetch_one(&mut connection).await.unwrap();
    let entry = get(&service, SHOP, &format!("{}.1", account_id.simple())).await.unwrap();
    assert_eq!(entry.kind(), proto::EntryKind::ProgramApplied);
    assert_eq!((entry.customer_id.as_str(), entry.account_id), ("", account_id.to_string()));
}

#[tokio::test]
async fn ledger_rows_hold_no_string_that_a_caller_chose() {
    let service = Service::start().await;
    service.apply_shop().await;
    let named = proto::Customer {
        customer_id: "customer-marker".to_owned(),
        given_name: "given-marker".to_owned(),
        email: "email-marker@example.com".to_owned(),
        attributes: [("attribute-marker".to_owned(), "value-marker".to_owned())].into(),
        marketing_consents: vec![proto::MarketingConsent {
            channel: proto::MarketingChannel::Email.into(),
            granted: true,
            decided_at: Some(at(START)),
            source: "source-marker".to_owned(),
        }],
        ..Default::default()
    };
    let create = proto::CreateCustomerRequest { customer: Some(named), ..create_customer("", "create-key-marker") };
    service.customers().create_customer(create).await.unwrap();
    let note = "note-marker".to_owned();
    let grant = proto::GrantRewardRequest { note, ..grant_reward("customer-marker", 5, "grant-key-marker") };
    service.rewards().grant_reward(grant).await.unwrap();
    let code = service.share_code("referrer-marker", "friends").await;
    let refer = proto::CreateReferralRequest {
        program_id: SHOP.to_owned(),
        referee_customer_id: "referee-marker".to_owned(),
        code: code.to_lowercase(),
        idempotency_key: "refer-key-marker".to_owned(),
        enrol: true,
    };
    service.referrals().create_referral(refer).await.unwrap();
    let bought = purchase("referee-marker", "activity-marker", "1234.56", service.clock.now());
    service.activities().record_activity(bought).await.unwrap();

    let mut connection = service.database.connect(OWNER_ROLE).await;
    let rows: Vec<String> =
        sqlx::query_scalar("SELECT to_jsonb(e)::text FROM ledger_entries e").fetch_all(&mut connection).await.unwrap();
    // One for the program, 3 for the first customer, 5 for the referrer, 8 for the referee.
    assert_eq!(rows.len(), 17);
    // Bytes are stored in hexadecimal, where a string would not show as itself.
    let hidden: String = "marker".bytes().map(|byte| format!("{byte:02x}")).collect();
    for row in rows {
        assert!(!row.contains("marker") && !row.contains(&hidden), "{row}");
    }
}
