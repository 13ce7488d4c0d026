//! Limits: how often a principal may call, by role and kind of method, and how many calls it may have under way. It is pure.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::role::Role;

/// The limits of each role. A role that is not in it has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<Role, RoleLimits>", into = "BTreeMap<Role, RoleLimits>")]
pub struct Limits(pub BTreeMap<Role, RoleLimits>);

/// The limits of a role. What is absent is not limited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleLimits {
    /// Calls that read.
    pub reads: Option<Rate>,
    /// Calls that write, and streams that are opened.
    pub writes: Option<Rate>,
    /// Items of streams. A stream that is faster is read no faster than this.
    pub items: Option<Rate>,
    /// Exports.
    pub exports: Option<Rate>,
    /// Calls and streams under way at a time.
    pub calls: Option<NonZeroU32>,
}

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How often a second, in the long run.
    pub per_second: NonZeroU32,
    /// How often at once, after a pause; as often as in a second, if absent.
    pub burst: Option<NonZeroU32>,
}

impl From<BTreeMap<Role, RoleLimits>> for Limits {
    /// The defaults, but for the roles that are named: to limit one role more must not limit another less.
    fn from(named: BTreeMap<Role, RoleLimits>) -> Self {
        let Self(mut limits) = Self::default();
        limits.extend(named);
        Self(limits)
    }
}

impl From<Limits> for BTreeMap<Role, RoleLimits> {
    fn from(limits: Limits) -> Self {
        limits.0
    }
}

impl Default for Limits {
    /// A phone needs few calls, and there are many phones. Others are limited by what they are configured to.
    fn default() -> Self {
        let number = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let rate = |per_second, burst| Rate { per_second: number(per_second), burst: Some(number(burst)) };
        let customer = RoleLimits {
            reads: Some(rate(20, 100)),
            writes: Some(rate(5, 20)),
            exports: Some(rate(1, 3)),
            calls: Some(number(32)),
            ..RoleLimits::default()
        };
        Self(BTreeMap::from([(Role::Customer, customer)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_one_role_leave_those_of_others_as_they_are() {
        let read = |text: &str| toml::from_str::<Limits>(text).unwrap();
        assert_eq!(read(""), Limits::default());
        let one = read("[service]\ncalls = 7\n");
        assert_eq!(one.0[&Role::Customer], Limits::default().0[&Role::Customer]);
        assert_eq!(one.0[&Role::Service].calls, NonZeroU32::new(7));
        assert_eq!(read("[customer]\n").0[&Role::Customer], RoleLimits::default());
    }
}
