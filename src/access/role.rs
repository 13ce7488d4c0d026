//! The roles that callers have.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

/// What a caller is to a program. What each role may do, [`METHODS`](super::grpc::METHODS) says.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    IntoStaticStr,
    EnumString,
    VariantArray,
    Serialize,
    Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Role {
    /// A customer of the program, on a phone: themselves only.
    Customer,
    /// A service of the company, such as its checkout.
    Service,
    /// Who serves customers: reads, goodwill within limits, adjustments, holds.
    Support,
    /// Who runs the program: its document, its campaigns, its imports.
    Manager,
    /// Finance and audit: reads and exports.
    Auditor,
    /// Everything.
    Admin,
}

impl Role {
    /// Every role, as the documents list them.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The word that configurations and tokens name it by.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
