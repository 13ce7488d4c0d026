//! Tiers under windows after random histories with late purchases and refunds, against a naive count of all activities.

use goldbook::proto;
use goldbook::proto::tier_retention::Rule;
use goldbook::proto::tier_window::Window;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use tonic::Code;

use super::windows::{OFTEN, with_policy};
use crate::book_rules::check_rules;
use crate::harness::{Service, purchase};
use crate::random::{Random, cases};

/// A policy, and what it makes of what was counted.
#[derive(Clone, Copy, Debug)]
enum Policy {
    /// The last 90 days.
    Rolling,
    /// This quarter and the one before.
    TwoQuarters,
    /// This month.
    Month,
}

impl Policy {
    fn program(self) -> proto::Program {
        match self {
            Self::Rolling => with_policy(Window::Rolling("P90D".to_owned()), Rule::WhileConditionHolds(())),
            Self::TwoQuarters => {
                with_policy(Window::Calendar(proto::CalendarPeriod::Quarter.into()), Rule::UntilEndOfNextPeriod(()))
            }
            Self::Month => {
                with_policy(Window::Calendar(proto::CalendarPeriod::Month.into()), Rule::UntilEndOfPeriod(()))
            }
        }
    }

    /// The tier, from all that was told by now: days, and what was spent on each or given back of it.
    fn tier(self, told: &[(Date, i64)], today: Date) -> &'static str {
        let rank = |counts: &dyn Fn(Date) -> bool| -> usize {
            let spend: i64 = told.iter().filter(|(day, _)| counts(*day)).map(|(_, cents)| cents).sum();
            if spend >= 50_000 { 2 } else { usize::from(spend >= 20_000) }
        };
        let month = |day: Date| i32::from(day.year()) * 12 + i32::from(day.month()) - 1;
        let rank = match self {
            Self::Rolling => rank(&|day| day.checked_add(90.days()).unwrap() > today),
            Self::TwoQuarters => {
                let in_quarter = |back: i32| rank(&|day| month(day).div_euclid(3) == month(today).div_euclid(3) - back);
                in_quarter(0).max(in_quarter(1))
            }
            Self::Month => rank(&|day| month(day) == month(today)),
        };
        ["member", "silver", "gold"][rank]
    }
}

/// The service, and what was told to it.
struct Run {
    service: Service,
    policy: Policy,
    told: Vec<(Date, i64)>,
    /// The day of each purchase, and what is left of it.
    purchases: Vec<(Date, i64)>,
    /// What was answered at the last moment of an instant.
    answers: Vec<(Timestamp, proto::CustomerTier)>,
}

fn day_of(at: Timestamp) -> Date {
    at.to_zoned(goldbook_api::zones::find("America/New_York").unwrap()).date()
}

fn amount(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

impl Run {
    async fn buy(&mut self, cents: i64, happened_at: Timestamp) {
        let id = format!("a{}", self.purchases.len());
        let request = purchase("anna", &id, &amount(cents), happened_at);
        self.service.activities().record_activity(request).await.unwrap();
        self.told.push((day_of(happened_at), cents));
        self.purchases.push((day_of(happened_at), cents));
    }

    /// Gives back a part of a purchase, or all that is left of it.
    async fn give_back(&mut self, number: u64, place: usize, share: i64) {
        let Some((day, left)) = self.purchases.get_mut(place) else { return };
        let cents = if share == 0 { *left } else { *left / (share + 1) };
        let answer = self.service.refund(&format!("a{place}"), &amount(cents), &format!("r{number}")).await;
        if cents == 0 {
            assert_eq!(answer.unwrap_err().code(), Code::InvalidArgument);
            return;
        }
        answer.unwrap();
        *left -= cents;
        self.told.push((*day, -cents));
    }

    async fn step(&mut self, random: &mut Random, number: u64) {
        let now = self.service.clock.now();
        match random.below(7) {
            0..2 => self.buy(1 + random.below(30_000) as i64, now).await,
            2 => {
                let hours = random.below(24 * 200) as i64;
                self.buy(1 + random.below(40_000) as i64, now - SignedDuration::from_hours(hours)).await;
            }
            3..5 => {
                let place = random.below(self.purchases.len().max(1) as u64) as usize;
                self.give_back(number, place, random.below(3) as i64).await;
            }
            _ => {
                self.answers.push((now, self.service.tier("anna").await));
                let hours = 1 + random.below(24 * 50) as i64;
                self.service.clock.set(now + SignedDuration::from_hours(hours));
            }
        }
    }

    async fn check(&self, case: &str) {
        let today = day_of(self.service.clock.now());
        let held = self.service.tier("anna").await.tier_id;
        assert_eq!(held, self.policy.tier(&self.told, today), "{case} on {today}: {:?}", self.told);
    }
}

#[tokio::test]
async fn random_activities_give_the_tier_that_counting_all_of_them_gives() {
    for case in cases(6) {
        let mut random = Random::of_seed(case.seed);
        let policy = [Policy::Rolling, Policy::TwoQuarters, Policy::Month][(case.seed % 3) as usize];
        let service = Service::start().await;
        service.apply(policy.program()).await.unwrap();
        service.enrol("anna").await;
        let busy = match random.below(2) {
            0 => Some(Service::start_busy(service.database.clone(), service.clock.clone(), OFTEN).await),
            _ => None,
        };
        let mut run = Run { service, policy, told: Vec::new(), purchases: Vec::new(), answers: Vec::new() };
        for number in 0..50 {
            run.step(&mut random, number).await;
            run.check(&format!("seed {}, step {number}, {policy:?}", case.seed)).await;
        }
        // What was answered is what is answered for the same instant later, word for word.
        for (as_of, answer) in &run.answers {
            let told = run.service.tier_at("anna", &as_of.to_string()).await.unwrap();
            assert_eq!(told, *answer, "seed {} as of {as_of}", case.seed);
        }
        check_rules(&run.service.database).await.unwrap();
        if let Some(busy) = busy {
            busy.stop().await;
        }
    }
}
