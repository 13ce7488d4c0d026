//! Programs as they come by the wire.

use super::{parse_document, write_program};
use crate::error::Fields;
use crate::programs::model::Program;
use crate::proto;

/// The program that a document means, if it is sound. It is the same once it was written: for callers, or to be kept.
pub(crate) fn check_program(document: proto::Program) -> Option<Program> {
    let parse = |document| {
        let mut fields = Fields::default();
        let program = parse_document(&mut fields, document);
        fields.finish_with(program).ok()
    };
    let program = parse(document)?;
    let written = parse(write_program(program.clone()));
    assert_eq!(written.as_ref(), Some(&program), "a program is another one once it was written");
    let kept = serde_json::to_string(&program).and_then(|json| serde_json::from_str(&json));
    assert_eq!(kept.ok().as_ref(), Some(&program), "a program is another one once it was kept");
    Some(program)
}
