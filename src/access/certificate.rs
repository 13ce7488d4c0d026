//! Principals by the certificates of their connections, as the configuration names them. It is pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::issuer::ProgramNames;
use super::principal::{Principal, PrincipalKind};
use super::role::Role;
use crate::listener::PeerName;

/// Who shows a certificate with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateRule {
    /// The principal's name.
    pub name: String,
    /// The SAN URI in the certificate, such as `spiffe://shop/checkout`. Either this or `dns` must be set.
    pub uri: Option<String>,
    /// The DNS name in the certificate.
    pub dns: Option<String>,
    /// The roles that it gives.
    pub roles: BTreeSet<Role>,
    /// The programs in which it gives them.
    pub programs: ProgramNames,
}

impl CertificateRule {
    /// What is wrong with the rule, if anything is.
    #[must_use]
    pub fn find_faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let name = &self.name;
        if name.is_empty() {
            faults.push("a certificate has no name".to_owned());
        }
        if self.peer().is_none() {
            faults.push(format!("certificate {name}: either `uri` or `dns` must say which name it has"));
        }
        if self.roles.is_empty() || self.roles.contains(&Role::Customer) {
            faults.push(format!("certificate {name}: `roles` must name roles, and no customer"));
        }
        faults
    }

    /// The name in the certificate; none if both or none are set.
    #[must_use]
    pub fn peer(&self) -> Option<PeerName> {
        match (&self.uri, &self.dns) {
            (Some(uri), None) => Some(PeerName::Uri(uri.clone())),
            (None, Some(dns)) => Some(PeerName::Dns(dns.to_ascii_lowercase())),
            (Some(_), Some(_)) | (None, None) => None,
        }
    }

    /// Who shows such a certificate.
    #[must_use]
    pub fn principal(&self) -> Principal {
        let grants: BTreeMap<_, _> = self.roles.iter().map(|role| (*role, self.programs.to_set())).collect();
        Principal::new(PrincipalKind::Certificate, String::new(), self.name.clone(), grants)
    }
}
