//! The decision whether a principal may send a request. It is pure, and looks at nothing that is stored: so it says the
//! same of a program or a customer whether it exists or not.

use super::method::{Method, Tie};
use super::principal::{Principal, ProgramSet};
use super::role::Role;
use crate::error::{Reason, Refusal};

/// By what a request is permitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Permission {
    /// Whether by the role of a customer alone.
    pub(super) is_customer: bool,
    /// The programs in which the principal has a role that permits it.
    pub(super) programs: ProgramSet,
}

/// Decides whether a principal may call a method with a request that is tied to this program and customer.
///
/// # Errors
/// The same refusal whatever is missing: a role, the program, or being that customer.
pub(super) fn permit(principal: &Principal, method: &Method, tie: &Tie<'_>) -> Result<Permission, Refusal> {
    let mut permission: Option<Permission> = None;
    for role in Role::ALL {
        let Some(programs) = principal.grants.get(role) else { continue };
        let is_listed = *role == Role::Admin || method.roles.contains(role);
        let is_in_program = tie.program_id.is_none_or(|program_id| programs.contain(program_id));
        if !is_listed || !is_in_program || !is_own_customer(*role, principal, tie) || !(tie.permits)(*role) {
            continue;
        }
        let is_customer = *role == Role::Customer;
        permission = Some(match permission {
            Some(earlier) => Permission {
                is_customer: earlier.is_customer && is_customer,
                programs: earlier.programs.union(programs),
            },
            None => Permission { is_customer, programs: programs.clone() },
        });
    }
    permission.ok_or_else(|| refuse(method))
}

/// The refusal of a request that the caller may not send. It says nothing of the program and the customer.
pub(super) fn refuse(method: &Method) -> Refusal {
    let message = format!("the caller may not call {} for this program and customer", method.name);
    Refusal::new(Reason::NotPermitted, message)
}

/// Whether a principal may call a method at all, for some request.
pub(super) fn may_call(principal: &Principal, method: &Method) -> bool {
    principal.grants.keys().any(|role| *role == Role::Admin || method.roles.contains(role))
}

/// A customer is nobody else. A method that is about no customer is none for them.
fn is_own_customer(role: Role, principal: &Principal, tie: &Tie<'_>) -> bool {
    if role != Role::Customer {
        return true;
    }
    let own = principal.customer_id.as_ref().map(|customer_id| customer_id.as_str());
    own.is_some() && own == tie.customer_id
}
