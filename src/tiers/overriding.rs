//! What an override makes of a standing. It is pure.

use jiff::Timestamp;

use super::standing::{Standing, TierOverride};
use crate::book::{Actor, EntryReason, NewEntry, OverrideForce, TierDetail};
use crate::ids::{AccountId, EntryId, TierId};
use crate::programs::model::{Program, ProgramVersion};

/// The tiers of a standing before and after something changed: those that are held, and the one that is hidden from then
/// on, under an override.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) from: TierId,
    pub(super) to: TierId,
    pub(super) hidden: Option<TierId>,
}

/// What becomes of the tier that is held once the customer's own one is this.
#[must_use]
pub(super) fn moved(program: &Program, standing: &Standing, own: TierId) -> Moved {
    let from = standing.tier_id.clone();
    match &standing.forced {
        None => Moved { from, to: own, hidden: None },
        Some(forced) => {
            Moved { from, to: held(program, forced.force, &forced.tier_id, &own).clone(), hidden: Some(own) }
        }
    }
}

/// The tier that is held under an override. One whose tier the program has no more does nothing.
#[must_use]
pub(super) fn held<'a>(program: &Program, force: OverrideForce, forced: &'a TierId, own: &'a TierId) -> &'a TierId {
    let rank = |tier_id: &TierId| program.tiers.iter().position(|tier| tier.tier_id == *tier_id);
    let is_forced = match force {
        OverrideForce::Floor => rank(forced) > rank(own),
        OverrideForce::Lock => rank(forced).is_some(),
    };
    if is_forced { forced } else { own }
}

/// The entry by which the override of a standing ends at an instant; none where there is none.
#[must_use]
pub(super) fn release(
    version: &ProgramVersion,
    account_id: AccountId,
    standing: &Standing,
    (actor, reason): (Actor, EntryReason),
    at: Timestamp,
) -> Option<NewEntry> {
    let TierOverride { set_seq, hidden, .. } = standing.forced.as_ref()?;
    let (from, to) = (standing.tier_id.clone(), hidden.clone());
    let package_id = version.package_on_reaching(Some(&from), &to, at);
    Some(NewEntry {
        detail: TierDetail::TierReleased { from, to, package_id }.into(),
        movement: None,
        actor,
        reason,
        policy_version: version.version,
        causes: vec![EntryId { account_id, account_seq: *set_seq }],
    })
}

/// The first instant at which the customer no longer holds the tier unless it is earned again; never, if absent.
#[must_use]
pub(crate) fn valid_until(standing: &Standing) -> Option<Timestamp> {
    let own = standing.outlook.ends_at;
    let Some(TierOverride { tier_id, ends_at, hidden, .. }) = &standing.forced else { return own };
    if standing.tier_id != *hidden {
        *ends_at
    } else if standing.tier_id == *tier_id {
        // Both would have to end.
        own.zip(*ends_at).map(|(own, forced)| own.max(forced))
    } else {
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::model::tests::program;

    const NEVER: Option<i64> = None;

    fn standing(held: &str, own_end: Option<i64>, forced: (&str, Option<i64>, &str)) -> Standing {
        let instant = |second: Option<i64>| second.map(|second| Timestamp::from_second(second).unwrap());
        let mut standing = Standing::new(held.try_into().unwrap(), Timestamp::UNIX_EPOCH, 1, None);
        standing.outlook.ends_at = instant(own_end);
        standing.forced = Some(TierOverride {
            force: OverrideForce::Floor,
            tier_id: forced.0.try_into().unwrap(),
            ends_at: instant(forced.1),
            set_seq: 3,
            hidden: forced.2.try_into().unwrap(),
        });
        standing
    }

    #[test]
    fn a_floor_lets_rise_and_a_lock_does_not() {
        let table = [
            (OverrideForce::Floor, "silver", "member", "silver"),
            (OverrideForce::Floor, "silver", "silver", "silver"),
            (OverrideForce::Floor, "silver", "gold", "gold"),
            (OverrideForce::Lock, "silver", "member", "silver"),
            (OverrideForce::Lock, "silver", "silver", "silver"),
            (OverrideForce::Lock, "silver", "gold", "silver"),
            (OverrideForce::Lock, "member", "gold", "member"),
            // The program has lost the tier of the override, or the customer's own.
            (OverrideForce::Floor, "bronze", "member", "member"),
            (OverrideForce::Lock, "bronze", "member", "member"),
            (OverrideForce::Floor, "member", "bronze", "member"),
        ];
        for (force, forced, own, expected) in table {
            let [forced, own, expected] = [forced, own, expected].map(|it| TierId::try_from(it).unwrap());
            assert_eq!(*held(&program(), force, &forced, &own), expected, "{force:?} of {forced} over {own}");
        }
    }

    #[test]
    fn a_tier_is_valid_until_neither_the_override_nor_itself_holds_it() {
        let table = [
            ("gold", Some(5), ("gold", Some(9), "member"), Some(9)),
            ("gold", Some(5), ("gold", NEVER, "member"), NEVER),
            ("gold", Some(5), ("gold", Some(9), "gold"), Some(9)),
            ("gold", Some(5), ("gold", Some(2), "gold"), Some(5)),
            ("gold", NEVER, ("gold", Some(2), "gold"), NEVER),
            ("gold", Some(5), ("gold", NEVER, "gold"), NEVER),
            ("gold", Some(5), ("silver", Some(9), "gold"), Some(5)),
            ("silver", Some(5), ("silver", Some(2), "gold"), Some(2)),
        ];
        for (held, own_end, forced, expected) in table {
            let until = valid_until(&standing(held, own_end, forced)).map(Timestamp::as_second);
            assert_eq!(until, expected, "{held} {own_end:?} {forced:?}");
        }
    }
}
