//! Privileged actions: what callers did that auditors look at. Most of them are entries, and those on API keys are not.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use strum::VariantArray;
use uuid::Uuid;

use crate::access::key::{KeyChange, KeyChangeKind};
use crate::access::principal::KnownPrincipal;
use crate::ids::{CustomerId, EntryId, PrincipalId};
use crate::paging::parse_number;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, VariantArray)]
pub enum ActionKind {
    /// A version of the program was applied.
    ProgramApplied,
    /// A balance was changed by hand.
    PointsAdjusted,
    /// An entry was undone, whole or in part.
    EntryReversed,
    /// The program's entries were exported.
    EntriesExported,
    /// Everything that is known of a customer was exported.
    CustomerExported,
    /// A customer was erased.
    CustomerErased,
    /// An API key was created.
    ApiKeyCreated,
    /// An API key was revoked.
    ApiKeyRevoked,
    /// A customer's tier was set by hand.
    TierOverridden,
    /// An override of a tier was ended by hand.
    TierReleased,
    /// It was ordered that a version is applied to every customer.
    ReevaluationOrdered,
    /// A customer was entitled to a benefit by hand.
    EntitlementGranted,
    /// A granted entitlement was ended by hand.
    EntitlementRevoked,
    /// A model of what customers will buy was put in force.
    ValueModelFitted,
}

impl ActionKind {
    /// The kinds of the entry that stands for such an action, as stored; none for what the ledger knows nothing of.
    #[must_use]
    pub const fn entry_kinds(self) -> &'static [&'static str] {
        match self {
            Self::ProgramApplied => &["program_applied"],
            Self::PointsAdjusted => &["points_adjusted"],
            // Where everything was spent, a reversal is a debt alone.
            Self::EntryReversed => &["entry_reversed", "debt_incurred"],
            Self::EntriesExported => &["entries_exported"],
            Self::CustomerExported => &["customer_exported"],
            Self::CustomerErased => &["customer_erased"],
            Self::TierOverridden => &["tier_overridden"],
            Self::TierReleased => &["tier_released"],
            Self::ReevaluationOrdered => &["reevaluation_ordered"],
            Self::EntitlementGranted => &["entitlement_granted"],
            Self::EntitlementRevoked => &["entitlement_revoked"],
            Self::ValueModelFitted => &["value_model_fitted"],
            Self::ApiKeyCreated | Self::ApiKeyRevoked => &[],
        }
    }

    /// The change of a key that such an action is, if it is one.
    #[must_use]
    pub const fn key_change(self) -> Option<KeyChangeKind> {
        match self {
            Self::ApiKeyCreated => Some(KeyChangeKind::Created),
            Self::ApiKeyRevoked => Some(KeyChangeKind::Revoked),
            Self::ProgramApplied
            | Self::PointsAdjusted
            | Self::EntryReversed
            | Self::EntriesExported
            | Self::CustomerExported
            | Self::CustomerErased
            | Self::TierOverridden
            | Self::TierReleased
            | Self::ReevaluationOrdered
            | Self::EntitlementGranted
            | Self::EntitlementRevoked
            | Self::ValueModelFitted => None,
        }
    }

    /// What was done, by the kind of the entry that stands for it.
    #[must_use]
    pub fn of_entry(kind: &str) -> Option<Self> {
        Self::VARIANTS.iter().copied().find(|it| it.entry_kinds().contains(&kind))
    }
}

/// Which actions to list.
#[derive(Clone, Debug, Default)]
pub struct ActionFilter {
    /// What was done. If there are none, everything is listed.
    pub kinds: BTreeSet<ActionKind>,
    /// What was done at this instant or later.
    pub from: Option<Timestamp>,
    /// What was done before this instant.
    pub until: Option<Timestamp>,
}

impl ActionFilter {
    fn wanted(&self) -> impl Iterator<Item = ActionKind> {
        let all = ActionKind::VARIANTS.iter().copied();
        all.filter(|kind| self.kinds.is_empty() || self.kinds.contains(kind))
    }

    /// The kinds of entries to look for, as stored.
    #[must_use]
    pub fn entry_kinds(&self) -> Vec<String> {
        self.wanted().flat_map(ActionKind::entry_kinds).map(|kind| (*kind).to_owned()).collect()
    }

    /// The changes of keys to look for.
    #[must_use]
    pub fn key_changes(&self) -> Vec<KeyChangeKind> {
        self.wanted().filter_map(ActionKind::key_change).collect()
    }
}

/// The place of an action among all of them. No two have the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ActionPlace {
    /// When it was done.
    pub at: Timestamp,
    /// The account or the key.
    pub id: Uuid,
    /// The number of the entry on its account, or of the change of the key.
    pub number: i64,
}

impl ActionPlace {
    /// The place before which there is all that was done before an instant.
    #[must_use]
    pub const fn before(instant: Timestamp) -> Self {
        Self { at: instant, id: Uuid::nil(), number: 0 }
    }

    /// Reads a place as it was written.
    #[must_use]
    pub fn parse(cursor: &str) -> Option<Self> {
        let mut parts = cursor.split('.');
        let (micros, id, number) = (parts.next()?, parts.next()?, parts.next()?);
        let at = Timestamp::from_microsecond(parse_number(micros)?).ok()?;
        let place = Self { at, id: Uuid::try_parse(id).ok()?, number: parse_number(number)? };
        (place.to_string() == cursor).then_some(place)
    }
}

impl fmt::Display for ActionPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.at.as_microsecond(), self.id.simple(), self.number)
    }
}

/// The entry that stands for an action.
#[derive(Clone, Copy, Debug)]
pub struct WrittenAction {
    /// What was done.
    pub kind: ActionKind,
    /// The entry.
    pub entry_id: EntryId,
    /// When it was written.
    pub written_at: Timestamp,
    /// Who did it.
    pub principal_id: PrincipalId,
}

/// An action as it is kept.
#[derive(Clone, Debug)]
pub enum KeptAction {
    /// On the ledger.
    Written(WrittenAction),
    /// On an API key.
    OnKey(KeyChange),
}

impl KeptAction {
    /// What was done.
    #[must_use]
    pub const fn kind(&self) -> ActionKind {
        match self {
            Self::Written(written) => written.kind,
            Self::OnKey(change) => match change.kind {
                KeyChangeKind::Created => ActionKind::ApiKeyCreated,
                KeyChangeKind::Revoked => ActionKind::ApiKeyRevoked,
            },
        }
    }

    /// Its place among all of them.
    #[must_use]
    pub const fn place(&self) -> ActionPlace {
        match self {
            Self::Written(WrittenAction { entry_id, written_at, .. }) => {
                ActionPlace { at: *written_at, id: entry_id.account_id.0, number: entry_id.account_seq }
            }
            Self::OnKey(KeyChange { at, key_id, kind, .. }) => {
                ActionPlace { at: *at, id: *key_id, number: kind.number() }
            }
        }
    }
}

/// The newest of both, at most so many, the newest first.
#[must_use]
pub fn merge(written: Vec<WrittenAction>, on_keys: Vec<KeyChange>, most: i64) -> Vec<KeptAction> {
    let written = written.into_iter().map(KeptAction::Written);
    let mut all: Vec<KeptAction> = written.chain(on_keys.into_iter().map(KeptAction::OnKey)).collect();
    all.sort_by_key(|action| Reverse(action.place()));
    all.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    all
}

/// An action with all that is known of it.
#[derive(Clone, Debug)]
pub struct PrivilegedAction {
    /// What was done, when, and to what.
    pub kept: KeptAction,
    /// The customer whose account it is, if it is one's who is still known.
    pub customer_id: Option<CustomerId>,
    /// Who did it, if that is a caller who is still known.
    pub principal: Option<KnownPrincipal>,
}

impl PrivilegedAction {
    /// About how many bytes it takes in a page.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let of_customer = self.customer_id.as_ref().map_or(0, |customer_id| customer_id.as_str().len());
        let of_principal = self.principal.as_ref().map_or(0, |it| it.issuer.len() + it.subject.len());
        let of_key = match &self.kept {
            KeptAction::Written(_) => 0,
            KeptAction::OnKey(change) => change.name.len() + change.prefix.len() + change.by.len(),
        };
        200 + of_customer + of_principal + of_key
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantNames as _;

    use super::*;
    use crate::book::{BenefitDetail, CustomerDetail, PointsDetail, ProgramDetail, TierDetail};
    use crate::ids::AccountId;

    #[test]
    fn every_kind_is_of_entries_that_there_are_or_of_keys() {
        let rooms = [ProgramDetail::VARIANTS, CustomerDetail::VARIANTS, PointsDetail::VARIANTS, TierDetail::VARIANTS];
        let known = [rooms.concat().as_slice(), BenefitDetail::VARIANTS].concat();
        for kind in ActionKind::VARIANTS {
            assert_eq!(kind.entry_kinds().is_empty(), kind.key_change().is_some(), "{kind:?}");
            for word in kind.entry_kinds() {
                assert!(known.contains(word), "{word}");
                assert_eq!(ActionKind::of_entry(word), Some(*kind));
            }
        }
        assert_eq!(ActionKind::of_entry("points_granted"), None);
    }

    #[test]
    fn a_filter_without_kinds_looks_for_all_of_them() {
        let all = ActionFilter::default();
        assert_eq!((all.entry_kinds().len(), all.key_changes().len()), (13, 2));
        let some = ActionFilter { kinds: [ActionKind::EntryReversed].into(), ..all };
        assert_eq!(some.entry_kinds(), ["entry_reversed", "debt_incurred"]);
        assert_eq!(some.key_changes(), []);
    }

    #[test]
    fn a_place_reads_back_and_has_one_spelling() {
        let place = ActionPlace { at: Timestamp::UNIX_EPOCH, id: Uuid::from_u128(7), number: 3 };
        let cursor = place.to_string();
        assert_eq!(cursor, "0.00000000000000000000000000000007.3");
        assert_eq!(ActionPlace::parse(&cursor), Some(place));
        for bad in ["", "0", "0.7.3", "-1.00000000000000000000000000000007.3", &format!("{cursor}.4"), &cursor[1..]] {
            assert_eq!(ActionPlace::parse(bad), None, "{bad}");
        }
        assert_eq!(ActionPlace::parse(&format!("{}.{}.3", i64::MAX / 4, Uuid::nil().simple())), None);
    }

    #[test]
    fn the_newest_come_first_from_both_sources_in_one_order() {
        let at = |micros| Timestamp::from_microsecond(micros).unwrap();
        let entry = |micros, account: u128, account_seq| WrittenAction {
            kind: ActionKind::PointsAdjusted,
            entry_id: EntryId { account_id: AccountId(Uuid::from_u128(account)), account_seq },
            written_at: at(micros),
            principal_id: PrincipalId::NOBODY,
        };
        let change = |micros, key: u128, kind| KeyChange {
            key_id: Uuid::from_u128(key),
            kind,
            at: at(micros),
            by: String::new(),
            name: String::new(),
            prefix: String::new(),
            counts_in_all_programs: true,
        };
        let written = vec![entry(5, 1, 2), entry(5, 1, 1), entry(2, 9, 9)];
        let on_keys = vec![change(5, 2, KeyChangeKind::Revoked), change(5, 2, KeyChangeKind::Created)];
        let places = |most| -> Vec<(i64, u128, i64)> {
            let merged = merge(written.clone(), on_keys.clone(), most);
            let told = merged.iter().map(KeptAction::place);
            told.map(|place| (place.at.as_microsecond(), place.id.as_u128(), place.number)).collect()
        };
        let all = [(5, 2, 2), (5, 2, 1), (5, 1, 2), (5, 1, 1), (2, 9, 9)];
        assert_eq!(places(9), all);
        assert_eq!(places(3), all[..3]);
    }
}
