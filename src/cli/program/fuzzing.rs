//! Documents of programs, read and written again.

use goldbook_api::v1::Program;

use super::document::Document;

/// The program of a document, and the program of what is written of it; none if it is no document.
pub(crate) fn read_document(text: &str) -> Option<(Program, Program)> {
    let document = Document::parse(text).ok()?;
    let written = document.to_toml();
    assert!(written.is_ok(), "a document that was read cannot be written");
    assert_eq!(
        Document::parse(&written.ok()?).as_ref(),
        Ok(&document),
        "a document is another one once it was written"
    );
    let program = document.into_proto();
    let again = Document::from_proto(program.clone());
    assert!(again.is_ok(), "a program that was read cannot be shown");
    Some((program, again.ok()?.into_proto()))
}
