//! All services put together as one set of routes.

use tonic::codec::CompressionEncoding;

/// What holds for the messages of every service.
#[derive(Clone, Copy, Debug)]
pub struct MessageRules {
    /// The largest message that is taken, in bytes.
    pub max_bytes: usize,
    /// The compressions that are taken and sent.
    pub compressions: &'static [CompressionEncoding],
}

include!(concat!(env!("OUT_DIR"), "/implementations.rs"));
