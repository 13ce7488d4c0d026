//! What a dossier holds, and what joining a program means.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::book::{
    Account, Actor, CustomerDetail, Decision, DecisionError, EntryReason, NewEntry, Outlook, TierDetail,
};
use crate::clock::PartialDate;
use crate::error::{Reason, Refusal};
use crate::ids::{CustomerId, EntryId, TierId};
use crate::programs::channels::MarketingChannel;
use crate::programs::model::ProgramVersion;

/// Who a customer is and how to reach them. Whatever is unknown is empty, and left out of the JSON: a field that is
/// added later changes nothing about what was said before it, and so no idempotency key's fingerprint.
/// The fields are described in customers.proto.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Dossier {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub given_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub family_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub display_name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub email: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub phone: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub locale: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub language: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub birth_date: Option<PartialDate>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub important_dates: Vec<ImportantDate>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub interests: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub communication_style: Option<CommunicationStyle>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
}

/// A postal address, as `google.type.PostalAddress` has it.
/// The fields are described in google/type/postal_address.proto.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Address {
    pub region_code: String,
    pub language_code: String,
    pub postal_code: String,
    pub sorting_code: String,
    pub administrative_area: String,
    pub locality: String,
    pub sublocality: String,
    pub address_lines: Vec<String>,
    pub recipients: Vec<String>,
    pub organization: String,
}

/// A day that matters to the customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImportantDate {
    /// What the day is.
    pub label: String,
    /// The date, of which the year may be unknown.
    pub date: PartialDate,
}

/// How a customer likes to be dealt with. The styles are described in customers.proto.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CommunicationStyle {
    Driver,
    Expressive,
    Amiable,
    Analytical,
}

/// One decision of a customer about being contacted: a dated fact, never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MarketingConsent {
    /// The channel it is about.
    pub channel: MarketingChannel,
    /// Whether the customer may be contacted.
    pub granted: bool,
    /// When the customer decided.
    pub decided_at: Timestamp,
    /// Where the decision was taken.
    pub source: String,
}

/// The decision that holds for each channel: the latest decided, and of those the latest recorded.
#[must_use]
pub(crate) fn current_consents(recorded: &[MarketingConsent]) -> Vec<MarketingConsent> {
    let mut current: BTreeMap<MarketingChannel, &MarketingConsent> = BTreeMap::new();
    for consent in recorded {
        let holder = current.entry(consent.channel).or_insert(consent);
        if consent.decided_at >= holder.decided_at {
            *holder = consent;
        }
    }
    current.into_values().cloned().collect()
}

/// The part of a dossier that a change touches. Each names the field of the dossier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    GivenName,
    FamilyName,
    DisplayName,
    Email,
    Phone,
    Address,
    Locale,
    Language,
    BirthDate,
    ImportantDates,
    Interests,
    CommunicationStyle,
    Attributes,
    MarketingConsents,
}

impl Part {
    /// Every part with its path in an update mask.
    pub(crate) const ALL: &'static [(&'static str, Self)] = &[
        ("given_name", Self::GivenName),
        ("family_name", Self::FamilyName),
        ("display_name", Self::DisplayName),
        ("email", Self::Email),
        ("phone", Self::Phone),
        ("address", Self::Address),
        ("locale", Self::Locale),
        ("language", Self::Language),
        ("birth_date", Self::BirthDate),
        ("important_dates", Self::ImportantDates),
        ("interests", Self::Interests),
        ("communication_style", Self::CommunicationStyle),
        ("attributes", Self::Attributes),
        ("marketing_consents", Self::MarketingConsents),
    ];
}

impl Dossier {
    /// Takes the named parts from another dossier. Consents are rows of their own and not touched here.
    pub(crate) fn replace_parts(&mut self, from: &Self, parts: &[Part]) {
        let from = from.clone();
        for part in parts {
            match part {
                Part::GivenName => self.given_name.clone_from(&from.given_name),
                Part::FamilyName => self.family_name.clone_from(&from.family_name),
                Part::DisplayName => self.display_name.clone_from(&from.display_name),
                Part::Email => self.email.clone_from(&from.email),
                Part::Phone => self.phone.clone_from(&from.phone),
                Part::Address => self.address.clone_from(&from.address),
                Part::Locale => self.locale.clone_from(&from.locale),
                Part::Language => self.language.clone_from(&from.language),
                Part::BirthDate => self.birth_date = from.birth_date,
                Part::ImportantDates => self.important_dates.clone_from(&from.important_dates),
                Part::Interests => self.interests.clone_from(&from.interests),
                Part::CommunicationStyle => self.communication_style = from.communication_style,
                Part::Attributes => self.attributes.clone_from(&from.attributes),
                Part::MarketingConsents => {}
            }
        }
    }
}

/// The refusal for a customer that does not exist.
#[must_use]
pub(crate) fn customer_not_found(customer_id: &CustomerId) -> Refusal {
    Refusal::new(Reason::CustomerNotFound, format!("there is no customer {customer_id}"))
        .with("customer_id", customer_id)
}

/// Whether somebody who joins has reached the first tier, or is taken over from another system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joining {
    /// They join now: the package is theirs that the program has for it.
    Now,
    /// They joined somewhere else.
    Before,
}

/// What joining a program puts on the ledger: the customer is there, and holds the first tier.
///
/// Returns the entry that enrolled them and the tier they hold.
///
/// # Errors
/// [`DecisionError`] if the account is not locked, or the program has no tiers.
pub(crate) fn enrol(
    decision: &mut Decision<'_>,
    policy: &ProgramVersion,
    account: &Account,
    joining: Joining,
) -> Result<(EntryId, TierId), DecisionError> {
    let first = policy.program.tiers.first();
    let tier_id = first
        .map(|tier| tier.tier_id.clone())
        .ok_or_else(|| crate::book::Defect::new(format!("program {} has no tiers", policy.program.program_id)))?;
    let new_entry = |detail, actor, causes| NewEntry {
        detail,
        movement: None,
        actor,
        reason: EntryReason::Enrolment,
        policy_version: policy.version,
        causes,
    };
    let enrolled = decision
        .post(account.account_id, new_entry(CustomerDetail::CustomerEnrolled.into(), Actor::Caller, Vec::new()))?;
    let joined_at = account.time_at(decision.at());
    let package_id = match joining {
        Joining::Now => policy.package_on_reaching(None, &tier_id, joined_at),
        Joining::Before => None,
    };
    let first_tier = TierDetail::TierChanged {
        from: None,
        to: tier_id.clone(),
        hidden: None,
        qualifying_spend: 0,
        change: None,
        enrolled_on: Some(policy.program.day_of(joined_at)),
        former_ends_at: None,
        earned: None,
        package_id,
        outlook: Outlook::default(),
    }
    .into();
    decision.post(account.account_id, new_entry(first_tier, Actor::Rule, vec![enrolled]))?;
    Ok((enrolled, tier_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consent(granted: bool, decided_at: i64) -> MarketingConsent {
        let decided_at = Timestamp::from_second(decided_at).unwrap();
        MarketingConsent { channel: MarketingChannel::Email, granted, decided_at, source: String::new() }
    }

    #[test]
    fn the_latest_decision_holds_however_late_it_was_recorded() {
        assert_eq!(current_consents(&[consent(true, 2), consent(false, 1)]), [consent(true, 2)]);
        assert_eq!(current_consents(&[consent(true, 2), consent(false, 2)]), [consent(false, 2)]);
    }

    #[test]
    fn every_part_of_an_update_reaches_its_own_field_only() {
        let date = PartialDate { year: 0, month: 2, day: 29 };
        let full = Dossier {
            given_name: "a".to_owned(),
            family_name: "b".to_owned(),
            display_name: "c".to_owned(),
            email: "d@example.com".to_owned(),
            phone: "+123".to_owned(),
            address: Some(Address::default()),
            locale: "en-US".to_owned(),
            language: "en".to_owned(),
            birth_date: Some(date),
            important_dates: vec![ImportantDate { label: "e".to_owned(), date }],
            interests: vec!["f".to_owned()],
            communication_style: Some(CommunicationStyle::Driver),
            attributes: BTreeMap::from([("g".to_owned(), "h".to_owned())]),
        };
        let as_fields = |dossier: &Dossier| serde_json::to_value(dossier).unwrap().as_object().unwrap().clone();
        for (path, part) in Part::ALL {
            let mut changed = Dossier::default();
            changed.replace_parts(&full, &[*part]);
            let differing: Vec<String> = as_fields(&changed).into_iter().map(|(field, _)| field).collect();
            let expected: &[&str] = if *part == Part::MarketingConsents { &[] } else { &[path] };
            assert_eq!(differing, expected);
        }
    }
}
