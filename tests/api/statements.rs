//! `LedgerService.GetStatement`: every move of points with its cause, between what there was before and after.

use goldbook::cli::statement_line::describe;
use goldbook::proto;
use jiff::Timestamp;
use tonic::{Code, Status};

use crate::harness::{SHOP, Service, assert_refused, assert_tells, at, bad_fields, grant_reward, instant, purchase};
use crate::points::calls::adjust_points;

/// A service with anna, who was granted points that vest and expire later, and spent some.
async fn start_with_history() -> Service {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    service.grant("anna", 100, "free").await.unwrap();
    let mut later = grant_reward("anna", 50, "later");
    later.vesting = Some(after("P10D"));
    later.expiry = Some(expiry_after("P20D"));
    service.rewards().grant_reward(later).await.unwrap();
    service.set_clock("2026-01-19T12:00:00Z");
    service.activities().record_activity(purchase("anna", "order-1", "30.00", service.clock.now())).await.unwrap();
    redeem(&service, 110, "spend").await.unwrap();
    service
}

fn after(period: &str) -> proto::VestingRule {
    proto::VestingRule { rule: Some(proto::vesting_rule::Rule::After(period.to_owned())) }
}

fn expiry_after(period: &str) -> proto::ExpiryRule {
    let after = proto::expiry_rule::After { period: period.to_owned(), ..Default::default() };
    proto::ExpiryRule { rule: Some(proto::expiry_rule::Rule::After(after)) }
}

async fn redeem(service: &Service, points: i64, key: &str) -> Result<proto::RedeemPointsResponse, Status> {
    let request = proto::RedeemPointsRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        points,
        note: "a book".to_owned(),
        idempotency_key: key.to_owned(),
    };
    Ok(service.rewards().redeem_points(request).await?.into_inner())
}

fn request(from: Option<&str>, until: Option<&str>) -> proto::GetStatementRequest {
    proto::GetStatementRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        start_time: from.map(at),
        end_time: until.map(at),
        ..Default::default()
    }
}

async fn statement(
    service: &Service,
    request: proto::GetStatementRequest,
) -> Result<proto::GetStatementResponse, Status> {
    Ok(service.ledger().get_statement(request).await?.into_inner())
}

fn points(lines: &[proto::StatementLine]) -> Vec<i64> {
    lines.iter().map(|line| line.r#move.as_ref().unwrap().points).collect()
}

#[tokio::test]
async fn get_statement_tells_every_move_with_its_cause_in_words_and_ids() {
    let service = start_with_history().await;
    let whole = statement(&service, request(None, None)).await.unwrap();
    assert_eq!(whole.opening, Some(proto::PocketBalances::default()));
    let closing = whole.closing.unwrap();
    assert_eq!((closing.issued, closing.pending, closing.available, closing.redeemed), (180, 50, 20, 110));
    let words: Vec<&str> = whole.lines.iter().map(describe).collect();
    let goodwill = "Points as a gesture of goodwill";
    assert_eq!(words, [goodwill, goodwill, "Points for a purchase", "Points redeemed"]);
    assert_eq!(points(&whole.lines), [100, 50, 30, 110]);
    let earned = &whole.lines[2];
    assert_eq!(earned.activity_id, "order-1");
    assert_eq!(earned.cause_entry_ids.len(), 1);
    let spent = &whole.lines[3];
    assert_eq!(spent.note, "a book");
    // The oldest first, since nothing available expires.
    let lots: Vec<(&str, i64)> = spent.lots.iter().map(|part| (part.lot_id.as_str(), part.points)).collect();
    assert_eq!(lots, [(whole.lines[0].entry_id.as_str(), 100), (earned.entry_id.as_str(), 10)]);
    assert!(whole.lines.iter().all(|line| line.trace_id.len() == 32));
}

#[tokio::test]
async fn get_statement_says_who_adjusted_points_and_what_was_undone() {
    let service = start_with_history().await;
    let up = proto::adjust_points_request::Change::PointsUp(5);
    let adjusted = proto::AdjustPointsRequest { note: "sorry".to_owned(), ..adjust_points(up, "up") };
    let adjusted = service.rewards().adjust_points(adjusted).await.unwrap().into_inner();
    let spent = statement(&service, request(None, None)).await.unwrap().lines[3].entry_id.clone();
    service.reverse(&adjusted.entry_id, "undo-up").await.unwrap();
    service.reverse(&spent, "undo-spend").await.unwrap();
    let lines = statement(&service, request(None, None)).await.unwrap().lines;
    let told: Vec<[&str; 3]> = lines[4..].iter().map(|line| [describe(line), &line.author, &line.note]).collect();
    let expected = [
        ["Points added by hand", "clerk-7", "sorry"],
        ["Points taken back: a grant was undone", "", ""],
        ["Points returned: a redemption was undone", "", ""],
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn get_statement_of_a_period_is_half_open_and_ties_to_the_balances_at_both_ends() {
    let service = start_with_history().await;
    let days = ["2026-01-15T12:00:00Z", "2026-01-19T11:59:59Z", "2026-01-19T12:00:00Z"];
    for from in days {
        for until in days.into_iter().filter(|until| *until > from) {
            let part = statement(&service, request(Some(from), Some(until))).await.unwrap();
            for (instant_of, side) in [(from, part.opening), (until, part.closing)] {
                // What was there just before the instant.
                let before: Timestamp = instant_of.parse().unwrap();
                let before = before - jiff::SignedDuration::from_micros(1);
                let as_of = proto::GetBalanceRequest {
                    program_id: SHOP.to_owned(),
                    customer_id: "anna".to_owned(),
                    as_of: Some(instant(before)),
                };
                let side = side.unwrap();
                match service.rewards().get_balance(as_of).await {
                    Ok(found) => {
                        let found = found.into_inner().balance.unwrap();
                        assert_eq!((found.available, found.pending), (side.available, side.pending), "{instant_of}");
                    }
                    Err(_) => assert_eq!(side, proto::PocketBalances::default()),
                }
            }
        }
    }
}

#[tokio::test]
async fn get_statement_shows_what_is_due_as_it_will_be_written() {
    let service = start_with_history().await;
    service.set_clock("2026-05-01T12:00:00Z");
    let due = statement(&service, request(None, None)).await.unwrap();
    assert_eq!(points(&due.lines), [100, 50, 30, 110, 50, 50]);
    assert_eq!((due.lines[4].trace_id.as_str(), due.lines[5].trace_id.as_str()), ("", ""));
    // Any command on the account writes it first.
    redeem(&service, 1, "touch").await.unwrap();
    let written = statement(&service, request(None, None)).await.unwrap();
    assert_eq!(written.lines.len(), 7);
    for (due, written) in due.lines.iter().zip(&written.lines) {
        let traceless = proto::StatementLine { trace_id: due.trace_id.clone(), ..written.clone() };
        assert_eq!(*due, traceless);
    }
    let balance = service.balance("anna").await;
    let closing = written.closing.unwrap();
    assert_eq!((balance.available, balance.expired), (closing.available, closing.expired));
}

#[tokio::test]
async fn get_statement_pages_fit_together_while_writes_go_on() {
    let service = start_with_history().await;
    service.set_clock("2026-05-01T12:00:00Z");
    let whole = statement(&service, request(None, None)).await.unwrap();
    let mut page_request = request(None, None);
    page_request.page_size = 2;
    let (mut lines, mut count) = (Vec::new(), 0);
    loop {
        let page = statement(&service, page_request.clone()).await.unwrap();
        assert_eq!((page.opening, page.closing), (whole.opening, whole.closing), "page {count}");
        lines.extend(page.lines);
        count += 1;
        // Writes what is due, and more; the statement has its end already.
        service.grant("anna", 7, &format!("between-{count}")).await.unwrap();
        if page.next_page_token.is_empty() {
            break;
        }
        page_request.page_token = page.next_page_token;
    }
    assert_eq!(count, 3);
    let ids = |lines: &[proto::StatementLine]| lines.iter().map(|line| line.entry_id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&lines), ids(&whole.lines));
}

#[tokio::test]
async fn get_statement_refuses_what_cannot_be() {
    let service = start_with_history().await;
    let backwards = statement(&service, request(Some("2026-01-16T00:00:00Z"), Some("2026-01-15T00:00:00Z"))).await;
    assert_eq!(bad_fields(&backwards.unwrap_err()), ["end_time"]);
    let ahead = statement(&service, request(None, Some("2027-01-01T00:00:00Z"))).await;
    assert_tells(
        ahead.clone(),
        "end_time 2027-01-01T00:00:00Z lies in the future",
        &[("end_time", "2027-01-01T00:00:00Z")],
    );
    assert_refused(ahead, Code::OutOfRange, "INSTANT_IN_FUTURE");
    // Valid, and yet more than can be held: 9999-12-31T00:00:00Z.
    let mut last = request(None, None);
    last.end_time = Some(prost_types::Timestamp { seconds: 253_402_214_400, nanos: 0 });
    assert_tells(statement(&service, last).await, "end_time must not be after 9999-12-30T22:00:00Z", &[]);
    let mut unknown = request(None, None);
    unknown.customer_id = "nobody".to_owned();
    assert_refused(statement(&service, unknown).await, Code::NotFound, "CUSTOMER_NOT_FOUND");
    let mut foreign = request(None, None);
    foreign.page_token = "AA".to_owned();
    assert_refused(statement(&service, foreign).await, Code::OutOfRange, "PAGE_TOKEN_INVALID");
}
