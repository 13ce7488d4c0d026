//! Goodwill: given at once, within limits that hold whoever gives at the same time, and told with its complaint.

use futures_util::future::join_all;
use goldbook::access::grpc::Identities;
use goldbook::access::role::Role;
use goldbook::embedded_postgres::{SERVICE_ROLE, SUPERUSER};
use goldbook::proto;
use goldbook::proto::grant_goodwill_request::Gift;
use goldbook::proto::{CalendarPeriod, GoodwillParty};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{complaining_shop, get, opening, resolve, send_opening};
use crate::access::issuer::{SigningKey, claims_of_role};
use crate::access::{ask_balance, by, enrol_by, key_of, start_with_issuer};
use crate::audit::assert_clean;
use crate::binary::Serving;
use crate::customers::erasure::erasure;
use crate::harness::{Database, SHOP, START, Service, assert_refused, reason, sorted_bad_fields};

fn limit(of: GoodwillParty, period: CalendarPeriod, points: i64) -> proto::GoodwillLimit {
    proto::GoodwillLimit { of: of.into(), period: period.into(), points }
}

/// The shop of complaints, whose points vest after a fortnight, with a day in the lounge to give as 150 points.
pub(crate) fn giving_shop(most_at_once: Option<i64>, limits: Vec<proto::GoodwillLimit>) -> proto::Program {
    let mut shop = complaining_shop();
    let after = proto::vesting_rule::Rule::After("P14D".to_owned());
    let vesting = Some(proto::VestingRule { rule: Some(after) });
    shop.points = Some(proto::PointsPolicy { vesting, ..Default::default() });
    shop.extras = vec![proto::Benefit {
        benefit_id: "day-pass".to_owned(),
        display_name: "A day in the lounge".to_owned(),
        ..Default::default()
    }];
    let benefits = vec![proto::GoodwillBenefit {
        benefit_id: "day-pass".to_owned(),
        quantity: Some(2),
        valid_for: "P30D".to_owned(),
        points: 150,
        ..Default::default()
    }];
    shop.goodwill = Some(proto::GoodwillPolicy { most_at_once, limits, benefits });
    shop
}

pub(crate) fn gift(customer_id: &str, gift: Gift, key: &str) -> proto::GrantGoodwillRequest {
    proto::GrantGoodwillRequest {
        program_id: SHOP.to_owned(),
        customer_id: customer_id.to_owned(),
        gift: Some(gift),
        idempotency_key: key.to_owned(),
        ..Default::default()
    }
}

async fn give(service: &Service, request: proto::GrantGoodwillRequest) -> Result<proto::GrantGoodwillResponse, Status> {
    Ok(service.complaints().grant_goodwill(request).await?.into_inner())
}

fn day_pass() -> Gift {
    Gift::BenefitId("day-pass".to_owned())
}

async fn available(service: &Service, customer_id: &str) -> i64 {
    service.balance(customer_id).await.available
}

#[tokio::test]
async fn a_customer_is_made_whole_at_once_and_the_complaint_tells_it() {
    let service = Service::start().await;
    let limits = vec![limit(GoodwillParty::Customer, CalendarPeriod::Month, 1_000)];
    service.apply(giving_shop(None, limits)).await.unwrap();
    service.enrol("anna").await;
    let complaint = send_opening(&service, opening("anna", "open")).await.unwrap();
    let for_complaint = |request| proto::GrantGoodwillRequest {
        complaint_id: complaint.complaint_id.clone(),
        note: "Stood in the rain.".to_owned(),
        ..request
    };
    let request = for_complaint(gift("anna", Gift::Points(250), "points"));
    let given = give(&service, request.clone()).await.unwrap();
    assert_eq!((given.left, given.entitlement_id.as_str(), given.replayed), (Some(750), "", false));
    // Other points of the program wait for a fortnight.
    assert_eq!(available(&service, "anna").await, 250);
    service.set_clock("2026-01-15T13:00:00Z");
    let pass = give(&service, for_complaint(gift("anna", day_pass(), "pass"))).await.unwrap();
    assert_eq!((pass.left, pass.reward_id.as_str()), (Some(600), ""));
    // The first answer, but for what is left now.
    let again = give(&service, request.clone()).await.unwrap();
    assert_eq!(again, proto::GrantGoodwillResponse { replayed: true, left: Some(600), ..given.clone() });
    let other = proto::GrantGoodwillRequest { gift: Some(Gift::Points(251)), ..request };
    assert_refused(give(&service, other).await, Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");

    let told = get(&service, &complaint, None).await.unwrap();
    let noted = |of: &proto::GrantGoodwillResponse| proto::Goodwill {
        note: "Stood in the rain.".to_owned(),
        ..of.goodwill.clone().unwrap()
    };
    assert_eq!(told.goodwill, [noted(&given), noted(&pass)]);
    assert_eq!(told.goodwill.iter().map(|it| it.value).collect::<Vec<_>>(), [250, 150]);
    assert_eq!(told.state(), proto::ComplaintState::Received);
    let then = get(&service, &complaint, Some(START)).await.unwrap();
    assert_eq!(then.goodwill, told.goodwill[..1]);
    // What was given is caused by the goodwill, and that by the complaint.
    let entries = service.entries("anna").await;
    let entry = |id: &str| entries.iter().find(|entry| entry.entry_id == id).unwrap().clone();
    let (goodwill, effect) = (entry(&pass.goodwill.unwrap().goodwill_id), entry(&pass.entitlement_id));
    let cause = |entry: &proto::Entry| entry.cause_entry_ids.join(" ");
    assert_eq!((cause(&effect), cause(&goodwill)), (goodwill.entry_id.clone(), complaint.complaint_id.clone()));
    assert_eq!(cause(&entry(&given.reward_id)), given.goodwill.unwrap().goodwill_id);
    assert_eq!(goodwill.kind(), proto::EntryKind::GoodwillGiven);
    assert_eq!([goodwill.reason(), effect.reason()], [proto::EntryReason::Goodwill; 2]);
    // It is never too late.
    resolve(&service, &complaint, "resolve").await.unwrap();
    give(&service, for_complaint(gift("anna", Gift::Points(1), "late"))).await.unwrap();
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn limits_hold_for_each_person_and_each_customer_in_each_period() {
    let database = Database::create().await;
    let admin = key_of(&database, "admin", Role::Admin, None).await;
    let [kim, lou] = ["kim", "lou"].map(|name| key_of(&database, name, Role::Support, None));
    let (kim, lou) = (kim.await, lou.await);
    let identities = Identities { api_keys: true, ..Identities::default() };
    let service = Service::start_asking(database, identities).await;
    let limits = vec![
        limit(GoodwillParty::Person, CalendarPeriod::Day, 500),
        limit(GoodwillParty::Customer, CalendarPeriod::Year, 600),
    ];
    let program = Some(giving_shop(Some(400), limits));
    let apply = proto::ApplyProgramRequest { program, ..Default::default() };
    service.programs().apply_program(by(&admin, apply)).await.unwrap();
    for customer_id in ["anna", "ben"] {
        enrol_by(&service, &admin, customer_id).await;
    }
    let give = async |person: &str, customer_id: &str, points: i64| {
        let key = format!("{customer_id}-{points}");
        let request = gift(customer_id, Gift::Points(points), &key);
        service.complaints().grant_goodwill(by(person, request)).await.map(|it| it.into_inner().left.unwrap())
    };
    let refused = |outcome: Result<i64, Status>| {
        let status = outcome.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "GOODWILL_LIMIT_EXCEEDED"));
        let metadata = status.get_details_error_info().unwrap().metadata;
        let told = |key: &str| metadata.get(key).cloned().unwrap_or_default();
        [told("of"), told("period"), told("maximum"), told("left"), told("ends_at")]
    };
    assert_eq!(refused(give(&kim, "anna", 401).await), ["", "", "400", "", ""]);
    assert_eq!(give(&kim, "anna", 400).await.unwrap(), 100);
    let until_tomorrow = ["person", "day", "500", "100", "2026-01-16T05:00:00Z"];
    assert_eq!(refused(give(&kim, "ben", 101).await), until_tomorrow);
    // Another one has a day of their own, and the customer has not.
    assert_eq!(refused(give(&lou, "anna", 201).await), ["customer", "year", "600", "200", "2027-01-01T05:00:00Z"]);
    assert_eq!(give(&lou, "anna", 200).await.unwrap(), 0);
    assert_eq!(give(&kim, "ben", 100).await.unwrap(), 0);
    service.set_clock("2026-01-16T05:00:00Z");
    assert_eq!(give(&kim, "ben", 99).await.unwrap(), 401);
    assert_eq!(refused(give(&kim, "anna", 1).await)[..2], ["customer", "year"]);
    service.set_clock("2027-01-01T05:00:00Z");
    assert_eq!(give(&kim, "anna", 2).await.unwrap(), 498);
    // What may be given for other reasons is no way around.
    let grant = crate::harness::grant_reward("anna", 1, "around");
    let adjust = proto::AdjustPointsRequest { reason: proto::CorrectionReason::Goodwill.into(), ..Default::default() };
    let entitle = proto::GrantEntitlementRequest { reason: adjust.reason, ..Default::default() };
    for denied in [
        service.rewards().grant_reward(by(&kim, grant)).await.map(|_| ()),
        service.rewards().adjust_points(by(&kim, adjust)).await.map(|_| ()),
        service.benefits().grant_entitlement(by(&kim, entitle)).await.map(|_| ()),
    ] {
        let denied = denied.unwrap_err();
        assert_eq!((denied.code(), reason(&denied).as_str()), (Code::PermissionDenied, "NOT_PERMITTED"));
    }
}

/// Sixty-four clients of two services give at once: of what one person may give to all, and of what all may give to one
/// customer, exactly so much is given.
#[tokio::test]
async fn limits_are_exact_whoever_gives_at_the_same_time() {
    let service = Service::start().await;
    let other = Service::start_on(service.database.clone(), service.clock.clone()).await;
    let limits = vec![
        limit(GoodwillParty::Person, CalendarPeriod::Month, 129),
        limit(GoodwillParty::Customer, CalendarPeriod::Month, 39),
    ];
    service.apply(giving_shop(None, limits)).await.unwrap();
    for number in 0..8 {
        service.enrol(&format!("c{number}")).await;
    }
    let calls = (0..64).map(|call| {
        let service = if call % 2 == 0 { &service } else { &other };
        let request = gift(&format!("c{}", call % 8), Gift::Points(10), &format!("gift-{call}"));
        async move { (request.clone(), give(service, request).await) }
    });
    let outcomes = join_all(calls).await;
    let (given, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|(_, outcome)| outcome.is_ok());
    for (_, outcome) in refused {
        assert_refused(outcome, Code::FailedPrecondition, "GOODWILL_LIMIT_EXCEEDED");
    }
    assert_eq!(given.len(), 12);
    let mut in_all = 0;
    for number in 0..8 {
        let points = available(&service, &format!("c{number}")).await;
        assert!(points <= 30, "c{number} has {points}");
        in_all += points;
    }
    assert_eq!(in_all, 120);
    // What was refused for now left nothing behind, and what was given is given once.
    for (request, first) in given {
        let again = give(&other, request).await.unwrap();
        let first = first.unwrap();
        assert_eq!(again, proto::GrantGoodwillResponse { replayed: true, left: again.left, ..first });
        assert_eq!(again.left, Some(9));
    }
    assert_clean(&service.database).await;
}

#[tokio::test]
async fn what_is_not_offered_is_refused_and_opens_no_pot() {
    let service = super::start().await;
    service.enrol("ben").await;
    let points = || gift("anna", Gift::Points(1), "points");
    assert_refused(give(&service, points()).await, Code::FailedPrecondition, "GOODWILL_NOT_OFFERED");
    service.apply(giving_shop(None, Vec::new())).await.unwrap();
    let unknown = gift("anna", Gift::BenefitId("newsletter".to_owned()), "benefit");
    assert_refused(give(&service, unknown).await, Code::FailedPrecondition, "GOODWILL_NOT_OFFERED");
    let of_ben = send_opening(&service, opening("ben", "open")).await.unwrap().complaint_id;
    for complaint_id in [of_ben, format!("{}.1", "0".repeat(32))] {
        let request = proto::GrantGoodwillRequest { complaint_id, ..points() };
        assert_refused(give(&service, request).await, Code::NotFound, "COMPLAINT_NOT_FOUND");
    }
    let nobody = gift("zoe", Gift::Points(1), "points");
    assert_refused(give(&service, nobody).await, Code::NotFound, "CUSTOMER_NOT_FOUND");
    let count = async || {
        let mut connection = service.database.connect(SUPERUSER).await;
        let pots = "SELECT count(*) FROM accounts WHERE kind = 'pot'";
        sqlx::query_scalar::<_, i64>(pots).fetch_one(&mut connection).await.unwrap()
    };
    assert_eq!(count().await, 0);
    let unlimited = give(&service, points()).await.unwrap();
    assert_eq!((unlimited.left, count().await), (None, 1));
    let bad = proto::GrantGoodwillRequest {
        gift: Some(Gift::Points(0)),
        complaint_id: "x".to_owned(),
        note: "n".repeat(501),
        ..Default::default()
    };
    let fields = ["complaint_id", "customer_id", "idempotency_key", "note", "points", "program_id"];
    assert_eq!(sorted_bad_fields(give(&service, bad).await), fields);
    let nothing = proto::GrantGoodwillRequest { gift: None, ..points() };
    assert_eq!(sorted_bad_fields(give(&service, nothing).await), ["gift"]);
}

/// Eight people give to one customer at once, by two processes: of what the customer may be given, exactly so much is given.
#[tokio::test]
async fn what_one_customer_may_be_given_is_exact_whoever_gives_in_whichever_process() {
    let database = Database::create().await;
    let admin = key_of(&database, "admin", Role::Admin, None).await;
    let mut people = Vec::new();
    for number in 0..8 {
        people.push(key_of(&database, &format!("p-{number}"), Role::Support, None).await);
    }
    let flags = ["--listen", "127.0.0.1:0", "--api-keys"];
    let options = database.options(SERVICE_ROLE);
    let processes = [Serving::start_at(&options, &flags).await, Serving::start_at(&options, &flags).await];
    let mut services = Vec::new();
    for process in &processes {
        services.push(Service::at(process.address, database.clone()).await);
    }
    let limits = vec![limit(GoodwillParty::Customer, CalendarPeriod::Year, 39)];
    let apply = proto::ApplyProgramRequest { program: Some(giving_shop(None, limits)), ..Default::default() };
    services[0].programs().apply_program(by(&admin, apply)).await.unwrap();
    enrol_by(&services[0], &admin, "anna").await;
    let calls = (0..64).map(|call| {
        let request = gift("anna", Gift::Points(10), &format!("gift-{call}"));
        let (service, person) = (&services[call % 2], &people[call % 8]);
        async move { service.complaints().grant_goodwill(by(person, request)).await }
    });
    let (given, refused): (Vec<_>, Vec<_>) = join_all(calls).await.into_iter().partition(Result::is_ok);
    for outcome in refused {
        assert_refused(outcome, Code::FailedPrecondition, "GOODWILL_LIMIT_EXCEEDED");
    }
    assert_eq!((given.len(), ask_balance(&services[1], &admin, "anna").await.unwrap()), (3, 30));
    assert_clean(&database).await;
}

/// Whoever serves customers may be one, and be erased as one: what they gave still counts.
#[tokio::test]
async fn a_person_is_the_same_whichever_customer_they_are_beside() {
    let signing = SigningKey::p256("key");
    let (service, _file) = start_with_issuer(&[&signing]).await;
    let admin = signing.token(&claims_of_role("admin"));
    let limits = vec![limit(GoodwillParty::Person, CalendarPeriod::Year, 500)];
    let apply = proto::ApplyProgramRequest { program: Some(giving_shop(None, limits)), ..Default::default() };
    service.programs().apply_program(by(&admin, apply)).await.unwrap();
    enrol_by(&service, &admin, "kim").await;
    let mut claims = claims_of_role("support");
    let alone = signing.token(&claims);
    claims["customer_id"] = "kim".into();
    let beside = signing.token(&claims);
    let give = async |token: &str, points: i64| {
        let request = gift("anna", Gift::Points(points), &format!("gift-{points}"));
        service.complaints().grant_goodwill(by(token, request)).await.map(|it| it.into_inner().left)
    };
    assert_eq!(give(&beside, 300).await.unwrap(), Some(200));
    let erase = erasure("kim", proto::BalanceDisposal::Expire, "erase");
    service.customers().erase_customer(by(&admin, erase)).await.unwrap();
    assert_refused(give(&beside, 201).await, Code::FailedPrecondition, "GOODWILL_LIMIT_EXCEEDED");
    assert_refused(give(&alone, 202).await, Code::FailedPrecondition, "GOODWILL_LIMIT_EXCEEDED");
    assert_eq!(give(&alone, 100).await.unwrap(), Some(100));
    // A repetition is answered to whoever sends it, also once nothing may be given any more.
    let nothing = proto::ApplyProgramRequest { program: Some(complaining_shop()), ..Default::default() };
    service.programs().apply_program(by(&admin, nothing)).await.unwrap();
    assert_eq!(give(&admin, 300).await.unwrap(), Some(0));
}
