//! Who holds which tier, and what is missing to the next.

use jiff::Timestamp;

use crate::book::{Actor, DecisionError, Defect, EntryReason, NewEntry, TierDetail};
use crate::error::{Reason, Refusal};
use crate::ids::{EntryId, TierId};
use crate::money::Money;
use crate::programs::model::{Program, ProgramVersion, Tier};

/// The tier a customer holds now, since when, under which policy version and why; and the progress to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The tier that the customer holds.
    pub tier_id: TierId,
    /// Since when the customer has held it.
    pub since: Timestamp,
    /// The program version that decided.
    pub policy_version: i32,
    /// The number of the entry that changed the tier.
    pub changed_seq: i64,
    /// The number of the entry that caused the change.
    pub cause_seq: i64,
    /// Lifetime spend in minor units.
    pub qualifying_spend: i64,
    /// Accepted purchases above zero.
    pub purchases: i64,
    /// The number of the last entry that changed any of it.
    pub last_seq: i64,
}

/// The highest tier whose threshold is no more than a lifetime spend.
#[must_use]
pub(crate) fn tier_for(program: &Program, qualifying_spend: i64) -> Option<&Tier> {
    program.tiers.iter().rev().find(|tier| qualifying_spend >= tier.threshold)
}

/// The tier above the one held, and how much more must be spent for it. That is zero if a new policy lowered its
/// threshold below what was spent already: then the next purchase moves the customer up.
#[must_use]
pub(crate) fn next_tier<'a>(program: &'a Program, held: &TierId, qualifying_spend: i64) -> Option<(&'a Tier, i64)> {
    let above = match program.tiers.iter().position(|tier| tier.tier_id == *held) {
        Some(rank) => program.tiers.get(rank + 1..)?.first(),
        // The program has the tier no more. The next one is the first whose threshold is above the spend.
        None => program.tiers.iter().find(|tier| tier.threshold > qualifying_spend),
    }?;
    Some((above, above.threshold.saturating_sub(qualifying_spend).max(0)))
}

/// A tier's place in its program. None, which is below all others, if the program has it no more.
fn rank_of(program: &Program, tier_id: &TierId) -> Option<usize> {
    program.tiers.iter().position(|tier| tier.tier_id == *tier_id)
}

/// The change of tier that a lifetime spend brings, if it brings one. Lifetime spend only ever lifts.
#[must_use]
pub(crate) fn lift(policy: &ProgramVersion, held: &TierId, qualifying_spend: i64, cause: EntryId) -> Option<NewEntry> {
    let program = &policy.program;
    let reached = tier_for(program, qualifying_spend)?;
    if rank_of(program, &reached.tier_id) <= rank_of(program, held) {
        return None;
    }
    Some(NewEntry {
        detail: TierDetail::TierChanged { from: Some(held.clone()), to: reached.tier_id.clone(), qualifying_spend }
            .into(),
        movement: None,
        actor: Actor::Rule,
        reason: EntryReason::ThresholdReached,
        policy_version: policy.version,
        causes: vec![cause],
    })
}

/// The standing that a customer brings along from another system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpeningTier {
    /// The tier that the other system gave.
    pub tier_id: TierId,
    /// Lifetime spend, added to what the customer has.
    pub qualifying_spend: Option<Money>,
}

/// Takes over a standing: the customer holds the highest of the tier they held, the one they bring, and the one that
/// their spend then lifts them to. `standing` is what they stand at, unless they join just now.
///
/// # Errors
/// A refusal if the program has no such tier, or counts in another currency, or the spend is more than can be counted.
pub(crate) fn import_tier(
    policy: &ProgramVersion,
    standing: Option<&Standing>,
    opening: &OpeningTier,
) -> Result<NewEntry, DecisionError> {
    let program = &policy.program;
    let brought = &opening.tier_id;
    if rank_of(program, brought).is_none() {
        let refusal = Refusal::new(Reason::TierNotFound, format!("the program has no tier {brought}"));
        return Err(refusal.with("tier_id", brought).into());
    }
    if let Some(spend) = opening.qualifying_spend {
        program.require_currency(spend)?;
    }
    let qualifying_spend = opening.qualifying_spend.map_or(0, |spend| spend.minor);
    let spent = standing.map_or(0, |standing| standing.qualifying_spend).checked_add(qualifying_spend);
    let spent = spent
        .ok_or_else(|| Refusal::new(Reason::AmountOverflow, "the lifetime spend is more than the book can count"))?;
    let first = program.tiers.first().map(|tier| &tier.tier_id);
    let held = standing.map(|standing| &standing.tier_id).or(first);
    let held = held.ok_or_else(|| Defect::new(format!("program {} has no tiers", program.program_id)))?;
    let reached = tier_for(program, spent).map(|tier| &tier.tier_id);
    let highest = [Some(brought), reached].into_iter().flatten().fold(held, |highest, tier_id| {
        if rank_of(program, tier_id) > rank_of(program, highest) { tier_id } else { highest }
    });
    Ok(NewEntry {
        detail: TierDetail::TierImported { from: held.clone(), to: highest.clone(), qualifying_spend }.into(),
        movement: None,
        actor: Actor::Caller,
        reason: EntryReason::Migration,
        policy_version: policy.version,
        causes: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::book::Detail;
    use crate::ids::AccountId;
    use crate::programs::model::tests::program;

    fn tier_id(id: &str) -> TierId {
        id.try_into().unwrap()
    }

    fn lifted(held: &str, spend: i64) -> Option<TierId> {
        let policy = ProgramVersion { program: program(), version: 1, applied_at: Timestamp::UNIX_EPOCH };
        let cause = EntryId { account_id: AccountId::generate(), account_seq: 1 };
        let detail = lift(&policy, &tier_id(held), spend, cause)?.detail;
        let Detail::Tier(TierDetail::TierChanged { to, .. }) = detail else { panic!("{detail:?}") };
        Some(to)
    }

    #[test]
    fn equal_to_the_threshold_qualifies() {
        assert_eq!(lifted("member", 19_999), None);
        assert_eq!(lifted("member", 20_000), Some(tier_id("silver")));
        assert_eq!(lifted("member", 50_000), Some(tier_id("gold")));
    }

    #[test]
    fn a_tier_once_held_is_not_lost() {
        assert_eq!(lifted("gold", 0), None);
    }

    #[test]
    fn a_tier_that_the_program_has_no_more_gives_way_to_the_one_reached() {
        assert_eq!(lifted("bronze", 100), Some(tier_id("member")));
    }

    #[test]
    fn what_is_missing_is_told_up_to_the_top() {
        let program = program();
        let missing = |held: &str, spend| {
            next_tier(&program, &tier_id(held), spend).map(|(tier, missing)| (tier.tier_id.to_string(), missing))
        };
        assert_eq!(missing("member", 19_999), Some(("silver".to_owned(), 1)));
        assert_eq!(missing("member", 30_000), Some(("silver".to_owned(), 0)));
        assert_eq!(missing("gold", 60_000), None);
        assert_eq!(missing("bronze", 30_000), Some(("gold".to_owned(), 20_000)));
    }

    fn tier_after_import(held: Option<(&str, i64)>, brought: &str, spend: i64) -> Result<(String, String), Reason> {
        let policy = ProgramVersion { program: program(), version: 1, applied_at: Timestamp::UNIX_EPOCH };
        let standing = held.map(|(held, qualifying_spend)| Standing {
            tier_id: tier_id(held),
            since: Timestamp::UNIX_EPOCH,
            policy_version: 1,
            changed_seq: 1,
            cause_seq: 1,
            qualifying_spend,
            purchases: 0,
            last_seq: 1,
        });
        let qualifying_spend = Some(policy.program.money(spend)).filter(|spend| spend.minor > 0);
        let opening = OpeningTier { tier_id: tier_id(brought), qualifying_spend };
        match import_tier(&policy, standing.as_ref(), &opening) {
            Ok(NewEntry { detail: Detail::Tier(TierDetail::TierImported { from, to, qualifying_spend }), .. }) => {
                assert_eq!(qualifying_spend, spend);
                Ok((from.to_string(), to.to_string()))
            }
            Err(DecisionError::Refused(refusal)) => Err(refusal.reason),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_highest_of_what_is_held_brought_and_reached_is_held() {
        let moved = |from: &str, to: &str| Ok((from.to_owned(), to.to_owned()));
        assert_eq!(tier_after_import(None, "silver", 0), moved("member", "silver"));
        assert_eq!(tier_after_import(None, "member", 0), moved("member", "member"));
        assert_eq!(tier_after_import(Some(("gold", 60_000)), "silver", 5), moved("gold", "gold"));
        assert_eq!(tier_after_import(Some(("member", 10_000)), "member", 10_000), moved("member", "silver"));
        assert_eq!(tier_after_import(Some(("silver", 10_000)), "silver", 40_000), moved("silver", "gold"));
        assert_eq!(tier_after_import(Some(("bronze", 0)), "member", 0), moved("bronze", "member"));
        assert_eq!(tier_after_import(None, "bronze", 0), Err(Reason::TierNotFound));
        assert_eq!(tier_after_import(Some(("member", i64::MAX)), "silver", 1), Err(Reason::AmountOverflow));
    }

    proptest! {
        #[test]
        fn purchase_by_purchase_leads_where_the_sum_leads(amounts in prop::collection::vec(0..30_000_i64, 0..12)) {
            let mut held = tier_id("member");
            let mut spend = 0;
            for amount in amounts {
                spend += amount;
                held = lifted(held.as_str(), spend).unwrap_or(held);
                // The naive rule: whatever the thresholds say.
                let naive = if spend >= 50_000 { "gold" } else if spend >= 20_000 { "silver" } else { "member" };
                prop_assert_eq!(held.as_str(), naive);
            }
        }
    }
}
