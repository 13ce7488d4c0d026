//! What of access the wire sees: the layer before all handlers, and what each of them begins with.

mod admission;
mod authentication;
mod caller;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[expect(
    clippy::disallowed_methods,
    reason = "keys of issuers have an age by this machine's clock, which no entry knows"
)]
mod issuers;
mod layer;
#[expect(clippy::disallowed_methods, reason = "what is read of API keys has an age, which no entry knows")]
mod live_keys;
mod methods;
mod recognized;
mod stream;

pub(crate) use admission::admit;
pub(crate) use authentication::Authentication;
pub use authentication::Identities;
pub(crate) use caller::Admitted;
pub(crate) use layer::AccessLayer;
pub use methods::METHODS;
pub(crate) use stream::{Batch, answer_each};
