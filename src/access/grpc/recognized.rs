//! What is known of who calls.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::access::principal::Principal;
use crate::error::Error;

/// Who calls, or the future that finds it out.
pub(super) enum Recognized {
    Now(Result<Arc<Principal>, Error>),
    Later(BoxFuture<'static, Result<Arc<Principal>, Error>>),
}
