//! The command of activities: accepting what a customer did, with all that follows from it.

use std::any::TypeId;

use jiff::Timestamp;

use super::model::{Activity, Refund, accept, accept_feedback, accept_refund, check};
use super::state::{ActivitiesState, ActivityRow, Deed};
use crate::book::{Asking, Command, CommandKey, Decision, DecisionError, Defect, Key, KeyKind, Name, NameUse};
use crate::customers::commands::enrol_by_name;
use crate::customers::erasure::commands::ask_before_enrolling;
use crate::customers::erasure::state::ErasuresState;
use crate::customers::model::{Joining, customer_not_found};
use crate::ids::{ActivityId, CustomerId, ProgramId, SurveyId};
use crate::lifecycle::follow;
use crate::lifecycle::state::LifecycleState;
use crate::money::{Currency, Money};
use crate::points::grants::caps::ask_earned;
use crate::points::state::PointsState;
use crate::programs::commands::current_policy;
use crate::programs::points::Clawback;
use crate::programs::state::ProgramsState;
use crate::referrals::state::ReferralsState;
use crate::satisfaction::state::SatisfactionState;
use crate::tiers::model::standing_or_first;
use crate::tiers::state::StandingsState;
use crate::value::state::BoughtState;

/// Reports an activity. The fields are described in activities.proto.
#[derive(Clone, Debug)]
pub(crate) struct RecordActivity {
    pub program_id: ProgramId,
    pub customer_id: CustomerId,
    pub activity_id: ActivityId,
    pub activity: Activity,
    pub enrol: bool,
    pub as_history: bool,
}

impl Command for RecordActivity {
    fn program_id(&self) -> &ProgramId {
        &self.program_id
    }

    fn names(&self) -> Vec<NameUse> {
        let customer = Name::customer(&self.program_id, &self.customer_id);
        vec![if self.enrol { NameUse::FindOrOpen(customer) } else { NameUse::Find(customer) }]
    }

    fn key(&self) -> Option<CommandKey> {
        let happened_at = self.activity.happened_at().as_microsecond().to_be_bytes();
        let money = |amount: Money| (amount.currency.code().as_bytes(), amount.minor.to_be_bytes());
        let key = |content: &[&[u8]]| Key::new("activity", self.activity_id.as_str(), content);
        let key = match &self.activity {
            Activity::Purchase(purchase) => {
                let (currency, minor) = money(purchase.amount);
                match purchase.margin {
                    None => key(&[b"purchase", currency, &minor, &happened_at]),
                    Some(margin) => {
                        let (currency_of_margin, margin) = money(margin);
                        key(&[b"purchase", currency, &minor, &happened_at, currency_of_margin, &margin])
                    }
                }
            }
            Activity::Refund(refund) => {
                let (currency, minor) = money(refund.amount);
                let clawback = refund.clawback.map(Clawback::as_str).unwrap_or_default();
                let purchase = refund.purchase.as_str().as_bytes();
                key(&[b"refund", purchase, currency, &minor, clawback.as_bytes(), &happened_at])
            }
            Activity::Feedback(feedback, _) => {
                let currency = feedback.currency.map(Currency::code);
                let survey_id = feedback.survey_id.as_ref().map(SurveyId::as_str);
                let content = ("feedback", &feedback.answers, currency, survey_id, &feedback.text, happened_at);
                Key::of_content("activity", self.activity_id.as_str(), &content)
            }
        };
        Some(CommandKey { key, kind: KeyKind::ActivityId })
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        let customer = Name::customer(&self.program_id, &self.customer_id);
        if self.enrol {
            ask_before_enrolling(asking, &self.program_id, &self.customer_id)?;
        }
        let at = asking.at();
        asking.state::<StandingsState>()?.ask_instant(at);
        let Some(account_id) = asking.find(&customer) else { return Ok(()) };
        let at = asking.time_of(account_id).unwrap_or(at);
        match &self.activity {
            Activity::Purchase(purchase) => {
                asking.state::<StandingsState>()?.ask_activity(account_id, at, purchase.happened_at);
                ask_earned(asking, &self.program_id, &customer)
            }
            Activity::Refund(refund) => {
                asking.state::<StandingsState>()?.ask_refund(account_id, at, purchase_key(refund));
                asking.state::<PointsState>()?.ask_command(account_id, purchase_key(refund));
                Ok(())
            }
            Activity::Feedback(feedback, _) => {
                if let Some(survey_id) = &feedback.survey_id {
                    asking.state::<ActivitiesState>()?.ask_survey(account_id, survey_id);
                }
                Ok(())
            }
        }
    }

    fn states(&self) -> Vec<TypeId> {
        vec![
            TypeId::of::<ProgramsState>(),
            TypeId::of::<StandingsState>(),
            TypeId::of::<ReferralsState>(),
            TypeId::of::<PointsState>(),
            TypeId::of::<SatisfactionState>(),
            TypeId::of::<BoughtState>(),
            TypeId::of::<ActivitiesState>(),
            TypeId::of::<LifecycleState>(),
            TypeId::of::<ErasuresState>(),
        ]
    }

    fn history_at(&self) -> Option<Timestamp> {
        self.as_history.then_some(self.activity.happened_at())
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let policy = current_policy(decision, &self.program_id)?;
        let account = decision.find(&Name::customer(&self.program_id, &self.customer_id))?;
        let account = account.ok_or_else(|| customer_not_found(&self.customer_id))?;
        check(&self.activity, &policy, decision.now())?;
        if account.head == 0 && !matches!(self.activity, Activity::Refund(_)) {
            enrol_by_name(decision, &policy, account, &self.customer_id, Joining::Now)?;
        }
        let (entry_id, what) = match &self.activity {
            Activity::Purchase(purchase) => {
                let standing = standing_or_first(decision, &policy, account)?;
                let entry_id = accept(decision, &policy, account.account_id, purchase, &standing)?;
                (entry_id, Deed::Purchase { amount: purchase.amount.minor })
            }
            Activity::Refund(refund) => {
                let state: &PointsState = decision.state()?;
                let bought = state.command(account.account_id, purchase_key(refund)).unwrap_or_default();
                let (entry_id, bought) = accept_refund(decision, &policy, account, bought, refund)?;
                let purchase = (bought, refund.purchase.clone());
                (entry_id, Deed::Refund { purchase, amount: refund.amount.minor })
            }
            Activity::Feedback(feedback, happened_at) => {
                let state: &ActivitiesState = decision.state()?;
                let survey_id = feedback.survey_id.clone();
                let answered = survey_id.as_ref().and_then(|survey_id| state.answer_to(account.account_id, survey_id));
                let told = (feedback.as_ref(), *happened_at);
                let entry_id = accept_feedback(decision, &policy, account.account_id, told, answered)?;
                let answers = Box::new(feedback.answers.clone());
                (entry_id, Deed::Feedback { survey_id, answers, text: feedback.text.clone() })
            }
        };
        let row = ActivityRow {
            entry_id,
            activity_id: self.activity_id.clone(),
            what,
            happened_at: self.activity.happened_at(),
            recorded_at: decision.now(),
        };
        decision.keep(move |state: &mut ActivitiesState| state.add(row));
        follow(decision, &policy)
    }
}

/// The key that an activity is accepted under, hashed.
#[must_use]
pub(crate) fn key_hash(activity_id: &ActivityId) -> [u8; 32] {
    Key::new("activity", activity_id.as_str(), &[]).hash
}

/// The key that a refund's purchase was accepted under.
fn purchase_key(refund: &Refund) -> [u8; 32] {
    key_hash(&refund.purchase)
}
