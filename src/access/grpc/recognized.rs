//! What is known of who calls, and for how long.

use std::fmt::Debug;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::access::principal::Principal;
use crate::error::Error;

/// Who calls, or the future that finds it out.
pub(super) enum Recognized {
    Now(Result<Known, Error>),
    Later(BoxFuture<'static, Result<Known, Error>>),
}

/// Who calls, and by what they proved it; by nothing where nobody is asked.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) principal: Arc<Principal>,
    pub(super) proof: Option<Arc<dyn Proof>>,
}

/// By what a principal proved who it is. It may come to an end while a stream goes on.
pub(super) trait Proof: Debug + Send + Sync {
    /// Whether it still counts.
    fn counts(&self) -> bool;
}
