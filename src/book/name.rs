//! A name that is unique beyond an account, and what commands do with it.

use strum::{EnumString, IntoStaticStr, VariantArray};

use super::words::stored_words;
use crate::ids::{CustomerId, PrincipalId, ProgramId, ReferralCode};

/// What kind of name it is. Names of different kinds do not collide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr, EnumString, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum NameSpace {
    /// A program's own name.
    Program,
    /// The business's own names of customers.
    Customer,
    /// Codes that customers share.
    ReferralCode,
    /// What a pot is for.
    Pot,
}

stored_words!(NameSpace);

/// A name that is unique beyond an account, and belongs to exactly one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The program within which the name is unique.
    pub program_id: ProgramId,
    /// What kind of name it is.
    pub space: NameSpace,
    /// The name itself.
    pub name: String,
}

impl Name {
    /// The program's own name.
    #[must_use]
    pub fn program(program_id: &ProgramId) -> Self {
        Self { program_id: program_id.clone(), space: NameSpace::Program, name: String::new() }
    }

    /// A customer's name.
    #[must_use]
    pub fn customer(program_id: &ProgramId, customer_id: &CustomerId) -> Self {
        Self { program_id: program_id.clone(), space: NameSpace::Customer, name: customer_id.as_str().to_owned() }
    }

    /// A referral code.
    #[must_use]
    pub fn referral_code(program_id: &ProgramId, code: &ReferralCode) -> Self {
        Self { program_id: program_id.clone(), space: NameSpace::ReferralCode, name: code.as_str().to_owned() }
    }

    /// The pot of what a principal gives as goodwill.
    #[must_use]
    pub fn goodwill_pot(program_id: &ProgramId, principal_id: PrincipalId) -> Self {
        Self { program_id: program_id.clone(), space: NameSpace::Pot, name: format!("goodwill {principal_id}") }
    }
}

/// What a command does with a name.
#[derive(Clone, Debug)]
pub enum NameUse {
    /// It must belong to someone already, or the decision will say what is missing.
    Find(Name),
    /// If it is free, a new account is made for it.
    FindOrOpen(Name),
    /// If it is free, the account of the command's first name claims it.
    Claim(Name),
}

impl NameUse {
    /// The name itself.
    #[must_use]
    pub const fn name(&self) -> &Name {
        match self {
            Self::Find(name) | Self::FindOrOpen(name) | Self::Claim(name) => name,
        }
    }
}
