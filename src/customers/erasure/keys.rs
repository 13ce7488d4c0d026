//! The keys under which the identifiers of erased customers are kept: who has them can tell whether a person whom they
//! know was erased, and nobody else can. It is pure.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use zeroize::Zeroizing;

use crate::ids::{CustomerId, ProgramId};

/// How long a key is at least, in bytes.
const LEAST_BYTES: usize = 32;
/// How many keys there may be: each is looked for wherever a rule asks.
const MAX_KEYS: usize = 8;
/// How long the name of a key may be.
const MAX_NAME: usize = 64;

/// The keys, the present one first. Cheap to clone.
#[derive(Clone, Default)]
pub struct ErasureKeys(Arc<[ErasureKey]>);

/// One key.
struct ErasureKey {
    name: String,
    secret: Zeroizing<Vec<u8>>,
}

/// By what a person may be known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identifier<'a> {
    /// The business's own name of them.
    CustomerId(&'a CustomerId),
    /// Their e-mail address, however its letters are written.
    Email(&'a str),
    /// Their phone number, however its digits are grouped.
    Phone(&'a str),
}

/// An identifier under one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct IdentifierHash(pub [u8; 32]);

impl Identifier<'_> {
    /// Its kind, and the form in which two that mean one person are equal; none if there is nothing in it.
    fn parts(self) -> Option<(&'static str, String)> {
        let (kind, text) = match self {
            Self::CustomerId(customer_id) => ("customer_id", customer_id.as_str().to_owned()),
            Self::Email(email) => ("email", email.trim().to_lowercase()),
            Self::Phone(phone) => ("phone", phone.chars().filter(|it| it.is_ascii_digit() || *it == '+').collect()),
        };
        (!text.is_empty()).then_some((kind, text))
    }
}

impl ErasureKeys {
    /// Reads keys, one on each line: a name, a space, and at least 32 random bytes in Base64. The first is the present
    /// one; others were it before. Empty lines and those that begin with `#` are passed over.
    ///
    /// # Errors
    /// What is wrong, and on which line. It never tells a key.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut keys: Vec<ErasureKey> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key = ErasureKey::parse(line).map_err(|what| format!("line {number}: {what}"))?;
            if keys.iter().any(|other| other.name == key.name) {
                return Err(format!("line {number}: there are two keys of the name {}", key.name));
            }
            keys.push(key);
        }
        match keys.len() {
            0 => Err("there is no key in it".to_owned()),
            1..=MAX_KEYS => Ok(Self(keys.into())),
            count => Err(format!("there are {count} keys in it, and may be {MAX_KEYS}")),
        }
    }

    /// Whether there are none: then nobody can be erased.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of the keys, the present one first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| key.name.as_str())
    }

    /// An identifier under the present key, with the key's name; none if there is nothing in it, or no key.
    pub(crate) fn hash(&self, program_id: &ProgramId, identifier: Identifier<'_>) -> Option<(&str, IdentifierHash)> {
        let key = self.0.first()?;
        Some((key.name.as_str(), key.hash(program_id, identifier)?))
    }

    /// An identifier under every key.
    pub(crate) fn hashes(
        &self,
        program_id: &ProgramId,
        identifier: Identifier<'_>,
    ) -> impl Iterator<Item = IdentifierHash> {
        self.0.iter().filter_map(move |key| key.hash(program_id, identifier))
    }
}

impl ErasureKey {
    fn parse(line: &str) -> Result<Self, String> {
        let (name, secret) = line.split_once(char::is_whitespace).ok_or("must be a name, a space, and a key")?;
        let is_plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.');
        if name.len() > MAX_NAME || !name.chars().all(is_plain) {
            return Err(format!("the name must have at most {MAX_NAME} letters, digits, `-`, `_` and `.`"));
        }
        let secret = STANDARD.decode(secret.trim()).map_err(|_| "the key must be in Base64")?;
        let secret = Zeroizing::new(secret);
        if secret.len() < LEAST_BYTES {
            return Err(format!("the key must have at least {LEAST_BYTES} bytes"));
        }
        Ok(Self { name: name.to_owned(), secret })
    }

    fn hash(&self, program_id: &ProgramId, identifier: Identifier<'_>) -> Option<IdentifierHash> {
        let (kind, text) = identifier.parts()?;
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.secret));
        for part in [program_id.as_str(), kind, &text] {
            // Parts cannot run into each other.
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut hash = [0; 32];
        hash.iter_mut().zip(context.sign().as_ref()).for_each(|(slot, byte)| *slot = *byte);
        Some(IdentifierHash(hash))
    }
}

impl fmt::Debug for ErasureKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "old MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    const NEW: &str = "new ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=";

    fn shop() -> ProgramId {
        "shop".try_into().unwrap()
    }

    fn hashes(keys: &ErasureKeys, identifier: Identifier<'_>) -> Vec<IdentifierHash> {
        keys.hashes(&shop(), identifier).collect()
    }

    #[test]
    fn a_rotated_key_still_finds_what_the_one_before_it_kept() {
        let before = ErasureKeys::parse(OLD).unwrap();
        let after = ErasureKeys::parse(&format!("# rotated\n{NEW}\n\n{OLD}\n")).unwrap();
        let (name, kept) = before.hash(&shop(), Identifier::Email("anna@example.com")).unwrap();
        assert_eq!(name, "old");
        assert_eq!(after.names().collect::<Vec<_>>(), ["new", "old"]);
        let (name, anew) = after.hash(&shop(), Identifier::Email("anna@example.com")).unwrap();
        assert_eq!((name, kept == anew), ("new", false));
        assert_eq!(hashes(&after, Identifier::Email("anna@example.com")), [anew, kept]);
    }

    #[test]
    fn one_person_has_one_hash_however_they_are_written() {
        let keys = ErasureKeys::parse(OLD).unwrap();
        let same = |some, other| hashes(&keys, some) == hashes(&keys, other);
        assert!(same(Identifier::Email("Anna@Example.COM"), Identifier::Email("anna@example.com")));
        assert!(same(Identifier::Phone("+49 (30) 12-34"), Identifier::Phone("+49301234")));
        assert!(!same(Identifier::Phone("49301234"), Identifier::Phone("+49301234")));
        let (some, other) = ("c-1".try_into().unwrap(), "C-1".try_into().unwrap());
        assert!(!same(Identifier::CustomerId(&some), Identifier::CustomerId(&other)));
        let elsewhere = keys.hash(&"shop2".try_into().unwrap(), Identifier::CustomerId(&some));
        assert_ne!(keys.hash(&shop(), Identifier::CustomerId(&some)), elsewhere);
        assert!(hashes(&keys, Identifier::Email(" ")).is_empty() && hashes(&keys, Identifier::Phone("-")).is_empty());
    }

    #[test]
    fn what_is_no_list_of_keys_is_told_without_the_key() {
        let refused = |text: &str| ErasureKeys::parse(text).unwrap_err();
        assert_eq!(refused("# nothing\n"), "there is no key in it");
        assert_eq!(refused("MDEyMzQ1Njc4OWFiY2RlZg=="), "line 1: must be a name, a space, and a key");
        assert_eq!(refused("\nk MDEyMzQ1Njc4OWFiY2RlZg=="), "line 2: the key must have at least 32 bytes");
        assert_eq!(refused("k n0t-base64!"), "line 1: the key must be in Base64");
        assert_eq!(refused(&format!("{OLD}\n{OLD}")), "line 2: there are two keys of the name old");
        assert!(refused(&format!("n/a {}", "A".repeat(44))).starts_with("line 1: the name must have"));
        let many: Vec<String> = (0..9).map(|i| OLD.replace("old", &format!("k{i}"))).collect();
        assert_eq!(refused(&many.join("\n")), "there are 9 keys in it, and may be 8");
        assert_eq!(format!("{:?}", ErasureKeys::parse(OLD).unwrap()), r#"["old"]"#);
    }
}
