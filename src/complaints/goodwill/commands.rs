//! The command that gives goodwill.

use std::any::TypeId;

use super::limits::{Side, least_left, require_within};
use super::state::GoodwillState;
use crate::benefits::granting::{NewEntitlement, ask_grants_of, entitle};
use crate::benefits::state::BenefitsState;
use crate::book::{
    Account, Actor, Asking, Command, CommandKey, Decision, DecisionError, Defect, Entry, EntryReason, GoodwillDetail,
    Name, NameUse, NewEntry, Told,
};
use crate::complaints::model::complaint_not_found;
use crate::complaints::state::ComplaintsState;
use crate::customers::commands::require_customer;
use crate::error::{Reason, Refusal};
use crate::ids::{AccountId, BenefitId, EntryId, IdempotencyKey, PrincipalId, ProgramId};
use crate::points::amount::Points;
use crate::points::grants::model::{Grant, grant};
use crate::points::state::{Note, PointsState};
use crate::points::subject::{Subject, keep_note, key_of};
use crate::programs::goodwill::{GoodwillBenefit, GoodwillParty, GoodwillPolicy};
use crate::programs::model::program_not_found;
use crate::programs::packages::PackagedBenefit;
use crate::programs::points::VestingRule;
use crate::programs::state::ProgramsState;

/// Gives a customer something at once. The fields are described in complaints.proto.
#[derive(Clone, Debug)]
pub(crate) struct GrantGoodwill {
    pub subject: Subject,
    pub gift: Gift,
    pub complaint_id: Option<EntryId>,
    pub note: String,
    pub key: IdempotencyKey,
    /// Who gives it.
    pub person: PrincipalId,
}

/// How many more points whoever gave may give to the customer now, by the narrowest limit: what [`GrantGoodwill`] tells. As many as
/// they like, if absent.
pub(crate) struct Left(pub Option<i64>);

/// What is given.
#[derive(Clone, Debug)]
pub(crate) enum Gift {
    Points(Points),
    Benefit(BenefitId),
}

/// What a program offers of a gift.
#[derive(Clone, Copy)]
enum Offer<'p> {
    Points(Points),
    Benefit(&'p GoodwillBenefit),
}

impl Offer<'_> {
    /// As how many points it counts.
    const fn value(self) -> i64 {
        match self {
            Self::Points(points) => points.get(),
            Self::Benefit(benefit) => benefit.points,
        }
    }
}

impl GrantGoodwill {
    fn pot(&self) -> Name {
        Name::goodwill_pot(&self.subject.program_id, self.person)
    }

    fn benefit_id(&self) -> Option<&BenefitId> {
        match &self.gift {
            Gift::Points(_) => None,
            Gift::Benefit(benefit_id) => Some(benefit_id),
        }
    }

    /// The gift as the program offers it.
    fn offer<'p>(&self, policy: &'p GoodwillPolicy) -> Result<Offer<'p>, Refusal> {
        match &self.gift {
            Gift::Points(points) => Ok(Offer::Points(*points)),
            Gift::Benefit(benefit_id) => policy.benefit(benefit_id).map(Offer::Benefit).ok_or_else(|| {
                let message = format!("the benefit {benefit_id} is none that the program lets be given");
                Refusal::new(Reason::GoodwillNotOffered, message).with("benefit_id", benefit_id)
            }),
        }
    }

    /// Refuses a complaint that is not the customer's.
    fn require_complaint(&self, state: &ComplaintsState, account_id: AccountId) -> Result<(), Refusal> {
        let Some(complaint_id) = self.complaint_id else { return Ok(()) };
        let own = state.get(account_id, complaint_id.account_seq).filter(|_| complaint_id.account_id == account_id);
        own.map(|_| ()).ok_or_else(|| complaint_not_found(complaint_id))
    }
}

impl Command for GrantGoodwill {
    fn program_id(&self) -> &ProgramId {
        &self.subject.program_id
    }

    fn names(&self) -> Vec<NameUse> {
        vec![NameUse::Find(self.subject.name()), NameUse::FindOrOpen(self.pot())]
    }

    fn states(&self) -> Vec<TypeId> {
        vec![
            TypeId::of::<ProgramsState>(),
            TypeId::of::<PointsState>(),
            TypeId::of::<BenefitsState>(),
            TypeId::of::<ComplaintsState>(),
            TypeId::of::<GoodwillState>(),
        ]
    }

    fn key(&self) -> Option<CommandKey> {
        let points = match &self.gift {
            Gift::Points(points) => Some(points.get()),
            Gift::Benefit(_) => None,
        };
        let complaint_id = self.complaint_id.map(|complaint_id| complaint_id.to_string());
        Some(key_of(&self.key, &("grant_goodwill", points, self.benefit_id(), complaint_id, &self.note)))
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        let sides = [asking.find(&self.subject.name()), asking.find(&self.pot())];
        for account_id in sides.into_iter().flatten() {
            asking.state::<GoodwillState>()?.ask(account_id);
        }
        if let Some((account_id, opened)) = self.complaint_id.and_then(|it| self.subject.own(asking, it)) {
            asking.state::<ComplaintsState>()?.ask(account_id, Some(opened));
        }
        if self.benefit_id().is_some() {
            ask_grants_of(asking, &self.subject)?;
        }
        Ok(())
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let (policy, account) = self.subject.begin(decision)?;
        let program = &policy.program;
        let account_id = account.account_id;
        let pot = decision.find(&self.pot())?.ok_or(DecisionError::NotLoaded)?;
        let goodwill = program.goodwill.as_ref().ok_or_else(|| {
            let message = "the program lets nothing be given as goodwill".to_owned();
            Refusal::new(Reason::GoodwillNotOffered, message).with("program_id", &program.program_id)
        })?;
        self.require_complaint(decision.state()?, account_id)?;
        let offer = self.offer(goodwill)?;
        let value = offer.value();
        let [customer, person] = sides(decision, account, pot)?;
        require_within(goodwill, program, &[customer, person], value)?;
        let overflow = || Refusal::new(Reason::AmountOverflow, "it is more goodwill than the book can count");
        let counts = customer.with(value, program).ok_or_else(overflow)?;
        let drawn = person.with(value, program).ok_or_else(overflow)?;
        let complaint = self.complaint_id.map(|complaint_id| complaint_id.account_seq);
        let by_caller = |detail: GoodwillDetail, causes| NewEntry {
            detail: detail.into(),
            movement: None,
            actor: Actor::Caller,
            reason: EntryReason::Goodwill,
            policy_version: policy.version,
            causes,
        };
        let benefit_id = self.benefit_id().cloned();
        let detail = GoodwillDetail::GoodwillGiven { value, benefit_id, complaint, counts };
        let given = decision.post(account_id, by_caller(detail, self.complaint_id.into_iter().collect()))?;
        keep_note(decision, given, &Note { text: self.note.clone(), author: String::new() });
        decision
            .post(pot.account_id, by_caller(GoodwillDetail::GoodwillDrawn { value, counts: drawn }, vec![given]))?;
        match offer {
            Offer::Points(points) => {
                let spec = Grant {
                    // Who is made whole does not wait.
                    vesting: Some(VestingRule::Immediate),
                    actor: Actor::Caller,
                    ..Grant::by_rule(points, EntryReason::Goodwill, vec![given])
                };
                grant(decision, &policy, account_id, spec)?;
            }
            Offer::Benefit(GoodwillBenefit { benefit, .. }) => {
                let PackagedBenefit { benefit_id, tier_id, quantity, valid_for } = benefit;
                let until = valid_for.as_ref().map(|period| period.after(customer.at, &program.time_zone.0));
                let new = NewEntitlement { benefit_id, tier_id: tier_id.as_ref(), quantity: *quantity, until };
                entitle(decision, &policy, account, new, EntryReason::Goodwill, vec![given])?;
            }
        }
        Ok(())
    }

    fn tell(&self, decision: &Decision<'_>, _entries: &[Entry]) -> Result<Option<Told>, DecisionError> {
        // The version in force even if this batch has just put it there, as beside a repetition.
        let Subject { program_id, customer_id } = &self.subject;
        let current = decision.state::<ProgramsState>()?.current(program_id);
        let policy = &current.ok_or_else(|| program_not_found(program_id))?.policy;
        let account = require_customer(decision, program_id, customer_id)?;
        let pot = decision.find(&self.pot())?.ok_or(DecisionError::NotLoaded)?;
        let sides = sides(decision, account, pot)?;
        let left = policy.program.goodwill.as_ref().map_or(Some(0), |it| least_left(it, &policy.program, &sides));
        Ok(Some(Box::new(Left(left))))
    }
}

/// What the customer was given, and what was drawn from the pot of whoever gives, as far as it was asked for.
fn sides(decision: &Decision<'_>, account: &Account, pot: &Account) -> Result<[Side; 2], DecisionError> {
    let state: &GoodwillState = decision.state()?;
    let side = |party, account: &Account| {
        let (at, last) = (account.time_at(decision.at()), state.counts(account.account_id));
        Side { party, at, last }
    };
    Ok([side(GoodwillParty::Customer, account), side(GoodwillParty::Person, pot)])
}
