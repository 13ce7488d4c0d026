//! The ways to reach customers with marketing.

use serde::{Deserialize, Serialize};

pub(crate) mod grpc;

/// A way to reach a customer with marketing. The channels are described in customers.proto.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarketingChannel {
    /// By e-mail.
    Email,
    /// By telephone.
    Phone,
    /// By text message.
    Sms,
    /// By letter.
    Post,
    /// By messages of an app.
    Push,
}

impl MarketingChannel {
    /// Every channel that there is.
    pub(crate) const ALL: &'static [Self] = &[Self::Email, Self::Phone, Self::Sms, Self::Post, Self::Push];

    /// The channel as stored.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Sms => "sms",
            Self::Post => "post",
            Self::Push => "push",
        }
    }

    /// The reverse of [`as_str`](Self::as_str).
    #[must_use]
    pub(crate) fn from_stored(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|channel| channel.as_str() == word)
    }
}
