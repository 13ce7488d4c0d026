//! Granting points: by hand, by a rule, or because another system had granted them.

pub(crate) mod caps;
pub(crate) mod commands;
pub(crate) mod model;
pub(crate) mod opening;
