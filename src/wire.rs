//! The bytes of a call before they are messages: what its headers ask for, and the frames that its body is made of.
//!
//! [`WireLayer`] stands between the server span and the services. It refuses a call whose bytes break the rules of gRPC
//! or a limit, and tells the caller which; tonic would call most of that an internal error of the service. `layer` looks
//! at headers, `frames` follows the messages through a body, `base64` and `decompression` make them whole, `breach` lists
//! what can be wrong.

mod base64;
mod body;
mod breach;
mod compression;
mod decompression;
mod frames;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod headers;
mod layer;
mod methods;

pub(crate) use base64::InBase64;
pub use body::WireBody;
pub(crate) use headers::{GRPC_TIMEOUT, media_type, parse_timeout};
pub use layer::{WireFuture, WireLayer, WireService};
pub use methods::{Method, Methods};
