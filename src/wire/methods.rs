//! The methods that there are, by their paths.

use std::collections::HashMap;
use std::sync::Arc;

use prost::Message as _;
use prost_types::FileDescriptorSet;

/// A method of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// Its path in a request: `/goldbook.v1.TierService/GetCustomerTier`.
    pub path: &'static str,
    /// Whether it takes a stream of messages, and not exactly one.
    pub takes_stream: bool,
    /// Whether it answers with a stream of messages, and not with exactly one.
    pub answers_stream: bool,
}

/// All methods that are served. A clone costs nothing.
#[derive(Clone, Debug)]
pub struct Methods(Arc<HashMap<&'static str, Method>>);

impl Methods {
    /// Reads the methods of these encoded `FileDescriptorSet`s.
    ///
    /// # Errors
    /// If one of them is not a `FileDescriptorSet`.
    pub fn read(descriptor_sets: &[&[u8]]) -> Result<Self, prost::DecodeError> {
        let mut methods = HashMap::new();
        for encoded in descriptor_sets {
            for file in FileDescriptorSet::decode(*encoded)?.file {
                for service in &file.service {
                    for method in &service.method {
                        let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                        // Kept for ever, once per server: a span then takes its name without a copy.
                        let path: &'static str = path.leak();
                        let (takes_stream, answers_stream) = (method.client_streaming(), method.server_streaming());
                        methods.insert(path, Method { path, takes_stream, answers_stream });
                    }
                }
            }
        }
        Ok(Self(Arc::new(methods)))
    }

    /// The method of this path, if there is one.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<&Method> {
        self.0.get(path)
    }
}
