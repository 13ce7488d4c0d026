//! The names things have, parsed once at the edge: whoever holds one of these types need not check it again.

use std::fmt;
use std::str::FromStr;

use goldbook_api::values::{check_name, check_slug};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Defines a text identifier that can only be made by parsing.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = &'static str;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                $check(&text)?;
                Ok(Self(text))
            }
        }

        impl TryFrom<&str> for $name {
            type Error = &'static str;

            fn try_from(text: &str) -> Result<Self, Self::Error> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// A loyalty program, named by whoever runs it: `[a-z0-9-]`, 1–63 characters.
    ProgramId,
    check_slug
);
text_id!(
    /// A tier within a program document: `[a-z0-9-]`, 1–63 characters.
    TierId,
    check_slug
);
text_id!(
    /// A benefit within a program document: `[a-z0-9-]`, 1–63 characters.
    BenefitId,
    check_slug
);
text_id!(
    /// A package within a program document: `[a-z0-9-]`, 1–63 characters.
    PackageId,
    check_slug
);
text_id!(
    /// A factor of satisfaction within a program document: `[a-z0-9-]`, 1–63 characters.
    FactorId,
    check_slug
);
text_id!(
    /// A category of complaints within a program document: `[a-z0-9-]`, 1–63 characters.
    ComplaintCategoryId,
    check_slug
);
text_id!(
    /// A value class within a program document: `[a-z0-9-]`, 1–63 characters.
    ValueClassId,
    check_slug
);
text_id!(
    /// A segment within a program document: `[a-z0-9-]`, 1–63 characters.
    SegmentId,
    check_slug
);
text_id!(
    /// A campaign within a program document: `[a-z0-9-]`, 1–63 characters.
    CampaignId,
    check_slug
);
text_id!(
    /// The business's own name of a customer: 1–128 characters, no control characters.
    CustomerId,
    check_name
);
text_id!(
    /// The business's own name of an activity, unique within its customer: 1–128 characters, no control characters.
    ActivityId,
    check_name
);
text_id!(
    /// The business's own name of a survey: 1–128 characters, no control characters.
    SurveyId,
    check_name
);
text_id!(
    /// A caller's name of one attempt to write, kept for ever: 1–128 characters, no control characters.
    IdempotencyKey,
    check_name
);
text_id!(
    /// What a customer shares to bring others: letters and digits, kept in upper case.
    ReferralCode,
    check_name
);

impl ReferralCode {
    /// Parses what a person typed: the case of ASCII letters and surrounding spaces do not matter.
    ///
    /// # Errors
    /// If nothing is left, or it is longer than 128 characters or has control characters.
    pub fn parse(typed: &str) -> Result<Self, &'static str> {
        Self::try_from(typed.trim().to_ascii_uppercase())
    }
}

/// Who called, as entries name them: opaque, and without meaning once the principal is erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrincipalId(pub Uuid);

impl PrincipalId {
    /// Nobody: time alone wrote it.
    pub const NOBODY: Self = Self(Uuid::nil());
}

impl fmt::Display for PrincipalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A customer's or a program's opaque identity on the ledger; never an input of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(pub Uuid);

impl AccountId {
    /// A new account, ordered by the time it was made so that its rows lie together in the indexes.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "names an account; no time is read out of it")]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

/// The public name of a ledger entry: its account and its number there, in one opaque string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EntryId {
    /// The account the entry belongs to.
    pub account_id: AccountId,
    /// The entry's number on that account: 1, 2, 3 … without a gap.
    pub account_seq: i64,
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.account_id.0.simple(), self.account_seq)
    }
}

impl FromStr for EntryId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const MALFORMED: &str = "must be an entry id as returned by the service";
        let (account, seq) = text.split_once('.').ok_or(MALFORMED)?;
        let account_id = AccountId(Uuid::try_parse(account).map_err(|_| MALFORMED)?);
        let account_seq = seq.parse().map_err(|_| MALFORMED)?;
        let id = Self { account_id, account_seq };
        // Only the spelling that the service itself writes is one of its ids.
        if account_seq < 1 || id.to_string() != text {
            return Err(MALFORMED);
        }
        Ok(id)
    }
}

impl TryFrom<String> for EntryId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<EntryId> for String {
    fn from(id: EntryId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_compared_by_the_case_of_ascii_letters_alone() {
        let code = |typed| ReferralCode::parse(typed).unwrap();
        assert_eq!(code(" ab12s "), code("AB12S"));
        // The long s and the dotless i would be S and I in upper case.
        assert_ne!(code("AB12\u{17f}"), code("AB12S"));
        assert_ne!(code("AB12\u{131}"), code("AB12I"));
    }

    #[test]
    fn names_are_bounded_in_characters_and_refuse_control_characters() {
        assert!(CustomerId::try_from("é".repeat(128)).is_ok());
        assert!(CustomerId::try_from("é".repeat(129)).is_err());
        assert!(CustomerId::try_from("").is_err());
        assert!(CustomerId::try_from("a\0b").is_err());
        assert!(CustomerId::try_from("a\u{85}b").is_err());
    }

    #[test]
    fn slugs_are_lower_case_and_do_not_begin_with_a_dash() {
        assert!(ProgramId::try_from("cdnow-1").is_ok());
        for bad in ["", "-a", "A", "a_b", &"a".repeat(64)] {
            assert!(ProgramId::try_from(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_entry_id_reads_back_and_has_one_spelling() {
        let id = EntryId { account_id: AccountId::generate(), account_seq: 17 };
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(
            id.to_string().to_uppercase().parse::<EntryId>().is_err() || !id.to_string().contains(char::is_alphabetic)
        );
        for bad in
            ["", ".", "x.1", "0.1", &format!("{}.0", Uuid::nil().simple()), &format!("{}.01", Uuid::nil().simple())]
        {
            assert!(bad.parse::<EntryId>().is_err(), "{bad}");
        }
    }
}
