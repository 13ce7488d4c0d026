//! Documents of programs, read, checked and written again.

use goldbook_api::v1::Program;

use super::check::{Checked, read_sound};
use super::document::Document;

/// The program of a document, and the program of what is written of it, each with whether the check finds it sound; none
/// if its form is not sound.
pub(crate) fn read_document(text: &str) -> Option<[(Program, bool); 2]> {
    let is_sound = |text: &str| {
        let checked = Checked::of(text.to_owned());
        checked.mistakes("file".as_ref()).is_empty()
    };
    let is_sound_as_written = is_sound(text);
    let program = read_sound(text).ok()?;
    let document = Document::from_proto(program.clone());
    assert!(document.is_ok(), "a program that was read cannot be shown");
    let written = document.ok()?.to_toml();
    assert!(written.is_ok(), "a program that was read cannot be written");
    let written = written.ok()?;
    let again = read_sound(&written);
    assert!(again.is_ok(), "a document is none once it was written: {again:?}");
    Some([(program, is_sound_as_written), (again.ok()?, is_sound(&written))])
}
