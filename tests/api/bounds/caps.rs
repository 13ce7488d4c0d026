//! A cap that counts what was earned before there was one reads no more in a batch of several than others need.

use goldbook::embedded_postgres::SUPERUSER;
use goldbook::proto;
use goldbook::proto::CalendarPeriod::Month;

use super::History;
use crate::faults::sabotage;
use crate::harness::{Database, Service, purchase, shop};
use crate::wait::{until, within};

async fn number(database: &Database, select: &'static str) -> i64 {
    let mut connection = database.connect(SUPERUSER).await;
    sqlx::query_scalar(select).fetch_one(&mut connection).await.unwrap()
}

async fn rollbacks(database: &Database) -> i64 {
    number(database, "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()").await
}

/// So many customers buy at the same time: what each earned, and how many transactions were rolled back for that.
async fn buy_together(history: &History, customers: &[String]) -> (Vec<i64>, i64) {
    let service = Service::start_on(history.database.clone(), history.clock.clone()).await;
    // A batch takes long enough for the next to gather.
    let slow = "ALTER TABLE names ENABLE ROW LEVEL SECURITY;
                CREATE POLICY slow ON names USING (pg_sleep(0.1) IS NOT NULL)";
    sabotage(&history.database, slow).await;
    let before = rollbacks(&history.database).await;
    let buy = |customer: &str| {
        let (mut activities, at) = (service.activities(), service.clock.now());
        let request = purchase(customer, "order", "20.00", at);
        async move { activities.record_activity(request).await.unwrap().into_inner().points_earned }
    };
    let early: Vec<_> = (0..16).map(|place| tokio::spawn(buy(&format!("early-{place}")))).collect();
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                    AND application_name = 'goldbook batch' AND wait_event = 'PgSleep'";
    until("both lanes are busy", async || (number(&history.database, busy).await == 2).then_some(())).await;
    let calls: Vec<_> = customers.iter().map(|customer| tokio::spawn(buy(customer))).collect();
    let mut earned = Vec::new();
    for call in calls {
        earned.push(within("an answer", call).await.unwrap());
    }
    for call in early {
        assert_eq!(within("an answer", call).await.unwrap(), 20);
    }
    sabotage(&history.database, "ALTER TABLE names DISABLE ROW LEVEL SECURITY").await;
    let database = service.database.clone();
    service.stop().await;
    super::reads(&database).await;
    (earned, rollbacks(&database).await - before)
}

fn instant_of(at: prost_types::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::new(at.seconds, at.nanos).unwrap()
}

#[tokio::test]
async fn what_a_cap_counts_first_is_counted_alone_where_it_is_much() {
    for (entries, is_split) in [(1_000, false), (6_000, true)] {
        let history = History::load(entries).await;
        history.clock.set(instant_of(history.at(entries + 60)));
        let service = Service::start_on(history.database.clone(), history.clock.clone()).await;
        // Anna has earned two more points than she has entries, and the cap leaves her fifteen.
        let cap = proto::PeriodCap { period: Month.into(), points: entries + 2 + 15 };
        let earning = Some(proto::EarningLimits { per_transaction: None, per_period: vec![cap] });
        let points = Some(proto::PointsPolicy { earning, ..proto::PointsPolicy::default() });
        service.apply(proto::Program { points, ..shop() }).await.unwrap();
        service.stop().await;
        let customers: Vec<String> =
            std::iter::once("anna".to_owned()).chain((0..16).map(|place| format!("c{place}"))).collect();
        let (earned, rolled_back) = buy_together(&history, &customers).await;
        assert_eq!((earned[0], &earned[1..]), (15, [20; 16].as_slice()), "{entries}");
        assert_eq!(rolled_back > 0, is_split, "{entries}: {rolled_back}");
    }
}
