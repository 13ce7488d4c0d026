//! Complaints: what is done about them step by step, by when, and what becomes of them.

mod audience;
mod deadlines;
mod due;
pub(crate) mod goodwill;
mod metrics;
mod random_complaints;

use std::time::Duration;

use futures_util::future::join_all;
use goldbook::embedded_postgres::SUPERUSER;
use goldbook::proto;
use goldbook::proto::ComplaintState::{Acknowledged, Offered, Received, Resolved, Waiting};
use goldbook::proto::ComplaintStepKind as Kind;
use goldbook::proto::EntryKind::ComplaintOpened;
use tonic::{Code, Status};

use crate::audit::assert_clean;
use crate::customers::erasure::{erase, erasure};
use crate::harness::{
    Background, SHOP, START, Service, assert_refused, assert_refuses_bad_pages, at, money, read_pages, shop,
    sorted_bad_fields, usd,
};

/// The worker of dues comes often.
pub(crate) const OFTEN: Background = Background {
    apply_dues_every: Some(Duration::from_millis(20)),
    sum_up_every: None,
    erase_of_inactive_every: None,
    export_limit: None,
};

pub(crate) const fn business_days(count: i32) -> Option<proto::TimeAllowance> {
    let allowance = proto::time_allowance::Allowance::BusinessDays(count);
    Some(proto::TimeAllowance { allowance: Some(allowance) })
}

/// [`SHOP`] in New York, from Monday to Friday, 9 to 17, but for Martin Luther King Day. What presses is to be acknowledged in
/// four hours; claims have eight weeks, and everything else the usual 5, 15 and 35 days.
pub(crate) fn complaining_shop() -> proto::Program {
    let category = |id: &str| proto::ComplaintCategory { category_id: id.to_owned(), display_name: id.to_uppercase() };
    let of = |allowance| Some(proto::TimeAllowance { allowance: Some(allowance) });
    let holiday = |year, month, day| proto::SpecialDay {
        date: Some(proto::google::Date { year, month, day }),
        hours: Vec::new(),
    };
    let deadlines = vec![
        proto::ComplaintDeadlines {
            category_ids: vec!["claims".to_owned()],
            resolution: of(proto::time_allowance::Allowance::Weeks(8)),
            ..Default::default()
        },
        proto::ComplaintDeadlines {
            priorities: vec![proto::ComplaintPriority::High.into()],
            acknowledgement: of(proto::time_allowance::Allowance::BusinessHours(4)),
            answer: business_days(2),
            resolution: business_days(5),
            ..Default::default()
        },
        proto::ComplaintDeadlines {
            acknowledgement: business_days(1),
            answer: business_days(5),
            resolution: business_days(15),
            extended_resolution: business_days(35),
            ..Default::default()
        },
    ];
    let complaints = proto::ComplaintPolicy {
        categories: vec![category("delivery"), category("claims")],
        hours: None,
        special_days: vec![holiday(2026, 1, 19)],
        deadlines,
    };
    proto::Program { complaints: Some(complaints), ..shop() }
}

pub(crate) async fn start() -> Service {
    let service = Service::start().await;
    service.apply(complaining_shop()).await.unwrap();
    service.enrol("anna").await;
    service
}

pub(crate) fn opening(customer_id: &str, key: &str) -> proto::OpenComplaintRequest {
    proto::OpenComplaintRequest {
        program_id: SHOP.to_owned(),
        customer_id: customer_id.to_owned(),
        idempotency_key: key.to_owned(),
        ..Default::default()
    }
}

pub(crate) async fn send_opening(
    service: &Service,
    request: proto::OpenComplaintRequest,
) -> Result<proto::Complaint, Status> {
    Ok(service.complaints().open_complaint(request).await?.into_inner().complaint.unwrap())
}

/// Makes a request of a step: whose it is and its key, and what else is said.
macro_rules! step {
    ($request:ident, $complaint:expr, $key:expr $(, $field:ident: $value:expr)* $(,)?) => {
        crate::complaints::filled(|request: &mut proto::$request| {
            crate::harness::SHOP.clone_into(&mut request.program_id);
            request.customer_id.clone_from(&$complaint.customer_id);
            request.complaint_id.clone_from(&$complaint.complaint_id);
            request.idempotency_key = String::from($key);
            $(request.$field = $value;)*
        })
    };
}
pub(crate) use step;

pub(crate) fn filled<Request: Default>(fill: impl FnOnce(&mut Request)) -> Request {
    let mut request = Request::default();
    fill(&mut request);
    request
}

pub(crate) async fn acknowledge(
    service: &Service,
    of: &proto::Complaint,
    key: &str,
) -> Result<proto::Complaint, Status> {
    let request = step!(AcknowledgeComplaintRequest, of, key, text: "We have it.".to_owned());
    Ok(service.complaints().acknowledge_complaint(request).await?.into_inner().complaint.unwrap())
}

pub(crate) async fn update(
    service: &Service,
    request: proto::UpdateComplaintRequest,
) -> Result<proto::Complaint, Status> {
    Ok(service.complaints().update_complaint(request).await?.into_inner().complaint.unwrap())
}

pub(crate) async fn offer(service: &Service, request: proto::OfferRemedyRequest) -> Result<proto::Complaint, Status> {
    Ok(service.complaints().offer_remedy(request).await?.into_inner().complaint.unwrap())
}

pub(crate) async fn resolve(service: &Service, of: &proto::Complaint, key: &str) -> Result<proto::Complaint, Status> {
    let outcome = proto::ComplaintOutcome::Upheld.into();
    let request = step!(ResolveComplaintRequest, of, key, outcome: outcome, text: "Sorry.".to_owned());
    Ok(service.complaints().resolve_complaint(request).await?.into_inner().complaint.unwrap())
}

pub(crate) async fn reopen(service: &Service, of: &proto::Complaint, key: &str) -> Result<proto::Complaint, Status> {
    let request = step!(ReopenComplaintRequest, of, key);
    Ok(service.complaints().reopen_complaint(request).await?.into_inner().complaint.unwrap())
}

pub(crate) async fn get(
    service: &Service,
    of: &proto::Complaint,
    as_of: Option<&str>,
) -> Result<proto::Complaint, Status> {
    let request = proto::GetComplaintRequest {
        program_id: SHOP.to_owned(),
        customer_id: of.customer_id.clone(),
        complaint_id: of.complaint_id.clone(),
        as_of: as_of.map(at),
    };
    Ok(service.complaints().get_complaint(request).await?.into_inner().complaint.unwrap())
}

#[tokio::test]
async fn a_complaint_goes_from_received_to_resolved_and_its_words_are_kept_apart() {
    let service = start().await;
    let request = proto::OpenComplaintRequest {
        category_id: "delivery".to_owned(),
        channel: proto::FeedbackChannel::Phone.into(),
        owner: "Team Grün".to_owned(),
        text: "My parcel is late.\nAgain!".to_owned(),
        ..opening("anna", "open")
    };
    let opened = send_opening(&service, request.clone()).await.unwrap();
    // Thursday, 7 in the morning; Monday is a holiday.
    let expected = proto::Complaint {
        complaint_id: opened.complaint_id.clone(),
        customer_id: "anna".to_owned(),
        category_id: "delivery".to_owned(),
        priority: proto::ComplaintPriority::Normal.into(),
        state: Received.into(),
        owner: "Team Grün".to_owned(),
        received_at: Some(at(START)),
        clock_started_at: Some(at(START)),
        policy_version: 1,
        acknowledge_by: Some(at("2026-01-16T22:00:00Z")),
        answer_by: Some(at("2026-01-23T22:00:00Z")),
        resolve_by: Some(at("2026-02-06T22:00:00Z")),
        ..Default::default()
    };
    assert_eq!(opened, expected);
    let replayed = service.complaints().open_complaint(request.clone()).await.unwrap().into_inner();
    assert!(replayed.replayed && replayed.complaint.as_ref() == Some(&opened), "{replayed:?}");

    let minutes = |minute: &str| format!("2026-01-15T15:{minute}:00Z");
    service.set_clock(&minutes("00"));
    let acknowledged = acknowledge(&service, &opened, "ack").await.unwrap();
    assert_eq!(acknowledged.state(), Acknowledged);
    assert_eq!((acknowledged.acknowledge_by, acknowledged.answer_by), (None, opened.answer_by));
    service.set_clock(&minutes("10"));
    let note = "Called the carrier.".to_owned();
    let noted = update(&service, step!(UpdateComplaintRequest, opened, "note", text: note)).await.unwrap();
    assert_eq!(noted, acknowledged);
    service.set_clock(&minutes("20"));
    let told = "It comes tomorrow.".to_owned();
    let answer =
        step!(UpdateComplaintRequest, opened, "answer", answered: true, text: told, owner: Some("Ola".to_owned()));
    let answered = update(&service, answer).await.unwrap();
    assert_eq!((answered.answered_at, answered.answer_by), (Some(at(&minutes("20"))), None));
    assert_eq!(answered.owner, "Ola");
    service.set_clock(&minutes("30"));
    let waiting = update(&service, step!(UpdateComplaintRequest, opened, "wait", waiting: Some(true))).await.unwrap();
    assert_eq!((waiting.state(), waiting.resolve_by), (Waiting, None));
    assert_eq!(waiting.waiting_since, Some(at(&minutes("30"))));
    // Until the next afternoon: a day more.
    service.set_clock("2026-01-16T23:00:00Z");
    let going = update(&service, step!(UpdateComplaintRequest, opened, "go on", waiting: Some(false))).await.unwrap();
    assert_eq!(going.state(), Acknowledged);
    assert_eq!(going.resolve_by, Some(at("2026-02-09T22:00:00Z")));
    service.set_clock("2026-01-17T12:00:00Z");
    let remedy = proto::Remedy { kind: proto::RemedyKind::Refund.into(), value: Some(usd("5.00")), offered_at: None };
    let offered =
        offer(&service, step!(OfferRemedyRequest, opened, "offer", remedy: Some(remedy.clone()))).await.unwrap();
    assert_eq!(offered.state(), Offered);
    assert_eq!(offered.remedy, Some(proto::Remedy { offered_at: Some(at("2026-01-17T12:00:00Z")), ..remedy }));
    assert_eq!(offered.answered_at, answered.answered_at);
    let resolved = resolve(&service, &opened, "resolve").await.unwrap();
    assert_eq!((resolved.state(), resolved.outcome()), (Resolved, proto::ComplaintOutcome::Upheld));
    assert_eq!(resolved.resolve_by, None);
    let scored =
        update(&service, step!(UpdateComplaintRequest, opened, "score", handling_score: Some(4))).await.unwrap();
    assert_eq!(scored.handling_score, Some(4));
    let better = update(&service, step!(UpdateComplaintRequest, opened, "better", handling_score: Some(5))).await;
    assert_refused(better, Code::FailedPrecondition, "COMPLAINT_STATE");

    let again = service.complaints().open_complaint(request).await.unwrap().into_inner();
    assert!(again.replayed && again.complaint == Some(scored.clone()));
    assert_keeps_steps_and_words(&service, &scored).await;
}

/// The one complaint of anna, which went the whole way.
async fn assert_keeps_steps_and_words(service: &Service, complaint: &proto::Complaint) {
    let found = get(service, complaint, None).await.unwrap();
    let steps: Vec<_> = found.steps.iter().map(|step| (step.kind(), step.state(), step.text.as_str())).collect();
    assert_eq!(
        steps,
        [
            (Kind::Opened, Received, "My parcel is late.\nAgain!"),
            (Kind::Acknowledged, Acknowledged, "We have it."),
            (Kind::Updated, Acknowledged, "Called the carrier."),
            (Kind::Updated, Acknowledged, "It comes tomorrow."),
            (Kind::Updated, Waiting, ""),
            (Kind::Updated, Acknowledged, ""),
            (Kind::RemedyOffered, Offered, ""),
            (Kind::Resolved, Resolved, "Sorry."),
            (Kind::Updated, Resolved, ""),
        ]
    );
    assert_eq!(found.text, "My parcel is late.\nAgain!");
    let whole = proto::Complaint { text: found.text.clone(), steps: found.steps.clone(), ..complaint.clone() };
    assert_eq!(found, whole);
    let entries = service.entries("anna").await;
    let own: Vec<_> = entries.iter().filter(|entry| entry.reason() == proto::EntryReason::Complaint).collect();
    assert_eq!((own.len(), own[0].kind(), &own[0].entry_id), (9, ComplaintOpened, &complaint.complaint_id));
    assert!(own[1..].iter().all(|entry| entry.cause_entry_ids == [complaint.complaint_id.clone()]));
    for word in ["parcel", "carrier", "Ola", "Grün", "Sorry"] {
        assert!(entries.iter().all(|entry| !entry.detail_json.contains(word)), "{word} is in the ledger");
    }
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn a_complaint_is_as_of_an_instant_what_it_was_then() {
    let service = start().await;
    let opened = send_opening(&service, opening("anna", "open")).await.unwrap();
    let mut told = Vec::new();
    let mut note = async |now: &str| {
        service.set_clock(now);
        told.push((now.to_owned(), get(&service, &opened, None).await.unwrap()));
    };
    note("2026-01-15T12:00:00Z").await;
    service.set_clock("2026-01-15T16:00:00Z");
    acknowledge(&service, &opened, "a").await.unwrap();
    note("2026-01-15T17:00:00Z").await;
    // The answer is missed on the 23rd, which nobody has written.
    note("2026-01-23T21:59:59.999999Z").await;
    note("2026-01-23T22:00:00Z").await;
    service.set_clock("2026-01-26T12:00:00Z");
    resolve(&service, &opened, "r").await.unwrap();
    note("2026-01-27T12:00:00Z").await;
    assert_eq!(told[2].1.state(), Acknowledged);
    assert_eq!(told[3].1.state(), proto::ComplaintState::Escalated);
    assert_eq!(told[3].1.missed, [i32::from(proto::ComplaintDeadline::Answer)]);
    for (as_of, answer) in told {
        let mut asked = get(&service, &opened, Some(&as_of)).await.unwrap();
        // What was not written then has an entry now.
        for (step, then) in asked.steps.iter_mut().zip(&answer.steps).filter(|(_, then)| then.entry_id.is_empty()) {
            step.entry_id.clone_from(&then.entry_id);
        }
        assert_eq!(asked, answer, "as of {as_of}");
    }
    let before = get(&service, &opened, Some("2026-01-15T11:59:59Z")).await;
    assert_refused(before, Code::NotFound, "COMPLAINT_NOT_FOUND");
}

#[tokio::test]
async fn steps_that_do_not_fit_are_refused_and_change_nothing() {
    let service = start().await;
    let opened = send_opening(&service, opening("anna", "open")).await.unwrap();
    let refused = |outcome: Result<proto::Complaint, Status>| {
        assert_refused(outcome, Code::FailedPrecondition, "COMPLAINT_STATE");
    };
    let of = |key: &str| step!(UpdateComplaintRequest, opened, key);
    refused(reopen(&service, &opened, "x").await);
    refused(update(&service, proto::UpdateComplaintRequest { waiting: Some(false), ..of("x") }).await);
    refused(update(&service, proto::UpdateComplaintRequest { handling_score: Some(1), ..of("x") }).await);
    acknowledge(&service, &opened, "ack").await.unwrap();
    refused(acknowledge(&service, &opened, "x").await);
    update(&service, proto::UpdateComplaintRequest { waiting: Some(true), ..of("wait") }).await.unwrap();
    refused(update(&service, proto::UpdateComplaintRequest { waiting: Some(true), ..of("x") }).await);
    update(&service, proto::UpdateComplaintRequest { extended: true, ..of("more") }).await.unwrap();
    refused(update(&service, proto::UpdateComplaintRequest { extended: true, ..of("x") }).await);
    resolve(&service, &opened, "resolve").await.unwrap();
    let before = get(&service, &opened, None).await.unwrap();
    refused(resolve(&service, &opened, "x").await);
    refused(acknowledge(&service, &opened, "x").await);
    let apology = proto::Remedy { kind: proto::RemedyKind::Apology.into(), ..Default::default() };
    refused(offer(&service, step!(OfferRemedyRequest, opened, "x", remedy: Some(apology.clone()))).await);
    for request in [
        proto::UpdateComplaintRequest { answered: true, ..of("x") },
        proto::UpdateComplaintRequest { waiting: Some(true), ..of("x") },
        proto::UpdateComplaintRequest { extended: true, ..of("x") },
        proto::UpdateComplaintRequest { escalated: true, ..of("x") },
        proto::UpdateComplaintRequest { priority: 3, ..of("x") },
        proto::UpdateComplaintRequest { category_id: "claims".to_owned(), ..of("x") },
    ] {
        refused(update(&service, request).await);
    }
    assert_eq!(get(&service, &opened, None).await.unwrap(), before);

    // Others' complaints, and entries that are none, are unknown.
    service.enrol("ben").await;
    let ben = proto::Complaint { customer_id: "ben".to_owned(), ..opened.clone() };
    assert_refused(reopen(&service, &ben, "x").await, Code::NotFound, "COMPLAINT_NOT_FOUND");
    assert_refused(get(&service, &ben, None).await, Code::NotFound, "COMPLAINT_NOT_FOUND");
    let first = service.entries("anna").await[0].entry_id.clone();
    let none = proto::Complaint { complaint_id: first, ..opened.clone() };
    assert_refused(reopen(&service, &none, "x").await, Code::NotFound, "COMPLAINT_NOT_FOUND");
    assert_refused(get(&service, &none, None).await, Code::NotFound, "COMPLAINT_NOT_FOUND");
    let stranger = send_opening(&service, opening("zoe", "x")).await;
    assert_refused(stranger, Code::NotFound, "CUSTOMER_NOT_FOUND");
    let smell = proto::OpenComplaintRequest { category_id: "smell".to_owned(), ..opening("anna", "x") };
    assert_refused(send_opening(&service, smell).await, Code::NotFound, "COMPLAINT_CATEGORY_NOT_FOUND");
    let ahead = Some(at("2026-01-15T12:05:01Z"));
    let ahead = proto::OpenComplaintRequest { received_at: ahead, ..opening("anna", "x") };
    assert_refused(send_opening(&service, ahead).await, Code::OutOfRange, "INSTANT_IN_FUTURE");
    let open = send_opening(&service, opening("anna", "second")).await.unwrap();
    let smell = step!(UpdateComplaintRequest, open, "x", category_id: "smell".to_owned());
    assert_refused(update(&service, smell).await, Code::NotFound, "COMPLAINT_CATEGORY_NOT_FOUND");
    let claims = step!(UpdateComplaintRequest, open, "x", category_id: "claims".to_owned(), extended: true);
    refused(update(&service, claims).await);
    let euros = Some(proto::Remedy { value: Some(money("EUR", "1.00")), ..apology });
    let euros = offer(&service, step!(OfferRemedyRequest, open, "x", remedy: euros)).await;
    assert_refused(euros, Code::FailedPrecondition, "CURRENCY_MISMATCH");
    let other = proto::OpenComplaintRequest { text: "other".to_owned(), ..opening("anna", "second") };
    assert_refused(send_opening(&service, other).await, Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn requests_about_complaints_tell_every_bad_field() {
    let service = start().await;
    let bad = proto::OpenComplaintRequest {
        program_id: "?".to_owned(),
        category_id: "?".to_owned(),
        priority: 9,
        channel: 99,
        owner: "\u{7}".to_owned(),
        text: "x".repeat(4_001),
        ..Default::default()
    };
    let expected =
        ["category_id", "channel", "customer_id", "idempotency_key", "owner", "priority", "program_id", "text"];
    assert_eq!(sorted_bad_fields(send_opening(&service, bad).await), expected);
    let of_step = ["complaint_id", "customer_id", "idempotency_key", "program_id"];
    let with = |more: &[&str]| {
        let mut fields: Vec<String> = of_step.iter().chain(more).map(|field| (*field).to_owned()).collect();
        fields.sort();
        fields
    };
    let bad = proto::UpdateComplaintRequest {
        handling_score: Some(6),
        priority: -1,
        owner: Some("x".repeat(129)),
        text: "\0".to_owned(),
        ..Default::default()
    };
    assert_eq!(sorted_bad_fields(update(&service, bad).await), with(&["handling_score", "owner", "priority", "text"]));
    let nothing = proto::UpdateComplaintRequest::default();
    assert_eq!(sorted_bad_fields(update(&service, nothing).await), with(&["text"]));
    let remedy = Some(proto::Remedy { kind: 0, value: Some(usd("0.001")), offered_at: None });
    let bad = proto::OfferRemedyRequest { remedy, ..Default::default() };
    assert_eq!(sorted_bad_fields(offer(&service, bad).await), with(&["remedy.kind", "remedy.value"]));
    let bad = proto::ResolveComplaintRequest { handling_score: Some(0), ..Default::default() };
    let bad = service.complaints().resolve_complaint(bad).await;
    assert_eq!(sorted_bad_fields(bad), with(&["handling_score", "outcome"]));
    let bad = proto::ListDueComplaintsRequest { which: 9, within_hours: 8_761, page_size: -1, ..Default::default() };
    let bad = service.complaints().list_due_complaints(bad).await;
    assert_eq!(sorted_bad_fields(bad), ["page_size", "program_id", "which", "within_hours"]);
}

#[tokio::test]
async fn a_customer_has_100_open_complaints_at_most_and_each_200_steps() {
    let service = start().await;
    let all = join_all((0..100).map(|i| send_opening(&service, opening("anna", &format!("o-{i}"))))).await;
    let all: Vec<proto::Complaint> = all.into_iter().map(Result::unwrap).collect();
    let more = send_opening(&service, opening("anna", "more")).await;
    assert_refused(more, Code::FailedPrecondition, "TOO_MANY_COMPLAINTS");
    resolve(&service, &all[0], "resolve").await.unwrap();
    send_opening(&service, opening("anna", "more")).await.unwrap();
    assert_refused(reopen(&service, &all[0], "x").await, Code::FailedPrecondition, "TOO_MANY_COMPLAINTS");

    let note = |i: usize| step!(UpdateComplaintRequest, all[1], format!("n-{i}"), text: "Well.".to_owned());
    let notes = join_all((0..199).map(|i| update(&service, note(i)))).await;
    assert!(notes.iter().all(Result::is_ok));
    let more = update(&service, note(200)).await;
    assert_refused(more, Code::FailedPrecondition, "TOO_MANY_COMPLAINT_STEPS");
    assert_eq!(get(&service, &all[1], None).await.unwrap().steps.len(), 200);
    resolve(&service, &all[1], "end").await.unwrap();

    let list = async |page_size: i32, page_token: String| {
        let request = proto::ListComplaintsRequest {
            program_id: SHOP.to_owned(),
            customer_id: "anna".to_owned(),
            page_size,
            page_token,
        };
        let page = service.complaints().list_complaints(request).await?.into_inner();
        Ok::<_, Status>((page.complaints, page.next_page_token))
    };
    let listed = read_pages(40, async |token| list(40, token).await.unwrap()).await;
    assert_eq!(listed.len(), 101);
    let ids: Vec<i64> = listed.iter().map(|it| it.complaint_id.split_once('.').unwrap().1.parse().unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a > b));
    let due = proto::ListDueComplaintsRequest { page_size: 1, ..Default::default() };
    let (_, foreign) = due::try_list(&service, due).await.unwrap();
    assert_refuses_bad_pages(&foreign, list).await;
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn complaints_by_many_clients_on_two_services_are_opened_and_acknowledged_once() {
    let service = start().await;
    let other = Service::start_on(service.database.clone(), service.clock.clone()).await;
    let both = |i: usize| if i.is_multiple_of(2) { &service } else { &other };
    let opened = join_all((0..16).map(|i| send_opening(both(i), opening("anna", "same")))).await;
    let opened: Vec<proto::Complaint> = opened.into_iter().map(Result::unwrap).collect();
    assert!(opened.iter().all(|complaint| *complaint == opened[0]));
    let keys: Vec<String> = (0..32).map(|i| format!("ack-{i}")).collect();
    let acknowledged = join_all(keys.iter().enumerate().map(|(i, key)| acknowledge(both(i), &opened[0], key))).await;
    assert_eq!(acknowledged.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for refused in acknowledged.into_iter().filter(Result::is_err) {
        assert_refused(refused, Code::FailedPrecondition, "COMPLAINT_STATE");
    }
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn erase_customer_ends_complaints_and_takes_their_words_and_owners() {
    let service = start().await;
    let said = || "My parcel is late.".to_owned();
    let mut all = Vec::new();
    for key in ["one", "two"] {
        let request = proto::OpenComplaintRequest { text: said(), owner: "Ola".to_owned(), ..opening("anna", key) };
        all.push(send_opening(&service, request).await.unwrap());
    }
    update(&service, step!(UpdateComplaintRequest, all[1], "wait", waiting: Some(true))).await.unwrap();
    let account_id = service.entries("anna").await[0].account_id.clone();
    erase(&service, erasure("anna", proto::BalanceDisposal::Expire, "k")).await.unwrap();
    let mut connection = service.database.connect(SUPERUSER).await;
    for (rows, left) in [
        ("entry_notes", 0),
        ("complaint_owners", 0),
        ("complaints", 2),
        ("complaints WHERE ended_at IS NULL OR resolve_by IS NOT NULL", 0),
    ] {
        let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {rows}")))
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(count, left, "{rows}");
    }
    // No deadline is missed any more, and nobody is told to look after it.
    service.set_clock("2026-06-01T12:00:00Z");
    let _worker = Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await;
    assert_eq!(due::list(&service, proto::ListDueComplaintsRequest::default()).await, Vec::<proto::Complaint>::new());
    let escalated: i64 = sqlx::query_scalar("SELECT count(*) FROM ledger_entries WHERE kind = 'complaint_escalated'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(escalated, 0, "{account_id}");
    assert_clean(&service.database).await;
}
