//! Admission: what every handler begins with. It reads the message, and decides whether the caller may send it.

use goldbook_api::server::Received;
use tonic::Request;

use super::caller::{Admitted, Caller};
use super::methods::Tied;
use crate::access::permission::{Permission, permit};
use crate::error::Error;
use crate::telemetry::Deadline;

/// Who sends a request, as the layer before all handlers found out.
///
/// # Errors
/// [`Error::Internal`] if that layer is not there.
pub(crate) fn caller_of<T>(request: &mut Request<T>) -> Result<Caller, Error> {
    let extensions = request.extensions_mut();
    let caller = extensions.remove::<Caller>();
    let mut caller = caller.ok_or_else(|| Error::Internal("nobody asked who calls".to_owned()))?;
    caller.deadline = extensions.get::<Deadline>().map(|deadline| deadline.0);
    Ok(caller)
}

/// Admits a request: its message, and who sends it.
///
/// # Errors
/// If the body is no message of the method, or the caller may not send it.
pub(crate) fn admit<T: Tied>(mut request: Request<Received<T>>) -> Result<(T, Admitted), Error> {
    let caller = caller_of(&mut request)?;
    let (message, permission) = admit_item(request.into_inner(), &caller)?;
    Ok((message, Admitted { caller, permission }))
}

/// Admits one message of a stream, as if it had come alone.
///
/// # Errors
/// As [`admit`].
pub(crate) fn admit_item<T: Tied>(received: Received<T>, caller: &Caller) -> Result<(T, Permission), Error> {
    let message = received.read().map_err(|error| Error::Unreadable(error.to_string()))?;
    let permission = message.tie(|tie| permit(&caller.principal, &T::METHOD, &tie));
    Ok((message, permission?))
}
