//! A customer as callers see them.

use crate::customers::erasure::state::{Erasure, Settled};
use crate::customers::model::{Address, CommunicationStyle, MarketingConsent, current_consents};
use crate::customers::state::Customer;
use crate::programs::channels::grpc::write_channel;
use crate::proto;
use crate::proto::fields::{write_date, write_instant};
use crate::proto::google;

pub(super) fn write_customer(customer: Customer) -> proto::Customer {
    let Customer { row, consents } = customer;
    let dossier = row.dossier;
    let communication_style = match dossier.communication_style {
        None => proto::CommunicationStyle::Unspecified,
        Some(CommunicationStyle::Driver) => proto::CommunicationStyle::Driver,
        Some(CommunicationStyle::Expressive) => proto::CommunicationStyle::Expressive,
        Some(CommunicationStyle::Amiable) => proto::CommunicationStyle::Amiable,
        Some(CommunicationStyle::Analytical) => proto::CommunicationStyle::Analytical,
    };
    let important_dates = dossier
        .important_dates
        .into_iter()
        .map(|important| proto::ImportantDate { label: important.label, date: Some(write_date(important.date)) });
    proto::Customer {
        customer_id: row.customer_id.to_string(),
        given_name: dossier.given_name,
        family_name: dossier.family_name,
        display_name: dossier.display_name,
        email: dossier.email,
        phone: dossier.phone,
        address: dossier.address.map(write_address),
        locale: dossier.locale,
        language: dossier.language,
        birth_date: dossier.birth_date.map(write_date),
        important_dates: important_dates.collect(),
        interests: dossier.interests,
        communication_style: communication_style.into(),
        attributes: dossier.attributes,
        marketing_consents: current_consents(&consents).iter().map(write_consent).collect(),
        create_time: Some(write_instant(row.created_at)),
        update_time: Some(write_instant(row.updated_at)),
        etag: row.revision.to_string(),
    }
}

pub(super) fn write_erasure(erasure: &Erasure) -> proto::Erasure {
    let Settled { expired, paid_out, cancelled } = erasure.settled;
    proto::Erasure {
        account_id: erasure.account_id.0.to_string(),
        erase_time: Some(write_instant(erasure.erased_at)),
        expired_points: expired,
        paid_out_points: paid_out,
        cancelled_points: cancelled,
    }
}

fn write_address(address: Address) -> google::PostalAddress {
    google::PostalAddress {
        revision: 0,
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

pub(super) fn write_consent(consent: &MarketingConsent) -> proto::MarketingConsent {
    proto::MarketingConsent {
        channel: write_channel(consent.channel).into(),
        granted: consent.granted,
        decided_at: Some(write_instant(consent.decided_at)),
        source: consent.source.clone(),
    }
}
