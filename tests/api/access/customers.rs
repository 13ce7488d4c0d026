//! What a customer sees with a token of their own, and what they cannot learn.

use goldbook::proto;
use tonic::Status;

use super::issuer::{KeyFile, SigningKey, claims_of_customer, claims_of_role};
use super::{by, enrol_by, start_with_issuer};
use crate::customers::export::read_document;
use crate::harness::{SHOP, Service, create_referral, purchase};

pub(super) struct Shop {
    pub service: Service,
    key: SigningKey,
    pub admin: String,
    _file: KeyFile,
}

impl Shop {
    /// A shop with Anna.
    pub(super) async fn start() -> Self {
        let key = SigningKey::p256("key");
        let (service, file) = start_with_issuer(&[&key]).await;
        let admin = key.token(&claims_of_role("admin"));
        Self { service, key, admin, _file: file }
    }

    pub(super) fn token(&self, customer_id: &str) -> String {
        self.key.token(&claims_of_customer(customer_id))
    }

    pub(super) async fn share(&self, customer_id: &str, campaign_id: &str) -> String {
        let request = proto::CreateReferralCodeRequest {
            program_id: SHOP.to_owned(),
            customer_id: customer_id.to_owned(),
            campaign_id: campaign_id.to_owned(),
        };
        let answer = self.service.referrals().create_referral_code(by(&self.token(customer_id), request)).await;
        answer.unwrap().into_inner().referral_code.unwrap().code
    }

    pub(super) async fn refer(&self, referee: &str, code: &str) -> Result<proto::Referral, Status> {
        let request = proto::CreateReferralRequest { enrol: true, ..create_referral(referee, code) };
        let answer = self.service.referrals().create_referral(by(&self.token(referee), request)).await?;
        Ok(answer.into_inner().referral.unwrap())
    }
}

/// All that a caller sees of a refusal: code, message, details, and the headers but for those of the trace and the time.
pub(super) fn seen(status: &Status) -> (tonic::Code, String, Vec<u8>, Vec<String>) {
    let mut headers: Vec<String> = status
        .metadata()
        .clone()
        .into_headers()
        .iter()
        .filter(|(name, _)| !["traceparent", "date"].contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {value:?}"))
        .collect();
    headers.sort();
    (status.code(), status.message().to_owned(), status.details().to_vec(), headers)
}

#[tokio::test]
async fn a_customer_cannot_tell_codes_that_do_not_work_from_those_that_do_not_exist() {
    let shop = Shop::start().await;
    let code = shop.share("anna", "friends").await;
    // The campaign ends, so the code exists and cannot be used.
    let mut ended = crate::harness::shop();
    ended.campaigns[0].ends_at = Some(crate::harness::at("2026-01-15T11:00:00Z"));
    let apply = proto::ApplyProgramRequest { program: Some(ended), ..Default::default() };
    shop.service.programs().apply_program(by(&shop.admin, apply)).await.unwrap();
    let missing = code.chars().rev().collect::<String>();
    let of_existing = shop.refer("zoe", &code).await.unwrap_err();
    let of_missing = shop.refer("zoe", &missing).await.unwrap_err();
    let told = |status: &Status, code: &str| {
        let (kind, message, details, _) = seen(status);
        (kind, message, String::from_utf8_lossy(&details).replace(code, "CODE"))
    };
    assert_eq!(told(&of_existing, &code), told(&of_missing, &missing));
    // Those who serve customers are told why.
    let request = proto::CreateReferralRequest { enrol: true, ..create_referral("zoe", &code) };
    let refused = shop.service.referrals().create_referral(by(&shop.admin, request)).await.unwrap_err();
    assert_eq!(crate::harness::reason(&refused), "REFERRAL_CODE_EXPIRED");
}

/// Who was referred before cannot try codes.
#[tokio::test]
async fn a_customer_who_cannot_be_referred_learns_nothing_about_codes() {
    let shop = Shop::start().await;
    let code = shop.share("anna", "friends").await;
    shop.refer("ben", &code).await.unwrap();
    let other = shop.share("anna", "partners").await;
    let again = async |code: &str, key: &str| {
        let request = proto::CreateReferralRequest { idempotency_key: key.to_owned(), ..create_referral("ben", code) };
        shop.service.referrals().create_referral(by(&shop.token("ben"), request)).await.unwrap_err()
    };
    assert_eq!(seen(&again(&other, "k-1").await), seen(&again("NOCODE", "k-2").await));
}

#[tokio::test]
async fn a_customer_sees_their_own_side_of_a_referral() {
    let shop = Shop::start().await;
    let code = shop.share("anna", "friends").await;
    let created = shop.refer("ben", &code).await.unwrap();
    assert_eq!((created.referee_customer_id.as_str(), created.referrer_customer_id.as_str()), ("ben", ""));
    let bought = purchase("ben", "order-1", "20.00", "2026-01-15T11:00:00Z".parse().unwrap());
    shop.service.activities().record_activity(by(&shop.admin, bought)).await.unwrap();
    let get = async |token: &str| {
        let request = proto::GetReferralRequest { program_id: SHOP.to_owned(), referee_customer_id: "ben".to_owned() };
        shop.service.referrals().get_referral(by(token, request)).await.unwrap().into_inner().referral.unwrap()
    };
    let (whole, own) = (get(&shop.admin).await, get(&shop.token("ben")).await);
    assert_eq!(whole.referrer_customer_id, "anna");
    let expected = proto::Referral {
        referrer_customer_id: String::new(),
        referrer_reward_entry_id: String::new(),
        ..whole.clone()
    };
    assert_eq!(own, expected);
    assert!(!own.referee_reward_entry_id.is_empty() && !whole.referrer_reward_entry_id.is_empty());
    let list = async |token: &str| {
        let request = proto::ListReferralsRequest {
            program_id: SHOP.to_owned(),
            referrer_customer_id: "anna".to_owned(),
            ..Default::default()
        };
        let mut listed =
            shop.service.referrals().list_referrals(by(token, request)).await.unwrap().into_inner().referrals;
        assert_eq!(listed.len(), 1);
        listed.remove(0)
    };
    let own = list(&shop.token("anna")).await;
    let expected = proto::Referral {
        referee_customer_id: String::new(),
        referee_reward_entry_id: String::new(),
        qualifying_entry_id: String::new(),
        entry_id: String::new(),
        ..whole
    };
    assert_eq!(own, expected);
    assert!(!own.referrer_reward_entry_id.is_empty());
}

#[tokio::test]
async fn a_customer_reads_a_statement_without_what_colleagues_wrote() {
    let shop = Shop::start().await;
    let code = shop.share("anna", "friends").await;
    shop.refer("ben", &code).await.unwrap();
    let bought = purchase("ben", "order-1", "20.00", "2026-01-15T11:00:00Z".parse().unwrap());
    shop.service.activities().record_activity(by(&shop.admin, bought)).await.unwrap();
    let adjust = proto::AdjustPointsRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        change: Some(proto::adjust_points_request::Change::PointsUp(7)),
        reason: proto::CorrectionReason::CustomerRequest.into(),
        author: "colleague".to_owned(),
        note: "a difficult person".to_owned(),
        idempotency_key: "adjust".to_owned(),
        ..Default::default()
    };
    shop.service.rewards().adjust_points(by(&shop.admin, adjust)).await.unwrap();
    let statement = async |token: &str| {
        let request = proto::GetStatementRequest {
            program_id: SHOP.to_owned(),
            customer_id: "anna".to_owned(),
            ..Default::default()
        };
        shop.service.ledger().get_statement(by(token, request)).await.unwrap().into_inner().lines
    };
    let (whole, own) = (statement(&shop.admin).await, statement(&shop.token("anna")).await);
    assert!(whole.iter().any(|line| line.note == "a difficult person" && line.author == "colleague"));
    let account = |entry_id: &str| entry_id.split('.').next().unwrap().to_owned();
    assert!(whole.iter().any(|line| line.cause_entry_ids.iter().any(|it| account(it) != account(&line.entry_id))));
    assert_eq!(own.len(), whole.len());
    for line in &own {
        assert_eq!((line.note.as_str(), line.author.as_str(), line.trace_id.as_str()), ("", "", ""));
        assert!(line.cause_entry_ids.iter().all(|cause| account(cause) == account(&line.entry_id)), "{line:?}");
    }
}

#[tokio::test]
async fn a_customer_reads_of_an_override_without_who_decided_it() {
    let shop = Shop::start().await;
    let set = proto::SetTierOverrideRequest {
        program_id: SHOP.to_owned(),
        customer_id: "anna".to_owned(),
        tier_id: "gold".to_owned(),
        kind: proto::TierOverrideKind::Floor.into(),
        reason: proto::CorrectionReason::Goodwill.into(),
        author: "colleague".to_owned(),
        note: "a difficult person".to_owned(),
        idempotency_key: "set".to_owned(),
        ..Default::default()
    };
    shop.service.tiers().set_tier_override(by(&shop.admin, set)).await.unwrap();
    let forced = async |token: &str| {
        let request =
            proto::GetCustomerTierRequest { program_id: SHOP.to_owned(), customer_id: "anna".to_owned(), as_of: None };
        let answer = shop.service.tiers().get_customer_tier(by(token, request)).await.unwrap().into_inner();
        answer.customer_tier.unwrap().r#override.unwrap()
    };
    let (whole, own) = (forced(&shop.admin).await, forced(&shop.token("anna")).await);
    assert_eq!((whole.author.as_str(), whole.note.as_str()), ("colleague", "a difficult person"));
    assert_eq!(own, proto::TierOverride { author: String::new(), note: String::new(), ..whole });
}

#[tokio::test]
async fn a_customer_can_have_what_is_known_of_them_and_of_nobody_else() {
    let shop = Shop::start().await;
    enrol_by(&shop.service, &shop.admin, "ben").await;
    let anna = shop.token("anna");
    let before = shop.service.count_entries().await;
    let export = async |customer_id: &str| {
        let request = proto::ExportCustomerRequest { program_id: SHOP.to_owned(), customer_id: customer_id.to_owned() };
        shop.service.customers().export_customer(by(&anna, request)).await
    };
    let (existing, missing) = (export("ben").await.unwrap_err(), export("zoe").await.unwrap_err());
    assert_eq!(existing.code(), tonic::Code::PermissionDenied);
    assert_eq!(seen(&existing), seen(&missing));
    assert_eq!(shop.service.count_entries().await, before);
    let document = read_document(export("anna").await.unwrap().into_inner()).await.unwrap();
    assert_eq!(document["customer_id"], "anna");
    assert_eq!(document["principals"][0]["subject"], "user-anna");
    assert_eq!(shop.service.count_entries().await, before + 1);
}
