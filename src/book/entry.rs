//! The immutable row of the ledger: what happened to one account, why, when, and the hash over all of it.

use std::borrow::Cow;

use jiff::Timestamp;
use strum::{EnumString, IntoStaticStr, VariantArray};
use uuid::Uuid;

use super::detail::{Detail, LotPart, PointsDetail};
use super::key::{ContentHasher, Key};
use super::words::stored_words;
use crate::ids::{EntryId, PrincipalId, ProgramId};

/// The layout of [`Entry::hash`], stored beside each hash; it changes whenever that layout does, so that old rows keep
/// their proof. A field that a detail gains later is optional and left out of the JSON while it is absent, for the same
/// reason.
pub const HASH_VERSION: i16 = 1;

/// One row of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose row, and its number there.
    pub id: EntryId,
    /// The program the account belongs to.
    pub program_id: ProgramId,
    /// What happened; carries results, so that applying it evaluates no policy again.
    pub detail: Detail,
    /// The points that moved, if any did.
    pub movement: Option<PocketMove>,
    /// The command that wrote it; all entries of one command share it.
    pub command_id: Uuid,
    /// The command's idempotency key, on its first entry only.
    pub key: Option<Key>,
    /// Who called, by the id that tells nobody who they are; nobody where time alone wrote it.
    pub principal_id: PrincipalId,
    /// On whose behalf it was written.
    pub actor: Actor,
    /// Why it was written, from a closed list.
    pub reason: EntryReason,
    /// The program version that decided.
    pub policy_version: i32,
    /// The entries that caused this one.
    pub causes: Vec<EntryId>,
    /// The trace that wrote it.
    pub trace_id: [u8; 16],
    /// When it counts; never before the account's previous entry.
    pub effective_at: Timestamp,
    /// When the book wrote it.
    pub recorded_at: Timestamp,
}

/// What a decision puts on the ledger, before the book gives it its place there.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// What happened, with its results.
    pub detail: Detail,
    /// The points that move, if any do.
    pub movement: Option<PocketMove>,
    /// On whose behalf it is written.
    pub actor: Actor,
    /// Why it is written, from a closed list.
    pub reason: EntryReason,
    /// The program version that decided.
    pub policy_version: i32,
    /// The entries that caused it.
    pub causes: Vec<EntryId>,
}

/// The place of an entry on the ledger: all of it that the decision does not say.
pub(super) struct Place {
    pub(super) id: EntryId,
    pub(super) program_id: ProgramId,
    pub(super) command_id: Uuid,
    pub(super) key: Option<Key>,
    pub(super) principal_id: PrincipalId,
    pub(super) trace_id: [u8; 16],
    pub(super) effective_at: Timestamp,
    pub(super) recorded_at: Timestamp,
}

impl NewEntry {
    /// The entry at its place.
    pub(super) fn at(self, place: Place) -> Entry {
        Entry {
            id: place.id,
            program_id: place.program_id,
            detail: self.detail,
            movement: self.movement,
            command_id: place.command_id,
            key: place.key,
            principal_id: place.principal_id,
            actor: self.actor,
            reason: self.reason,
            policy_version: self.policy_version,
            causes: self.causes,
            trace_id: place.trace_id,
            effective_at: place.effective_at,
            recorded_at: place.recorded_at,
        }
    }
}

/// Where points are, where they came from, or where they went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, EnumString, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Pocket {
    /// The source of granted points.
    Issued,
    /// The source of a debt.
    Owed,
    /// Granted, not yet the customer's to spend.
    Pending,
    /// The customer's to spend.
    Available,
    /// Set aside for a spend that is under way.
    Held,
    /// Points that were spent.
    Redeemed,
    /// Points that expired before they were spent.
    Expired,
    /// Points that a reversal, a refund or a missed event took back.
    Cancelled,
}

stored_words!(Pocket);

/// On whose behalf an entry was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, EnumString, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Actor {
    /// Whoever called the interface.
    Caller,
    /// A rule of the program, as a consequence of something else.
    Rule,
    /// Time alone: something fell due.
    Time,
}

stored_words!(Actor);

/// Why an entry was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, EnumString, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum EntryReason {
    /// A version of the program was applied.
    ProgramApplied,
    /// A customer joined.
    Enrolment,
    /// Somebody learned something about a customer.
    DossierUpdate,
    /// A purchase was reported.
    Purchase,
    /// The lifetime spend reached a threshold.
    ThresholdReached,
    /// A customer asked for a code to share.
    CodeRequested,
    /// A new customer came with a code.
    Referral,
    /// A referral was converted by hand.
    ManualConversion,
    /// The reward of who brought a customer.
    ReferralReferrer,
    /// The reward of who was brought.
    ReferralReferee,
    /// The time to convert a referral passed.
    ReferralWindowPassed,
    /// Time did what a grant, a hold or the program said it would.
    TimeReached,
    /// What points were granted for has happened.
    EventHappened,
    /// Nobody said in time that what points were granted for has happened.
    EventMissed,
    /// The customer spent points.
    Redemption,
    /// Points were set aside for a spend, or given back from it.
    Hold,
    /// A purchase was taken back.
    Refund,
    /// Points paid back what the customer owed.
    DebtRepayment,
    /// Balances and tiers were taken over from another system.
    Migration,
    /// A caller's reversal or adjustment: points came or went by deceit.
    Fraud,
    /// A caller's reversal or adjustment: the customer asked for it.
    CustomerRequest,
    /// A caller's grant: a gesture of goodwill.
    Goodwill,
    /// A caller's grant: part of a promotion.
    Promotion,
    /// A caller's grant: correcting a mistake.
    Correction,
    /// A caller's grant: another reason, told in the note.
    Other,
    /// Somebody was given data to take away.
    Export,
    /// A customer was erased.
    Erasure,
    /// Nobody had written to an account for as long as the program keeps what is known of a person.
    Retention,
    /// The customer used a benefit.
    BenefitUse,
    /// A version of the program was applied to every customer.
    Reevaluation,
    /// The program gives a package on reaching a tier, or on a day of the customer's.
    Package,
    /// The customer said what they think.
    Feedback,
    /// The customer complained, or somebody deals with that.
    Complaint,
    /// What is known of a customer moved them in the lifecycle.
    Lifecycle,
    /// A model of what customers will buy was fitted.
    ValueModel,
    /// Customers were classed by what they are worth.
    ValueClass,
}

stored_words!(EntryReason);

/// A move of points from one pocket to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PocketMove {
    /// The pocket they left.
    pub from: Pocket,
    /// The pocket they entered.
    pub to: Pocket,
    /// How many; above zero.
    pub points: i64,
}

impl Entry {
    /// About how many bytes it takes in a page: most of them for the lots that it names.
    #[must_use]
    pub fn bytes(&self) -> usize {
        500 + 48 * self.causes.len() + 120 * self.detail.lots().len()
    }

    /// The lots whose points it moved; not the lot that it made.
    pub(crate) fn moved_lots(&self) -> Cow<'_, [LotPart]> {
        match (self.detail.points().and_then(PointsDetail::whole_lot), self.movement) {
            (Some(lot), Some(movement)) => Cow::Owned(vec![LotPart { lot, points: movement.points }]),
            (Some(_), None) | (None, _) => Cow::Borrowed(self.detail.lots()),
        }
    }

    /// The [hash of its columns](Columns::hash), as it is written.
    ///
    /// # Errors
    /// If the detail cannot be serialized, which is a defect.
    pub fn hash(&self) -> Result<[u8; 32], serde_json::Error> {
        Ok(self.hash_with(&self.detail.to_json()?))
    }

    /// The same, where the detail's JSON is known already.
    pub(super) fn hash_with(&self, detail: &str) -> [u8; 32] {
        let columns = Columns {
            id: self.id,
            program_id: self.program_id.as_str(),
            kind: self.detail.kind(),
            detail,
            movement: self.movement.map(|it| (it.from.as_str(), it.to.as_str(), it.points)),
            command_id: self.command_id,
            key: self.key.as_ref().map(|key| (key.hash.as_slice(), key.fingerprint.as_slice())),
            principal_id: self.principal_id,
            actor: self.actor.as_str(),
            reason: self.reason.as_str(),
            policy_version: self.policy_version,
            causes: &self.causes,
            trace_id: &self.trace_id,
            effective_at: self.effective_at,
            recorded_at: self.recorded_at,
        };
        columns.hash()
    }
}

/// What an entry's hash is over: each column as it is stored. So the hash of an entry with a word or a field that this
/// version does not know can be checked, too.
pub(super) struct Columns<'a> {
    pub(super) id: EntryId,
    pub(super) program_id: &'a str,
    pub(super) kind: &'a str,
    pub(super) detail: &'a str,
    pub(super) movement: Option<(&'a str, &'a str, i64)>,
    pub(super) command_id: Uuid,
    pub(super) key: Option<(&'a [u8], &'a [u8])>,
    pub(super) principal_id: PrincipalId,
    pub(super) actor: &'a str,
    pub(super) reason: &'a str,
    pub(super) policy_version: i32,
    pub(super) causes: &'a [EntryId],
    pub(super) trace_id: &'a [u8],
    pub(super) effective_at: Timestamp,
    pub(super) recorded_at: Timestamp,
}

impl Columns<'_> {
    /// SHA-256 over a canonical encoding of every column: a version byte, then each field with its length before it.
    pub(super) fn hash(&self) -> [u8; 32] {
        let mut hasher = ContentHasher::new();
        hasher.update(&HASH_VERSION.to_be_bytes());
        hasher.part(self.id.account_id.0.as_bytes());
        hasher.part(&self.id.account_seq.to_be_bytes());
        hasher.part(self.program_id.as_bytes());
        hasher.part(self.kind.as_bytes());
        hasher.part(self.detail.as_bytes());
        match self.movement {
            Some((from, to, points)) => {
                hasher.part(from.as_bytes());
                hasher.part(to.as_bytes());
                hasher.part(&points.to_be_bytes());
            }
            None => hasher.part(&[]),
        }
        hasher.part(self.command_id.as_bytes());
        match self.key {
            Some((hash, fingerprint)) => {
                hasher.part(hash);
                hasher.part(fingerprint);
            }
            None => hasher.part(&[]),
        }
        hasher.part(self.principal_id.0.as_bytes());
        hasher.part(self.actor.as_bytes());
        hasher.part(self.reason.as_bytes());
        hasher.part(&self.policy_version.to_be_bytes());
        hasher.part(&u64::try_from(self.causes.len()).unwrap_or(u64::MAX).to_be_bytes());
        for cause in self.causes {
            hasher.part(cause.account_id.0.as_bytes());
            hasher.part(&cause.account_seq.to_be_bytes());
        }
        hasher.part(self.trace_id);
        hasher.part(&self.effective_at.as_microsecond().to_be_bytes());
        hasher.part(&self.recorded_at.as_microsecond().to_be_bytes());
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::detail::{LotTerms, PointsDetail, ReferralDetail};
    use crate::ids::AccountId;

    fn entry() -> Entry {
        Entry {
            id: EntryId { account_id: AccountId(Uuid::from_u128(7)), account_seq: 3 },
            program_id: "shop".try_into().unwrap(),
            detail: PointsDetail::PointsGranted { terms: LotTerms::default(), counted_in: Vec::new(), uncapped: None }
                .into(),
            movement: Some(PocketMove { from: Pocket::Issued, to: Pocket::Available, points: 100 }),
            command_id: Uuid::from_u128(9),
            key: Some(Key::new("key", "k-1", &[b"100"])),
            principal_id: PrincipalId(Uuid::from_u128(4)),
            actor: Actor::Caller,
            reason: EntryReason::Goodwill,
            policy_version: 1,
            causes: vec![EntryId { account_id: AccountId(Uuid::from_u128(8)), account_seq: 1 }],
            trace_id: [5; 16],
            effective_at: Timestamp::UNIX_EPOCH,
            recorded_at: Timestamp::UNIX_EPOCH,
        }
    }

    /// A change that the hash must show, by name.
    type Change = (&'static str, fn(&mut Entry));

    #[test]
    fn the_hash_covers_every_field() {
        let changes: &[Change] = &[
            ("account", |e| e.id.account_id = AccountId(Uuid::from_u128(1))),
            ("seq", |e| e.id.account_seq += 1),
            ("program", |e| e.program_id = "shop2".try_into().unwrap()),
            ("detail", |e| e.detail = ReferralDetail::ReferralExpired.into()),
            ("no movement", |e| e.movement = None),
            ("points", |e| e.movement.as_mut().unwrap().points += 1),
            ("from", |e| e.movement.as_mut().unwrap().from = Pocket::Owed),
            ("to", |e| e.movement.as_mut().unwrap().to = Pocket::Pending),
            ("command", |e| e.command_id = Uuid::from_u128(1)),
            ("no key", |e| e.key = None),
            ("key", |e| e.key.as_mut().unwrap().hash[0] ^= 1),
            ("fingerprint", |e| e.key.as_mut().unwrap().fingerprint[0] ^= 1),
            ("principal", |e| e.principal_id = PrincipalId::NOBODY),
            ("actor", |e| e.actor = Actor::Rule),
            ("reason", |e| e.reason = EntryReason::Other),
            ("policy", |e| e.policy_version += 1),
            ("no cause", |e| e.causes.clear()),
            ("cause", |e| e.causes[0].account_seq += 1),
            ("trace", |e| e.trace_id[0] ^= 1),
            ("effective", |e| e.effective_at = Timestamp::MAX),
            ("recorded", |e| e.recorded_at = Timestamp::MAX),
        ];
        let original = entry().hash().unwrap();
        for (name, change) in changes {
            let mut changed = entry();
            change(&mut changed);
            assert_ne!(changed.hash().unwrap(), original, "{name}");
        }
    }

    /// What is on the ledger stays provable: neither the JSON of a detail nor the layout of the hash may change under
    /// rows that exist. A new field is optional and absent here; a new layout has a new version.
    #[test]
    fn what_was_written_by_this_version_keeps_its_form() {
        let hash: String = entry().hash().unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            (HASH_VERSION, hash.as_str()),
            (1, "ddb501f22e9a233759f7fb9d79659760155ae15b6d6b1212fe9a83ec33a422ca")
        );
    }
}
