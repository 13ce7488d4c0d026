//! `BenefitService` on the wire.

mod parse;

use goldbook_api::server::{Received, benefit_service_server};
use tonic::{Request, Response, Status};

use self::parse::{parse_grant, parse_reversal, parse_revocation, parse_use};
use super::{BenefitEntry, Benefits, Entitlement, EntitlementSource};
use crate::access::grpc::admit;
use crate::book::{BenefitDetail, Detail, Entry};
use crate::error::Fields;
use crate::ids::EntryId;
use crate::programs::benefits::grpc::write_benefit;
use crate::proto;
use crate::proto::fields::{parse_optional_instant, write_instant};
use crate::proto::requests::parse_customer_list;
use crate::telemetry;
use crate::tiers::CustomerTier;
use crate::tiers::overriding::valid_until;

#[tonic::async_trait]
impl benefit_service_server::BenefitService for Benefits {
    async fn list_customer_benefits(
        &self,
        request: Request<Received<proto::ListCustomerBenefitsRequest>>,
    ) -> Result<Response<proto::ListCustomerBenefitsResponse>, Status> {
        let (request, _) = admit(request)?;
        let mut fields = Fields::default();
        let as_of = parse_optional_instant(&mut fields, "as_of", request.as_of.as_ref());
        let instant = as_of.map(|as_of| as_of.to_string()).unwrap_or_default();
        let (customer, page) = parse_customer_list(&mut fields, &request, "benefits", &[&instant])?;
        let (program_id, customer_id) = fields.finish_with(customer)?;
        telemetry::record_program(program_id.as_str());
        let (customer_tier, entitlements, next_page_token) =
            self.list_customer_benefits(&program_id, &customer_id, as_of, &page).await?;
        let entitlements = entitlements.iter().map(|it| write_entitlement(it, Some(&customer_tier))).collect();
        Ok(Response::new(proto::ListCustomerBenefitsResponse { entitlements, next_page_token }))
    }

    async fn use_benefit(
        &self,
        request: Request<Received<proto::UseBenefitRequest>>,
    ) -> Result<Response<proto::UseBenefitResponse>, Status> {
        let (request, caller) = admit(request)?;
        let command = parse_use(request)?;
        telemetry::record_program(command.subject.program_id.as_str());
        let BenefitEntry { entry, replayed } = self.use_benefit(command, caller.writer().await?).await?;
        Ok(Response::new(proto::UseBenefitResponse { r#use: write_use(&entry), replayed }))
    }

    async fn reverse_benefit_use(
        &self,
        request: Request<Received<proto::ReverseBenefitUseRequest>>,
    ) -> Result<Response<proto::ReverseBenefitUseResponse>, Status> {
        let (request, caller) = admit(request)?;
        let command = parse_reversal(request)?;
        telemetry::record_program(command.subject.program_id.as_str());
        let BenefitEntry { entry, replayed } = self.reverse_benefit_use(command, caller.writer().await?).await?;
        let counted = match &entry.detail {
            Detail::Benefit(BenefitDetail::BenefitUseReversed { counted, .. }) => *counted,
            Detail::Benefit(
                BenefitDetail::BenefitUsed { .. }
                | BenefitDetail::EntitlementGranted { .. }
                | BenefitDetail::EntitlementRevoked { .. }
                | BenefitDetail::PackageGiven { .. },
            )
            | Detail::Program(_)
            | Detail::Customer(_)
            | Detail::Activity(_)
            | Detail::Points(_)
            | Detail::Tier(_)
            | Detail::Referral(_)
            | Detail::Complaint(_)
            | Detail::Goodwill(_)
            | Detail::Lifecycle(_)
            | Detail::Value(_) => 0,
        };
        Ok(Response::new(proto::ReverseBenefitUseResponse { entry_id: entry.id.to_string(), counted, replayed }))
    }

    async fn grant_entitlement(
        &self,
        request: Request<Received<proto::GrantEntitlementRequest>>,
    ) -> Result<Response<proto::GrantEntitlementResponse>, Status> {
        let (request, caller) = admit(request)?;
        let command = parse_grant(request)?;
        telemetry::record_program(command.subject.program_id.as_str());
        let (entitlement, written) = self.grant_entitlement(command, caller.writer().await?).await?;
        let BenefitEntry { entry, replayed } = written;
        Ok(Response::new(proto::GrantEntitlementResponse {
            entitlement_id: entry.id.to_string(),
            entitlement: Some(write_entitlement(&entitlement, None)),
            replayed,
        }))
    }

    async fn revoke_entitlement(
        &self,
        request: Request<Received<proto::RevokeEntitlementRequest>>,
    ) -> Result<Response<proto::RevokeEntitlementResponse>, Status> {
        let (request, caller) = admit(request)?;
        let command = parse_revocation(request)?;
        telemetry::record_program(command.subject.program_id.as_str());
        let BenefitEntry { entry, replayed } = self.revoke_entitlement(command, caller.writer().await?).await?;
        let revoked_at = Some(write_instant(entry.effective_at));
        Ok(Response::new(proto::RevokeEntitlementResponse { entry_id: entry.id.to_string(), revoked_at, replayed }))
    }
}

/// An entitlement on the wire; the standing tells of what the tier gives.
fn write_entitlement(entitlement: &Entitlement, customer_tier: Option<&CustomerTier>) -> proto::Entitlement {
    let quota = entitlement.quota;
    let told = proto::Entitlement {
        benefit: Some(write_benefit(&entitlement.benefit, entitlement.currency)),
        used: quota.map_or(entitlement.used, |quota| quota.used),
        left: quota.map(|quota| quota.left),
        resets_at: quota.and_then(|quota| quota.resets_at).map(write_instant),
        ..Default::default()
    };
    match (&entitlement.source, customer_tier) {
        (EntitlementSource::Tier, Some(CustomerTier { standing, tier, changed, .. })) => proto::Entitlement {
            tier_id: tier.tier_id.to_string(),
            since: Some(write_instant(standing.since)),
            entry_id: EntryId { account_seq: standing.giving_seq(), ..*changed }.to_string(),
            right: proto::EntitlementRight::Tier.into(),
            until: valid_until(standing).map(write_instant),
            ..told
        },
        (EntitlementSource::Tier, None) => told,
        (EntitlementSource::Grant { entitlement_id, since, until, package_id }, _) => proto::Entitlement {
            since: Some(write_instant(*since)),
            entry_id: entitlement_id.to_string(),
            right: match package_id {
                Some(_) => proto::EntitlementRight::Package.into(),
                None => proto::EntitlementRight::Grant.into(),
            },
            package_id: package_id.as_ref().map(ToString::to_string).unwrap_or_default(),
            until: until.map(write_instant),
            ..told
        },
    }
}

/// A use on the wire, as its entry tells it; none of another entry.
fn write_use(entry: &Entry) -> Option<proto::BenefitUse> {
    let Detail::Benefit(BenefitDetail::BenefitUsed {
        benefit_id,
        tier_id,
        granted,
        quantity,
        companions,
        counted,
        left,
        resets_at,
        ..
    }) = &entry.detail
    else {
        return None;
    };
    Some(proto::BenefitUse {
        use_id: entry.id.to_string(),
        benefit_id: benefit_id.to_string(),
        tier_id: tier_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        quantity: *quantity,
        companions: *companions,
        counted: *counted,
        left: *left,
        resets_at: resets_at.map(write_instant),
        used_at: Some(write_instant(entry.effective_at)),
        trace_id: telemetry::TraceId(entry.trace_id).to_string(),
        entitlement_id: granted.map(|seq| EntryId { account_seq: seq, ..entry.id }.to_string()).unwrap_or_default(),
    })
}
