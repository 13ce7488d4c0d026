//! Who holds which tier, and what is missing to the next.

use jiff::Timestamp;

use crate::book::{Actor, Detail, EntryReason, Post};
use crate::ids::{EntryId, TierId};
use crate::programs::model::{Program, ProgramVersion, Tier};

/// The tier a customer holds now, since when, under which policy version and why; and the progress to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The tier held.
    pub tier_id: TierId,
    /// Since when.
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
}

/// The highest tier whose threshold a lifetime spend reaches.
#[must_use]
pub fn tier_for(program: &Program, qualifying_spend: i64) -> Option<&Tier> {
    program.tiers.iter().rev().find(|tier| qualifying_spend >= tier.threshold)
}

/// The tier above the one held, and how much more must be spent to reach it: zero if a new policy lowered its threshold
/// below what was spent already, until the next purchase moves the customer up.
#[must_use]
pub fn next_tier<'a>(program: &'a Program, held: &TierId, qualifying_spend: i64) -> Option<(&'a Tier, i64)> {
    let above = match program.tiers.iter().position(|tier| tier.tier_id == *held) {
        Some(rank) => program.tiers.get(rank + 1..)?.first(),
        // A tier that the program has no more: whatever the spend does not reach yet is next.
        None => program.tiers.iter().find(|tier| tier.threshold > qualifying_spend),
    }?;
    Some((above, above.threshold.saturating_sub(qualifying_spend).max(0)))
}

/// The change of tier that a lifetime spend brings, if it brings one. Lifetime spend only ever lifts.
#[must_use]
pub fn lift(policy: &ProgramVersion, held: &TierId, qualifying_spend: i64, cause: EntryId) -> Option<Post> {
    let program = &policy.program;
    let rank_of = |tier_id: &TierId| program.tiers.iter().position(|tier| tier.tier_id == *tier_id);
    let reached = tier_for(program, qualifying_spend)?;
    if rank_of(&reached.tier_id) <= rank_of(held) {
        return None;
    }
    Some(Post {
        detail: Detail::TierChanged { from: Some(held.clone()), to: reached.tier_id.clone(), qualifying_spend },
        movement: None,
        actor: Actor::Rule,
        reason: EntryReason::ThresholdReached,
        policy_version: policy.version,
        causes: vec![cause],
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::AccountId;
    use crate::programs::model::tests::program;

    fn tier_id(id: &str) -> TierId {
        id.try_into().unwrap()
    }

    fn lifted(held: &str, spend: i64) -> Option<TierId> {
        let policy = ProgramVersion { program: program(), version: 1, applied_at: Timestamp::UNIX_EPOCH };
        let cause = EntryId { account_id: AccountId::generate(), account_seq: 1 };
        match lift(&policy, &tier_id(held), spend, cause)?.detail {
            Detail::TierChanged { to, .. } => Some(to),
            other => panic!("{other:?}"),
        }
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
