//! The wire: messages, services and clients generated from `proto/`, whose comments are their documentation.

pub mod fields;
pub(crate) mod requests;
pub mod stream;

/// The generated code in the nesting that its own paths expect.
#[allow(missing_docs, unused_qualifications, clippy::all, clippy::pedantic, clippy::restriction)]
mod generated {
    pub mod goldbook {
        pub mod v1 {
            tonic::include_proto!("goldbook.v1");
        }
    }
    pub mod google {
        pub mod r#type {
            tonic::include_proto!("google.r#type");
        }
    }
}

pub use generated::goldbook::v1::*;

/// The public types of Google's that the interface uses.
pub mod google {
    pub use tonic_types::Status;

    pub use super::generated::google::r#type::{Date, Money, PostalAddress};
}

/// The descriptors of every proto, comments included: what server reflection answers from.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("goldbook_descriptor");
