//! What requests that change something about a customer by hand have in common on the wire.

use super::state::Note;
use super::subject::Subject;
use crate::book::EntryReason;
use crate::error::Fields;
use crate::ids::IdempotencyKey;
use crate::proto;
use crate::proto::requests::parse_customer;

const MAX_NOTE: usize = 500;

/// Whom a request is about.
pub(crate) fn parse_subject(fields: &mut Fields, program_id: String, customer_id: String) -> Option<Subject> {
    let (program_id, customer_id) = parse_customer(fields, program_id, customer_id)?;
    Some(Subject { program_id, customer_id })
}

/// The caller's key.
pub(crate) fn parse_key(fields: &mut Fields, key: String) -> Option<IdempotencyKey> {
    fields.check("idempotency_key", IdempotencyKey::try_from(key))
}

/// A note may have lines; what Postgres cannot keep is not text.
pub(crate) fn parse_note(fields: &mut Fields, note: String) -> String {
    parse_note_in(fields, "note", note)
}

/// The same of what has another name in its request.
pub(crate) fn parse_note_in(fields: &mut Fields, field: &str, note: String) -> String {
    if note.chars().count() > MAX_NOTE || note.contains('\0') {
        fields.refuse(field, "must be at most 500 characters without U+0000");
    }
    note
}

/// Why something is changed by hand.
pub(crate) fn parse_correction_reason(fields: &mut Fields, reason: proto::CorrectionReason) -> Option<EntryReason> {
    match reason {
        proto::CorrectionReason::Correction => Some(EntryReason::Correction),
        proto::CorrectionReason::Goodwill => Some(EntryReason::Goodwill),
        proto::CorrectionReason::Fraud => Some(EntryReason::Fraud),
        proto::CorrectionReason::CustomerRequest => Some(EntryReason::CustomerRequest),
        proto::CorrectionReason::Other => Some(EntryReason::Other),
        proto::CorrectionReason::Unspecified => fields.check("reason", Err("must be one of the named values")),
    }
}

/// What is said beside an entry, by somebody who says who they are.
pub(crate) fn parse_said(fields: &mut Fields, author: String, note: String) -> Option<Note> {
    // The bounds are those of any name that a caller chooses.
    let author = fields.check("author", IdempotencyKey::try_from(author));
    let text = parse_note(fields, note);
    Some(Note { text, author: author?.as_str().to_owned() })
}
