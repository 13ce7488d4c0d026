//! A method, who may call it, and what ties a request to its caller.

use super::role::Role;

/// A method of the interface, and who may call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// Its name with its service, such as `TierService.GetCustomerTier`.
    pub name: &'static str,
    /// Its path on the wire.
    pub path: &'static str,
    /// What it does, as limits count it.
    pub kind: Kind,
    /// The roles that may call it. `admin` may call every method.
    pub roles: &'static [Role],
    /// The field that names the program, in which the caller must have one of the roles. None for a method that answers
    /// of each program in which the caller has.
    pub program: Option<&'static str>,
    /// The field that names the customer, who must be the caller where it has the role of one. None if there is none.
    pub customer: Option<&'static str>,
    /// What else must hold, for one of the roles.
    pub condition: Option<(Role, &'static str)>,
}

/// What a method does, as limits count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It reads.
    Read,
    /// It writes, or opens a stream of writes.
    Write,
    /// It reads everything, and writes that it did.
    Export,
}

impl Kind {
    /// Its calls, as a refusal names them.
    pub(super) const fn limited(self) -> &'static str {
        match self {
            Self::Read => "reads",
            Self::Write => "writes",
            Self::Export => "exports",
        }
    }
}

/// What ties a request to who may send it.
pub(crate) struct Tie<'a> {
    /// The program that it names; empty where it leaves it out.
    pub(crate) program_id: Option<&'a str>,
    /// The customer that it names.
    pub(crate) customer_id: Option<&'a str>,
    /// Whether its other fields are what a role may send.
    pub(crate) permits: &'a dyn Fn(Role) -> bool,
}
