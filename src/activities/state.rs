//! The activities that a batch accepted.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::book::{Answers, CustomerDetail, Defect, Detail, Entry, State};
use crate::ids::{AccountId, ActivityId, EntryId, SurveyId};

/// An activity as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ActivityRow {
    /// The entry that accepted it.
    pub entry_id: EntryId,
    /// The business's own name of it.
    pub activity_id: ActivityId,
    /// What the customer did.
    pub what: Deed,
    /// When the customer did it.
    pub happened_at: Timestamp,
    /// When the service accepted it.
    pub recorded_at: Timestamp,
}

/// What a customer did, as stored. Amounts are in minor units of the program's currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// They bought something, for so much.
    Purchase { amount: i64 },
    /// They gave something back, and got so much for it: of a purchase by the entry that accepted it and the business's own
    /// name.
    Refund { purchase: (EntryId, ActivityId), amount: i64 },
    /// They said something: in numbers, and in their own words.
    Feedback { survey_id: Option<SurveyId>, answers: Box<Answers>, text: String },
}

/// The activities that a batch accepted, and surveys that were answered. They are a source of record: rows are added, and erased with their customer.
#[derive(Default)]
pub(crate) struct ActivitiesState {
    pub(super) rows: Vec<ActivityRow>,
    /// Surveys of which commands must know whether they were answered.
    pub(super) asked_surveys: BTreeSet<(AccountId, SurveyId)>,
    /// The entries that accepted the answers.
    pub(super) surveys: BTreeMap<(AccountId, SurveyId), EntryId>,
    /// Accounts whose customers are erased, and with them what they did.
    pub(super) erased: BTreeSet<AccountId>,
}

impl ActivitiesState {
    /// Adds an accepted activity.
    pub(crate) fn add(&mut self, row: ActivityRow) {
        if let Deed::Feedback { survey_id: Some(survey_id), .. } = &row.what {
            self.surveys.insert((row.entry_id.account_id, survey_id.clone()), row.entry_id);
        }
        self.rows.push(row);
    }

    /// Asks whether a customer answered a survey.
    pub(crate) fn ask_survey(&mut self, account_id: AccountId, survey_id: &SurveyId) {
        self.asked_surveys.insert((account_id, survey_id.clone()));
    }

    /// The entry by which a customer answered a survey that was [asked for](Self::ask_survey).
    #[must_use]
    pub(crate) fn answer_to(&self, account_id: AccountId, survey_id: &SurveyId) -> Option<EntryId> {
        self.surveys.get(&(account_id, survey_id.clone())).copied()
    }
}

impl State for ActivitiesState {
    /// Only forgets: an activity is a source of record, and the ledger tells only what it counts for.
    fn apply(&mut self, entry: &Entry) -> Result<(), Defect> {
        if let Detail::Customer(CustomerDetail::CustomerErased { .. }) = entry.detail {
            let account_id = entry.id.account_id;
            self.rows.retain(|row| row.entry_id.account_id != account_id);
            self.surveys.retain(|(of, _), _| *of != account_id);
            self.erased.insert(account_id);
        }
        Ok(())
    }
}
