//! What is committed is answered, whatever the reading connections are doing.

use futures_util::future::join_all;
use goldbook::proto;
use prost_types::FieldMask;
use tonic::Code;

use super::{count, sabotage};
use crate::harness::{SHOP, Service, at, grant_reward, shop};
use crate::wait::until;

/// Both lanes are connected; nothing else is, and nothing can connect any more.
async fn leave_the_lanes_alone(service: &Service) {
    join_all((0..20).map(|number| async move { service.enrol(&format!("c-{number}")).await })).await;
    let of_lanes = "pg_stat_activity WHERE datname = current_database() AND application_name = 'goldbook batch'";
    assert_eq!(count(&service.database, of_lanes).await, 2);
    let statements = format!(
        "ALTER DATABASE {} CONNECTION LIMIT 0;
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name <> 'goldbook batch' AND pid <> pg_backend_pid();",
        service.database.name(),
    );
    sabotage(&service.database, &statements).await;
    let others = "pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'
                  AND application_name <> 'goldbook batch' AND pid <> pg_backend_pid()";
    until("nothing but the lanes is connected", async || (count(&service.database, others).await == 0).then_some(()))
        .await;
}

/// A reward whose points wait for an event.
async fn grant_for_an_event(service: &Service) -> String {
    let rule = proto::vesting_rule::Rule::OnEventWithin("P5D".to_owned());
    let vesting = Some(proto::VestingRule { rule: Some(rule) });
    let grant = proto::GrantRewardRequest { vesting, note: "a gift".to_owned(), ..grant_reward("anna", 10, "waits") };
    service.rewards().grant_reward(grant).await.unwrap().into_inner().reward.unwrap().reward_id
}

#[tokio::test]
async fn answers_of_programs_and_customers_need_no_other_connection_than_their_lane() {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    leave_the_lanes_alone(&service).await;

    // Reads have no connection.
    let get = proto::GetCustomerRequest { program_id: SHOP.to_owned(), customer_id: "anna".to_owned() };
    assert_eq!(service.customers().get_customer(get).await.unwrap_err().code(), Code::Unavailable);

    let other = || proto::Program { display_name: "Other shop".to_owned(), ..shop() };
    let applied = service.apply(other()).await.unwrap();
    let (version, previous) = (applied.version.unwrap().version, applied.previous.unwrap().version);
    assert_eq!((applied.changed, version, previous), (true, 2, 1));
    let repeated = service.apply(other()).await.unwrap();
    assert_eq!((repeated.changed, repeated.version.unwrap().version, repeated.previous), (false, 2, None));

    let consent = proto::MarketingConsent {
        channel: proto::MarketingChannel::Email.into(),
        granted: true,
        decided_at: Some(at("2026-01-01T00:00:00Z")),
        source: "app".to_owned(),
    };
    let update = async |consents: &[proto::MarketingConsent], path: &str| {
        let customer = proto::Customer {
            customer_id: "anna".to_owned(),
            given_name: "Anna".to_owned(),
            marketing_consents: consents.to_vec(),
            ..Default::default()
        };
        let update_mask = Some(FieldMask { paths: vec![path.to_owned()] });
        let request =
            proto::UpdateCustomerRequest { program_id: SHOP.to_owned(), customer: Some(customer), update_mask };
        service.customers().update_customer(request).await.unwrap().into_inner().customer.unwrap()
    };
    let consents = [consent];
    assert_eq!(update(&consents, "marketing_consents").await.marketing_consents, consents);
    // What the batch only read is told, too.
    let updated = update(&[], "given_name").await;
    assert_eq!((updated.given_name.as_str(), updated.marketing_consents), ("Anna", consents.to_vec()));
}

#[tokio::test]
async fn answers_of_rewards_and_referrals_need_no_other_connection_than_their_lane() {
    let service = Service::start().await;
    service.apply_shop().await;
    let code = service.share_code("anna", "friends").await;
    let by_hand = service.share_code("rita", "partners").await;
    let reward_id = grant_for_an_event(&service).await;
    leave_the_lanes_alone(&service).await;

    for is_repeated in [false, true] {
        let vest = proto::VestRewardRequest {
            program_id: SHOP.to_owned(),
            customer_id: "anna".to_owned(),
            reward_id: reward_id.clone(),
        };
        let vested = service.rewards().vest_reward(vest).await.unwrap().into_inner();
        let reward = vested.reward.unwrap();
        assert_eq!((vested.already_vested, reward.note.as_str()), (is_repeated, "a gift"));
        assert_eq!(reward.reward_id, reward_id);
        assert_eq!(reward.content, Some(proto::reward::Content::Points(10)));
    }

    for is_made in [true, false] {
        let request = proto::CreateReferralCodeRequest {
            program_id: SHOP.to_owned(),
            customer_id: "anna".to_owned(),
            campaign_id: "partners".to_owned(),
        };
        let response = service.referrals().create_referral_code(request).await.unwrap().into_inner();
        let code = response.referral_code.unwrap();
        assert_eq!((response.created, code.customer_id.as_str()), (is_made, "anna"));
    }

    for (referee, code, referrer) in [("ben", &code, "anna"), ("carl", &by_hand, "rita")] {
        for _ in 0..2 {
            let referral = service.refer(referee, code).await;
            assert_eq!((referral.referrer_customer_id.as_str(), &referral.code), (referrer, code));
        }
    }
    assert!(service.purchase("ben", "first", "50.00").await.unwrap().referral_converted);
    for (referee, was_converted, referrer) in [("ben", true, "anna"), ("carl", false, "rita"), ("carl", true, "rita")] {
        let answer = service.convert(referee).await.unwrap();
        let referral = answer.referral.unwrap();
        assert_eq!((answer.already_converted, referral.state()), (was_converted, proto::ReferralState::Converted));
        assert_eq!(
            (referral.referrer_customer_id.as_str(), referral.referee_customer_id.as_str()),
            (referrer, referee)
        );
    }
}
