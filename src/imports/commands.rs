//! The command of imports: taking over one opening.

use std::any::TypeId;

use crate::book::{Asking, Command, CommandKey, Decision, DecisionError, Defect, Key, KeyKind, Name, NameUse};
use crate::customers::commands::enrol_by_name;
use crate::customers::erasure::commands::ask_before_enrolling;
use crate::customers::erasure::state::ErasuresState;
use crate::customers::model::{Joining, customer_not_found};
use crate::ids::{CustomerId, IdempotencyKey, ProgramId};
use crate::lifecycle::follow;
use crate::lifecycle::state::LifecycleState;
use crate::points::grants::opening::OpeningLot;
use crate::points::state::PointsState;
use crate::programs::commands::current_policy;
use crate::programs::state::ProgramsState;
use crate::tiers::model::{OpeningTier, import_tier, standing_or_first};
use crate::tiers::state::StandingsState;

/// What a customer brings along.
#[derive(Clone, Debug)]
pub(crate) enum Opening {
    /// Points, as a lot of their own.
    Lot(OpeningLot),
    /// A tier, with the spend that led to it.
    Tier(OpeningTier),
}

/// Takes over one opening. The fields are described in imports.proto.
#[derive(Clone, Debug)]
pub(crate) struct ImportBalance {
    pub program_id: ProgramId,
    pub customer_id: CustomerId,
    pub enrol: bool,
    pub opening: Opening,
    pub key: IdempotencyKey,
}

impl ImportBalance {
    fn name(&self) -> Name {
        Name::customer(&self.program_id, &self.customer_id)
    }
}

impl Command for ImportBalance {
    fn program_id(&self) -> &ProgramId {
        &self.program_id
    }

    fn names(&self) -> Vec<NameUse> {
        vec![if self.enrol { NameUse::FindOrOpen(self.name()) } else { NameUse::Find(self.name()) }]
    }

    fn key(&self) -> Option<CommandKey> {
        // The keys of imports have a space of their own. Another system may have used the same text for its lines as a
        // caller uses for a key.
        let (space, key) = ("import", self.key.as_str());
        let key = match &self.opening {
            Opening::Lot(lot) => Key::of_content(space, key, &("opening_lot", lot)),
            Opening::Tier(OpeningTier { tier_id, qualifying_spend }) => {
                let spend = qualifying_spend.map(|spend| (spend.currency.code(), spend.minor));
                Key::of_content(space, key, &("opening_tier", tier_id.as_str(), spend))
            }
        };
        Some(CommandKey { key, kind: KeyKind::Idempotency })
    }

    fn states(&self) -> Vec<TypeId> {
        let own = match self.opening {
            Opening::Lot(_) => vec![TypeId::of::<PointsState>()],
            Opening::Tier(_) => vec![TypeId::of::<StandingsState>(), TypeId::of::<LifecycleState>()],
        };
        [vec![TypeId::of::<ProgramsState>(), TypeId::of::<ErasuresState>()], own].concat()
    }

    fn ask(&self, asking: &mut Asking<'_>) -> Result<(), Defect> {
        if self.enrol { ask_before_enrolling(asking, &self.program_id, &self.customer_id) } else { Ok(()) }
    }

    fn decide(&self, decision: &mut Decision<'_>) -> Result<(), DecisionError> {
        let policy = current_policy(decision, &self.program_id)?;
        let account = decision.find(&self.name())?.ok_or_else(|| customer_not_found(&self.customer_id))?;
        let account_id = account.account_id;
        if account.head == 0 {
            enrol_by_name(decision, &policy, account, &self.customer_id, Joining::Before)?;
        }
        match &self.opening {
            Opening::Lot(lot) => {
                lot.open(decision, &policy, account_id)?;
            }
            Opening::Tier(tier) => {
                // The state does not have a customer who joins in this very command.
                let (standing, history) = standing_or_first(decision, &policy, account)?;
                let at = account.time_at(decision.at());
                let new_entry = import_tier(&policy, &standing, &history, tier, at)?;
                decision.post(account_id, new_entry)?;
                follow(decision, &policy)?;
            }
        }
        Ok(())
    }
}
