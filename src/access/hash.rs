//! What is kept of a secret in its place. It is pure.

use ring::digest::{SHA256, digest};

/// SHA-256 of a text.
pub(super) fn sha256(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.iter_mut().zip(digest(&SHA256, text.as_bytes()).as_ref()).for_each(|(slot, byte)| *slot = *byte);
    hash
}
