//! Many calls at once are the same calls one by one, in the order that the accounts gave them.

use futures_util::future::join_all;
use goldbook::ids::AccountId;
use goldbook::proto;
use jiff::SignedDuration;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tonic::Code;

use super::calls::{free, redeem_points};
use super::model::{Expire, Purse, Rules, Vest};
use super::program_of;
use super::steps::{Call, Deed, Scene, deed};
use crate::book_rules::check_rules;
use crate::harness::{Clock, Database, SHOP, START, Service, assert_refused};
use crate::random::assert_always;

const NAMES: [&str; 3] = ["anna", "ben", "carla"];

fn rules() -> Rules {
    Rules {
        vest: Vest::After("P2D"),
        expire: Expire::Sliding("P1W"),
        per_period: vec![(proto::CalendarPeriod::Month, 4_000)],
        ..free()
    }
}

/// A service in which all customers have a past, with much that is due by now.
struct Prepared {
    service: Service,
    customers: Vec<(AccountId, Purse)>,
}

impl Prepared {
    async fn start(past: &[(usize, Deed)]) -> Self {
        let clock = Clock::fixed(START.parse().unwrap());
        let service = Service::start_on(Database::create().await, clock.clone()).await;
        service.apply(program_of(&rules())).await.unwrap();
        let mut customers = Vec::new();
        for name in NAMES {
            service.enrol(name).await;
            let account_id = AccountId(service.entries(name).await[0].account_id.parse().unwrap());
            customers.push((account_id, Purse::enrolled(rules(), clock.now())));
        }
        let mut prepared = Self { service, customers };
        for (place, (customer, deed)) in past.iter().enumerate() {
            if let Some(call) = prepared.call(*customer, deed, &format!("past-{place}"), true) {
                let _ = call.send(&prepared.service).await;
            }
            clock.set(clock.now() + SignedDuration::from_hours(5));
        }
        clock.set(clock.now() + SignedDuration::from_hours(30));
        prepared
    }

    /// What a deed is here; it changes the past only if it is sent at once.
    fn call(&mut self, customer: usize, deed: &Deed, key: &str, is_past: bool) -> Option<Call> {
        let (account_id, purse) = &mut self.customers[customer];
        let mut trial = purse.clone();
        let mut scene = Scene {
            purse: &mut trial,
            clock: self.service.clock.now(),
            account_id: *account_id,
            customer_id: NAMES[customer].to_owned(),
            key: key.to_owned(),
        };
        let (call, _) = scene.play(deed)?;
        if is_past {
            *purse = trial;
        }
        Some(call)
    }

    /// Everything that can be seen, but for what names the account, the writing and the trace.
    async fn look(&self) -> Vec<String> {
        let mut seen = Vec::new();
        for (name, (account_id, _)) in NAMES.iter().zip(&self.customers) {
            let own = account_id.0.simple().to_string();
            seen.push(format!("{:?}", self.service.balance(name).await));
            let request = proto::ListLotsRequest {
                program_id: SHOP.to_owned(),
                customer_id: (*name).to_owned(),
                page_size: 1_000,
                ..Default::default()
            };
            let lots = self.service.rewards().list_lots(request).await.unwrap().into_inner().lots;
            seen.extend(lots.iter().map(|lot| format!("{lot:?}").replace(&own, "own")));
            for entry in self.service.entries(name).await {
                let entry = proto::Entry {
                    account_id: String::new(),
                    command_id: String::new(),
                    principal_id: String::new(),
                    trace_id: String::new(),
                    recorded_at: None,
                    content_hash: Vec::new(),
                    ..entry
                };
                seen.push(format!("{entry:?}").replace(&own, "own"));
            }
        }
        seen
    }

    /// Touches every account, so that whatever is due is written.
    async fn knock(&self) {
        for name in NAMES {
            let refused = self.service.rewards().redeem_points(redeem_points(name, 1_000_000_000_000, "knock")).await;
            assert_refused(refused, Code::FailedPrecondition, "INSUFFICIENT_POINTS");
        }
    }

    /// Sends calls in their order, each after the answer to the one before.
    async fn send_singly(&self, calls: &[Call]) {
        for call in calls {
            call.send(&self.service).await.unwrap_or_else(|reason| panic!("{reason}: {call:?}"));
        }
    }
}

/// Which of the calls wrote something, in the order of the accounts: each entry that has a key is of one call.
async fn order_of(prepared: &Prepared, count: usize) -> Vec<usize> {
    let mut connection = prepared.service.database.connect(goldbook::embedded_postgres::SUPERUSER).await;
    let mut order = Vec::new();
    for (account_id, _) in &prepared.customers {
        let hashes: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT key_hash FROM ledger_entries WHERE account_id = $1 AND key_hash IS NOT NULL ORDER BY account_seq",
        )
        .bind(account_id.0)
        .fetch_all(&mut connection)
        .await
        .unwrap();
        for hash in hashes {
            order.extend((0..count).find(|place| {
                ["key", "activity"]
                    .into_iter()
                    .any(|space| goldbook::book::Key::new(space, &format!("call-{place}"), &[]).hash.as_slice() == hash)
            }));
        }
    }
    order
}

#[test]
fn random_calls_at_once_leave_what_the_same_calls_leave_one_by_one() {
    let deeds = |count| prop::collection::vec((0..NAMES.len(), deed()), count);
    assert_always(8, 40, &(deeds(10..40), deeds(20..60)), async |(past, now)| {
        let mut at_once = Prepared::start(&past).await;
        let mut singly = Prepared::start(&past).await;
        prop_assert_eq!(at_once.look().await, singly.look().await);
        // A report that an event happened has no key by which its place could be found again; and history comes before
        // or after what is due, depending on whether a call that was refused has let time do its part.
        let is_left_out = |deed: &Deed| matches!(deed, Deed::Vest(_) | Deed::Purchase { history_hours: Some(_), .. });
        let now: Vec<_> = now.iter().filter(|(_, deed)| !is_left_out(deed)).collect();
        let call = |prepared: &mut Prepared, place: usize| {
            let (customer, deed) = now[place];
            prepared.call(*customer, deed, &format!("call-{place}"), false)
        };
        let calls: Vec<Call> = (0..now.len()).filter_map(|place| call(&mut at_once, place)).collect();
        join_all(calls.iter().map(|call| call.send(&at_once.service))).await;
        let order = order_of(&at_once, now.len()).await;
        let calls: Vec<Call> = order.iter().filter_map(|place| call(&mut singly, *place)).collect();
        singly.send_singly(&calls).await;
        // Those that were refused at once have let time do its part.
        singly.knock().await;
        at_once.knock().await;
        prop_assert_eq!(at_once.look().await, singly.look().await);
        check_rules(&at_once.service.database).await?;
        check_rules(&singly.service.database).await
    });
}

/// Grants of one stream come in its order, so that both ways are known beforehand.
#[tokio::test]
async fn a_batch_of_grants_is_the_same_grants_one_by_one() -> Result<(), TestCaseError> {
    let past: Vec<(usize, Deed)> = (0..6)
        .flat_map(|place| [(place % 3, Deed::Grant { points: 90, vest: None, expire: None })])
        .chain((0..6).map(|place| (place % 3, Deed::Purchase { cents: 5_000, history_hours: None })))
        .collect();
    let (mut batch, mut singly) = (Prepared::start(&past).await, Prepared::start(&past).await);
    let grants = |prepared: &mut Prepared| -> Vec<proto::GrantRewardRequest> {
        let grant = |place: usize| {
            let choice = u8::try_from(place % 9).unwrap();
            let deed = Deed::Grant {
                points: i64::try_from(place).unwrap() + 1,
                vest: Some(choice).filter(|choice| *choice < 5),
                expire: Some(choice).filter(|choice| *choice > 3 && *choice != 6),
            };
            match prepared.call(place % 3, &deed, &format!("call-{place}"), false) {
                Some(Call::Grant(grant)) => grant,
                other => panic!("{other:?}"),
            }
        };
        (0..90).map(grant).collect()
    };
    let sent = grants(&mut batch);
    crate::rewards::batches::grant_all(&batch.service, sent).await;
    let calls: Vec<Call> = grants(&mut singly).into_iter().map(Call::Grant).collect();
    singly.send_singly(&calls).await;
    prop_assert_eq!(batch.look().await, singly.look().await);
    check_rules(&batch.service.database).await
}
