//! The kinds of accounts.

/// Whose account it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountKind {
    /// A customer's.
    Customer,
    /// The program's own.
    Program,
}

impl AccountKind {
    /// The kind as stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Program => "program",
        }
    }

    /// The reverse of [`as_str`](Self::as_str).
    #[must_use]
    pub fn from_stored(word: &str) -> Option<Self> {
        match word {
            "customer" => Some(Self::Customer),
            "program" => Some(Self::Program),
            _ => None,
        }
    }
}
