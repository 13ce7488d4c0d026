//! Random runs against the service and the naive model: the same answers, the same visible state after every step, the
//! same entries, the same answers about the past; and every rule of the book.

use goldbook::ids::AccountId;
use goldbook::proto;
use goldbook::proto::{CalendarPeriod, Clawback, EntryKind, Pocket};
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::calls::free;
use super::model::{Expire, Purse, Rules, Vest, zone};
use super::pockets::Pockets;
use super::steps::{Answer, Call, Deed, Scene, deed, seq_of};
use super::{program_of, read_instant};
use crate::book_rules::check_rules;
use crate::harness::{Clock, Database, SHOP, Service, instant};
use crate::random::assert_always;

/// One step of a random run.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Deed(u8, Deed),
    /// The last call once more, to the other service.
    Again,
    Hours(i64),
    Days(i64),
    Months(i64),
    Back {
        minutes: i64,
    },
    /// To the instant at which time does something next, or just before.
    Due {
        just_before: bool,
    },
}

const CUSTOMERS: u8 = 2;

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        24 => (0..CUSTOMERS, deed()).prop_map(|(customer, deed)| Step::Deed(customer, deed)),
        2 => Just(Step::Again),
        2 => (1..60_i64).prop_map(Step::Hours),
        2 => (1..20_i64).prop_map(Step::Days),
        1 => (1..5_i64).prop_map(Step::Months),
        1 => (1..300_i64).prop_map(|minutes| Step::Back { minutes }),
        4 => any::<bool>().prop_map(|just_before| Step::Due { just_before }),
    ]
}

/// Programs that differ in all that a program can say of points.
pub(super) fn programs() -> Vec<Rules> {
    let day = CalendarPeriod::Unspecified;
    vec![
        Rules { expire: Expire::After("P1M", day), reinstate: Some(("P30D", "P60D")), hold_for: "PT36H", ..free() },
        Rules {
            vest: Vest::After("P3D"),
            expire: Expire::After("P1M", CalendarPeriod::Month),
            limits: Some((10, 5, 400)),
            per_transaction: Some(900),
            per_period: vec![(CalendarPeriod::Day, 1_000), (CalendarPeriod::Month, 2_500)],
            clawback: Clawback::WithinBalance,
            ..free()
        },
        Rules { expire: Expire::Sliding("P1M"), reinstate: Some(("P20D", "P45D")), ..free() },
        Rules {
            vest: Vest::Event("P10D"),
            expire: Expire::After("PT100H", day),
            reinstate: Some(("P10D", "PT50H")),
            ..free()
        },
        Rules {
            vest: Vest::After("PT20H"),
            expire: Expire::Sliding("P2W"),
            reinstate: Some(("P5D", "P10D")),
            per_period: vec![(CalendarPeriod::Week, 1_500), (CalendarPeriod::Year, 6_000)],
            clawback: Clawback::UnspentOnly,
            ..free()
        },
    ]
}

/// Instants shortly before what calendars are hard on.
fn starts() -> Vec<Timestamp> {
    let starts = ["2024-01-30T22:00:00Z", "2026-03-05T12:00:00Z", "2026-10-28T03:00:00Z", "2027-12-30T12:00:00Z"];
    starts.into_iter().map(|start| start.parse().unwrap()).collect()
}

struct Customer {
    name: String,
    account_id: AccountId,
    purse: Purse,
    /// The model at the end of earlier instants.
    past: Vec<(Timestamp, Purse)>,
}

struct Run {
    services: [Service; 2],
    clock: Clock,
    customers: Vec<Customer>,
    steps: usize,
    calls: usize,
    last: Option<(Call, Answer)>,
}

impl Run {
    async fn start(rules: &Rules, start: Timestamp) -> Self {
        let database = Database::create().await;
        let clock = Clock::fixed(start);
        let first = Service::start_on(database.clone(), clock.clone()).await;
        let second = Service::start_on(database, clock.clone()).await;
        first.apply(program_of(rules)).await.unwrap();
        let mut customers = Vec::new();
        for name in ["anna", "ben"] {
            first.enrol(name).await;
            let account_id = AccountId(first.entries(name).await[0].account_id.parse().unwrap());
            let purse = Purse::enrolled(rules.clone(), start);
            customers.push(Customer { name: name.to_owned(), account_id, purse, past: Vec::new() });
        }
        Self { services: [first, second], clock, customers, steps: 0, calls: 0, last: None }
    }

    async fn play_step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        self.steps += 1;
        let now = self.clock.now();
        let zoned = now.to_zoned(zone());
        match step {
            Step::Deed(customer, deed) => return self.act(usize::from(*customer), deed).await,
            Step::Again => return self.repeat().await,
            Step::Hours(hours) => self.move_to(now + SignedDuration::from_hours(*hours)),
            Step::Days(days) => self.move_to((&zoned + days.days()).timestamp()),
            Step::Months(months) => self.move_to((&zoned + months.months()).timestamp()),
            Step::Back { minutes } => self.clock.set(now - SignedDuration::from_mins(*minutes)),
            Step::Due { just_before } => {
                let due = self.customers.iter().filter_map(|customer| Some(customer.purse.next_due()?.0)).min();
                let Some(due) = due.filter(|due| *due > now + SignedDuration::from_micros(1)) else { return Ok(()) };
                self.move_to(due - SignedDuration::from_micros(i64::from(*just_before)));
            }
        }
        for customer in 0..self.customers.len() {
            self.check(customer).await?;
        }
        Ok(())
    }

    fn move_to(&mut self, to: Timestamp) {
        let now = self.clock.now();
        for customer in &mut self.customers {
            // What was answered at an instant includes nothing that is dated later.
            if customer.purse.time(now) == now {
                customer.past.push((now, customer.purse.clone()));
            }
        }
        self.clock.set(to);
    }

    async fn act(&mut self, place: usize, deed: &Deed) -> Result<(), TestCaseError> {
        self.calls += 1;
        let service = &self.services[self.calls % 2];
        let customer = &mut self.customers[place];
        let before = customer.purse.head();
        let mut scene = Scene {
            purse: &mut customer.purse,
            clock: self.clock.now(),
            account_id: customer.account_id,
            customer_id: customer.name.clone(),
            key: format!("call-{}", self.calls),
        };
        let Some((call, expected)) = scene.play(deed) else { return Ok(()) };
        let written = customer.purse.entries.iter().skip(usize::try_from(before).unwrap());
        let since = written.map(|entry| entry.at).min();
        customer.past.retain(|(at, _)| since.is_none_or(|since| *at < since));
        let answer = call.send(service).await;
        let numbers = answer.clone().map(|answer| answer.numbers);
        prop_assert_eq!(numbers, expected.map_err(str::to_owned), "{:?}", call);
        if let Ok(answer) = answer {
            prop_assert!(!answer.replayed);
            self.last = Some((call, answer));
        }
        self.check(place).await?;
        self.check_entries(place, 8).await
    }

    async fn repeat(&mut self) -> Result<(), TestCaseError> {
        let Some((call, first)) = self.last.clone().filter(|(call, _)| !matches!(call, Call::Vest(_))) else {
            return Ok(());
        };
        let answer = call.send(&self.services[(self.calls + 1) % 2]).await;
        let again = answer.map(|answer| (answer.replayed, answer.text));
        prop_assert_eq!(again, Ok((true, first.text)), "{:?}", call);
        for customer in 0..self.customers.len() {
            self.check(customer).await?;
        }
        Ok(())
    }

    /// Whatever a customer can see is what the model says.
    async fn check(&self, place: usize) -> Result<(), TestCaseError> {
        let (customer, service) = (&self.customers[place], &self.services[(self.calls + place) % 2]);
        let mut purse = customer.purse.clone();
        purse.apply_dues(self.clock.now());
        let balance = service.balance(&customer.name).await;
        prop_assert_eq!(balance_row(&balance), expected_balance(&purse), "balance of {}", &customer.name);
        prop_assert!(balance.owed == 0 || balance.available == 0);
        let sum = balance.pending + balance.available + balance.held + balance.redeemed;
        prop_assert_eq!(balance.issued + balance.owed, sum + balance.expired + balance.cancelled);
        let open_only = self.steps.is_multiple_of(4);
        let request = proto::ListLotsRequest {
            program_id: SHOP.to_owned(),
            customer_id: customer.name.clone(),
            page_size: 1_000,
            open_only,
            ..Default::default()
        };
        let lots = service.rewards().list_lots(request).await.unwrap().into_inner().lots;
        let lots: Vec<_> = lots.iter().map(lot_row).collect();
        prop_assert_eq!(lots, expected_lots(&purse, open_only), "lots of {}", &customer.name);
        Ok(())
    }

    /// What is written is what the model wrote, to the row.
    async fn check_entries(&self, place: usize, count: i32) -> Result<(), TestCaseError> {
        let (customer, service) = (&self.customers[place], &self.services[self.calls % 2]);
        let request = proto::ListEntriesRequest {
            program_id: SHOP.to_owned(),
            customer_id: customer.name.clone(),
            page_size: count,
            newest_first: true,
            ..Default::default()
        };
        let entries = service.ledger().list_entries(request).await.unwrap().into_inner().entries;
        let entries: Vec<_> = entries.iter().map(entry_row).collect();
        prop_assert_eq!(entries, expected_entries(&customer.purse, count), "entries of {}", &customer.name);
        Ok(())
    }

    async fn check_past(&self) -> Result<(), TestCaseError> {
        let (service, now) = (&self.services[1], self.clock.now());
        for (place, customer) in self.customers.iter().enumerate() {
            let spend = service.tier(&customer.name).await.qualifying_spend.unwrap();
            let spend = spend.units * 100 + i64::from(spend.nanos) / 10_000_000;
            prop_assert_eq!(spend, customer.purse.spend());
            self.check_entries(place, 1_000).await?;
            // A dozen instants or so, from the first to the last.
            let every = customer.past.len() / 12 + 1;
            for (at, purse) in customer.past.iter().filter(|(at, _)| *at <= now).step_by(every) {
                let (program_id, customer_id) = (SHOP.to_owned(), customer.name.clone());
                let request = proto::GetBalanceRequest { program_id, customer_id, as_of: Some(instant(*at)) };
                let balance = service.rewards().get_balance(request).await.unwrap().into_inner().balance.unwrap();
                let mut purse = purse.clone();
                purse.apply_dues(*at);
                prop_assert_eq!(balance_row(&balance), expected_balance(&purse), "{} as of {}", &customer.name, at);
            }
        }
        Ok(())
    }
}

type Due = Option<(i64, Option<Timestamp>)>;

#[derive(Debug, PartialEq)]
struct BalanceRow {
    pockets: Pockets,
    issued: i64,
    next_vesting: Due,
    next_expiry: Due,
}

fn balance_row(balance: &proto::Balance) -> BalanceRow {
    let due = |due: &Option<proto::PointsDue>| due.as_ref().map(|due| (due.points, read_instant(due.due_at.as_ref())));
    BalanceRow {
        pockets: Pockets::of(balance),
        issued: balance.issued,
        next_vesting: due(&balance.next_vesting),
        next_expiry: due(&balance.next_expiry),
    }
}

fn expected_balance(purse: &Purse) -> BalanceRow {
    let next = |pocket: Pocket, when: &dyn Fn(&super::model::Lot) -> Option<Timestamp>| {
        let lots = || purse.lots.iter().filter(|lot| lot.count(pocket) > 0);
        let first = lots().filter_map(when).min()?;
        let points = lots().filter(|lot| when(lot) == Some(first)).map(|lot| lot.count(pocket)).sum();
        Some((points, Some(first)))
    };
    BalanceRow {
        pockets: Pockets {
            pending: purse.sum(Pocket::Pending),
            available: purse.sum(Pocket::Available),
            held: purse.sum(Pocket::Held),
            redeemed: purse.sum(Pocket::Redeemed),
            expired: purse.sum(Pocket::Expired),
            cancelled: purse.sum(Pocket::Cancelled) + purse.debts,
            owed: purse.owed,
        },
        issued: purse.lots.iter().map(|lot| lot.points).sum(),
        next_vesting: next(Pocket::Pending, &|lot| lot.vests),
        next_expiry: next(Pocket::Available, &|lot| purse.expiry(lot)),
    }
}

#[derive(Debug, PartialEq)]
struct LotRow {
    seq: i64,
    points: i64,
    pockets: Pockets,
    repaid: i64,
    vests: Option<Timestamp>,
    vest_by: Option<Timestamp>,
    expires: Option<Timestamp>,
}

fn lot_row(lot: &proto::Lot) -> LotRow {
    let proto::Lot { points, pending, available, held, redeemed, expired, cancelled, repaid, .. } = *lot;
    LotRow {
        seq: seq_of(&lot.lot_id),
        points,
        pockets: Pockets { pending, available, held, redeemed, expired, cancelled, owed: 0 },
        repaid,
        vests: read_instant(lot.vests_at.as_ref()),
        vest_by: read_instant(lot.vest_by.as_ref()),
        expires: read_instant(lot.expires_at.as_ref()),
    }
}

fn expected_lots(purse: &Purse, open_only: bool) -> Vec<LotRow> {
    let row = |lot: &super::model::Lot| {
        let is_pending = lot.count(Pocket::Pending) > 0;
        LotRow {
            seq: lot.seq,
            points: lot.points,
            pockets: Pockets {
                pending: lot.count(Pocket::Pending),
                available: lot.count(Pocket::Available),
                held: lot.count(Pocket::Held),
                redeemed: lot.count(Pocket::Redeemed),
                expired: lot.count(Pocket::Expired),
                cancelled: lot.count(Pocket::Cancelled),
                owed: 0,
            },
            repaid: lot.count(Pocket::Owed),
            vests: lot.vests.filter(|_| is_pending),
            vest_by: lot.by.filter(|_| is_pending),
            // Of points that slide it is not known before they are available.
            expires: purse.expiry(lot).filter(|_| lot.live || !lot.slides),
        }
    };
    purse.lots.iter().rev().filter(|lot| !open_only || lot.is_open()).map(row).collect()
}

type EntryRow = (EntryKind, Option<(Pocket, Pocket, i64)>, Vec<(i64, i64)>, Option<Timestamp>);

fn entry_row(entry: &proto::Entry) -> EntryRow {
    let lots = entry.lots.iter().map(|part| (seq_of(&part.lot_id), part.points)).collect();
    let moved = entry.r#move.map(|moved| (moved.from(), moved.to(), moved.points));
    (entry.kind(), moved, lots, read_instant(entry.effective_at.as_ref()))
}

fn expected_entries(purse: &Purse, count: i32) -> Vec<EntryRow> {
    let row = |entry: &super::model::Entry| {
        let moved = (entry.points > 0).then_some((entry.from, entry.to, entry.points));
        let lots = if entry.from == Pocket::Issued { Vec::new() } else { entry.parts.clone() };
        (entry.kind, moved, lots, Some(entry.at))
    };
    purse.entries.iter().rev().take(usize::try_from(count).unwrap()).map(row).collect()
}

/// Plays a run from its first step to what is to be checked at its end.
pub(super) async fn play(rules: &Rules, start: Timestamp, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut run = Run::start(rules, start).await;
    for (place, step) in steps.iter().enumerate() {
        let told = |error| TestCaseError::fail(format!("step {place}, {step:?}: {error}"));
        run.play_step(step).await.map_err(told)?;
    }
    run.check_past().await?;
    check_rules(&run.services[0].database).await
}

#[test]
fn random_calls_answer_as_the_naive_model_and_keep_the_rules_of_the_book() {
    let runs = (0..programs().len(), prop::sample::select(starts()), prop::collection::vec(step(), 1..400));
    assert_always(8, 60, &runs, async |(program, start, steps)| play(&programs()[program], start, &steps).await);
}
