//! Who sends a request, as its handler sees them.

use std::fmt;
use std::sync::Arc;

use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt as _};
use tokio::time::Instant;
use tonic::Status;

use super::authentication::Authentication;
use super::methods::Tied;
use super::recognized::Proof;
use crate::access::permission::{Permission, programs_for};
use crate::access::principal::{Principal, ProgramSet};
use crate::book::Writer;
use crate::error::{Error, Reason, Refusal};
use crate::ids::PrincipalId;

/// Who sends a request, before anything is asked about them.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(super) principal: Arc<Principal>,
    pub(super) authentication: Authentication,
    pub(super) deadline: Option<Instant>,
    /// By what they proved who they are; by nothing where nobody is asked.
    pub(super) proof: Option<Arc<dyn Proof>>,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("principal", &self.principal).finish_non_exhaustive()
    }
}

impl Caller {
    /// Whether what they proved it with still counts. A key may be revoked, and a token expire, while a stream goes on.
    pub(super) fn still_counts(&self) -> bool {
        self.proof.as_ref().is_none_or(|proof| proof.counts())
    }

    /// Waits until another item of a stream may come.
    pub(super) async fn wait_for_item(&self) {
        self.authentication.allowance_of(&self.principal).wait_for_item().await;
    }

    /// Whom commands of this caller are written for.
    ///
    /// # Errors
    /// If the principal is new and cannot be remembered, since the database is away.
    pub(crate) async fn writer(&self) -> Result<Writer, Error> {
        Ok(Writer { principal_id: self.authentication.id_of(&self.principal).await?, deadline: self.deadline })
    }
}

/// The end of a stream whose caller cannot prove any more who it is. Items that came before are carried out.
pub(super) fn expired() -> Error {
    let message = "the credentials that the stream was opened with do not count any more";
    Refusal::new(Reason::NotAuthenticated, message).into()
}

/// A caller whose request was admitted.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    pub(super) caller: Caller,
    pub(super) permission: Permission,
}

impl Admitted {
    /// Whom the command of this request is written for.
    ///
    /// # Errors
    /// As [`Caller::writer`].
    pub(crate) async fn writer(&self) -> Result<Writer, Error> {
        self.caller.writer().await
    }

    /// The person who calls, whichever customer they may be beside: who stays the same when that one is erased.
    ///
    /// # Errors
    /// As [`Caller::writer`].
    pub(crate) async fn person(&self) -> Result<PrincipalId, Error> {
        self.caller.authentication.person_of(&self.caller.principal).await
    }

    /// Ends a long answer as soon as what the caller proved who they are with does not count any more. Nothing comes after
    /// an error.
    pub(crate) fn while_it_counts<T>(
        &self,
        answers: impl Stream<Item = Result<T, Status>> + Send + 'static,
    ) -> BoxStream<'static, Result<T, Status>> {
        let caller = self.caller.clone();
        answers.map(move |answer| if caller.still_counts() { answer } else { Err(expired().into()) }).boxed()
    }

    /// Whether they are no more than a customer, who must not learn who others are.
    pub(crate) fn is_customer(&self) -> bool {
        self.permission.is_customer
    }

    /// The programs in which they may call this method, which names none.
    pub(crate) fn programs_for<T: Tied>(&self) -> ProgramSet {
        programs_for(&self.caller.principal, &T::METHOD)
    }
}
