//! `BenefitService` on the wire.

use goldbook_api::server::{Received, benefit_service_server};
use tonic::{Request, Response, Status};

use super::commands::{ReverseBenefitUse, UseBenefit};
use super::{Benefits, Entitlement, UseEntry};
use crate::access::grpc::admit;
use crate::book::{BenefitDetail, Detail, Entry};
use crate::error::{Error, Fields};
use crate::ids::{BenefitId, EntryId};
use crate::points::grpc::{parse_correction_reason, parse_key, parse_note, parse_note_in, parse_subject};
use crate::programs::benefits::grpc::write_benefit;
use crate::proto;
use crate::proto::fields::{parse_optional_instant, write_instant};
use crate::proto::requests::parse_customer_list;
use crate::telemetry;
use crate::tiers::CustomerTier;
use crate::tiers::overriding::valid_until;

/// The most of one use.
const MAX_QUANTITY: i64 = 1_000_000;

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
        let entitlements = entitlements.iter().map(|it| write_entitlement(it, &customer_tier)).collect();
        Ok(Response::new(proto::ListCustomerBenefitsResponse { entitlements, next_page_token }))
    }

    async fn use_benefit(
        &self,
        request: Request<Received<proto::UseBenefitRequest>>,
    ) -> Result<Response<proto::UseBenefitResponse>, Status> {
        let (request, caller) = admit(request)?;
        let command = parse_use(request)?;
        telemetry::record_program(command.subject.program_id.as_str());
        let UseEntry { entry, replayed } = self.use_benefit(command, caller.writer().await?).await?;
        Ok(Response::new(proto::UseBenefitResponse { r#use: write_use(&entry), replayed }))
    }

    async fn reverse_benefit_use(
        &self,
        request: Request<Received<proto::ReverseBenefitUseRequest>>,
    ) -> Result<Response<proto::ReverseBenefitUseResponse>, Status> {
        let (request, caller) = admit(request)?;
        let command = parse_reversal(request)?;
        telemetry::record_program(command.subject.program_id.as_str());
        let UseEntry { entry, replayed } = self.reverse_benefit_use(command, caller.writer().await?).await?;
        let counted = match &entry.detail {
            Detail::Benefit(BenefitDetail::BenefitUseReversed { counted, .. }) => *counted,
            Detail::Benefit(BenefitDetail::BenefitUsed { .. })
            | Detail::Program(_)
            | Detail::Customer(_)
            | Detail::Activity(_)
            | Detail::Points(_)
            | Detail::Tier(_)
            | Detail::Referral(_) => 0,
        };
        Ok(Response::new(proto::ReverseBenefitUseResponse { entry_id: entry.id.to_string(), counted, replayed }))
    }
}

fn parse_use(request: proto::UseBenefitRequest) -> Result<UseBenefit, Error> {
    let mut fields = Fields::default();
    let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
    let benefit_id = fields.check("benefit_id", BenefitId::try_from(request.benefit_id));
    let (quantity, companions) = (if request.quantity == 0 { 1 } else { request.quantity }, request.companions);
    if !(1..=MAX_QUANTITY).contains(&quantity) {
        fields.refuse("quantity", "must be from 0 to 1,000,000; 0 means 1");
    }
    if !(0..=MAX_QUANTITY).contains(&companions) {
        fields.refuse("companions", "must be from 0 to 1,000,000");
    }
    let place = parse_note_in(&mut fields, "place", request.place);
    let key = parse_key(&mut fields, request.idempotency_key);
    let parsed =
        || Some(UseBenefit { subject: subject?, benefit_id: benefit_id?, quantity, companions, place, key: key? });
    fields.finish_with(parsed())
}

fn parse_reversal(request: proto::ReverseBenefitUseRequest) -> Result<ReverseBenefitUse, Error> {
    let mut fields = Fields::default();
    let reason = parse_correction_reason(&mut fields, request.reason());
    let subject = parse_subject(&mut fields, request.program_id, request.customer_id);
    let use_id = fields.check("use_id", request.use_id.parse());
    let note = parse_note(&mut fields, request.note);
    let key = parse_key(&mut fields, request.idempotency_key);
    let parsed = || Some(ReverseBenefitUse { subject: subject?, use_id: use_id?, reason: reason?, note, key: key? });
    fields.finish_with(parsed())
}

fn write_entitlement(entitlement: &Entitlement, customer_tier: &CustomerTier) -> proto::Entitlement {
    let CustomerTier { standing, policy, tier, changed, .. } = customer_tier;
    let quota = entitlement.quota;
    proto::Entitlement {
        benefit: Some(write_benefit(&entitlement.benefit, policy.program.currency)),
        tier_id: tier.tier_id.to_string(),
        since: Some(write_instant(standing.since)),
        entry_id: EntryId { account_seq: standing.giving_seq(), ..*changed }.to_string(),
        right: proto::EntitlementRight::Tier.into(),
        until: valid_until(standing).map(write_instant),
        used: quota.map_or(0, |quota| quota.used),
        left: quota.map(|quota| quota.left),
        resets_at: quota.and_then(|quota| quota.resets_at).map(write_instant),
    }
}

/// A use on the wire, as its entry tells it; none of another entry.
fn write_use(entry: &Entry) -> Option<proto::BenefitUse> {
    let Detail::Benefit(BenefitDetail::BenefitUsed {
        benefit_id,
        tier_id,
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
        tier_id: tier_id.to_string(),
        quantity: *quantity,
        companions: *companions,
        counted: *counted,
        left: *left,
        resets_at: resets_at.map(write_instant),
        used_at: Some(write_instant(entry.effective_at)),
        trace_id: telemetry::TraceId(entry.trace_id).to_string(),
    })
}
