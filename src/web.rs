//! Calls from browsers: gRPC-Web, and the pages that may call.
//!
//! [`WebLayer`] stands before everything else. It turns a call of gRPC-Web into the call of gRPC that it stands for, over
//! HTTP/1.1 and HTTP/2, so that the server span, access and the rules of the wire hold for it as for any other. `origin`
//! is what pages come from, `layer` decides by it who may call, `translation` is gRPC-Web, and `lingering` lets an answer
//! reach a caller that still sends. What has too large headers over HTTP/1.1 is refused before all that.

mod layer;
mod lingering;
mod origin;
mod translation;

pub(crate) use layer::WebLayer;
pub use origin::{Origin, OriginError};
