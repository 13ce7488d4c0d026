//! Opening lots: the points that a customer brings along from another system, on the terms they had there.

use jiff::Timestamp;

use super::model::{open_lot, pocket_of, require_ahead, terms_of, terms_on_event};
use crate::book::{Actor, Decision, DecisionError, EntryReason, LotTerms, NewEntry, Pocket, PocketMove, PointsDetail};
use crate::ids::{AccountId, EntryId};
use crate::points::amount::Points;
use crate::programs::model::{Program, ProgramVersion};
use crate::programs::points::{ExpiryRule, VestingRule};

/// Points that a customer brings along.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct OpeningLot {
    /// How many points they are.
    pub points: Points,
    /// When the points become available.
    pub vesting: OpeningVesting,
    /// When they expire; by the program, if absent.
    pub expiry: Option<ExpiryRule>,
}

/// When points that a customer brings along become available. A program's rule counts from its own grants. Points that
/// began elsewhere have their instants already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) enum OpeningVesting {
    /// As soon as they are taken over.
    AtOnce,
    /// At an instant; at once, if it has passed.
    At(Timestamp),
    /// When somebody says that what they were granted for has happened, until an instant.
    OnEventBy(Timestamp),
}

impl OpeningLot {
    /// The lot's terms, if it is opened at an instant.
    fn terms(&self, program: &Program, at: Timestamp) -> Result<LotTerms, DecisionError> {
        let expiry = self.expiry.as_ref().unwrap_or(&program.points.expiry);
        let vesting = match self.vesting {
            OpeningVesting::AtOnce => VestingRule::Immediate,
            OpeningVesting::At(vests_at) => VestingRule::At(vests_at),
            OpeningVesting::OnEventBy(vest_by) => {
                require_ahead("vest_by", vest_by, at)?;
                if let ExpiryRule::At(expires_at) = expiry {
                    require_ahead("expires_at", *expires_at, at)?;
                }
                return Ok(terms_on_event(vest_by, expiry, program)?);
            }
        };
        let terms = terms_of(&vesting, expiry, at, program)?;
        if let Some(expires_at) = terms.expires_at {
            require_ahead("expires_at", expires_at, terms.vests_at.unwrap_or(at))?;
        }
        Ok(terms)
    }

    /// Posts the lot, and what it pays of a debt at once. Returns the entry that made it.
    ///
    /// # Errors
    /// A refusal if its points expired already; [`DecisionError::NotLoaded`] if the account is not locked.
    pub(crate) fn open(
        &self,
        decision: &mut Decision<'_>,
        policy: &ProgramVersion,
        account_id: AccountId,
    ) -> Result<EntryId, DecisionError> {
        let at = decision.account(account_id)?.time_at(decision.at());
        let terms = self.terms(&policy.program, at)?;
        let new_entry = NewEntry {
            detail: PointsDetail::PointsImported { terms: terms.clone() }.into(),
            movement: Some(PocketMove { from: Pocket::Issued, to: pocket_of(&terms), points: self.points.get() }),
            actor: Actor::Caller,
            reason: EntryReason::Migration,
            policy_version: policy.version,
            causes: Vec::new(),
        };
        open_lot(decision, account_id, new_entry, &terms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Reason;
    use crate::programs::model::tests::program;
    use crate::programs::points::Period;

    const AT: &str = "2026-01-15T12:00:00Z";

    fn instant(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn terms(vesting: OpeningVesting, expiry: Option<ExpiryRule>, by_program: ExpiryRule) -> Result<LotTerms, Reason> {
        let mut program = program();
        program.points.expiry = by_program;
        program.points.vesting = VestingRule::After(Period::parse("P14D").unwrap());
        let lot = OpeningLot { points: Points::new(5).unwrap(), vesting, expiry };
        lot.terms(&program, instant(AT)).map_err(|error| {
            let DecisionError::Refused(refusal) = error else { panic!("{error:?}") };
            refusal.reason
        })
    }

    #[test]
    fn vesting_is_the_lots_own_and_what_has_passed_is_at_once() {
        let free = Ok(LotTerms::default());
        assert_eq!(terms(OpeningVesting::AtOnce, None, ExpiryRule::Never), free);
        assert_eq!(terms(OpeningVesting::At(instant(AT)), None, ExpiryRule::Never), free);
        let later = instant("2026-01-15T12:00:00.000001Z");
        let expected = LotTerms { vests_at: Some(later), ..LotTerms::default() };
        assert_eq!(terms(OpeningVesting::At(later), None, ExpiryRule::Never), Ok(expected));
    }

    #[test]
    fn expiry_is_the_lots_own_or_else_the_programs() {
        let (soon, later) = (instant("2026-02-01T00:00:00Z"), instant("2026-03-01T00:00:00Z"));
        let expiring = |at| Ok(LotTerms { expires_at: Some(at), ..LotTerms::default() });
        assert_eq!(terms(OpeningVesting::AtOnce, None, ExpiryRule::At(soon)), expiring(soon));
        assert_eq!(terms(OpeningVesting::AtOnce, Some(ExpiryRule::At(later)), ExpiryRule::At(soon)), expiring(later));
        assert_eq!(
            terms(OpeningVesting::AtOnce, Some(ExpiryRule::Never), ExpiryRule::At(soon)),
            Ok(LotTerms::default())
        );
        let sliding = terms(OpeningVesting::AtOnce, None, ExpiryRule::Sliding(Period::parse("P1Y").unwrap())).unwrap();
        assert!(sliding.slides && sliding.expires_at.is_some());
    }

    #[test]
    fn what_expired_or_expires_before_it_vests_is_refused() {
        let (soon, later) = (instant("2026-02-01T00:00:00Z"), instant("2026-03-01T00:00:00Z"));
        let refused = Err(Reason::InstantNotAhead);
        let at = |expires_at| Some(ExpiryRule::At(expires_at));
        assert_eq!(terms(OpeningVesting::AtOnce, at(instant(AT)), ExpiryRule::Never), refused);
        assert_eq!(terms(OpeningVesting::At(soon), at(soon), ExpiryRule::Never), refused);
        assert_eq!(terms(OpeningVesting::OnEventBy(instant(AT)), None, ExpiryRule::Never), refused);
        assert_eq!(terms(OpeningVesting::OnEventBy(soon), at(instant(AT)), ExpiryRule::Never), refused);
        let waits = terms(OpeningVesting::OnEventBy(soon), at(later), ExpiryRule::Never).unwrap();
        assert_eq!((waits.vest_by, waits.expires_at), (Some(soon), None));
        assert!(waits.expiry_rule.unwrap().contains("2026-03-01"));
    }
}
