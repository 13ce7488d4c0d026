//! A ledger row as an audit reads it.

use super::entry::Entry;
use crate::error::Defect;
use crate::ids::EntryId;

/// A ledger row as an audit reads it: with what is beside the entry, and readable or not.
#[derive(Debug)]
pub struct ScannedEntry {
    /// Whose row, and its number there.
    pub id: EntryId,
    /// The `kind` column.
    pub kind: String,
    /// The layout of the hash.
    pub hash_version: i16,
    /// The hash as stored.
    pub content_hash: Vec<u8>,
    /// The entry, or why it cannot be read.
    pub entry: Result<Entry, Defect>,
}
