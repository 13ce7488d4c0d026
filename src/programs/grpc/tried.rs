//! What is tried on the customers of a program, on the wire.

use super::parse_document;
use crate::error::Fields;
use crate::ids::ProgramId;
use crate::programs::next::Tried;
use crate::proto;

/// What requests can name.
pub(crate) enum Named {
    Document(Box<proto::Program>),
    Version(i32),
}

/// Parses what is tried: a document of the program that is asked about, or a version.
pub(crate) fn parse_tried(fields: &mut Fields, program_id: Option<&ProgramId>, named: Option<Named>) -> Option<Tried> {
    match named {
        Some(Named::Document(program)) => {
            let document = parse_document(fields, *program);
            let named = document.as_ref().map(|document| &document.program_id);
            if named.is_some() && program_id.is_some() && named != program_id {
                fields.refuse("program.program_id", "must be the program_id of the request");
            }
            document.map(|document| Tried::Document(Box::new(document)))
        }
        Some(Named::Version(version)) => parse_version(fields, version).map(Tried::Version),
        None => fields.check("program", Err("must be set, or version")),
    }
}

/// Parses the number of a version.
pub(crate) fn parse_version(fields: &mut Fields, version: i32) -> Option<i32> {
    fields.check("version", if version > 0 { Ok(version) } else { Err("must be a version of the program, from 1") })
}
