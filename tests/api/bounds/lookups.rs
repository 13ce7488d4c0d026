//! Calls right after a bulk load, by a service that was there before it.

use goldbook::embedded_postgres::SUPERUSER;
use goldbook::proto;
use sqlx::PgConnection;

use super::reads;
use crate::harness::{SHOP, Service, purchase};

/// Lets nothing be learned about tables. To change one makes Postgres plan anew, as autovacuum would: so this comes first.
async fn keep_quiet(connection: &mut PgConnection) {
    let tables =
        ["names", "accounts", "customers", "standings", "referral_codes", "referrals", "ledger_entries", "lots"];
    for table in tables.into_iter().chain(["activities"]) {
        let quiet = format!("ALTER TABLE {table} SET (autovacuum_enabled = off)");
        sqlx::raw_sql(sqlx::AssertSqlSafe(quiet)).execute(&mut *connection).await.unwrap();
    }
}

#[tokio::test]
async fn lookups_that_were_planned_on_empty_tables_stay_lookups_after_a_bulk_load() {
    let service = Service::start().await;
    let mut connection = service.database.connect(SUPERUSER).await;
    keep_quiet(&mut connection).await;
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
        INSERT INTO accounts SELECT id, 'shop', 'customer', 2, effective_at, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0
            FROM loaded, accounts WHERE kind = 'customer';
        INSERT INTO standings SELECT (jsonb_populate_record(standings, jsonb_build_object('account_id', id))).*
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

#[tokio::test]
async fn conversions_that_were_planned_on_empty_tables_stay_lookups_after_a_bulk_load() {
    const CONVERTED: usize = 8;
    let service = Service::start().await;
    let mut connection = service.database.connect(SUPERUSER).await;
    keep_quiet(&mut connection).await;
    service.apply_shop().await;
    let code = service.share_code("anna", "friends").await;
    service.refer("ben", &code).await;
    // On each connection everything is planned while there is next to nothing: both ways of converting, and nothing to
    // convert.
    let buy = async |customer: String, order: &str| {
        let request = purchase(&customer, order, "50.00", service.clock.now());
        service.activities().record_activity(request).await.unwrap().into_inner().referral_converted
    };
    for place in 0..8 {
        assert!(!buy(format!("nobody{place}"), "first").await);
        assert!(service.convert(&format!("nobody{place}")).await.is_err());
    }
    assert!(buy("ben".to_owned(), "first").await);
    let load = "
        CREATE TEMP TABLE loaded AS SELECT 'c' || i AS name, gen_random_uuid() AS id FROM generate_series(1, 20000) i;
        CREATE TEMP TABLE ben AS SELECT account_id AS ben FROM names WHERE name = 'ben';
        INSERT INTO names SELECT 'shop', 'customer', name, id FROM loaded;
        INSERT INTO accounts SELECT id, 'shop', 'customer', 3, effective_at, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0
            FROM loaded, ben JOIN accounts ON account_id = ben;
        INSERT INTO standings SELECT (jsonb_populate_record(standings, jsonb_build_object('account_id', id,
            'qualifying_spend', 0, 'purchases', 0, 'accepted', 0))).* FROM loaded, ben JOIN standings ON account_id = ben;
        INSERT INTO customers SELECT id, 'shop', name, dossier, 1, created_at, updated_at
            FROM loaded, ben JOIN customers ON account_id = ben;
        INSERT INTO referral_codes SELECT id, 'friends', upper(name), 2, now() FROM loaded;
        INSERT INTO referrals SELECT id, referrer_account_id, campaign_id, policy_version, 'pending', 3, created_at, NULL,
            NULL, NULL, NULL, NULL, NULL FROM loaded, ben JOIN referrals ON account_id = ben;
        INSERT INTO ledger_entries
            SELECT id, account_seq, program_id, kind, from_pocket, to_pocket, points, detail, gen_random_uuid(), NULL, NULL,
                   principal_id, actor, reason, policy_version, causes, trace_id, effective_at, recorded_at, hash_version, content_hash
            FROM loaded, ben JOIN ledger_entries ON account_id = ben WHERE account_seq <= 3;";
    sqlx::raw_sql(load).execute(&mut connection).await.unwrap();
    drop(connection);
    for place in 1..=CONVERTED {
        assert!(buy(format!("c{place}"), "first").await);
        assert!(service.convert(&format!("c{place}")).await.unwrap().already_converted);
        let refused = service.convert(&format!("c{}", 1_000 + place)).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition, "{refused:?}");
    }
    let database = service.database.clone();
    service.stop().await;
    let reads = reads(&database).await;
    // The load itself read each of the few rows that it copied.
    assert!(reads.by_index < 5_000, "{reads:?}");
}
