//! Where everything in a document stands, and what is wrong with it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;

/// A part of a document: where it begins, and what it is called there and on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The byte of the document.
    pub(super) at: usize,
    /// In the document's own words, counted from 1. It ends in a space where it is an item with keys of its own.
    words: String,
    /// As the service names it when it refuses it.
    wire: String,
}

impl Place {
    /// The whole document.
    pub(super) fn whole() -> Self {
        Self { at: 0, words: String::new(), wire: "program".to_owned() }
    }

    /// What stands here under a key, which may have another name on the wire.
    pub(super) fn key(&self, at: usize, key: &str, wire: &str) -> Self {
        let dot = if self.words.is_empty() || self.words.ends_with(' ') { "" } else { "." };
        Self { at, words: format!("{}{dot}{key}", self.words), wire: format!("{}.{wire}", self.wire) }
    }

    /// One of several that stand here; `list` is what they are called on the wire, if they are called anything there.
    pub(super) fn item(&self, at: usize, index: usize, list: &str) -> Self {
        Self {
            at,
            words: format!("{}[{}]", self.words, index.saturating_add(1)),
            wire: format!("{}{list}[{index}]", self.wire),
        }
    }

    /// The same part, which the wire has under a key of another.
    pub(super) fn on_wire(self, owner: &Self, key: &str) -> Self {
        Self { wire: format!("{}.{key}", owner.wire), ..self }
    }

    /// The same item, by the name that it has.
    pub(super) fn named(self, name: Option<&str>) -> Self {
        let name = name.map(|name| format!(" {name:?}")).unwrap_or_default();
        Self { words: format!("{}{name}: ", self.words), ..self }
    }

    /// A sentence about this place.
    pub(super) fn says(&self, what: impl Display) -> String {
        if self.words.is_empty() { what.to_string() } else { format!("{} {what}", self.words.trim_end()) }
    }

    /// Something that is told about this place.
    pub(super) fn about(&self, what: impl Display) -> String {
        if self.words.is_empty() { what.to_string() } else { format!("{}: {what}", self.words()) }
    }

    /// What it is called in the document.
    pub(super) fn words(&self) -> &str {
        self.words.trim_end_matches(": ")
    }
}

/// Something that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fault {
    /// The byte of the document.
    pub(super) at: usize,
    /// What is wrong, in the document's own words.
    pub(super) text: String,
}

/// What is noted while a document is read.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Whether lines were left out that are no TOML: what they said is not known then.
    pub(super) has_gaps: bool,
    faults: RefCell<Vec<Fault>>,
    /// What is wrong already, as the wire calls it. The service would refuse what is sent in its stead.
    told: RefCell<Vec<String>>,
    places: RefCell<BTreeMap<String, (Place, bool)>>,
}

impl Notes {
    pub(super) fn begin(has_gaps: bool) -> Self {
        Self { has_gaps, ..Self::default() }
    }

    /// Notes that something is wrong with a part.
    pub(super) fn refuse(&self, place: &Place, what: impl Display) {
        self.told.borrow_mut().push(place.wire.clone());
        self.note(place.at, place.says(what));
    }

    /// Notes that something is wrong which the wire knows nothing of.
    pub(super) fn note(&self, at: usize, text: String) {
        self.faults.borrow_mut().push(Fault { at, text });
    }

    /// Notes that a part is missing. It may be among what was left out.
    pub(super) fn miss(&self, place: &Place) {
        if self.has_gaps { self.pass_over(place) } else { self.refuse(place, "is missing") }
    }

    /// Notes that what is wrong with a part was told in other words.
    pub(super) fn pass_over(&self, place: &Place) {
        self.told.borrow_mut().push(place.wire.clone());
    }

    /// Notes where a part stands, and whether it is a value of which nothing can be left out.
    pub(super) fn know(&self, place: &Place, is_value: bool) {
        self.places.borrow_mut().insert(place.wire.clone(), (place.clone(), is_value));
    }

    /// The place of what the wire calls so; of what it is in, if it has none of its own.
    pub(super) fn find(&self, field: &str) -> Option<Place> {
        let places = self.places.borrow();
        let mut prefix = field;
        loop {
            if let Some((place, _)) = places.get(prefix) {
                return Some(place.clone());
            }
            (prefix, _) = prefix.rsplit_once(['.', '['])?;
        }
    }

    /// Whether what the service says of a field is news, and no consequence of what is told already.
    pub(super) fn is_news(&self, field: &str) -> bool {
        let is_within = |told: &String| {
            field.strip_prefix(told.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let is_value = || self.places.borrow().get(field).is_some_and(|(_, is_value)| *is_value);
        // Of a document with gaps nothing is said but of values that are there.
        !self.told.borrow().iter().any(is_within) && (!self.has_gaps || is_value())
    }

    /// All faults, in the order of their places; each once.
    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut faults = self.faults.borrow().clone();
        faults.sort();
        faults.dedup();
        faults
    }
}
