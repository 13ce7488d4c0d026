//! Admission: what every handler begins with. It reads the message, and decides whether the caller may send it.

use goldbook_api::server::Received;
use tonic::Request;

use super::caller::{Admitted, Caller};
use super::methods::Tied;
use crate::access::permission::permit;
use crate::error::Error;
use crate::telemetry::Deadline;

/// Who sends a request, as the layer before all handlers found out.
///
/// # Errors
/// [`Error::Internal`] if that layer is not there.
pub(crate) fn caller_of<T>(request: &Request<T>) -> Result<Caller, Error> {
    let extensions = request.extensions();
    let caller = extensions.get::<Caller>();
    let mut caller = caller.cloned().ok_or_else(|| Error::Internal("nobody asked who calls".to_owned()))?;
    caller.deadline = extensions.get::<Deadline>().map(|deadline| deadline.0);
    Ok(caller)
}

/// Admits a request: its message, and who sends it.
///
/// # Errors
/// If the body is no message of the method, or the caller may not send it.
pub(crate) fn admit<T: Tied>(request: Request<Received<T>>) -> Result<(T, Admitted), Error> {
    let caller = caller_of(&request)?;
    admit_item(request.into_inner(), &caller)
}

/// Admits one message of a stream, as if it had come alone.
///
/// # Errors
/// As [`admit`].
pub(crate) fn admit_item<T: Tied>(received: Received<T>, caller: &Caller) -> Result<(T, Admitted), Error> {
    let message = received.read().map_err(|error| Error::Unreadable(error.to_string()))?;
    let permission = message.tie(|tie| permit(&caller.principal, &T::METHOD, &tie));
    let permission = permission.map_err(Error::from)?;
    Ok((message, Admitted { caller: caller.clone(), permission }))
}
