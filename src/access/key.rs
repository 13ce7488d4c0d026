//! API keys: how they look, and what is kept of them. It is pure.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use uuid::Uuid;

use super::hash::sha256;
use super::principal::{Principal, PrincipalKind, ProgramSet};
use super::role::Role;
use crate::ids::ProgramId;

/// What every key begins with, so that scanners for secrets find it.
pub const KEY_BEGIN: &str = "gbk_live_";
/// How many characters follow: more than 256 bits of chance.
pub const KEY_CHARS: usize = 43;
/// How many of them are kept and shown, to tell keys apart. The rest has more than 200 bits.
const SHOWN_CHARS: usize = 8;
/// What a key is made of.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// SHA-256 of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub [u8; 32]);

/// A new key. It is shown once; what is kept of it are [`hash`](Self::hash) and [`prefix`](Self::prefix).
pub struct NewKey(String);

impl NewKey {
    /// A key of characters that `choose` picks from so many, which must be by chance that nobody can guess.
    pub fn make(mut choose: impl FnMut(usize) -> usize) -> Self {
        let mut text = KEY_BEGIN.to_owned();
        text.extend((0..KEY_CHARS).filter_map(|_| ALPHABET.get(choose(ALPHABET.len()))).map(|byte| char::from(*byte)));
        Self(text)
    }

    /// The key itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash(sha256(&self.0))
    }

    /// Its beginning, which may be shown.
    #[must_use]
    pub fn prefix(&self) -> String {
        self.0.chars().take(KEY_BEGIN.len() + SHOWN_CHARS).collect()
    }
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewKey({}…)", self.prefix())
    }
}

impl Drop for NewKey {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// The hash of a text that looks like a key.
#[must_use]
pub fn parse_key(text: &str) -> Option<KeyHash> {
    let rest = text.strip_prefix(KEY_BEGIN)?;
    (rest.len() == KEY_CHARS && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| KeyHash(sha256(text)))
}

/// What a key is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTerms {
    /// Whose it is: the subject of the principal.
    pub name: String,
    /// The roles that it gives.
    pub roles: Vec<Role>,
    /// The programs in which it gives them.
    pub programs: ProgramSet,
    /// The first instant at which it does not count any more.
    pub expires_at: Option<Timestamp>,
}

impl KeyTerms {
    /// Who shows such a key.
    #[must_use]
    pub fn principal(&self) -> Principal {
        let grants: BTreeMap<Role, ProgramSet> = self.roles.iter().map(|role| (*role, self.programs.clone())).collect();
        Principal::new(PrincipalKind::ApiKey, String::new(), self.name.clone(), grants)
    }
}

/// A key as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptKey {
    /// Names it to the database.
    pub key_id: Uuid,
    /// Its beginning.
    pub prefix: String,
    /// What it was made for.
    pub terms: KeyTerms,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, to within some seconds.
    pub last_used_at: Option<Timestamp>,
}

/// A change of a key that somebody made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// Names the key to the database.
    pub key_id: Uuid,
    /// What was done to it.
    pub kind: KeyChangeKind,
    /// When.
    pub at: Timestamp,
    /// By whom: a role of the database.
    pub by: String,
    /// The name of the key.
    pub name: String,
    /// Its beginning.
    pub prefix: String,
    /// Whether it counts in every program.
    pub counts_in_all_programs: bool,
}

/// What somebody did to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyChangeKind {
    /// It was made.
    Created,
    /// It was revoked. That it ended by itself is no such change.
    Revoked,
}

impl KeyChangeKind {
    /// The number of the change among those of its key.
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::Created => 1,
            Self::Revoked => 2,
        }
    }
}

/// Which changes of keys to list.
#[derive(Clone, Copy, Debug)]
pub struct KeyChangesWanted<'a> {
    /// Those of keys that count in this program.
    pub program_id: &'a ProgramId,
    /// What was done.
    pub kinds: &'a [KeyChangeKind],
    /// Those at this instant or later.
    pub from: Option<Timestamp>,
    /// Those before this instant, and at it those of keys and with numbers below these.
    pub before: (Timestamp, Uuid, i64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_told_by_its_hash_and_shown_by_its_beginning() {
        let key = NewKey::make(|len| len - 1);
        assert_eq!(key.reveal(), format!("gbk_live_{}", "z".repeat(43)));
        assert_eq!((parse_key(key.reveal()), key.prefix().as_str()), (Some(key.hash()), "gbk_live_zzzzzzzz"));
        assert_eq!(format!("{key:?}"), "NewKey(gbk_live_zzzzzzzz…)");
        assert_ne!(NewKey::make(|_| 0).hash(), key.hash());
    }

    #[test]
    fn what_does_not_look_like_a_key_is_none() {
        let key = NewKey::make(|_| 1).reveal().to_owned();
        for bad in ["", "gbk_live_", &key[1..], &key[..key.len() - 1], &format!("{key}1"), &key.replace('1', "-")] {
            assert_eq!(parse_key(bad), None, "{bad}");
        }
    }
}
