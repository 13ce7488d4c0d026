//! Histories to audit: a busy one by chance, and a small one of which every entry is known.

use goldbook::proto;
use goldbook::proto::record_activity_request::Activity;
use goldbook::proto::{adjust_points_request, expiry_rule, vesting_rule};
use jiff::SignedDuration;
use tonic::{Code, Status};

use crate::complaints::step;
use crate::harness::{SHOP, Service, create_customer, create_referral, grant_reward, instant, purchase, shop, usd};
use crate::random::Random;

/// [`shop`] where points slide, earning is capped, expired points come back, and tiers come with packages.
fn eventful_shop() -> proto::Program {
    let points = proto::PointsPolicy {
        expiry: Some(proto::ExpiryRule { rule: Some(expiry_rule::Rule::Sliding("P60D".to_owned())) }),
        earning: Some(proto::EarningLimits {
            per_transaction: None,
            per_period: vec![proto::PeriodCap { period: proto::CalendarPeriod::Month.into(), points: 2_000 }],
        }),
        reinstatement: Some(proto::Reinstatement { within: "P30D".to_owned(), valid_for: "P90D".to_owned() }),
        hold_for: "P3D".to_owned(),
        ..Default::default()
    };
    let package = |package_id: &str, tier_ids: &[&str], points| proto::Package {
        package_id: package_id.to_owned(),
        display_name: package_id.to_owned(),
        occasion: proto::PackageOccasion::TierReached.into(),
        tier_ids: tier_ids.iter().map(|tier_id| (*tier_id).to_owned()).collect(),
        points,
        benefits: vec![proto::PackagedBenefit {
            benefit_id: "free-shipping".to_owned(),
            quantity: Some(3),
            valid_for: "P90D".to_owned(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let packages = vec![package("hello", &["member"], 10), package("box", &["silver", "gold"], 50)];
    let complaints = crate::complaints::complaining_shop().complaints;
    let goodwill = Some(proto::GoodwillPolicy::default());
    let lifecycle = crate::lifecycle::staged_shop().lifecycle;
    let value_classes = Some(crate::value::classes::by_amount());
    proto::Program { points: Some(points), packages, complaints, goodwill, lifecycle, value_classes, ..shop() }
}

/// An answer, or none where rules refused; anything else fails the test.
fn allowed<T>(answer: Result<tonic::Response<T>, Status>) -> Option<T> {
    const REFUSALS: [Code; 4] = [Code::FailedPrecondition, Code::NotFound, Code::AlreadyExists, Code::OutOfRange];
    match answer {
        Ok(response) => Some(response.into_inner()),
        Err(status) if REFUSALS.contains(&status.code()) => None,
        Err(status) => panic!("{status:?}"),
    }
}

/// Some customers to whom anything happens, in any order, over about two years.
pub(super) async fn random(seed: u64, steps: u64) -> Service {
    let service = Service::start().await;
    service.apply(eventful_shop()).await.unwrap();
    let mut random = Random::of_seed(seed);
    let mut holds: Vec<(String, String)> = Vec::new();
    let mut codes: Vec<String> = Vec::new();
    for step in 0..steps {
        let customer = format!("c{}", random.below(6));
        let key = format!("k{step}");
        match random.below(16) {
            0..=2 => {
                let hours = i64::try_from(random.below(150)).unwrap();
                service.clock.set(service.clock.now() + SignedDuration::from_hours(hours));
            }
            3..=4 => drop(allowed(service.rewards().grant_reward(any_grant(&mut random, &customer, &key)).await)),
            5..=6 => {
                let amount = format!("{}.00", random.below(300));
                let request = purchase(&customer, &format!("order-{step}"), &amount, service.clock.now());
                allowed(service.activities().record_activity(request).await);
            }
            7 => refund_any(&service, &mut random, &customer, step).await,
            8 => redeem(&service, &customer, 1 + random.below(120), &key).await,
            9 => {
                let points = 1 + i64::try_from(random.below(90)).unwrap();
                holds.extend(hold(&service, &customer, points, &key).await.map(|hold_id| (customer, hold_id)));
            }
            10 if !holds.is_empty() => {
                let (customer, hold_id) = random.one_of(&holds).clone();
                end_hold(&service, &mut random, customer, hold_id, key).await;
            }
            11 => reverse_any(&service, &mut random, &customer, key).await,
            12 => adjust(&service, &mut random, customer, key).await,
            13 => {
                let request = proto::CreateReferralCodeRequest {
                    program_id: SHOP.to_owned(),
                    customer_id: customer,
                    campaign_id: "friends".to_owned(),
                };
                let code = allowed(service.referrals().create_referral_code(request).await);
                codes.extend(code.map(|response| response.referral_code.unwrap().code));
            }
            14 => come_and_go(&service, &mut random, &customer, key).await,
            _ if !codes.is_empty() => {
                let code = random.one_of(&codes).clone();
                allowed(service.referrals().create_referral(create_referral(&format!("new-{step}"), &code)).await);
                let request = purchase(&format!("new-{step}"), "first", "20.00", service.clock.now());
                if random.below(2) == 0 {
                    allowed(service.activities().record_activity(request).await);
                }
            }
            _ => {}
        }
        if step.is_multiple_of(7) {
            say_and_complain(&service, &mut random, &customer_of(step), step).await;
        }
        if step.is_multiple_of(5) {
            use_and_perhaps_undo(&service, &customer_of(step), step).await;
        }
    }
    service
}

fn customer_of(step: u64) -> String {
    format!("c{}", step % 6)
}

/// Says something, complains, and has some of it dealt with.
async fn say_and_complain(service: &Service, random: &mut Random, customer: &str, step: u64) {
    let now = service.clock.now().to_string();
    let score = 1 + i32::try_from(random.below(5)).unwrap();
    let feedback = crate::satisfaction::satisfied(score);
    let said = crate::satisfaction::said(customer, &format!("said-{step}"), feedback, &now);
    allowed(service.activities().record_activity(said).await);
    let opening = proto::OpenComplaintRequest {
        owner: "clerk".to_owned(),
        ..crate::complaints::opening(customer, &format!("complain-{step}"))
    };
    let Some(opened) = allowed(service.complaints().open_complaint(opening).await) else { return };
    let of = opened.complaint.unwrap();
    let waiting = Some(true).filter(|_| random.below(2) == 0);
    let key = format!("update-{step}");
    let update = step!(UpdateComplaintRequest, of, key.as_str(), waiting: waiting, text: "Well.".to_owned());
    allowed(service.complaints().update_complaint(update).await);
    if random.below(2) == 0 {
        let points = proto::grant_goodwill_request::Gift::Points(1 + i64::try_from(random.below(20)).unwrap());
        let gift = crate::complaints::goodwill::gift(customer, points, &format!("gift-{step}"));
        let gift = proto::GrantGoodwillRequest { complaint_id: of.complaint_id.clone(), ..gift };
        allowed(service.complaints().grant_goodwill(gift).await);
    }
    if random.below(2) == 0 {
        let outcome = proto::ComplaintOutcome::Upheld.into();
        let resolve = step!(ResolveComplaintRequest, of, format!("resolve-{step}").as_str(), outcome: outcome);
        allowed(service.complaints().resolve_complaint(resolve).await);
    }
}

/// Uses a benefit that every tier gives, and undoes every second use.
async fn use_and_perhaps_undo(service: &Service, customer: &str, step: u64) {
    let request = proto::UseBenefitRequest {
        program_id: SHOP.to_owned(),
        customer_id: customer.to_owned(),
        benefit_id: "newsletter".to_owned(),
        idempotency_key: format!("use-{step}"),
        ..Default::default()
    };
    let granted = crate::benefits::grants::grant_of("lounge", 2, None, &format!("grant-{step}"));
    let granted = proto::GrantEntitlementRequest { customer_id: customer.to_owned(), ..granted };
    if let Some(granted) = allowed(service.benefits().grant_entitlement(granted).await) {
        let lounge = proto::UseBenefitRequest {
            benefit_id: "lounge".to_owned(),
            idempotency_key: format!("lounge-{step}"),
            ..request.clone()
        };
        allowed(service.benefits().use_benefit(lounge).await);
        if step.is_multiple_of(3) {
            let revoke = proto::RevokeEntitlementRequest {
                program_id: SHOP.to_owned(),
                customer_id: customer.to_owned(),
                entitlement_id: granted.entitlement_id,
                reason: proto::CorrectionReason::Other.into(),
                author: "clerk".to_owned(),
                note: String::new(),
                idempotency_key: format!("revoke-{step}"),
            };
            allowed(service.benefits().revoke_entitlement(revoke).await);
        }
    }
    let Some(used) = allowed(service.benefits().use_benefit(request).await) else { return };
    if step.is_multiple_of(2) {
        let request = proto::ReverseBenefitUseRequest {
            program_id: SHOP.to_owned(),
            customer_id: customer.to_owned(),
            use_id: used.r#use.unwrap().use_id,
            reason: proto::CorrectionReason::Correction.into(),
            note: String::new(),
            idempotency_key: format!("undo-{step}"),
        };
        allowed(service.benefits().reverse_benefit_use(request).await);
    }
}

/// Erases a customer, who may come back.
async fn come_and_go(service: &Service, random: &mut Random, customer: &str, key: String) {
    // Some stay for the whole of the history.
    if customer < "c3" {
        return;
    }
    let request = proto::EraseCustomerRequest {
        program_id: SHOP.to_owned(),
        customer_id: customer.to_owned(),
        reason: proto::ErasureReason::CustomerRequest.into(),
        balance: 1 + i32::try_from(random.below(2)).unwrap(),
        idempotency_key: key.clone(),
    };
    allowed(service.customers().erase_customer(request).await);
    if random.below(3) > 0 {
        let request = proto::CreateCustomerRequest { returns: true, ..create_customer(customer, &key) };
        allowed(service.customers().create_customer(request).await);
    }
}

async fn refund_any(service: &Service, random: &mut Random, customer: &str, step: u64) {
    let refund = proto::Refund {
        purchase_activity_id: format!("order-{}", random.below(step + 1)),
        amount: Some(usd(&format!("{}.00", 1 + random.below(60)))),
        clawback: 0,
    };
    let mut request = purchase_of(customer, &format!("refund-{step}"), service);
    request.activity = Some(Activity::Refund(refund));
    allowed(service.activities().record_activity(request).await);
}

fn purchase_of(customer: &str, id: &str, service: &Service) -> proto::RecordActivityRequest {
    proto::RecordActivityRequest { enrol: false, ..purchase(customer, id, "0.00", service.clock.now()) }
}

fn any_grant(random: &mut Random, customer: &str, key: &str) -> proto::GrantRewardRequest {
    let vesting = match random.below(4) {
        0 => Some(vesting_rule::Rule::After("P10D".to_owned())),
        1 => Some(vesting_rule::Rule::OnEventWithin("P5D".to_owned())),
        _ => None,
    };
    let after = |period: &str| expiry_rule::After { period: period.to_owned(), round_to: 0 };
    let expiry = match random.below(3) {
        0 => Some(expiry_rule::Rule::After(after("P20D"))),
        1 => Some(expiry_rule::Rule::Never(())),
        _ => None,
    };
    proto::GrantRewardRequest {
        vesting: vesting.map(|rule| proto::VestingRule { rule: Some(rule) }),
        expiry: expiry.map(|rule| proto::ExpiryRule { rule: Some(rule) }),
        note: if random.below(3) == 0 { "a note".to_owned() } else { String::new() },
        ..grant_reward(customer, 1 + i64::try_from(random.below(400)).unwrap(), key)
    }
}

async fn redeem(service: &Service, customer: &str, points: u64, key: &str) {
    let request = proto::RedeemPointsRequest {
        program_id: SHOP.to_owned(),
        customer_id: customer.to_owned(),
        points: i64::try_from(points).unwrap(),
        note: String::new(),
        idempotency_key: key.to_owned(),
    };
    allowed(service.rewards().redeem_points(request).await);
}

async fn hold(service: &Service, customer: &str, points: i64, key: &str) -> Option<String> {
    let request = proto::HoldPointsRequest {
        program_id: SHOP.to_owned(),
        customer_id: customer.to_owned(),
        points,
        idempotency_key: key.to_owned(),
        ..Default::default()
    };
    allowed(service.rewards().hold_points(request).await).map(|response| response.hold.unwrap().hold_id)
}

async fn end_hold(
    service: &Service,
    random: &mut Random,
    customer_id: String,
    hold_id: String,
    idempotency_key: String,
) {
    let program_id = SHOP.to_owned();
    if random.below(2) == 0 {
        let points = i64::try_from(random.below(30)).unwrap();
        let request = proto::CapturePointsRequest { program_id, customer_id, hold_id, points, idempotency_key };
        allowed(service.rewards().capture_points(request).await);
    } else {
        let request = proto::ReleasePointsRequest { program_id, customer_id, hold_id, idempotency_key };
        allowed(service.rewards().release_points(request).await);
    }
}

async fn reverse_any(service: &Service, random: &mut Random, customer: &str, key: String) {
    let request = proto::ListEntriesRequest {
        program_id: SHOP.to_owned(),
        customer_id: customer.to_owned(),
        page_size: 1_000,
        ..Default::default()
    };
    let Some(page) = allowed(service.ledger().list_entries(request).await) else { return };
    let entry = random.one_of(&page.entries);
    let request = proto::ReverseEntryRequest {
        program_id: SHOP.to_owned(),
        customer_id: customer.to_owned(),
        entry_id: entry.entry_id.clone(),
        points: i64::try_from(random.below(3) * 10).unwrap(),
        clawback: i32::try_from(random.below(4)).unwrap(),
        expires_at: None,
        reason: proto::CorrectionReason::Correction.into(),
        note: String::new(),
        idempotency_key: key,
    };
    allowed(service.rewards().reverse_entry(request).await);
}

async fn adjust(service: &Service, random: &mut Random, customer_id: String, idempotency_key: String) {
    let points = 1 + i64::try_from(random.below(50)).unwrap();
    let change = if random.below(2) == 0 {
        adjust_points_request::Change::PointsUp(points)
    } else {
        adjust_points_request::Change::PointsDown(points)
    };
    let request = proto::AdjustPointsRequest {
        program_id: SHOP.to_owned(),
        customer_id,
        change: Some(change),
        expiry: None,
        reason: proto::CorrectionReason::Goodwill.into(),
        author: "clerk".to_owned(),
        note: String::new(),
        idempotency_key,
    };
    allowed(service.rewards().adjust_points(request).await);
}

/// Anna has a code, two lots, a spend and an open hold; Ben came with her code, and bought something.
pub(super) async fn small() -> Service {
    let service = Service::start().await;
    service.apply_shop().await;
    let code = service.share_code("anna", "friends").await;
    service.refer("ben", &code).await;
    service.purchase("ben", "order-1", "250.00").await.unwrap();
    service.purchase("ben", "order-2", "30.00").await.unwrap();
    let expires_at = service.clock.now() + SignedDuration::from_hours(24 * 90);
    let expiry = expiry_rule::Rule::At(instant(expires_at));
    let first = proto::GrantRewardRequest {
        expiry: Some(proto::ExpiryRule { rule: Some(expiry) }),
        note: "thanks".to_owned(),
        ..grant_reward("anna", 100, "first")
    };
    service.rewards().grant_reward(first).await.unwrap();
    service.grant("anna", 70, "second").await.unwrap();
    redeem(&service, "anna", 30, "spend").await;
    hold(&service, "anna", 20, "hold").await.unwrap();
    service
}
