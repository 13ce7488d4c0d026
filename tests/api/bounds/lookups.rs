//! Reads of tiers and balances right after a bulk load, by a service that was there before it.

use goldbook::embedded_postgres::SUPERUSER;
use goldbook::proto;

use super::reads;
use crate::harness::{SHOP, Service};

#[tokio::test]
async fn lookups_that_were_planned_on_empty_tables_stay_lookups_after_a_bulk_load() {
    let service = Service::start().await;
    let mut connection = service.database.connect(SUPERUSER).await;
    // To change a table makes Postgres plan anew, as autovacuum would: so this comes first.
    let quiet = "ALTER TABLE names SET (autovacuum_enabled = off);
                 ALTER TABLE accounts SET (autovacuum_enabled = off);
                 ALTER TABLE standings SET (autovacuum_enabled = off);";
    sqlx::raw_sql(quiet).execute(&mut connection).await.unwrap();
    // Everything is planned on each connection while there is nothing at all.
    for _ in 0..8 {
        let (program_id, customer_id) = (SHOP.to_owned(), "nobody".to_owned());
        let tier = proto::GetCustomerTierRequest {
            program_id: program_id.clone(),
            customer_id: customer_id.clone(),
            as_of: None,
        };
        let balance = proto::GetBalanceRequest { program_id, customer_id, as_of: None };
        let (mut tiers, mut rewards) = (service.tiers(), service.rewards());
        let (tier, balance) = tokio::join!(tiers.get_customer_tier(tier), rewards.get_balance(balance));
        assert!(tier.is_err() && balance.is_err());
    }
    service.apply_shop().await;
    service.enrol("anna").await;
    let look = async |customer: &str| {
        for _ in 0..8 {
            let (tier, balance) = tokio::join!(service.tier(customer), service.balance(customer));
            assert_eq!((tier.customer_id.as_str(), balance.customer_id.as_str()), (customer, customer));
        }
    };
    look("anna").await;
    let load = "
        CREATE TEMP TABLE loaded AS SELECT 'c' || i AS name, gen_random_uuid() AS id FROM generate_series(1, 20000) i;
        INSERT INTO names SELECT 'shop', 'customer', name, id FROM loaded;
        INSERT INTO accounts SELECT id, 'shop', 'customer', 2, effective_at, NULL, 0, 0, 0, 0, 0, 0, 0, 0
            FROM loaded, accounts WHERE kind = 'customer';
        INSERT INTO standings SELECT id, tier_id, since, policy_version, changed_seq, cause_seq, 0, 0, 2
            FROM loaded, standings;";
    sqlx::raw_sql(load).execute(&mut connection).await.unwrap();
    drop(connection);
    look("c1").await;
    look("c20000").await;
    let request =
        proto::ListRewardsRequest { program_id: SHOP.to_owned(), customer_id: "c7".to_owned(), ..Default::default() };
    service.rewards().list_rewards(request).await.unwrap();
    let database = service.database.clone();
    service.stop().await;
    let reads = reads(&database).await;
    // The load itself read each of the few rows that it copied.
    assert!(reads.by_index < 2_000, "{reads:?}");
}
