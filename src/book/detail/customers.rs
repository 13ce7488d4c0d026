//! Entries about customers.

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

/// What happened to a customer and to what is known about them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[strum(serialize_all = "snake_case")]
pub enum CustomerDetail {
    /// The customer joined the program.
    CustomerEnrolled,
    /// The customer's dossier changed; what it says stays where it can be erased.
    DossierUpdated {
        /// The dossier's revision from now on.
        revision: i64,
    },
}
