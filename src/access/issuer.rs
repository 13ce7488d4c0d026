//! Issuers of tokens: whom the service believes, and what the claims of their tokens mean. It is pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::principal::{Principal, PrincipalKind, ProgramSet};
use super::role::Role;
use crate::ids::{CustomerId, ProgramId};

/// The longest subject, in bytes; OpenID Connect allows no more.
const MAX_SUBJECT_BYTES: usize = 255;

/// An issuer of tokens, as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// Its name: what its tokens say in the claim `iss`.
    pub issuer: String,
    /// What its tokens must say whom they are for: one of these.
    pub audience: BTreeSet<String>,
    /// The claim that says whom they are for; some issuers have none but `client_id`.
    #[serde(default = "default_audience_claim")]
    pub audience_claim: String,
    /// Where its keys come from.
    #[serde(default)]
    pub keys: KeySource,
    /// The claim that names the customer who the bearer is. Without it, no bearer is a customer.
    pub customer_claim: Option<String>,
    /// The claim that names the bearer's programs, a text or a list.
    pub program_claim: Option<String>,
    /// The claim that names the bearer's roles, a text or a list.
    pub roles_claim: Option<String>,
    /// The programs of bearers: of all whose token has no claim for it, and the most that such a claim can give.
    pub programs: Option<ProgramNames>,
    /// What the issuer's own words for roles mean. Absent, its words are those of Goldbook; empty, none means anything.
    pub roles: Option<BTreeMap<String, RoleMeaning>>,
}

fn default_audience_claim() -> String {
    "aud".to_owned()
}

/// Where the keys of an issuer come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// From where the issuer's OpenID configuration says that they are.
    #[default]
    Discovery,
    /// From a URL that answers with a JSON Web Key Set.
    Url(String),
    /// From a file with a JSON Web Key Set.
    File(PathBuf),
}

/// Programs as the configuration names them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ProgramNames {
    /// The word `all`: every program.
    Word(All),
    /// These programs.
    List(BTreeSet<ProgramId>),
}

/// The word `all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum All {
    /// Every program.
    All,
}

impl ProgramNames {
    /// The programs.
    #[must_use]
    pub fn to_set(&self) -> ProgramSet {
        match self {
            Self::Word(All::All) => ProgramSet::All,
            Self::List(programs) => ProgramSet::Only(programs.clone()),
        }
    }
}

/// What an issuer's word for a role means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RoleMeaning {
    /// This role, in the programs that the token is for.
    Role(Role),
    /// This role in these programs alone.
    In {
        /// The role.
        role: Role,
        /// The programs.
        programs: BTreeSet<ProgramId>,
    },
}

impl Issuer {
    /// What is wrong with the configuration of an issuer, if anything is.
    #[must_use]
    pub fn find_faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let issuer = self.shown_name();
        if issuer.is_empty() {
            faults.push("an issuer has no name".to_owned());
        }
        if self.audience.is_empty() {
            faults.push(format!("issuer {issuer}: `audience` must name whom its tokens are for"));
        }
        if self.customer_claim.is_none() && self.roles_claim.is_none() {
            faults
                .push(format!("issuer {issuer}: without `customer_claim` and `roles_claim` its tokens allow nothing"));
        }
        if self.programs.is_none() && self.program_claim.is_none() {
            faults
                .push(format!("issuer {issuer}: `programs` or `program_claim` must say which programs tokens are for"));
        }
        let means_customer = |meaning: &RoleMeaning| match meaning {
            RoleMeaning::Role(role) | RoleMeaning::In { role, .. } => *role == Role::Customer,
        };
        if self.roles.iter().flat_map(BTreeMap::values).any(means_customer) {
            faults.push(format!("issuer {issuer}: `roles` cannot make a customer; `customer_claim` says who is one"));
        }
        let url_fault = match &self.keys {
            KeySource::Discovery => find_url_fault(&self.issuer)
                .map(|fault| format!("issuer {issuer}: its keys are looked for at its name, which {fault}")),
            KeySource::Url(url) => find_url_fault(url).map(|fault| format!("issuer {issuer}: `keys.url` {fault}")),
            KeySource::File(_) => None,
        };
        faults.extend(url_fault);
        faults
    }

    /// Its name as people may see it: without the password of somebody who wrote one into it.
    pub(crate) fn shown_name(&self) -> String {
        without_user(&self.issuer)
    }

    /// The principal that the claims of a verified token tell.
    ///
    /// # Errors
    /// What is wrong with them, for people. It repeats nothing of them.
    pub(super) fn principal_of(&self, claims: &Map<String, Value>) -> Result<Principal, &'static str> {
        let subject = claims.get("sub").and_then(Value::as_str).filter(|subject| !subject.is_empty());
        let subject = subject.filter(|subject| subject.len() <= MAX_SUBJECT_BYTES);
        let subject = subject.ok_or("the token has no subject")?.to_owned();
        let programs = self.programs_of(claims)?;
        let mut grants: BTreeMap<Role, ProgramSet> = BTreeMap::new();
        let mut grant = |role: Role, programs: ProgramSet| {
            let all = grants.remove(&role).map_or_else(|| programs.clone(), |earlier| earlier.union(&programs));
            grants.insert(role, all);
        };
        for word in find_words(claims, self.roles_claim.as_deref())?.unwrap_or_default() {
            let Some(meanings) = &self.roles else {
                // Words that mean nothing here are for others.
                if let Some(role) = word.parse().ok().filter(|role| *role != Role::Customer) {
                    grant(role, programs.clone());
                }
                continue;
            };
            match meanings.get(word) {
                Some(RoleMeaning::Role(role)) => grant(*role, programs.clone()),
                Some(RoleMeaning::In { role, programs }) => grant(*role, ProgramSet::Only(programs.clone())),
                None => {}
            }
        }
        let customer = self.customer_claim.as_deref().and_then(|claim| find_claim(claims, claim));
        let customer_id = match customer.filter(|claim| !claim.is_null()) {
            Some(Value::String(text)) => {
                Some(CustomerId::try_from(text.as_str()).map_err(|_| "the token's customer is no customer id")?)
            }
            Some(_) => return Err("the token's customer is not a text"),
            None => None,
        };
        if customer_id.is_some() {
            grant(Role::Customer, programs);
        }
        let principal = Principal::new(PrincipalKind::Token, self.issuer.clone(), subject, grants);
        Ok(principal.with_customer(customer_id))
    }

    /// The programs that a token is for: those of its claim, and no more than the issuer may give.
    fn programs_of(&self, claims: &Map<String, Value>) -> Result<ProgramSet, &'static str> {
        let most = self.programs.as_ref().map(ProgramNames::to_set);
        let Some(words) = find_words(claims, self.program_claim.as_deref())? else {
            return Ok(most.unwrap_or_else(|| ProgramSet::Only(BTreeSet::new())));
        };
        let named = words.into_iter().map(ProgramId::try_from).collect::<Result<BTreeSet<_>, _>>();
        let mut named = named.map_err(|_| "the token names a program that cannot be one")?;
        if let Some(most) = most {
            named.retain(|program| most.contain(program.as_str()));
        }
        Ok(ProgramSet::Only(named))
    }
}

/// What is wrong with a URL from which keys are fetched, if anything is. It repeats nothing of it.
pub(super) fn find_url_fault(url: &str) -> Option<&'static str> {
    let Ok(url) = Url::parse(url) else { return Some("is no URL") };
    // What stays on this machine, nobody can change on its way.
    let is_local = matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost"));
    if url.scheme() != "https" && !(url.scheme() == "http" && is_local) {
        return Some("must be https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("must not hold a user or a password");
    }
    None
}

/// A URL as people may see it.
pub(super) fn without_user(url: &str) -> String {
    let Some((user, rest)) = url.rsplit_once('@') else { return url.to_owned() };
    match user.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://…@{rest}"),
        None => format!("…@{rest}"),
    }
}

/// A claim by its name, or inside others by a path with dots. A claim whose own name has dots comes first.
fn find_claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    // Each dot may be the end of an outer claim's name, or a part of it.
    let ends = name.match_indices('.').map(|(end, _)| end);
    ends.filter_map(|end| {
        let (outer, rest) = name.split_at_checked(end)?;
        find_claim(claims.get(outer)?.as_object()?, rest.get(1..)?)
    })
    .next()
}

/// The texts in a claim that is a text or a list of texts. None if it is not there.
fn find_words<'a>(claims: &'a Map<String, Value>, name: Option<&str>) -> Result<Option<Vec<&'a str>>, &'static str> {
    match name.and_then(|name| find_claim(claims, name)) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(word)) => Ok(Some(vec![word])),
        Some(Value::Array(words)) => {
            let words = words.iter().map(Value::as_str).collect::<Option<Vec<_>>>();
            Ok(Some(words.ok_or("a claim of the token is not a list of texts")?))
        }
        Some(Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
            Err("a claim of the token is neither a text nor a list of texts")
        }
    }
}

/// Whether a token says that it is for one of an issuer's audiences.
pub(super) fn is_for_audience(issuer: &Issuer, claims: &Map<String, Value>) -> bool {
    let words = find_words(claims, Some(&issuer.audience_claim));
    words.is_ok_and(|words| words.unwrap_or_default().iter().any(|word| issuer.audience.contains(*word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fetched_over_https_alone_but_on_this_machine() {
        for url in ["https://a/keys", "https://a:8443", "http://127.0.0.1:1/keys", "http://[::1]/", "http://localhost"]
        {
            assert_eq!(find_url_fault(url), None, "{url}");
        }
        for (url, fault) in [
            ("", "no URL"),
            ("login.example.com", "no URL"),
            ("http://login.example.com", "https"),
            ("http://localhost.example.com", "https"),
            ("http://127.0.0.1@login.example.com", "https"),
            ("file:///keys.json", "https"),
            ("https://u:hunter2@login.example.com", "user"),
            ("https://u@login.example.com", "user"),
            ("http://u:hunter2@localhost/keys", "user"),
        ] {
            assert!(find_url_fault(url).is_some_and(|found| found.contains(fault)), "{url}");
        }
    }

    #[test]
    fn a_url_is_shown_without_its_user() {
        for (url, shown) in [
            ("https://u:hunter2@a/keys", "https://…@a/keys"),
            ("https://u:hunt@er/2@a", "https://…@a"),
            ("u:hunter2@a", "…@a"),
            ("https://a/keys", "https://a/keys"),
            ("u:hunter2@a://b", "…@a://b"),
        ] {
            assert_eq!(without_user(url), shown);
        }
    }
}
