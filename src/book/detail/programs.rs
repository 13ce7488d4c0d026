//! Entries about programs.

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

/// What happened to a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr, VariantNames)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[strum(serialize_all = "snake_case")]
pub enum ProgramDetail {
    /// A version of the program came into force.
    ProgramApplied {
        /// The number of the version, from 1 without a gap.
        version: i32,
    },
}
