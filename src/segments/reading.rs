//! Going through customers, and finding the segments that each is in.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use sqlx::PgConnection;

use super::model::{Answers, Known, Needed, Told, fold_case, is_in, stage_in};
use super::store::{
    Class, Lasts, read_answers, read_classes, read_consents, read_open_complaints, read_stages, read_told,
};
use crate::book::{Capabilities, Defect, Stage};
use crate::database::StoreError;
use crate::error::with_causes;
use crate::ids::{AccountId, CustomerId};
use crate::programs::channels::MarketingChannel;
use crate::programs::model::Program;
use crate::programs::segments::Segment;
use crate::programs::tier_policy::windows::DayRange;
use crate::tiers::standing::Standing;
use crate::tiers::walking::{Needs, Walk, Walked, WalkedPage};
use crate::tiers::{Listed, Population};
use crate::value::EARLIEST;

/// How many customers are read at a time where all of their days are.
const FEW: usize = 128;

/// What is asked of each customer.
pub(super) struct Asked<'a> {
    program: &'a Program,
    segments: Vec<Segment>,
    needed: Needed,
    population: Population,
    today: Date,
}

/// A customer, with the places of their segments among those that were asked.
pub(super) struct Found {
    pub(super) account_id: AccountId,
    pub(super) customer_id: CustomerId,
    pub(super) segments: Vec<usize>,
}

/// Some customers who follow each other.
pub(super) struct FoundPage {
    pub(super) found: Vec<Found>,
    /// How many customers were looked at: also those who had not joined by then.
    pub(super) looked_at: usize,
    /// Of whom it cannot be told.
    pub(super) left_out: Vec<AccountId>,
}

impl<'a> Asked<'a> {
    /// Which of these segments customers are in, at an instant.
    pub(super) fn new(program: &'a Program, segments: &[Segment], as_of: Timestamp) -> Self {
        let today = program.day_of(as_of);
        let population = Population { program_id: program.program_id.clone(), percent: 100, as_of };
        let segments: Vec<Segment> = segments.iter().map(fold_case).collect();
        Self { program, needed: Needed::of(&segments, today), segments, population, today }
    }
}

impl Needs for Needed {
    fn needed(&self, _: &Standing) -> DayRange {
        self.days
    }
}

/// The customers of a program, page by page.
pub(super) struct Crowd<'a> {
    asked: &'a Asked<'a>,
    walk: Walk<'a, Needed>,
}

/// What is read beside standings.
#[derive(Default)]
struct Facts {
    classes: BTreeMap<AccountId, Class>,
    stages: BTreeMap<AccountId, Stage>,
    open_complaints: BTreeMap<AccountId, i64>,
    answers: BTreeMap<AccountId, Answers>,
    told: BTreeMap<AccountId, Told>,
    consents: BTreeMap<AccountId, Vec<MarketingChannel>>,
}

impl<'a> Crowd<'a> {
    /// Those behind a customer.
    pub(super) const fn behind(asked: &'a Asked<'a>, capabilities: &'a Capabilities, after: AccountId) -> Self {
        Self { asked, walk: Walk::behind(&asked.population, capabilities, &asked.needed, after) }
    }

    /// The last customer who was passed.
    pub(super) const fn after(&self) -> AccountId {
        self.walk.after
    }

    /// Of how many customers it cannot be told.
    pub(super) const fn left_out(&self) -> i64 {
        self.walk.left_out
    }

    /// The next customers, at most so many; none behind the last one.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(super) async fn next_page(
        &mut self,
        connection: &mut PgConnection,
        limit: usize,
    ) -> Result<Option<FoundPage>, StoreError> {
        // Of fewer at a time where all of their days are read.
        let reads_all = self.asked.needed.days.from.is_none_or(|from| from <= EARLIEST);
        let limit = if reads_all { limit.min(FEW) } else { limit };
        let listed = self.walk.list(connection, limit).await?;
        if listed.is_empty() {
            return Ok(None);
        }
        let looked_at = listed.len();
        let page = self.walk.read(connection, listed).await?;
        let found = self.find(connection, page).await?;
        Ok(Some(FoundPage { found, looked_at, left_out: std::mem::take(&mut self.walk.left_out_last) }))
    }

    /// One customer; none, if they had not joined by then.
    ///
    /// # Errors
    /// If the database cannot be read, or it cannot be told of them.
    pub(super) async fn read_one(
        &mut self,
        connection: &mut PgConnection,
        account_id: AccountId,
        customer_id: &CustomerId,
    ) -> Result<Option<Found>, StoreError> {
        let listed = Listed { account_id, customer_id: Ok(customer_id.clone()) };
        let page = self.walk.read(connection, vec![listed]).await?;
        let found = self.find(connection, page).await?.pop();
        if !self.walk.left_out_last.is_empty() {
            let defect = Defect::new(format!("the segments of account {} cannot be told", account_id.0));
            return Err(defect.into());
        }
        Ok(found)
    }

    /// How many customers are in any of the segments, and how many there are.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub(super) async fn count(&mut self, connection: &mut PgConnection) -> Result<(i64, i64), StoreError> {
        let (mut members, mut customers) = (0, 0);
        while let Some(page) = self.next_page(connection, usize::MAX).await? {
            for found in page.found {
                customers += 1;
                members += i64::from(!found.segments.is_empty());
            }
        }
        Ok((members, customers))
    }

    async fn find(&mut self, connection: &mut PgConnection, page: WalkedPage) -> Result<Vec<Found>, StoreError> {
        let WalkedPage { customers, applied_dues } = page;
        let all: Vec<(AccountId, i64)> = customers.iter().map(|it| (it.account_id, it.last)).collect();
        let (mut facts, mut damaged) = match self.read_facts(connection, &all).await {
            Err(error) if error.is_of_a_row() => self.read_one_by_one(connection, &all).await?,
            outcome => (outcome?, BTreeMap::new()),
        };
        // Time may have moved customers on, which is not written yet.
        facts.stages.extend(applied_dues.iter().filter_map(|due| Some((due.id.account_id, stage_in(&due.detail)?))));
        let mut found = Vec::with_capacity(customers.len());
        for customer in customers {
            let account_id = customer.account_id;
            let places = match damaged.remove(&account_id) {
                Some(error) => Err(error),
                None => self.asked.segments_of(customer, &mut facts),
            };
            match places {
                Ok(it) => found.push(it),
                Err(defect) => self.walk.leave_out(account_id, &defect),
            }
        }
        Ok(found)
    }

    async fn read_facts(
        &self,
        connection: &mut PgConnection,
        customers: &[(AccountId, i64)],
    ) -> Result<Facts, StoreError> {
        let (needed, lasts, mut facts) = (&self.asked.needed, Lasts::of(customers.iter().copied()), Facts::default());
        if needed.classes {
            facts.classes = read_classes(connection, &lasts).await?;
        }
        if needed.stages {
            facts.stages = read_stages(connection, &lasts).await?;
        }
        if needed.complaints {
            facts.open_complaints = read_open_complaints(connection, &lasts).await?;
        }
        if needed.answers {
            facts.answers = read_answers(connection, &lasts).await?;
        }
        if needed.dossiers {
            facts.told = read_told(connection, &lasts, &needed.attributes).await?;
        }
        if needed.consents {
            facts.consents = read_consents(connection, &lasts, self.asked.population.as_of).await?;
        }
        Ok(facts)
    }

    /// The same, where the rows of somebody are damaged: nobody else is held up.
    async fn read_one_by_one(
        &self,
        connection: &mut PgConnection,
        customers: &[(AccountId, i64)],
    ) -> Result<(Facts, BTreeMap<AccountId, Defect>), StoreError> {
        let (mut all, mut damaged) = (Facts::default(), BTreeMap::new());
        for customer in customers {
            match self.read_facts(connection, &[*customer]).await {
                Ok(facts) => all.extend(facts),
                Err(error) if error.is_of_a_row() => {
                    damaged.insert(customer.0, Defect::new(with_causes(&error)));
                }
                Err(error) => return Err(error),
            }
        }
        Ok((all, damaged))
    }
}

impl Asked<'_> {
    /// The segments of a customer, whose facts are taken.
    fn segments_of(&self, customer: Walked, facts: &mut Facts) -> Result<Found, Defect> {
        let Walked { account_id, customer_id, standing, history, last: _ } = customer;
        let known = Known {
            tier_since: self.program.day_of(standing.since),
            tier_id: standing.tier_id,
            enrolled_on: standing.enrolled_on,
            history,
            class: facts.classes.remove(&account_id),
            stage: facts.stages.remove(&account_id),
            open_complaints: facts.open_complaints.remove(&account_id).unwrap_or(0),
            answers: facts.answers.remove(&account_id).unwrap_or_default(),
            told: facts.told.remove(&account_id).unwrap_or_default(),
            consents: facts.consents.remove(&account_id).unwrap_or_default(),
        };
        let mut segments = Vec::new();
        for (place, segment) in self.segments.iter().enumerate() {
            let is_in = is_in(segment, &known, self.today);
            if is_in.map_err(|not_read| not_read.into_defect(account_id))? {
                segments.push(place);
            }
        }
        Ok(Found { account_id, customer_id, segments })
    }
}

impl Facts {
    fn extend(&mut self, more: Self) {
        let Self { classes, stages, open_complaints, answers, told, consents } = more;
        self.classes.extend(classes);
        self.stages.extend(stages);
        self.open_complaints.extend(open_complaints);
        self.answers.extend(answers);
        self.told.extend(told);
        self.consents.extend(consents);
    }
}
