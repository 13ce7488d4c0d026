//! Random commands against the service and against a naive model: the same answers, the same visible state, and every
//! rule of the book after each run.

use std::collections::{BTreeMap, BTreeSet};

use goldbook::proto;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use tonic::Status;

use crate::benefits::grants::grant_of;
use crate::benefits::packages::package;
use crate::book_rules::check_rules;
use crate::harness::{
    Clock, Database, SHOP, START, Service, create_customer, create_referral, grant_reward, instant, purchase, reason,
    shop,
};
use crate::random::assert_always;

const CUSTOMERS: u8 = 4;

/// One call of a random run.
#[derive(Clone, Debug)]
enum Step {
    Enrol(u8),
    Grant {
        customer: u8,
        points: i64,
        key: u8,
    },
    Purchase {
        customer: u8,
        id: u8,
        cents: i64,
        again: bool,
    },
    Share(u8),
    Refer {
        referee: u8,
        referrer: u8,
    },
    Convert(u8),
    UseBenefit {
        customer: u8,
        key: u8,
    },
    /// Grants one use of free shipping for so many hours.
    Entitle {
        customer: u8,
        hours: i64,
        key: u8,
    },
    /// Sets or, without what, ends an override, by a key.
    Override {
        customer: u8,
        forced: Option<(bool, usize, i64)>,
        key: u8,
    },
    Wait {
        hours: i64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let customer = 0..CUSTOMERS;
    prop_oneof![
        2 => customer.clone().prop_map(Step::Enrol),
        4 => (customer.clone(), prop_oneof![1..1_000_i64, Just(1_000_000_000_000)], 0..4_u8)
            .prop_map(|(customer, points, key)| Step::Grant { customer, points, key }),
        8 => (customer.clone(), 0..12_u8, prop_oneof![Just(0), 1..30_000_i64], any::<bool>())
            .prop_map(|(customer, id, cents, again)| Step::Purchase { customer, id, cents, again }),
        3 => customer.clone().prop_map(Step::Share),
        4 => (customer.clone(), 0..CUSTOMERS).prop_map(|(referee, referrer)| Step::Refer { referee, referrer }),
        2 => customer.clone().prop_map(Step::Convert),
        3 => (customer.clone(), 0..4_u8).prop_map(|(customer, key)| Step::UseBenefit { customer, key }),
        2 => (customer.clone(), 0..600_i64, 0..4_u8)
            .prop_map(|(customer, hours, key)| Step::Entitle { customer, hours, key }),
        4 => (customer, prop::option::weighted(0.7, (any::<bool>(), 0..3_usize, 0..600_i64)), 0..6_u8)
            .prop_map(|(customer, forced, key)| Step::Override { customer, forced, key }),
        3 => (1..400_i64).prop_map(|hours| Step::Wait { hours }),
    ]
}

/// A customer as a child would keep them: sums and flags.
#[derive(Clone, Debug, Default, PartialEq)]
struct Person {
    enrolled: bool,
    spend: i64,
    purchases: u32,
    points: i64,
    code: Option<String>,
    referral: Option<Referral>,
    forced: Option<Forced>,
    /// Grants of one use: when each ends, and whether it was used.
    grants: Vec<(Option<Timestamp>, bool)>,
    /// The tier that they held last, by its rank, and the tiers whose packages they were given.
    rank: Option<usize>,
    given: BTreeSet<usize>,
    /// What each key was used for.
    keys: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq)]
struct Referral {
    referrer: u8,
    expires_at: Timestamp,
    converted: bool,
}

/// A tier that was set by hand, by its rank.
#[derive(Clone, Debug, PartialEq)]
struct Forced {
    is_lock: bool,
    rank: usize,
    ends_at: Option<Timestamp>,
}

const TIERS: [&str; 3] = ["member", "silver", "gold"];

/// The points of the package for each tier, which nobody is given twice: no tier period ends here.
const PACKAGES: [i64; 3] = [3, 70, 1_100];

impl Person {
    fn forced(&self, at: Timestamp) -> Option<&Forced> {
        self.forced.as_ref().filter(|forced| forced.ends_at.is_none_or(|ends_at| ends_at > at))
    }

    /// The tier that is held, and the one without an override that is in force.
    fn tier(&self, at: Timestamp) -> (&'static str, &'static str) {
        let own = match self.spend {
            ..20_000 => 0,
            20_000..50_000 => 1,
            _ => 2,
        };
        match self.forced(at) {
            None => (TIERS[own], ""),
            Some(forced) if forced.is_lock => (TIERS[forced.rank], TIERS[own]),
            Some(forced) => (TIERS[forced.rank.max(own)], TIERS[own]),
        }
    }
}

struct Model {
    now: Timestamp,
    people: BTreeMap<u8, Person>,
    purchases: BTreeMap<(u8, u8), (i64, Timestamp)>,
}

/// What a call must answer: whether it is a repetition, or the reason of its refusal.
type Expected = Result<bool, &'static str>;

impl Model {
    /// Gives everybody what there is for the tier that they have risen to by now.
    fn give_packages(&mut self) {
        let now = self.now;
        for person in self.people.values_mut().filter(|person| person.enrolled) {
            let rank = TIERS.iter().position(|tier| *tier == person.tier(now).0).unwrap();
            // Everybody joins as a member.
            let joined = person.rank.is_none().then_some(0);
            let risen = Some(rank).filter(|rank| person.rank.unwrap_or(0) < *rank);
            for reached in joined.into_iter().chain(risen) {
                if person.given.insert(reached) {
                    person.points += PACKAGES[reached];
                }
            }
            person.rank = Some(rank);
        }
    }

    fn person(&mut self, customer: u8) -> &mut Person {
        self.people.entry(customer).or_default()
    }

    /// Looks a key up: a repetition, a conflict, or new.
    fn key(&mut self, customer: u8, key: &str, content: &str, conflict: &'static str) -> Option<Expected> {
        let used = self.person(customer).keys.get(key)?;
        Some(if used == content { Ok(true) } else { Err(conflict) })
    }

    fn earn(&mut self, customer: u8, points: i64) {
        self.person(customer).points += points;
    }

    fn enrol(&mut self, customer: u8) -> Expected {
        if let Some(expected) = self.key(customer, "enrol", "", "IDEMPOTENCY_KEY_REUSED") {
            return expected;
        }
        if self.person(customer).enrolled {
            return Err("CUSTOMER_ALREADY_EXISTS");
        }
        self.person(customer).enrolled = true;
        self.person(customer).keys.insert("enrol".to_owned(), String::new());
        Ok(false)
    }

    fn grant(&mut self, customer: u8, points: i64, key: u8) -> Expected {
        if !self.person(customer).enrolled {
            return Err("CUSTOMER_NOT_FOUND");
        }
        let (key, content) = (format!("grant-{key}"), points.to_string());
        if let Some(expected) = self.key(customer, &key, &content, "IDEMPOTENCY_KEY_REUSED") {
            return expected;
        }
        if self.person(customer).points.checked_add(points).is_none() {
            return Err("AMOUNT_OVERFLOW");
        }
        self.earn(customer, points);
        self.person(customer).keys.insert(key, content);
        Ok(false)
    }

    fn purchase(&mut self, customer: u8, id: u8, cents: i64, happened_at: Timestamp) -> Expected {
        let (key, content) = (format!("activity-{id}"), format!("{cents} {happened_at}"));
        if let Some(expected) = self.key(customer, &key, &content, "ACTIVITY_ID_REUSED") {
            return expected;
        }
        let now = self.now;
        let mut after = self.person(customer).clone();
        let Some(points) = after.points.checked_add(cents / 100) else { return Err("AMOUNT_OVERFLOW") };
        after.enrolled = true;
        after.points = points;
        after.spend += cents;
        after.purchases += u32::from(cents > 0);
        after.keys.insert(key, content);
        let mut pays = None;
        if let Some(referral) = after.referral.as_mut().filter(|referral| !referral.converted)
            && now < referral.expires_at
            && cents >= 1_000
        {
            referral.converted = true;
            pays = Some(referral.referrer);
        }
        if let Some(referrer) = pays {
            let (Some(own), Some(theirs)) =
                (after.points.checked_add(250), self.person(referrer).points.checked_add(500))
            else {
                return Err("AMOUNT_OVERFLOW");
            };
            after.points = own;
            self.person(referrer).points = theirs;
        }
        *self.person(customer) = after;
        self.purchases.insert((customer, id), (cents, happened_at));
        Ok(false)
    }

    fn refer(&mut self, referee: u8, referrer: u8) -> Expected {
        let key = format!("refer-{referrer}");
        if let Some(expected) = self.key(referee, &key, "", "IDEMPOTENCY_KEY_REUSED") {
            return expected;
        }
        if self.person(referee).referral.is_some() {
            return Err("ALREADY_REFERRED");
        }
        if self.person(referee).purchases > 0 {
            return Err("NOT_A_NEW_CUSTOMER");
        }
        if self.person(referrer).code.is_none() {
            return Err("REFERRAL_CODE_NOT_FOUND");
        }
        if referee == referrer {
            return Err("OWN_REFERRAL_CODE");
        }
        let zone = goldbook_api::zones::find("America/New_York").unwrap();
        let last_day = self.now.to_zoned(zone.clone()).date() + 30.days();
        let expires_at = last_day.tomorrow().unwrap().to_zoned(zone).unwrap().timestamp();
        let person = self.person(referee);
        person.enrolled = true;
        person.referral = Some(Referral { referrer, expires_at, converted: false });
        person.keys.insert(key, String::new());
        Ok(false)
    }

    /// Silver and gold have free shipping, at will.
    fn use_benefit(&mut self, customer: u8, key: u8) -> Expected {
        if !self.person(customer).enrolled {
            return Err("CUSTOMER_NOT_FOUND");
        }
        let key = format!("use-{key}");
        if let Some(expected) = self.key(customer, &key, "", "IDEMPOTENCY_KEY_REUSED") {
            return expected;
        }
        let now = self.now;
        let person = self.person(customer);
        if person.tier(now).0 == "member" {
            let mut in_force: Vec<_> =
                person.grants.iter_mut().filter(|(ends_at, _)| ends_at.is_none_or(|ends_at| ends_at > now)).collect();
            if in_force.is_empty() {
                return Err("BENEFIT_NOT_ENTITLED");
            }
            in_force.retain(|(_, used)| !used);
            in_force.sort_by_key(|(ends_at, _)| ends_at.unwrap_or(Timestamp::MAX));
            let Some((_, used)) = in_force.into_iter().next() else { return Err("BENEFIT_QUOTA_EXHAUSTED") };
            *used = true;
        }
        person.keys.insert(key, String::new());
        Ok(false)
    }

    fn entitle(&mut self, customer: u8, ends_at: Option<Timestamp>, key: u8) -> Expected {
        if !self.person(customer).enrolled {
            return Err("CUSTOMER_NOT_FOUND");
        }
        let (key, content) = (format!("entitle-{key}"), format!("{ends_at:?}"));
        if let Some(expected) = self.key(customer, &key, &content, "IDEMPOTENCY_KEY_REUSED") {
            return expected;
        }
        self.person(customer).grants.push((ends_at, false));
        self.person(customer).keys.insert(key, content);
        Ok(false)
    }

    fn set_override(&mut self, customer: u8, forced: Option<Forced>, key: u8) -> Expected {
        if !self.person(customer).enrolled {
            return Err("CUSTOMER_NOT_FOUND");
        }
        let (key, content, now) = (format!("override-{key}"), format!("{forced:?}"), self.now);
        if let Some(expected) = self.key(customer, &key, &content, "IDEMPOTENCY_KEY_REUSED") {
            return expected;
        }
        if forced.is_none() && self.person(customer).forced(now).is_none() {
            return Err("TIER_NOT_OVERRIDDEN");
        }
        self.person(customer).forced = forced;
        self.person(customer).keys.insert(key, content);
        Ok(false)
    }

    fn convert(&mut self, customer: u8) -> Expected {
        let now = self.now;
        let person = self.person(customer);
        match &person.referral {
            _ if !person.enrolled => Err("CUSTOMER_NOT_FOUND"),
            None => Err("REFERRAL_NOT_FOUND"),
            Some(referral) if referral.converted => Ok(true),
            Some(referral) if now >= referral.expires_at => Err("REFERRAL_EXPIRED"),
            Some(_) => Err("NOT_QUALIFIED"),
        }
    }
}

fn name(customer: u8) -> String {
    format!("customer-{customer}")
}

/// The answer of a call in the model's terms.
fn outcome<T>(result: Result<T, Status>, replayed: impl Fn(&T) -> bool) -> Result<bool, String> {
    result.map(|response| replayed(&response)).map_err(|status| reason(&status))
}

struct Run {
    services: [Service; 2],
    clock: Clock,
    model: Model,
    /// What was true at the end of an instant.
    history: Vec<(Timestamp, BTreeMap<u8, Person>)>,
}

impl Run {
    async fn start() -> Self {
        let database = Database::create().await;
        let clock = Clock::fixed(START.parse().unwrap());
        let first = Service::start_on(database.clone(), clock.clone()).await;
        let second = Service::start_on(database, clock.clone()).await;
        let reached = proto::PackageOccasion::TierReached;
        let packages = TIERS.into_iter().zip(PACKAGES);
        let packages = packages.map(|(tier_id, points)| package(tier_id, reached, &[tier_id], points)).collect();
        first.apply(proto::Program { packages, ..shop() }).await.unwrap();
        let model = Model { now: clock.now(), people: BTreeMap::new(), purchases: BTreeMap::new() };
        Self { services: [first, second], clock, model, history: Vec::new() }
    }

    /// Calls one of the two services, and asks the model what it must answer.
    async fn play_step(&mut self, place: usize, step: &Step) -> (Result<bool, String>, Expected) {
        let service = &self.services[place % 2];
        match step {
            Step::Enrol(customer) => {
                let request = create_customer(&name(*customer), "enrol");
                let answer = service.customers().create_customer(request).await;
                (outcome(answer, |response| response.get_ref().replayed), self.model.enrol(*customer))
            }
            Step::Grant { customer, points, key } => {
                let request = grant_reward(&name(*customer), *points, &format!("grant-{key}"));
                let answer = service.rewards().grant_reward(request).await;
                let expected = self.model.grant(*customer, *points, *key);
                (outcome(answer, |response| response.get_ref().replayed), expected)
            }
            Step::Purchase { customer, id, cents, again } => {
                let known = self.model.purchases.get(&(*customer, *id)).filter(|_| *again);
                let (cents, happened_at) = *known.unwrap_or(&(*cents, self.model.now));
                let amount = format!("{}.{:02}", cents / 100, cents % 100);
                let request = purchase(&name(*customer), &format!("activity-{id}"), &amount, happened_at);
                let answer = service.activities().record_activity(request).await;
                let expected = self.model.purchase(*customer, *id, cents, happened_at);
                (outcome(answer, |response| response.get_ref().replayed), expected)
            }
            Step::Share(customer) => self.share(place, *customer).await,
            Step::Refer { referee, referrer } => {
                let code = self.model.person(*referrer).code.clone().unwrap_or_else(|| "NOBODY".to_owned());
                let mut request = create_referral(&name(*referee), &code);
                request.idempotency_key = format!("refer-{referrer}");
                let answer = service.referrals().create_referral(request).await;
                let expected = self.model.refer(*referee, *referrer);
                (outcome(answer, |response| response.get_ref().replayed), expected)
            }
            Step::Convert(customer) => {
                let request =
                    proto::ConvertReferralRequest { program_id: SHOP.to_owned(), referee_customer_id: name(*customer) };
                let answer = service.referrals().convert_referral(request).await;
                let expected = self.model.convert(*customer);
                (outcome(answer, |response| response.get_ref().already_converted), expected)
            }
            Step::UseBenefit { customer, key } => {
                let request = proto::UseBenefitRequest {
                    program_id: SHOP.to_owned(),
                    customer_id: name(*customer),
                    benefit_id: "free-shipping".to_owned(),
                    idempotency_key: format!("use-{key}"),
                    ..Default::default()
                };
                let answer = service.benefits().use_benefit(request).await;
                let expected = self.model.use_benefit(*customer, *key);
                (outcome(answer, |response| response.get_ref().replayed), expected)
            }
            Step::Entitle { customer, hours, key } => self.entitle(place, *customer, *hours, *key).await,
            Step::Override { customer, forced, key } => self.set_override(place, *customer, *forced, *key).await,
            Step::Wait { hours } => {
                self.history.push((self.model.now, self.model.people.clone()));
                self.model.now += SignedDuration::from_hours(*hours);
                self.clock.set(self.model.now);
                (Ok(false), Ok(false))
            }
        }
    }

    async fn share(&mut self, place: usize, customer: u8) -> (Result<bool, String>, Expected) {
        let request = proto::CreateReferralCodeRequest {
            program_id: SHOP.to_owned(),
            customer_id: name(customer),
            campaign_id: "friends".to_owned(),
        };
        let answer = self.services[place % 2].referrals().create_referral_code(request).await;
        let person = self.model.person(customer);
        let expected = match (&person.code, person.enrolled) {
            (_, false) => Err("CUSTOMER_NOT_FOUND"),
            (Some(_), true) => Ok(true),
            (None, true) => Ok(false),
        };
        if let Ok(response) = &answer {
            let code = response.get_ref().referral_code.as_ref().unwrap().code.clone();
            // The code stays the same once it is made.
            assert_eq!(person.code.get_or_insert_with(|| code.clone()), &code);
        }
        (outcome(answer, |response| !response.get_ref().created), expected)
    }

    /// Without hours, what is granted does not end.
    async fn entitle(&mut self, place: usize, customer: u8, hours: i64, key: u8) -> (Result<bool, String>, Expected) {
        let ends_at = (hours > 0).then(|| self.model.now + SignedDuration::from_hours(hours));
        let request = proto::GrantEntitlementRequest {
            customer_id: name(customer),
            until: ends_at.map(instant),
            ..grant_of("free-shipping", 1, None, &format!("entitle-{key}"))
        };
        let answer = self.services[place % 2].benefits().grant_entitlement(request).await;
        (outcome(answer, |response| response.get_ref().replayed), self.model.entitle(customer, ends_at, key))
    }

    async fn set_override(
        &mut self,
        place: usize,
        customer: u8,
        forced: Option<(bool, usize, i64)>,
        key: u8,
    ) -> (Result<bool, String>, Expected) {
        let now = self.model.now;
        // Without hours, it does not end.
        let ends_at = |hours: i64| (hours > 0).then(|| now + SignedDuration::from_hours(hours));
        let forced = forced.map(|(is_lock, rank, hours)| Forced { is_lock, rank, ends_at: ends_at(hours) });
        let set = proto::SetTierOverrideRequest {
            program_id: SHOP.to_owned(),
            customer_id: name(customer),
            reason: proto::CorrectionReason::Other.into(),
            author: "clerk".to_owned(),
            idempotency_key: format!("override-{key}"),
            ..Default::default()
        };
        let mut tiers = self.services[place % 2].tiers();
        let answer = match &forced {
            None => {
                let proto::SetTierOverrideRequest { program_id, customer_id, reason, author, .. } = set;
                let (note, idempotency_key) = (String::new(), set.idempotency_key);
                let clear =
                    proto::ClearTierOverrideRequest { program_id, customer_id, reason, author, note, idempotency_key };
                outcome(tiers.clear_tier_override(clear).await, |response| response.get_ref().replayed)
            }
            Some(Forced { is_lock, rank, ends_at }) => {
                let kind = if *is_lock { proto::TierOverrideKind::Lock } else { proto::TierOverrideKind::Floor };
                let (kind, tier_id) = (kind.into(), TIERS[*rank].to_owned());
                let set = proto::SetTierOverrideRequest { kind, tier_id, ends_at: ends_at.map(instant), ..set };
                outcome(tiers.set_tier_override(set).await, |response| response.get_ref().replayed)
            }
        };
        (answer, self.model.set_override(customer, forced, key))
    }

    /// Everyone's balance, tier and referral are what the model says, at a past instant or now.
    async fn check_state(&self, people: &BTreeMap<u8, Person>, at: Option<Timestamp>) -> Result<(), TestCaseError> {
        let service = &self.services[0];
        for (customer, person) in people.iter().filter(|(_, person)| person.enrolled) {
            let (program_id, customer_id, as_of) = (SHOP.to_owned(), name(*customer), at.map(instant));
            let request = proto::GetBalanceRequest { program_id, customer_id, as_of };
            let balance = service.rewards().get_balance(request.clone()).await.unwrap().into_inner().balance.unwrap();
            prop_assert_eq!(balance.available, person.points, "points of {} at {:?}", customer, as_of);
            let proto::GetBalanceRequest { program_id, customer_id, as_of } = request;
            let request = proto::GetCustomerTierRequest { program_id, customer_id, as_of };
            let tier = service.tiers().get_customer_tier(request).await.unwrap().into_inner().customer_tier.unwrap();
            let held = person.tier(at.unwrap_or(self.model.now));
            prop_assert_eq!(
                (tier.tier_id.as_str(), tier.hidden_tier_id.as_str()),
                held,
                "of {} at {:?}",
                customer,
                as_of
            );
            let spend = tier.qualifying_spend.unwrap();
            prop_assert_eq!(spend.units * 100 + i64::from(spend.nanos) / 10_000_000, person.spend);
        }
        Ok(())
    }

    async fn check_referrals(&self) -> Result<(), TestCaseError> {
        for (customer, person) in &self.model.people {
            let Some(referral) = &person.referral else { continue };
            let request =
                proto::GetReferralRequest { program_id: SHOP.to_owned(), referee_customer_id: name(*customer) };
            let found = self.services[1].referrals().get_referral(request).await.unwrap().into_inner();
            let expected = match referral {
                Referral { converted: true, .. } => proto::ReferralState::Converted,
                Referral { expires_at, .. } if *expires_at <= self.model.now => proto::ReferralState::Expired,
                Referral { .. } => proto::ReferralState::Pending,
            };
            let found = found.referral.unwrap();
            prop_assert_eq!(found.state(), expected);
            prop_assert_eq!(found.referrer_customer_id, name(referral.referrer));
        }
        Ok(())
    }
}

#[test]
fn random_commands_answer_as_the_naive_model_and_keep_the_rules_of_the_book() {
    assert_always(12, 60, &prop::collection::vec(step(), 1..120), async |steps: Vec<Step>| {
        let mut run = Run::start().await;
        for (place, step) in steps.iter().enumerate() {
            let (answer, expected) = run.play_step(place, step).await;
            run.model.give_packages();
            prop_assert_eq!(answer, expected.map_err(str::to_owned), "step {}: {:?}", place, step);
            run.check_state(&run.model.people, None).await?;
        }
        run.check_referrals().await?;
        for (as_of, people) in &run.history {
            run.check_state(people, Some(*as_of)).await?;
        }
        check_rules(&run.services[0].database).await
    });
}
