//! Granting points: by hand, by a rule, or because another system had granted them.

pub mod caps;
pub mod commands;
pub mod model;
pub mod opening;
