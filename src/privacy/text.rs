//! The text of a document, one JSON object, which is made and taken piece by piece.

use serde::Serialize;

use crate::book::quote_wide_numbers;

/// How many bytes fill a piece.
const FULL: usize = 32 * 1024;

/// The text that was written and not taken yet.
#[derive(Debug)]
pub(super) struct DocumentText {
    text: String,
    /// Whether the next member or item is the first one where it stands.
    is_first: bool,
}

impl DocumentText {
    /// The beginning of a document.
    pub(super) fn begin() -> Self {
        Self { text: "{".to_owned(), is_first: true }
    }

    fn next(&mut self) {
        if !std::mem::take(&mut self.is_first) {
            self.text.push(',');
        }
        self.text.push('\n');
    }

    fn write(&mut self, value: &impl Serialize) -> Result<(), serde_json::Error> {
        self.text.push_str(&quote_wide_numbers(&serde_json::to_string(value)?));
        Ok(())
    }

    /// Adds a member to the document.
    ///
    /// # Errors
    /// If the value cannot be serialized, which is a defect.
    pub(super) fn member(&mut self, name: &str, value: &impl Serialize) -> Result<(), serde_json::Error> {
        self.next();
        self.text.push_str(&format!("\"{name}\": "));
        self.write(value)
    }

    /// Begins a member that is a list.
    pub(super) fn begin_list(&mut self, name: &str) {
        self.next();
        self.text.push_str(&format!("\"{name}\": ["));
        self.is_first = true;
    }

    /// Adds an item to the list.
    ///
    /// # Errors
    /// As [`member`](Self::member).
    pub(super) fn item(&mut self, value: &impl Serialize) -> Result<(), serde_json::Error> {
        self.next();
        self.write(value)
    }

    /// Ends the list.
    pub(super) fn end_list(&mut self) {
        self.text.push(']');
        self.is_first = false;
    }

    /// A piece of the document, if there is enough for one.
    pub(super) fn take_full(&mut self) -> Option<Vec<u8>> {
        (self.text.len() >= FULL).then(|| std::mem::take(&mut self.text).into_bytes())
    }

    /// The last piece.
    pub(super) fn end(mut self) -> Vec<u8> {
        self.text.push_str("\n}\n");
        self.text.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn pieces_together_are_one_object_with_wide_numbers_as_strings() {
        let mut text = DocumentText::begin();
        let mut bytes = Vec::new();
        text.member("a", &json!({"b": 9_007_199_254_740_993_i64, "c": "9007199254740993"})).unwrap();
        text.begin_list("none");
        text.end_list();
        text.begin_list("many");
        for number in 0..20_000 {
            text.item(&number).unwrap();
            bytes.extend(text.take_full().unwrap_or_default());
        }
        text.end_list();
        text.member("last", &true).unwrap();
        assert!(!bytes.is_empty());
        bytes.extend(text.end());
        let read: Value = serde_json::from_slice(&bytes).unwrap();
        let expected = json!({
            "a": {"b": "9007199254740993", "c": "9007199254740993"},
            "none": [],
            "many": (0..20_000).collect::<Vec<_>>(),
            "last": true,
        });
        assert_eq!(read, expected);
        let mut empty = DocumentText::begin();
        assert!(empty.take_full().is_none());
        assert_eq!(serde_json::from_slice::<Value>(&empty.end()).unwrap(), json!({}));
    }
}
