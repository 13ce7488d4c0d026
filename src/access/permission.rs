//! The decision whether a principal may send a request. It is pure, and looks at nothing that is stored: so it says the
//! same of a program or a customer whether it exists or not.

use std::collections::BTreeSet;

use super::method::{Method, Tie};
use super::principal::{Principal, ProgramSet};
use super::role::Role;
use crate::error::{Reason, Refusal};

/// By what a request is permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Permission {
    /// Whether by the role of a customer alone.
    pub(super) is_customer: bool,
}

/// Decides whether a principal may call a method with a request that is tied to this program and customer.
///
/// # Errors
/// The same refusal whatever is missing: a role, the program, or being that customer.
pub(super) fn permit(principal: &Principal, method: &Method, tie: &Tie<'_>) -> Result<Permission, Refusal> {
    let mut permitting = grants_for(principal, method).filter(|(role, programs)| {
        let is_in_program = tie.program_id.is_none_or(|program_id| programs.contain(program_id));
        is_in_program && is_own_customer(*role, principal, tie) && (tie.permits)(*role)
    });
    let (first, _) = permitting.next().ok_or_else(|| refuse(method))?;
    let is_customer = first == Role::Customer && permitting.next().is_none();
    Ok(Permission { is_customer })
}

/// The roles of a principal that may call a method, each with its programs.
fn grants_for<'a>(principal: &'a Principal, method: &Method) -> impl Iterator<Item = (Role, &'a ProgramSet)> {
    let is_listed = |role: Role| role == Role::Admin || method.roles.contains(&role);
    principal.grants.iter().map(|(role, programs)| (*role, programs)).filter(move |(role, _)| is_listed(*role))
}

/// The programs in which a principal may call a method that names none.
pub(super) fn programs_for(principal: &Principal, method: &Method) -> ProgramSet {
    let none = ProgramSet::Only(BTreeSet::new());
    grants_for(principal, method).fold(none, |all, (_, programs)| all.union(programs))
}

/// The refusal of a request that the caller may not send. It says nothing of the program and the customer.
pub(super) fn refuse(method: &Method) -> Refusal {
    let message = format!("the caller may not call {} for this program and customer", method.name);
    Refusal::new(Reason::NotPermitted, message)
}

/// Whether a principal may call a method at all, for some request.
pub(super) fn may_call(principal: &Principal, method: &Method) -> bool {
    grants_for(principal, method).next().is_some()
}

/// A customer is nobody else. A method that is about no customer is none for them.
fn is_own_customer(role: Role, principal: &Principal, tie: &Tie<'_>) -> bool {
    if role != Role::Customer {
        return true;
    }
    let own = principal.customer_id.as_ref().map(|customer_id| customer_id.as_str());
    own.is_some() && own == tie.customer_id
}
