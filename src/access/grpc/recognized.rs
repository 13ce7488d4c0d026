//! What is known of who calls, and for how long.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::issuers::TokenProof;
use super::live_keys::KeyProof;
use crate::access::principal::Principal;
use crate::error::Error;

/// Who calls, or the future that finds it out.
pub(super) enum Recognized {
    Now(Result<Known, Error>),
    Later(BoxFuture<'static, Result<Known, Error>>),
}

/// Who calls, and by what they proved it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) principal: Arc<Principal>,
    pub(super) proof: Proof,
}

/// By what a principal proved who it is. It may come to an end while a stream goes on.
#[derive(Clone, Debug)]
pub(super) enum Proof {
    /// By nothing: nobody is asked.
    Nothing,
    Key(KeyProof),
    Token(TokenProof),
    /// By a certificate that counts until then, in seconds of the Unix epoch.
    Certificate {
        not_after: i64,
    },
}

impl Proof {
    /// Whether it still counts.
    pub(super) fn counts(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Key(key) => key.counts(),
            Self::Token(token) => token.counts(),
            Self::Certificate { not_after } => super::issuers::unix_seconds().cast_signed() <= *not_after,
        }
    }
}
