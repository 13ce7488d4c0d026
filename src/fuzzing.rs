//! All that a stranger can send, decoded by the service's own code: a function for each target of `make fuzz`. Each checks
//! what must hold of any input, and says whether the input has the form that the target reads at all.
//!
//! This is no part of the program. cargo-fuzz builds it for the targets in `fuzz/`, and a unit test reads every input that
//! is kept in `fuzz/corpus/`. Decoders that other rooms keep to themselves are tried in their own `fuzzing.rs`.

mod calls;
mod metadata;
mod page_tokens;
mod requests;
mod values;

use crate::cli::{read_document, read_import};
use crate::listener::{PeerName, PeerNames};
use crate::programs::grpc::fuzzing::check_program;

pub use crate::access::grpc::fuzzing::tokens;
pub use crate::wire::fuzzing::bodies;
pub use metadata::metadata;
pub use page_tokens::page_tokens;
pub use requests::requests;
pub use values::values;

/// A target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]) -> bool);

/// Every target. Each has a file in `fuzz/fuzz_targets/` and a folder in `fuzz/corpus/`.
pub const TARGETS: &[Target] = &[
    ("bodies", bodies),
    ("certificates", certificates),
    ("import_files", import_files),
    ("metadata", metadata),
    ("page_tokens", page_tokens),
    ("program_documents", program_documents),
    ("requests", requests),
    ("tokens", tokens),
    ("values", values),
];

/// The names in a certificate, in its DER form.
#[must_use]
pub fn certificates(der: &[u8]) -> bool {
    let names = PeerNames::of_certificate(der);
    for name in names.iter() {
        if let PeerName::Dns(name) = name {
            assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()), "a name of {name:?}");
        }
    }
    true
}

/// A program's document: it means the same when it is written again, by the service and by its client, and the check finds
/// mistakes where the service finds them.
#[must_use]
pub fn program_documents(text: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(text) else { return false };
    let Some(documents) = read_document(text) else { return true };
    let [program, again] = documents.map(|(program, is_sound)| {
        let parsed = check_program(program);
        assert_eq!(parsed.is_some(), is_sound, "the check and the service judge a document differently");
        parsed
    });
    assert_eq!(program, again, "a document means another program once it was written");
    true
}

/// A file to import: lines that its client found good are good to the service as well.
#[must_use]
pub fn import_files(file: &[u8]) -> bool {
    requests::check_openings(&read_import(file));
    true
}

#[cfg(test)]
mod seeds;
#[cfg(test)]
mod tests;
