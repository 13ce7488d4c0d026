//! Goldbook's interface in Rust: the messages, clients and servers of `goldbook.v1`, generated from its protos.
//!
//! The comments in the protos are the documentation of the types in [`v1`]. What they say about single values (how long
//! a name may be, which instants there are) is code in [`values`], so that a client can check before it sends. The time
//! zones that programs name are in [`zones`].
//!
//! # Features
//!
//! - `client` (on by default): the generated clients.
//! - `server`: the generated servers, and [`server::Implementations`], which has one field for each service.
//!
//! # Example
//!
//! ```no_run
//! # #[cfg(feature = "client")]
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use goldbook_api::StatusExt as _;
//! use goldbook_api::v1::GetBalanceRequest;
//! use goldbook_api::v1::reward_service_client::RewardServiceClient;
//!
//! let mut rewards = RewardServiceClient::connect("http://127.0.0.1:50051").await?;
//! let request = GetBalanceRequest { program_id: "cdnow".into(), customer_id: "C0001".into(), as_of: None };
//! match rewards.get_balance(request).await {
//!     Ok(answer) => println!("{:?}", answer.into_inner()),
//!     // Every refusal has a reason that a program can tell, beside the message for people.
//!     Err(status) => println!("{}: {:?}", status.message(), status.get_details_error_info()),
//! }
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "server")]
pub mod server;
pub mod values;
pub mod zones;

/// The generated code in the nesting that its own paths expect.
#[allow(missing_docs, unused_qualifications, clippy::all, clippy::pedantic, clippy::restriction)]
mod generated {
    pub(crate) mod goldbook {
        pub mod v1 {
            tonic::include_proto!("goldbook.v1");
        }
    }
    pub(crate) mod google {
        pub(crate) mod r#type {
            tonic::include_proto!("google.r#type");
        }
    }
}

pub use generated::goldbook::v1;
/// Reads the details of a refusal: its reason, the fields that are bad, when to try again.
pub use tonic_types::StatusExt;

/// The public types of Google's that the interface uses.
pub mod google {
    pub use tonic_types::Status;

    pub use super::generated::google::r#type::{Date, Money, PostalAddress};
}

include!(concat!(env!("OUT_DIR"), "/services.rs"));

/// The descriptors of every proto, comments included: what server reflection answers from.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("goldbook_descriptor");
