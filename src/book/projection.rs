//! Rows that are a function of entries, in a form in which any two states can be compared, whatever they keep.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;

use super::account::{Account, Balance};

/// One row of a projection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// What it is, such as `lot`; empty for the account itself.
    pub noun: &'static str,
    /// Which of the account's; absent where an account has but one.
    pub key: Cell<'a>,
    /// The columns, by their names in the schema, always the same ones in the same order.
    pub columns: Vec<(&'static str, Cell<'a>)>,
}

/// A value in a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell<'a> {
    /// No value: NULL in the database.
    Absent,
    /// A count or a number.
    Number(i64),
    /// A column that is true or false.
    Flag(bool),
    /// An instant, to the microsecond.
    Instant(Timestamp),
    /// Anything else, as text.
    Text(Cow<'a, str>),
}

impl<'a> Cell<'a> {
    /// Text of its own.
    pub fn text(text: impl ToString) -> Self {
        Self::Text(Cow::Owned(text.to_string()))
    }

    /// Text of the row's.
    #[must_use]
    pub const fn word(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<i64> for Cell<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<i32> for Cell<'_> {
    fn from(number: i32) -> Self {
        Self::Number(number.into())
    }
}

impl From<bool> for Cell<'_> {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<Timestamp> for Cell<'_> {
    fn from(instant: Timestamp) -> Self {
        Self::Instant(instant)
    }
}

impl<'a, T: Into<Self>> From<Option<T>> for Cell<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Absent, Into::into)
    }
}

impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("none"),
            Self::Number(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
            Self::Instant(instant) => instant.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl Account {
    /// The head as a row. Without `next_due_at`, which may be early.
    #[must_use]
    pub fn row(&self) -> Row<'_> {
        let mut columns = vec![
            ("program_id", Cell::word(self.program_id.as_str())),
            ("kind", Cell::word(self.kind.as_str())),
            ("head", self.head.into()),
            ("effective_at", self.effective_at.into()),
            ("erased_at", self.erased_at.into()),
        ];
        columns.extend(pocket_columns(&self.balance));
        Row { noun: "", key: Cell::Absent, columns }
    }

    /// The balances that are kept, as rows.
    pub fn balance_rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.balances.iter().map(|(seq, balance)| Row {
            noun: "balance after entry",
            key: (*seq).into(),
            columns: pocket_columns(balance),
        })
    }
}

fn pocket_columns(balance: &Balance) -> Vec<(&'static str, Cell<'static>)> {
    let Balance { issued, owed, pending, available, held, redeemed, expired, cancelled } = *balance;
    vec![
        ("issued", issued.into()),
        ("owed", owed.into()),
        ("pending", pending.into()),
        ("available", available.into()),
        ("held", held.into()),
        ("redeemed", redeemed.into()),
        ("expired", expired.into()),
        ("cancelled", cancelled.into()),
    ]
}
