//! An account or a name that somebody else holds: those who need it wait apart, and all others go on.

use goldbook::embedded_postgres::SUPERUSER;
use goldbook::proto;
use goldbook::proto::batch_grant_rewards_response::Outcome;
use goldbook::proto::batch_record_activities_response::Outcome::Recorded;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tokio::task::JoinHandle;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{count, start_behind_proxy};
use crate::harness::{Database, SHOP, START, Service, create_customer, grant_reward, purchase};
use crate::wait::within;

/// An administrator's session that holds something until it ends.
pub(crate) struct Session(PgConnection);

impl Session {
    async fn begin(database: &Database, statement: &str) -> Self {
        let mut connection = database.connect(SUPERUSER).await;
        connection.execute("BEGIN").await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
        Self(connection)
    }

    /// Locks a customer's account.
    pub(crate) async fn hold(database: &Database, customer_id: &str) -> Self {
        let names = format!("SELECT account_id FROM names WHERE space = 'customer' AND name = '{customer_id}'");
        let lock = format!("SELECT 1 FROM accounts WHERE account_id = ({names}) FOR UPDATE");
        Self::begin(database, &lock).await
    }

    pub(crate) async fn let_go(mut self) {
        self.0.execute("ROLLBACK").await.unwrap();
        self.0.close().await.unwrap();
    }
}

fn begin_grant(service: &Service, customer_id: &str, key: &str) -> JoinHandle<Result<(), Status>> {
    let mut rewards = service.rewards();
    let request = grant_reward(customer_id, 1, key);
    tokio::spawn(async move { rewards.grant_reward(request).await.map(drop) })
}

async fn shop() -> Service {
    let service = Service::start().await;
    service.apply_shop().await;
    service
}

fn purchase_of(
    service: &Service,
    customer_id: &str,
    activity_id: &str,
    amount: &str,
) -> JoinHandle<Result<proto::RecordActivityResponse, Status>> {
    let mut activities = service.activities();
    let request = purchase(customer_id, activity_id, amount, service.clock.now());
    tokio::spawn(async move { activities.record_activity(request).await.map(tonic::Response::into_inner) })
}

#[tokio::test]
async fn an_account_that_somebody_holds_delays_its_own_commands_alone() {
    let service = shop().await;
    let others: Vec<String> = (0..12).map(|number| format!("c-{number}")).collect();
    service.enrol("held").await;
    for other in &others {
        service.enrol(other).await;
    }
    let session = Session::hold(&service.database, "held").await;
    let mut waiting = Vec::new();
    for round in 0..4 {
        waiting.push(begin_grant(&service, "held", &format!("gift-{round}")));
        let calls: Vec<_> = others.iter().map(|other| begin_grant(&service, other, &format!("gift-{round}"))).collect();
        for call in calls {
            within("the grant of another customer", call).await.unwrap().unwrap();
        }
        // In the same lane as the held account and in the other, everyone was answered while it was held.
        assert!(waiting.iter().all(|call| !call.is_finished()));
    }
    session.let_go().await;
    for call in waiting {
        within("the grant of the held customer", call).await.unwrap().unwrap();
    }
    assert_eq!(service.available("held").await, 4);
}

#[tokio::test]
async fn commands_on_an_account_that_was_held_are_carried_out_in_order() {
    const ITEMS: i64 = 300;
    let service = shop().await;
    service.enrol("held").await;
    service.enrol("other").await;
    let session = Session::hold(&service.database, "held").await;
    // Every third is for the other customer, in the same stream.
    let items: Vec<_> = (1..=ITEMS)
        .map(|number| proto::BatchGrantRewardsRequest {
            item_id: number.to_string(),
            grant: Some(grant_reward(
                if number % 3 == 0 { "other" } else { "held" },
                number,
                &format!("gift-{number}"),
            )),
        })
        .collect();
    let mut outcomes = service.rewards().batch_grant_rewards(tokio_stream::iter(items)).await.unwrap().into_inner();
    let mut session = Some(session);
    for answered in 1..=ITEMS {
        let item = within("an outcome", outcomes.message()).await.unwrap().unwrap();
        assert!(matches!(item.outcome, Some(Outcome::Granted(_))), "{item:?}");
        let is_others = item.item_id.parse::<i64>().unwrap() % 3 == 0;
        assert_eq!(is_others, answered <= ITEMS / 3, "{item:?} came as number {answered}");
        if answered == ITEMS / 3 {
            session.take().unwrap().let_go().await;
        }
    }
    for (customer_id, is_own) in [("held", true), ("other", false)] {
        let entries = service.entries(customer_id).await;
        let points: Vec<i64> = entries.iter().filter_map(|entry| Some(entry.r#move?.points)).collect();
        let sent: Vec<i64> = (1..=ITEMS).filter(|number| (number % 3 != 0) == is_own).collect();
        assert_eq!(points, sent, "{customer_id}");
    }
}

#[tokio::test]
async fn commands_on_an_account_that_is_held_for_long_are_told_to_come_again() {
    let service = shop().await;
    service.enrol("held").await;
    let session = Session::hold(&service.database, "held").await;
    let mut calls: Vec<_> = (0..5).map(|number| begin_grant(&service, "held", &format!("gift-{number}"))).collect();
    for call in calls.drain(..) {
        let status = within("the answer", call).await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(status.get_details_retry_info().is_some(), "{status:?}");
    }
    session.let_go().await;
    for number in 0..5 {
        assert!(!service.grant("held", 1, &format!("gift-{number}")).await.unwrap().replayed);
    }
}

#[tokio::test]
async fn a_referrer_whose_account_is_held_delays_the_conversion_alone() {
    let service = shop().await;
    let code = service.share_code("rita", "friends").await;
    service.refer("ben", &code).await;
    let session = Session::hold(&service.database, "rita").await;
    within("a grant to the referee", begin_grant(&service, "ben", "gift")).await.unwrap().unwrap();
    // It is too small to convert, so nothing is paid to the referrer.
    let small = purchase_of(&service, "ben", "small", "5.00");
    assert!(!within("a small purchase", small).await.unwrap().unwrap().referral_converted);
    // Of one stream: the purchase that converts, one behind it, and one of somebody else.
    let items = [("ben", "large", "50.00"), ("ben", "behind", "1.00"), ("other", "own", "1.00")].map(
        |(customer_id, activity_id, amount)| proto::BatchRecordActivitiesRequest {
            item_id: activity_id.to_owned(),
            activity: Some(purchase(customer_id, activity_id, amount, service.clock.now())),
        },
    );
    let mut recorded =
        service.activities().batch_record_activities(tokio_stream::iter(items)).await.unwrap().into_inner();
    let mut order = Vec::new();
    let mut session = Some(session);
    while let Some(item) = within("an outcome", recorded.message()).await.unwrap() {
        assert!(matches!(item.outcome, Some(Recorded(_))), "{item:?}");
        order.push(item.item_id);
        if let Some(session) = session.take() {
            session.let_go().await;
        }
    }
    assert_eq!(order, ["own", "large", "behind"]);
    assert_eq!(service.available("rita").await, 500);
    let entries = service.entries("ben").await;
    let points: Vec<i64> = entries.iter().filter_map(|entry| Some(entry.r#move?.points)).collect();
    // The gift, the small purchase, the one that converts with its reward, and the one behind it.
    assert_eq!(points, [1, 5, 50, 250, 1]);
}

#[tokio::test]
async fn a_name_that_another_transaction_claims_delays_its_own_commands_alone() {
    let service = shop().await;
    for number in 0..6 {
        service.enrol(&format!("c-{number}")).await;
    }
    let insert = format!(
        "INSERT INTO names (program_id, space, name, account_id) VALUES ('{SHOP}', 'customer', 'new', gen_random_uuid())"
    );
    let session = Session::begin(&service.database, &insert).await;
    let mut customers = service.customers();
    let enrolling = tokio::spawn(async move { customers.create_customer(create_customer("new", "enrol")).await });
    let behind = begin_grant(&service, "new", "gift");
    for round in 0..3 {
        let grants: Vec<_> =
            (0..6).map(|number| begin_grant(&service, &format!("c-{number}"), &format!("gift-{round}"))).collect();
        // Others are enrolled, too.
        service.enrol(&format!("fresh-{round}")).await;
        for grant in grants {
            within("the grant of another customer", grant).await.unwrap().unwrap();
        }
        assert!(!enrolling.is_finished());
    }
    session.let_go().await;
    within("the enrolment", enrolling).await.unwrap().unwrap();
    // It came behind the enrolment, or at the same time with it.
    drop(within("the grant", behind).await.unwrap());
    assert_eq!(count(&service.database, "names WHERE name = 'new'").await, 1);
}

/// Makes the ledger's inserts of several rows at once fail with this code. A sequence tells whether one did.
pub(crate) async fn refuse_many(database: &Database, code: &str) {
    let statements = format!(
        "CREATE SEQUENCE refused;
         CREATE FUNCTION refuse_many() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
         BEGIN
             IF (SELECT count(*) FROM new_rows) > 1 THEN
                 PERFORM nextval('refused');
                 RAISE EXCEPTION 'too much' USING ERRCODE = '{code}';
             END IF;
             RETURN NULL;
         END $$;
         CREATE TRIGGER refuse_many AFTER INSERT ON ledger_entries REFERENCING NEW TABLE AS new_rows
             FOR EACH STATEMENT EXECUTE FUNCTION refuse_many()"
    );
    super::sabotage(database, &statements).await;
}

#[tokio::test]
async fn a_batch_that_finds_no_room_or_takes_too_long_is_carried_out_in_parts() {
    // Not enough memory, a full disk, a statement that took too long.
    for code in ["53200", "53100", "57014"] {
        let (service, proxy) = start_behind_proxy().await;
        for number in 0..8 {
            service.enrol(&format!("c-{number}")).await;
        }
        refuse_many(&service.database, code).await;
        proxy.hold_commits();
        let mut grants = vec![begin_grant(&service, "c-0", "held"), begin_grant(&service, "c-1", "held")];
        grants.extend((0..8).map(|number| begin_grant(&service, &format!("c-{number}"), "gift")));
        // A read on the same connection comes after them.
        assert_eq!(service.available("c-7").await, 0);
        proxy.release_commits();
        for grant in grants {
            within("the grant", grant).await.unwrap().unwrap_or_else(|status| panic!("{code}: {status:?}"));
        }
        // They met indeed.
        assert!(count(&service.database, "refused WHERE is_called").await > 0, "{code}");
        assert_eq!(count(&service.database, "ledger_entries WHERE kind = 'points_granted'").await, 10, "{code}");
    }
}

#[tokio::test]
async fn two_services_that_need_the_same_two_accounts_both_get_them() {
    const CALLS: usize = 40;
    let first = shop().await;
    let second = Service::start_on(first.database.clone(), goldbook::clock::Clock::fixed(START.parse().unwrap())).await;
    let code = first.share_code("rita", "friends").await;
    for number in 0..CALLS {
        first.refer(&format!("c-{number}"), &code).await;
    }
    // Each converts, and pays the same referrer.
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..CALLS {
        for service in [&first, &second] {
            let call = purchase_of(service, &format!("c-{number}"), "order", "50.00");
            calls.spawn(async move { call.await.unwrap() });
        }
    }
    let answers = within("every call", calls.join_all()).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), CALLS);
    assert_eq!(second.available("rita").await, 500 * i64::try_from(CALLS).unwrap());
}
