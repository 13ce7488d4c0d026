//! Tables and values of a document, as they are read: what is wrong with one is noted, and reading goes on.

use goldbook_api::google::Money;
use jiff::Timestamp;
use jiff::civil::Date;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::amount::Amount;
use super::nearest::{choice, nearest};
use super::notes::{Notes, Place};

/// What is sent for a word that could not be read. The service knows no such one, so it is judged with nothing else.
pub(super) const UNREADABLE: i32 = i32::MAX;

/// A table of a document.
pub(super) struct Table<'d> {
    entries: &'d DeTable<'d>,
    /// Keys that nobody knows, with the known ones that they are taken for.
    meant: Vec<(&'d Spanned<DeValue<'d>>, &'static str)>,
    has_unknown: bool,
    pub(super) place: Place,
    notes: &'d Notes,
}

/// A value of a document.
pub(super) struct Value<'d> {
    value: &'d DeValue<'d>,
    pub(super) place: Place,
    notes: &'d Notes,
}

impl<'d> Table<'d> {
    /// Opens a table that has no keys but the known ones, and notes all others. What stands under one that is near to a
    /// known one is read as if it had the right name.
    pub(super) fn open(entries: &'d DeTable<'d>, place: Place, known: &[&'static str], notes: &'d Notes) -> Self {
        let mut table = Self { entries, meant: Vec::new(), has_unknown: false, place, notes };
        for (key, value) in entries.iter().filter(|(key, _)| !known.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref();
            let what = match nearest(name, known) {
                Some(near) => {
                    if !entries.contains_key(near) && table.meant.iter().all(|(_, taken)| *taken != near) {
                        table.meant.push((value, near));
                    }
                    format!("unknown key {name:?}; did you mean {near:?}?")
                }
                None => format!("unknown key {name:?}; known are {}", known.join(", ")),
            };
            table.has_unknown = true;
            notes.note(key.span().start, table.place.about(what));
        }
        table
    }

    /// The value of a key.
    pub(super) fn find(&self, key: &'static str) -> Option<Value<'d>> {
        self.find_as(key, key)
    }

    /// The value of a key that has another name on the wire.
    pub(super) fn find_as(&self, key: &'static str, wire: &str) -> Option<Value<'d>> {
        let meant = || self.meant.iter().find(|(_, name)| *name == key).map(|(value, _)| *value);
        let value = self.entries.get(key).or_else(meant)?;
        Some(Value::new(value, self.place.key(value.span().start, key, wire), self.notes))
    }

    /// The value of a key that must be there.
    pub(super) fn require(&self, key: &'static str) -> Option<Value<'d>> {
        self.require_as(key, key)
    }

    /// The value of a key that must be there and has another name on the wire.
    pub(super) fn require_as(&self, key: &'static str, wire: &str) -> Option<Value<'d>> {
        let value = self.find_as(key, wire);
        if value.is_none() {
            self.notes.miss(&self.place.key(self.place.at, key, wire));
        }
        value
    }

    /// The value of the one key of these that must be there alone.
    pub(super) fn only(&self, keys: &[&'static str], expected: &str) -> Option<(&'static str, Value<'d>)> {
        let mut found = keys.iter().filter_map(|key| Some((*key, self.find(key)?)));
        match (found.next(), found.next()) {
            (Some(only), None) => {
                self.notes.know(&self.place, true);
                Some(only)
            }
            (None, None) if self.has_unknown || self.notes.has_gaps => {
                self.notes.pass_over(&self.place);
                None
            }
            _ => {
                self.notes.refuse(&self.place, expected);
                None
            }
        }
    }

    /// The text of a key that must be there; empty, if it is not or is no text.
    pub(super) fn text(&self, key: &'static str) -> String {
        self.require(key).and_then(|value| value.text()).unwrap_or_default()
    }

    /// The text of a key that may be missing; empty, if it is or is no text.
    pub(super) fn optional_text(&self, key: &'static str) -> String {
        self.find(key).and_then(|value| value.text()).unwrap_or_default()
    }

    /// The whole number of a key that may be missing.
    pub(super) fn number<N: TryFrom<i64>>(&self, key: &'static str) -> Option<N> {
        self.find(key).and_then(|value| value.number())
    }

    /// The same, but that one that is no number is judged as that, and not as none.
    pub(super) fn number_or_bad<N: TryFrom<i64> + From<i8>>(&self, key: &'static str) -> Option<N> {
        self.find(key).map(|value| value.number().unwrap_or_else(|| N::from(-1)))
    }

    /// The amount of a key that may be missing, in a currency.
    pub(super) fn money(&self, key: &'static str, currency: &str) -> Option<Money> {
        self.find(key).map(|value| value.money(currency))
    }

    /// The word of a key that may be missing, as the wire numbers it; zero, if it is.
    pub(super) fn word<W: Copy + Into<i32>>(&self, key: &'static str, words: &[(&str, W)]) -> i32 {
        self.find(key).map_or(0, |value| value.word(words).map_or(UNREADABLE, Into::into))
    }

    /// What the items of a key mean that may be missing; one that the service cannot read, if it is no list.
    pub(super) fn each<T: Default>(&self, key: &'static str, read: impl Fn(&Value<'_>) -> T) -> Vec<T> {
        let Some(value) = self.find(key) else { return Vec::new() };
        if value.is_list() {
            return value.items("").iter().map(read).collect();
        }
        value.refuse("must be a list").unwrap_or_else(|| vec![T::default()])
    }

    /// The items of a key that may be missing.
    pub(super) fn items(&self, key: &'static str) -> Vec<Value<'d>> {
        self.find(key).map(|value| value.items("")).unwrap_or_default()
    }
}

impl<'d> Value<'d> {
    fn new(value: &'d Spanned<DeValue<'d>>, place: Place, notes: &'d Notes) -> Self {
        let value = value.get_ref();
        notes.know(&place, !matches!(value, DeValue::Table(_) | DeValue::Array(_)));
        Self { value, place, notes }
    }

    /// The same value, which the wire has under a key of another part than the document.
    pub(super) fn on_wire(self, owner: &Place, key: &str) -> Self {
        let place = self.place.on_wire(owner, key);
        self.notes.know(&place, !matches!(self.value, DeValue::Table(_) | DeValue::Array(_)));
        Self { place, ..self }
    }

    /// Notes that something is wrong with it.
    pub(super) fn refuse<T>(&self, what: &str) -> Option<T> {
        self.notes.refuse(&self.place, what);
        None
    }

    /// A text as it is written; none if it is none, without a note.
    pub(super) fn as_text(&self) -> Option<&'d str> {
        match self.value {
            DeValue::String(text) => Some(text),
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => None,
        }
    }

    pub(super) fn text(&self) -> Option<String> {
        self.as_text().map_or_else(|| self.refuse("must be text in quotes"), |text| Some(text.to_owned()))
    }

    pub(super) fn number<N: TryFrom<i64>>(&self) -> Option<N> {
        let DeValue::Integer(number) = self.value else { return self.refuse("must be a whole number") };
        let number = i64::from_str_radix(number.as_str(), number.radix()).ok().and_then(|it| N::try_from(it).ok());
        number.map_or_else(|| self.refuse("is too large"), Some)
    }

    pub(super) fn flag(&self) -> Option<bool> {
        let DeValue::Boolean(flag) = self.value else { return self.refuse("must be true or false") };
        Some(*flag)
    }

    /// A decimal, as it is written. A number without quotes would not be exact.
    pub(super) fn decimal(&self) -> Option<String> {
        let text = self.as_text().filter(|text| Amount::parse(text).is_ok());
        text.map_or_else(
            || self.refuse("must be a decimal in quotes, such as \"1\" or \"0.125\""),
            |it| Some(it.to_owned()),
        )
    }

    /// An amount in a currency; one that the service cannot read, if it is none.
    pub(super) fn money(&self, currency: &str) -> Money {
        let parsed = match self.as_text().map(Amount::parse) {
            Some(Ok(amount)) => Some(amount),
            Some(Err(why)) => self.refuse(why),
            None => self.refuse("must be a decimal in quotes, such as \"10.00\""),
        };
        parsed.map(|amount| amount.to_money(currency)).unwrap_or_default()
    }

    /// What is written in quotes, or as TOML's own date or time.
    fn time_text(&self) -> Option<String> {
        match self.value {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Datetime(datetime) => Some(datetime.to_string()),
            DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Array(_) | DeValue::Table(_) => {
                None
            }
        }
    }

    /// A date, in quotes or as TOML's own.
    pub(super) fn date(&self) -> Option<Date> {
        // What is more than a date, or written in another way, is none.
        let is_it = |date: &Date, text: &str| date.to_string() == text;
        let date = self.time_text().and_then(|text| text.parse::<Date>().ok().filter(|date| is_it(date, &text)));
        date.map_or_else(|| self.refuse("must be a date, such as 2026-12-25"), Some)
    }

    /// An instant of RFC 3339, in quotes or as TOML's own date-time.
    pub(super) fn instant(&self) -> Option<Timestamp> {
        let instant = self.time_text().and_then(|text| text.parse().ok());
        let expected = "must be an instant with its offset as in RFC 3339, such as 2026-03-01T00:00:00-05:00";
        instant.map_or_else(|| self.refuse(expected), Some)
    }

    /// What one of some words stands for.
    pub(super) fn word<W: Copy>(&self, words: &[(&str, W)]) -> Option<W> {
        let found = self.as_text().and_then(|text| words.iter().find(|(word, _)| *word == text));
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        found.map_or_else(|| self.refuse(&format!("must be {}", choice(&known))), |(_, meaning)| Some(*meaning))
    }

    /// A table with these keys; none if it is none, without a note.
    pub(super) fn as_table(&self, known: &[&'static str]) -> Option<Table<'d>> {
        let entries = self.entries()?;
        Some(Table::open(entries, self.place.clone(), known, self.notes))
    }

    pub(super) fn table(&self, known: &[&'static str]) -> Option<Table<'d>> {
        self.as_table(known).map_or_else(|| self.refuse("must be a table"), Some)
    }

    /// A table with these keys that is told from others of its kind by a name.
    pub(super) fn named_table(&self, name: &'static str, known: &[&'static str]) -> Option<Table<'d>> {
        let Some(entries) = self.entries() else { return self.refuse("must be a table") };
        let name = entries.get(name).and_then(|name| name.get_ref().as_str());
        let place = self.place.clone().named(name);
        self.notes.know(&place, false);
        Some(Table::open(entries, place, known, self.notes))
    }

    fn entries(&self) -> Option<&'d DeTable<'d>> {
        match self.value {
            DeValue::Table(entries) => Some(entries),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => None,
        }
    }

    /// Whether it is a list.
    pub(super) const fn is_list(&self) -> bool {
        matches!(self.value, DeValue::Array(_))
    }

    /// What stands in a list; `list` is what it is called on the wire, if it is called anything there.
    pub(super) fn items(&self, list: &str) -> Vec<Value<'d>> {
        let DeValue::Array(items) = self.value else {
            self.notes.refuse(&self.place, "must be a list");
            return Vec::new();
        };
        let items = items.iter().enumerate();
        items.map(|(i, item)| Value::new(item, self.place.item(item.span().start, i, list), self.notes)).collect()
    }
}
