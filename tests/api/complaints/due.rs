//! Complaints that press: what is late, what will be soon, and what time does to those that nobody looks at.

use goldbook::embedded_postgres::SUPERUSER;
use goldbook::proto;
use tonic::{Code, Status};

use super::{OFTEN, acknowledge, get, opening, resolve, send_opening, start, step, update};
use crate::audit::assert_clean;
use crate::harness::{SHOP, START, Service, assert_refused, assert_refuses_bad_pages, at, read_pages};
use crate::wait::until;

pub(super) async fn try_list(
    service: &Service,
    request: proto::ListDueComplaintsRequest,
) -> Result<(Vec<proto::Complaint>, String), Status> {
    let request = proto::ListDueComplaintsRequest { program_id: SHOP.to_owned(), ..request };
    let page = service.complaints().list_due_complaints(request).await?.into_inner();
    Ok((page.complaints, page.next_page_token))
}

/// All that press.
pub(super) async fn list(service: &Service, request: proto::ListDueComplaintsRequest) -> Vec<proto::Complaint> {
    let page = async |page_token| {
        let request = proto::ListDueComplaintsRequest { page_size: 1_000, page_token, ..request.clone() };
        try_list(service, request).await.unwrap()
    };
    read_pages(1_000, page).await
}

fn customers(complaints: &[proto::Complaint]) -> Vec<&str> {
    complaints.iter().map(|it| it.customer_id.as_str()).collect()
}

pub(super) fn which(which: proto::DueComplaints) -> proto::ListDueComplaintsRequest {
    proto::ListDueComplaintsRequest { which: which.into(), ..Default::default() }
}

#[tokio::test]
async fn list_due_complaints_tells_what_is_late_and_what_will_be_soon_by_owner() {
    let service = start().await;
    let open = async |customer: &str, high: bool, owner: &str| {
        service.enrol(customer).await;
        let priority = if high { proto::ComplaintPriority::High.into() } else { 0 };
        let request = proto::OpenComplaintRequest {
            priority,
            owner: owner.to_owned(),
            text: format!("{customer}'s"),
            ..opening(customer, "open")
        };
        send_opening(&service, request).await.unwrap()
    };
    // Thursday, 7 in the morning: to be acknowledged by 13 o'clock, or by Friday evening.
    open("normal", false, "Ola").await;
    open("high", true, "Kim").await;
    let waiting = open("waiting", true, "Kim").await;
    update(&service, step!(UpdateComplaintRequest, waiting, "wait", waiting: Some(true))).await.unwrap();
    let done = open("done", true, "Kim").await;
    resolve(&service, &done, "done").await.unwrap();
    let told = open("told", false, "").await;
    acknowledge(&service, &told, "ack").await.unwrap();
    service.enrol("claimant").await;
    let claim = proto::OpenComplaintRequest { category_id: "claims".to_owned(), ..opening("claimant", "open") };
    send_opening(&service, claim).await.unwrap();

    let all = list(&service, proto::ListDueComplaintsRequest::default()).await;
    assert_eq!(customers(&all), ["high", "normal", "told", "claimant"]);
    assert_eq!((all[0].text.as_str(), all[0].owner.as_str()), ("high's", "Kim"));
    let late = which(proto::DueComplaints::Late);
    let soon = |within_hours| proto::ListDueComplaintsRequest { within_hours, ..which(proto::DueComplaints::LateSoon) };
    assert_eq!(customers(&list(&service, late.clone()).await), [""; 0]);
    assert_eq!(customers(&list(&service, soon(0)).await), ["high"]);
    assert_eq!(customers(&list(&service, soon(34)).await), ["high", "normal"]);
    assert_eq!(customers(&list(&service, soon(5)).await), [""; 0]);
    // A deadline has passed at its very instant, whether anybody has written it or not.
    service.set_clock("2026-01-15T17:59:59.999999Z");
    assert_eq!(customers(&list(&service, late.clone()).await), [""; 0]);
    service.set_clock("2026-01-15T18:00:00Z");
    let now = list(&service, late.clone()).await;
    assert_eq!(customers(&now), ["high"]);
    assert_eq!(
        (now[0].late_since, now[0].state()),
        (Some(at("2026-01-15T18:00:00Z")), proto::ComplaintState::Escalated)
    );
    assert_eq!(customers(&list(&service, soon(0)).await), [""; 0]);
    let by = |owner: &str| proto::ListDueComplaintsRequest { owner: owner.to_owned(), ..Default::default() };
    assert_eq!(customers(&list(&service, by("Ola")).await), ["normal"]);
    assert_eq!(customers(&list(&service, by("Kim")).await), ["high"]);
    assert_eq!(customers(&list(&service, by("Nobody")).await), [""; 0]);

    let pages = async |page_size, page_token| {
        try_list(&service, proto::ListDueComplaintsRequest { page_size, page_token, ..Default::default() }).await
    };
    let one_by_one = read_pages(1, async |token| pages(1, token).await.unwrap()).await;
    assert_eq!(customers(&one_by_one), ["high", "normal", "told", "claimant"]);
    let foreign = proto::ListDueComplaintsRequest { page_size: 1, within_hours: 5, ..Default::default() };
    let (_, foreign) = try_list(&service, foreign).await.unwrap();
    assert_refuses_bad_pages(&foreign, pages).await;
    let request = proto::ListDueComplaintsRequest { program_id: "other".to_owned(), ..Default::default() };
    let other = service.complaints().list_due_complaints(request).await;
    assert_refused(other, Code::NotFound, "PROGRAM_NOT_FOUND");
}

/// What the ledger says of escalations: when, and what was missed.
async fn escalations(service: &Service) -> Vec<(String, String)> {
    let mut connection = service.database.connect(SUPERUSER).await;
    let select = "SELECT to_char(effective_at AT TIME ZONE 'UTC', 'MM-DD HH24:MI'), detail::jsonb ->> 'missed'
                  FROM ledger_entries WHERE kind = 'complaint_escalated' AND actor = 'time'
                  ORDER BY account_id, account_seq";
    sqlx::query_as(select).fetch_all(&mut connection).await.unwrap()
}

fn told(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(at, missed)| ((*at).to_owned(), (*missed).to_owned())).collect()
}

const MISSED: &[(&str, &str)] =
    &[("01-16 22:00", "acknowledgement"), ("01-23 22:00", "answer"), ("02-06 22:00", "resolution")];

#[tokio::test]
async fn a_missed_deadline_is_the_same_entry_whoever_writes_it() {
    // On touch: a call about something else finds what time has done.
    let service = start().await;
    let opened = send_opening(&service, opening("anna", "open")).await.unwrap();
    service.set_clock("2026-02-20T12:00:00Z");
    let in_memory = get(&service, &opened, None).await.unwrap();
    assert_eq!(escalations(&service).await, told(&[]));
    service.grant("anna", 1, "grant").await.unwrap();
    assert_eq!(escalations(&service).await, told(MISSED));
    let written = get(&service, &opened, None).await.unwrap();
    let plain = |complaint: &proto::Complaint| proto::Complaint { steps: Vec::new(), ..complaint.clone() };
    assert_eq!(plain(&written), plain(&in_memory));
    assert_eq!(written.late_since, Some(at("2026-01-16T22:00:00Z")));
    assert_clean(&service.database).await;
    // By the worker, and by those of two services.
    let service = start().await;
    send_opening(&service, opening("anna", "open")).await.unwrap();
    service.set_clock("2026-02-20T12:00:00Z");
    let _one = Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await;
    let _two = Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await;
    until("all to be written", async || (escalations(&service).await == told(MISSED)).then_some(())).await;
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn what_is_done_at_the_deadline_itself_is_late() {
    let service = start().await;
    let opened = send_opening(&service, opening("anna", "open")).await.unwrap();
    service.set_clock("2026-01-16T22:00:00Z");
    let late = acknowledge(&service, &opened, "ack").await.unwrap();
    assert_eq!((late.state(), late.missed.len()), (proto::ComplaintState::Escalated, 1));
    service.enrol("ben").await;
    service.set_clock("2026-01-20T14:00:00Z");
    let other = send_opening(&service, opening("ben", "open")).await.unwrap();
    service.set_clock("2026-01-21T21:59:59.999999Z");
    let in_time = acknowledge(&service, &other, "ack").await.unwrap();
    assert_eq!((in_time.state(), in_time.late_since), (proto::ComplaintState::Acknowledged, None));
    // By hand it is escalated, too, and is so until something is offered.
    let up = update(&service, step!(UpdateComplaintRequest, other, "up", escalated: true)).await.unwrap();
    assert_eq!((up.state(), up.late_since), (proto::ComplaintState::Escalated, None));
    let remedy = Some(proto::Remedy { kind: proto::RemedyKind::Apology.into(), ..Default::default() });
    let offered = super::offer(&service, step!(OfferRemedyRequest, other, "offer", remedy: remedy)).await.unwrap();
    assert_eq!(offered.state(), proto::ComplaintState::Offered);
    assert!(START.starts_with("2026-01-15"));
}
