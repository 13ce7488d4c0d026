//! The kinds of accounts.

use strum::{EnumString, IntoStaticStr, VariantArray};

use super::detail::{Detail, GoodwillDetail};
use super::words::stored_words;

/// Whose account it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, EnumString, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum AccountKind {
    /// The account of one customer of a program.
    Customer,
    /// The program's own account, which tells of its versions.
    Program,
    /// A pot: an account of the program itself, for what many customers share.
    Pot,
}

stored_words!(AccountKind);

impl AccountKind {
    /// Whose account an entry of this kind stands on.
    #[must_use]
    pub const fn of(detail: &Detail) -> Self {
        match detail {
            Detail::Program(_) => Self::Program,
            Detail::Customer(_)
            | Detail::Activity(_)
            | Detail::Points(_)
            | Detail::Tier(_)
            | Detail::Benefit(_)
            | Detail::Referral(_)
            | Detail::Complaint(_)
            | Detail::Lifecycle(_)
            | Detail::Value(_)
            | Detail::Goodwill(GoodwillDetail::GoodwillGiven { .. }) => Self::Customer,
            Detail::Goodwill(GoodwillDetail::GoodwillDrawn { .. }) => Self::Pot,
        }
    }
}
