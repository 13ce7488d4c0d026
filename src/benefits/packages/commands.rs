//! The command that gives a customer the package for a day of theirs.

use std::sync::Arc;

use jiff::civil::Date;

use super::days::dates_of;
use super::giving::{Giving, Occurrence};
use crate::benefits::granting::ask_grants_of;
use crate::benefits::state::BenefitsState;
use crate::book::{Asking, Command, CommandKey, Decision, DecisionError, Defect, Key, KeyKind, Occasion};
use crate::customers::state::CustomersState;
use crate::ids::AccountId;
use crate::points::state::PointsState;
use crate::points::subject::{Subject, about_a_customer};
use crate::programs::model::ProgramVersion;
use crate::programs::state::ProgramsState;
use crate::tiers::model::standing_of;
use crate::tiers::state::StandingsState;

/// Gives a customer what the program has for a day of theirs: once in its year, however often it is tried. Who holds a tier
/// that no package is for is given nothing, and may be given it later that day.
#[derive(Clone, Debug)]
pub(super) struct GivePackage {
    pub(super) subject: Subject,
    /// The account that has the day. A customer who was erased and came back has another one.
    pub(super) account_id: AccountId,
    /// Of a day that is over, the version that was in force as it ended, which says what is given; of the present day, it is
    /// the one in force.
    pub(super) policy: Option<Arc<ProgramVersion>>,
    pub(super) occasion: Occasion,
    pub(super) day: Date,
}

impl GivePackage {
    /// Whether the customer still has the day: their birth date may have been corrected meanwhile.
    fn has_day(&self, state: &CustomersState) -> bool {
        let born = state.get(self.account_id).and_then(|row| row.dossier.birth_date);
        let is_birthday = born.is_some_and(|born| dates_of(self.day).contains(&(born.month, born.day)));
        match self.occasion {
            Occasion::Birthday => is_birthday,
            Occasion::EnrolmentAnniversary => true,
            Occasion::TierReached => false,
        }
    }
}

impl Command for GivePackage {
    about_a_customer!(ProgramsState, PointsState, CustomersState, StandingsState, BenefitsState);

    fn key(&self) -> Option<CommandKey> {
        let key = Key::of_content("package", &format!("{} {}", self.occasion.as_str(), self.day.year()), &());
        Some(CommandKey { key, kind: KeyKind::Once })
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        ask_grants_of(asking, &self.subject)
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let (current, account) = self.subject.begin(decision)?;
        let policy = self.policy.as_ref().unwrap_or(&current);
        let (account_id, at) = (account.account_id, account.time_at(decision.at()));
        // A day that has ended meanwhile is gone through again.
        let is_over = self.policy.is_none() && current.program.day_of(decision.at()) != self.day;
        if is_over || account_id != self.account_id || !self.has_day(decision.state()?) {
            return Ok(());
        }
        let (standing, _) = standing_of(decision, account_id)?;
        let Some(package) = policy.program.package_for(self.occasion, &standing.tier_id) else { return Ok(()) };
        let in_force = decision.state::<BenefitsState>()?.grants_in_force(account_id, at).count();
        let points = &current.program.points;
        let giving = Giving { policy, points, package, account, at, in_force };
        for new_entry in giving.entries(Occurrence::InYear(self.day.year()))? {
            decision.post(account_id, new_entry)?;
        }
        Ok(())
    }
}
