//! What a caller says about a customer, and what of it is refused.

use std::collections::BTreeMap;

use crate::book::ErasureReason;
use crate::customers::erasure::commands::Disposal;
use crate::customers::model::{Address, CommunicationStyle, Dossier, ImportantDate, MarketingConsent, Part};
use crate::customers::{CreateCustomer, EraseCustomer, UpdateCustomer};
use crate::error::{Error, Fields};
use crate::ids::{CustomerId, IdempotencyKey, ProgramId};
use crate::programs::channels::grpc::parse_channel;
use crate::proto;
use crate::proto::fields::{parse_date, parse_instant, parse_language_tag, parse_text};
use crate::proto::google;
use crate::proto::requests::parse_customer;

const MAX_NAME: usize = 200;
const MAX_EMAIL: usize = 254;
const MAX_PHONE: usize = 32;
const MAX_IMPORTANT_DATES: usize = 50;
const MAX_LABEL: usize = 100;
const MAX_INTERESTS: usize = 50;
const MAX_INTEREST: usize = 100;
const MAX_ATTRIBUTES: usize = 100;
const MAX_ATTRIBUTE_KEY: usize = 64;
const MAX_ATTRIBUTE_VALUE: usize = 1_000;
const MAX_CONSENTS: usize = 50;
const MAX_ADDRESS_LINES: usize = 10;

pub(super) fn parse_create(request: proto::CreateCustomerRequest) -> Result<CreateCustomer, Error> {
    let mut fields = Fields::default();
    let program_id = fields.check("program_id", ProgramId::try_from(request.program_id));
    let key = fields.check("idempotency_key", IdempotencyKey::try_from(request.idempotency_key));
    let Some(customer) = request.customer else {
        fields.refuse("customer", "must be set");
        return Err(fields.into_error());
    };
    let customer_id = fields.check("customer.customer_id", CustomerId::try_from(customer.customer_id.as_str()));
    let consents = parse_consents(&mut fields, &customer.marketing_consents);
    let dossier = parse_dossier(&mut fields, customer);
    let (program_id, (customer_id, key)) = fields.finish_with(program_id.zip(customer_id.zip(key)))?;
    Ok(CreateCustomer { program_id, customer_id, dossier, consents, returns: request.returns, key })
}

pub(super) fn parse_erase(request: proto::EraseCustomerRequest) -> Result<EraseCustomer, Error> {
    let mut fields = Fields::default();
    let reason = match request.reason() {
        proto::ErasureReason::Unspecified => {
            fields.refuse("reason", "must be one of the reasons for an erasure");
            None
        }
        proto::ErasureReason::CustomerRequest => Some(ErasureReason::CustomerRequest),
        proto::ErasureReason::LegalObligation => Some(ErasureReason::LegalObligation),
        proto::ErasureReason::NoLongerNeeded => Some(ErasureReason::NoLongerNeeded),
        proto::ErasureReason::RecordedInError => Some(ErasureReason::RecordedInError),
    };
    let disposal = match request.balance() {
        proto::BalanceDisposal::Unspecified => {
            fields.refuse("balance", "must say what becomes of the points that the customer has");
            None
        }
        proto::BalanceDisposal::Expire => Some(Disposal::Expire),
        proto::BalanceDisposal::PayOut => Some(Disposal::PayOut),
    };
    let key = fields.check("idempotency_key", IdempotencyKey::try_from(request.idempotency_key));
    let customer = parse_customer(&mut fields, request.program_id, request.customer_id);
    let ((program_id, customer_id), ((reason, disposal), key)) =
        fields.finish_with(customer.zip(reason.zip(disposal).zip(key)))?;
    Ok(EraseCustomer { program_id, customer_id, reason, disposal, key })
}

pub(super) fn parse_update(request: proto::UpdateCustomerRequest) -> Result<UpdateCustomer, Error> {
    let mut fields = Fields::default();
    let program_id = fields.check("program_id", ProgramId::try_from(request.program_id));
    let mut parts = Vec::new();
    let paths = request.update_mask.map(|mask| mask.paths).unwrap_or_default();
    if paths.is_empty() || paths.len() > Part::ALL.len() {
        fields.refuse("update_mask", "must name at least one field of the customer, and each once");
    }
    for (i, path) in paths.iter().take(Part::ALL.len()).enumerate() {
        match Part::ALL.iter().find(|(name, _)| name == path) {
            Some((_, part)) => parts.push(*part),
            // What the path is instead is not told: it may be of a person, such as the key of an attribute.
            None => fields.refuse("update_mask", format!("paths[{i}] is not a field of the customer that can change")),
        }
    }
    let Some(customer) = request.customer else {
        fields.refuse("customer", "must be set");
        return Err(fields.into_error());
    };
    let customer_id = fields.check("customer.customer_id", CustomerId::try_from(customer.customer_id.as_str()));
    let revision = match customer.etag.as_str() {
        "" => None,
        etag => fields.check("customer.etag", etag.parse().map_err(|_| "must be an etag as returned by the service")),
    };
    let customer = keep_parts(customer, &parts);
    let consents = parse_consents(&mut fields, &customer.marketing_consents);
    let dossier = parse_dossier(&mut fields, customer);
    let (program_id, customer_id) = fields.finish_with(program_id.zip(customer_id))?;
    Ok(UpdateCustomer { program_id, customer_id, dossier, consents, parts, revision })
}

/// Drops what the mask does not name: it is neither checked nor changed.
fn keep_parts(customer: proto::Customer, parts: &[Part]) -> proto::Customer {
    let mut kept = proto::Customer::default();
    for part in parts {
        match part {
            Part::GivenName => kept.given_name.clone_from(&customer.given_name),
            Part::FamilyName => kept.family_name.clone_from(&customer.family_name),
            Part::DisplayName => kept.display_name.clone_from(&customer.display_name),
            Part::Email => kept.email.clone_from(&customer.email),
            Part::Phone => kept.phone.clone_from(&customer.phone),
            Part::Address => kept.address.clone_from(&customer.address),
            Part::Locale => kept.locale.clone_from(&customer.locale),
            Part::Language => kept.language.clone_from(&customer.language),
            Part::BirthDate => kept.birth_date = customer.birth_date,
            Part::ImportantDates => kept.important_dates.clone_from(&customer.important_dates),
            Part::Interests => kept.interests.clone_from(&customer.interests),
            Part::CommunicationStyle => kept.communication_style = customer.communication_style,
            Part::Attributes => kept.attributes.clone_from(&customer.attributes),
            Part::MarketingConsents => kept.marketing_consents.clone_from(&customer.marketing_consents),
        }
    }
    kept
}

/// Parses a dossier; what is bad is noted and left empty.
fn parse_dossier(fields: &mut Fields, customer: proto::Customer) -> Dossier {
    let mut text =
        |field: &str, text: &str, max| parse_text(fields, &format!("customer.{field}"), text, max).unwrap_or_default();
    let given_name = text("given_name", &customer.given_name, MAX_NAME);
    let family_name = text("family_name", &customer.family_name, MAX_NAME);
    let display_name = text("display_name", &customer.display_name, MAX_NAME);
    let email = text("email", &customer.email, MAX_EMAIL);
    let phone = text("phone", &customer.phone, MAX_PHONE);
    let mut tag = |field: &str, tag: &str| match tag {
        "" => String::new(),
        tag => parse_language_tag(fields, &format!("customer.{field}"), tag).unwrap_or_default(),
    };
    let locale = tag("locale", &customer.locale);
    let language = tag("language", &customer.language);
    if !email.is_empty() && !is_email(&email) {
        fields.refuse("customer.email", "must be an e-mail address");
    }
    if !phone.is_empty() && !is_phone(&phone) {
        fields.refuse("customer.phone", "must be a telephone number, such as +49 30 123456");
    }
    let communication_style = match proto::CommunicationStyle::try_from(customer.communication_style) {
        Ok(proto::CommunicationStyle::Unspecified) => None,
        Ok(proto::CommunicationStyle::Driver) => Some(CommunicationStyle::Driver),
        Ok(proto::CommunicationStyle::Expressive) => Some(CommunicationStyle::Expressive),
        Ok(proto::CommunicationStyle::Amiable) => Some(CommunicationStyle::Amiable),
        Ok(proto::CommunicationStyle::Analytical) => Some(CommunicationStyle::Analytical),
        Err(_) => {
            fields.refuse("customer.communication_style", "must be one of the named values");
            None
        }
    };
    Dossier {
        given_name,
        family_name,
        display_name,
        email,
        phone,
        address: customer.address.map(|address| parse_address(fields, address)),
        locale,
        language,
        birth_date: customer.birth_date.and_then(|date| parse_date(fields, "customer.birth_date", date)),
        important_dates: parse_important_dates(fields, customer.important_dates),
        interests: parse_interests(fields, customer.interests),
        communication_style,
        attributes: parse_attributes(fields, customer.attributes),
    }
}

fn parse_important_dates(fields: &mut Fields, dates: Vec<proto::ImportantDate>) -> Vec<ImportantDate> {
    if dates.len() > MAX_IMPORTANT_DATES {
        fields.refuse("customer.important_dates", format!("must have at most {MAX_IMPORTANT_DATES} items"));
    }
    let mut parsed = Vec::new();
    for (i, important) in dates.into_iter().take(MAX_IMPORTANT_DATES).enumerate() {
        let path = format!("customer.important_dates[{i}]");
        let label = parse_text(fields, &format!("{path}.label"), &important.label, MAX_LABEL);
        if important.label.is_empty() {
            fields.refuse(format!("{path}.label"), "must be set");
        }
        let date = match important.date {
            Some(date) => parse_date(fields, &format!("{path}.date"), date),
            None => fields.check(format!("{path}.date"), Err("must be set")),
        };
        if let (Some(label), Some(date)) = (label, date) {
            parsed.push(ImportantDate { label, date });
        }
    }
    parsed
}

fn parse_interests(fields: &mut Fields, interests: Vec<String>) -> Vec<String> {
    if interests.len() > MAX_INTERESTS {
        fields.refuse("customer.interests", format!("must have at most {MAX_INTERESTS} items"));
    }
    for (i, interest) in interests.iter().take(MAX_INTERESTS).enumerate() {
        let path = format!("customer.interests[{i}]");
        parse_text(fields, &path, interest, MAX_INTEREST);
        if interest.is_empty() {
            fields.refuse(path, "must not be empty");
        }
    }
    interests
}

fn parse_attributes(fields: &mut Fields, attributes: BTreeMap<String, String>) -> BTreeMap<String, String> {
    if attributes.len() > MAX_ATTRIBUTES {
        fields.refuse("customer.attributes", format!("must have at most {MAX_ATTRIBUTES} items"));
    }
    for key in attributes.keys().take(MAX_ATTRIBUTES) {
        if key.is_empty() {
            fields.refuse("customer.attributes", "must not have an empty key");
        }
        parse_text(fields, "customer.attributes", key, MAX_ATTRIBUTE_KEY);
    }
    // A value may have line breaks. It may not have characters that Postgres cannot store. Of which key it is, is not told,
    // since keys are of the person, too.
    let is_bad = |value: &String| value.chars().count() > MAX_ATTRIBUTE_VALUE || value.contains('\0');
    if attributes.values().take(MAX_ATTRIBUTES).any(is_bad) {
        let expected = format!("each value must be at most {MAX_ATTRIBUTE_VALUE} characters without U+0000");
        fields.refuse("customer.attributes", expected);
    }
    attributes
}

fn parse_address(fields: &mut Fields, address: google::PostalAddress) -> Address {
    if address.revision != 0 {
        fields.refuse("customer.address.revision", "must be 0");
    }
    if address.region_code.is_empty() {
        fields.refuse("customer.address.region_code", "must be set");
    }
    for (field, count) in [("address_lines", address.address_lines.len()), ("recipients", address.recipients.len())] {
        if count > MAX_ADDRESS_LINES {
            fields.refuse(format!("customer.address.{field}"), format!("must have at most {MAX_ADDRESS_LINES} items"));
        }
    }
    let lines = address.address_lines.iter().take(MAX_ADDRESS_LINES).map(|line| ("address_lines", line));
    let recipients = address.recipients.iter().take(MAX_ADDRESS_LINES).map(|recipient| ("recipients", recipient));
    let texts = [
        ("region_code", &address.region_code),
        ("language_code", &address.language_code),
        ("postal_code", &address.postal_code),
        ("sorting_code", &address.sorting_code),
        ("administrative_area", &address.administrative_area),
        ("locality", &address.locality),
        ("sublocality", &address.sublocality),
        ("organization", &address.organization),
    ];
    for (field, text) in texts.into_iter().chain(lines).chain(recipients) {
        parse_text(fields, &format!("customer.address.{field}"), text, MAX_NAME);
    }
    Address {
        region_code: address.region_code,
        language_code: address.language_code,
        postal_code: address.postal_code,
        sorting_code: address.sorting_code,
        administrative_area: address.administrative_area,
        locality: address.locality,
        sublocality: address.sublocality,
        address_lines: address.address_lines,
        recipients: address.recipients,
        organization: address.organization,
    }
}

fn parse_consents(fields: &mut Fields, consents: &[proto::MarketingConsent]) -> Vec<MarketingConsent> {
    if consents.len() > MAX_CONSENTS {
        fields.refuse("customer.marketing_consents", format!("must have at most {MAX_CONSENTS} items"));
    }
    let mut parsed = Vec::new();
    for (i, consent) in consents.iter().take(MAX_CONSENTS).enumerate() {
        let path = format!("customer.marketing_consents[{i}]");
        let channel = parse_channel(fields, &format!("{path}.channel"), consent.channel);
        let decided_at = parse_instant(fields, &format!("{path}.decided_at"), consent.decided_at.as_ref());
        let source = parse_text(fields, &format!("{path}.source"), &consent.source, MAX_NAME);
        if let (Some(channel), Some(decided_at), Some(source)) = (channel, decided_at, source) {
            let consent = MarketingConsent { channel, granted: consent.granted, decided_at, source };
            // An equal row says nothing more.
            if !parsed.contains(&consent) {
                parsed.push(consent);
            }
        }
    }
    parsed
}

fn is_email(email: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && !part.chars().any(|c| c == '@' || c.is_whitespace());
    email.split_once('@').is_some_and(|(local, domain)| is_part(local) && is_part(domain))
}

fn is_phone(phone: &str) -> bool {
    let number = phone.strip_prefix('+').unwrap_or(phone);
    number.chars().filter(char::is_ascii_digit).count() >= 3
        && number.chars().all(|c| c.is_ascii_digit() || " -.()".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_numbers_that_could_be_meant_are_taken() {
        assert!(is_email("a.b+c@example.com") && !is_email("a@") && !is_email("a b@example.com") && !is_email("a@b@c"));
        assert!(is_phone("+49 (30) 123-456") && !is_phone("12") && !is_phone("12a4") && !is_phone("1+23"));
    }
}
