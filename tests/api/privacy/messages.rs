//! Requests as their descriptors tell them: every text that they can carry, and messages filled with marks.

use std::collections::{BTreeSet, HashMap};

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _, Value};

use super::marks::{Mark, find_marks};
use crate::harness::SHOP;

/// What a text is to be that nobody gave.
#[derive(Clone, Copy, Debug)]
pub(super) enum Text {
    /// What the field is for; nothing in fields that [`is_given`] tells.
    Valid,
    /// The mark alone.
    Plain,
    /// The mark and a character that no field takes.
    Control,
    /// The mark so often that no field takes it.
    Long,
}

/// Whether messages in a message are made that nobody gave, and then which alternative of each.
pub(super) type Made = Option<usize>;

/// Makes marks, each once.
#[derive(Default)]
pub(super) struct Marks(u32);

impl Marks {
    pub(super) fn next(&mut self) -> Mark {
        self.0 += 1;
        Mark::new(self.0)
    }

    /// Fills every empty text of a message, at any depth, with a mark of its own.
    pub(super) fn fill(&mut self, message: &mut DynamicMessage, text: Text, made: Made) {
        // A program's document is of no person, and every version of it is kept.
        if matches!(text, Text::Valid) && message.descriptor().full_name() == "goldbook.v1.Program" {
            return;
        }
        for field in message.descriptor().fields() {
            if !is_wanted(message, &field, made) {
                continue;
            }
            // What is below an alternative chooses by the rest, so that all combinations come.
            let alternatives = field.containing_oneof().map_or(1, |oneof| oneof.fields().count());
            let made = made.map(|choice| choice / alternatives);
            if field.is_map() {
                self.fill_map(message.get_field_mut(&field), &field, text, made);
                continue;
            }
            match (field.kind(), field.is_list()) {
                (Kind::String, false) => self.fill_text(message.get_field_mut(&field), field.name(), text),
                (Kind::String, true) => {
                    let list = message.get_field_mut(&field).as_list_mut().unwrap();
                    if list.is_empty() {
                        let mut one = Value::String(String::new());
                        self.fill_text(&mut one, field.name(), text);
                        list.extend(one.as_str().is_some_and(|one| !one.is_empty()).then_some(one));
                    }
                }
                (Kind::Message(kind), true) => {
                    let list = message.get_field_mut(&field).as_list_mut().unwrap();
                    if list.is_empty() && made.is_some() {
                        list.push(Value::Message(DynamicMessage::new(kind)));
                    }
                    list.iter_mut().for_each(|item| self.fill(item.as_message_mut().unwrap(), text, made));
                }
                (Kind::Message(_), false) if message.has_field(&field) || made.is_some() => {
                    self.fill(message.get_field_mut(&field).as_message_mut().unwrap(), text, made);
                }
                (Kind::Bytes, _) => panic!("{} is of bytes, which no mark is put in yet", field.full_name()),
                _ => {}
            }
        }
    }

    fn fill_text(&mut self, value: &mut Value, name: &str, text: Text) {
        if value.as_str().is_some_and(str::is_empty) {
            *value = Value::String(self.write(name, text));
        }
    }

    fn fill_map(&mut self, value: &mut Value, field: &FieldDescriptor, text: Text, made: Made) {
        let Kind::Message(entry) = field.kind() else { panic!("a map of no entries") };
        let keys_are_texts = matches!(entry.map_entry_key_field().kind(), Kind::String);
        let values_are_texts = matches!(entry.map_entry_value_field().kind(), Kind::String);
        assert!(keys_are_texts && values_are_texts, "{} needs marks of another kind", field.full_name());
        if value.as_map().is_some_and(HashMap::is_empty) && (made.is_some() || matches!(text, Text::Valid)) {
            // With a key that is good, what is wrong with a value is told.
            let of_key = if matches!(text, Text::Long) { Text::Plain } else { text };
            let (key, one) = (self.write("key", of_key), self.write("value", text));
            *value = Value::Map([(MapKey::String(key), Value::String(one))].into());
        }
    }

    fn write(&mut self, name: &str, text: Text) -> String {
        match text {
            _ if name == "program_id" => SHOP.to_owned(),
            Text::Valid if is_given(name) => String::new(),
            Text::Valid => match name {
                "email" => format!("{}@example.com", self.next().text()),
                "phone" => self.next().phone(),
                "locale" | "language" => self.next().tag(),
                _ => self.next().text(),
            },
            Text::Plain => self.next().text(),
            Text::Control => format!("{}\u{7}", self.next().text()),
            Text::Long => self.next().text().repeat(300),
        }
    }
}

/// Whether a field is to be filled: of alternatives the one that is there, or that is chosen.
fn is_wanted(message: &DynamicMessage, field: &FieldDescriptor, made: Made) -> bool {
    let Some(alternatives) = field.containing_oneof().filter(|oneof| !oneof.is_synthetic()) else { return true };
    if let Some(there) = alternatives.fields().find(|other| message.has_field(other)) {
        return there == *field;
    }
    made.is_some_and(|choice| alternatives.fields().nth(choice % alternatives.fields().count()).as_ref() == Some(field))
}

/// Texts that callers do not choose, each with what it is instead. In valid requests they are what they must be; a mark is in
/// them in requests that are refused.
pub(super) const GIVEN: &[(&str, &str)] = &[
    ("program_id", "the business's name of its own program"),
    ("campaign_id", "a name in the program's document"),
    ("segment_id", "a name in the program's document"),
    ("tier_id", "a name in the program's document"),
    ("benefit_id", "a name in the program's document"),
    ("package_id", "a name in the program's document"),
    ("factor_id", "a name in the program's document"),
    ("category_id", "a name in the program's document"),
    ("tier_ids", "names in the program's document"),
    ("category_ids", "names in the program's document"),
    ("currency_code", "a code of ISO 4217"),
    ("code", "made by the service"),
    ("entry_id", "made by the service"),
    ("reward_id", "made by the service"),
    ("hold_id", "made by the service"),
    ("complaint_id", "made by the service"),
    ("lot_id", "made by the service"),
    ("use_id", "made by the service"),
    ("reevaluation_id", "made by the service"),
    ("entitlement_id", "made by the service"),
    ("page_token", "made by the service"),
    ("resume_token", "made by the service"),
    ("etag", "made by the service"),
    ("paths", "names of fields"),
    ("after", "a period of time"),
    ("on_event_within", "a period of time"),
    ("sliding", "a period of time"),
    ("period", "a period of time"),
    ("ends_after", "a period of time"),
];

/// Whether a field of this name is one of [`GIVEN`].
pub(super) fn is_given(name: &str) -> bool {
    GIVEN.iter().any(|(given, _)| *given == name)
}

/// The last part of a path.
pub(super) fn leaf(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// Every text that a message can carry, by its path; of what holds its own kind, such as conditions, the outermost.
pub(super) fn text_paths(message: &MessageDescriptor) -> Vec<String> {
    text_paths_within(message, &mut Vec::new())
}

fn text_paths_within(message: &MessageDescriptor, outer: &mut Vec<MessageDescriptor>) -> Vec<String> {
    let mut paths = Vec::new();
    if outer.contains(message) {
        return paths;
    }
    outer.push(message.clone());
    for field in message.fields() {
        match field.kind() {
            Kind::String | Kind::Bytes => paths.push(field.name().to_owned()),
            Kind::Message(inner) => {
                let inner = text_paths_within(&inner, outer).into_iter();
                paths.extend(inner.map(|rest| format!("{}.{rest}", field.name())));
            }
            _ => {}
        }
    }
    outer.pop();
    paths
}

/// The texts of a message with their paths.
pub(super) fn texts(message: &DynamicMessage) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (field, value) in message.fields() {
        for (path, text) in texts_of(value) {
            let joined = if path.is_empty() { field.name().to_owned() } else { format!("{}.{path}", field.name()) };
            found.push((joined, text));
        }
    }
    found
}

fn texts_of(value: &Value) -> Vec<(String, String)> {
    match value {
        Value::String(text) => vec![(String::new(), text.clone())],
        Value::List(values) => values.iter().flat_map(texts_of).collect(),
        Value::Message(message) => texts(message),
        Value::Map(entries) => entries
            .iter()
            .flat_map(|(key, value)| {
                let key = key.as_str().map(|key| ("key".to_owned(), key.to_owned()));
                let value = value.as_str().map(|value| ("value".to_owned(), value.to_owned()));
                key.into_iter().chain(value)
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The marks of a message with the paths of their fields.
pub(super) fn marks_of(message: &DynamicMessage) -> BTreeSet<(Mark, String)> {
    let texts = texts(message).into_iter();
    texts
        .flat_map(|(path, text)| find_marks(text.as_bytes()).into_iter().map(move |mark| (mark, path.clone())))
        .collect()
}

/// Empties every text that has a mark and whose path is not to be kept.
pub(super) fn clear_marked(message: &mut DynamicMessage, keep: &dyn Fn(&str) -> bool) {
    for field in message.descriptor().fields() {
        if !message.has_field(&field) || keep(field.name()) {
            continue;
        }
        let is_marked = |value: &Value| texts_of(value).iter().any(|(_, text)| !find_marks(text.as_bytes()).is_empty());
        match message.get_field_mut(&field) {
            Value::Message(inner) => clear_marked(inner, keep),
            Value::List(items) if matches!(field.kind(), Kind::Message(_)) => {
                items.iter_mut().filter_map(Value::as_message_mut).for_each(|item| clear_marked(item, keep));
            }
            value if is_marked(value) => message.clear_field(&field),
            _ => {}
        }
    }
}
