//! Entries about customers.

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

/// What happened to a customer and to what is known about them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum CustomerDetail {
    /// The customer joined the program.
    CustomerEnrolled,
    /// The customer's dossier changed; what it says stays where it can be erased.
    DossierUpdated {
        /// The dossier's revision from now on.
        revision: i64,
    },
    /// Somebody was given everything that is known of the customer.
    CustomerExported,
    /// The customer was erased: nothing that is kept says any more who they were.
    CustomerErased {
        /// Why.
        why: ErasureReason,
    },
    /// The dossier was erased, since nobody had written to the account for so long as the program says.
    DossierErased {
        /// The dossier's revision from now on.
        revision: i64,
    },
    /// What callers wrote beside entries was erased, for the same reason.
    NotesErased,
}

/// Why a customer was erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErasureReason {
    /// They asked for it.
    CustomerRequest,
    /// A law or an authority demands it.
    LegalObligation,
    /// What is known of them is needed no longer.
    NoLongerNeeded,
    /// They should never have been recorded.
    RecordedInError,
}
