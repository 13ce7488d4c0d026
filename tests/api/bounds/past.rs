//! Answers for past instants are what going through the whole history gives.

use goldbook::book::Folded;
use goldbook::capabilities::capabilities;
use goldbook::embedded_postgres::SUPERUSER;
use goldbook::ids::AccountId;
use goldbook::ledger::store::{EntryFilter, list_entries};
use goldbook::programs::Catalogue;
use goldbook::proto;
use jiff::{SignedDuration, Timestamp};

use crate::harness::{SHOP, Service, instant};

/// A customer who bought, was refunded, was given points and spent some, several hundred times.
async fn start_with_history() -> Service {
    let service = Service::start().await;
    service.apply_shop().await;
    service.enrol("anna").await;
    for step in 0..130_i64 {
        // Some take effect at one instant.
        if step % 3 > 0 {
            service.clock.set(service.clock.now() + SignedDuration::from_mins(7));
        }
        let key = format!("step-{step}");
        match step % 6 {
            0 | 3 => drop(service.purchase("anna", &key, "17.00").await.unwrap()),
            1 => {
                let refund = crate::points::calls::refund(&format!("step-{}", step - 1), "3.00", &service, &key);
                service.activities().record_activity(refund).await.unwrap();
            }
            2 => drop(service.redeem(9, &key).await.unwrap()),
            4 => {
                let hold = service.hold(4, &key).await.unwrap().hold.unwrap();
                service.capture(&hold.hold_id, 2, &format!("end-{step}")).await.unwrap();
            }
            _ => drop(service.grant("anna", 11, &key).await.unwrap()),
        }
    }
    service
}

/// What the entries up to an instant say: the balance, the tier, since when, the spend.
fn fold(
    entries: &[goldbook::book::Entry],
    told: &[proto::Entry],
    as_of: Timestamp,
) -> Option<(i64, i64, String, String)> {
    let count = entries.iter().filter(|entry| entry.effective_at <= as_of).count();
    let states = capabilities(&Catalogue::default(), goldbook::capabilities::ErasureKeys::default()).new_states();
    let balance = Folded::from_entries(&entries[..count], states).unwrap()?.account.balance;
    let (mut spend, mut tier) = (0, (String::new(), String::new()));
    for entry in &told[..count] {
        let detail: serde_json::Value = serde_json::from_str(&entry.detail_json).unwrap();
        match entry.kind() {
            proto::EntryKind::ActivityAccepted => spend += detail["spend"].as_i64().unwrap(),
            proto::EntryKind::RefundAccepted => spend -= detail["spend"].as_i64().unwrap(),
            proto::EntryKind::TierChanged => {
                tier = (detail["to"].as_str().unwrap().to_owned(), entry.entry_id.clone());
            }
            _ => {}
        }
    }
    Some((balance.available, spend, tier.0, tier.1))
}

#[tokio::test]
async fn past_balances_and_tiers_are_what_the_whole_history_gives_at_every_instant() {
    let service = start_with_history().await;
    let told = service.entries("anna").await;
    assert!(told.len() > 200, "{}", told.len());
    let account_id = AccountId(told[0].account_id.parse().unwrap());
    let mut connection = service.database.connect(SUPERUSER).await;
    let range = goldbook::book::EntryRange { first: 1, last: i64::MAX };
    let entries = list_entries(&mut connection, account_id, &EntryFilter::default(), range, i64::MAX).await.unwrap();
    let entries: Vec<_> = entries.into_iter().map(|stored| stored.entry.unwrap()).collect();
    let mut instants: Vec<Timestamp> = entries.iter().map(|entry| entry.effective_at).collect();
    instants.dedup();
    let one = SignedDuration::from_micros(1);
    for as_of in instants.iter().flat_map(|at| [*at - one, *at, *at + one]) {
        let (program_id, customer_id) = (SHOP.to_owned(), "anna".to_owned());
        let expected = fold(&entries, &told, as_of);
        let as_of = Some(instant(as_of.min(service.clock.now())));
        let request =
            proto::GetBalanceRequest { program_id: program_id.clone(), customer_id: customer_id.clone(), as_of };
        let balance = service.rewards().get_balance(request).await;
        let request = proto::GetCustomerTierRequest { program_id, customer_id, as_of };
        let tier = service.tiers().get_customer_tier(request).await;
        let Some((available, spend, tier_id, entry_id)) = expected else {
            assert_eq!(
                (balance.unwrap_err().code(), tier.unwrap_err().code()),
                (tonic::Code::NotFound, tonic::Code::NotFound)
            );
            continue;
        };
        assert_eq!(balance.unwrap().into_inner().balance.unwrap().available, available);
        let tier = tier.unwrap().into_inner().customer_tier.unwrap();
        let qualifying = tier.qualifying_spend.unwrap();
        let minor = qualifying.units * 100 + i64::from(qualifying.nanos / 10_000_000);
        assert_eq!((tier.tier_id, tier.entry_id, minor), (tier_id, entry_id, spend));
    }
}
