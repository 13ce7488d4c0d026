//! A principal: who calls, as far as they have proved it, and what they were granted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use strum::{EnumString, IntoStaticStr};

use super::allowance::Allowance;
use super::role::Role;
use crate::ids::{CustomerId, PrincipalId, ProgramId};

/// Who calls, and what they were granted.
#[derive(Debug)]
pub struct Principal {
    /// How they proved who they are.
    pub kind: PrincipalKind,
    /// Who vouches for them: the issuer of a token. Empty where it is the service itself.
    pub issuer: String,
    /// Their name to whoever vouches: the subject of a token, the name of a key or of a certificate.
    pub subject: String,
    /// Their roles, each with the programs in which they have it.
    pub grants: BTreeMap<Role, ProgramSet>,
    /// The customer who they are in these programs, where they have the role of one.
    pub customer_id: Option<CustomerId>,
    /// What entries name them by, once it was looked up.
    pub(super) id: OnceLock<PrincipalId>,
    /// What they may still do, once it was looked up. Those who are one principal share it.
    pub(super) allowance: OnceLock<Arc<Allowance>>,
}

/// How a principal proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr, EnumString)]
#[strum(serialize_all = "snake_case")]
pub enum PrincipalKind {
    /// Not at all: the service asks nobody.
    Anyone,
    /// By a key of the service's own.
    ApiKey,
    /// By a token that an issuer signed.
    Token,
    /// By the certificate of its connection.
    Certificate,
}

/// What the id of a principal stands for, as long as it is not erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPrincipal {
    /// How they proved who they are.
    pub kind: PrincipalKind,
    /// Who vouches for them. Empty where it is the service itself.
    pub issuer: String,
    /// Their name to whoever vouches.
    pub subject: String,
}

/// Some programs, or all that there are and will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramSet {
    /// Every program.
    All,
    /// These programs.
    Only(BTreeSet<ProgramId>),
}

impl ProgramSet {
    /// Whether a program is one of them. The name may be none of a program.
    #[must_use]
    pub fn contain(&self, program_id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(programs) => programs.iter().any(|it| it.as_str() == program_id),
        }
    }

    /// These and others.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Only(some), Self::Only(others)) => Self::Only(some.union(others).cloned().collect()),
            (Self::All, _) | (_, Self::All) => Self::All,
        }
    }
}

impl Principal {
    /// A principal with what it was granted.
    #[must_use]
    pub fn new(kind: PrincipalKind, issuer: String, subject: String, grants: BTreeMap<Role, ProgramSet>) -> Self {
        Self { kind, issuer, subject, grants, customer_id: None, id: OnceLock::new(), allowance: OnceLock::new() }
    }

    /// The same, as a customer.
    #[must_use]
    pub fn with_customer(mut self, customer_id: Option<CustomerId>) -> Self {
        self.customer_id = customer_id;
        self
    }

    /// The programs in which they are a customer; none if that is all of them, or they are no customer.
    #[must_use]
    pub(super) fn customer_programs(&self) -> Option<Vec<String>> {
        match self.grants.get(&Role::Customer)? {
            ProgramSet::All => None,
            ProgramSet::Only(programs) => Some(programs.iter().map(ToString::to_string).collect()),
        }
    }

    /// Whoever calls a service that asks nobody who they are: they may do everything.
    #[must_use]
    pub fn anyone() -> Self {
        let grants = BTreeMap::from([(Role::Admin, ProgramSet::All)]);
        Self::new(PrincipalKind::Anyone, String::new(), "anyone".to_owned(), grants)
    }
}

impl PrincipalKind {
    /// The word as stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
