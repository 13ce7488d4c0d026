//! An entry of the ledger as it is stored, whichever version wrote it.

use jiff::Timestamp;
use uuid::Uuid;

use super::entry::{Columns, Entry};
use crate::error::Defect;
use crate::ids::{EntryId, PrincipalId};

/// An entry with its columns as they are stored. They can be passed on and proven also where a newer version wrote a word
/// or a field that this one does not know.
#[derive(Debug)]
pub struct StoredEntry {
    /// Whose row, and its number there.
    pub id: EntryId,
    /// The program of the account.
    pub program_id: String,
    /// The kind's word.
    pub kind: String,
    /// What happened: the JSON that was hashed.
    pub detail: String,
    /// The words of the pockets that points left and entered, and how many they were.
    pub movement: Option<(String, String, i64)>,
    /// The command that wrote it.
    pub command_id: Uuid,
    /// The hash and the fingerprint of the command's key, on its first entry.
    pub key: Option<(Vec<u8>, Vec<u8>)>,
    /// Who called.
    pub principal_id: PrincipalId,
    /// The word for on whose behalf it was written.
    pub actor: String,
    /// The word for why it was written.
    pub reason: String,
    /// The program version that decided.
    pub policy_version: i32,
    /// The entries that caused it.
    pub causes: Vec<EntryId>,
    /// The trace that wrote it: 16 bytes.
    pub trace_id: Vec<u8>,
    /// When it counts.
    pub effective_at: Timestamp,
    /// When the book wrote it.
    pub recorded_at: Timestamp,
    /// The layout of the hash.
    pub hash_version: i16,
    /// The hash as it is stored.
    pub content_hash: Vec<u8>,
    /// What this version understands of all that, or why it does not.
    pub entry: Result<Entry, Defect>,
}

impl StoredEntry {
    /// The hash by its columns. The stored one differs if any of them was changed.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let columns = Columns {
            id: self.id,
            program_id: &self.program_id,
            kind: &self.kind,
            detail: &self.detail,
            movement: self.movement.as_ref().map(|(from, to, points)| (from.as_str(), to.as_str(), *points)),
            command_id: self.command_id,
            key: self.key.as_ref().map(|(hash, fingerprint)| (hash.as_slice(), fingerprint.as_slice())),
            principal_id: self.principal_id,
            actor: &self.actor,
            reason: &self.reason,
            policy_version: self.policy_version,
            causes: &self.causes,
            trace_id: &self.trace_id,
            effective_at: self.effective_at,
            recorded_at: self.recorded_at,
        };
        columns.hash()
    }

    /// About how many bytes it takes in a page.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.entry.as_ref().map_or(500 + self.detail.len(), Entry::bytes)
    }
}
