//! Idempotency keys, and the hash that they and entries are kept by.

use std::fmt::Debug;

use ring::digest::{Context, SHA256};

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
        let mut hash = ContentHasher::new();
        hash.part(space.as_bytes());
        hash.part(key.as_bytes());
        // The key is part of it: so a hash of what is known of a person tells nothing to whoever does not know the key.
        let mut fingerprint = ContentHasher::new();
        fingerprint.part(key.as_bytes());
        for part in content {
            fingerprint.part(part);
        }
        Self { hash: hash.finish(), fingerprint: fingerprint.finish() }
    }

    /// Hashes a key within its `space` and the content of its command, serialized as one part. Content that cannot be
    /// serialized is hashed as its `Debug` text: so two commands never have one fingerprint, whatever their content is.
    #[must_use]
    pub(crate) fn of_content(space: &str, key: &str, content: &(impl serde::Serialize + Debug)) -> Self {
        let part = serde_json::to_vec(content).unwrap_or_else(|_| format!("{content:?}").into_bytes());
        Self::new(space, key, &[&part])
    }
}

/// A hash over parts that cannot run into each other.
pub(super) struct ContentHasher(Context);

impl ContentHasher {
    pub(super) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Bytes whose number is always the same.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// A part, behind its length.
    pub(super) fn part(&mut self, bytes: &[u8]) {
        self.0.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        self.0.update(bytes);
    }

    pub(super) fn finish(self) -> [u8; 32] {
        let digest = self.0.finish();
        let mut hash = [0; 32];
        hash.iter_mut().zip(digest.as_ref()).for_each(|(slot, byte)| *slot = *byte);
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_key_cannot_run_into_each_other() {
        assert_ne!(Key::new("key", "a", &[b"bc", b"d"]), Key::new("key", "a", &[b"b", b"cd"]));
        assert_ne!(Key::new("key", "a", &[]).hash, Key::new("keya", "", &[]).hash);
    }
}
