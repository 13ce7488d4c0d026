//! The immutable row of the ledger: what happened to one account, why, when, and the hash that seals it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::ids::{AccountId, CampaignId, EntryId, ProgramId, ReferralCode, TierId};

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
    pub movement: Option<Movement>,
    /// The command that wrote it; all entries of one command share it.
    pub command_id: Uuid,
    /// The command's idempotency key, on its first entry only.
    pub key: Option<Key>,
    /// On whose behalf.
    pub actor: Actor,
    /// Why, from a closed list.
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

/// What happened to an account. Holds no name, no free text and nothing that a caller chose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Detail {
    /// A version of the program came into force.
    ProgramApplied {
        /// The version's number.
        version: i32,
    },
    /// The customer joined the program.
    CustomerEnrolled,
    /// The customer's dossier changed; what it says stays where it can be erased.
    DossierUpdated {
        /// The dossier's revision from now on.
        revision: i64,
    },
    /// An activity was accepted, with what it counts for.
    ActivityAccepted {
        /// Money spent, in minor units.
        spend: i64,
        /// When the customer did it; feeds windows, never the order of the account.
        happened_at: Timestamp,
    },
    /// Points were granted as a new lot, which this entry names.
    PointsGranted,
    /// The customer holds another tier from now on.
    TierChanged {
        /// The tier before; none on joining.
        from: Option<TierId>,
        /// The tier from now on.
        to: TierId,
        /// Lifetime spend that decided, in minor units.
        qualifying_spend: i64,
    },
    /// The customer has a code to share.
    ReferralCodeCreated {
        /// The campaign it belongs to.
        campaign_id: CampaignId,
        /// The code, made by the service.
        code: ReferralCode,
    },
    /// The customer was brought by another.
    ReferralCreated {
        /// The campaign that decides the rewards.
        campaign_id: CampaignId,
        /// Who brought them.
        referrer: AccountId,
        /// When the referral ends unless it converts first.
        expires_at: Option<Timestamp>,
    },
    /// The referral reached its aim.
    ReferralConverted {
        /// The activity that qualified; none when it was converted by hand.
        qualifying: Option<EntryId>,
        /// What the referrer was granted for it.
        referrer_reward: Option<EntryId>,
        /// What the referee was granted for it.
        referee_reward: Option<EntryId>,
    },
    /// The time to convert passed.
    ReferralExpired,
}

impl Detail {
    /// The kind's name in the `kind` column.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::ProgramApplied { .. } => "program_applied",
            Self::CustomerEnrolled => "customer_enrolled",
            Self::DossierUpdated { .. } => "dossier_updated",
            Self::ActivityAccepted { .. } => "activity_accepted",
            Self::PointsGranted => "points_granted",
            Self::TierChanged { .. } => "tier_changed",
            Self::ReferralCodeCreated { .. } => "referral_code_created",
            Self::ReferralCreated { .. } => "referral_created",
            Self::ReferralConverted { .. } => "referral_converted",
            Self::ReferralExpired => "referral_expired",
        }
    }

    /// The detail as JSON with its fields in their declared order: the form that is hashed.
    ///
    /// # Errors
    /// If serialization fails, which for these types is a defect.
    pub fn to_canonical_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

/// Defines a closed list of words that are stored as text.
macro_rules! stored_words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident => $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$vdoc])* $variant,)*
        }

        impl $name {
            /// Every word of the list.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word as stored.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }

            /// The reverse of [`as_str`](Self::as_str).
            #[must_use]
            pub fn from_stored(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

stored_words! {
    /// Where points are, where they came from, or where they went.
    Pocket {
        /// The source of granted points.
        Issued => "issued",
        /// The source of a debt.
        Owed => "owed",
        /// Granted, not yet the customer's to spend.
        Pending => "pending",
        /// The customer's to spend.
        Available => "available",
        /// Set aside for a spend that is under way.
        Held => "held",
        /// Spent.
        Redeemed => "redeemed",
        /// Lost by time.
        Expired => "expired",
        /// Taken back.
        Cancelled => "cancelled",
    }
}

stored_words! {
    /// On whose behalf an entry was written.
    Actor {
        /// Whoever called the interface.
        Caller => "caller",
        /// A rule of the program, as a consequence of something else.
        Rule => "rule",
        /// Time alone.
        Time => "time",
    }
}

stored_words! {
    /// Why an entry was written.
    EntryReason {
        /// A version of the program was applied.
        ProgramApplied => "program_applied",
        /// A customer joined.
        Enrolment => "enrolment",
        /// Somebody learned something about a customer.
        DossierUpdate => "dossier_update",
        /// A purchase was reported.
        Purchase => "purchase",
        /// The lifetime spend reached a threshold.
        ThresholdReached => "threshold_reached",
        /// A customer asked for a code to share.
        CodeRequested => "code_requested",
        /// A new customer came with a code.
        Referral => "referral",
        /// A referral was converted by hand.
        ManualConversion => "manual_conversion",
        /// The reward of who brought a customer.
        ReferralReferrer => "referral_referrer",
        /// The reward of who was brought.
        ReferralReferee => "referral_referee",
        /// The time to convert a referral passed.
        ReferralWindowPassed => "referral_window_passed",
        /// A caller's grant: a gesture of goodwill.
        Goodwill => "goodwill",
        /// A caller's grant: part of a promotion.
        Promotion => "promotion",
        /// A caller's grant: correcting a mistake.
        Correction => "correction",
        /// A caller's grant: another reason, told in the note.
        Other => "other",
    }
}

/// A move of points from one pocket to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Movement {
    /// The pocket they left.
    pub from: Pocket,
    /// The pocket they entered.
    pub to: Pocket,
    /// How many; above zero.
    pub points: i64,
}

/// An idempotency key as the ledger keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key, hashed: what the caller chose stays out of the ledger.
    pub hash: [u8; 32],
    /// The command it was used for, hashed.
    pub fingerprint: [u8; 32],
}

impl Key {
    /// Hashes a key within its `space` and the parsed content of its command, part by part.
    #[must_use]
    pub fn new(space: &str, key: &str, content: &[&[u8]]) -> Self {
        let mut hash = Seal::new();
        hash.part(space.as_bytes());
        hash.part(key.as_bytes());
        let mut fingerprint = Seal::new();
        for part in content {
            fingerprint.part(part);
        }
        Self { hash: hash.finish(), fingerprint: fingerprint.finish() }
    }
}

impl Entry {
    /// SHA-256 over a canonical encoding of every column: a version byte, then each field with its length before it.
    ///
    /// # Errors
    /// If the detail cannot be serialized, which is a defect.
    pub fn hash(&self) -> Result<[u8; 32], serde_json::Error> {
        let mut seal = Seal::new();
        seal.0.update(HASH_VERSION.to_be_bytes());
        seal.part(self.id.account_id.0.as_bytes());
        seal.part(&self.id.account_seq.to_be_bytes());
        seal.part(self.program_id.as_str().as_bytes());
        seal.part(self.detail.kind().as_bytes());
        seal.part(self.detail.to_canonical_json()?.as_bytes());
        match self.movement {
            Some(movement) => {
                seal.part(movement.from.as_str().as_bytes());
                seal.part(movement.to.as_str().as_bytes());
                seal.part(&movement.points.to_be_bytes());
            }
            None => seal.part(&[]),
        }
        seal.part(self.command_id.as_bytes());
        match &self.key {
            Some(key) => {
                seal.part(&key.hash);
                seal.part(&key.fingerprint);
            }
            None => seal.part(&[]),
        }
        seal.part(self.actor.as_str().as_bytes());
        seal.part(self.reason.as_str().as_bytes());
        seal.part(&self.policy_version.to_be_bytes());
        seal.part(&u64::try_from(self.causes.len()).unwrap_or(u64::MAX).to_be_bytes());
        for cause in &self.causes {
            seal.part(cause.account_id.0.as_bytes());
            seal.part(&cause.account_seq.to_be_bytes());
        }
        seal.part(&self.trace_id);
        seal.part(&self.effective_at.as_microsecond().to_be_bytes());
        seal.part(&self.recorded_at.as_microsecond().to_be_bytes());
        Ok(seal.finish())
    }
}

/// A hash over parts that cannot run into each other.
struct Seal(Sha256);

impl Seal {
    fn new() -> Self {
        Self(Sha256::new())
    }

    fn part(&mut self, bytes: &[u8]) {
        self.0.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.0.update(bytes);
    }

    fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            id: EntryId { account_id: AccountId(Uuid::from_u128(7)), account_seq: 3 },
            program_id: "shop".try_into().unwrap(),
            detail: Detail::PointsGranted,
            movement: Some(Movement { from: Pocket::Issued, to: Pocket::Available, points: 100 }),
            command_id: Uuid::from_u128(9),
            key: Some(Key::new("key", "k-1", &[b"100"])),
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
            ("detail", |e| e.detail = Detail::CustomerEnrolled),
            ("no movement", |e| e.movement = None),
            ("points", |e| e.movement.as_mut().unwrap().points += 1),
            ("from", |e| e.movement.as_mut().unwrap().from = Pocket::Owed),
            ("to", |e| e.movement.as_mut().unwrap().to = Pocket::Pending),
            ("command", |e| e.command_id = Uuid::from_u128(1)),
            ("no key", |e| e.key = None),
            ("key", |e| e.key.as_mut().unwrap().hash[0] ^= 1),
            ("fingerprint", |e| e.key.as_mut().unwrap().fingerprint[0] ^= 1),
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

    #[test]
    fn parts_of_a_key_cannot_run_into_each_other() {
        assert_ne!(Key::new("key", "a", &[b"bc", b"d"]), Key::new("key", "a", &[b"b", b"cd"]));
        assert_ne!(Key::new("key", "a", &[]).hash, Key::new("keya", "", &[]).hash);
    }

    #[test]
    fn a_detail_reads_back_from_json_with_its_kind() {
        let detail = Detail::TierChanged { from: None, to: "gold".try_into().unwrap(), qualifying_spend: 50_000 };
        let json = detail.to_canonical_json().unwrap();
        assert_eq!(json, r#"{"kind":"tier_changed","from":null,"to":"gold","qualifying_spend":50000}"#);
        assert_eq!(serde_json::from_str::<Detail>(&json).unwrap(), detail);
    }

    /// What is on the ledger stays provable: neither the JSON of a detail nor the layout of the hash may change under
    /// rows that exist. A new field is optional and absent here; a new layout has a new version.
    #[test]
    fn what_was_written_by_this_version_keeps_its_form() {
        let account_id = AccountId(Uuid::from_u128(7));
        let id = EntryId { account_id, account_seq: 3 };
        let details = [
            (Detail::ProgramApplied { version: 1 }, r#"{"kind":"program_applied","version":1}"#),
            (Detail::CustomerEnrolled, r#"{"kind":"customer_enrolled"}"#),
            (Detail::DossierUpdated { revision: 2 }, r#"{"kind":"dossier_updated","revision":2}"#),
            (
                Detail::ActivityAccepted { spend: 5, happened_at: Timestamp::UNIX_EPOCH },
                r#"{"kind":"activity_accepted","spend":5,"happened_at":"1970-01-01T00:00:00Z"}"#,
            ),
            (Detail::PointsGranted, r#"{"kind":"points_granted"}"#),
            (
                Detail::TierChanged {
                    from: Some("a".try_into().unwrap()),
                    to: "b".try_into().unwrap(),
                    qualifying_spend: 7,
                },
                r#"{"kind":"tier_changed","from":"a","to":"b","qualifying_spend":7}"#,
            ),
            (
                Detail::ReferralCodeCreated { campaign_id: "c".try_into().unwrap(), code: "D".try_into().unwrap() },
                r#"{"kind":"referral_code_created","campaign_id":"c","code":"D"}"#,
            ),
            (
                Detail::ReferralCreated {
                    campaign_id: "c".try_into().unwrap(),
                    referrer: account_id,
                    expires_at: None,
                },
                r#"{"kind":"referral_created","campaign_id":"c","referrer":"00000000-0000-0000-0000-000000000007","expires_at":null}"#,
            ),
            (
                Detail::ReferralConverted { qualifying: Some(id), referrer_reward: None, referee_reward: None },
                r#"{"kind":"referral_converted","qualifying":"00000000000000000000000000000007.3","referrer_reward":null,"referee_reward":null}"#,
            ),
            (Detail::ReferralExpired, r#"{"kind":"referral_expired"}"#),
        ];
        for (detail, json) in details {
            assert_eq!(detail.to_canonical_json().unwrap(), json);
            assert_eq!(serde_json::from_str::<Detail>(json).unwrap(), detail);
        }
        let hash: String = entry().hash().unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            (HASH_VERSION, hash.as_str()),
            (1, "811aaab62333c42098d69181a94db6964e44bdae9c6d60d1c779a14b5e9fec4d")
        );
    }

    #[test]
    fn stored_words_read_back() {
        for pocket in Pocket::ALL {
            assert_eq!(Pocket::from_stored(pocket.as_str()), Some(*pocket));
        }
        for reason in EntryReason::ALL {
            assert_eq!(EntryReason::from_stored(reason.as_str()), Some(*reason));
        }
    }
}
