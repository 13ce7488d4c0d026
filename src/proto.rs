//! The wire, as the service's own side of it sees it: messages and services from the crate `goldbook-api`, and what many
//! messages share on their way into the domain.

pub mod fields;
pub(crate) mod requests;

pub use goldbook_api::v1::*;
pub use goldbook_api::{FILE_DESCRIPTOR_SET, SERVICES, google};
